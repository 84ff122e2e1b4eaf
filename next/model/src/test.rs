//! [`Test`]: a resolved test, which is one line of the suite and the body of a task.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    Digest, ErrorClass, Micros, TestId, Text,
    enum_text::{as_text, is_default, present},
};

/// A test with everything resolved. One compact JSON object on one line of the suite; keys with their default are absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test<'a> {
    /// Unique in the suite.
    pub id: TestId,
    /// What the provider gets, as compact JSON.
    #[serde(borrow)]
    pub input: &'a RawValue,
    /// The indexes of the providers that it runs on, ascending.
    pub providers: Vec<u16>,
    /// Trials on each provider, at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repeat: u32,
    /// Words to select it by.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Text<'a>>,
    /// What the test says of itself, for reports; texts, numbers and booleans by name.
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<Text<'a>, MetaValue<'a>>,
    /// Files that the provider gets, sorted by name.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attachment<'a>>,
    /// How long one attempt may take.
    pub timeout: Micros,
    /// How long all attempts of a trial may take together, waiting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_timeout: Option<Micros>,
    /// Which attempts are made again.
    #[serde(default, skip_serializing_if = "Retries::is_none")]
    pub retries: Retries,
    /// What must come.
    #[serde(default, skip_serializing_if = "Expect::is_empty")]
    pub expect: Expect,
}

/// A file that a test hands to its providers. Its content is a blob of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment<'a> {
    /// The name that guests know it by: a file name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// The SHA-256 of its content.
    pub sha256: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A value of [`Test::meta`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetaValue<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    #[serde(borrow)]
    Text(Text<'a>),
}

/// Which attempts of a trial are made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How many retries at most; the first attempt does not count.
    pub max: u32,
    /// How long to wait before the first retry; doubles each time, up to a minute.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backoff: Micros,
    /// What is retried.
    pub on: Vec<ExpectedError>,
}

/// A way in which an attempt can come to no verdict: an error of a class, or a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedError {
    /// An error of this class.
    Class(ErrorClass),
    /// A deadline.
    Timeout,
}

/// What a test expects of a reply. What is absent is not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The output is exactly this; `null` counts as a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// Each of these is in the output: a text in a text, a value in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<Value>,
    /// The output is a text in which this regular expression matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// The output has at least what this has; `null` counts as a value.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// How far numbers of `json` may be off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The attempt ends in this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ExpectedError>,
    /// The output is valid by the JSON Schema with this SHA-256, a blob of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Digest>,
    /// The attempt takes at most this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Micros>,
    /// The guest's memories have at most this many bytes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u64>,
    /// The provider's score is at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// A plain command ends with this exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

impl Expect {
    /// Tells whether nothing is expected but a reply.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Retries {
    /// No retries, of the classes that scenarios retry by default.
    fn default() -> Self {
        let on = [ErrorClass::Unavailable, ErrorClass::RateLimited];
        Self { max: 0, backoff: Micros(0), on: on.map(ExpectedError::Class).to_vec() }
    }
}

impl Retries {
    fn is_none(&self) -> bool {
        self.max == 0
    }
}

impl ExpectedError {
    /// The word for it in scenarios and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Timeout => "timeout",
        }
    }

    /// Reads [`Self::as_str`] back; only what a scenario may name.
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
    .ok_or_else(|| format!("`{word}` is no class of errors")));

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

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
