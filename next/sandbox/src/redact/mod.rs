//! [`Redactor`]: removes the values of secrets from texts and bytes. [`Stream`] does it for data in
//! pieces.
//!
//! Redact before cutting: nothing finds the rest of a secret that was cut.
//!
//! This protects against accidents, such as a logged request or a header in an error. A guest that
//! wants to leak a secret can write it in a form that is not searched for.

mod forms;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/redaction.rs"]
pub(crate) mod fuzzing;
pub(crate) mod values;

use std::{collections::BTreeMap, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match, MatchKind};

/// Shorter values are not searched for, because they are part of too many harmless texts.
const MIN_BYTES: usize = 4;
/// Bytes of all forms up to which the automaton is a full table. For a value that repeats itself,
/// building a table takes quadratic time.
const MAX_TABLE_BYTES: usize = 16 * 1024;
/// The mark of a secret whose name cannot be shown. It is shorter than any form.
const SHORT_MARK: &str = "***";

/// Finds secrets in all common forms, and replaces them by a mark such as `[secret API_KEY]`.
pub struct Redactor {
    finder: AhoCorasick,
    /// The mark for each of the finder's patterns.
    marks: Vec<Arc<str>>,
    /// Bytes of the longest form.
    longest: usize,
}

/// Redacts data in pieces. Together they become what they would be in one piece. Holds back less
/// than twice the longest form.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
    /// Whether a mark may not be longer than its secret.
    keeps_size: bool,
}

impl Redactor {
    /// Creates a redactor of secrets by name. `None` if no value is long enough to search for.
    pub fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let mut forms = BTreeMap::new();
        for (name, value) in values {
            for form in forms::all(value, MIN_BYTES) {
                forms.entry(form).or_insert(name);
            }
        }
        let longest = forms.keys().map(Vec::len).max()?;
        let bytes: usize = forms.keys().map(Vec::len).sum();
        let finder = AhoCorasick::builder()
            // Of secrets that overlap, the longest is named.
            .match_kind(MatchKind::LeftmostLongest)
            .kind((bytes > MAX_TABLE_BYTES).then_some(AhoCorasickKind::ContiguousNFA))
            .build(forms.keys())
            .expect("secrets are short enough for an automaton");
        let marks = values.keys().map(|name| {
            let marks = [format!("[secret {name}]"), "[secret]".to_owned()];
            let mut safe = marks.iter().filter(|mark| finder.find(mark).is_none());
            (name, Arc::from(safe.next().map_or(SHORT_MARK, |mark| mark)))
        });
        let marks: BTreeMap<_, Arc<str>> = marks.collect();
        let marks = forms.values().map(|name| Arc::clone(&marks[*name]));
        Some(Self { marks: marks.collect(), finder, longest })
    }

    /// Redacts a text.
    pub fn text(&self, text: &mut String) {
        if let Some(redacted) = self.bytes(text.as_bytes()) {
            *text = String::from_utf8_lossy(&redacted).into_owned();
        }
    }

    /// Redacts bytes. `None` if they contain no secret.
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.is_in(bytes).then(|| self.redacted(bytes, bytes.len(), false).0)
    }

    /// Returns whether these bytes contain a secret.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// Starts a stream.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream { redactor: Arc::clone(self), held: Vec::new(), keeps_size: false }
    }

    /// Starts a stream that never becomes longer, for artifacts: `***` replaces a secret that is
    /// shorter than its mark.
    pub fn stream_that_keeps_size(self: &Arc<Self>) -> Stream {
        Stream { keeps_size: true, ..self.stream() }
    }

    /// Redacts the bytes before `end`, and all of a secret that starts there. Returns the result
    /// and its end in `bytes`.
    fn redacted(&self, bytes: &[u8], end: usize, keeps_size: bool) -> (Vec<u8>, usize) {
        let mut redacted = Vec::with_capacity(end);
        let mut done = 0;
        for found in self.finder.find_iter(bytes) {
            if found.start() >= end {
                break;
            }
            redacted.extend_from_slice(&bytes[done..found.start()]);
            redacted.extend_from_slice(self.mark(found, keeps_size).as_bytes());
            done = found.end();
        }
        let end = end.max(done);
        redacted.extend_from_slice(&bytes[done..end]);
        (redacted, end)
    }

    fn mark(&self, found: Match, keeps_size: bool) -> &str {
        let mark = &self.marks[found.pattern().as_usize()];
        if keeps_size && mark.len() > found.len() { SHORT_MARK } else { mark }
    }
}

impl Stream {
    /// Takes the next piece. Returns the data that is certain by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        // The last `longest` bytes are searched again. Waiting for as many new ones keeps small
        // pieces as cheap as large ones.
        if self.held.len() < 2 * self.redactor.longest {
            return Vec::new();
        }
        // Even the longest secret that starts before this place is complete.
        self.take(self.held.len() + 1 - self.redactor.longest)
    }

    /// Returns the rest.
    pub fn end(&mut self) -> Vec<u8> {
        self.take(self.held.len())
    }

    /// Returns whether data is held back.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    fn take(&mut self, end: usize) -> Vec<u8> {
        let (redacted, end) = self.redactor.redacted(&self.held, end, self.keeps_size);
        self.held.drain(..end);
        redacted
    }
}

#[cfg(test)]
mod tests;
