//! Known failures: [`KnownList`], the list that a session judged by, and [`Known`], which finds the entry of a trial.

mod judged;
pub mod plan;

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use globset::GlobSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Outcome, Time, globs, row::FailureKinds};

pub use self::judged::{Judged, MAX_MEMBERS};
pub use crate::digest::KnownMember;

/// The known failures of a run, as a session stores them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownList {
    /// A pass that no entry expects is a failure.
    pub strict: bool,
    /// Entries that do not apply make the run fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_entries: bool,
    /// In the order of the files. The last one that applies to a trial decides.
    pub entries: Vec<KnownEntry>,
}

/// Globs of an entry that a message names.
const MAX_GLOBS: usize = 2;

/// An entry of a list: trials that are expected not to pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownEntry {
    /// Globs over the ids of tests.
    pub tests: Vec<String>,
    /// Globs over the names of providers. Empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// The reason, for people.
    pub reason: String,
    /// The last day on which the entry applies, as `2027-03-01`, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The expected outcomes.
    pub outcomes: Vec<Outcome>,
    /// Globs over the kinds of a failure, all of which they must match. Empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// A pass is expected, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// The tests that the entry was written for. `None` for all that its globs match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// The list as the scenario names it. `None` for an entry of the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line of the entry in its file, from 1.
    pub line: u32,
    /// Why the entry does not apply. Set when a session starts, which has the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// Ids of the tests of the plan that `judged` confirms, sorted, if the globs match others, too. Set when a session starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// Why an entry does not apply to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stale {
    /// The run was made after the entry's last day.
    Expired,
    /// The tests or their expectations are not those that the entry was written for.
    Changed,
    /// The plan has no such trial.
    Unmatched,
    /// The trial ended with another outcome. Only of an entry beside a result.
    Outcome,
}

/// A result beside the known failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KnownState {
    /// No entry applies, or the outcome counts as without one.
    #[default]
    Unlisted,
    /// The trial did not pass, as expected.
    Known,
    /// The trial passed although a failure was expected.
    UnexpectedPass,
}

impl Stale {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Changed => "changed",
            Self::Unmatched => "unmatched",
            Self::Outcome => "other outcome",
        }
    }
}

impl KnownState {
    pub const ALL: [Self; 3] = [Self::Unlisted, Self::Known, Self::UnexpectedPass];

    /// Returns the word of the state in documents. Empty if the result counts as without a list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unlisted => "",
            Self::Known => "known",
            Self::UnexpectedPass => "unexpected-pass",
        }
    }

    /// Returns the state for a document. `None` if the result counts as without a list.
    pub fn listed(self) -> Option<Self> {
        (self != Self::Unlisted).then_some(self)
    }

    /// Returns whether a result with this outcome makes the verdict `failed`.
    pub fn is_unexpected(self, outcome: Outcome) -> bool {
        match self {
            Self::Unlisted => outcome.is_bad(),
            Self::Known => false,
            Self::UnexpectedPass => true,
        }
    }
}

impl KnownEntry {
    /// Returns whether the entry has expired in a run that was started at this time.
    pub fn is_expired(&self, started_at: Time) -> bool {
        let day = started_at.to_string();
        self.until.as_ref().is_some_and(|until| **until < day[..day.len().min(until.len())])
    }

    /// Returns the entry as it is written in its file, wherever it is there.
    pub fn as_written(&self) -> Self {
        Self { line: 0, stale: None, members: Vec::new(), ..self.clone() }
    }

    /// Formats its place and globs: `` `known.toml:9` (a/*, b on zz*) ``. `scenario` is the name of the scenario's file.
    pub fn named(&self, scenario: &str) -> String {
        let first = |globs: &[String]| {
            let more = if globs.len() > MAX_GLOBS { ", …" } else { "" };
            globs[..globs.len().min(MAX_GLOBS)].join(", ") + more
        };
        let providers = match &*self.providers {
            [] => String::new(),
            providers => format!(" on {}", first(providers)),
        };
        let file = self.file.as_deref().unwrap_or(scenario);
        format!("`{file}:{}` ({}{providers})", self.line, first(&self.tests))
    }

