//! [`Reply`]: the answer to a test.

use crate::{Error, IntoJson, Result};

/// What the thing under test produced, and what the provider thinks of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub(crate) output: String,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) score: Option<f64>,
    pub(crate) summary: Option<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) metrics: Vec<Metric>,
}

impl Reply {
    /// Makes a reply of what the thing under test produced; the scenario's `expect` judges it.
    pub fn new(output: impl IntoJson) -> Result<Self> {
        let output = output
            .into_json()
            .map_err(|error| Error::internal(format!("the output is not JSON: {error}")))?;
        Ok(Self {
            output,
            verdict: None,
            score: None,
            summary: None,
            checks: Vec::new(),
            metrics: Vec::new(),
        })
    }

    /// Adds the provider's own judgement.
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Adds a score.
    pub fn score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    /// Adds a line about the reply for people.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// Adds a named part of the judgement.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a measured value; its unit is free text, such as `ms`, or empty.
    pub fn metric(mut self, name: impl Into<String>, value: f64, unit: &str) -> Self {
        self.metrics.push(Metric {
            name: name.into(),
            value,
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
        });
        self
    }

    /// Reads the output back, for tests of a provider.
    pub fn output(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_str(&self.output)
    }

    /// The checks that were added.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The metrics that were added.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
}

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It could not be asked.
    Skip,
}

/// A named part of a judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How well it went.
    pub score: Option<f64>,
    /// Why, for people.
    pub message: Option<String>,
    /// Anything else.
    pub details: Option<serde_json::Value>,
}

impl Check {
    /// Makes a check that passed or failed.
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict, score: None, message: None, details: None }
    }

    /// Says why.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// How much it is.
    pub value: f64,
    /// In which unit.
    pub unit: Option<String>,
}
