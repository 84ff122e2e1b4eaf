//! [`TestTrends`]: what tests came to over many runs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{version::DocumentVersion, written};
use crate::{
    model::{Outcome, RunStatus, Verdict},
    record::{
        RunId,
        words::{self, InstantSchema, WordSchema},
    },
};

/// The document of `runner history --json`: what tests came to over many runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TestTrends {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The filter that means the tests of this history; `null` where it is about all of them.
    pub filter: Option<String>,
    /// The runs, the oldest first.
    pub runs: Vec<TrendRun>,
    /// The tests, each with a provider: those that do not pass now first, then those that are most often flaky.
    pub tests: Vec<TestTrend>,
}

/// A run, as far as its tests are asked for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TrendRun {
    /// The run's id.
    #[serde(serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub run: RunId,
    /// The scenario's name.
    pub scenario: String,
    /// Where the run is in its life.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<RunStatus>")]
    pub status: RunStatus,
    /// What its trials showed.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Verdict>")]
    pub verdict: Verdict,
    /// When its first session began.
    #[schemars(with = "InstantSchema")]
    pub started_at: Timestamp,
    /// How many trials of these tests passed.
    pub passed: u64,
    /// How many passed, failed, ended in an error or timed out.
    pub judged: u64,
    /// The share that passed; `null` if none was judged.
    pub pass_rate: Option<f64>,
}

/// A test with a provider, over the runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TestTrend {
    /// The scenario's name.
    pub scenario: String,
    /// The test's id.
    pub test: String,
    /// The provider's name.
    pub provider: String,
    /// What it came to in each of the runs; `null` where it has no final row.
    pub outcomes: Vec<Option<TrendOutcome>>,
    /// In how many of the runs it was judged.
    pub judged: u64,
    /// In how many of these all of its trials passed.
    pub passed: u64,
    /// In how many of these it was flaky: a trial passed only after an attempt that did not, some of its repeats passed and
    /// some did not, or it passed where it did not in the run before, or the other way round, and nothing that decides it was
    /// changed.
    pub flaky: u64,
    /// `flaky` of `judged`; `null` if it was never judged.
    pub flake_rate: Option<f64>,
    /// The median of its durations, in milliseconds; `null` if it has never passed or failed.
    pub duration_ms: Option<f64>,
    /// How much longer it takes than before; `null` where that is not certain.
    pub slower: Option<SlowerTest>,
}

/// That a test takes longer than before: in each of the five newest runs, and in the middle at least a fifth longer.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct SlowerTest {
    /// The median of its durations in the runs before the newest five, in milliseconds.
    pub before_ms: f64,
    /// The median in the newest five.
    pub now_ms: f64,
}

/// What a test came to in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrendOutcome {
    /// All of its trials passed, each at once.
    Passed,
    /// They passed, and somewhere only after an attempt that did not; or some passed and some did not.
    Flaky,
    /// None passed, and the first that did not failed.
    Failed,
    /// None passed, and the first ended in an error.
    Error,
    /// None passed, and the first timed out.
    Timeout,
    /// All were skipped.
    Skipped,
}

impl TrendOutcome {
    /// What it is, by what the first bad trial came to.
    pub fn of(outcome: Outcome, is_flaky: bool) -> Self {
        match outcome {
            _ if is_flaky => Self::Flaky,
            Outcome::Passed => Self::Passed,
            Outcome::Failed => Self::Failed,
            Outcome::Error => Self::Error,
            Outcome::Timeout => Self::Timeout,
            Outcome::Skipped | Outcome::Stopped | Outcome::Ungraded => Self::Skipped,
        }
    }

    /// The sign for it, one character wide.
    pub fn glyph(this: Option<Self>) -> char {
        match this {
            None => '·',
            Some(Self::Passed) => '✓',
            Some(Self::Flaky) => '~',
            Some(Self::Failed) => '✗',
            Some(Self::Error) => '!',
            Some(Self::Timeout) => 'T',
            Some(Self::Skipped) => '-',
        }
    }
}
