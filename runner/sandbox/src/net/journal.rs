//! [`Journal`]: keeps what a deterministic guest receives from the network, and has what earlier guests of its attempt
//! have received. [`Answer`]: a response in the form of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader};
use std::{fmt, fs::File, os::unix::fs::FileExt as _, pin::Pin, string::FromUtf8Error, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use runner_model::protocol::{CallLine, Content, Entry, Exchange, FailedCall, Request, Response};
use runner_model::row::has_right_checksum;
use runner_model::{Micros, Text, Time, provider::InFlight, visible::visible_line};
use thiserror::Error;

use super::failure::{Failure, Step};
use super::policy::Refusal;
use crate::{Redactor, cut};

/// Bytes of a value in a difference of two requests.
const SHOWN: usize = 60;

/// Keeps entries of a journal, in the order of the calls.
pub trait Keeper: Send + Sync {
    /// Keeps an entry. Resolves once it is on disk, and never if it cannot be kept.
    fn keep(&self, entry: &[u8]) -> Kept;
}

/// Resolves once an entry is on disk.
pub type Kept = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The journal of one call.
#[derive(Clone)]
pub struct Journal {
    pub keeper: Arc<dyn Keeper>,
    /// `None` for a new attempt.
    pub recorded: Option<Arc<RecordedCalls>>,
    pub in_flight: InFlight,
    /// Whether nothing is sent: what is not recorded is an error.
    pub is_replay: bool,
    /// [`Engines::compile_key`](crate::Engines::compile_key).
    pub compile_key: String,
}

/// What earlier guests of an attempt have received.
#[derive(Debug)]
pub struct RecordedCalls {
    /// Start of the guests' clocks.
    pub(crate) clock: Time,
    /// The guests' time.
    pub(crate) timeout: Micros,
    /// By the number of the request.
    pub(super) exchanges: BTreeMap<u32, RecordedExchange>,
    /// Ends of tools whose time was over, by the number of the call.
    pub(super) ended: BTreeMap<u32, RecordedEnd>,
    /// Requests that were about to be sent.
    pub(super) sent: BTreeSet<u32>,
    /// The entry of the first start, whose hash is that of the exchanges, too. Empty for an attempt that had none.
    pub(super) start: Vec<u8>,
    /// First byte and length of the entries of exchanges and ends in `lines`, in the order in which they were kept.
    pub(super) entries: Vec<(u64, usize)>,
    /// The attempt's lines of `calls.jsonl`. In memory, responses of many attempts would need more than the guests.
    lines: Arc<File>,
    /// Real time of the earlier guests.
    pub(crate) used: Micros,
}

#[derive(Clone, Debug)]
pub(super) struct RecordedExchange {
    pub(super) at_ns: u64,
    /// The place of the entry.
    pub(super) place: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordedEnd {
    pub(crate) fuel: u64,
    pub(super) at_ns: u64,
    /// The place of the entry.
    pub(super) place: usize,
}

/// A request as a guest has made it, without its secrets.
#[derive(Clone, Debug)]
pub(super) struct Asked(pub(super) Request<'static>);

/// What came back for a request.
pub(super) type Answer = Result<Answered, Failure>;

/// A whole response.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Time from the request to the end of the response.
    pub(super) took: Micros,
}

/// Why an attempt with a journal ends. It passes through wasmtime as its error.
#[derive(Clone, Debug, Error)]
pub(crate) enum JournalEnd {
    /// The guest does not do what earlier guests of the attempt did.
    #[error("{0}")]
    Diverged(String),
    /// A request may have been sent, and must not be sent again.
    #[error("{0}, and `in_flight = \"stop\"` sends no request twice")]
    Interrupted(String),
    /// A replayed guest does not do what the other run did.
    #[error("{0}")]
    Replay(String),
    #[error(
        "the requests and responses of the attempt have more than {0}, which `limits.journal` sets"
    )]
    Full(String),
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

impl RecordedCalls {
    /// Reads the lines of an attempt in `calls.jsonl`. `replayed` is the start of an attempt that is replayed, and `timeout` its
    /// time; it may have no lines. `this_key` is the key of the compiler.
    ///
    /// # Errors
    ///
    /// The reason why no guest can continue from them.
    pub fn read(
        lines: File,
        used: Micros,
        replayed: Option<Time>,
        timeout: Micros,
        this_key: &str,
    ) -> Result<Self, String> {
        let mut first = None;
        let lines = Arc::new(lines);
        let (mut reader, mut at, mut line) = (BufReader::new(lines.clone()), 0, Vec::new());
        let mut recorded = Self {
            clock: Time::default(),
            timeout: Micros(0),
            exchanges: BTreeMap::new(),
            ended: BTreeMap::new(),
            sent: BTreeSet::new(),
            start: Vec::new(),
            entries: Vec::new(),
            lines,
            used,
        };
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))?;
            if length == 0 {
                break;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            // The coordinator gives the reason instead of lines that cannot be used.
            if let Some(reason) = line.strip_prefix(b"!") {
                return Err(String::from_utf8_lossy(reason).into_owned());
            }
            let read = has_right_checksum(line).then(|| serde_json::from_slice(line).ok());
            let call: CallLine<'_> = read.flatten().ok_or("a line of its journal is damaged")?;
            let bytes = call.entry.get().as_bytes();
            let start = at + (bytes.as_ptr().addr() - line.as_ptr().addr()) as u64;
            at += length as u64;
            match Entry::read(bytes).map_err(|error| error.to_string())? {
                Entry::Start { clock, timeout_us, compile_key, .. } => {
                    if compile_key != this_key && replayed.is_none() {
                        return Err("its journal is of another kind of machine, or of another version of the compiler".into());
                    }
                    if first.is_none() {
                        first = Some((clock, timeout_us));
                        recorded.start = bytes.to_vec();
                    }
                }
                Entry::Sent { number } => drop(recorded.sent.insert(number)),
                Entry::Void { reason } => return Err(visible_line(&reason).into_owned()),
                Entry::Exchange(Exchange { redacted: true, number, .. }) => {
                    return Err(format!("the response to its request {number} had a secret"));
                }
                Entry::Exchange(Exchange { number, at_ns, .. }) => {
                    let place = recorded.entries.len();
                    recorded.exchanges.insert(number, RecordedExchange { at_ns, place });
                    recorded.entries.push((start, bytes.len()));
                }
                Entry::Ended { call, fuel, at_ns } => {
                    let place = recorded.entries.len();
                    recorded.ended.insert(call, RecordedEnd { fuel, at_ns, place });
                    recorded.entries.push((start, bytes.len()));
                }
            }
        }
        let first = first.map(|(clock, timeout)| (clock, Micros(timeout)));
        let start = first.or(replayed.map(|start| (start, timeout)));
        (recorded.clock, recorded.timeout) = start.ok_or("its journal has no start")?;
        Ok(recorded)
    }

    /// Reads an entry. `None` if it cannot be read.
    pub(super) fn entry(&self, place: usize) -> Option<Vec<u8>> {
        let (at, length) = *self.entries.get(place)?;
        let mut bytes = vec![0; length];
        self.lines.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// Returns the request and the answer of an exchange.
    pub(super) fn exchange(
        &self,
        recorded: &RecordedExchange,
    ) -> Result<(Asked, Answer), &'static str> {
        const UNREADABLE: &str = "its journal cannot be read";
        let bytes = self.entry(recorded.place).ok_or(UNREADABLE)?;
        let Ok(Entry::Exchange(exchange)) = Entry::read(&bytes) else { return Err(UNREADABLE) };
        let took = Micros(exchange.took_us);
        let answer = match (exchange.response, exchange.failure) {
            (Some(response), _) => Ok(Answered::read(&response, took).ok_or(UNREADABLE)?),
            (None, Some(failure)) => Err(Failure::from_call(failure).ok_or(UNREADABLE)?),
            (None, None) => return Err(UNREADABLE),
        };
        Ok((Asked(owned(exchange.request)), answer))
    }
}

