//! [`Rests`]: the part of a secret that is left where a text was cut in the middle of it.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

use super::forms::SecretForm;

/// How much of a secret may be left, in bytes.
pub(super) const MAX_REST: usize = 7;

/// In how many places of a text forms are compared with it one by one. Where a text and a secret repeat themselves there are
/// as many as they have bytes, and as many bytes to compare in each.
const MAX_TRIES: usize = 8;

/// Finds the parts of forms that a text begins or ends with, without trying every length of every form: a text may be
/// cut in a million places.
pub(super) struct Rests {
    /// What forms begin with, and so what the rest at the end of a text begins with.
    heads: Probes,
    /// What forms end with.
    tails: Probes,
    /// The bytes of the longest form.
    longest: usize,
}

/// Which parts of a form count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RestMatch {
    /// The whole form, too.
    Any,
    /// What may go on as the form.
    Open,
}

/// The shortest parts that may not be left, of one end of the forms.
struct Probes {
    finder: AhoCorasick,
    /// By the finder's patterns: the forms that have them, by their places.
    forms: Vec<Vec<usize>>,
}

impl Rests {
    pub(super) fn new(forms: &[SecretForm]) -> Self {
        let long = || {
            let forms = forms.iter().map(|form| form.bytes.as_slice());
            forms.enumerate().filter(|(_, form)| form.len() > MAX_REST)
        };
        Self {
            heads: Probes::new(long().map(|(place, form)| (place, &form[..=MAX_REST]))),
            tails: Probes::new(
                long().map(|(place, form)| (place, &form[form.len() - MAX_REST - 1..])),
            ),
            longest: long().map(|(_, form)| form.len()).max().unwrap_or_default(),
        }
    }

    /// The longest part of a form that `text` begins with, in bytes, and its secret.
    pub(super) fn at_start(&self, text: &[u8], forms: &[SecretForm]) -> Option<(usize, usize)> {
        let near = &text[..text.len().min(self.longest)];
        let mut longest = None;
        for (tries, (place, with_tail)) in self.tails.find(near).enumerate() {
            if tries == MAX_TRIES {
                let backwards = |bytes: &[u8]| -> Vec<u8> { bytes.iter().rev().copied().collect() };
                let text = backwards(near);
                let length = |form: &[u8]| overlap(&backwards(form), &text, RestMatch::Any);
                return self.tails.longest(near, forms, length);
            }
            let rest = &near[..=place + MAX_REST];
            let mut with_tail = with_tail.iter();
            let form = with_tail.find(|form| forms[**form].bytes.ends_with(rest));
            longest = form
                .map(|form| (rest.len(), forms[*form].secret))
                .or(longest);
        }
        longest
    }

    /// The longest part of a form that `text` ends with, in bytes, and its secret.
    pub(super) fn at_end(&self, text: &[u8], forms: &[SecretForm]) -> Option<(usize, usize)> {
        self.end(text, forms, RestMatch::Any)
    }

    /// The most bytes that `text` ends with and that a longer form begins with; none if there are no more than may be left.
    pub(super) fn open_at_end(&self, text: &[u8], forms: &[SecretForm]) -> Option<usize> {
        self.end(text, forms, RestMatch::Open)
            .map(|(length, _)| length)
    }

    fn end(&self, text: &[u8], forms: &[SecretForm], part: RestMatch) -> Option<(usize, usize)> {
        let near = &text[text.len().saturating_sub(self.longest)..];
        for (tries, (place, with_head)) in self.heads.find(near).enumerate() {
            if tries == MAX_TRIES {
                let length = |form: &[u8]| overlap(form, near, part);
                return self.heads.longest(near, forms, length);
            }
            let rest = &near[place..];
            let is_rest = |form: &&usize| {
                let form = &*forms[**form].bytes;
                form.starts_with(rest) && (part == RestMatch::Any || form.len() > rest.len())
            };
            if let Some(form) = with_head.iter().find(is_rest) {
                return Some((rest.len(), forms[*form].secret));
            }
        }
        None
    }
}

impl Probes {
    fn new<'a>(ends: impl Iterator<Item = (usize, &'a [u8])>) -> Self {
        let mut forms: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (form, end) in ends {
            forms.entry(end).or_default().push(form);
        }
        Self {
            finder: AhoCorasick::new(forms.keys())
                .expect("ends of forms are short enough for an automaton"),
            forms: forms.into_values().collect(),
        }
    }

    /// Where in a text there is an end, from its beginning on, and whose it is.
    fn find(&self, text: &[u8]) -> impl Iterator<Item = (usize, &[usize])> {
        let found = self.finder.find_overlapping_iter(text);
        found.map(|found| {
            let forms = &self.forms[found.pattern().as_usize()];
            (found.start(), forms.as_slice())
        })
    }

    /// The longest part of a form of which an end is in `text`, by the length that is told of each, and its secret.
    fn longest(
        &self,
        text: &[u8],
        forms: &[SecretForm],
        length: impl Fn(&[u8]) -> usize,
    ) -> Option<(usize, usize)> {
        let mut is_there = vec![false; self.forms.len()];
        for found in self.finder.find_overlapping_iter(text) {
            is_there[found.pattern().as_usize()] = true;
        }
        let there = self
            .forms
            .iter()
            .zip(is_there)
            .filter(|(_, is_there)| *is_there);
        let parts = there.flat_map(|(forms, _)| forms).map(|form| {
            let form = &forms[*form];
            (length(&form.bytes), form.secret)
        });
        let parts = parts.filter(|(length, _)| *length > MAX_REST);
        parts.reduce(|longest, part| if part.0 > longest.0 { part } else { longest })
    }
}

/// How many bytes at the end of `text` are the beginning of `form`, in time that is linear in both (Knuth, Morris and
/// Pratt).
fn overlap(form: &[u8], text: &[u8], part: RestMatch) -> usize {
    let end = match part {
        RestMatch::Any => form.len(),
        RestMatch::Open => form.len() - 1,
    };
    let form = &form[..end.min(text.len())];
    // Of each beginning of the form: how many bytes of its end are a shorter beginning.
    let mut borders = vec![0; form.len()];
    let next = |borders: &[usize], mut length: usize, byte: u8| {
        while length > 0 && form.get(length) != Some(&byte) {
            length = borders[length - 1];
        }
        length + usize::from(form.get(length) == Some(&byte))
    };
    for end in 1..form.len() {
        borders[end] = next(&borders, borders[end - 1], form[end]);
    }
    text.iter()
        .fold(0, |length, byte| next(&borders, length, *byte))
}