    /// Returns the number of tests that the entry was written for and that the plan lacks, if the entry applies to others.
    pub fn lost_tests(&self) -> usize {
        let written_for = match &self.judged {
            Some(Judged::Tests(members)) if self.stale.is_none() => members.len(),
            _ => 0,
        };
        if self.members.is_empty() { 0 } else { written_for.saturating_sub(self.members.len()) }
    }

    /// Returns the id of the only test that its globs can match.
    pub fn only_test(&self) -> Option<String> {
        let [glob] = &*self.tests else { return None };
        literal(glob)
    }

    /// Returns whether the entry also applies to tests that are not written yet.
    pub fn is_open(&self) -> bool {
        self.judged.is_none() && self.tests.iter().any(|glob| literal(glob).is_none())
    }

    /// Returns whether the entry was written for a test of the plan that its globs match.
    pub fn has_member(&self, test: &str) -> bool {
        self.members.is_empty()
            || self.members.binary_search_by(|member| member.as_str().cmp(test)).is_ok()
    }

    /// Returns why the entry does not apply to a test that its globs match.
    pub fn stale_for(&self, test: &str) -> Option<Stale> {
        self.stale.or((!self.has_member(test)).then_some(Stale::Changed))
    }
}

/// Globs that start and end with wildcards. Each is compared with every test.
const MAX_OPEN: usize = 1000;

/// A glob over ids that is compiled once an id starts or ends as it does: one set of 10,000 globs takes 30 GB.
#[derive(Clone, Debug)]
struct WildGlob {
    text: String,
    entry: u32,
    /// Place of the only wildcard if it is `*`. Compiling 10,000 such globs takes a second.
    star: Option<usize>,
    set: OnceLock<GlobSet>,
}

/// Finds the entries of trials. Without entries, every result is [`KnownState::Unlisted`].
#[derive(Clone, Debug, Default)]
pub struct Known {
    list: KnownList,
    /// Entries by the id of a test.
    by_id: HashMap<Box<str>, Vec<u32>>,
    /// Globs with wildcards.
    wild: Vec<WildGlob>,
    /// Indexes of globs by the text with which an id must start, and those lengths. Of others, by the text with which it must end.
    by_start: HashMap<Box<str>, Vec<u32>>,
    start_lengths: BTreeSet<usize>,
    by_end: HashMap<Box<str>, Vec<u32>>,
    end_lengths: BTreeSet<usize>,
    /// Indexes in `sets` by entry. `None` for all providers.
    providers: Vec<Option<u32>>,
    /// Indexes in `sets` by entry. `None` for all kinds of failures.
    kinds: Vec<Option<u32>>,
    sets: Vec<GlobSet>,
}

impl Known {
    /// Compiles a list.
    ///
    /// # Errors
    ///
    /// A glob over providers or kinds is invalid, or too many globs start and end with wildcards. The reason continues a sentence.
    pub fn new(list: KnownList) -> Result<Self, String> {
        let mut known = Self { list, ..Self::default() };
        let mut sets = GlobSets::default();
        let mut wild = Vec::new();
        for (number, entry) in (0..).zip(&known.list.entries) {
            for text in &entry.tests {
                // The text of a glob matches the id with this text, too.
                known.by_id.entry(text.as_str().into()).or_default().push(number);
                match literal(text) {
                    Some(id) if id == *text => {}
                    Some(id) => known.by_id.entry(id.into()).or_default().push(number),
                    None => wild.push((number, text.as_str())),
                }
            }
            known.providers.push(sets.add(&entry.providers)?);
            known.kinds.push(sets.add(&entry.kinds)?);
        }
        known.sets = sets.sets;
        let mut counts = HashMap::<_, usize>::new();
        for (_, text) in &wild {
            let (start, end) = ends(text);
            *counts.entry((true, start)).or_default() += 1;
            *counts.entry((false, end)).or_default() += 1;
        }
        let mut open = 0;
        for (entry, text) in wild {
            let (start, end) = ends(text);
            // The text that fewer globs have.
            let rank =
                |is_start, text: &str| (text.is_empty(), counts.get(&(is_start, text)).copied());
            let (key, lengths, globs) = if rank(true, start) <= rank(false, end) {
                (start, &mut known.start_lengths, &mut known.by_start)
            } else {
                (end, &mut known.end_lengths, &mut known.by_end)
            };
            open += usize::from(key.is_empty());
            lengths.insert(key.len());
            globs.entry(key.into()).or_default().push(known.wild.len() as u32);
            let star = globs::around_star(text).map(|(start, _)| start.len());
            let (text, set) = (text.to_owned(), OnceLock::new());
            known.wild.push(WildGlob { text, entry, star, set });
        }
        if open > MAX_OPEN {
            return Err(format!(
                "{open} globs start and end with wildcards; at most {MAX_OPEN} are allowed"
            ));
        }
        Ok(known)
    }

