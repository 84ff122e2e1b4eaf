//! [`HistoryDocument`]: results of a scenario's tests over its runs.

use std::collections::{BTreeMap, BTreeSet};
use std::{cmp::Reverse, iter, ops::Range, path::Path};

use hashbrown::HashTable;
use runner_model::status::{RunState, RunVerdict};
use runner_model::{Counts, Outcome, Time, known::KnownState, row::MetricSums, show_time};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir, RunHead};
use runner_results::{PassRate, RunTable, TableRow, hash, quantile};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::compare::{Course, RECENT_RUNS, Seen, TestResult, isolated};
use crate::{Class, VERSION};

/// Failing results that are named by the run in which their failures started.
const MOST_FAILING: usize = 20;

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
    /// Tests that fail in their newest run, by the run in which that started. The newest first, and those that failed in all runs last.
    pub failing: Vec<PastFailures>,
    /// Flaky tests first, then those that do not pass in their newest run, then those that passed least.
    #[schemars(with = "Vec<PastTest<'static>>")]
    pub tests: PastTests,
    /// Number of all tests. The HTTP API returns a part of them.
    pub test_count: usize,
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
    /// Whether a test has several trials.
    pub has_repeats: bool,
    /// Labels and variables.
    pub labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub results: PastResults,
    /// The same by provider, in the order of the scenario.
    pub providers: Vec<PastProvider>,
    /// Metrics of all graders. Absent if they reported none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graders: Option<PastGraders>,
}

/// Metrics of all graders in the attempts that decided.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastGraders {
    /// `null` if none reported any.
    pub tokens: Option<f64>,
    /// `null` if none reported any.
    pub cost_usd: Option<f64>,
}

/// Results of a provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastProvider {
    /// The provider's name.
    pub provider: String,
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
    /// The same by provider, in the order of the scenario.
    pub providers: Vec<PastProvider>,
    /// Metrics of all graders. Absent if they reported none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graders: Option<PastGraders>,
}

/// Failing results whose failures have the same first run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastFailures {
    /// The run. `null` for results that failed in all of `runs` that judged them.
    pub run: Option<String>,
    /// Number of results.
    pub results: u64,
    /// Up to 20 of them by their names, each as test and provider.
    pub first: Vec<(String, String)>,
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
    /// Number of the newest runs, one after another, in which the test's result was unexpected: a failure, or a pass of a known
    /// failure. 0 if the newest one is expected.
    pub failing_runs: u64,
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
    /// Mean score of the trials that have one. `null` without any.
    pub score: Option<f64>,
    /// Median duration of a test in a run, in milliseconds. `null` without any.
    pub p50_ms: Option<f32>,
    /// Tokens of providers in the attempts that decided, without graders. `null` if none reported any.
    pub tokens: Option<f64>,
    /// Cost of providers in the attempts that decided, without graders. `null` if none reported any.
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
    /// Passed in each repeat, and the list of known failures expects a failure.
    UnexpectedPass,
    /// The list of known failures expects all failures.
    Known,
    Skipped,
}

impl Mark {
    pub const ALL: [Self; 8] = [
        Self::Passed,
        Self::Flaky,
        Self::Failed,
        Self::Error,
        Self::Timeout,
        Self::UnexpectedPass,
        Self::Known,
        Self::Skipped,
    ];

