//! [`statistics`]: what the trials of each provider, and of each tag and dimension of its tests, say about those to come.

use std::collections::{BTreeMap, HashMap};

use crate::{
    model::{Outcome, all_of, any_of, clustered, scalar_text, wilson},
    view::{GroupStatistics, MetricSpread, ReportTrial, SeveralAttempts, SpreadSummary},
};

/// For how many attempts at a test chances are told, as far as there are repeats.
const ATTEMPTS: [u64; 9] = [1, 2, 3, 5, 10, 20, 50, 100, 1_000];
/// How many groups there are at the most; tests may have a tag each.
const MAX_GROUPS: usize = 500;

/// What tells the tests of a group from the others of its provider; in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum GroupOf<'a> {
    Provider,
    Tag(&'a str),
    Dimension(&'a str, &'a str),
}

/// By provider, then by provider and tag, then by provider and each of the `dimensions`, which are all keys where there are
/// none; those that have judged nothing are left out.
pub(super) fn statistics(
    trials: &[ReportTrial],
    dimensions: Option<&[String]>,
) -> Vec<GroupStatistics> {
    let is_dimension = |key: &String| dimensions.is_none_or(|these| these.contains(key));
    let texts: Vec<Vec<_>> = trials
        .iter()
        .map(|trial| {
            let meta = trial.meta.iter().filter(|(key, _)| is_dimension(key));
            meta.map(|(key, value)| (&**key, scalar_text(value)))
                .collect()
        })
        .collect();
    let mut groups: BTreeMap<(u8, &str, GroupOf<'_>), Group<'_>> = BTreeMap::new();
    for (trial, texts) in trials.iter().zip(&texts) {
        let Some(pass) = pass(trial) else { continue };
        let tags = trial
            .tags
            .iter()
            .map(|tag| (1, &*trial.provider, GroupOf::Tag(tag)));
        let values = texts
            .iter()
            .map(|(key, value)| (2, &*trial.provider, GroupOf::Dimension(key, value)));
        let all = [(0, &*trial.provider, GroupOf::Provider)].into_iter();
        for key in all.chain(tags).chain(values) {
            if groups.len() < MAX_GROUPS || groups.contains_key(&key) {
                groups.entry(key).or_default().add(trial, pass);
            }
        }
    }
    let each = groups.into_iter();
    each.map(|((_, provider, of), group)| {
        let (tag, dimension, value) = match of {
            GroupOf::Provider => (None, None, None),
            GroupOf::Tag(tag) => (Some(tag), None, None),
            GroupOf::Dimension(key, value) => (None, Some(key), Some(value)),
        };
        GroupStatistics {
            provider: provider.to_owned(),
            tag: tag.map(str::to_owned),
            dimension: dimension.map(str::to_owned),
            value: value.map(str::to_owned),
            ..group.finish()
        }
    })
    .collect()
}

/// Whether a trial has passed; `None` if it was not judged.
fn pass(trial: &ReportTrial) -> Option<bool> {
    match trial.outcome? {
        Outcome::Passed => Some(true),
        Outcome::Failed | Outcome::Error | Outcome::Timeout => Some(false),
        Outcome::Skipped | Outcome::Stopped | Outcome::Ungraded => None,
    }
}

/// The sum of some values, and how many they are.
type ValueSum = (f64, u64);

/// The trials of a provider or of a tag.
#[derive(Default)]
struct Group<'a> {
    /// By test: how many have passed, and of how many.
    tests: HashMap<&'a str, (u64, u64)>,
    scores: HashMap<&'a str, ValueSum>,
    /// By name and unit, and then by test.
    metrics: BTreeMap<(&'a str, Option<&'a str>), HashMap<&'a str, ValueSum>>,
}

impl<'a> Group<'a> {
    fn add(&mut self, trial: &'a ReportTrial, is_pass: bool) {
        let of_test = self.tests.entry(&trial.test).or_default();
        of_test.0 += u64::from(is_pass);
        of_test.1 += 1;
        let add = |sums: &mut HashMap<&'a str, ValueSum>, value: f64| {
            let sum = sums.entry(&trial.test).or_default();
            sum.0 += value;
            sum.1 += 1;
        };
        if let Some(score) = trial.score {
            add(&mut self.scores, score);
        }
        for metric in &trial.metrics {
            let key = (&*metric.name, metric.unit.as_deref());
            add(self.metrics.entry(key).or_default(), metric.value);
        }
    }

    /// What the group comes to, without its names.
    fn finish(self) -> GroupStatistics {
        let counts: Vec<(u64, u64)> = in_order(self.tests);
        let (passed, trials) = counts
            .iter()
            .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of trials are far below 2^52"
        )]
        let passes: Vec<ValueSum> = counts
            .iter()
            .map(|(passed, of)| (*passed as f64, *of))
            .collect();
        let metrics = self.metrics.into_iter().filter_map(|((name, unit), sums)| {
            Some(MetricSpread {
                name: name.to_owned(),
                unit: unit.map(str::to_owned),
                spread: clustered(&in_order(sums))?.into(),
            })
        });
        GroupStatistics {
            provider: String::new(),
            tag: None,
            dimension: None,
            value: None,
            tests: counts.len() as u64,
            trials,
            passed,
            pass_rate_interval: wilson(passed, trials),
            pass_rate: clustered(&passes).map_or(NOTHING, Into::into),
            attempts: attempts(&counts),
            score: clustered(&in_order(self.scores)).map(Into::into),
            metrics: metrics.collect(),
        }
    }
}

/// The mean of nothing, which no group has.
const NOTHING: SpreadSummary = SpreadSummary {
    mean: 0.0,
    standard_error: None,
    trials: 0,
    tests: 0,
};

/// Values by test in an order that is always the same: sums of floating-point numbers depend on it.
fn in_order<T>(by_test: HashMap<&str, T>) -> Vec<T> {
    let mut values: Vec<_> = by_test.into_iter().collect();
    values.sort_by_key(|(test, _)| *test);
    values.into_iter().map(|(_, value)| value).collect()
}

/// The chances of several attempts, where there are repeats; `counts` are those that passed, and of how many, by test.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tests are far below 2^52"
)]
fn attempts(counts: &[(u64, u64)]) -> Vec<SeveralAttempts> {
    let most = counts.iter().map(|(_, of)| *of).max().unwrap_or_default();
    if most < 2 {
        return Vec::new();
    }
    let mut sizes: Vec<u64> = ATTEMPTS.into_iter().filter(|k| *k < most).collect();
    sizes.push(most);
    let several = |k: u64| {
        let chances = counts
            .iter()
            .filter_map(|(passed, of)| Some((any_of(k, *passed, *of)?, all_of(k, *passed, *of)?)));
        let (any, all, tests) = chances.fold((0.0, 0.0, 0_u64), |sum, (any, all)| {
            (sum.0 + any, sum.1 + all, sum.2 + 1)
        });
        SeveralAttempts {
            k,
            any: any / tests as f64,
            all: all / tests as f64,
            tests,
        }
    };
    sizes.into_iter().map(several).collect()
}
