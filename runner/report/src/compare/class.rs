//! [`Class`]: the change of a test between two runs.

use std::collections::{HashMap, HashSet};

use runner_model::Outcome;
use runner_model::units::grouped;
use runner_record::{Manifest, RecordError, ResultsRoot, ShortFingerprints};
use schemars::JsonSchema;
use serde::Serialize;

use super::side::{Sample, Scope};
use crate::failures;

/// Earlier runs, and their trials in total, that are searched for flaky tests.
const MAX_EARLIER: usize = 10;
const MAX_EARLIER_TRIALS: u64 = 200_000;

// The order of the variants is that of lists. Readers of `Gone` are last: only the base has their rows.
/// The change of a test on a provider between two runs. Skipped trials are not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// All repeats passed, and now one does not.
    Regressed,
    /// No repeat passes on either side.
    StillFailing,
    /// A repeat did not pass, and now all do.
    Fixed,
    /// Passed only after a retry or in some repeats, or has changed before without a reason.
    Flaky,
    /// Only in the new run.
    New,
    /// Only in the base.
    Gone,
    /// All repeats pass on both sides.
    Passing,
    /// No repeat was judged on one side.
    NotJudged,
    /// Missing in a run that has not run all tests.
    Unpaired,
}

/// Numbers of tests by their class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClassCounts {
    /// All repeats passed, and now one does not.
    pub regressed: u64,
    /// No repeat passes on either side.
    pub still_failing: u64,
    /// A repeat did not pass, and now all do.
    pub fixed: u64,
    /// Passed only after a retry or in some repeats, or has changed before without a reason.
    pub flaky: u64,
    /// Only in the new run.
    pub new: u64,
    /// Only in the base.
    pub gone: u64,
    /// All repeats pass on both sides.
    pub passing: u64,
    /// No repeat was judged on one side.
    pub not_judged: u64,
    /// Missing in a run that has not run all tests.
    pub unpaired: u64,
}

/// The repeats of a test on a provider in a run.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Outcomes {
    /// The worst outcome.
    pub outcome: Outcome,
    /// Repeats that passed.
    pub passed: u32,
    /// All repeats with a result.
    pub trials: u32,
}

impl Outcomes {
    /// Formats the outcome, or the number of passes if there are several repeats.
    #[must_use]
    pub fn text(&self) -> String {
        match self.trials {
            1 => self.outcome.to_string(),
            trials => {
                format!("{} of {} passed", grouped(self.passed.into()), grouped(trials.into()))
            }
        }
    }
}

/// Returns the worst of a test's repeats, the first of equal ones.
pub(crate) fn worst(repeats: &[Sample]) -> Option<&Sample> {
    repeats.iter().min_by_key(|sample| failures::rank(sample.outcome))
}

/// Sums up a test's repeats. `None` without any.
pub(crate) fn outcomes(repeats: &[Sample]) -> Option<Outcomes> {
    let passed = repeats.iter().filter(|sample| sample.outcome == Outcome::Passed).count();
    let outcome = worst(repeats)?.outcome;
    Some(Outcomes { outcome, passed: passed as u32, trials: repeats.len() as u32 })
}

impl Class {
    /// Returns the name in lists.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::Flaky => "flaky",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Passing => "still passing",
            Self::NotJudged => "not judged in both runs",
            Self::Unpaired => "in one run only",
        }
    }

    /// Classifies a test by its repeats in both runs. A missing test is new or gone only if the run without it [`has_all`]
    /// results.
    pub(crate) fn of(sides: [&[Sample]; 2], has_all: [bool; 2]) -> Self {
        let judged =
            sides.map(|repeats| repeats.iter().filter(|one| is_judged(one.outcome)).count());
        let passed = sides
            .map(|repeats| repeats.iter().filter(|one| one.outcome == Outcome::Passed).count());
        let is_flaky = sides.iter().copied().flatten().any(|sample| sample.flaky);
        let all = [0, 1].map(|side| passed[side] == judged[side]);
        match (sides.map(<[_]>::is_empty), all) {
            ([true, _], _) if has_all[0] => Self::New,
            ([_, true], _) if has_all[1] => Self::Gone,
            ([true, _] | [_, true], _) => Self::Unpaired,
            _ if judged.contains(&0) => Self::NotJudged,
            (_, [false, false]) if passed == [0, 0] => Self::StillFailing,
            (_, [false, false]) => Self::Flaky,
            _ if is_flaky => Self::Flaky,
            (_, [true, true]) => Self::Passing,
            (_, [true, false]) => Self::Regressed,
            (_, [false, true]) => Self::Fixed,
        }
    }
}

