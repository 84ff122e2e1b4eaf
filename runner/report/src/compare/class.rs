//! [`Class`]: the change of a test between two runs.

use std::iter;

use runner_model::{Outcome, known::KnownState, units::grouped};
use runner_record::{Manifest, RecordError, RunDir};
use runner_results::{Side, TableRow, pairs, rank};
use schemars::JsonSchema;
use serde::Serialize;

use super::stability::{TestResult, isolated, unstable};
use crate::phrases;

// The order of the variants is that of lists. Tests that are gone come last there: only the base has their rows.
/// The change of a test on a provider between two runs. Skipped trials are not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Repeats passed, and now none does; or all did at once, and now one does not; or all failures were known, and now none
    /// passes and one is unexpected.
    Regressed,
    /// No repeat passes on either side.
    StillFailing,
    /// All repeats pass on both sides, and the list of the new run expects a failure.
    UnexpectedPass,
    /// A repeat did not pass, and now all do.
    Fixed,
    /// Passes only after a retry or in some repeats, or has changed in recent runs without a cause.
    Flaky,
    /// Only in the new run.
    New,
    /// Judged in the base, and the new run has skipped all repeats.
    NewlySkipped,
    /// In both runs, and the list of the new run expects all of its failures there, of which there is one.
    Known,
    /// Only in the base.
    Gone,
    /// All repeats pass on both sides, as expected.
    Passing,
    /// The base has skipped all repeats.
    NotJudged,
    /// Missing in a run that has not run all tests.
    Unpaired,
}

/// Numbers of tests by their class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClassCounts {
    /// Repeats passed, and now none does; or all did at once, and now one does not; or all failures were known, and now none
    /// passes and one is unexpected.
    pub regressed: u64,
    /// No repeat passes on either side.
    pub still_failing: u64,
    /// All repeats pass on both sides, and the list of the new run expects a failure.
    #[serde(skip_serializing_if = "is_zero")]
    pub unexpected_pass: u64,
    /// A repeat did not pass, and now all do.
    pub fixed: u64,
    /// Passes only after a retry or in some repeats, or has changed in recent runs without a cause.
    pub flaky: u64,
    /// Only in the new run.
    pub new: u64,
    /// Judged in the base, and the new run has skipped all repeats.
    pub newly_skipped: u64,
    /// In both runs, and the list of the new run expects all of its failures there, of which there is one.
    #[serde(skip_serializing_if = "is_zero")]
    pub known: u64,
    /// Only in the base.
    pub gone: u64,
    /// All repeats pass on both sides, as expected.
    pub passing: u64,
    /// The base has skipped all repeats.
    pub not_judged: u64,
    /// Missing in a run that has not run all tests.
    pub unpaired: u64,
}

/// The repeats of a test on a provider in a run.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct Outcomes {
    /// The worst outcome. Known failures are better than others.
    pub outcome: Outcome,
    /// `known` if it is that of a known failure, `unexpected-pass` if it is a pass that the list does not expect. Absent for other
    /// outcomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownState>,
    /// Repeats that passed.
    pub passed: u32,
    /// All repeats with a result.
    pub trials: u32,
    /// Mean score of the repeats that have one. Absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

impl Outcomes {
    /// Returns whether the worst outcome is unexpected.
    pub fn is_failing(&self) -> bool {
        self.known.unwrap_or_default().is_unexpected(self.outcome)
    }

    /// Formats the outcome, or the number of passes if there are several repeats.
    pub fn text(&self) -> String {
        match self.trials {
            1 => phrases::outcome(self.outcome, self.known).to_owned(),
            trials => {
                format!("{} of {} passed", grouped(self.passed.into()), grouped(trials.into()))
            }
        }
    }
}

/// Returns the worst of a test's repeats, the first of equal ones. Known failures come after others.
pub(crate) fn worst(repeats: &[TableRow]) -> Option<&TableRow> {
    let is_known = |row: &TableRow| row.state == KnownState::Known;
    repeats.iter().min_by_key(|row| (!row.outcome.is_bad(), is_known(row), rank(row.outcome)))
}

