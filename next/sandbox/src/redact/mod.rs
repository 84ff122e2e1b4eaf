//! [`Redactor`]: takes the values of secrets out of texts and bytes. [`Stream`] does it for what comes in pieces.
//!
//! Whatever is cut is redacted before: of a secret that was cut nobody could find the rest.
//!
//! This is for accidents: a request that is logged, a header in an error. A guest that wants to tell a secret can always
//! write it in a form that nobody looks for.

mod forms;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/redaction.rs"]
pub(crate) mod fuzzing;
pub(crate) mod values;

use std::{collections::BTreeMap, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match, MatchKind};

/// A value that is shorter, in bytes, is not looked for: it is part of too many texts that are not secret.
const MIN_BYTES: usize = 4;
/// Of forms that have more bytes in all no table of all transitions is made: where a value repeats itself, making one takes
/// time by the square of its length.
const MAX_TABLE_BYTES: usize = 16 * 1024;
/// Stands for a secret where its name cannot. It is shorter than anything that is looked for.
const SHORT_MARK: &str = "***";

/// Finds secrets in all forms that they commonly take, and puts a mark such as `[secret API_KEY]` in their place.
pub struct Redactor {
    finder: AhoCorasick,
    /// What stands in the place of each of the finder's patterns.
    marks: Vec<Arc<str>>,
    /// The bytes of the longest form.
    longest: usize,
}

/// Takes secrets out of what comes in pieces, wherever these begin and end: together they become what they would be if
/// they came at once. It holds back less than twice the bytes of the longest form.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
    /// Whether no mark may be longer than what it stands for.
    keeps_size: bool,
}

impl Redactor {
    /// Looks for these values, by name; `None` if none of them can be looked for.
    pub fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let mut forms = BTreeMap::new();
        for (name, value) in values {
            for form in forms::of(value, MIN_BYTES) {
                forms.entry(form).or_insert(name);
            }
        }
        let longest = forms.keys().map(Vec::len).max()?;
        let bytes: usize = forms.keys().map(Vec::len).sum();
        let finder = AhoCorasick::builder()
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

    /// Puts marks in the place of the secrets in a text.
    pub fn text(&self, text: &mut String) {
        if let Some(redacted) = self.bytes(text.as_bytes()) {
            *text = String::from_utf8_lossy(&redacted).into_owned();
        }
    }

    /// The bytes with marks in the place of secrets; `None` if there is no secret in them.
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let is_in = self.is_in(bytes);
        is_in.then(|| self.redacted(bytes, bytes.len(), false).0)
    }

    /// Tells whether there is a secret in these bytes.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// Redacts what comes in pieces.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream { redactor: Arc::clone(self), held: Vec::new(), keeps_size: false }
    }

    /// The same for what must not become longer, as an artifact: `***` stands for a secret that is shorter than its mark.
    pub fn stream_that_keeps_size(self: &Arc<Self>) -> Stream {
        Stream { keeps_size: true, ..self.stream() }
    }

    /// Redacts what is before `end`, and all of a secret that begins there. Gives that, and the place that it ends at.
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
        match keeps_size && mark.len() > found.len() {
            true => SHORT_MARK,
            false => mark,
        }
    }
}

impl Stream {
    /// Takes the next piece, and gives what can be told by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        // Not before as much is new as has to be looked at again, so that small pieces cost no more than large ones.
        if self.held.len() < 2 * self.redactor.longest {
            return Vec::new();
        }
        // A secret that begins before this place ends in what is there, even the longest.
        self.take(self.held.len() + 1 - self.redactor.longest)
    }

    /// Gives the rest when nothing more comes.
    pub fn end(&mut self) -> Vec<u8> {
        self.take(self.held.len())
    }

    /// Tells whether something is held back.
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
