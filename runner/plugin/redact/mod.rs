//! [`Redactor`]: takes the values of secrets out of what a guest has said, before anybody else sees it.
//!
//! This is for accidents: a request that is logged, a header in an error. A guest that wants to tell a secret can always
//! write it in a form that nobody looks for.

mod artifacts;
mod forms;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod names;
mod rests;
mod stream;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    panic,
    path::Path,
    sync::{Arc, LazyLock},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;
use serde_json::{Map, Value};

pub(super) use self::stream::Stream;
use self::{names::DistinctNames, rests::Rests};
use super::{Ended, Ending, Heard, Listener, Reply, Secrets, sandbox::artifacts::unkept};
use crate::model::{AttemptError, Check, Denied, Grant, LogRecord, Metric};

/// Of so many bytes secrets are taken out on the thread of the guest that left them.
const MAX_REDACTED_AT_ONCE: u64 = 256 * 1024;
/// Of forms that have more bytes in all no table of all transitions is made: where a value repeats itself, making one takes
/// time by the square of its length.
const MAX_TABLE_BYTES: usize = 16 * 1024;
/// How many of what looks like a place where a text was shortened may be in a secret itself. Each of them is one more look
/// at a text that may have a million, and hardly a secret has any.
const MAX_REACH: usize = 8;
/// Stands for a secret where no word may; too short for anything that is looked for.
const SHORT_MARK: &str = "***";

/// Where a text was shortened: by a mark in a message, by a note in a guest's output.
static SEAM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("…|[.]{3,}|\n\\[[0-9]+ bytes dropped\\]\n").expect("the expression is valid")
});

/// Whether a text is as it was said, or may have been shortened at its ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Whole,
    Cut,
}

/// Finds secrets in all forms that they commonly take.
pub(super) struct Redactor {
    finder: AhoCorasick,
    forms: Vec<SecretForm>,
    /// The secrets' names, and what stands in their place.
    secrets: Vec<(String, String)>,
    rests: Rests,
    /// The most seams that one of the secrets has in it, up to [`MAX_REACH`].
    reach: usize,
    /// The bytes of the longest form.
    longest: usize,
}

/// Where a part of a secret is, and whose it is.
type Rest = (Range<usize>, usize);

