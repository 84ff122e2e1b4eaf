//! [`TrialsPage`]: trials as a list shows them, and what charts are drawn of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::{CheckVerdict, ErrorClass, Outcome},
    record::{
        Row,
        words::{self, WordSchema},
    },
    view::version::DocumentVersion,
};

/// Some of the trials of a run that have a final row.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TrialsPage {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The state of the run that this is of: how many lines its rows were. Asked for with it, the same comes for ever.
    pub rev: u64,
    /// How many trials are meant, on all pages.
    pub count: usize,
    /// How many come before these.
    pub offset: usize,
    /// The trials.
    pub trials: Vec<ListedTrial>,
}

/// A trial as a list shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedTrial {
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
    /// How many attempts it took.
    pub attempts: u32,
    /// What it came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// Whether it passed only after an attempt that did not.
    pub is_flaky: bool,
    /// Why it is an error.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<ErrorClass>>")]
    pub error: Option<ErrorClass>,
    /// Why it is an error, or the first check that does not hold; else what the provider says of it.
    pub summary: Option<String>,
    /// Its score.
    pub score: Option<f64>,
    /// How long its last attempt took, in milliseconds.
    pub duration_ms: f64,
    /// The number of the row.
    pub seq: u64,
}

/// What tests came to on each provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TrialMatrix {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The state of the run that this is of.
    pub rev: u64,
    /// The names of the providers, in the scenario's order: the columns.
    pub providers: Vec<String>,
    /// The tests, in the plan's order: the lines.
    pub tests: Vec<MatrixTest>,
    /// How many more tests there are.
    pub more: usize,
}

/// A test, on each provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MatrixTest {
    /// Its id.
    pub test: String,
    /// What it came to, by provider; `null` where it does not run there.
    pub cells: Vec<Option<ProviderCell>>,
}

/// A test on a provider.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct ProviderCell {
    /// The trial of the first repeat.
    pub trial: String,
    /// How many of its repeats came to what: `passed`, `failed`, `error`, `timeout`, `skipped`, and `pending`.
    pub counts: BTreeMap<&'static str, u32>,
}

/// What charts of a run are drawn of.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunSeries {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The state of the run that this is of.
    pub rev: u64,
    /// What trials came to, in the order in which they have ended, in as many equal parts.
    pub outcomes: Vec<SeriesBin>,
    /// How long the settling attempts of each provider took.
    pub latencies: Vec<ProviderLatency>,
}

/// What the trials of a part came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SeriesBin {
    /// How many passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// How many are errors or timeouts.
    pub broken: u32,
    /// How many were skipped.
    pub skipped: u32,
}

/// How long the settling attempts of a provider took.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderLatency {
    /// The provider's name.
    pub provider: String,
    /// How many took up to `2^(i/2)` thousandths of a millisecond and longer than the ones before, by `i`.
    pub counts: Vec<u32>,
}

impl RunSeries {
    /// Into how many parts the outcomes are divided at most.
    pub const PARTS: usize = 200;
    /// How many steps of durations there are: the last one is longer than an hour.
    const STEPS: usize = 64;

    /// Charts of the state `rev`, of these providers, with nothing in them.
    pub fn new(rev: u64, providers: &[String]) -> Self {
        let latencies = providers.iter().map(|provider| ProviderLatency {
            provider: provider.clone(),
            counts: vec![0; Self::STEPS],
        });
        Self {
            v: DocumentVersion,
            rev,
            outcomes: Vec::new(),
            latencies: latencies.collect(),
        }
    }

    /// Adds a part: what each of its trials came to, on which provider, and in how many milliseconds.
    pub fn add(&mut self, trials: impl Iterator<Item = (Outcome, u16, f32)>) {
        let mut bin = SeriesBin::default();
        for (outcome, provider, millis) in trials {
            let count = match outcome {
                Outcome::Passed => &mut bin.passed,
                Outcome::Failed => &mut bin.failed,
                Outcome::Skipped => &mut bin.skipped,
                Outcome::Error | Outcome::Timeout | Outcome::Stopped | Outcome::Ungraded => {
                    &mut bin.broken
                }
            };
            *count += 1;
            if let Some(latency) = self.latencies.get_mut(usize::from(provider)) {
                latency.counts[Self::step(millis)] += 1;
            }
        }
        self.outcomes.push(bin);
    }

    /// Which step a duration is in.
    fn step(millis: f32) -> usize {
        let steps = (millis * 1e3).max(1.0).log2() * 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and 300"
        )]
        let step = steps.ceil() as usize;
        step.min(Self::STEPS - 1)
    }
}

impl TrialsPage {
    /// Trials of the state `rev`, of `count` in all.
    pub fn new(rev: u64, count: usize, offset: usize, trials: Vec<ListedTrial>) -> Self {
        Self {
            v: DocumentVersion,
            rev,
            count,
            offset,
            trials,
        }
    }
}

impl ListedTrial {
    /// A trial by the row that settles it.
    pub fn new(row: &Row<'_>) -> Self {
        let said = row.error.as_ref().map(|error| error.message.to_string());
        let mut checks = row.checks.iter();
        let unmet = checks.find(|check| check.verdict == CheckVerdict::Fail);
        let unmet = unmet.map(|check| match &check.message {
            Some(message) => format!("{}: {message}", check.name),
            None => check.name.to_string(),
        });
        Self {
            trial: row.trial.to_string(),
            ordinal: row.ordinal,
            test: row.test.to_string(),
            provider: row.provider.to_string(),
            repeat: row.repeat,
            attempts: row.attempt,
            outcome: row.outcome,
            is_flaky: row.is_flaky,
            error: row.error.as_ref().and_then(|error| error.class),
            summary: said
                .or(unmet)
                .or_else(|| row.summary.as_deref().map(str::to_owned))
                .map(|text| text.chars().take(MAX_SUMMARY).collect()),
            score: row.score,
            duration_ms: row.duration_ms,
            seq: row.seq,
        }
    }
}

/// How many characters of what is said of a trial a list has.
const MAX_SUMMARY: usize = 300;
