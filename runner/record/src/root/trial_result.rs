//! [`TrialResult`]: the result of a trial in the table of [`super::trials`].

use runner_model::row::{Metric, RowHead, duration};
use runner_model::{
    Fingerprint, Micros, Outcome, ProviderName, TestId, Time, TrialId, provider::COST,
};
use rusqlite::Row;
use serde::Deserialize;

/// The newest final row of a trial in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialResult {
    pub trial: TrialId,
    pub outcome: Outcome,
    pub flaky: bool,
    pub score: Option<f64>,
    pub duration: Micros,
    pub started_at: Time,
    /// The row's number in the run.
    pub seq: u64,
    pub fingerprints: ShortFingerprints,
    /// Tokens of the provider and the graders, by the metrics `total_tokens`, or else those whose names end with `tokens`.
    pub tokens: Option<f64>,
    /// Sum of the metrics `cost_usd` of the provider and the graders.
    pub cost_usd: Option<f64>,
}

/// The parts of a row that a [`RowHead`] lacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowRest {
    fingerprints: ShortFingerprints,
    tokens: Option<f64>,
    cost_usd: Option<f64>,
}

/// The first 8 bytes of both fingerprints of a row. Rows of different tests have the same bytes only by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShortFingerprints(pub(super) [i64; 2]);

impl ShortFingerprints {
    fn of(both: [Fingerprint; 2]) -> Self {
        Self(
            both.map(|Fingerprint(bytes)| {
                i64::from_be_bytes(*bytes.first_chunk().unwrap_or(&[0; 8]))
            }),
        )
    }

    /// Returns whether an execution fingerprint and a judgement fingerprint start like these.
    pub fn are(self, (execution, judgement): (Fingerprint, Fingerprint)) -> bool {
        self == Self::of([execution, judgement])
    }
}

impl RowRest {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Line<'a> {
            fingerprint: Fingerprint,
            judgement_fingerprint: Fingerprint,
            #[serde(borrow, default)]
            metrics: Vec<Metric<'a>>,
            #[serde(borrow, default)]
            grades: Vec<Grade<'a>>,
        }
        #[derive(Deserialize)]
        struct Grade<'a> {
            #[serde(borrow, default)]
            metrics: Vec<Metric<'a>>,
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return Self::default() };
        let lists =
            || [&line.metrics].into_iter().chain(line.grades.iter().map(|one| &one.metrics));
        let cost = lists().flatten().filter(|metric| *metric.name == *COST);
        Self {
            fingerprints: ShortFingerprints::of([line.fingerprint, line.judgement_fingerprint]),
            tokens: lists().filter_map(|metrics| tokens(metrics)).reduce(|sum, more| sum + more),
            cost_usd: cost.map(|metric| metric.value).reduce(|sum, more| sum + more),
        }
    }
}

/// Returns the tokens of a call: `total_tokens`, or else the sum of all metrics whose names end with `tokens`.
fn tokens(metrics: &[Metric<'_>]) -> Option<f64> {
    let total = metrics.iter().find(|metric| &*metric.name == "total_tokens");
    let parts = metrics.iter().filter(|metric| metric.name.ends_with("tokens"));
    let sum = || parts.map(|metric| metric.value).reduce(|sum, more| sum + more);
    total.map(|metric| metric.value).or_else(sum)
}

impl TrialResult {
    pub(super) fn new(row: &RowHead, rest: RowRest) -> Self {
        Self {
            trial: row.trial.clone(),
            outcome: row.outcome,
            flaky: row.flaky,
            score: row.trial_score(),
            duration: duration(row.duration_ms).into(),
            started_at: row.started_at,
            seq: row.seq,
            fingerprints: rest.fingerprints,
            tokens: rest.tokens,
            cost_usd: rest.cost_usd,
        }
    }

    /// Reads a row of the table, with the names in place of their numbers. `None` if it is damaged.
    pub(super) fn read(row: &Row<'_>, run: &str) -> rusqlite::Result<Option<Self>> {
        let test = TestId::parse(row.get_ref(0)?.as_str()?);
        let provider = ProviderName::parse(row.get_ref(1)?.as_str()?);
        let outcome = Outcome::parse(row.get_ref(3)?.as_str()?);
        let (Ok(test), Ok(provider), Some(outcome)) = (test, provider, outcome) else {
            return Ok(None);
        };
        let result = Self {
            trial: TrialId { test, provider, repeat: row.get(2)? },
            outcome,
            flaky: row.get(4)?,
            score: row.get(5)?,
            duration: Micros(row.get::<_, i64>(6)?.cast_unsigned()),
            started_at: Time::from_millis(row.get(7)?),
            fingerprints: ShortFingerprints([row.get(8)?, row.get(9)?]),
            seq: row.get::<_, i64>(10)?.cast_unsigned(),
            tokens: row.get(11)?,
            cost_usd: row.get(12)?,
        };
        Ok((row.get::<_, u32>(13)? == result.crc(run)).then_some(result))
    }

    /// Returns the checksum of the result in a run.
    pub(super) fn crc(&self, run: &str) -> u32 {
        let TrialId { test, provider, repeat } = &self.trial;
        let mut hasher = crc32fast::Hasher::new();
        for text in [run, "/", test, "@", provider, "#", self.outcome.as_str()] {
            hasher.update(text.as_bytes());
        }
        for number in [
            u64::from(*repeat),
            self.flaky.into(),
            self.score.map_or(u64::MAX, f64::to_bits),
            self.duration.0,
            self.started_at.as_millis().cast_unsigned(),
            self.fingerprints.0[0].cast_unsigned(),
            self.fingerprints.0[1].cast_unsigned(),
            self.seq,
            self.tokens.map_or(u64::MAX, f64::to_bits),
            self.cost_usd.map_or(u64::MAX, f64::to_bits),
        ] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.finalize()
    }
}
