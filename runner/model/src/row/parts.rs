//! The values in a row.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::enum_text::{default_weight, is_default, is_default_weight, present};
use crate::transcript::TRANSCRIPT;
use crate::workspace::{CHANGES, CONTENTS};
use crate::{Digest, ErrorClass, Fingerprint, Text, outcome::Verdict};

/// The name of the artifact that replaces a large or deep output.
pub const OUTPUT_ARTIFACT: &str = "output.json";
/// The output in the row of an attempt whose output is its first artifact.
pub const OUTPUT_REFERENCE: &str = r#"{"$artifact":"output.json"}"#;
/// Names of the artifacts that the runner itself adds to attempts.
const HOST_ARTIFACTS: [&str; 4] = [OUTPUT_ARTIFACT, CHANGES, CONTENTS, TRANSCRIPT];
/// Words between a message and the end of the standard error.
pub const STDERR_FOLLOWS: &str = "; its standard error ends with:";
/// Start of Rust's line after a panic.
pub const BACKTRACE: &str = "note: run with `RUST_BACKTRACE=";
/// Line of the Python runtime below an exception that was not caught.
const PYTHON_PANIC: &str = "Python function threw an unexpected exception";
/// Start of the words of the Python runtime about a value that it cannot pass to the host.
const PYTHON_UNWRAP: &str = "called `Result::unwrap()` on an `Err` value: ";
/// Last line of the JavaScript engine after an exception that was not caught.
const JAVASCRIPT_ABORT: &str = "Redirecting call to abort() to mozalloc_abort";

/// Returns whether a name is that of an artifact that only the runner adds. Guests cannot use it in any letter case, because not
/// all file systems distinguish cases.
pub fn is_host_artifact(name: &str) -> bool {
    HOST_ARTIFACTS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Resources that an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Peak of all memories of the guest together, in bytes.
    pub peak_memory: u64,
    /// Bytes passed to the guest.
    pub bytes_in: u64,
    /// Bytes received from the guest.
    pub bytes_out: u64,
    /// Calls of the guest to the host.
    #[serde(skip_serializing_if = "is_default")]
    pub host_calls: u64,
    /// HTTP requests that were sent.
    #[serde(skip_serializing_if = "is_default")]
    pub http_requests: u64,
}

/// The answer of a grader, or the error of its last attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
pub struct Grade<'a> {
    /// The grader's name.
    pub grader: Text<'a>,
    /// The grader's attempt with the same settings and input, from 1.
    pub attempt: u32,
    /// The verdict by the answer and `min_score`. `None` if there is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The grader's own verdict, before `min_score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_verdict: Option<Verdict>,
    /// The grader's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The lowest score that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Weight of the score in the score of the trial. Absent if it is 1.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
    /// The grader's reason for its verdict or score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Text<'a>>,
    /// Whether the explanation is the output of a plain command, whose last lines may be totals.
    #[serde(default, skip_serializing_if = "is_default")]
    pub printed: bool,
    /// Reason why there is no verdict. A timeout has no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// The end of the grader's log and standard error, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Text<'a>>,
    /// Time of the call in milliseconds.
    pub duration_ms: f64,
    /// Resources of the call.
    #[serde(default, skip_serializing_if = "is_default")]
    pub usage: Usage,
    /// Measurements of the grader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric<'a>>,
    /// Actions of the grader that are not granted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied<'a>>,
    /// The requests in `calls.jsonl`. Absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    /// Hash of the grader's settings and its input. An answer with the same hash is kept. `None` if the grader was not called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Fingerprint>,
    /// Whether the grade decides nothing, because the attempt was cut off and keeps its outcome. The coordinator sets it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub partial: bool,
    /// The session of the call, from 1. The coordinator sets it.
    #[serde(default)]
    pub session: u32,
}

impl Grade<'_> {
    /// Returns whether the grade decides that the row does not pass: it is a fail, or has no verdict because of an error.
    pub fn has_failed(&self) -> bool {
        !self.partial && (self.error.is_some() || self.verdict == Some(Verdict::Fail))
    }

    /// Returns the log. `None` if it is the explanation, as that of a program that prints only to standard error.
    pub fn own_log(&self) -> Option<&str> {
        self.log.as_deref().filter(|log| self.explanation.as_deref() != Some(*log))
    }
}