    pub fn list(&self) -> &KnownList {
        &self.list
    }

    /// Returns the entries, of which only [`KnownEntry::stale`] and [`KnownEntry::members`] may change.
    pub(super) fn entries_mut(&mut self) -> &mut [KnownEntry] {
        &mut self.list.entries
    }

    /// Returns the entries that make the run fail because they do not apply. A shard may lack the trials of an entry.
    pub fn failing_entries(&self, is_shard: bool) -> Vec<&KnownEntry> {
        let fails = |entry: &&KnownEntry| match entry.stale {
            Some(Stale::Unmatched) => !is_shard,
            stale => stale.is_some(),
        };
        self.list.entries.iter().filter(|_| self.list.strict_entries).filter(fails).collect()
    }

    /// Returns whether the list has no entry.
    pub fn is_empty(&self) -> bool {
        self.list.entries.is_empty()
    }

    /// Returns the numbers of all entries whose globs match a trial, from 0, ascending. Those that do not apply are among them.
    pub fn matching(&self, test: &str, provider: &str) -> Vec<u32> {
        let mut numbers = self.of_test(test);
        numbers.retain(|number| self.has_provider(*number, provider));
        numbers
    }

    /// Returns the numbers of all entries whose globs match a test, whatever their providers are, ascending.
    pub fn of_test(&self, test: &str) -> Vec<u32> {
        if self.is_empty() {
            return Vec::new();
        }
        let starts = self.start_lengths.iter().filter_map(|length| test.get(..*length));
        let ends = self
            .end_lengths
            .iter()
            .filter_map(|length| test.get(test.len().checked_sub(*length)?..));
        let starts = starts.filter_map(|start| self.by_start.get(start));
        let ends = ends.filter_map(|end| self.by_end.get(end));
        let wild = starts.chain(ends).flatten().map(|index| &self.wild[*index as usize]);
        let wild = wild.filter(|glob| glob.is_match(test)).map(|glob| glob.entry);
        let by_id = self.by_id.get(test).into_iter().flatten().copied();
        let mut numbers: Vec<_> = wild.chain(by_id).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Returns whether the globs of an entry match a provider.
    pub fn has_provider(&self, number: u32, provider: &str) -> bool {
        let set = self.providers[number as usize];
        set.is_none_or(|set| self.sets[set as usize].is_match(provider))
    }

    /// Returns whether an entry expects a result of this outcome and, if it is for some kinds of failures, of these.
    pub fn expects(
        &self,
        number: u32,
        outcome: Outcome,
        kinds: impl FnOnce() -> FailureKinds,
    ) -> bool {
        self.list.entries[number as usize].outcomes.contains(&outcome)
            && self.kinds[number as usize]
                .is_none_or(|set| kinds().are_in(&self.sets[set as usize]))
    }

    /// Returns whether an entry is for some kinds of failures.
    pub fn has_kinds(&self) -> bool {
        self.kinds.iter().any(Option::is_some)
    }

    /// Returns the entry that decides about a trial: the last one that applies.
    pub fn entry(&self, test: &str, provider: &str) -> Option<&KnownEntry> {
        self.deciding(test, provider).map(|number| &self.list.entries[number as usize])
    }

    /// Returns the number of the entry that decides about a trial.
    pub fn deciding(&self, test: &str, provider: &str) -> Option<u32> {
        let mut numbers = self.matching(test, provider).into_iter().rev();
        numbers.find(|number| self.list.entries[*number as usize].stale_for(test).is_none())
    }

    /// Returns the outcomes of a trial that are unexpected if the trial fails by these kinds. `None` if no entry applies.
    pub fn unexpected(
        &self,
        test: &str,
        provider: &str,
        kinds: impl Fn(Outcome) -> FailureKinds,
    ) -> Option<Vec<Outcome>> {
        let number = self.deciding(test, provider)?;
        let is_unexpected = |outcome: &Outcome| {
            self.state_by(number, *outcome, || kinds(*outcome)).is_unexpected(*outcome)
        };
        Some(Outcome::ALL.iter().copied().filter(is_unexpected).collect())
    }

    /// Compares a result of a trial with the list. `kinds` are those of its failure, and are asked for only if its entry has any.
    pub fn state(
        &self,
        test: &str,
        provider: &str,
        outcome: Outcome,
        kinds: impl FnOnce() -> FailureKinds,
    ) -> KnownState {
        if !outcome.is_bad() && outcome != Outcome::Passed {
            return KnownState::Unlisted;
        }
        let number = self.deciding(test, provider);
        number.map_or(KnownState::Unlisted, |number| self.state_by(number, outcome, kinds))
    }

    /// Compares a result of a trial with the entry that decides about it.
    fn state_by(
        &self,
        number: u32,
        outcome: Outcome,
        kinds: impl FnOnce() -> FailureKinds,
    ) -> KnownState {
        if self.expects(number, outcome, kinds) {
            return KnownState::Known;
        }
        let is_pass = outcome == Outcome::Passed && self.list.strict;
        match is_pass && !self.list.entries[number as usize].flaky {
            true => KnownState::UnexpectedPass,
            false => KnownState::Unlisted,
        }
    }
}

/// Sets of globs, each once: compiling one takes longer than all else, and most entries have the same.
#[derive(Default)]
struct GlobSets<'a> {
    sets: Vec<GlobSet>,
    numbers: HashMap<&'a [String], u32>,
}