    /// Returns the result of a test with these trials. `None` without any.
    pub fn of(counts: &Counts) -> Option<Self> {
        let result = TestResult::from(counts);
        Some(match (result.has_pass, result.has_failure) {
            _ if result.is_known() => Self::Known,
            (true, false) if result.has_unexpected => Self::UnexpectedPass,
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
            Self::UnexpectedPass => 'X',
            Self::Known => '≈',
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
    /// Places of the returned tests.
    pub tests: Range<usize>,
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
#[derive(Clone, Debug, Default)]
struct Sums {
    counts: Counts,
    metrics: MetricSums,
    graders: MetricSums,
    /// Sum and number of the scores.
    scores: (f64, u64),
    /// Mean durations of a test's repeats in a run, in milliseconds.
    durations: Vec<f32>,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.counts = self.counts.plus(other.counts);
        self.metrics = self.metrics.plus(other.metrics);
        self.graders = self.graders.plus(other.graders);
        self.scores = (self.scores.0 + other.scores.0, self.scores.1 + other.scores.1);
        self.durations.extend(&other.durations);
    }

    fn results(&self) -> PastResults {
        let mut durations = self.durations.clone();
        durations.sort_by(f32::total_cmp);
        let MetricSums { tokens, cost_usd } = self.metrics;
        PastResults {
            counts: self.counts,
            pass_rate: PassRate::of(&self.counts, true).map(|rate| rate.rate),
            score: (self.scores.1 > 0).then(|| self.scores.0 / self.scores.1 as f64),
            p50_ms: quantile(&durations, 0.5),
            tokens,
            cost_usd,
        }
    }

    /// Returns the results of all these providers together, of each that has any, and of their graders.
    fn of_providers(
        of: &[Self],
        names: &[String],
    ) -> (PastResults, Vec<PastProvider>, Option<PastGraders>) {
        let mut all = Self::default();
        of.iter().for_each(|sums| all.add(sums));
        let with_results = iter::zip(names, of).filter(|(_, sums)| sums.counts.done() > 0);
        let providers = with_results
            .map(|(name, sums)| PastProvider { provider: name.clone(), results: sums.results() });
        let MetricSums { tokens, cost_usd } = all.graders;
        let graders = tokens.or(cost_usd).map(|_| PastGraders { tokens, cost_usd });
        (all.results(), providers.collect(), graders)
    }
}

/// Numbers of trials of a test. There may be a million of them.
#[derive(Clone, Copy, Debug, Default)]
struct TestCounts {
    passed: u32,
    failed: u32,
    error: u32,
    timeout: u32,
    skipped: u32,
    flaky: u32,
    known: u32,
    unexpected_passes: u32,
}

impl TestCounts {
    fn add(&mut self, row: &TableRow) {
        let count = match row.outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Error => &mut self.error,
            Outcome::Timeout => &mut self.timeout,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Ungraded | Outcome::Stopped => return,
        };
        *count += 1;
        self.flaky += u32::from(row.is_flaky());
        self.known += u32::from(row.state == KnownState::Known);
        self.unexpected_passes += u32::from(row.state == KnownState::UnexpectedPass);
    }
}

impl From<TestCounts> for Counts {
    fn from(counts: TestCounts) -> Self {
        Self {
            passed: counts.passed.into(),
            failed: counts.failed.into(),
            error: counts.error.into(),
            timeout: counts.timeout.into(),
            skipped: counts.skipped.into(),
            flaky: counts.flaky.into(),
            known: counts.known.into(),
            unexpected_passes: counts.unexpected_passes.into(),
            ..Self::default()
        }
    }
}

/// A test on a provider in one run, while its repeats are added.
#[derive(Clone, Debug, Default)]
struct Cell {
    counts: TestCounts,
    ms: f64,
    seen: Seen,
}

/// A test on a provider in one of the runs.
#[derive(Clone, Copy, Debug)]
struct PastCell {
    mark: Option<Mark>,
    seen: Seen,
    /// Mean duration of the repeats in milliseconds.
    ms: f32,
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
    counts: TestCounts,
    /// Sums of metrics, and sum and number of the scores. `None` without any.
    values: Option<Box<(MetricSums, (f64, u64))>>,
    flaky_runs: u32,
    /// Runs since the last expected result.
    failing_runs: u32,
    /// Whether a run before these had an expected result.
    has_passed: bool,
}

impl Test {
    fn add(&mut self, row: &TableRow, metrics: MetricSums) {
        self.counts.add(row);
        if row.score.is_some() || metrics != MetricSums::default() {
            let (sums, scores) = &mut **self.values.get_or_insert_default();
            *sums = sums.plus(metrics);
            add_score(scores, row.score);
        }
    }

    /// Counts the runs in which the test was flaky, and those in which it fails. `columns` start with the newest.
    fn judge(&mut self, columns: &[Column], number: usize, provider: &str) {
        let mut judged = iter::zip(0.., columns)
            .filter_map(|(place, column)| Some((place, column.seen(number)?)))
            .peekable();
        while let Some((place, seen)) = judged.next() {
            self.has_passed |= !seen.result.has_unexpected;
            self.failing_runs += u32::from(!self.has_passed);
            let base = judged.peek().map(|(_, base)| base.result);
            let is_flaky = match base.map(|base| Class::of_results([base, seen.result])) {
                None => seen.result.has_both(),
                Some(Class::Flaky) => true,
                Some(class) => {
                    class.is_change() && is_unstable(&columns[place..], number, provider)
                }
            };
            self.flaky_runs += u32::from(is_flaky);
        }
    }

    /// Returns the place in lists: tests that began to fail last, those that failed in each run, flaky ones, and the others.
    fn rank(&self) -> (u8, u32, Reverse<u32>) {
        let group = match (self.failing_runs, self.has_passed) {
            (0, _) => 2,
            (_, true) => 0,
            (_, false) => 1,
        };
        (group, self.failing_runs, Reverse(self.flaky_runs))
    }

    fn pass_rate(&self) -> f64 {
        let counts = Counts::from(self.counts);
        counts.passed as f64 / counts.done() as f64
    }
}

/// Returns the place of the first run of a test's newest failures, or of its passes although it is known. `marks` start with the
/// newest. `Some(None)` if it failed in each run, and `None` if it does not fail.
fn first_failure(marks: impl Iterator<Item = Option<Mark>>) -> Option<Option<usize>> {
    use Mark::{Error, Failed, Skipped, Timeout, UnexpectedPass};
    let judged = marks.enumerate().filter_map(|(place, mark)| Some((place, mark?)));
    let mut judged = judged.filter(|(_, mark)| *mark != Skipped).peekable();
    let (_, newest) = *judged.peek()?;
    let is_same = |mark| match (newest, mark) {
        (UnexpectedPass, mark) => mark == UnexpectedPass,
        (_, mark) => matches!(mark, Failed | Error | Timeout | UnexpectedPass),
    };
    let mut start = None;
    while let Some((place, _)) = judged.next_if(|(_, mark)| is_same(*mark)) {
        start = Some(place);
    }
    start.map(|start| judged.peek().map(|_| start))
}

fn add_score((sum, scores): &mut (f64, u64), score: Option<f64>) {
    if let Some(score) = score {
        (*sum, *scores) = (*sum + score, *scores + 1);
    }
}

/// Names of tests by their numbers, each with the index of its provider. A million of them take 30 MB.
#[derive(Debug, Default)]
struct TestNames {
    text: String,
    /// End in `text`, and index of the provider.
    ends: Vec<(u32, u16)>,
    /// Numbers, by the hash of test and provider.
    numbers: HashTable<u32>,
}

impl TestNames {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, number: usize) -> (&str, usize) {
        name_of(&self.text, &self.ends, number)
    }

    /// Returns the number of a test on a provider. A new one gets the next number, up to 4 GiB of names.
    fn number(&mut self, test: &str, provider: usize) -> Option<usize> {
        let Self { text, ends, numbers } = self;
        let is_it = |number: &u32| name_of(text, ends, *number as usize) == (test, provider);
        if let Some(number) = numbers.find(hash(&(test, provider)), is_it) {
            return Some(*number as usize);
        }
        let end = u32::try_from(text.len() + test.len()).ok()?;
        let (number, provider) = (ends.len(), u16::try_from(provider).ok()?);
        text.push_str(test);
        ends.push((end, provider));
        let hash_of = |number: &u32| hash(&name_of(text, ends, *number as usize));
        numbers.insert_unique(hash(&(test, usize::from(provider))), number as u32, hash_of);
        Some(number)
    }
}

fn name_of<'t>(text: &'t str, ends: &[(u32, u16)], number: usize) -> (&'t str, usize) {
    let start = number.checked_sub(1).map_or(0, |before| ends[before].0 as usize);
    let (end, provider) = ends[number];
    (&text[start..end as usize], provider.into())
}

