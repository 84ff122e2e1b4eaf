//! [`HistoryDocument`]: results of a scenario's tests over its runs.

use std::collections::{BTreeMap, HashMap};
use std::{iter, mem, ops::Add as _, path::Path};

use runner_model::{Counts, Time, show_time, status::RunState};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir, RunHead, TrialResult, Trials};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::compare::{Course, RECENT_RUNS, Seen, TestResult, isolated};
use crate::{Class, PassRate, VERSION, results::quantile, stored_tests};

/// `runner history`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The scenario's name.
    pub scenario: String,
    /// Absolute path of the scenario.
    pub scenario_path: String,
    /// The oldest first.
    pub runs: Vec<PastRun>,
    /// Sums over runs, for `--by`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sums: Vec<PastSum>,
    /// Flaky tests first, then those that do not pass in their newest run, then those that passed least.
    #[schemars(with = "Vec<PastTest<'static>>")]
    pub tests: PastTests,
    /// Runs of the scenario's name that are left out, with the reasons.
    pub skipped: Vec<String>,
}

/// A run of the scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastRun {
    /// The run's id.
    pub run: String,
    pub started_at: Time,
    /// Status and verdict in one word.
    pub state: RunState,
    /// Whether the run has lost results.
    pub is_damaged: bool,
    /// Labels and variables.
    pub labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub results: PastResults,
}

/// Results of the runs of a day, or with a label.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastSum {
    /// The day, or the label's value. `null` for runs without the label.
    pub key: Option<String>,
    /// Number of runs.
    pub runs: u64,
    #[serde(flatten)]
    pub results: PastResults,
}

/// A test on a provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastTest<'a> {
    /// The test's id.
    pub test: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// Number of runs in which the test was flaky, compared with the run before.
    pub flaky_runs: u64,
    #[serde(flatten)]
    pub results: PastResults,
    /// The test's result in each of `runs`.
    pub marks: Vec<Option<Mark>>,
}

/// Results of trials. A trial counts once per run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastResults {
    #[serde(flatten)]
    pub counts: Counts,
    /// Share of the trials that passed, without skipped ones. `null` without any.
    pub pass_rate: Option<f64>,
    /// Median duration of a test in a run, in milliseconds. `null` without any.
    pub p50_ms: Option<f32>,
    /// Tokens of providers and graders in the attempts that decided. `null` if none reported any.
    pub tokens: Option<f64>,
    /// Cost of providers and graders in the attempts that decided. `null` if none reported any.
    pub cost_usd: Option<f64>,
}

/// Result of a test in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Passed,
    /// Passed on a retry, or not in each repeat.
    Flaky,
    Failed,
    Error,
    Timeout,
    Skipped,
}

impl Mark {
    pub const ALL: [Self; 6] =
        [Self::Passed, Self::Flaky, Self::Failed, Self::Error, Self::Timeout, Self::Skipped];

    /// Returns the result of a test with these trials. `None` without any.
    pub fn of(counts: &Counts) -> Option<Self> {
        let result = TestResult::from(counts);
        Some(match (result.has_pass, result.has_failure) {
            (true, _) if result.has_both() => Self::Flaky,
            (true, _) => Self::Passed,
            (false, true) if counts.error > 0 => Self::Error,
            (false, true) if counts.timeout > 0 => Self::Timeout,
            (false, true) => Self::Failed,
            (false, false) if counts.skipped > 0 => Self::Skipped,
            (false, false) => return None,
        })
    }

    pub fn sign(self) -> char {
        match self {
            Self::Passed => '✓',
            Self::Flaky => '~',
            Self::Failed => '✗',
            Self::Error => '!',
            Self::Timeout => 'T',
            Self::Skipped => '○',
        }
    }
}

/// Selection of a history.
pub struct HistoryQuery<'a> {
    /// Returns whether a test on a provider is included.
    pub is_wanted: &'a dyn Fn(&str, &str) -> bool,
    /// Start of the oldest run.
    pub since: Option<Time>,
    /// Most runs, the newest.
    pub limit: usize,
    pub by: &'a HistoryGroups,
}

/// Groups of runs that are summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryGroups {
    Run,
    Day,
    /// The runs with the same value of this label or variable.
    Label(String),
}

/// Sums over trials.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    counts: Counts,
    tokens: Option<f64>,
    cost_usd: Option<f64>,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.counts = self.counts.plus(other.counts);
        let sum =
            |old: Option<f64>, more: Option<f64>| old.into_iter().chain(more).reduce(f64::add);
        self.tokens = sum(self.tokens, other.tokens);
        self.cost_usd = sum(self.cost_usd, other.cost_usd);
    }

    fn results(self, mut durations: Vec<f32>) -> PastResults {
        durations.sort_by(f32::total_cmp);
        let Self { counts, tokens, cost_usd } = self;
        PastResults {
            counts,
            pass_rate: PassRate::of(&counts, true).map(|rate| rate.rate),
            p50_ms: quantile(&durations, 0.5),
            tokens,
            cost_usd,
        }
    }
}