/// A measurement of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Metric<'a> {
    /// The provider's own name, such as `total_tokens`.
    pub name: Text<'a>,
    /// A finite number.
    pub value: f64,
    /// The provider's own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Text<'a>>,
}

/// The reason why an attempt has no verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct RowError<'a> {
    /// The kind of the error. `None` for timeouts and stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ErrorClass>,
    /// A stable word, such as `unreachable`, `trial_timeout` or `lost`.
    pub code: Text<'a>,
    /// An explanation for people.
    pub message: Text<'a>,
    /// The start of the output that is malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Text<'a>>,
    /// The end of the program's standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Text<'a>>,
    /// Delay before the next attempt that the provider requests, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// The provider's own details.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub details: Option<Raw<'a>>,
}

/// An action of the guest that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Denied<'a> {
    /// The action, in words.
    pub what: Text<'a>,
    /// The line of a scenario that would grant it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Text<'a>>,
}

/// A file of an attempt. Its content is `artifacts/<aa>/<sha256>` in the run's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Artifact<'a> {
    /// The provider's name for it, a valid file name.
    pub name: Text<'a>,
    /// The media type that the provider gave, such as `image/png`.
    pub media_type: Text<'a>,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// Length of the content.
    pub bytes: u64,
}

/// The origin of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// User name.
    pub user: String,
    /// Machine.
    pub host: String,
    /// Reason in the user's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The requests of an attempt in `calls.jsonl`, as its row has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Number of exchanges.
    pub count: u32,
    /// SHA-256 of the entries of the attempt's first start, its exchanges and the ends of its tools, one after the other.
    pub sha256: Digest,
}

/// The place of a line in `logs.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPlace {
    /// Offset of the first byte.
    pub at: u64,
    /// Length in bytes, without the line break.
    pub bytes: u32,
}

/// JSON as written, borrowed from its source if possible.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Raw<'a>(pub Cow<'a, RawValue>);

/// Returns the lines of a panic in a trap's standard error, and the panic as one line.
pub fn panic<'a>(error: &'a RowError<'_>) -> Option<(Vec<&'a str>, String)> {
    let stderr = error.stderr.as_ref().filter(|_| error.class == Some(ErrorClass::Trap))?;
    if let Some(exception) = python_exception(stderr) {
        return Some(exception);
    }
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(panic) = javascript_panic(&lines) {
        return Some(panic);
    }
    let at = lines.iter().position(|line| is_panic(line))?;
    let place = &lines[at][lines[at].find("panicked at ")?..];
    let words = lines.get(at + 1).filter(|_| place.ends_with(':'));
    Some(match words {
        Some(words) => {
            let place = place.trim_end_matches(':');
            let refused = python_refusal(words);
            (vec![lines[at], words], refused.unwrap_or_else(|| format!("{words} ({place})")))
        }
        None => (vec![lines[at]], place.to_owned()),
    })
}

fn is_panic(line: &str) -> bool {
    line.starts_with("thread '") && line.contains("panicked at ")
}

/// Returns the lines of the exception that has ended a Python component, and the exception with its place as one line.
///
/// The runtime prints the exception, and then panics.
pub fn python_exception(stderr: &str) -> Option<(Vec<&str>, String)> {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let at = lines.iter().position(|line| is_panic(line))?;
    lines.get(at + 1).filter(|words| **words == PYTHON_PANIC)?;
    let (printed, ended) = (&lines[..at], &lines[at..at + 2]);
    let last = printed.last()?;
    // The parts of an exception group are in boxes below it, and its own lines have a margin.
    let group: Vec<&str> = if last.trim_start().starts_with("+-") {
        let start = printed.iter().rposition(|line| !line.starts_with("  "));
        let lines = printed[start.map_or(0, |start| start + 1)..].iter();
        let lines = lines.take_while(|line| !line.starts_with("  +-"));
        lines.filter_map(|line| line.strip_prefix("  | ")).collect()
    } else {
        Vec::new()
    };
    let traceback = if group.is_empty() { printed } else { &group[..] };
    let frame = traceback.iter().rposition(|line| line.starts_with("  File \""));
    let text = match frame {
        // Below a frame is its line of the source, indented.
        Some(frame) => {
            let below = traceback[frame + 1..].iter().position(|line| !line.starts_with(' '));
            &traceback[frame + 1 + below.unwrap_or(0)..]
        }
        // There is no traceback, or its start is cut off.
        None => {
            let is_box = |line: &&str| line.trim_start().starts_with("+-");
            let last = traceback.iter().rposition(|line| !is_box(line)).unwrap_or(0);
            &traceback[last..=last]
        }
    };
    let lines: Vec<&str> = text.iter().map(|line| line.trim()).collect();
    let mut words = lines.join(" ");
    if frame.is_none() {
        words = words.trim_start_matches("| ").to_owned();
    }
    let is_placed = words.ends_with(')') && words.contains(", line ");
    if let Some(place) = python_place(traceback).filter(|_| !is_placed) {
        words += &format!(" ({place})");
    }
    // Lines that one line joins stay among the details.
    let own = if text.len() == 1 { text } else { &[] };
    Some((own.iter().chain(ended).map(|line| line.trim()).collect(), words))
}

