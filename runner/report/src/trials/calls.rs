//! [`CallsDocument`]: the calls of an attempt to the world outside, from its journal.

use std::ops::Range;

use runner_model::protocol::{CallLine, Content, Entry, Exchange};
use runner_model::row::duration;
use runner_model::units::{grouped, plural, show_duration, show_size};
use runner_model::{ProviderName, Text, TrialId, visible::cut};
use runner_record::{Journal, JournalKey, Journals, RecordError, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::page::Section;
use crate::{TrialDocument, VERSION};

/// Lines of a body in a list, and characters of each.
const START: (usize, usize) = (2, 300);
/// The problem of a line that is being written, or whose process has died: no guest has got that response.
const TORN: &str = " is not whole";

/// `runner show RUN TRIAL --calls`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CallsDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    pub trial: TrialId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Number of its calls.
    pub total: u64,
    /// Reason why nothing can continue from the journal or replay it. Calls may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Those of the provider, then those of graders, in the order of their numbers.
    pub calls: Vec<RecordedCall>,
}

/// A request of a guest, and the response or the reason for the lack of one. Texts may be written by guests and servers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedCall {
    /// The value of `--call`: `7`, or `judge:7` for a grader, or `judge:2:7` for its second attempt.
    pub id: String,
    /// The grader that made the request. Absent for the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grader: Option<ProviderName>,
    /// Number of the request in the attempt of its guest, from 1.
    pub number: u32,
    /// Number of the session that sent the request, from 1.
    pub session: u32,
    /// Method of the request.
    pub method: String,
    /// The start of the URL, up to 300 characters.
    pub url: String,
    /// Status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Kind of failure without a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Reason of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time from the request to the end of the response.
    pub took_ms: f64,
    /// Size of the request's body.
    pub request_bytes: u64,
    /// Size of the response's body.
    pub response_bytes: u64,
    /// All tokens, by the response's `usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// First lines of the request's body.
    pub request: String,
    /// First lines of the response's body.
    pub response: String,
    /// Whether a secret in the response was replaced by a mark.
    pub redacted: bool,
    /// The call as in `calls.jsonl`. Only with `--call`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Exchange<'static>>")]
    pub exchange: Option<Box<RawValue>>,
}

/// An exchange among the lines of a journal.
struct Found<'a> {
    exchange: Exchange<'a>,
    line: CallLine<'a>,
}

impl TrialDocument {
    /// Reads the calls of an attempt, by default of the shown one, or of the newest one if no attempt has a row. `place` selects
    /// them by their order.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn calls(
        &self,
        run: &RunDir,
        attempt: Option<u32>,
        place: Range<usize>,
    ) -> Result<CallsDocument, RecordError> {
        self.read_calls(run, attempt, |all, calls| {
            calls.extend(all.iter().skip(place.start).take(place.len()).map(RecordedCall::new));
        })
    }

    /// Reads a whole call of an attempt, as a document with one call at most and as sections.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn call(
        &self,
        run: &RunDir,
        attempt: Option<u32>,
        id: &str,
    ) -> Result<(CallsDocument, Vec<Section>), RecordError> {
        let mut sections = Vec::new();
        let document = self.read_calls(run, attempt, |all, calls| {
            if let Some(one) = all.iter().find(|one| one.id() == id) {
                let call = RecordedCall::new(one);
                sections = call.sections(&one.exchange);
                calls.push(RecordedCall { exchange: whole(one.line.entry), ..call });
            }
        })?;
        Ok((document, sections))
    }

    fn read_calls(
        &self,
        run: &RunDir,
        attempt: Option<u32>,
        select: impl FnOnce(&[Found<'_>], &mut Vec<RecordedCall>),
    ) -> Result<CallsDocument, RecordError> {
        let number = |line: &CallLine<'_>| (line.trial == self.trial).then_some(0);
        let mut journals =
            run.snapshot(|| Journals::read(run, &run.manifest()?, &number, &mut |_, _| {}))?;
        let newest = journals.all().map(|(key, _)| key.attempt).max();
        let shown = self.row().map(|row| row.attempt);
        let attempt = attempt.or(shown).or(newest).unwrap_or(1);
        let mut document = CallsDocument {
            v: VERSION,
            run: self.run.clone(),
            trial: self.trial.clone(),
            attempt,
            total: 0,
            problem: None,
            calls: Vec::new(),
        };
        let mut lines = Vec::new();
        for (_, journal) in journals.all().filter(|(key, _)| key.attempt == attempt) {
            lines.extend(run.call_lines(journal)?);
            let problem = journal.problem.clone().filter(|problem| !problem.ends_with(TORN));
            document.problem = document.problem.or(problem);
        }
        if let Some(row) = self.rows().find(|row| row.attempt == attempt)
            && let calls = journals.get(&JournalKey::new(0, attempt)).and_then(Journal::calls)
            && row.calls != calls
        {
            let [of_row, left] = [row.calls, calls]
                .map(|calls| plural(calls.map_or(0, |calls| calls.count.into()), "call", "calls"));
            let problem = format!("its row is of {of_row}, and calls.jsonl has {left} of them");
            document.problem.get_or_insert(problem);
        }
        let mut found: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(found).collect();
        found.sort_by_key(|Found { line, exchange }| {
            (line.grader.clone(), line.tries, exchange.number)
        });
        document.total = found.len() as u64;
        select(&found, &mut document.calls);
        Ok(document)
    }
}

/// Parses a line of a journal. `None` if it is not an exchange.
fn found(line: &[u8]) -> Option<Found<'_>> {
    let line: CallLine<'_> = serde_json::from_slice(line).ok()?;
    match Entry::read(line.entry.get().as_bytes()).ok()? {
        Entry::Exchange(exchange) => Some(Found { exchange, line }),
        _ => None,
    }
}

