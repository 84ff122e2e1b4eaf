//! [`Spending`]: the budgets of a run, and their use by the metrics of all attempts.

use std::collections::{BTreeMap, BTreeSet};

use runner_model::provider::{COST, Provider};
use runner_model::{BudgetName, Budgets, Limits, Outcome, RowRef, row::Metric};
use runner_scenario::similar;

/// Metrics of a provider above which only those of budgets and prices are counted. Guests choose the names.
const MAX_NAMES: usize = 64;
/// The limit of all metrics whose names end with `tokens`.
const TOKENS: &str = "total_tokens";

/// Metrics of bundled plugins and prices, which budgets most often name.
const COMMON: [&str; 4] = [COST, TOKENS, "prompt_tokens", "completion_tokens"];

/// The budgets of a run and their use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spending {
    accounts: Vec<Account>,
    /// A meter for each provider. Empty without budgets, prices and limits of metrics.
    meters: Vec<Meter>,
}

/// The outputs of a provider, and how many of them had each metric.
#[derive(Clone, Debug, PartialEq)]
struct Meter {
    provider: String,
    is_grader: bool,
    outputs: u64,
    metrics: BTreeMap<String, u64>,
    /// Metrics with a price.
    priced: BTreeSet<String>,
    /// The limits of each attempt that need metrics.
    limited: Vec<&'static str>,
}

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
        Ok(Self { accounts, meters: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Adds the metrics of an attempt. Guests report them, so negative values count as 0 and free no budget.
    pub fn add(&mut self, provider: u16, metrics: &[Metric<'_>]) {
        for account in &mut self.accounts {
            let is_of = account.provider.is_none_or(|own| own == provider);
            let metrics = metrics.iter().filter(|metric| *metric.name == account.name.metric);
            for metric in metrics.filter(|_| is_of) {
                account.is_measured = true;
                account.spent += metric.value.max(0.0);
            }
        }
    }

    /// Starts to count which outputs have the metrics that budgets and prices need.
    pub fn meter(&mut self, providers: &[Provider]) {
        let needs_none = |one: &Provider| one.prices.is_empty() && limited(one).next().is_none();
        if self.is_empty() && providers.iter().all(needs_none) {
            return;
        }
        let meters = providers.iter().map(|provider| {
            let priced: BTreeSet<_> = provider.prices.keys().cloned().collect();
            let budgets = self.accounts.iter().map(|account| account.name.metric.clone());
            let names = budgets.chain(priced.iter().cloned()).chain([COST.to_owned()]);
            Meter {
                provider: provider.name.to_string(),
                is_grader: provider.grading.is_some(),
                outputs: 0,
                metrics: names.map(|name| (name, 0)).collect(),
                priced,
                limited: limited(provider).collect(),
            }
        });
        self.meters = meters.collect();
    }

    /// Returns whether attempts are counted at all.
    pub fn is_metered(&self) -> bool {
        !self.is_empty() || !self.meters.is_empty()
    }

    /// Counts the metrics of an attempt that had an output. Others may end before there is anything to measure.
    pub fn count_output(&mut self, provider: u16, metrics: &[Metric<'_>]) {
        let Some(meter) = self.meters.get_mut(usize::from(provider)) else { return };
        meter.outputs += 1;
        for Metric { name, .. } in metrics {
            let is_full = meter.metrics.len() >= MAX_NAMES;
            if let Some(count) = meter.metrics.get_mut(&**name) {
                *count += 1;
            } else if !is_full {
                meter.metrics.insert(name.to_string(), 1);
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

    /// Describes the metrics of budgets that are most likely misspelled, before any attempt has a metric.
    pub fn unlikely(&self) -> Vec<String> {
        let priced = self.meters.iter().flat_map(|meter| &meter.priced).map(String::as_str);
        let known = || COMMON.into_iter().chain(priced.clone());
        let unknown =
            self.accounts.iter().filter(|one| known().all(|known| known != one.name.metric));
        let notices = unknown.filter_map(|account| {
            let nearest = similar(&account.name.metric, known())?;
            Some(format!("`{}` has a budget; did you mean `{nearest}`?", account.name))
        });
        notices.collect()
    }

    /// Describes the metrics that budgets and prices miss, most likely because a name is misspelled, or because a server counts
    /// only some of its answers.
    pub fn notices(&self) -> Vec<String> {
        let mut notices: Vec<_> = self.accounts.iter().filter_map(|one| self.missed(one)).collect();
        notices.extend(self.meters.iter().flat_map(Meter::without_limits));
        let priced = self.meters.iter().filter(|meter| meter.should_have_cost());
        notices.extend(priced.clone().filter_map(Meter::without_cost));
        let names: BTreeSet<_> = priced.clone().flat_map(|meter| &meter.priced).collect();
        for name in names {
            let meters = priced.clone().filter(|meter| meter.priced.contains(name));
            if meters.clone().all(|meter| meter.outputs == 0)
                || meters.clone().any(|meter| meter.count(name) > 0)
            {
                continue;
            }
            let reported = meters.flat_map(Meter::reported).filter(|name| *name != COST);
            let help = similar(name, reported)
                .map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
            notices.push(format!(
                "no attempt has reported `{name}`, which has a price in `[prices]`{help}"
            ));
        }
        notices
    }

    /// Describes the outputs that lack the metric of a budget. A provider that never reports it may have nothing to measure, unless
    /// it is the cost, and the provider has prices.
    fn missed(&self, account: &Account) -> Option<String> {
        let budget = &account.name;
        let metric = &account.name.metric;
        if !account.is_measured {
            return Some(format!(
                "no attempt has measured `{budget}`, so its budget had no effect"
            ));
        }
        let of_account = (0..).zip(&self.meters).filter(|(provider, meter)| {
            account.provider.is_none_or(|own| own == *provider)
                && (meter.count(metric) > 0 || metric == COST && meter.should_have_cost())
        });
        let mut outputs = 0;
        let mut measured = 0;
        for (_, meter) in of_account {
            outputs += meter.outputs;
            measured += meter.count(metric);
        }
        let missing = outputs.saturating_sub(measured);
        (missing > 0).then(|| {
            format!(
                "{missing} of {outputs} attempts with an output did not measure `{budget}`, and its budget counts only the others"
            )
        })
    }

    fn all_used_up(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|account| account.spent >= account.most)
    }
}

/// Returns the limits of a provider's attempts that need metrics.
fn limited(provider: &Provider) -> impl Iterator<Item = &'static str> {
    let Limits { total_tokens, cost_usd, .. } = provider.limits;
    let limits = [(TOKENS, total_tokens.is_some()), (COST, cost_usd.is_some())];
    limits.into_iter().filter_map(|(name, is_limited)| is_limited.then_some(name))
}

/// Returns whether an attempt had an output whose metrics count. A skipped attempt had nothing to measure.
pub fn has_output(row: &RowRef<'_>) -> bool {
    row.output.is_some() && row.error.is_none() && row.outcome != Outcome::Skipped
}

impl Meter {
    fn count(&self, metric: &str) -> u64 {
        self.metrics.get(metric).copied().unwrap_or_default()
    }

    fn reported(&self) -> impl Iterator<Item = &str> + Clone {
        let reported = self.metrics.iter().filter(|(_, count)| **count > 0);
        reported.map(|(name, _)| name.as_str())
    }

    /// Describes the limits of a provider that none of its attempts has measured.
    fn without_limits(&self) -> impl Iterator<Item = String> {
        let is_of =
            |limit: &str, name: &str| name == limit || limit == TOKENS && name.ends_with("tokens");
        let missing = self.limited.iter().filter(move |limit| {
            self.outputs > 0 && !self.reported().any(|name| is_of(limit, name))
        });
        missing.map(|name| {
            format!(
                "no attempt of `{}` has reported `{name}`, so its `limits.{name}` had no effect",
                self.provider
            )
        })
    }

    /// Returns whether outputs without a cost are worth a notice. The prices of `*` are also those of graders that call no model.
    fn should_have_cost(&self) -> bool {
        !self.priced.is_empty() && (!self.is_grader || self.reported().next().is_some())
    }

    /// Describes the outputs of a provider with prices that have no cost.
    fn without_cost(&self) -> Option<String> {
        let missing = self.outputs.saturating_sub(self.count(COST));
        (missing > 0).then(|| {
            format!(
                "{missing} of {} attempts of `{}` with an output have no cost: they reported no metric of `[prices]`",
                self.outputs, self.provider
            )
        })
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
        let [spent, most] = [self.spent, self.most].map(|number| match &**metric {
            COST if number >= 0.1 => format!("${number:.2}"),
            COST => format!("${}", (number * 1e9).round() / 1e9),
            _ => ((number * 1e9).round() / 1e9).to_string(),
        });
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
        assert_eq!(used.notices(), ["no attempt has measured `x`, so its budget had no effect"]);
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
    fn near_misses_of_common_metrics_are_named() {
        let used = spending(&["cost=1", "a:cost_usd=1", "promt_tokens=1", "tokens=1", "x=1"]);
        let says = [
            "`cost` has a budget; did you mean `cost_usd`?",
            "`promt_tokens` has a budget; did you mean `prompt_tokens`?",
        ];
        assert_eq!(used.unlikely(), says);
    }

    #[test]
    fn used_up_costs_are_money() {
        for (most, spent, text) in
            [("1", 1.589_62, "$1.59 of $1.00"), ("0.02", 0.0251, "$0.0251 of $0.02")]
        {
            let mut used = spending(&[&format!("cost_usd={most}")]);
            used.add(0, &[metric("cost_usd", spent)]);
            let text = format!("the budget of `cost_usd` is used up: {text}");
            assert_eq!(used.summary(), Some(text));
        }
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
