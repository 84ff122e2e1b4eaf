//! [`TestResult`]: the result of a test in a run. [`Course`] and [`unstable`]: tests whose results change without a cause.

use std::{collections::HashMap, iter};

use runner_model::{Counts, Grants, Outcome, known::KnownState};
use runner_record::{Manifest, ManifestProvider, RecordError, ResultsRoot, RunDir};
use runner_results::{RunTable, TableRow, hash, key};

/// Newest runs in which the changes of a test are counted.
pub(crate) const RECENT_RUNS: usize = 10;
/// Changes of a result in these runs that no cause but chance explains.
const UNSTABLE_CHANGES: u8 = 3;
/// Trials of these runs together, whose results may have to be read from all rows once.
const MAX_TRIALS: u64 = 400_000;

/// The result of a test on a provider in a run, over its repeats. Without a pass and a failure, it was not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestResult {
    /// A repeat passed.
    pub(crate) has_pass: bool,
    /// A repeat failed, also with an error or a timeout.
    pub(crate) has_failure: bool,
    /// A repeat passed after an attempt that did not.
    pub(crate) has_retried_pass: bool,
    /// A repeat is a known failure.
    has_known: bool,
    /// A repeat makes the verdict `failed`.
    pub(crate) has_unexpected: bool,
}

impl TestResult {
    pub(crate) fn add(&mut self, outcome: Outcome, flaky: bool, state: KnownState) {
        self.has_pass |= outcome == Outcome::Passed;
        self.has_failure |= outcome.is_bad();
        self.has_retried_pass |= flaky && outcome == Outcome::Passed;
        self.has_known |= state == KnownState::Known;
        self.has_unexpected |= state.is_unexpected(outcome);
    }

    pub(crate) fn is_judged(self) -> bool {
        self.has_pass || self.has_failure
    }

    /// Returns whether the test failed, and its list expects that.
    pub(crate) fn is_known(self) -> bool {
        self.has_known && !self.has_unexpected
    }

    /// Returns whether the run has both results of the test: in its repeats, or in the attempts of one.
    pub(crate) fn has_both(self) -> bool {
        self.has_pass && (self.has_failure || self.has_retried_pass)
    }
}

impl From<&Counts> for TestResult {
    fn from(counts: &Counts) -> Self {
        Self {
            has_pass: counts.passed > 0,
            has_failure: counts.bad() > 0,
            has_retried_pass: counts.flaky > 0,
            has_known: counts.known > 0,
            has_unexpected: counts.unexpected() > 0,
        }
    }
}

/// Results of a test on a provider in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) result: TestResult,
    /// Hash of the fingerprints of all repeats, in any order.
    pub(crate) fingerprints: u32,
}

impl Seen {
    /// Adds the newest result of a trial.
    pub(crate) fn add(&mut self, table: &RunTable, row: TableRow) {
        self.result.add(row.outcome, row.is_flaky(), row.state);
        let fingerprints = table.fingerprints(row.number);
        self.fingerprints ^= hash(&(table.repeat(row.trial), fingerprints)) as u32;
    }
}

/// The changes of a test's result over [`RECENT_RUNS`], which are added from the newest back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    /// The test in the next newer run that judged it.
    next: Option<Seen>,
    changes: u8,
}

impl Course {
    pub(crate) fn add(&mut self, older: Seen) {
        if !older.result.is_judged() {
            return;
        }
        let has_changed = self.next.is_some_and(|newer| {
            let [was, is] = [older.result, newer.result];
            !was.has_both()
                && !is.has_both()
                && was.has_pass != is.has_pass
                && older.fingerprints == newer.fingerprints
        });
        self.changes += u8::from(has_changed);
        self.next = Some(older);
    }

    /// Returns whether the result changed too often for regressions. A test that broke, was mended and broke again changed
    /// twice.
    pub(crate) fn is_unstable(self) -> bool {
        self.changes >= UNSTABLE_CHANGES
    }
}

/// Returns for each provider of a run whether fingerprints have everything that decides its results: neither it nor a grader of
/// the run has network, folders or secrets. A service, a model or a file changes without a change of fingerprints.
pub(crate) fn isolated(run: &Manifest) -> Vec<bool> {
    let is_isolated = |grants: &Grants| {
        grants.net.is_empty() && grants.fs.is_empty() && grants.secret_names().is_empty()
    };
    let isolated = run.providers.iter().map(|ManifestProvider { grants, is_grader, .. }| {
        let mut tools =
            run.providers.iter().filter(|one| one.is_tool && grants.tools.contains(&one.name));
        let is_isolated = is_isolated(grants) && tools.all(|tool| is_isolated(&tool.grants));
        (is_isolated, *is_grader)
    });
    let are_graders = isolated.clone().all(|(is_isolated, is_grader)| is_isolated || !is_grader);
    isolated.map(|(is_isolated, _)| are_graders && is_isolated).collect()
}

/// Returns those of the ascending `keys` of tests that are unstable in a run and the earlier ones of its scenario, with their
/// numbers of changes.
pub(crate) fn unstable(
    root: &ResultsRoot,
    (new, manifest): (&RunDir, &Manifest),
    keys: &[u64],
) -> Result<HashMap<u64, u8>, RecordError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut left = MAX_TRIALS;
    let mut courses = vec![Course::default(); keys.len()];
    let own = iter::once((new.clone(), manifest.clone()));
    for (run, manifest) in own.chain(root.earlier_runs(manifest)?).take(RECENT_RUNS) {
        left = left.saturating_sub(manifest.counts.done());
        if left == 0 {
            break;
        }
        // Runs that cannot be read have no part in the comparison.
        let Ok(table) = RunTable::open(&run) else { continue };
        let mut seen = vec![Seen::default(); keys.len()];
        for row in table.settling() {
            let (test, provider) = table.names(row.trial);
            if let Ok(place) = keys.binary_search(&key(test, provider)) {
                seen[place].add(&table, row);
            }
        }
        iter::zip(&mut courses, seen).for_each(|(course, seen)| course.add(seen));
    }
    let courses = iter::zip(keys, courses).filter(|(_, course)| course.is_unstable());
    Ok(courses.map(|(key, course)| (*key, course.changes)).collect())
}
