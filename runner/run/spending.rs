//! [`Spending`]: what of a run's budgets is used up, by the metrics of all of its attempts.

use crate::{
    model::{Metric, ShownNumber},
    record::{LineError, RecordError, RunReader},
    scenario::{BudgetName, Budgets},
};

/// What of a run's budgets is used up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spending(Vec<Account>);

/// One budget.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    of: BudgetName,
    most: f64,
    spent: f64,
}

impl Spending {
    /// Budgets of which nothing is used up.
    pub(super) fn new(budgets: &Budgets) -> Self {
        let given = budgets.iter().filter_map(|(of, most)| {
            Some(Account {
                of: of.clone(),
                most: most?,
                spent: 0.0,
            })
        });
        Self(given.collect())
    }

    /// Tells whether there is any budget.
    pub(super) fn is_bounded(&self) -> bool {
        !self.0.is_empty()
    }

    /// Adds what the rows of a run say; damaged ones say nothing.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub(super) fn read(&mut self, run: &RunReader) -> Result<(), RecordError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for row in run.rows() {
            match row {
                Ok(row) => {
                    for metric in &row.metrics {
                        self.spend(&row.provider, &metric.name, metric.value);
                    }
                }
                Err(LineError::Damaged { .. }) => {}
                Err(LineError::Io(source)) => return Err(run.rows_failed(source)),
            }
        }
        Ok(())
    }

    /// Adds what an attempt on a provider has measured.
    pub(super) fn add(&mut self, provider: &str, metrics: &[Metric]) {
        if self.0.is_empty() {
            return;
        }
        for metric in metrics {
            self.spend(provider, &metric.name, metric.value);
        }
    }

    /// What is not finite has no row, and what is negative gives nothing back: a guest says it.
    fn spend(&mut self, provider: &str, metric: &str, value: f64) {
        if !value.is_finite() || value <= 0.0 {
            return;
        }
        for account in &mut self.0 {
            let whose = account.of.provider.as_deref();
            if account.of.metric == metric && whose.is_none_or(|whose| whose == provider) {
                account.spent += value;
            }
        }
    }

    /// The first budget that is used up: which, and by how much.
    pub(super) fn used_up(&self) -> Option<String> {
        let account = self
            .0
            .iter()
            .find(|account| account.spent >= account.most)?;
        let (spent, most) = (ShownNumber(account.spent), ShownNumber(account.most));
        let metric = &account.of.metric;
        Some(match &account.of.provider {
            Some(provider) => format!(
                "the budget of `{metric}` of provider `{provider}` is used up: {spent} of {most}"
            ),
            None => format!("the budget of `{metric}` is used up: {spent} of {most}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Spending;
    use crate::{model::Metric, scenario::Budgets};

    fn metric(name: &str, value: f64) -> Metric {
        Metric {
            name: name.to_owned(),
            value,
            unit: None,
        }
    }

    #[test]
    fn what_is_measured_is_taken_from_the_budgets_that_it_is_of() {
        let budgets = ["tokens=10", "a:cost=1.5", "b:cost=off"];
        let budgets = budgets.map(|text| Budgets::parse(text).unwrap());
        let budgets = budgets.iter().fold(Budgets::default(), Budgets::with);
        let mut spending = Spending::new(&budgets);
        spending.add("a", &[metric("tokens", 4.0), metric("cost", 1.0)]);
        spending.add("b", &[metric("tokens", 5.0), metric("cost", 100.0)]);
        spending.add(
            "b",
            &[metric("tokens", -5.0), metric("tokens", f64::INFINITY)],
        );
        assert_eq!(spending.used_up(), None);
        spending.add("a", &[metric("cost", 0.75)]);
        assert_eq!(
            spending.used_up().unwrap(),
            "the budget of `cost` of provider `a` is used up: 1.75 of 1.5"
        );
        let mut spending = Spending::new(&budgets);
        spending.add("c", &[metric("tokens", 12_345.0)]);
        assert_eq!(
            spending.used_up().unwrap(),
            "the budget of `tokens` is used up: 12 345 of 10"
        );
    }
}