/// Returns whether a test was unstable in the first of these runs, which are the newest first.
fn is_unstable(columns: &[Column], number: usize, provider: &str) -> bool {
    let mut course = Course::default();
    let recent = columns.iter().take(RECENT_RUNS);
    recent.filter_map(|column| column.seen(number)).for_each(|seen| course.add(seen));
    course.is_unstable() && columns[0].isolated.iter().any(|name| name == provider)
}

/// A history whose runs are added from the newest back.
#[derive(Default)]
struct Collector {
    tests: PastTests,
    runs: Vec<PastRun>,
    /// Numbers of runs, and results by the index of the provider.
    sums: BTreeMap<Option<String>, (u64, Vec<Sums>)>,
}

impl Collector {
    fn add(
        &mut self,
        run: &RunDir,
        manifest: &Manifest,
        query: &HistoryQuery<'_>,
    ) -> Result<(), RecordError> {
        let PastTests { providers, names, tests, columns, .. } = &mut self.tests;
        // The newest run has the order of the scenario.
        for provider in manifest.providers.iter().filter(|provider| provider.is_tested()) {
            if !providers.contains(&provider.name) {
                providers.push(provider.name.clone());
            }
        }
        let table = run.snapshot(|| RunTable::open(run))?;
        table.check_version()?;
        let indexes = table.providers().iter();
        let indexes: Vec<_> =
            indexes.map(|name| providers.iter().position(|known| known == name)).collect();
        let mut cells = Vec::<Cell>::new();
        let mut totals = vec![Sums::default(); providers.len()];
        let mut next = 0_usize;
        for row in table.settling() {
            let (test, provider) = table.names(row.trial);
            let Some(index) = indexes[table.provider(row.trial)] else { continue };
            if !(query.is_wanted)(test, provider) {
                continue;
            }
            // Most runs have the same tests in the same order, and comparing takes a tenth of a search.
            let number = [next, next.saturating_sub(1)].into_iter();
            let mut number = number
                .filter(|number| *number < names.len() && names.get(*number) == (test, index));
            let Some(number) = number.next().or_else(|| names.number(test, index)) else {
                continue;
            };
            next = number + 1;
            tests.resize_with(names.len(), Test::default);
            cells.resize(names.len(), Cell::default());
            let ([metrics, graders], total) = (table.sums(row.number), &mut totals[index]);
            tests[number].add(&row, metrics);
            row.count(&mut total.counts);
            total.metrics = total.metrics.plus(metrics);
            total.graders = total.graders.plus(graders);
            add_score(&mut total.scores, row.score);
            let cell = &mut cells[number];
            cell.counts.add(&row);
            cell.ms += row.ms();
            cell.seen.add(&table, row);
        }
        let counts = |cell: &Cell| Counts::from(cell.counts);
        let has_repeats = cells.iter().any(|cell| counts(cell).done() > 1);
        let kept = cells.iter().enumerate().map(|(number, cell)| {
            let mark = Mark::of(&counts(cell));
            let ms = (cell.ms / counts(cell).done().max(1) as f64) as f32;
            totals[names.get(number).1].durations.extend(mark.map(|_| ms));
            PastCell { mark, seen: cell.seen, ms }
        });
        let cells = kept.collect();
        let head = RunHead::from(manifest);
        let key = match query.by {
            HistoryGroups::Run => None,
            HistoryGroups::Day => Some(Some(show_time(head.started_at, "%Y-%m-%d"))),
            HistoryGroups::Label(name) => Some(head.labels.get(name).cloned()),
        };
        if let Some(key) = key {
            let (runs, sums) = self.sums.entry(key).or_default();
            *runs += 1;
            sums.resize(totals.len(), Sums::default());
            iter::zip(sums, &totals).for_each(|(sum, totals)| sum.add(totals));
        }
        let (results, providers, graders) = Sums::of_providers(&totals, providers);
        self.runs.push(PastRun {
            run: head.id.clone(),
            started_at: head.started_at,
            state: head.state(),
            is_damaged: table.is_foreign(manifest) || manifest.verdict == RunVerdict::Damaged,
            has_repeats,
            labels: head.labels,
            results,
            providers,
            graders,
        });
        let isolated = iter::zip(&manifest.providers, isolated(manifest));
        let isolated = isolated.filter(|(_, is_isolated)| *is_isolated);
        let isolated = isolated.map(|(provider, _)| provider.name.clone()).collect();
        columns.push(Column { cells, isolated });
        Ok(())
    }
}

