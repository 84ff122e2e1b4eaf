//! [`ComparisonDocument`]: two runs, joined by test and provider. [`SincePrevious`]: the short form at the end of a run.

mod changes;
mod class;
mod exact;
mod fairness;
mod measures;
mod since_previous;
mod stability;
mod summary;
mod unexpected;

use runner_model::{Outcome, units::plural};
use runner_record::{Manifest, RecordError, RunDir};
use runner_results::{RunTable, Scope, Side, TableRow, keep_selected, pairs};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::{changes::*, class::*, exact::*, measures::*, since_previous::*};
pub(crate) use stability::{Course, RECENT_RUNS, Seen, TestResult, isolated};
pub(crate) use unexpected::unexpected;
pub use unexpected::unexpected_of;

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
    /// The comparison in a sentence, for people.
    pub summary: String,
    /// Sentences about differences that make the comparison unfair. Damage comes first.
    pub cautions: Vec<String>,
    /// Tests by their change, each on each provider.
    pub counts: ClassCounts,
    /// Rates and means, by provider.
    pub measures: Vec<Measure>,
    /// Tests that do not just pass in both runs: regressed, still failing, passing although known, fixed, flaky, new
    /// ones, newly skipped ones,
    /// known failures, failing ones without a result in the base, then gone ones, each in the order of the plan.
    #[schemars(with = "Vec<Change<'_>>")]
    pub changes: Changes,
    /// Reasons why results of the base and of the new run may be missing.
    #[serde(skip)]
    incomplete: [Option<String>; 2],
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
        let [of_base, of_new] = [0, 1].map(|at| Scope {
            provider: providers.map(|providers| &*providers[at]),
            filter,
            has_metrics: true,
        });
        let mut base = Side::new(RunTable::open(runs[0])?, of_base)?;
        let mut new = Side::new(RunTable::open(runs[1])?, of_new)?;
        if filter.is_some() {
            keep_selected([&mut base, &mut new]);
        }
        let sides = [&base, &new];
        let names = manifests[1].providers.iter();
        let names = names.map(|name| providers.is_none().then(|| name.name.clone()));
        // First, because its memory is not needed together with that of the changes.
        let names = names.collect::<Vec<_>>();
        let seed = seed(&manifests);
        let [before, now] = manifests.each_ref().map(fairness::hosts);
        let (measures, lost) = measures::measures(sides, &names, before == now, seed);
        let (counts, changed) =
            Changed::all(runs[1], manifests.each_ref(), sides, providers.is_some())?;
        let timed_out =
            pairs(&base, &new).filter(|pair| before == now && has_newly_timed_out(*pair));
        let newly_timed_out = timed_out.count() as u64;
        let [base_root, new_root] = [runs[0].results_root(), runs[1].results_root()];
        let incomplete = [0, 1].map(|at| fairness::incomplete(runs[at], &manifests[at]));
        let mut document = Self {
            v: VERSION,
            base: RunSummary::from_run(&base_root, runs[0], &manifests[0]),
            new: RunSummary::from_run(&new_root, runs[1], &manifests[1]),
            summary: String::new(),
            cautions: fairness::cautions(manifests.each_ref(), &incomplete, sides, providers),
            counts,
            measures,
            changes: Changes {
                providers: providers.cloned(),
                changed,
                tables: [base.table, new.table],
            },
            providers: providers.cloned(),
            incomplete,
            newly_timed_out,
            lost,
        };
        document.summary = document.summarize();
        Ok(document)
    }

    /// Returns the reasons why the runs cannot show that nothing got worse: the new run lacks results, it has skipped tests that
    /// the base judged, or it has failures of tests whose results the base lacks.
    pub fn unknown(&self) -> Vec<String> {
        let [base, new] = &self.incomplete;
        let [of_base, of_new] =
            if self.base.head.id == self.new.head.id { ["the run"; 2] } else { ["base", "new"] };
        // Those that are missing in the base, and those that were skipped there.
        let [unpaired, skipped] = [Class::Unpaired, Class::NotJudged].map(|class| {
            let changed = self.changes.changed.iter();
            changed.filter(|test| test.class == class && test.fails_without_base()).count() as u64
        });
        let failures = plural(unpaired, "failure has", "failures have");
        let base = base.iter().filter(|_| unpaired > 0);
        let base = base.map(|reason| format!("{of_base} {reason}; {failures} no result there"));
        let was_skipped = plural(skipped, "failure was", "failures were");
        let skipped = (skipped > 0).then(|| format!("{was_skipped} skipped in base"));
        let newly_skipped = plural(self.counts.newly_skipped, "result was", "results were");
        let newly_skipped = (self.counts.newly_skipped > 0)
            .then(|| format!("{newly_skipped} judged in base and skipped in new"));
        let new = new.iter().map(|reason| format!("{of_new} {reason}"));
        new.chain(newly_skipped).chain(base).chain(skipped).collect()
    }
}

/// Returns whether a test had a duration in the base and no timeout, and now has one.
fn has_newly_timed_out([base, new]: [&[TableRow]; 2]) -> bool {
    let [had_timeout, has_timeout] =
        [base, new].map(|repeats| repeats.iter().any(|repeat| repeat.outcome == Outcome::Timeout));
    let mut ends = base.iter().map(|repeat| repeat.outcome);
    ends.any(|end| [Outcome::Passed, Outcome::Failed].contains(&end)) && !had_timeout && has_timeout
}

/// Returns the seed of resamples, which the plans determine.
fn seed(runs: &[Manifest; 2]) -> u64 {
    let digests = runs.iter().flat_map(|run| [run.metadata.suite, run.metadata.scenario_sha256]);
    digests.fold(0, |seed: u64, digest| {
        let word = digest.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        seed.rotate_left(1) ^ word
    })
}
