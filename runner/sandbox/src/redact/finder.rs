//! [`Finder`]: finds the forms of secrets in bytes.
//!
//! An automaton of all forms takes hundreds of times the memory of a long secret. Here a form takes
//! 40 bytes, at any length: its first bytes find candidates, and a hash confirms them.

use std::{cmp::Reverse, iter, ops::Range};

/// Bytes at the start of a form, which find it.
pub(super) const START: usize = 4;
/// Bytes of a form that its first part in a text is compared with.
const HEAD: usize = 16;
/// Base of the hashes, a large odd number. Different texts with equal hashes are improbable. A
/// guest that constructs them gets a mark in its own output.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bits of the filter for each form, so that few other texts pass it.
const FILTER_BITS: usize = 32;

/// Forms of secrets, to be searched for in any case of ASCII letters: names of headers and hosts are in lower case, names of
/// variables in upper case, and digits of escapes in either. Of forms at the same place, the longest is found.
pub(super) struct Finder {
    /// Sorted, so that forms with the same start are together.
    forms: Vec<Form>,
    /// A bit for each hash of a form's start.
    filter: Vec<u64>,
    /// Bytes of the longest form.
    pub(super) longest: usize,
}

/// A form of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    start: u32,
    bytes: Reverse<u32>,
    hash: u64,
    /// The secret's number.
    secret: u32,
    /// The first bytes, then zeros.
    head: [u8; HEAD],
}

/// A form in a text.
#[derive(Debug)]
pub(super) struct FoundForm {
    pub(super) place: Range<usize>,
    /// The secret's number.
    pub(super) secret: usize,
}

/// Hashes of the prefixes of a part of a text. The hash of a window is computed from two of them.
#[derive(Default)]
struct PrefixHashes {
    from: usize,
    hashes: Vec<u64>,
}

impl Form {
    /// Creates a form of the secret with this number. `None` if it is too short to search for.
    pub(super) fn new(form: &[u8], secret: u32) -> Option<Self> {
        let start = start_of(form)?;
        let bytes = Reverse(u32::try_from(form.len()).ok()?);
        let hash = form.iter().fold(0, |hash, byte| extend(hash, *byte));
        let mut head = [0; HEAD];
        head.iter_mut().zip(form).for_each(|(to, from)| *to = from.to_ascii_lowercase());
        Some(Self { start, bytes, hash, secret, head })
    }

    /// Returns whether `text` may be the first part of this form, and not all of it.
    fn may_continue(&self, text: &[u8]) -> bool {
        let compared = text.len().min(HEAD);
        text.len() < self.len() && self.head[..compared].eq_ignore_ascii_case(&text[..compared])
    }

    fn len(&self) -> usize {
        self.bytes.0 as usize
    }
}

impl Finder {
    /// Creates a finder. `None` without forms. Forms of several secrets belong to the first one.
    pub(super) fn new(mut forms: Vec<Form>) -> Option<Self> {
        forms.sort_unstable();
        forms.dedup_by_key(|form| (form.start, form.bytes, form.hash));
        forms.shrink_to_fit();
        let longest = forms.iter().map(Form::len).max()?;
        let bits = (forms.len() * FILTER_BITS).next_power_of_two();
        let mut finder = Self { filter: vec![0; bits.div_ceil(64)], forms, longest };
        for index in 0..finder.forms.len() {
            let (word, bit) = finder.filter_bit(finder.forms[index].start);
            finder.filter[word] |= bit;
        }
        Some(finder)
    }

