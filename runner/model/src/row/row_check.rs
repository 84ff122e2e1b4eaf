//! [`Check`]: the result of an expectation, or a check of the provider's own.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::Raw;
use crate::enum_text::{is_default, present, text_enum};
use crate::{Text, outcome::Verdict};

/// Differences that a check lists.
pub const MAX_DIFFERENCES: usize = 400;

text_enum! {
    /// The expectation of a check, by its key in `expect`.
    pub enum CheckKind {
        Equals = "equals",
        EqualsAny = "equals_any",
        Contains = "contains",
        ContainsAny = "contains_any",
        Matches = "matches",
        NotEquals = "not.equals",
        NotContains = "not.contains",
        NotMatches = "not.matches",
        Json = "json",
        Schema = "schema",
        Error = "error",
        ExitCode = "exit_code",
        Stderr = "stderr",
        MinScore = "min_score",
        MaxDuration = "max_duration",
        MaxMemory = "max_memory",
        Metrics = "metrics",
        WorkspaceChanged = "workspace.changed",
        WorkspaceUnchanged = "workspace.unchanged",
        WorkspaceFiles = "workspace.files",
        TranscriptCalls = "transcript.calls",
        TranscriptNever = "transcript.never",
        TranscriptMaxCalls = "transcript.max_calls",
        TranscriptCall = "transcript.call",
        TranscriptEnded = "transcript.ended",
    }
}

text_enum! {
    /// The line of a scenario that changes the form of the provider's output, so that the check could pass.
    pub enum Hint {
        /// White space at the ends of the output is cut.
        Trimmed = "output = \"trimmed\"",
        /// The output of a command is read as JSON.
        Json = "output = \"json\"",
        /// The output of a model is read as JSON.
        ModelJson = "config.output = \"json\"",
        /// The output of a command is an answer of the JSON protocol.
        Protocol = "protocol = \"json\"",
    }
}

/// Checks of a row that was too long, and metrics.
pub(super) const MAX_KEPT: usize = 40;

/// A check of an expectation, or one of the provider's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Check<'a> {
    /// The expectation's key. The provider's own checks have a `name` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<CheckKind>,
    /// The name that the provider gave.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Text<'a>,
    /// `pass` or `fail`, or `skip` if the expectation could not be checked.
    pub verdict: Verdict,
    /// The provider's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pub score: Option<Raw<'a>>,
    /// Reason of the verdict, one line. Absent if `differences` are the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text<'a>>,
    /// Step of the transcript that broke the check, from 1. Absent if no step did, and in rows of older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The end of the standard error, for failed checks of `exit_code` and `stderr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Text<'a>>,
    /// The code points of the first difference of two texts, if it cannot be seen: `U+00E9, got U+0065 U+0301`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_points: Option<Text<'a>>,
    /// The provider's key that probably has to be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Whether two texts were compared without their case.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_case: bool,
    /// The first differences of two objects or arrays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference<'a>>,
    /// The number of all differences of two objects or arrays.
    #[serde(default, skip_serializing_if = "is_default")]
    pub difference_count: u64,
    /// The expected value, for failed checks of the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expected: Option<Raw<'a>>,
    /// The actual value, for failed checks of the scenario and for exit codes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub actual: Option<Raw<'a>>,
    /// Differences of texts from expected to actual, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Text<'a>>,
    /// The provider's own details.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub details: Option<Raw<'a>>,
}

/// A place where two objects or arrays differ. Values are JSON, cut with `…` around their difference if they are long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Difference<'a> {
    /// The place, such as `$.items[0]`, or `$[2] to $[9]` for elements of which only one array has any.
    pub path: Text<'a>,
    /// The expected value. Absent if none is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Text<'a>>,
    /// The actual value. Absent if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Text<'a>>,
    /// As in the check. For a missing value, those of its key and of one that looks alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_points: Option<Text<'a>>,
    /// The difference in words, if it has no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text<'a>>,
}

impl CheckKind {
    /// Returns whether the check compares all of the output with one value.
    pub fn compares_output(self) -> bool {
        matches!(self, Self::Equals | Self::Json)
    }

    /// Returns whether the message of a failed check has the expected value.
    pub fn has_expected_in_message(self) -> bool {
        use CheckKind::{ContainsAny, EqualsAny, NotContains, NotEquals, NotMatches};
        self.has_values_in_message()
            || matches!(self, EqualsAny | Self::Contains | ContainsAny | Self::Matches)
            || matches!(self, NotEquals | NotContains | NotMatches | Self::Schema)
    }

    /// Returns whether the message of a failed check has the expected and the actual value.
    pub fn has_values_in_message(self) -> bool {
        use CheckKind::{Error, ExitCode, MaxDuration, MaxMemory, Metrics, MinScore};
        matches!(self, Error | ExitCode | MaxDuration | MaxMemory | MinScore | Metrics)
            || matches!(self, Self::WorkspaceChanged | Self::WorkspaceUnchanged)
            || matches!(self, Self::TranscriptCalls | Self::TranscriptNever)
            || matches!(self, Self::TranscriptMaxCalls | Self::TranscriptEnded)
    }
}

impl<'a> Check<'a> {
    /// Creates a check of the scenario.
    pub fn new(kind: CheckKind, verdict: Verdict) -> Self {
        Self { kind: Some(kind), verdict, ..Self::default() }
    }

    /// Creates a check of the provider's own.
    pub fn own(name: impl Into<Text<'a>>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict, ..Self::default() }
    }

    /// Returns the expectation's key, or the provider's name.
    pub fn label(&self) -> &str {
        match self.kind {
            Some(kind) => kind.as_str(),
            None => &self.name,
        }
    }

    /// Returns whether keys of expectations and of the provider's own checks are not mixed, and the differences are bounded.
    pub(super) fn is_possible(&self) -> bool {
        let count = self.difference_count;
        let is_compared = count > 0 || self.code_points.is_some() || self.hint.is_some();
        let is_own = !is_compared && self.step.is_none();
        let is_separate = if self.kind.is_some() { self.name.is_empty() } else { is_own };
        is_separate && self.differences.len() as u64 <= count.min(MAX_DIFFERENCES as u64)
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", &*self.path)?;
        match (&self.expected, &self.actual) {
            (Some(expected), Some(actual)) => {
                write!(formatter, "expected {expected}, got {actual}")
            }
            (Some(expected), None) => write!(formatter, "missing, expected {expected}"),
            (None, Some(actual)) => write!(formatter, "not expected, got {actual}"),
            (None, None) => formatter.write_str(self.message.as_deref().unwrap_or_default()),
        }?;
        let Some(points) = &self.code_points else { return Ok(()) };
        if self.actual.is_none() {
            formatter.write_str("; the output has a key that looks alike")?;
        }
        write!(formatter, " (first difference: {points})")
    }
}