impl<'a> GlobSets<'a> {
    /// Returns the number of the set of these globs. `None` without globs.
    fn add(&mut self, globs: &'a [String]) -> Result<Option<u32>, String> {
        let number = self.numbers.get(globs).copied();
        if number.is_some() || globs.is_empty() {
            return Ok(number);
        }
        let number = self.sets.len() as u32;
        self.sets.push(globs::over_ids(globs)?);
        self.numbers.insert(globs, number);
        Ok(Some(number))
    }
}

impl WildGlob {
    fn is_match(&self, test: &str) -> bool {
        if let Some(star) = self.star {
            let after = test.strip_prefix(&self.text[..star]);
            return after.is_some_and(|after| after.ends_with(&self.text[star + 1..]));
        }
        // The reader of the list has checked the glob.
        let set = self.set.get_or_init(|| globs::over_ids(&[&self.text]).unwrap_or_default());
        set.is_match(test)
    }
}

/// Returns the texts with which all ids start and end that a glob matches.
fn ends(glob: &str) -> (&str, &str) {
    let special = |character| "*?[]{}\\".contains(character);
    let start = glob.find(special).map_or(glob, |at| &glob[..at]);
    let end = glob.rfind(special).map_or("", |at| &glob[at + 1..]);
    // `**/a` also matches `a`.
    let end = if glob.contains("**") { end.trim_start_matches('/') } else { end };
    (start, end)
}

/// Returns the only id that a glob without wildcards matches.
pub fn literal(glob: &str) -> Option<String> {
    let mut id = String::with_capacity(glob.len());
    let mut characters = glob.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => id.push(characters.next()?),
            '*' | '?' | '[' | ']' | '{' | '}' => return None,
            character => id.push(character),
        }
    }
    Some(id)
}

#[cfg(test)]
#[path = "../tests/known.rs"]
mod tests;