/// Returns whether a run has a result of every trial of its scenario.
pub(crate) fn has_all(run: &Manifest) -> bool {
    run.metadata.selection.is_whole() && run.counts.done() >= run.metadata.planned_trial_count
}

/// Returns whether a trial with this outcome counts as passed or as bad.
pub(crate) fn is_judged(outcome: Outcome) -> bool {
    outcome == Outcome::Passed || outcome.is_bad()
}

impl ClassCounts {
    pub(crate) fn add(&mut self, class: Class) {
        *match class {
            Class::Regressed => &mut self.regressed,
            Class::StillFailing => &mut self.still_failing,
            Class::Fixed => &mut self.fixed,
            Class::Flaky => &mut self.flaky,
            Class::New => &mut self.new,
            Class::Gone => &mut self.gone,
            Class::Passing => &mut self.passing,
            Class::NotJudged => &mut self.not_judged,
            Class::Unpaired => &mut self.unpaired,
        } += 1;
    }

    /// Returns the number of tests that are in both runs.
    #[must_use]
    pub fn paired(&self) -> u64 {
        let Self { regressed, still_failing, fixed, flaky, passing, not_judged, .. } = self;
        regressed + still_failing + fixed + flaky + passing + not_judged
    }

    /// Formats counts that are not 0: `2 regressed, 1 fixed`. `failing` is the word for regressed tests.
    #[must_use]
    pub fn text(&self, failing: &str) -> String {
        let words = [
            (self.regressed, failing),
            (self.fixed, Class::Fixed.title()),
            (self.still_failing, Class::StillFailing.title()),
            (self.flaky, Class::Flaky.title()),
            (self.new, Class::New.title()),
            (self.gone, Class::Gone.title()),
            (self.passing, Class::Passing.title()),
            (self.not_judged, Class::NotJudged.title()),
            (self.unpaired, Class::Unpaired.title()),
        ];
        let shown = words.iter().filter(|(count, _)| *count > 0);
        let shown: Vec<_> =
            shown.map(|(count, word)| format!("{} {word}", grouped(*count))).collect();
        shown.join(", ")
    }
}

/// Returns the ascending `keys` of tests that were flaky in the last runs before `new`: they passed after a retry, or both
/// passed and failed with the same fingerprints.
pub(crate) fn flaky_before(
    root: &ResultsRoot,
    new: &Manifest,
    keys: &[u64],
) -> Result<HashSet<u64>, RecordError> {
    let (mut flaky, mut seen) = (HashSet::new(), HashMap::<_, bool>::new());
    if keys.is_empty() {
        return Ok(flaky);
    }
    let (mut trials, mut left) = (root.trials()?, MAX_EARLIER_TRIALS);
    for (run, manifest) in root.earlier_runs(new)?.take(MAX_EARLIER) {
        left = left.saturating_sub(manifest.counts.done());
        if left == 0 {
            break;
        }
        let found = trials.of_run(&run, &Vec::new, &mut |found: &mut Vec<_>, result| {
            let key =
                Scope::default().key(&result.trial).filter(|key| keys.binary_search(key).is_ok());
            found.extend(key.filter(|_| is_judged(result.outcome)).map(|key| (key, result)));
        });
        // Runs that cannot be read have no part in the comparison.
        for (key, result) in found.map(|found| found.results).unwrap_or_default() {
            let has_passed = result.outcome == Outcome::Passed;
            let place: (u64, ShortFingerprints) = (key, result.fingerprints);
            if result.flaky || *seen.entry(place).or_insert(has_passed) != has_passed {
                flaky.insert(key);
            }
        }
    }
    Ok(flaky)
}