impl RecordedCalls {
    /// Describes the recorded request that is most like `asked`, for a message that already has the difference to request
    /// `number`. An edited plugin may make more or fewer requests than the replayed run, so numbers shift.
    pub(super) fn nearest(&self, asked: &Asked, number: u32) -> String {
        let start = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let likeness = |Asked(before): &Asked| {
            let is_whole = *before == asked.0;
            let bodies = start(text(&before.body), text(&asked.0.body));
            (is_whole, before.method == asked.0.method, start(&before.url, &asked.0.url), bodies)
        };
        let read = |(number, recorded): (&u32, _)| Some((*number, self.exchange(recorded).ok()?.0));
        let all = self.exchanges.iter().filter_map(read);
        let nearest = all.max_by_key(|(_, before)| likeness(before));
        match nearest.map(|(other, before)| (other, asked.difference(&before, other, true))) {
            None => String::new(),
            Some((other, None)) => format!("; it equals recorded request {other}"),
            // The difference to this one is known.
            Some(_) if self.exchanges.contains_key(&number) => String::new(),
            Some((_, Some(difference))) => {
                format!("; compared with the nearest recorded request, {difference}")
            }
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{} {}`", &*self.0.method, visible_line(&self.0.url))
    }
}

impl Asked {
    pub(super) fn new(
        method: &str,
        url: &str,
        headers: &HeaderMap,
        redactor: Option<&Redactor>,
    ) -> Self {
        Self(Request {
            method: text_of(method, redactor).0,
            url: text_of(url, redactor).0,
            headers: contents(headers, redactor).0,
            body: Content::default(),
        })
    }

    pub(super) fn set_body(&mut self, body: &[u8], redactor: Option<&Redactor>) {
        self.0.body = content(body, redactor).0;
    }

    /// Returns the first difference to the request that was recorded under this number. The body is compared if it `is_whole`.
    pub(super) fn difference(
        &self,
        recorded: &Self,
        number: u32,
        is_whole: bool,
    ) -> Option<String> {
        let (now, before) = (&self.0, &recorded.0);
        let differs = |what: &str, before: &str, now: &str| {
            let start = before.bytes().zip(now.bytes()).take_while(|(a, b)| a == b).count();
            let from = before.floor_char_boundary(start.saturating_sub(SHOWN / 4));
            let shown = |text: &str| {
                let rest = &text[from.min(text.floor_char_boundary(from))..];
                cut(SHOWN, visible_line(rest))
            };
            let at = if from > 0 { format!(" from byte {from}") } else { String::new() };
            let (before, now) = (shown(before), shown(now));
            format!("{what} of request {number} differs{at}: `{before}` before, `{now}` now")
        };
        if now.method != before.method {
            return Some(differs("the method", &before.method, &now.method));
        }
        if now.url != before.url {
            return Some(differs("the URL", &before.url, &now.url));
        }
        if now.headers != before.headers {
            let shown = |request: &Request<'_>| {
                let each = request.headers.iter();
                each.map(|(name, value)| format!("{}: {}", &**name, text(value)))
                    .collect::<Vec<_>>()
                    .join("; ")
            };
            return Some(differs("a header", &shown(before), &shown(now)));
        }
        (is_whole && now.body != before.body)
            .then(|| differs("the body", text(&before.body), text(&now.body)))
    }
}

impl Answered {
    fn read(response: &Response<'_>, took: Micros) -> Option<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &response.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.try_append(name, HeaderValue::from_bytes(&bytes(value)?).ok()?).ok()?;
        }
        let status = StatusCode::from_u16(response.status).ok()?;
        Some(Self { status, headers, body: bytes(&response.body)?.into(), took })
    }

    /// Returns the response for an entry, and whether a secret was replaced.
    pub(super) fn write(&self, redactor: Option<&Redactor>) -> (Response<'static>, bool) {
        let (headers, in_headers) = contents(&self.headers, redactor);
        let (body, in_body) = content(&self.body, redactor);
        let response = Response { status: self.status.as_u16(), headers, body };
        (response, in_headers || in_body)
    }
}

impl Failure {
    /// Returns the failure for an entry, and whether a secret was replaced.
    pub(super) fn to_call(&self, redactor: Option<&Redactor>) -> (FailedCall<'static>, bool) {
        let (code, limit, denied) = match self {
            Self::Denied(refusal) => ("denied", None, refusal.denied.as_deref().cloned()),
            // A request beyond the limit is refused before it has an exchange.
            Self::Invalid(_) | Self::UsedUp(_) => ("invalid", None, None),
            Self::Unreachable { step, .. } => (step.as_str(), None, None),
            Self::Timeout => ("timeout", None, None),
            Self::LargeHead(_) => ("large-head", None, None),
            Self::LargeBody { limit, .. } => ("large-body", Some(*limit), None),
            Self::Garbage(_) => ("garbage", None, None),
        };
        let (message, is_redacted) = text_of(&self.to_string(), redactor);
        // Denials of guests are redacted in rows, too.
        let denied = denied.filter(|_| !is_redacted);
        (FailedCall { code: code.into(), message, limit, denied }, is_redacted)
    }

    fn from_call(call: FailedCall<'_>) -> Option<Self> {
        let text = call.message.to_string();
        Some(match (&*call.code, call.limit) {
            ("denied", _) => {
                let denied = call.denied.map(|denied| {
                    let grant = denied.grant.map(Text::into_owned);
                    Box::new(runner_model::row::Denied { what: denied.what.into_owned(), grant })
                });
                Self::Denied(Refusal { message: text, denied })
            }
            ("invalid", _) => Self::Invalid(text),
            ("timeout", _) => Self::Timeout,
            ("large-head", _) => Self::LargeHead(text),
            ("large-body", Some(limit)) => Self::LargeBody { limit, text },
            ("garbage", _) => Self::Garbage(text),
            (step, _) => Self::Unreachable { step: Step::parse(step)?, text },
        })
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("its journal cannot be read: {error}")
}

fn owned(request: Request<'_>) -> Request<'static> {
    let each = request.headers.into_iter();
    Request {
        method: request.method.into_owned(),
        url: request.url.into_owned(),
        headers: each.map(|(name, value)| (name.into_owned(), owned_content(value))).collect(),
        body: owned_content(request.body),
    }
}

fn owned_content(content: Content<'_>) -> Content<'static> {
    match content {
        Content::Text(text) => Content::Text(text.into_owned()),
        Content::Bytes { base64 } => Content::Bytes { base64: base64.into_owned() },
    }
}

type Contents = Vec<(Text<'static>, Content<'static>)>;

/// Returns headers for an entry, and whether a secret was replaced.
fn contents(headers: &HeaderMap, redactor: Option<&Redactor>) -> (Contents, bool) {
    let mut is_redacted = false;
    let each = headers.iter().map(|(name, value)| {
        let (value, is_changed) = content(value.as_bytes(), redactor);
        is_redacted |= is_changed;
        let (name, is_changed) = text_of(name.as_str(), redactor);
        is_redacted |= is_changed;
        (name, value)
    });
    (each.collect(), is_redacted)
}

/// Returns a text for an entry, and whether a secret was replaced.
fn text_of(text: &str, redactor: Option<&Redactor>) -> (Text<'static>, bool) {
    let redacted = redactor.and_then(|redactor| redactor.bytes(text.as_bytes()));
    let is_redacted = redacted.is_some();
    let redacted = redacted.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (redacted.unwrap_or_else(|| text.to_owned()).into(), is_redacted)
}

/// Returns bytes for an entry, and whether a secret was replaced.
fn content(bytes: &[u8], redactor: Option<&Redactor>) -> (Content<'static>, bool) {
    let redacted = redactor.and_then(|redactor| redactor.bytes(bytes));
    let is_redacted = redacted.is_some();
    let bytes = redacted.unwrap_or_else(|| bytes.to_vec());
    // JSON has six bytes for such a character, and base64 takes a third more for all bytes.
    let escaped = bytes.iter().filter(|byte| matches!(byte, 0..=7 | 11 | 14..=31)).count();
    let text = if escaped > bytes.len() / 15 {
        Err(bytes)
    } else {
        String::from_utf8(bytes).map_err(FromUtf8Error::into_bytes)
    };
    let content = match text {
        Ok(text) => Content::Text(text.into()),
        Err(bytes) => Content::Bytes { base64: BASE64_STANDARD.encode(bytes).into() },
    };
    (content, is_redacted)
}

fn bytes(content: &Content<'_>) -> Option<Vec<u8>> {
    match content {
        Content::Text(text) => Some(text.as_bytes().to_vec()),
        Content::Bytes { base64 } => BASE64_STANDARD.decode(base64.as_bytes()).ok(),
    }
}

fn text<'a>(content: &'a Content<'_>) -> &'a str {
    match content {
        Content::Text(text) | Content::Bytes { base64: text } => text,
    }
}
