//! [`Spending`]: what of a run's budgets is used up, by the metrics of all of its attempts.

use crate::{
    model::{Metric, PluginRole, ShownNumber},
    record::{RecordError, RunReader},
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
    /// Whether anything has measured it.
    is_measured: bool,
    /// Whether it is a grader's: without that nothing more comes to its end, so it ends the run.
    is_of_grader: bool,
}

impl Spending {
    /// Budgets of which nothing is used up.
    pub(super) fn new(budgets: &Budgets) -> Self {
        let given = budgets.iter().filter_map(|(of, most)| {
            Some(Account {
                of: of.clone(),
                most: most?,
                spent: 0.0,
                is_measured: false,
                is_of_grader: false,
            })
        });
        Self(given.collect())
    }

    /// Says whose of these budgets are graders'.
    pub(super) fn with_graders<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Self {
        for name in names {
            for account in &mut self.0 {
                account.is_of_grader |= account.of.provider.as_deref() == Some(name);
            }
        }
        self
    }

    /// Tells whether there is any budget.
    pub(super) fn is_bounded(&self) -> bool {
        !self.0.is_empty()
    }

    /// Adds what the rows and the judgements of a run say, those too that others stand for by now; damaged ones say nothing.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub(super) fn read(&mut self, run: &RunReader) -> Result<(), RecordError> {
        if self.0.is_empty() {
            return Ok(());
        }
        run.measured(|name, metric| self.spend(name, &metric.name, metric.value))
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
        for account in &mut self.0 {
            let whose = account.of.provider.as_deref();
            if account.of.metric == metric && whose.is_none_or(|whose| whose == provider) {
                account.is_measured = true;
                if value.is_finite() && value > 0.0 {
                    account.spent += value;
                }
            }
        }
    }

    /// The budgets that nothing has ever been measured of: they bound nothing, most likely because the metric has another
    /// name.
    pub(super) fn unmeasured(&self) -> impl Iterator<Item = &BudgetName> {
        let unmeasured = self.0.iter().filter(|account| !account.is_measured);
        unmeasured.map(|account| &account.of)
    }

    /// The first budget of all providers together, or of a grader, that is used up: which, and by how much.
    pub(super) fn used_up(&self) -> Option<String> {
        let mut used_up = self.0.iter().filter(|account| account.is_used_up());
        let account = used_up.find(|account| account.ends_run())?;
        Some(account.text())
    }

    /// Tells whether a budget of this provider's own is used up.
    pub(super) fn is_used_up_by(&self, provider: &str) -> bool {
        let mut used_up = self.0.iter().filter(|account| account.is_used_up());
        used_up
            .any(|account| !account.ends_run() && account.of.provider.as_deref() == Some(provider))
    }

    /// What to say with `--budget` for what is used up, so that there is once more as much as there was.
    pub(super) fn larger(&self) -> Vec<String> {
        let used_up = self.0.iter().filter(|account| account.is_used_up());
        used_up.map(Account::larger).collect()
    }

    /// The budgets of single providers that are used up: which, and by how much; `None` if there is none.
    pub(super) fn used_up_by_providers(&self) -> Option<String> {
        let used_up = self.0.iter().filter(|account| account.is_used_up());
        let texts: Vec<_> = used_up
            .filter(|account| !account.ends_run())
            .map(Account::text)
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

impl Account {
    /// Tells whether nothing more begins at all once it is used up.
    fn ends_run(&self) -> bool {
        self.is_of_grader || self.of.provider.is_none()
    }

    fn is_used_up(&self) -> bool {
        self.spent >= self.most
    }

    /// `METRIC=VALUE`, or `PROVIDER:METRIC=VALUE`, with three digits that mean something, which is more than was used.
    fn larger(&self) -> String {
        let more = self.spent + self.most;
        let step = 10_f64.powf(more.log10().floor() - 2.0);
        // Neither a step of a part nor a division is exact.
        let rounded = (more / step - 1e-6).ceil() * step;
        let text = match step < 1.0 {
            true => format!("{rounded:.12}"),
            false => format!("{rounded:.0}"),
        };
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => &text,
        };
        format!("{}={text}", self.of)
    }

    fn text(&self) -> String {
        let (spent, most) = (ShownNumber(self.spent), ShownNumber(self.most));
        let metric = &self.of.metric;
        let role = match self.is_of_grader {
            true => PluginRole::Grader,
            false => PluginRole::Provider,
        };
        match &self.of.provider {
            Some(name) => {
                format!("the budget of `{metric}` of {role} `{name}` is used up: {spent} of {most}")
            }
            None => format!("the budget of `{metric}` is used up: {spent} of {most}"),
        }
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
        assert_eq!(spending.unmeasured().count(), 0);
        spending.add("a", &[metric("cost", 0.75)]);
        assert_eq!(
            spending.used_up_by_providers().unwrap(),
            "the budget of `cost` of provider `a` is used up: 1.75 of 1.5"
        );
        assert_eq!(spending.larger(), ["a:cost=3.25"]);
        // The others go on.
        assert_eq!(spending.used_up(), None);
        assert!(spending.is_used_up_by("a") && !spending.is_used_up_by("b"));
        let mut spending = Spending::new(&budgets);
        spending.add("c", &[metric("tokens", 12_345.0)]);
        assert_eq!(
            spending.used_up().unwrap(),
            "the budget of `tokens` is used up: 12 345 of 10"
        );
        assert_eq!(spending.larger(), ["tokens=12400"]);
        for (most, larger) in [
            ("1e-9", "x=0.000000002"),
            ("0.07", "x=0.14"),
            ("3e11", "x=600000000000"),
        ] {
            let budget = Budgets::parse(&format!("x={most}")).unwrap();
            let mut spending = Spending::new(&budget);
            spending.add("a", &[metric("y", 1.0)]);
            assert_eq!(spending.unmeasured().count(), 1);
            spending.add("a", &[metric("x", most.parse().unwrap())]);
            assert_eq!(spending.larger(), [larger]);
            let larger = Budgets::parse(larger).unwrap();
            spending.0[0].most = larger.iter().next().unwrap().1.unwrap();
            assert_eq!(spending.used_up(), None);
        }
    }
}
