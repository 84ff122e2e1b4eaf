//! [`trends`]: what tests came to over many runs.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    time::Duration,
};

use globset::GlobMatcher;
use miette::miette;

use super::selecting;
use crate::{
    error::Error,
    filter::Filter,
    record::{RecordError, RunEntry, RunFilter, RunTest, RunTests, Store},
    view::{DocumentVersion, SlowerTest, TestTrend, TestTrends, TrendOutcome, TrendRun},
};

/// How many of the newest runs a test is slower in, if it is said to be.
const NEWEST: usize = 5;
/// How much slower it must be in the middle.
const SLOWER: f64 = 1.2;
/// How many names of scenarios an error has.
const MAX_NAMES: usize = 10;

/// Which tests of which runs.
#[derive(Clone, Debug)]
pub struct AskedTrends {
    /// Only runs of scenarios whose name matches; without it and without `test`, of the newest run's scenario.
    pub scenario: Option<GlobMatcher>,
    /// Only tests whose id matches.
    pub test: Option<GlobMatcher>,
    /// Only tests that this means, each with a provider; it may ask for these and for what another run says of them.
    pub filter: Option<Filter>,
    /// Only so many of the newest runs.
    pub last: usize,
}

/// What tests came to over many runs.
#[derive(Debug)]
pub struct FoundTrends {
    /// The document.
    pub trends: TestTrends,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, RecordError)>,
}

/// Tells what tests came to over many runs.
///
/// # Errors
///
/// Fails if the results root cannot be read, no run or no test is meant, or the filter asks for what is not known here.
pub fn trends(store: &Store, asked: &AskedTrends) -> Result<FoundTrends, Error> {
    let filter = asked.filter.clone().map(|filter| {
        filter.check_for_history().map_err(Error::usage)?;
        selecting::resolve(filter, store.root())
    });
    let wanted = WantedTests {
        test: asked.test.as_ref(),
        filter: filter.transpose()?,
    };
    let found = store.runs(&RunFilter::default()).map_err(Error::record)?;
    let mut unreadable = found.unreadable;
    let mut runs = chosen(found.runs, asked)?;
    runs.reverse();
    let mut gathered = Gathering::default();
    let mut shown = Vec::new();
    let read = store.run_tests(&runs);
    let mut texts = Vec::with_capacity(runs.len());
    for (run, tests) in runs.into_iter().zip(read) {
        match tests {
            Ok(tests) => texts.push((run, tests)),
            Err(error) => unreadable.push((run.dir, error)),
        }
    }
    for (place, (run, tests)) in texts.iter().enumerate() {
        shown.push(gathered.add(place, run, tests, &wanted));
    }
    if gathered.tests.is_empty() && (asked.test.is_some() || asked.filter.is_some()) {
        return Err(Error::usage(miette!(
            "none of the runs has a test with a row that is meant"
        )));
    }
    let mut tests: Vec<_> = gathered
        .tests
        .into_iter()
        .map(|cells| cells.trend(shown.len()))
        .collect();
    tests.sort_by(|one, other| {
        order(one)
            .partial_cmp(&order(other))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(FoundTrends {
        trends: TestTrends {
            v: DocumentVersion,
            filter: asked.filter.as_ref().map(ToString::to_string),
            runs: shown,
            tests,
        },
        unreadable,
    })
}

/// Which tests are meant.
struct WantedTests<'a> {
    test: Option<&'a GlobMatcher>,
    filter: Option<Filter>,
}

impl WantedTests<'_> {
    fn means(&self, key: &str) -> bool {
        let (test, provider) = key.split_once('\t').unwrap_or((key, ""));
        self.test.is_none_or(|wanted| wanted.is_match(test))
            && (self.filter.as_ref())
                .is_none_or(|filter| selecting::means_test(filter, test, provider))
    }
}

/// The runs that are meant, the newest first.
fn chosen(mut runs: Vec<RunEntry>, asked: &AskedTrends) -> Result<Vec<RunEntry>, Error> {
    let newest = runs.first().map(|run| run.scenario.clone());
    let Some(newest) = newest else {
        return Err(Error::usage(miette!("there are no runs")));
    };
    let names: BTreeSet<String> = runs.iter().map(|run| run.scenario.clone()).collect();
    match (&asked.scenario, &asked.test) {
        (Some(scenario), _) => runs.retain(|run| scenario.is_match(&run.scenario)),
        (None, None) => runs.retain(|run| run.scenario == newest),
        (None, Some(_)) => {}
    }
    if runs.is_empty() {
        let known: Vec<_> = names
            .iter()
            .take(MAX_NAMES)
            .map(|name| format!("`{name}`"))
            .collect();
        return Err(Error::usage(miette!(
            help = format!("there are runs of {}", known.join(", ")),
            "there are no runs of a scenario with this name"
        )));
    }
    runs.truncate(asked.last);
    Ok(runs)
}

/// Those that do not pass now come first, then those that are most often flaky, then those that have passed least.
fn order(test: &TestTrend) -> (bool, f64, f64, &str, &str, &str) {
    let latest = test.outcomes.iter().rev().flatten().next();
    let passes = matches!(
        latest,
        None | Some(TrendOutcome::Passed | TrendOutcome::Skipped)
    );
    // What was never judged has nothing against it.
    let passed = share(test.passed, test.judged).unwrap_or(1.0);
    (
        passes,
        -test.flake_rate.unwrap_or_default(),
        passed,
        &test.scenario,
        &test.test,
        &test.provider,
    )
}