/// Sums up a test's repeats. `None` without any.
pub(crate) fn outcomes(repeats: &[TableRow]) -> Option<Outcomes> {
    let passed = repeats.iter().filter(|row| row.outcome == Outcome::Passed).count();
    let TableRow { outcome, state, .. } = *worst(repeats)?;
    let (passed, trials) = (passed as u32, repeats.len() as u32);
    let score = mean(repeats, |row| row.score);
    Some(Outcomes { outcome, known: state.listed(), passed, trials, score })
}

impl Class {
    /// All classes in the order of texts.
    const OF_COUNTS: [Self; 12] = [
        Self::Regressed,
        Self::Fixed,
        Self::StillFailing,
        Self::UnexpectedPass,
        Self::Known,
        Self::Flaky,
        Self::NewlySkipped,
        Self::New,
        Self::Gone,
        Self::Passing,
        Self::NotJudged,
        Self::Unpaired,
    ];

    /// Returns the name in lists. Two providers have no order in time, so one is better or worse, not fixed or regressed.
    pub(crate) fn title(self, providers: Option<&[String; 2]>) -> String {
        let none = [String::new(), String::new()];
        let [base, new] = providers.unwrap_or(&none);
        let (of_runs, of_providers, name) = match self {
            Self::Regressed => ("regressed", "worse than ", base),
            Self::StillFailing => ("still failing", "failing on both", &none[0]),
            Self::UnexpectedPass => ("passing although known", "passing although known on ", new),
            Self::Fixed => ("fixed", "better than ", base),
            Self::Flaky => ("flaky", "flaky", &none[0]),
            Self::New => ("new", "only on ", new),
            Self::NewlySkipped => ("newly skipped", "skipped only on ", new),
            Self::Known => ("known", "known on ", new),
            Self::Gone => ("gone", "only on ", base),
            Self::Passing => ("still passing", "passing on both", &none[0]),
            Self::NotJudged => ("not judged in both runs", "skipped on ", base),
            Self::Unpaired => ("in one run only", "in one run only", &none[0]),
        };
        if providers.is_some() { format!("{of_providers}{name}") } else { of_runs.to_owned() }
    }

    /// Returns whether a test with these results fails in the new run, and the base has no result to compare with.
    pub(super) fn fails_without_base(self, new: Option<Outcomes>) -> bool {
        matches!(self, Self::New | Self::NotJudged | Self::Unpaired)
            && new.is_some_and(|new| new.is_failing())
    }

    /// Classifies a test by its repeats in both runs. A missing test is new or gone only if the run without it [`has_all`]
    /// results.
    fn of(sides: [&[TableRow]; 2], has_all: [bool; 2], compares_providers: bool) -> Self {
        match sides.map(<[_]>::is_empty) {
            [true, _] if has_all[0] => Self::New,
            [_, true] if has_all[1] => Self::Gone,
            [false, false] => {
                let results = sides.map(|repeats| {
                    let mut result = TestResult::default();
                    repeats
                        .iter()
                        .for_each(|one| result.add(one.outcome, one.is_flaky(), one.state));
                    result
                });
                let base_has_pass = results[0].has_pass;
                match Self::of_results(results) {
                    // That one provider is known to fail makes the other no worse.
                    Self::Regressed if compares_providers && !base_has_pass => Self::StillFailing,
                    class => class,
                }
            }
            _ => Self::Unpaired,
        }
    }

    /// Classifies a test by its results in both runs, without the runs before.
    pub(crate) fn of_results([base, new]: [TestResult; 2]) -> Self {
        if !base.is_judged() {
            Self::NotJudged
        } else if !new.is_judged() {
            Self::NewlySkipped
        } else if new.is_known() {
            Self::Known
        } else if new.has_both() {
            let fell = base.has_pass && !base.has_both() && new.has_failure;
            if fell { Self::Regressed } else { Self::Flaky }
        } else if new.has_pass {
            match (base.has_failure, new.has_unexpected) {
                (true, _) => Self::Fixed,
                (false, true) => Self::UnexpectedPass,
                (false, false) => Self::Passing,
            }
        } else if base.has_pass || base.is_known() {
            Self::Regressed
        } else {
            Self::StillFailing
        }
    }