impl Found<'_> {
    fn id(&self) -> String {
        let (CallLine { grader, tries, .. }, number) = (&self.line, self.exchange.number);
        match grader {
            None => number.to_string(),
            Some(grader) if *tries == 1 => format!("{grader}:{number}"),
            Some(grader) => format!("{grader}:{tries}:{number}"),
        }
    }
}

/// Returns the exchange of an entry, with its numbers and escapes as written.
fn whole(entry: &RawValue) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Whole {
        exchange: Box<RawValue>,
    }
    Some(serde_json::from_str::<Whole>(entry.get()).ok()?.exchange)
}

impl CallsDocument {
    /// Formats the reason why a call cannot be shown.
    #[must_use]
    pub fn missing(&self, id: &str) -> String {
        let Self { trial, attempt, total, .. } = self;
        let has = plural(*total, "call", "calls");
        format!("attempt {attempt} of `{trial}` has no call {id}; its journal has {has}")
    }
}

impl RecordedCall {
    fn new(found: &Found<'_>) -> Self {
        let Exchange { number, took_us, request, response, failure, redacted, .. } =
            &found.exchange;
        let (_, most) = START;
        let usage = response.as_ref().map(|response| usage(&response.body)).unwrap_or_default();
        Self {
            id: found.id(),
            grader: found.line.grader.clone(),
            number: *number,
            session: found.line.session,
            method: cut(&request.method, most),
            url: cut(&request.url, most),
            status: response.as_ref().map(|response| response.status),
            failure: failure.as_ref().map(|failure| cut(&failure.code, most)),
            message: failure.as_ref().map(|failure| cut(&failure.message, most)),
            took_ms: *took_us as f64 / 1000.0,
            request_bytes: size(&request.body),
            response_bytes: response.as_ref().map_or(0, |response| size(&response.body)),
            tokens: usage.total(),
            input_tokens: usage.input_tokens.or(usage.prompt_tokens),
            output_tokens: usage.output_tokens.or(usage.completion_tokens),
            request: start(&request.body),
            response: response.as_ref().map(|response| start(&response.body)).unwrap_or_default(),
            redacted: *redacted,
            exchange: None,
        }
    }

    /// Formats the result, the duration and the sizes.
    #[must_use]
    pub fn facts(&self) -> String {
        let result = match (&self.status, &self.failure) {
            (Some(status), _) => status.to_string(),
            (None, failure) => failure.clone().unwrap_or_default(),
        };
        let message: String = self.message.iter().map(|message| format!(": {message}")).collect();
        let mut words = vec![
            format!("{result}{message}"),
            show_duration(duration(self.took_ms)),
            format!("{} sent", show_size(self.request_bytes)),
            format!("{} received", show_size(self.response_bytes)),
        ];
        words.extend(self.tokens.map(|tokens| {
            let by = (self.input_tokens.zip(self.output_tokens))
                .map(|(input, output)| format!(" ({} in, {} out)", grouped(input), grouped(output)))
                .unwrap_or_default();
            format!("{}{by}", plural(tokens, "token", "tokens"))
        }));
        words.extend(self.redacted.then(|| "a secret was replaced".to_owned()));
        words.join(", ")
    }

