//! [`Spending`]: the budgets of a run, and their use by the metrics of all attempts.

use runner_model::{BudgetName, Budgets, row::Metric};

/// The budgets of a run and their use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spending(Vec<Account>);

#[derive(Clone, Debug, PartialEq)]
struct Account {
    name: BudgetName,
    /// Index of the provider. `None` for a budget of all providers together.
    provider: Option<u16>,
    most: f64,
    spent: f64,
    /// Whether an attempt has reported the metric.
    is_measured: bool,
}

impl Spending {
    /// Creates unspent budgets. `providers` are the names of all providers, in order.
    ///
    /// # Errors
    ///
    /// The name of an unknown provider.
    pub fn new(budgets: &Budgets, providers: &[&str]) -> Result<Self, String> {
        let mut accounts = Vec::new();
        for (name, most) in &budgets.0 {
            let place = name.provider.as_ref().map(|wanted| {
                let place = providers.iter().position(|provider| provider == wanted);
                place.ok_or_else(|| wanted.clone())
            });
            let place = place.transpose()?;
            accounts.extend(most.map(|most| Account {
                name: name.clone(),
                provider: place.map(|place| place as u16),
                most,
                spent: 0.0,
                is_measured: false,
            }));
        }
        Ok(Self(accounts))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the metrics of an attempt. Guests report them, so negative values count as 0 and free no budget.
    pub fn add(&mut self, provider: u16, metrics: &[Metric<'_>]) {
        for account in &mut self.0 {
            let is_of = account.provider.is_none_or(|own| own == provider);
            let metrics = metrics.iter().filter(|metric| *metric.name == account.name.metric);
            for metric in metrics.filter(|_| is_of) {
                account.is_measured = true;
                account.spent += metric.value.max(0.0);
            }
        }
    }

    /// Describes the used-up budgets. `None` if no budget is used up.
    pub fn summary(&self) -> Option<String> {
        let own = self.used_up_by_providers();
        self.used_up().or_else(|| (!own.is_empty()).then_some(own))
    }

    /// Describes the first used-up budget of all providers together.
    pub fn used_up(&self) -> Option<String> {
        let account = self.all_used_up().find(|account| account.provider.is_none())?;
        Some(account.text())
    }

    /// Returns whether a budget of this provider alone is used up.
    pub fn is_used_up_by(&self, provider: u16) -> bool {
        self.all_used_up().any(|account| account.provider == Some(provider))
    }

    /// Describes the used-up budgets of single providers.
    pub fn used_up_by_providers(&self) -> String {
        let own = self.all_used_up().filter(|account| account.provider.is_some());
        own.map(Account::text).collect::<Vec<_>>().join("; ")
    }

    /// Returns arguments of `--budget` that leave as much of each used-up budget as it had at first.
    pub fn larger(&self) -> Vec<String> {
        self.all_used_up().map(Account::larger).collect()
    }

    /// Returns the budgets whose metric was never reported, most likely because its name is misspelled.
    pub fn unmeasured(&self) -> impl Iterator<Item = &BudgetName> {
        let unmeasured = self.0.iter().filter(|account| !account.is_measured);
        unmeasured.map(|account| &account.name)
    }

    fn all_used_up(&self) -> impl Iterator<Item = &Account> {
        self.0.iter().filter(|account| account.spent >= account.most)
    }
}

impl Account {
    /// Returns `METRIC=VALUE` or `PROVIDER:METRIC=VALUE`, rounded up to three significant digits.
    fn larger(&self) -> String {
        let more = self.spent + self.most;
        let step = 10_f64.powf(more.log10().floor() - 2.0);
        // Floating-point division is inexact, and `ceil` would round an exact value up by a whole step.
        let rounded = (more / step - 1e-6).ceil() * step;
        let text = format!("{rounded:.*}", if step < 1.0 { 12 } else { 0 });
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        format!("{}={text}", self.name)
    }

    fn text(&self) -> String {
        let metric = &self.name.metric;
        let whose = match &self.name.provider {
            Some(name) => format!("`{metric}` of `{name}`"),
            None => format!("`{metric}`"),
        };
        // Sums of floating-point values are inexact: 0.1 + 0.2 would be shown as 0.30000000000000004.
        let [spent, most] = [self.spent, self.most].map(|number| (number * 1e9).round() / 1e9);
        format!("the budget of {whose} is used up: {spent} of {most}")
    }
}

#[cfg(test)]
mod tests {
    use runner_model::{Budgets, row::Metric};

    use super::Spending;

    fn spending(budgets: &[&str]) -> Spending {
        let mut all = Budgets::default();
        budgets.iter().for_each(|text| all.add(text).unwrap());
        Spending::new(&all, &["a", "b"]).unwrap()
    }

    fn metric(name: &str, value: f64) -> Metric<'_> {
        Metric { name: name.into(), value, unit: None }
    }

    #[test]
    fn metrics_are_spent_from_matching_budgets() {
        let mut used = spending(&["tokens=10", "a:cost=1.5", "b:cost=off", "x=1"]);
        used.add(0, &[metric("tokens", 4.0), metric("cost", 1.0)]);
        used.add(1, &[metric("tokens", 5.0), metric("cost", 100.0)]);
        used.add(1, &[metric("tokens", -5.0)]);
        assert_eq!(used.used_up(), None);
        let unmeasured: Vec<_> = used.unmeasured().map(ToString::to_string).collect();
        assert_eq!(unmeasured, ["x"]);
        used.add(0, &[metric("cost", 0.75)]);
        assert_eq!(
            used.used_up_by_providers(),
            "the budget of `cost` of `a` is used up: 1.75 of 1.5"
        );
        assert_eq!(used.larger(), ["a:cost=3.25"]);
        assert_eq!(used.used_up(), None);
        assert!(used.is_used_up_by(0) && !used.is_used_up_by(1));
        used.add(1, &[metric("tokens", 12_345.0)]);
        assert_eq!(used.used_up().unwrap(), "the budget of `tokens` is used up: 12354 of 10");
        assert_eq!(used.larger()[0], "tokens=12400");
        let mut budgets = Budgets::default();
        budgets.add("c:tokens=1").unwrap();
        assert_eq!(Spending::new(&budgets, &["a"]), Err("c".to_owned()));
    }

    #[test]
    fn larger_budgets_are_rounded_up() {
        for (most, larger) in
            [("1e-9", "x=0.000000002"), ("0.07", "x=0.14"), ("3e11", "x=600000000000")]
        {
            let mut used = spending(&[&format!("x={most}")]);
            used.add(0, &[metric("x", most.parse().unwrap())]);
            assert_eq!(used.larger(), [larger]);
        }
    }
}
