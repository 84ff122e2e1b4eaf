//! [`Reply`], the result of a test.

use crate::{Error, IntoJson, Result};

/// Output of the program under test, and the provider's own judgement of it.
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
    /// Creates a reply from an output. The scenario's `expect` judges it.
    ///
    /// # Errors
    ///
    /// The output cannot be written as JSON.
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

    /// Sets the provider's own verdict. Without it, only the scenario judges the output.
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Sets a score.
    pub fn score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    /// Sets a line about the result, shown to people.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// Adds a named part of the judgement.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a measured value. `unit` is any text, such as `ms`, or empty.
    pub fn metric(mut self, name: impl Into<String>, value: f64, unit: &str) -> Self {
        self.metrics.push(Metric {
            name: name.into(),
            value,
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
        });
        self
    }

    /// Returns the output, for tests of a provider.
    pub fn output(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_str(&self.output)
    }

    /// Returns the checks, for tests of a provider.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Returns the metrics, for tests of a provider.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
}

/// The result of a test or of one of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passed test or check.
    Pass,
    /// Failed test or check.
    Fail,
    /// Test or check that was not made, such as one for another platform.
    Skip,
}

/// A named part of a judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Name of the check.
    pub name: String,
    /// Result of the check.
    pub verdict: Verdict,
    /// Score of this part. Its range is the provider's choice.
    pub score: Option<f64>,
    /// Reason of the verdict, shown to people.
    pub message: Option<String>,
    /// Further data, for programs.
    pub details: Option<serde_json::Value>,
}

impl Check {
    /// Creates a check without score, message and details.
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict, score: None, message: None, details: None }
    }

    /// Sets the reason of the verdict.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name of the metric.
    pub name: String,
    /// Value in `unit`.
    pub value: f64,
    /// Unit, such as `ms`. `None` for a plain number.
    pub unit: Option<String>,
}
