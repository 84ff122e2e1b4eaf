//! [`Redactor`]: takes the values of secrets out of what a guest has said, before anybody else sees it.
//!
//! This is for accidents: a request that is logged, a header in an error. A guest that wants to tell a secret can always
//! write it in a form that nobody looks for.

mod forms;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::LazyLock,
};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;
use serde_json::{Map, Value};

use super::{Ended, Ending, Heard, Listener, Reply, Secrets};
use crate::model::{Artifact, AttemptError, Check, Denied, Grant, LogRecord, Metric};

/// How much of a secret may be left where a text was cut in the middle of it, in bytes.
const MAX_REST: usize = 7;
/// How long the name of an artifact may be.
const MAX_NAME_BYTES: usize = 128;

/// Where a text was shortened: by a mark in a message, by a note in a guest's output.
static SEAM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("…|\n\\[[0-9]+ bytes dropped\\]\n").expect("the expression is valid")
});

/// Whether a text is as it was said, or may have been shortened at its ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Whole,
    Cut,
}

/// Finds secrets in all forms that they commonly take.
#[derive(Clone)]
pub(super) struct Redactor {
    finder: AhoCorasick,
    forms: Vec<Form>,
    /// The secrets' names, and what stands in their place.
    secrets: Vec<(String, String)>,
}

#[derive(Clone)]
struct Form {
    bytes: Vec<u8>,
    /// Whose form it is.
    secret: usize,
}