impl From<&TrialResult> for Sums {
    fn from(trial: &TrialResult) -> Self {
        let mut counts = Counts::default();
        counts.add(trial.outcome, trial.flaky);
        Self { counts, tokens: trial.tokens, cost_usd: trial.cost_usd }
    }
}

/// A test on a provider in one run.
#[derive(Clone, Debug, Default)]
struct Cell {
    sums: Sums,
    ms: f64,
    seen: Seen,
}

impl Cell {
    fn add(&mut self, trial: &TrialResult) {
        self.seen.add(trial);
        self.ms += trial.duration.0 as f64 / 1e3;
        self.sums.add(&trial.into());
    }

    /// Returns the part that is kept.
    fn kept(&self) -> PastCell {
        let Self { sums, ms, seen } = self;
        // The mean duration of the repeats.
        let ms = (ms / sums.counts.done() as f64) as f32;
        PastCell { mark: Mark::of(&sums.counts), ms, seen: *seen }
    }
}

/// A test on a provider in one of the runs. Takes 12 bytes.
#[derive(Clone, Copy, Debug)]
struct PastCell {
    mark: Option<Mark>,
    ms: f32,
    seen: Seen,
}

/// The tests in one of the runs.
#[derive(Debug)]
struct Column {
    /// By their numbers. Tests that only older runs have are missing.
    cells: Vec<PastCell>,
    /// Providers on which a test can be unstable.
    isolated: Vec<String>,
}

impl Column {
    fn seen(&self, number: usize) -> Option<Seen> {
        self.cells.get(number).map(|cell| cell.seen).filter(|seen| seen.result.is_judged())
    }
}

/// A test on a provider.
#[derive(Debug, Default)]
struct Test {
    sums: Sums,
    flaky_runs: u64,
    /// Whether the newest result is not a pass.
    fails: bool,
}

impl Test {
    /// Counts the runs in which the test was flaky. `columns` start with the newest.
    fn judge(&mut self, columns: &[Column], number: usize, provider: &str) {
        let mut judged = iter::zip(0.., columns)
            .filter_map(|(place, column)| Some((place, column.seen(number)?)))
            .peekable();
        self.fails = judged
            .peek()
            .is_some_and(|(_, newest)| newest.result.has_failure || newest.result.has_both());
        while let Some((place, seen)) = judged.next() {
            let is_unstable = || {
                let mut course = Course::default();
                let recent = columns[place..].iter().take(RECENT_RUNS);
                recent.filter_map(|column| column.seen(number)).for_each(|seen| course.add(seen));
                course.is_unstable() && columns[place].isolated.iter().any(|one| one == provider)
            };
            let base = judged.peek().map(|(_, base)| base.result);
            let is_flaky = match base.map(|base| Class::of_results([base, seen.result])) {
                None => seen.result.has_both(),
                Some(Class::Flaky) => true,
                Some(class) => class.is_change() && is_unstable(),
            };
            self.flaky_runs += u64::from(is_flaky);
        }
    }
}

/// A history whose runs are added from the newest back.
#[derive(Default)]
struct Collector {
    /// By `test@provider`.
    numbers: HashMap<String, usize>,
    tests: Vec<Test>,
    runs: Vec<PastRun>,
    columns: Vec<Column>,
    sums: BTreeMap<Option<String>, (u64, Sums, Vec<f32>)>,
}

impl Collector {
    fn add(
        &mut self,
        trials: &mut Trials,
        run: &RunDir,
        manifest: &Manifest,
        query: &HistoryQuery<'_>,
    ) -> Result<(), RecordError> {
        let (numbers, mut name) = (&mut self.numbers, String::new());
        let is_planned = stored_tests::is_planned(run, manifest);
        let found = trials.of_run(run, &Vec::new, &mut |cells: &mut Vec<Cell>, trial| {
            let (test, provider) = (&*trial.trial.test, &*trial.trial.provider);
            if !(query.is_wanted)(test, provider) || !is_planned(&trial.trial) {
                return;
            }
            name.clear();
            name.extend([test, "@", provider]);
            let number = match numbers.get(&name) {
                Some(number) => *number,
                None => {
                    numbers.insert(name.clone(), numbers.len());
                    numbers.len() - 1
                }
            };
            cells.resize(cells.len().max(number + 1), Cell::default());
            cells[number].add(&trial);
        })?;
        self.tests.resize_with(self.numbers.len(), Test::default);
        let mut all = Sums::default();
        for (test, cell) in self.tests.iter_mut().zip(&found.results) {
            test.sums.add(&cell.sums);
            all.add(&cell.sums);
        }
        let cells: Vec<_> = found.results.iter().map(Cell::kept).collect();
        let durations: Vec<_> = durations(&cells).collect();
        let head = RunHead::from(manifest);
        let key = match query.by {
            HistoryGroups::Run => None,
            HistoryGroups::Day => Some(Some(show_time(head.started_at, "%Y-%m-%d"))),
            HistoryGroups::Label(name) => Some(head.labels.get(name).cloned()),
        };
        if let Some(key) = key {
            let (runs, sums, known) = self.sums.entry(key).or_default();
            *runs += 1;
            sums.add(&all);
            known.extend(&durations);
        }
        self.runs.push(PastRun {
            run: head.id.clone(),
            started_at: head.started_at,
            state: head.state(),
            is_damaged: found.is_damaged,
            labels: head.labels,
            results: all.results(durations),
        });
        let isolated = iter::zip(&manifest.providers, isolated(manifest));
        let isolated = isolated.filter(|(_, is_isolated)| *is_isolated);
        let isolated = isolated.map(|(provider, _)| provider.name.clone()).collect();
        self.columns.push(Column { cells, isolated });
        Ok(())
    }

