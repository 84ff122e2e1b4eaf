//! [`Spending`]: what of a run's budgets is used up, by the metrics of all of its attempts; and when a session gives up.

use runner_model::{BudgetName, Budgets, row::Metric};

/// What of a run's budgets is used up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spending(Vec<Account>);

/// One budget.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    name: BudgetName,
    /// The provider's index; none if it is of all together.
    provider: Option<u16>,
    most: f64,
    spent: f64,
    /// Whether anything has measured it.
    is_measured: bool,
}

impl Spending {
    /// Budgets of which nothing is used up, of the providers with these names.
    ///
    /// # Errors
    ///
    /// The name of a provider that there is not.
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

    /// Tells whether there is no budget.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what an attempt on a provider has measured. What is negative gives nothing back: a guest says it.
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

    /// The first budget of all providers together that is used up, in words.
    pub fn used_up(&self) -> Option<String> {
        let account = self.all_used_up().find(|account| account.provider.is_none())?;
        Some(account.text())
    }

    /// Tells whether a budget of this provider's own is used up.
    pub fn is_used_up_by(&self, provider: u16) -> bool {
        self.all_used_up().any(|account| account.provider == Some(provider))
    }

    /// The budgets of single providers that are used up, in words.
    pub fn used_up_by_providers(&self) -> String {
        let own = self.all_used_up().filter(|account| account.provider.is_some());
        own.map(Account::text).collect::<Vec<_>>().join("; ")
    }

    /// What `--budget` needs for what is used up, so that there is once more as much as there was.
    pub fn larger(&self) -> Vec<String> {
        self.all_used_up().map(Account::larger).collect()
    }

    /// The budgets of which nothing was ever measured: most likely the metric has another name.
    pub fn unmeasured(&self) -> impl Iterator<Item = &BudgetName> {
        let unmeasured = self.0.iter().filter(|account| !account.is_measured);
        unmeasured.map(|account| &account.name)
    }

    fn all_used_up(&self) -> impl Iterator<Item = &Account> {
        self.0.iter().filter(|account| account.spent >= account.most)
    }
}

impl Account {
    /// `METRIC=VALUE`, or `PROVIDER:METRIC=VALUE`, with three digits that count, which is more than was used.
    fn larger(&self) -> String {
        let more = self.spent + self.most;
        let step = 10_f64.powf(more.log10().floor() - 2.0);
        // Neither a step of a part nor a division is exact.
        let rounded = (more / step - 1e-6).ceil() * step;
        let text = format!("{rounded:.*}", if step < 1.0 { 12 } else { 0 });
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => &text,
        };
        format!("{}={text}", self.name)
    }

    fn text(&self) -> String {
        let metric = &self.name.metric;
        let whose = match &self.name.provider {
            Some(name) => format!("`{metric}` of provider `{name}`"),
            None => format!("`{metric}`"),
        };
        // Sums of parts are not exact.
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
    fn what_is_measured_is_taken_from_the_budgets_that_it_is_of() {
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
            "the budget of `cost` of provider `a` is used up: 1.75 of 1.5"
        );
        assert_eq!(used.larger(), ["a:cost=3.25"]);
        // The others go on.
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
    fn a_larger_budget_has_room() {
        for (most, larger) in
            [("1e-9", "x=0.000000002"), ("0.07", "x=0.14"), ("3e11", "x=600000000000")]
        {
            let mut used = spending(&[&format!("x={most}")]);
            used.add(0, &[metric("x", most.parse().unwrap())]);
            assert_eq!(used.larger(), [larger]);
        }
    }
}