/// The tests of a history in their order. Each is made when it is used: a million of them take 300 MB.
#[derive(Debug, Default)]
pub struct PastTests {
    /// Numbers of tests.
    order: Vec<u32>,
    names: TestNames,
    providers: Vec<String>,
    tests: Vec<Test>,
    /// The newest run first.
    columns: Vec<Column>,
}

impl PastTests {
    /// Keeps the tests at these places of the order.
    fn select(&mut self, places: &Range<usize>) {
        for number in 0..self.names.len() {
            let provider = &self.providers[self.names.get(number).1];
            self.tests[number].judge(&self.columns, number, provider);
        }
        let compare = |left: &u32, right: &u32| {
            let [one, other] = [left, right].map(|number| &self.tests[*number as usize]);
            one.rank()
                .cmp(&other.rank())
                .then(one.pass_rate().total_cmp(&other.pass_rate()))
                .then_with(|| self.name(*left).cmp(&self.name(*right)))
        };
        let mut order: Vec<_> = (0..self.names.len() as u32).collect();
        // A page has few of many tests.
        if places.end < order.len() {
            order.select_nth_unstable_by(places.end, compare);
            order.truncate(places.end);
        }
        order.sort_unstable_by(compare);
        order.drain(..places.start.min(order.len()));
        self.order = order;
    }

