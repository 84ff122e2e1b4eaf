//! [`Test`]: a resolved test, one line of the suite and the body of a task.

use std::hash::{Hash, Hasher};
use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::enum_text::{as_text, default_weight, is_default, is_default_weight, present};
use crate::statistics::wilson;
use crate::transcript::AgentEnd;
use crate::{Digest, ErrorClass, Micros, Outcome, TestId, Text};

/// A resolved test. Written as one compact JSON object. Keys with their default are absent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test<'a> {
    /// Unique in the suite.
    pub id: TestId,
    /// The provider's input as compact JSON.
    #[serde(borrow)]
    #[schemars(with = "Value")]
    pub input: &'a RawValue,
    /// Indexes of the test's providers, ascending.
    pub providers: Vec<u16>,
    /// Trials on each provider, at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repeat: u32,
    /// The rule that ends the repeats before the last one. Absent if all run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<RepeatUntil>,
    /// Weight of the test's trials in a gate.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
    /// Words that selections and gates use.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Text<'a>>,
    /// Facts about the test, for reports.
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<Text<'a>, MetaValue<'a>>,
    /// Sorted by name.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attachment<'a>>,
    /// Digests of the bases of workspaces, by index of the provider. A base is a blob.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<u16, Digest>,
    /// Digests of the files that graders put into the workspace, by the grader's name. They are blobs as bases are, with paths
    /// relative to the workspace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grader_files: BTreeMap<String, Digest>,
    /// Most time of one attempt.
    pub timeout: Micros,
    /// Most time of all attempts of a trial together, with the delays between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_timeout: Option<Micros>,
    /// Absent if the scenario sets no retries: providers with a network grant then retry up to three times, others never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// An example or a description of a good output, for graders.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub reference: Option<&'a RawValue>,
    /// Absent without expectations.
    #[serde(default, skip_serializing_if = "Expect::is_empty")]
    pub expect: Expect,
}

impl<'a> Test<'a> {
    /// Returns a test that has an id, an input and a timeout, and the defaults of all other keys.
    pub fn new(id: TestId, input: &'a RawValue, timeout: Micros) -> Self {
        Self {
            id,
            input,
            providers: Vec::new(),
            repeat: one(),
            until: None,
            weight: default_weight(),
            tags: Vec::new(),
            meta: BTreeMap::new(),
            files: Vec::new(),
            bases: BTreeMap::new(),
            grader_files: BTreeMap::new(),
            timeout,
            trial_timeout: None,
            retries: None,
            reference: None,
            expect: Expect::default(),
        }
    }

    /// Returns whether the test gives its provider an input and nothing else. An empty one has nothing that a command lacks.
    pub fn has_only_input(&self) -> bool {
        !["null", "\"\""].contains(&self.input.get()) && self.files.is_empty()
    }
}

/// The rule of adaptive repeats: a test on a provider is repeated until the interval of its pass rate is narrow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatUntil {
    /// Repeats that always run, at least 1.
    pub min: u32,
    /// Width of the 95 % interval of the pass rate that is narrow enough, above 0 and below 1.
    pub width: f64,
}

// A width is never NaN.
impl Eq for RepeatUntil {}

impl Hash for RepeatUntil {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.min, self.width.to_bits()).hash(state);
    }
}

impl RepeatUntil {
    /// Returns whether no further repeat is needed. `results` are the outcomes of all planned repeats in order, `None` without one.
    /// Only those before the first missing one count, so the order in which they come has no effect.
    pub fn is_decided(&self, results: impl Iterator<Item = Option<Outcome>>) -> bool {
        let mut passed = 0;
        for (total, outcome) in (1..).zip(results) {
            let Some(outcome) = outcome else { return false };
            passed += u64::from(outcome == Outcome::Passed);
            if total >= u64::from(self.min) && self.is_narrow(passed, total) {
                return true;
            }
        }
        true
    }

    /// Returns whether Wilson's interval of 95 % for `passed` of `total` is narrow enough.
    fn is_narrow(&self, passed: u64, total: u64) -> bool {
        let (low, high) = wilson(passed, total);
        high - low <= self.width
    }
}