/// What is known of the tests so far.
#[derive(Default)]
struct Gathering<'a> {
    places: HashMap<(&'a str, &'a str), usize>,
    tests: Vec<TestCells<'a>>,
}

/// A test with a provider, and what it came to in the runs that have it.
struct TestCells<'a> {
    scenario: &'a str,
    key: &'a str,
    cells: Vec<(usize, RunTest<'a>)>,
}

impl<'a> Gathering<'a> {
    fn add(
        &mut self,
        place: usize,
        run: &'a RunEntry,
        tests: &'a RunTests,
        wanted: &WantedTests<'_>,
    ) -> TrendRun {
        let (mut passed, mut judged) = (0, 0);
        for test in tests.iter() {
            if !wanted.means(test.key) {
                continue;
            }
            passed += u64::from(test.passed);
            judged += u64::from(test.judged);
            let tests = &mut self.tests;
            let at = *self
                .places
                .entry((&run.scenario, test.key))
                .or_insert_with(|| {
                    tests.push(TestCells {
                        scenario: &run.scenario,
                        key: test.key,
                        cells: Vec::new(),
                    });
                    tests.len() - 1
                });
            self.tests[at].cells.push((place, test));
        }
        TrendRun {
            run: run.id.clone(),
            scenario: run.scenario.clone(),
            status: run.status,
            verdict: run.verdict,
            started_at: run.started_at,
            passed,
            judged,
            pass_rate: share(passed, judged),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

impl TestCells<'_> {
    fn trend(self, runs: usize) -> TestTrend {
        let (test, provider) = self.key.split_once('\t').unwrap_or((self.key, ""));
        let mut outcomes = vec![None; runs];
        let (mut judged, mut passed, mut flaky) = (0, 0, 0);
        let mut before: Option<(bool, u32)> = None;
        let mut times = Vec::new();
        for (place, cell) in &self.cells {
            outcomes[*place] = Some(TrendOutcome::of(cell.outcome, cell.is_flaky));
            if cell.micros > 0 {
                times.push(Duration::from_micros(cell.micros).as_secs_f64() * 1e3);
            }
            if cell.judged == 0 {
                continue;
            }
            let is_pass = cell.passed == cell.judged;
            let turned = before == Some((!is_pass, cell.fingerprint));
            before = Some((is_pass, cell.fingerprint));
            judged += 1;
            passed += u64::from(is_pass);
            flaky += u64::from(cell.is_flaky || turned);
        }
        TestTrend {
            scenario: self.scenario.to_owned(),
            test: test.to_owned(),
            provider: provider.to_owned(),
            outcomes,
            judged,
            passed,
            flaky,
            flake_rate: share(flaky, judged),
            slower: slower(&times),
            duration_ms: median(times),
        }
    }
}

/// Whether a test with these durations, the oldest first, takes longer than before.
fn slower(times: &[f64]) -> Option<SlowerTest> {
    let (before, now) = times.split_at_checked(times.len().checked_sub(NEWEST)?)?;
    if before.len() < NEWEST {
        return None;
    }
    let before_ms = median(before.to_vec())?;
    let now_ms = median(now.to_vec())?;
    let is_slower = now_ms >= before_ms * SLOWER && now.iter().all(|time| *time > before_ms);
    is_slower.then_some(SlowerTest { before_ms, now_ms })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(match values.len() % 2 {
        1 => upper,
        _ => f64::midpoint(values[middle - 1], upper),
    })
}

#[cfg(test)]
mod tests {
    use super::{TestCells, median, slower};
    use crate::{model::Outcome, record::RunTest, view::TrendOutcome};

    fn cell(outcome: Outcome, is_flaky: bool, fingerprint: u32) -> RunTest<'static> {
        RunTest {
            key: "t\tp",
            passed: u32::from(outcome == Outcome::Passed),
            judged: u32::from(outcome != Outcome::Skipped),
            outcome,
            is_flaky,
            micros: 1_000,
            fingerprint,
        }
    }

    #[test]
    fn a_test_is_flaky_where_it_turns_and_nothing_has_changed() {
        let cells = [
            (0, cell(Outcome::Passed, false, 1)),
            // It was skipped in between, and in another run it was not at all.
            (1, cell(Outcome::Skipped, false, 1)),
            (3, cell(Outcome::Failed, false, 1)),
            (4, cell(Outcome::Passed, false, 2)),
            (5, cell(Outcome::Passed, true, 2)),
        ];
        let trend = TestCells {
            scenario: "s",
            key: "t\tp",
            cells: cells.to_vec(),
        }
        .trend(6);
        let glyphs: String = trend
            .outcomes
            .iter()
            .map(|one| TrendOutcome::glyph(*one))
            .collect();
        assert_eq!(glyphs, "✓-·✗✓~");
        assert_eq!((trend.judged, trend.passed, trend.flaky), (4, 3, 2));
        assert_eq!(trend.flake_rate, Some(0.5));
    }

    #[test]
    fn slower_is_what_takes_longer_each_time() {
        let before = [10.0, 11.0, 9.0, 10.0, 12.0];
        let with = |now: [f64; 5]| slower(&[before, now].concat()).map(|slower| slower.now_ms);
        assert_eq!(with([15.0, 14.0, 16.0, 13.0, 15.0]), Some(15.0));
        assert_eq!(with([15.0, 14.0, 9.0, 13.0, 15.0]), None, "not each time");
        assert_eq!(with([11.0, 11.5, 11.0, 11.0, 11.0]), None, "not by much");
        assert!(slower(&before).is_none());
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
