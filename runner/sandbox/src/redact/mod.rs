//! [`Redactor`]: removes the values of secrets from texts and bytes. [`Stream`] does it for data in
//! pieces.
//!
//! Redact before cutting: nothing finds the rest of a secret that was cut.
//!
//! This protects against accidents, such as a logged request or a header in an error. A guest that
//! intends to leak a secret can write it in a form that is not searched for.

mod finder;
mod forms;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/redaction.rs"]
pub(crate) mod fuzzing;
pub(crate) mod values;

use std::{collections::BTreeMap, sync::Arc};

use self::finder::{Finder, Form, FoundForm};

/// Shorter values are not searched for, because they are part of too many harmless texts.
const MIN_BYTES: usize = finder::START;
/// The mark of a secret whose name cannot be shown. It is shorter than any form.
const SHORT_MARK: &str = "***";
/// Held bytes that are searched for each piece.
const SHORT: usize = 64;

/// Finds secrets in all common forms, and replaces them by a mark such as `[secret API_KEY]`.
pub struct Redactor {
    finder: Finder,
    /// The mark of each secret, by its number.
    marks: Vec<String>,
}

/// Redacts data in pieces. Together they become what they would be in one piece. Holds back the end
/// of the data if it may be the first part of a secret.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
    /// Bytes that are held before they are searched again.
    search_at: usize,
    /// Whether a mark may not be longer than its secret.
    keeps_size: bool,
}

impl Redactor {
    /// Creates a redactor of secrets by name. `None` if no value is long enough to search for.
    pub fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let mut forms = Vec::new();
        for (number, value) in (0..).zip(values.values()) {
            let mut own = Vec::new();
            forms::each(value, MIN_BYTES, &mut |form: &[u8]| own.extend(Form::new(form, number)));
            // Most encodings of most values are equal.
            own.sort_unstable();
            own.dedup();
            forms.append(&mut own);
        }
        let finder = Finder::new(forms)?;
        let marks = values.keys().map(|name| {
            let marks = [format!("[secret {name}]"), "[secret]".to_owned()];
            marks
                .into_iter()
                .find(|mark| finder.find(mark.as_bytes()).next().is_none())
                .unwrap_or_else(|| SHORT_MARK.to_owned())
        });
        Some(Self { marks: marks.collect(), finder })
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
        self.finder.find(bytes).next().is_some()
    }

    /// Starts a stream.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream { redactor: Arc::clone(self), held: Vec::new(), search_at: 0, keeps_size: false }
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
        for found in self.finder.find(bytes) {
            if found.place.start >= end {
                break;
            }
            redacted.extend_from_slice(&bytes[done..found.place.start]);
            redacted.extend_from_slice(self.mark(&found, keeps_size).as_bytes());
            done = found.place.end;
        }
        let end = end.max(done);
        redacted.extend_from_slice(&bytes[done..end]);
        (redacted, end)
    }

    fn mark(&self, found: &FoundForm, keeps_size: bool) -> &str {
        let mark = &self.marks[found.secret];
        if keeps_size && mark.len() > found.place.len() { SHORT_MARK } else { mark }
    }
}

impl Stream {
    /// Takes the next piece. Returns the data that is certain by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        if self.held.len() < self.search_at {
            return Vec::new();
        }
        let certain = self.redactor.finder.certain(&self.held);
        // Searching a long part of a secret again for each byte would take too long.
        if self.held.len() - certain > certain.max(SHORT) {
            self.search_at = 2 * self.held.len();
            return Vec::new();
        }
        self.search_at = 0;
        self.take(certain)
    }

    /// Returns the rest.
    pub fn end(&mut self) -> Vec<u8> {
        self.search_at = 0;
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
