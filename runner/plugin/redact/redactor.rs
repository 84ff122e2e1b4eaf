//! [`Redactor`]: takes the values of secrets out of texts and bytes.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::LazyLock,
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

use super::{
    forms::{self, SecretForm},
    rests::Rests,
};

/// A value that is shorter is not looked for: it is part of too much that is not secret.
pub(in crate::plugin) const MIN_BYTES: usize = 4;

/// Of forms that have more bytes in all no table of all transitions is made: where a value repeats itself, making one takes
/// time by the square of its length.
const MAX_TABLE_BYTES: usize = 16 * 1024;
/// How many of what looks like a place where a text was shortened may be in a secret itself. Each of them is one more look
/// at a text that may have a million, and hardly a secret has any.
pub(super) const MAX_REACH: usize = 8;
/// Stands for a secret where no word may; too short for anything that is looked for.
pub(super) const SHORT_MARK: &str = "***";

/// Where a text was shortened: by a mark in a message, by a note in a guest's output.
pub(super) static SEAM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("…|[.]{3,}|\n\\[[0-9]+ bytes dropped\\]\n").expect("the expression is valid")
});

/// Whether a text is as it was said, or may have been shortened at its ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Whole,
    Cut,
}

/// Finds secrets in all forms that they commonly take.
pub(in crate::plugin) struct Redactor {
    pub(super) finder: AhoCorasick,
    pub(super) forms: Vec<SecretForm>,
    /// The secrets' names, and what stands in their place.
    secrets: Vec<(String, String)>,
    pub(super) rests: Rests,
    /// The most seams that one of the secrets has in it, up to [`MAX_REACH`].
    reach: usize,
    /// The bytes of the longest form.
    pub(super) longest: usize,
}

/// Where a part of a secret is, and whose it is.
type Rest = (Range<usize>, usize);

impl Redactor {
    /// Looks for these secrets; `None` if none of them can be looked for.
    pub(in crate::plugin) fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let mut all = BTreeMap::new();
        for (secret, value) in values.values().enumerate() {
            for form in forms::of(value, MIN_BYTES) {
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

    /// Redacts a text.
    pub(in crate::plugin) fn text(&self, text: &mut String) {
        self.whole(text);
        if SEAM.is_match(text) {
            self.seams(text, Ends::Whole);
        }
    }

    /// Redacts a text that may have been shortened, so that it begins or ends inside a secret.
    pub(super) fn cut_text(&self, text: &mut String) {
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
    pub(in crate::plugin) fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// The bytes with marks in the place of secrets; `None` if there is no secret in them.
    pub(in crate::plugin) fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
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

    pub(super) fn mark(&self, secret: usize) -> &str {
        &self.secrets[secret].1
    }
}