    /// Formats the whole call.
    fn sections(&self, exchange: &Exchange<'_>) -> Vec<Section> {
        let Exchange { request, response, .. } = exchange;
        let session = format!("{}, session {}", self.facts(), self.session);
        let mut sections = vec![Section { title: "call", text: session }];
        let first = format!("{} {}", &*request.method, &*request.url);
        let titles = ["request", "request body", "request body (base64)"];
        add(&mut sections, titles, first, &request.headers, &request.body);
        if let Some(response) = response {
            let titles = ["response", "response body", "response body (base64)"];
            let first = response.status.to_string();
            add(&mut sections, titles, first, &response.headers, &response.body);
        }
        sections
    }
}

/// Adds a request or a response: its first line with its headers, and its body.
fn add(
    sections: &mut Vec<Section>,
    [title, body_title, bytes_title]: [&'static str; 3],
    mut text: String,
    headers: &[(Text<'_>, Content<'_>)],
    body: &Content<'_>,
) {
    for (name, value) in headers {
        text += &match value {
            Content::Text(value) => format!("\n{}: {}", &**name, &**value),
            Content::Bytes { base64 } => format!("\n{} (base64): {}", &**name, &**base64),
        };
    }
    sections.push(Section { title, text });
    let (title, text) = match body {
        Content::Text(text) => (body_title, text),
        Content::Bytes { base64 } => (bytes_title, base64),
    };
    if !text.is_empty() {
        sections.push(Section { title, text: text.to_string() });
    }
}

fn size(content: &Content<'_>) -> u64 {
    match content {
        Content::Text(text) => text.len() as u64,
        Content::Bytes { base64 } => {
            let padding = base64.len() - base64.trim_end_matches('=').len();
            (base64.len() / 4 * 3).saturating_sub(padding) as u64
        }
    }
}

fn start(content: &Content<'_>) -> String {
    let (lines, most) = START;
    match content {
        Content::Text(text) => {
            let lines = text.lines().take(lines).map(|line| cut(line, most));
            lines.collect::<Vec<_>>().join("\n")
        }
        Content::Bytes { base64 } => format!("base64: {}", cut(base64, most)),
    }
}

/// `usage` of the response of a model.
#[derive(Default, Deserialize)]
struct ModelUsage {
    total_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl ModelUsage {
    fn total(&self) -> Option<u64> {
        let parts = [
            self.input_tokens.or(self.prompt_tokens),
            self.output_tokens.or(self.completion_tokens),
        ];
        let sum = parts.iter().flatten().copied().reduce(u64::saturating_add);
        self.total_tokens.or(sum)
    }
}

fn usage(body: &Content<'_>) -> ModelUsage {
    #[derive(Deserialize)]
    struct Body {
        usage: Option<ModelUsage>,
    }
    match body {
        Content::Text(text) if text.trim_start().starts_with('{') => {
            let body: Option<Body> = serde_json::from_str(text).ok();
            body.and_then(|body| body.usage).unwrap_or_default()
        }
        _ => ModelUsage::default(),
    }
}

/// Formats sections as one text.
#[must_use]
pub fn sections_text(sections: &[Section]) -> String {
    sections.iter().map(|Section { title, text }| format!("── {title} ──\n{text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use runner_model::protocol::Content;

    use super::{size, start, usage};

    #[test]
    fn tokens_are_those_of_the_usage() {
        for (body, total) in [
            (r#"{"usage":{"total_tokens":9,"input_tokens":1}}"#, Some(9)),
            (r#"{"usage":{"input_tokens":2,"output_tokens":3}}"#, Some(5)),
            (r#"{"usage":{"prompt_tokens":4,"completion_tokens":null}}"#, Some(4)),
            (r#" {"usage":{"total_tokens":9}}"#, Some(9)),
            (r#"{"usage":null}"#, None),
            (r#"{"usage":{"total_tokens":"many"}}"#, None),
            (r#"{"usage":[1,2,3]}"#, None),
            (r#"[{"usage":{"total_tokens":9}}]"#, None),
            (r#"{"usage":{"total_tokens":-1}}"#, None),
            ("{", None),
        ] {
            assert_eq!(usage(&Content::Text(body.into())).total(), total, "{body}");
        }
        let most = u64::MAX.to_string();
        let body = format!(r#"{{"usage":{{"input_tokens":{most},"output_tokens":1}}}}"#);
        assert_eq!(usage(&Content::Text((*body).into())).total(), Some(u64::MAX));
    }

    #[test]
    fn bytes_have_their_size_and_their_start() {
        for (base64, length) in [("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("====", 0), ("=", 0)] {
            let content = Content::Bytes { base64: base64.into() };
            assert_eq!(size(&content), length, "{base64}");
            assert_eq!(start(&content), format!("base64: {base64}"));
        }
        let text = "one\ntwo\nthree";
        assert_eq!(start(&Content::Text(text.into())), "one\ntwo");
        assert!(start(&Content::Text((*"x".repeat(5000)).into())).len() < 400);
    }
}