/// A test on a provider whose repeats end by a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveRepeats {
    /// Index of the trial of its first repeat. Those of the others follow.
    pub first: u64,
    /// Planned repeats.
    pub max: u32,
    pub until: RepeatUntil,
}

/// A file for the test's providers. Its content is a blob of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment<'a> {
    /// The file name in the guest.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// The SHA-256 of the content.
    pub sha256: Digest,
    /// Length of the content.
    pub bytes: u64,
}

/// A value of a test's `meta`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MetaValue<'a> {
    Bool(bool),
    Number(serde_json::Number),
    #[serde(borrow)]
    Text(Text<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Most retries, without the first attempt.
    pub max: u32,
    /// Delay before the first retry. It doubles each time, up to a minute.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backoff: Micros,
    /// Errors that cause a retry.
    pub on: Vec<ExpectedError>,
}

/// An attempt without a verdict: an error of a class, or a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedError {
    Class(ErrorClass),
    Timeout,
}

/// The expectations of a test. Absent ones are not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The whole output. `null` is a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// Values of which the whole output is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equals_any: Vec<Value>,
    /// The golden file whose content is `equals`, relative to the scenario. Without `equals`, there is no such file yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether `equals` ignores white space at the ends of two texts.
    #[serde(skip_serializing_if = "is_default")]
    pub trim: bool,
    /// Parts of the output: texts in a text, or values in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<Value>,
    /// Parts of which the output has at least one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains_any: Vec<Value>,
    /// A regular expression that matches the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Checks that must not hold.
    #[serde(skip_serializing_if = "is_default")]
    pub not: Unwanted,
    /// Whether the checks above ignore case.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_case: bool,
    /// A value whose keys and items the output must have. `null` is a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Allowed difference of numbers in `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The class of the error that the attempt must end in, or `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ExpectedError>,
    /// The SHA-256 of a JSON Schema of the output, a blob of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Digest>,
    /// Longest duration of the attempt, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Micros>,
    /// Bytes of the guest's memories together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u64>,
    /// Lowest score of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// The exit code of a plain command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The kept part of the standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<ExpectedText>,
    /// Expectations of the attempt's metrics, by their name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, ExpectedMetric>,
    /// What the attempt leaves in its workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<ExpectedWorkspace>,
    /// Expected calls of tools, and the end of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<ExpectedTranscript>,
    /// Whether `workspace`, `metrics`, `transcript` and the graders that have a workspace decide about an attempt that a timeout
    /// or a limit has cut off.
    #[serde(skip_serializing_if = "is_default")]
    pub judge_partial: bool,
    /// Names of the graders that judge the output if all other expectations hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<String>,
}

/// The range of a metric, which an attempt must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedMetric {
    /// The lowest value that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Expectations of the calls of tools in an attempt, and of its end. Absent ones are not checked. Tools are globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedTranscript {
    /// Tools that must be called in this order. Others may come between.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// Tools that must not be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Maximum number of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// Calls that must be made, in any order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<ExpectedCall>,
    /// Accepted values of `extra.ended`. Absent to accept `done` and a missing value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Vec<AgentEnd>>,
}

impl ExpectedTranscript {
    /// Returns whether the steps of the transcript decide. The end of the agent is in the row.
    pub fn needs_steps(&self) -> bool {
        let Self { calls, never, max_calls, call, ended: _ } = self;
        !(calls.is_empty() && never.is_empty() && max_calls.is_none() && call.is_empty())
    }
}

/// A call of a tool that must be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedCall {
    /// A glob over the tool's name.
    pub tool: String,
    /// A value whose keys and items the arguments must have.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
}

/// Expectations of what an attempt leaves in its workspace. Absent ones are not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedWorkspace {
    /// Globs of which one matches the path of each change. An empty list allows no change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Globs that match the path of no change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
    /// Expectations of files, by their path in the workspace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, ExpectedFile>,
}

/// Expectations of a file in a workspace. Absent ones are not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedFile {
    /// Whether nothing may have this path.
    #[serde(skip_serializing_if = "is_default")]
    pub absent: bool,
    /// Expectations of its text.
    #[serde(skip_serializing_if = "is_default")]
    pub text: ExpectedText,
    /// A value whose keys and items the JSON in the file must have. `null` is a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