/// Returns file and line of the last function of a traceback that is in the plugin's own folder.
///
/// `componentize-py` numbers the folders that it finds modules in. The first one is the plugin's.
fn python_place(lines: &[&str]) -> Option<String> {
    let mut frames = lines
        .iter()
        .rev()
        .filter_map(|line| line.trim_start().strip_prefix("File \"/0/")?.split_once("\", line "));
    // The template's `checked` reports mistakes of its caller.
    let caller = frames.clone().find(|(_, line)| !line.ends_with(", in checked"));
    let (file, line) = caller.or_else(|| frames.next())?;
    Some(format!("{file}, line {}", line.split(',').next()?))
}

/// Returns the reason of the Python runtime's panic about a value that the contract does not allow.
fn python_refusal(words: &str) -> Option<String> {
    let error = words.strip_prefix(PYTHON_UNWRAP)?.strip_suffix(" }")?;
    if let Some(cast) = error.strip_prefix("CastError { from: ") {
        let (value, class) = cast.rsplit_once(", classinfo: ")?;
        return Some(format!(
            "a value of the wrong type was given to the host: {value} is not {class}"
        ));
    }
    let (_, raised) = error.strip_prefix("PyErr { type: <class ")?.split_once(", value: ")?;
    let (raised, _) = raised.rsplit_once(", traceback: ")?;
    Some(format!("a value that the contract does not allow was given to the host: {raised}"))
}

/// Returns the exception that has ended a JavaScript component, whose engine prints its message and its stack.
fn javascript_panic<'a>(lines: &[&'a str]) -> Option<(Vec<&'a str>, String)> {
    let stack = lines.iter().position(|line| *line == "Stack:");
    let stack = stack.filter(|_| lines.last() == Some(&JAVASCRIPT_ABORT))?;
    let message = lines[stack.checked_sub(1)?];
    let frame =
        lines[stack + 1].rsplit('@').next().filter(|frame| !frame.contains("initializer.js:"));
    // A development form has printed it with the place in the author's file.
    let above =
        stack.checked_sub(2).map(|above| lines[above]).filter(|line| line.contains(message));
    let words = match (above, frame) {
        (Some(above), _) => above.to_owned(),
        (None, Some(frame)) => format!("{message} ({frame})"),
        (None, None) => message.to_owned(),
    };
    Some((vec![message, JAVASCRIPT_ABORT], words))
}

impl fmt::Display for RowError<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(formatter, "; it starts with `{excerpt}`")?;
        }
        match &self.stderr {
            Some(stderr) => write!(formatter, "{STDERR_FOLLOWS}\n{stderr}"),
            None => Ok(()),
        }
    }
}

impl<'a> Raw<'a> {
    /// Returns the JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Serializes a value.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot hold.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(|raw| Self(Cow::Owned(raw)))
    }

    /// Wraps a JSON text.
    ///
    /// # Errors
    ///
    /// A text that is not JSON.
    pub fn from_string(json: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(json).map(|raw| Self(Cow::Owned(raw)))
    }

    pub fn borrowed(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl JsonSchema for Raw<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Raw<'_> {}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(Self::borrowed)
    }
}
