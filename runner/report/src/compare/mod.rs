//! [`ComparisonDocument`]: two runs, joined by test and provider. [`SincePrevious`]: the short form at the end of a run.

mod class;
mod fairness;
mod measures;
mod side;
mod since_previous;

use runner_model::row::{RowHead, read_line};
use runner_model::{Places as _, RowRef};
use runner_record::{Manifest, ReadLine, RecordError, RunDir};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use class::{Class, ClassCounts, Outcomes};
pub use measures::{Estimate, Measure};
use side::{Sample, Scope, Side};
pub use since_previous::SincePrevious;

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
        let has_all = manifests.each_ref().map(class::has_all);
        let (mut changed, mut counts) = (Vec::new(), ClassCounts::default());
        for pair in side::pairs(&base, &new) {
            let class = Class::of(pair, has_all);
            let shown = if class == Class::Gone { pair[0] } else { pair[1] };
            match class::worst(shown).filter(|_| class < Class::Passing) {
                Some(&Sample { key, seq, .. }) => {
                    let outcomes = pair.map(class::outcomes);
                    changed.push(Changed { key, class, seq, outcomes });
                }
                None => counts.add(class),
            }
        }
        if providers.is_none() {
            mark_flaky(runs[1], &manifests[1], &mut changed)?;
        }
        changed.iter().for_each(|changed| counts.add(changed.class));
        let summary = |at: usize| -> Result<RunSummary, RecordError> {
            Ok(RunSummary::from_run(&runs[at].results_root()?, runs[at], &manifests[at]))
        };
        Ok(Self {
            v: VERSION,
            base: summary(0)?,
            new: summary(1)?,
            cautions: fairness::cautions(
                [(runs[0], &manifests[0]), (runs[1], &manifests[1])],
                sides,
                providers,
            ),
            counts,
            measures,
            changes: Changes {
                base: runs[0].clone(),
                new: runs[1].clone(),
                providers: providers.cloned(),
                changed,
            },
            providers: providers.cloned(),
        })
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

/// Changes the class of tests that were flaky in earlier runs.
fn mark_flaky(
    new: &RunDir,
    manifest: &Manifest,
    changed: &mut [Changed],
) -> Result<(), RecordError> {
    let is_change =
        |changed: &&mut Changed| matches!(changed.class, Class::Regressed | Class::Fixed);
    let keys = changed.iter_mut().filter(is_change).map(|changed| changed.key);
    let flaky = class::flaky_before(&new.results_root()?, manifest, &keys.collect::<Vec<_>>())?;
    for changed in changed.iter_mut().filter(is_change) {
        if flaky.contains(&changed.key) {
            changed.class = Class::Flaky;
        }
    }
    Ok(())
}

/// Returns the seed of resamples, which the plans determine.
fn seed(runs: &[Manifest; 2]) -> u64 {
    let digests = runs.iter().flat_map(|run| [run.metadata.suite, run.metadata.scenario_sha256]);
    digests.fold(0, |seed: u64, digest| {
        let word = digest.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        seed.rotate_left(1) ^ word
    })
}
