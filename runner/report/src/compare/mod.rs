//! [`ComparisonDocument`]: two runs, joined by test and provider. [`SincePrevious`]: the short form at the end of a run.

mod changes;
mod class;
mod fairness;
mod measures;
mod side;
mod since_previous;
mod stability;

use std::iter;

use runner_model::{Outcome, units::plural};
use runner_record::{Manifest, RecordError, RunDir};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::Serialize;

use changes::Changed;
pub use changes::{Change, Changes};
pub use class::{Class, ClassCounts, Outcomes};
pub use measures::{Estimate, LostMeasure, Measure};
use side::{Sample, Scope, Side};
pub use since_previous::SincePrevious;
pub(crate) use stability::{Course, RECENT_RUNS, Seen, TestResult, isolated};

use crate::{RunSummary, VERSION};

/// `runner compare`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparisonDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The earlier run.
    pub base: RunSummary,
    /// The later run.
    pub new: RunSummary,
    /// The provider of the base and that of the new run that are compared. Absent if each is compared with the one of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<[String; 2]>,
    /// Sentences about differences that make the comparison unfair. Damage comes first.
    pub cautions: Vec<String>,
    /// Tests by their change, each on each provider.
    pub counts: ClassCounts,
    /// Rates and means, by provider.
    pub measures: Vec<Measure>,
    /// Tests that do not just pass in both runs: regressed, still failing, fixed, flaky, new ones, newly skipped ones,
    /// failing ones without a result in the base, then gone ones, each in the order of the plan.
    #[schemars(with = "Vec<Change<'_>>")]
    pub changes: Changes,
    /// Reasons why results of the base and of the new run may be missing.
    #[serde(skip)]
    incomplete: [Option<String>; 2],
    /// Number of tests that fail in the new run and are missing in the base.
    #[serde(skip)]
    unpaired_failures: u64,
    /// Number of tests that fail in the new run and were skipped in the base.
    #[serde(skip)]
    skipped_failures: u64,
    /// Number of tests that had a duration in the base and timed out in the new run, on the same machine.
    #[serde(skip)]
    pub newly_timed_out: u64,
    /// Rates and means that only the base has.
    #[serde(skip)]
    pub lost: Vec<LostMeasure>,
}

impl ComparisonDocument {
    /// Compares the tests that a filter matches in one of two runs.
    ///
    /// # Errors
    ///
    /// A run cannot be read.
    pub fn read(
        [base, new]: [&RunDir; 2],
        providers: Option<&[String; 2]>,
        filter: Option<&Filter>,
    ) -> Result<Self, RecordError> {
        base.snapshot(|| new.snapshot(|| Self::read_once([base, new], providers, filter)))
    }

    fn read_once(
        runs: [&RunDir; 2],
        providers: Option<&[String; 2]>,
        filter: Option<&Filter>,
    ) -> Result<Self, RecordError> {
        let manifests = [runs[0].truth()?, runs[1].truth()?];
        let read = |at: usize| {
            let provider = providers.map(|providers| &*providers[at]);
            let scope = Scope { provider, filter, has_details: true };
            Side::read(runs[at], &manifests[at], scope)
        };
        let (mut base, mut new) = (read(0)?, read(1)?);
        if filter.is_some() {
            side::keep_selected([&mut base, &mut new]);
        }
        let sides = [&base, &new];
        let names = manifests[1].providers.iter();
        let names = names.map(|one| providers.is_none().then(|| one.name.clone()));
        // First, because its memory is not needed together with that of the changes.
        let (names, seed) = (names.collect::<Vec<_>>(), seed(&manifests));
        let [before, now] = manifests.each_ref().map(fairness::hosts);
        let (measures, lost) = measures::measures(sides, &names, before == now, seed);
        let (mut changed, mut counts) = (Vec::new(), ClassCounts::default());
        let (mut unpaired_failures, mut skipped_failures, mut newly_timed_out) = (0, 0, 0);
        let classes = class::classes(runs[1], manifests.each_ref(), sides, providers.is_some())?;
        for (pair, class) in iter::zip(side::pairs(&base, &new), classes) {
            let (word, _) = class;
            counts.add(word);
            newly_timed_out += u64::from(before == now && has_newly_timed_out(pair));
            let Some(change) = Changed::of(pair, class) else { continue };
            let fails = change.fails_without_base();
            unpaired_failures += u64::from(fails && word == Class::Unpaired);
            skipped_failures += u64::from(fails && word == Class::NotJudged);
            changed.push(change);
        }
        let summary = |at: usize| -> Result<RunSummary, RecordError> {
            Ok(RunSummary::from_run(&runs[at].results_root()?, runs[at], &manifests[at]))
        };
        let incomplete = [0, 1].map(|at| fairness::incomplete(runs[at], &manifests[at]));
        Ok(Self {
            v: VERSION,
            base: summary(0)?,
            new: summary(1)?,
            cautions: fairness::cautions(manifests.each_ref(), &incomplete, sides, providers),
            counts,
            measures,
            changes: Changes {
                base: runs[0].clone(),
                new: runs[1].clone(),
                providers: providers.cloned(),
                changed,
            },
            providers: providers.cloned(),
            incomplete,
            unpaired_failures,
            skipped_failures,
            newly_timed_out,
            lost,
        })
    }

    /// Returns the reasons why the runs cannot show that nothing got worse: the new run lacks results, it has skipped tests that
    /// the base judged, or it has failures of tests whose results the base lacks.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let [base, new] = &self.incomplete;
        let failures = plural(self.unpaired_failures, "failing test has", "failing tests have");
        let base = base.iter().filter(|_| self.unpaired_failures > 0);
        let base = base.map(|reason| format!("base {reason}; {failures} no result there"));
        let skipped = plural(self.skipped_failures, "failing test was", "failing tests were");
        let skipped = (self.skipped_failures > 0).then(|| format!("{skipped} skipped in base"));
        let newly_skipped = plural(self.counts.newly_skipped, "test was", "tests were");
        let newly_skipped = (self.counts.newly_skipped > 0)
            .then(|| format!("{newly_skipped} judged in base and skipped in new"));
        let new = new.iter().map(|reason| format!("new {reason}"));
        new.chain(newly_skipped).chain(base).chain(skipped).collect()
    }
}

/// Returns whether a test had a duration in the base and no timeout, and now has one.
fn has_newly_timed_out([base, new]: [&[Sample]; 2]) -> bool {
    let has = |repeats: &[Sample], wanted: &[Outcome]| {
        repeats.iter().any(|one| wanted.contains(&one.outcome))
    };
    let timeout = &[Outcome::Timeout];
    has(base, &[Outcome::Passed, Outcome::Failed]) && !has(base, timeout) && has(new, timeout)
}

/// Returns the seed of resamples, which the plans determine.
fn seed(runs: &[Manifest; 2]) -> u64 {
    let digests = runs.iter().flat_map(|run| [run.metadata.suite, run.metadata.scenario_sha256]);
    digests.fold(0, |seed: u64, digest| {
        let word = digest.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        seed.rotate_left(1) ^ word
    })
}