struct SecretForm {
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
        let bytes: usize = all.keys().map(Vec::len).sum();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind((bytes > MAX_TABLE_BYTES).then_some(AhoCorasickKind::ContiguousNFA))
            .build(all.keys())
            .expect("secrets are short enough for an automaton");
        let mark = |name: &String| {
            let marks = [format!("[secret {name}]"), "[secret]".to_owned()];
            let is_safe = |mark: &String| finder.find(mark).is_none();
            let mark = marks.into_iter().find(is_safe);
            (name.clone(), mark.unwrap_or_else(|| SHORT_MARK.to_owned()))
        };
        let secrets = values.keys().map(mark).collect();
        let reach = values.values().map(|value| SEAM.find_iter(value).count());
        let reach = reach.max();
        let forms = all.into_iter();
        let forms: Vec<_> = forms
            .map(|(bytes, secret)| SecretForm { bytes, secret })
            .collect();
        let lengths = forms.iter().map(|form| form.bytes.len());
        Some(Self {
            longest: lengths.max().unwrap_or_default(),
            rests: Rests::new(&forms),
            reach: reach.unwrap_or_default().min(MAX_REACH),
            finder,
            forms,
            secrets,
        })
    }

    /// Redacts everything that an attempt left; artifacts that are too large for memory in a file in `folder`.
    pub(super) fn ended(&self, ended: &mut Ended, folder: &Path) {
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
            lost,
            // It says nothing of the guest's.
            lacked: _,
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
            let tells = |grant: &Grant| self.finder.find(&grant.to_string()).is_some();
            if grant.as_ref().is_some_and(tells) {
                *grant = None;
            }
        }
        for record in log {
            self.record(record);
        }
        self.cut_text(stderr);
        self.cut_text(stdout);
        if let Err(error) = self.artifacts(artifacts, folder) {
            // What cannot be redacted is not handed on, and without it the attempt is not what it was.
            artifacts.clear();
            let error = unkept(folder, &error);
            if matches!(ending, Ending::Reply(_)) {
                *ending = Ending::Error(error.clone());
            }
            *lost = Some(error);
        }
    }

    /// Redacts what is heard while a guest runs.
    pub(super) fn listener(self: Arc<Self>, listener: Listener) -> Listener {
        Listener::new(move |heard| match heard {
            Heard::Log(record) => {
                let mut record = record.clone();
                self.record(&mut record);
                listener.hear(Heard::Log(&record));
            }
            Heard::Stdout(line) => listener.hear(Heard::Stdout(&self.line(line))),
            Heard::Stderr(line) => listener.hear(Heard::Stderr(&self.line(line))),
            Heard::Progress { fraction, message } => listener.hear(Heard::Progress {
                fraction,
                message: &self.line(message),
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
        if let Some(redacted) = self.bytes(text.as_bytes()) {
            *text = String::from_utf8(redacted).expect("whole characters are replaced");
        }
    }

    /// Redacts the parts of secrets where a text was shortened.
    ///
    /// A secret may itself have in it what looks like a seam: what is left of it is looked for beyond so many of them.
    fn seams(&self, text: &mut String, ends: Ends) {
        let mut rests = Vec::new();
        // Where the last parts between seams begin.
        let mut begins = VecDeque::from([0]);
        let is_cut = |begin: usize| begin > 0 || ends == Ends::Cut;
        for seam in SEAM.find_iter(text) {
            rests.extend(self.rest_before(&text[..seam.start()], begins[0]));
            if begins.len() > self.reach
                && let Some(begin) = begins.pop_front().filter(|begin| is_cut(*begin))
            {
                rests.extend(self.rest_behind(&text[..seam.start()], begin));
            }
            begins.push_back(seam.end());
        }
        if ends == Ends::Cut {
            rests.extend(self.rest_before(text, begins[0]));
        }
        for begin in begins.into_iter().filter(|begin| is_cut(*begin)) {
            rests.extend(self.rest_behind(text, begin));
        }
        if !rests.is_empty() {
            *text = self.without(text, rests);
        }
    }

    /// Tells whether there is a secret in these bytes.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// Tells whether a number is written with a secret in it.
    fn is_in_number(&self, number: impl serde::Serialize) -> bool {
        serde_json::to_vec(&number).is_ok_and(|text| self.is_in(&text))
    }

    fn reply(&self, reply: &mut Reply) {
        self.value(&mut reply.output);
        self.optional(&mut reply.summary);
        for check in &mut reply.checks {
            self.check(check);
        }
        // A number has no place for a mark.
        reply.score = reply.score.filter(|score| !self.is_in_number(score));
        reply
            .metrics
            .retain(|metric| !self.is_in_number(metric.value));
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
            score,
            message,
            expected,
            actual,
            diff,
            details,
        } = check;
        *score = score.filter(|score| !self.is_in_number(score));
        self.text(name);
        self.optional(message);
        self.optional(diff);
        for value in [expected, actual, details].into_iter().flatten() {
            self.value(value);
        }
    }

    fn error(&self, error: &mut AttemptError) {
        let told = error.retry_after;
        error.retry_after = told.filter(|told| !self.is_in_number(told.as_millis() as u64));
        self.text(&mut error.code);
        self.cut_text(&mut error.message);
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
        let mut names: DistinctNames = map.keys().filter(|key| !is_suspect(key)).collect();
        for (mut key, value) in std::mem::take(map) {
            if is_suspect(&key) {
                self.text(&mut key);
                key = names.distinct(key);
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
    pub(super) fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
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

    /// Where the part of a secret is that a text ends with, if it begins at `begin` or behind it, and whose it is.
    fn rest_before(&self, text: &str, begin: usize) -> Option<Rest> {
        // A character that was cut has become one of these.
        let whole = text[begin..].trim_end_matches(char::REPLACEMENT_CHARACTER);
        let (length, secret) = self.rests.at_end(whole.as_bytes(), &self.forms)?;
        let start = begin + whole.len() - length;
        Some((start..text.len(), secret))
    }

    /// Where the part of a secret is that begins in a text at `begin`, and whose it is.
    fn rest_behind(&self, text: &str, begin: usize) -> Option<Rest> {
        let whole = text[begin..].trim_start_matches(char::REPLACEMENT_CHARACTER);
        let (length, secret) = self.rests.at_start(whole.as_bytes(), &self.forms)?;
        let end = text.len() - whole.len() + length;
        Some((begin..end, secret))
    }

    /// The text with marks in the place of parts of secrets; one for those that overlap.
    fn without(&self, text: &str, mut rests: Vec<Rest>) -> String {
        rests.sort_unstable_by_key(|(place, _)| place.start);
        let mut redacted = String::with_capacity(text.len());
        let mut kept = 0;
        for (place, secret) in rests {
            if place.start >= kept {
                redacted += &text[kept..place.start];
                redacted += self.mark(secret);
            }
            kept = kept.max(place.end);
        }
        redacted + &text[kept..]
    }

    fn mark(&self, secret: usize) -> &str {
        &self.secrets[secret].1
    }
}

/// Takes secrets out of what an attempt left; where that is much, on a thread on which no guest waits, and with a file in
/// `folder`.
pub(super) async fn redacted(mut ended: Ended, secrets: &Secrets, folder: &Path) -> Ended {
    let Some(redactor) = secrets.redactor() else {
        return ended;
    };
    if ended.usage.bytes_out <= MAX_REDACTED_AT_ONCE {
        redactor.ended(&mut ended, folder);
        return ended;
    }

    let (redactor, folder) = (Arc::clone(redactor), folder.to_owned());
    let redact = move || {
        redactor.ended(&mut ended, &folder);
        ended
    };
    match tokio::task::spawn_blocking(redact).await {
        Ok(ended) => ended,
        Err(failed) => panic::resume_unwind(failed.into_panic()),
    }
}

#[cfg(test)]
mod tests;