/// Expectations of a text. Absent ones are not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedText {
    /// The whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// Parts of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<Value>,
    /// Parts of which the text has at least one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains_any: Vec<Value>,
    /// A regular expression that matches the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Checks that must not hold.
    #[serde(skip_serializing_if = "is_default")]
    pub not: Unwanted,
    /// Whether all of these ignore case.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_case: bool,
}

/// Checks of the output or the standard error. The test fails if one of them holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unwanted {
    /// The whole value. `null` is a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// Parts that the value may not contain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<Value>,
    /// A regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

impl Expect {
    /// Returns whether any reply passes.
    pub fn is_empty(&self) -> bool {
        *self == Self { judge_partial: self.judge_partial, ..Self::default() }
    }

    /// Returns the keys whose empty tables check nothing, with words for the values that pass.
    pub fn vacuous(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_object = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        [
            (self.json.as_ref().is_some_and(is_object), "json", "any object"),
            (self.stderr == Some(ExpectedText::default()), "stderr", "any standard error"),
            (self.workspace == Some(ExpectedWorkspace::default()), "workspace", "any workspace"),
            (
                self.transcript == Some(ExpectedTranscript::default()),
                "transcript",
                "any transcript",
            ),
        ]
        .into_iter()
        .filter_map(|(is_vacuous, key, words)| is_vacuous.then_some((key, words)))
    }

    /// Returns whether it has a check that may pass whatever an attempt does: `vacuous`, of calls or of unchanged files.
    pub fn may_be_weak(&self) -> bool {
        let guards = |one: &ExpectedWorkspace| !one.unchanged.is_empty();
        self.transcript.is_some()
            || self.workspace.as_ref().is_some_and(guards)
            || self.vacuous().next().is_some()
    }
}

impl Default for Retries {
    /// Returns no retries, and the classes for a `max` above 0.
    fn default() -> Self {
        let on = [ErrorClass::Unavailable, ErrorClass::RateLimited];
        Self { max: 0, backoff: Micros(0), on: on.map(ExpectedError::Class).to_vec() }
    }
}

impl Retries {
    /// Returns the default of providers and graders with a network grant: a busy service answers later.
    pub fn of_network() -> Self {
        Self { max: 3, backoff: Micros(1_000_000), ..Self::default() }
    }
}

impl ExpectedError {
    /// Returns the word in scenarios and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Timeout => "timeout",
        }
    }

    /// Parses the word of an error that scenarios can name.
    pub fn parse(word: &str) -> Option<Self> {
        if word == "timeout" {
            return Some(Self::Timeout);
        }
        ErrorClass::parse(word).filter(|class| class.can_be_named()).map(Self::Class)
    }
}

impl fmt::Display for ExpectedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

as_text!(ExpectedError, |word| ExpectedError::parse(word)
    .ok_or_else(|| format!("`{word}` is not a class of errors")));

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[cfg(test)]
#[path = "tests/repeats.rs"]
mod repeats;
#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::Test;

    #[test]
    fn a_line_of_the_suite_is_read_as_it_was_written() {
        for line in [
            r#"{"id":"a","input":null,"providers":[0],"timeout":60000000}"#,
            r#"{"id":"a/b","input":{"x":[1.0,2]},"providers":[0,2],"repeat":3,"tags":["x"],"timeout":1,"trial_timeout":2,"retries":{"max":2,"on":["timeout","trap"]},"expect":{"equals":null,"contains":["a",1],"matches":"^a","tolerance":0.5,"error":"timeout","max_duration":7}}"#,
        ] {
            let test: Test<'_> = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&test).unwrap(), line);
        }
        let test: Test<'_> = serde_json::from_str(
            r#"{"id":"a","input":1,"providers":[],"timeout":1,"expect":{"json":null}}"#,
        )
        .unwrap();
        assert_eq!(test.expect.json, Some(Value::Null));
        assert_eq!(test.expect.equals, None);
    }
}