    /// Returns whether a test that changes without a cause is flaky instead.
    pub(crate) fn is_change(self) -> bool {
        matches!(self, Self::Regressed | Self::Fixed)
    }
}

/// Classifies the tests of two runs, in the order of [`pairs`]: by both results, and by the runs before the newer one unless two
/// providers are compared. Each class comes with the number of changes in recent runs if they make the test flaky, else 0.
pub(crate) fn classes(
    new: &RunDir,
    manifests: [&Manifest; 2],
    sides: [&Side; 2],
    compares_providers: bool,
) -> Result<Vec<(Class, u8)>, RecordError> {
    let has_all = manifests.map(has_all);
    let mut classes: Vec<_> = pairs(sides[0], sides[1])
        .map(|pair| (Class::of(pair, has_all, compares_providers), 0))
        .collect();
    let isolated = isolated(manifests[1]);
    if compares_providers || !isolated.contains(&true) {
        return Ok(classes);
    }
    let changed = iter::zip(pairs(sides[0], sides[1]), &mut classes).filter_map(|(pair, class)| {
        let row = pair[1].first().filter(|_| class.0.is_change())?;
        isolated[sides[1].table.provider(row.trial)].then_some((sides[1].key(row), class))
    });
    let (keys, changed): (Vec<_>, Vec<_>) = changed.unzip();
    let unstable = unstable(&new.results_root(), (new, manifests[1]), &keys)?;
    for (key, class) in iter::zip(&keys, changed) {
        if let Some(changes) = unstable.get(key) {
            *class = (Class::Flaky, *changes);
        }
    }
    Ok(classes)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Returns whether a run has a result of every trial of its scenario.
pub(crate) fn has_all(run: &Manifest) -> bool {
    run.metadata.selection.is_whole() && run.counts.is_whole(run.metadata.planned_trial_count)
}

/// Returns the mean of a test's repeats that have a value, which an `f32` can hold.
pub(super) fn mean(repeats: &[TableRow], value: impl Fn(&TableRow) -> Option<f64>) -> Option<f64> {
    let mut sum = 0.0;
    let mut count = 0.0;
    for value in repeats.iter().filter_map(value).filter(|value| value.is_finite()) {
        (sum, count) = (sum + value, count + 1.0);
    }
    (count > 0.0).then(|| sum / count)
}

/// Returns whether a trial with this outcome counts as passed or as bad.
pub(crate) fn is_judged(outcome: Outcome) -> bool {
    outcome == Outcome::Passed || outcome.is_bad()
}

impl ClassCounts {
    pub(crate) fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Regressed => &mut self.regressed,
            Class::StillFailing => &mut self.still_failing,
            Class::UnexpectedPass => &mut self.unexpected_pass,
            Class::Fixed => &mut self.fixed,
            Class::Flaky => &mut self.flaky,
            Class::New => &mut self.new,
            Class::NewlySkipped => &mut self.newly_skipped,
            Class::Known => &mut self.known,
            Class::Gone => &mut self.gone,
            Class::Passing => &mut self.passing,
            Class::NotJudged => &mut self.not_judged,
            Class::Unpaired => &mut self.unpaired,
        }
    }

    /// Returns the number of tests that are in both runs.
    pub fn paired(&self) -> u64 {
        let Self {
            regressed,
            still_failing,
            unexpected_pass,
            fixed,
            flaky,
            newly_skipped,
            known,
            passing,
            not_judged,
            ..
        } = self;
        let failing = regressed + still_failing + unexpected_pass;
        failing + fixed + flaky + newly_skipped + known + passing + not_judged
    }

    /// Formats counts that are not 0: `2 regressed, 1 fixed`.
    pub(crate) fn text(mut self, title: impl Fn(Class) -> String) -> String {
        let counts = Class::OF_COUNTS.map(|class| (*self.of(class), class));
        let shown = counts.into_iter().filter(|(count, _)| *count > 0);
        let shown = shown.map(|(count, class)| format!("{} {}", grouped(count), title(class)));
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
#[path = "../tests/class.rs"]
mod tests;
