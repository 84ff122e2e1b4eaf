//! [`ComparisonDocument`]: two runs, joined by test and provider. [`SincePrevious`]: the short form at the end of a run.

mod class;
mod fairness;
mod measures;
mod side;
mod since_previous;
mod stability;

use std::iter;

use runner_model::row::{RowHead, read_line};
use runner_model::{Places as _, RowRef, units::plural};
use runner_record::{Manifest, ReadLine, RecordError, RunDir};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use class::{Class, ClassCounts, Outcomes};
pub use measures::{Estimate, Measure};
use side::{Scope, Side};
pub use since_previous::SincePrevious;
pub(crate) use stability::{Course, RECENT_RUNS, Seen, TestResult, isolated};

use crate::{RunSummary, VERSION, failure, json::Items, stored_tests};

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
    /// Tests that do not just pass in both runs: regressed, still failing, fixed, flaky, new, then gone ones, each in the order
    /// of the plan.
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
}

/// Tests that do not just pass in both runs. Their rows are read from disk at each use.
#[derive(Debug)]
pub struct Changes {
    base: RunDir,
    new: RunDir,
    providers: Option<[String; 2]>,
    /// Ascending by key.
    changed: Vec<Changed>,
}

/// A test that is listed. Takes 40 bytes.
#[derive(Debug)]
struct Changed {
    key: u64,
    class: Class,
    /// Number of the worst repeat's row in the new run; of a test that is gone, in the base.
    seq: u32,
    outcomes: [Option<Outcomes>; 2],
}

/// A test on a provider that does not just pass in both runs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Change<'a> {
    /// The change of the test.
    pub class: Class,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name. Of two compared providers, the newer one.
    pub provider: &'a str,
    /// Results of the earlier run. `null` if the test is new.
    pub base: Option<Outcomes>,
    /// Results of the later run. `null` if the test is gone.
    pub new: Option<Outcomes>,
    /// Reason of the new run's failure, on one line.
    pub reason: Option<String>,
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
        let measures = measures::measures(sides, &names, before == now, seed);
        let (mut changed, mut counts) = (Vec::new(), ClassCounts::default());
        let (mut unpaired_failures, mut skipped_failures) = (0, 0);
        let classes = class::classes(runs[1], manifests.each_ref(), sides, providers.is_some())?;
        for (pair, class) in iter::zip(side::pairs(&base, &new), classes) {
            counts.add(class);
            let shown = if class == Class::Gone { pair[0] } else { pair[1] };
            let worst = class::worst(shown);
            let is_unpaired = class == Class::Unpaired && pair[0].is_empty();
            let is_bad = worst.is_some_and(|worst| worst.outcome.is_bad());
            unpaired_failures += u64::from(is_unpaired && is_bad);
            skipped_failures += u64::from(class == Class::NotJudged && is_bad);
            changed.extend(worst.filter(|_| class < Class::Passing).map(|worst| Changed {
                key: worst.key,
                class,
                seq: worst.seq,
                outcomes: pair.map(class::outcomes),
            }));
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
        })
    }

    /// Returns the reasons why the runs cannot show that nothing got worse: the new run lacks results, or it has failures of
    /// tests whose results the base lacks.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let [base, new] = &self.incomplete;
        let failures = plural(self.unpaired_failures, "failing test has", "failing tests have");
        let base = base.iter().filter(|_| self.unpaired_failures > 0);
        let base = base.map(|reason| format!("base {reason}; {failures} no result there"));
        let skipped = plural(self.skipped_failures, "failing test was", "failing tests were");
        let skipped = (self.skipped_failures > 0).then(|| format!("{skipped} skipped in base"));
        new.iter().map(|reason| format!("new {reason}")).chain(base).chain(skipped).collect()
    }
}

impl Changes {
    /// Calls `each` for every test, by class and then in the order of the plan.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, mut each: impl FnMut(&Change<'_>)) -> Result<(), RecordError> {
        // Only the base has rows of tests that are gone, and their class is the last one.
        for (at, run) in [(1, &self.new), (0, &self.base)] {
            let (mut rows, suite) = (Vec::new(), stored_tests::plan(run));
            if !self.changed.iter().any(|changed| (changed.class == Class::Gone) == (at == 0)) {
                continue;
            }
            run.rows(&mut |offset, line| {
                if let ReadLine::Row(head, bytes) = line
                    && let Some(changed) = self.of(&head, at)
                {
                    let place = suite.as_ref().and_then(|suite| suite.index(&head.trial));
                    rows.push((changed.class, place, offset, bytes.len()));
                }
            })?;
            rows.sort_unstable();
            // Another program may have doubled rows.
            rows.dedup_by_key(|(_, place, offset, _)| place.ok_or(*offset));
            let places = rows.into_iter().map(|(_, _, offset, bytes)| (offset, bytes));
            run.rows_at(places, &mut |line| {
                if let Ok(head) = serde_json::from_slice(line)
                    && let Some(changed) = self.of(&head, at)
                    && let Ok(row) = read_line(line)
                {
                    each(&changed.with(&row));
                }
            })?;
        }
        Ok(())
    }

    /// Returns the test whose worst repeat has this row of the base, at 0, or of the new run.
    fn of(&self, row: &RowHead, at: usize) -> Option<&Changed> {
        let provider = self.providers.as_ref().map(|providers| &*providers[at]);
        let key = Scope { provider, ..Scope::default() }.key(&row.trial)?;
        let place = self.changed.binary_search_by_key(&key, |changed| changed.key).ok()?;
        let changed = &self.changed[place];
        let is_its = changed.seq == row.seq as u32 && (changed.class == Class::Gone) == (at == 0);
        (is_its && row.r#final).then_some(changed)
    }
}

impl Changed {
    fn with<'a>(&self, row: &'a RowRef<'_>) -> Change<'a> {
        let [base, new] = self.outcomes;
        let is_bad = new.is_some_and(|new| new.outcome.is_bad());
        Change {
            class: self.class,
            test: &row.test,
            provider: &row.provider,
            base,
            new,
            reason: is_bad.then(|| failure::headline(row)),
        }
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = Items::new(serializer)?;
        let read = self.each(|change| items.add(change));
        items.end(read)
    }
}

/// Returns the seed of resamples, which the plans determine.
fn seed(runs: &[Manifest; 2]) -> u64 {
    let digests = runs.iter().flat_map(|run| [run.metadata.suite, run.metadata.scenario_sha256]);
    digests.fold(0, |seed: u64, digest| {
        let word = digest.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        seed.rotate_left(1) ^ word
    })
}