    /// Returns the tests in their order.
    fn tests(&mut self) -> PastTests {
        let mut names: Vec<_> = mem::take(&mut self.numbers).into_iter().collect();
        for (name, number) in &names {
            let provider = name.split_once('@').map_or("", |(_, provider)| provider);
            self.tests[*number].judge(&self.columns, *number, provider);
        }
        names.sort_by(|(left, one), (right, other)| {
            let [one, other] = [one, other].map(|number| &self.tests[*number]);
            let rate =
                |test: &Test| test.sums.counts.passed as f64 / test.sums.counts.done() as f64;
            (other.flaky_runs, other.fails)
                .cmp(&(one.flaky_runs, one.fails))
                .then(rate(one).total_cmp(&rate(other)))
                .then_with(|| left.split('@').cmp(right.split('@')))
        });
        PastTests {
            names,
            tests: mem::take(&mut self.tests),
            columns: mem::take(&mut self.columns),
        }
    }
}

/// The tests of a history in their order. Each is made when it is used: a million of them take 300 MB.
#[derive(Debug)]
pub struct PastTests {
    /// As `test@provider`, with the numbers of the tests.
    names: Vec<(String, usize)>,
    tests: Vec<Test>,
    /// The newest run first.
    columns: Vec<Column>,
}

impl PastTests {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PastTest<'_>> {
        self.names.iter().map(|(name, number)| {
            let cells =
                || self.columns.iter().rev().map(|column| column.cells.get(*number).copied());
            let Test { sums, flaky_runs, .. } = &self.tests[*number];
            let all: Vec<_> = cells().flatten().collect();
            let (test, provider) = name.split_once('@').unwrap_or((name, ""));
            PastTest {
                test,
                provider,
                flaky_runs: *flaky_runs,
                results: sums.results(durations(&all).collect()),
                marks: cells().map(|cell| cell?.mark).collect(),
            }
        })
    }
}

impl Serialize for PastTests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Returns the durations of the tests that have a result.
fn durations(cells: &[PastCell]) -> impl Iterator<Item = f32> {
    cells.iter().filter(|cell| cell.mark.is_some()).map(|cell| cell.ms)
}

impl HistoryDocument {
    /// Reads the results of this user's runs of a scenario. Calls `progress` before each run.
    ///
    /// # Errors
    ///
    /// The results root cannot be read.
    pub fn read(
        root: &ResultsRoot,
        scenario: &str,
        path: &Path,
        query: &HistoryQuery<'_>,
        progress: &mut dyn FnMut(),
    ) -> Result<Self, RecordError> {
        let (mut trials, mut found) = (root.trials()?, Collector::default());
        let mut skipped = Vec::new();
        for run in root.runs_of(scenario, path)? {
            if found.runs.len() == query.limit {
                break;
            }
            progress();
            let added = run.and_then(|(run, manifest)| {
                // By another clock, an earlier run may have started later, so the search continues.
                let is_old = query.since.is_some_and(|since| manifest.started_at < since);
                if is_old { Ok(()) } else { found.add(&mut trials, &run, &manifest, query) }
            });
            skipped.extend(added.err().map(|error| error.to_string()));
        }
        let tests = found.tests();
        found.runs.reverse();
        let sum = |(key, (runs, sums, durations)): (_, (_, Sums, _))| PastSum {
            key,
            runs,
            results: sums.results(durations),
        };
        Ok(Self {
            v: VERSION,
            scenario: scenario.to_owned(),
            scenario_path: path.to_string_lossy().into_owned(),
            runs: found.runs,
            sums: found.sums.into_iter().map(sum).collect(),
            tests,
            skipped,
        })
    }
}
