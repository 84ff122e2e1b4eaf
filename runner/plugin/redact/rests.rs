//! [`Rests`]: the part of a secret that is left where a text was cut in the middle of it.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

use super::Form;

/// How much of a secret may be left, in bytes.
pub(super) const MAX_REST: usize = 7;

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

/// The shortest parts that may not be left, of one end of the forms.
struct Probes {
    finder: AhoCorasick,
    /// By the finder's patterns: the forms that have them, by their places.
    forms: Vec<Vec<usize>>,
}

impl Rests {
    pub(super) fn new(forms: &[Form]) -> Self {
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
    pub(super) fn at_start(&self, text: &[u8], forms: &[Form]) -> Option<(usize, usize)> {
        let near = &text[..text.len().min(self.longest)];
        let rests = self.tails.find(near).filter_map(|(place, with_tail)| {
            let rest = &near[..=place + MAX_REST];
            let form = with_tail
                .iter()
                .find(|form| forms[**form].bytes.ends_with(rest))?;
            Some((rest.len(), forms[*form].secret))
        });
        rests.last()
    }

    /// The longest part of a form that `text` ends with, in bytes, and its secret.
    pub(super) fn at_end(&self, text: &[u8], forms: &[Form]) -> Option<(usize, usize)> {
        let near = &text[text.len().saturating_sub(self.longest)..];
        self.heads.find(near).find_map(|(place, with_head)| {
            let rest = &near[place..];
            let form = with_head
                .iter()
                .find(|form| forms[**form].bytes.starts_with(rest))?;
            Some((rest.len(), forms[*form].secret))
        })
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
}
