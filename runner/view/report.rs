//! [`RunReport`]: what a run came to, for people who were not there.

use std::{borrow::Cow, io, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::version::DocumentVersion;
use crate::{
    model::{Outcome, Reason, RunStatus, StopSignal, Verdict, wilson},
    record::{
        Manifest, ManifestCounts, RowArtifact, RowCheck, RowDenied, RowError, RowGrade, RowMetric,
        RunId,
        words::{self, InstantSchema, WordSchema},
    },
};

use super::{GraderResult, GroupStatistics, MetricSum, ProviderSummary, written};

/// What a run came to. The same rows give the same report: nothing in it depends on when it is made, or where the run is.
pub struct RunReport {
    /// The run as a whole.
    pub head: ReportHead,
    /// Its trials, in the order of its plan; of those with many details without them.
    pub trials: Vec<ReportTrial>,
    /// The details of these.
    pub details: Box<dyn TrialDetails>,
}

/// Trials with all that there is to tell of them.
pub trait TrialDetails: Send + Sync {
    /// The trial in this place of the plan, with its details; `None` if it has them already.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    fn of(&self, ordinal: u64) -> io::Result<Option<ReportTrial>>;

    /// The content of a file of so many bytes that the attempt left which settled this trial; `None` where there is no such
    /// file any more.
    fn file(&self, ordinal: u64, name: &str, bytes: u64) -> Option<Vec<u8>>;
}

/// The first line of `runner report --jsonl`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ReportHead {
    /// The version of the format: 1.
    pub v: DocumentVersion,
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
    /// Why it has this status.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<StopSignal>>")]
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Verdict>")]
    pub verdict: Verdict,
    /// When it was created.
    #[schemars(with = "InstantSchema")]
    pub created_at: Timestamp,
    /// When its latest session ended.
    #[schemars(with = "Option<InstantSchema>")]
    pub completed_at: Option<Timestamp>,
    /// How long its sessions that are over have lasted, together, in milliseconds.
    pub worked_ms: f64,
    /// The filter that means the trials of this report; `null` where it is about all of them.
    pub filter: Option<String>,
    /// How many trials came to what, of those that this report is about.
    pub counts: ManifestCounts,
    /// What the trials of each provider came to, by name.
    pub providers: Vec<ProviderResult>,
    /// What each grader said of the trials, by name; absent where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<GraderResult>,
    /// What the trials of each provider, and of each tag and dimension of its tests, say about those to come.
    pub statistics: Vec<GroupStatistics>,
    /// The run's manifest: sessions, versions, digests, limits and grants.
    pub manifest: Manifest,
}

/// What one provider's trials came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderResult {
    /// Its counts and durations.
    #[serde(flatten)]
    pub summary: ProviderSummary,
    /// The share of its trials that passed, of those that passed, failed, ended in an error or timed out; `null` without any.
    pub pass_rate: Option<f64>,
    /// Wilson's interval of 95 % for that.
    pub pass_rate_interval: Option<(f64, f64)>,
    /// The sums of what its trials measured, by name and unit.
    pub metrics: Vec<MetricSum>,
}

/// A trial in a report: a line of `runner report --jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportTrial {
    /// Its id: `test@provider#repeat`.
    pub trial: String,
    /// Its place in the plan, from 0.
    pub ordinal: u64,
    /// Its test's id.
    pub test: String,
    /// Its provider's name.
    pub provider: String,
    /// Which repeat of the test it is, from 1.
    pub repeat: u32,
    /// The test's tags.
    pub tags: Vec<String>,
    /// What the test says of itself.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// What it came to; `null` if nothing has settled it.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Outcome>>")]
    pub outcome: Option<Outcome>,
    /// Whether it passed only after an attempt that did not.
    #[serde(rename = "flaky")]
    pub is_flaky: bool,
    /// How many of its attempts have begun.
    pub attempts: u32,
    /// The provider's score.
    pub score: Option<f64>,
    /// When the attempt that settled it began.
    #[schemars(with = "Option<InstantSchema>")]
    pub started_at: Option<Timestamp>,
    /// How long that took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
    /// The provider's summary.
    pub summary: Option<String>,
    /// What the provider measured.
    pub metrics: Vec<RowMetric<'static>>,
    /// What graders said of it; absent where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<RowGrade<'static>>,
    /// Why there is no verdict.
    pub error: Option<RowError<'static>>,
    /// What was tried and not granted.
    pub denied: Vec<RowDenied<'static>>,
    /// The files that the attempt left.
    pub artifacts: Vec<RowArtifact<'static>>,
    /// What else there is to know of a trial that has not passed; `null` for others.
    pub evidence: Option<TrialEvidence>,
}

/// What went into a trial that has not passed, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrialEvidence {
    /// The test's input; `null` as well if the test is not in the content store any more.
    pub input: Value,
    /// What was checked, beside what graders said.
    pub checks: Vec<RowCheck<'static>>,
    /// What was produced; `null` where there is nothing, or it is a file of its own.
    pub output: Option<Value>,
    /// The attempt's log, a JSON object on each line; the last 64 KiB of it.
    pub log: String,
    /// Its standard output, where that is not the reply itself; the last 64 KiB of it.
    pub stdout: String,
    /// Its standard error; the last 64 KiB of it.
    pub stderr: String,
}

/// A line of `runner report --jsonl`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ReportLine<'a> {
    /// The first line.
    Run(&'a ReportHead),
    /// Each other line.
    Trial(&'a ReportTrial),
}

impl ProviderResult {
    /// What the trials of the provider of `summary` came to.
    pub fn new(summary: ProviderSummary, metrics: Vec<MetricSum>) -> Self {
        let counts = summary.counts;
        let judged = counts.passed + counts.failed + counts.error + counts.timeout;
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of trials are far below 2^52"
        )]
        let rate = (judged > 0).then(|| counts.passed as f64 / judged as f64);
        Self {
            pass_rate: rate,
            pass_rate_interval: rate.map(|_| wilson(counts.passed, judged)),
            summary,
            metrics,
        }
    }
}

impl RunReport {
    /// A trial with all that there is to tell of it.
    ///
    /// # Errors
    ///
    /// Fails if its details cannot be read.
    pub fn in_full<'a>(&self, trial: &'a ReportTrial) -> io::Result<Cow<'a, ReportTrial>> {
        Ok(match self.details.of(trial.ordinal)? {
            // How many attempts there were is known only when all rows are read.
            Some(found) => Cow::Owned(ReportTrial {
                attempts: trial.attempts,
                ..found
            }),
            None => Cow::Borrowed(trial),
        })
    }
}

impl ReportTrial {
    /// How long the attempt took that settled it, to the microsecond.
    pub fn duration(&self) -> Option<Duration> {
        let micros = (self.duration_ms? * 1e3).round();
        Some(Duration::from_micros(micros as u64))
    }

    /// Tells whether it is one that somebody has to look at.
    pub fn is_bad(&self) -> bool {
        self.outcome.is_some_and(Outcome::is_bad)
    }
}