impl Redactor {
    /// Looks for these secrets; `None` if none of them can be looked for.
    pub(super) fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let mut all = BTreeMap::new();
        for (secret, value) in values.values().enumerate() {
            for form in forms::of(value, Secrets::MIN_REDACTED) {
                all.entry(form).or_insert(secret);
            }
        }
        if all.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(all.keys())
            .expect("secrets are short enough for an automaton");
        let mark = |name: &String| {
            let marks = [format!("[secret {name}]"), "[secret]".to_owned()];
            let is_safe = |mark: &String| finder.find(mark).is_none();
            // Too short for anything that is looked for.
            let mark = marks.into_iter().find(is_safe);
            (name.clone(), mark.unwrap_or_else(|| "***".to_owned()))
        };
        let secrets = values.keys().map(mark).collect();
        let forms = all.into_iter();
        Some(Self {
            forms: forms
                .map(|(bytes, secret)| Form { bytes, secret })
                .collect(),
            finder,
            secrets,
        })
    }

    /// Redacts everything that an attempt left.
    pub(super) fn ended(&self, ended: &mut Ended) {
        // Every field by its name: of a new one it has to be decided whether a guest has a say in it.
        let Ended {
            ending,
            duration: _,
            instantiate: _,
            usage: _,
            denied,
            log,
            log_dropped: _,
            hint,
            stderr,
            stdout,
            artifacts,
        } = ended;
        match ending {
            Ending::Reply(reply) => self.reply(reply),
            Ending::Error(error) => self.error(error),
            Ending::Timeout | Ending::Stopped => {}
        }
        self.optional(hint);
        for Denied { what, grant } in denied {
            self.cut_text(what);
            // With a mark in it, it would grant something else.
            let tells = |grant: &Grant| self.replaced(grant.to_string().as_bytes()).is_some();
            if grant.as_ref().is_some_and(tells) {
                *grant = None;
            }
        }
        for record in log {
            self.record(record);
        }
        self.cut_text(stderr);
        self.cut_text(stdout);
        self.artifacts(artifacts);
    }

    /// Redacts what is heard while a guest runs.
    pub(super) fn listener(&self, listener: Listener) -> Listener {
        let redactor = self.clone();
        Listener::new(move |heard| match heard {
            Heard::Log(record) => {
                let mut record = record.clone();
                redactor.record(&mut record);
                listener.hear(Heard::Log(&record));
            }
            Heard::Stdout(line) => listener.hear(Heard::Stdout(&redactor.line(line))),
            Heard::Stderr(line) => listener.hear(Heard::Stderr(&redactor.line(line))),
            Heard::Progress { fraction, message } => listener.hear(Heard::Progress {
                fraction,
                message: &redactor.line(message),
            }),
        })
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        self.cut_text(&mut line);
        line
    }

    fn record(&self, record: &mut LogRecord) {
        let LogRecord {
            level: _,
            message,
            fields,
        } = record;
        self.cut_text(message);
        for (name, value) in fields {
            self.text(name);
            self.text(value);
        }
    }

    /// Redacts a text.
    pub(super) fn text(&self, text: &mut String) {
        self.whole(text);
        if SEAM.is_match(text) {
            self.seams(text, Ends::Whole);
        }
    }

    /// Redacts a text that may have been shortened, so that it begins or ends inside a secret.
    fn cut_text(&self, text: &mut String) {
        self.whole(text);
        self.seams(text, Ends::Cut);
    }

    /// Redacts the secrets that are whole.
    fn whole(&self, text: &mut String) {
        if let Some(redacted) = self.replaced(text.as_bytes()) {
            *text = String::from_utf8(redacted).expect("whole characters are replaced");
        }
    }

    /// Redacts the parts of secrets where a text was shortened.
    fn seams(&self, text: &mut String, ends: Ends) {
        let mut redacted = String::new();
        let mut is_changed = false;
        let mut rest = 0;
        let seams = SEAM.find_iter(text).map(|seam| seam.range());
        for seam in seams.chain(iter::once(text.len()..text.len())) {
            let part = &text[rest..seam.start];
            let is_cut = |is_end: bool| !is_end || ends == Ends::Cut;
            let (is_first, is_last) = (rest == 0, seam.is_empty());
            let trimmed = self.without_rests(part, is_cut(is_first), is_cut(is_last));
            is_changed |= trimmed.is_some();
            redacted += trimmed.as_deref().unwrap_or(part);
            redacted += &text[seam.clone()];
            rest = seam.end;
        }
        if is_changed {
            *text = redacted;
        }
    }

    fn reply(&self, reply: &mut Reply) {
        self.value(&mut reply.output);
        self.optional(&mut reply.summary);
        for check in &mut reply.checks {
            self.check(check);
        }
        for Metric {
            name,
            value: _,
            unit,
        } in &mut reply.metrics
        {
            self.text(name);
            self.optional(unit);
        }
    }

    fn check(&self, check: &mut Check) {
        let Check {
            name,
            verdict: _,
            score: _,
            message,
            expected,
            actual,
            diff,
            details,
        } = check;
        self.text(name);
        self.optional(message);
        self.optional(diff);
        for value in [expected, actual, details].into_iter().flatten() {
            self.value(value);
        }
    }

    fn error(&self, error: &mut AttemptError) {
        self.text(&mut error.code);
        self.cut_text(&mut error.message);
    }

    /// Artifacts keep names that are different and that files can have.
    fn artifacts(&self, artifacts: &mut [Artifact]) {
        let mut names = BTreeSet::new();
        for Artifact {
            name,
            media_type,
            bytes,
        } in artifacts
        {
            self.text(media_type);
            if let Some(redacted) = self.replaced(bytes) {
                *bytes = redacted;
            }
            if self.finder.find(name.as_str()).is_some() {
                self.text(name);
                let is_plain = |character: char| {
                    character.is_ascii_alphanumeric() || "._-".contains(character)
                };
                *name = name.replace(|character| !is_plain(character), "_");
                name.truncate(MAX_NAME_BYTES - 4);
            }
            let plain = name.clone();
            let mut number = 1;
            while !names.insert(name.clone()) {
                number += 1;
                *name = format!("{plain}-{number}");
            }
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.object(map),
            Value::Number(number) => {
                let mut text = number.to_string();
                if self.finder.find(&text).is_some() {
                    self.text(&mut text);
                    *value = Value::String(text);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>) {
        map.values_mut().for_each(|value| self.value(value));
        let is_suspect = |key: &String| self.finder.find(key).is_some() || SEAM.is_match(key);
        if !map.keys().any(is_suspect) {
            return;
        }
        for (mut key, value) in std::mem::take(map) {
            self.text(&mut key);
            while map.contains_key(&key) {
                key.push('_');
            }
            map.insert(key, value);
        }
    }

    fn optional(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// The bytes with marks in the place of secrets; `None` if there is no secret in them.
    fn replaced(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.finder.find(bytes)?;
        let mut redacted = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for found in self.finder.find_iter(bytes) {
            redacted.extend_from_slice(&bytes[rest..found.start()]);
            let secret = self.forms[found.pattern().as_usize()].secret;
            redacted.extend_from_slice(self.mark(secret).as_bytes());
            rest = found.end();
        }
        redacted.extend_from_slice(&bytes[rest..]);
        Some(redacted)
    }

    /// The text without the part of a secret that it begins or ends with; `None` if there is none.
    fn without_rests(&self, text: &str, is_cut_first: bool, is_cut_last: bool) -> Option<String> {
        // A character that was cut has become one of these.
        let whole = text.trim_matches(char::REPLACEMENT_CHARACTER);
        let first = || self.rest(whole, |text, part| text.starts_with(part), Form::ending);
        let last = || self.rest(whole, |text, part| text.ends_with(part), Form::beginning);
        let first = is_cut_first.then(first).flatten();
        let last = is_cut_last.then(last).flatten();
        if first.is_none() && last.is_none() {
            return None;
        }

        let (cut_first, mark_first) = first.unwrap_or_default();
        let (cut_last, mark_last) = last.unwrap_or_default();
        let end = whole.len() - cut_last;
        let kept = whole.get(cut_first.min(end)..end).unwrap_or_default();
        Some(format!("{mark_first}{kept}{mark_last}"))
    }

    /// The longest part of a secret that is at an end of `text`, and the mark for it.
    fn rest<'a>(
        &'a self,
        text: &str,
        is_at_end: fn(&[u8], &[u8]) -> bool,
        part: fn(&Form, usize) -> &[u8],
    ) -> Option<(usize, &'a str)> {
        let text = text.as_bytes();
        let rests = self.forms.iter().filter_map(|form| {
            let longest = text.len().min(form.bytes.len() - 1);
            let mut lengths = (MAX_REST + 1..=longest).rev();
            let length = lengths.find(|length| is_at_end(text, part(form, *length)))?;
            Some((length, self.mark(form.secret)))
        });
        rests.max_by_key(|(length, _)| *length)
    }

    fn mark(&self, secret: usize) -> &str {
        &self.secrets[secret].1
    }
}

impl Form {
    fn beginning(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }

    fn ending(&self, length: usize) -> &[u8] {
        &self.bytes[self.bytes.len() - length..]
    }
}

#[cfg(test)]
mod tests;