    /// Returns the bytes that this takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.forms) + size_of_val(&*self.filter)
    }

    /// Returns the forms in a text that do not overlap, from left to right.
    pub(super) fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = FoundForm> + 'a {
        let (mut at, mut prefixes) = (0, PrefixHashes::default());
        iter::from_fn(move || {
            let found = text.get(at..)?.windows(START).zip(at..).find_map(|(start, at)| {
                let start = start_of(start)?;
                let (word, bit) = self.filter_bit(start);
                let may_start = self.filter[word] & bit != 0;
                may_start.then(|| self.find_at(text, at, start, &mut prefixes)).flatten()
            })?;
            at = found.place.end;
            Some(found)
        })
    }

    /// Returns the first place of a text from which later bytes may complete a form, or its end.
    pub(super) fn certain(&self, text: &[u8]) -> usize {
        let first = (text.len() + 1).saturating_sub(self.longest);
        (first..text.len())
            .find(|at| {
                let rest = &text[*at..];
                let Some(start) = start_of(rest) else {
                    return self.forms.iter().any(|form| form.may_continue(rest));
                };
                let (word, bit) = self.filter_bit(start);
                if self.filter[word] & bit == 0 {
                    return false;
                }
                let first = self.forms.partition_point(|form| form.start < start);
                let forms = self.forms[first..].iter().take_while(|form| form.start == start);
                forms.into_iter().any(|form| form.may_continue(rest))
            })
            .unwrap_or(text.len())
    }

    /// Returns the longest form at a place of a text, where `start` is.
    fn find_at(
        &self,
        text: &[u8],
        at: usize,
        start: u32,
        prefixes: &mut PrefixHashes,
    ) -> Option<FoundForm> {
        let first = self.forms.partition_point(|form| form.start < start);
        let count = self.forms[first..].partition_point(|form| form.start == start);
        let by_length = self.forms[first..first + count].chunk_by(|a, b| a.bytes == b.bytes);
        by_length.into_iter().find_map(|forms| {
            let place = at..at + forms.first()?.len();
            if place.end > text.len() {
                return None;
            }
            let hash = prefixes.hash(text, &place, self.longest);
            let form = forms.iter().find(|form| form.hash == hash)?;
            Some(FoundForm { place, secret: form.secret as usize })
        })
    }

    /// Returns the index of a word of the filter, and the bit in it, for the start of a form.
    fn filter_bit(&self, start: u32) -> (usize, u64) {
        let hash = u64::from(start).wrapping_mul(BASE) >> 32;
        let word = (hash >> 6) as usize & (self.filter.len() - 1);
        (word, 1 << (hash & 63))
    }
}

impl PrefixHashes {
    /// Returns the hash of a window of `text`. Windows may only move right, and have at most
    /// `longest` bytes. Takes constant time on average, however many of them overlap.
    fn hash(&mut self, text: &[u8], window: &Range<usize>, longest: usize) -> u64 {
        if self.hashes.is_empty() || window.start - self.from > longest {
            self.from = window.start;
            self.hashes.clear();
            self.hashes.push(0);
        }
        let known = self.from + self.hashes.len() - 1;
        for byte in text.get(known..window.end).unwrap_or_default() {
            let last = self.hashes[self.hashes.len() - 1];
            self.hashes.push(extend(last, *byte));
        }
        let [before, whole] = [window.start, window.end].map(|end| self.hashes[end - self.from]);
        whole.wrapping_sub(before.wrapping_mul(BASE.wrapping_pow(window.len() as u32)))
    }
}

/// Returns the first bytes of a text in lower case. `None` for a shorter text.
fn start_of(text: &[u8]) -> Option<u32> {
    text.first_chunk::<START>()
        .map(|start| u32::from_le_bytes(start.map(|byte| byte.to_ascii_lowercase())))
}

/// Returns the hash of a text with one more byte, whose case does not matter.
fn extend(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::{Finder, Form};
    use crate::tests::random::Numbers;

    #[test]
    fn finder_finds_what_a_plain_search_finds() {
        let mut numbers = Numbers(23);
        for _ in 0..2_000 {
            let forms: Vec<String> =
                (0..=numbers.below(6)).map(|_| numbers.text("ab", 4..9)).collect();
            let made =
                (0..).zip(&forms).filter_map(|(number, form)| Form::new(form.as_bytes(), number));
            let finder = Finder::new(made.collect()).unwrap();
            let text = numbers.text("aabb-", 0..200);
            let found: Vec<_> =
                finder.find(text.as_bytes()).map(|found| (found.place, found.secret)).collect();

            let (mut plain, mut at) = (Vec::new(), 0);
            while at < text.len() {
                let here = forms.iter().filter(|form| text[at..].starts_with(&***form));
                let Some(longest) = here.max_by_key(|form| form.len()) else {
                    at += 1;
                    continue;
                };
                let first = forms.iter().position(|form| form == longest).unwrap();
                plain.push((at..at + longest.len(), first));
                at += longest.len();
            }
            assert_eq!(found, plain, "{forms:?} in {text}");

            let may_continue = |rest: &str| {
                forms.iter().any(|form| form.len() > rest.len() && form.starts_with(rest))
            };
            let certain = (0..text.len()).find(|at| may_continue(&text[*at..]));
            assert_eq!(finder.certain(text.as_bytes()), certain.unwrap_or(text.len()));
        }
    }
}
