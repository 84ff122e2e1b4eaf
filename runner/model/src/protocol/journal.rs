//! [`Entry`]: what the journal of an attempt has of its calls to the world outside. [`CallLine`]: a line of `calls.jsonl`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::enum_text::is_default;
use crate::row::{BadReport, Denied, close_line};
use crate::{Fingerprint, ProviderName, Text, Time, TrialId, cache::is_compile_key};

/// The error code of a stopped attempt that cannot continue from its journal.
pub const DIVERGED: &str = "diverged";
/// The error code of an attempt whose requests must not be sent again.
pub const INTERRUPTED_CALL: &str = "interrupted-call";
/// Greatest time in an entry, in its own unit: 31 years in nanoseconds.
const MAX_TIME: u64 = 1_000_000_000_000_000_000;
/// The version of lines of calls, their `v`. Those of version 1 have no ends of tools.
pub const CALLS_VERSION: u8 = 2;

/// An entry of the journal of an attempt, from its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::large_enum_variant, reason = "one at a time is in memory")]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry<'a> {
    /// A guest starts. Comes before its first exchange.
    Start {
        /// Start of the guest's clocks.
        clock: Time,
        /// The guest's timeout, in microseconds. Later guests of the attempt see the same value, and get the rest of the time.
        timeout_us: u64,
        /// Hash of the machine's kind and of the compiler. Code with another key may compute other bits of NaN.
        compile_key: String,
        /// Whether the guest has received the entries before. Otherwise those are void.
        #[serde(default, skip_serializing_if = "is_default")]
        continues: bool,
        /// Whether each request is recorded before it is sent.
        #[serde(default, skip_serializing_if = "is_default")]
        records_sent: bool,
    },
    /// A request is about to be sent. Only with `in_flight = "stop"`.
    Sent {
        /// Number of the request in the attempt, from 1.
        number: u32,
    },
    /// A request and its result.
    #[serde(borrow)]
    Exchange(Exchange<'a>),
    /// The time of a tool was over, and its caller has seen that.
    Ended {
        /// Number of the call among those of tools in the attempt, from 1.
        call: u32,
        /// Fuel that the tool had used: about one unit for each instruction.
        fuel: u64,
        /// Time of the end, in nanoseconds since the start of the guests' clocks.
        at_ns: u64,
    },
    /// The entries before are void. Only the coordinator writes it, and no worker sends it.
    Void {
        /// The reason, as the end of a sentence.
        #[serde(borrow)]
        reason: Text<'a>,
    },
}

/// A request and its response, or the reason for a missing response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange<'a> {
    /// Number of the request in the attempt, from 1.
    pub number: u32,
    /// Time at which the guest receives the response, in nanoseconds since the start of its clocks.
    pub at_ns: u64,
    /// Time from the request to the end of the response, in microseconds.
    pub took_us: u64,
    /// Real time of the attempt until the end of the response, with that of its earlier sessions, in microseconds.
    pub used_us: u64,
    /// The request as the guest made it: placeholders for secrets are not filled in.
    #[serde(borrow)]
    pub request: Request<'a>,
    /// Absent without a response.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response<'a>>,
    /// Reason why there is no response.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedCall<'a>>,
    /// Whether a secret in the response was replaced by a mark. The attempt can then neither continue nor be replayed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub redacted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// Method, such as `POST`.
    #[serde(borrow)]
    pub method: Text<'a>,
    /// The whole address.
    #[serde(borrow)]
    pub url: Text<'a>,
    /// Names and values.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Text<'a>, Content<'a>)>,
    /// Absent if it is empty.
    #[serde(borrow, default, skip_serializing_if = "Content::is_empty")]
    pub body: Content<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Names and values.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Text<'a>, Content<'a>)>,
    /// Absent if it is empty.
    #[serde(borrow, default, skip_serializing_if = "Content::is_empty")]
    pub body: Content<'a>,
}

/// Bytes: text, or base64 if they are not UTF-8 or have many control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Content<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Bytes {
        /// The bytes, with padding.
        #[serde(borrow)]
        base64: Text<'a>,
    },
}

/// Reason for a missing response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedCall<'a> {
    /// The kind of failure, a word of the host.
    #[serde(borrow)]
    pub code: Text<'a>,
    /// Reason of the failure.
    #[serde(borrow)]
    pub message: Text<'a>,
    /// The limit that the response exceeds, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The grant that the request lacks.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied<'a>>,
}

/// A line of `calls.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallLine<'a> {
    /// At most [`CALLS_VERSION`].
    #[schemars(description = "The version.", extend("enum" = [1, CALLS_VERSION]))]
    pub v: u8,
    pub trial: TrialId,
    /// The attempt of the trial, from 1.
    pub attempt: u32,
    /// Number of the attempt among those that were not stopped, from 1. The guest knows the attempt by it.
    pub tries: u32,
    /// The grader whose guest made the call. Absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<ProviderName>,
    /// The session, from 1.
    pub session: u32,
    /// The `key` of the session in `benchmark.json`. A line of another run has another key.
    pub key: u32,
    /// Number of the line among those of its guest's attempt, in all sessions, from 1.
    pub line: u64,
    /// Hash of all that determines the provider's result.
    pub fingerprint: Fingerprint,
    /// The entry's bytes, of which a row has the hash.
    #[serde(borrow)]
    #[schemars(with = "Entry<'a>")]
    pub entry: &'a RawValue,
}

impl Content<'_> {
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

impl Default for Content<'_> {
    fn default() -> Self {
        Self::Text(Text::default())
    }
}

impl<'a> Entry<'a> {
    /// Reads and checks an entry of a worker.
    ///
    /// # Errors
    ///
    /// The fault of the entry.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BadReport> {
        // A line break would start another line of `calls.jsonl`. serde also accepts an array for a structure.
        if bytes.first() != Some(&b'{') || bytes.contains(&b'\n') || bytes.contains(&b'\r') {
            return Err(BadReport("a call that is not one object on one line".into()));
        }
        let entry = serde_json::from_slice(bytes)
            .map_err(|error| BadReport(format!("not a call: {error}")))?;
        match &entry {
            Self::Start { compile_key, .. } if !is_compile_key(compile_key) => {
                Err(BadReport("a call with an impossible `compile_key`".into()))
            }
            Self::Exchange(one) if one.response.is_some() == one.failure.is_some() => {
                Err(BadReport("a call that needs either a response or a failure".into()))
            }
            Self::Exchange(Exchange { at_ns, took_us, used_us, .. })
                if took_us > used_us || used_us.max(at_ns) > &MAX_TIME =>
            {
                Err(BadReport("a call with an impossible time".into()))
            }
            Self::Ended { at_ns, .. } if *at_ns > MAX_TIME => {
                Err(BadReport("a call with an impossible time".into()))
            }
            Self::Sent { number: 0 }
            | Self::Exchange(Exchange { number: 0, .. })
            | Self::Ended { call: 0, .. } => {
                Err(BadReport("a call with an impossible `number`".into()))
            }
            _ => Ok(entry),
        }
    }

    /// Returns the entry as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        // All keys are strings, and writing to memory does not fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl CallLine<'_> {
    /// Returns the line with its line break. Its entry is `entry`, which [`Entry::read`] has accepted.
    pub fn with_entry(&self, entry: &[u8]) -> Vec<u8> {
        let head = Self { entry: RawValue::NULL, ..self.clone() };
        // All keys are strings, and writing to memory does not fail.
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.truncate(line.len().saturating_sub("null}".len()));
        line.reserve(entry.len() + 20);
        line.extend_from_slice(entry);
        close_line(&mut line);
        line
    }
}