    /// Groups the tests that fail in their newest run by the run in which that started.
    fn failing(&self, runs: &[PastRun]) -> Vec<PastFailures> {
        // By the index of the run, the newest first.
        let mut groups = BTreeMap::<_, (u64, BTreeSet<(&str, &str)>)>::new();
        for number in 0..self.names.len() {
            let marks = self.columns.iter().map(|column| column.cells.get(number)?.mark);
            let Some(start) = first_failure(marks) else { continue };
            let (results, first) = groups.entry(start.unwrap_or(usize::MAX)).or_default();
            *results += 1;
            first.insert(self.name(number as u32));
            if first.len() > MOST_FAILING {
                first.pop_last();
            }
        }
        let groups = groups.into_iter().map(|(start, (results, first))| {
            let run = runs.iter().rev().nth(start).map(|run| run.run.clone());
            let first = first.into_iter().map(|(test, provider)| (test.into(), provider.into()));
            PastFailures { run, results, first: first.collect() }
        });
        groups.collect()
    }

    /// Returns test and provider.
    fn name(&self, number: u32) -> (&str, &str) {
        let (test, provider) = self.names.get(number as usize);
        (test, &self.providers[provider])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = PastTest<'_>> {
        self.order.iter().map(|number| {
            let (test, provider) = self.name(*number);
            let Test { counts, values, flaky_runs, failing_runs, .. } =
                &self.tests[*number as usize];
            let cells = || {
                let columns = self.columns.iter().rev();
                columns.map(|column| {
                    column.cells.get(*number as usize).filter(|cell| cell.mark.is_some())
                })
            };
            let (metrics, scores) = values.as_deref().copied().unwrap_or_default();
            let durations = cells().flatten().map(|cell| cell.ms).collect();
            let counts = (*counts).into();
            let sums = Sums { counts, metrics, scores, durations, ..Sums::default() };
            PastTest {
                test,
                provider,
                flaky_runs: (*flaky_runs).into(),
                failing_runs: (*failing_runs).into(),
                results: sums.results(),
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
        let mut history = Collector::default();
        let mut skipped = Vec::new();
        for run in root.runs_of(scenario, path)? {
            if history.runs.len() == query.limit {
                break;
            }
            progress();
            let added = run.and_then(|(run, manifest)| {
                // By another clock, an earlier run may have started later, so the search continues.
                let is_old = query.since.is_some_and(|since| manifest.started_at < since);
                if is_old { Ok(()) } else { history.add(&run, &manifest, query) }
            });
            skipped.extend(added.err().map(|error| error.to_string()));
        }
        history.runs.reverse();
        let test_count = history.tests.names.len();
        let failing = history.tests.failing(&history.runs);
        history.tests.select(&query.tests);
        let sums = history.sums.into_iter().map(|(key, (runs, sums))| {
            let (results, providers, graders) = Sums::of_providers(&sums, &history.tests.providers);
            PastSum { key, runs, results, providers, graders }
        });
        Ok(Self {
            v: VERSION,
            scenario: scenario.to_owned(),
            scenario_path: path.to_string_lossy().into_owned(),
            runs: history.runs,
            sums: sums.collect(),
            failing,
            tests: history.tests,
            test_count,
            skipped,
        })
    }
}
