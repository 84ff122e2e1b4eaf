//! [`FailureGroup`]: trials that did not pass for the same reason.

use std::collections::{BTreeSet, HashMap};

use runner_model::units::grouped;
use runner_model::{Outcome, RowRef};
use runner_results::{hash, key};

use crate::failure::BlockLine;

/// Trials that a group names.
pub(super) const MOST_TRIALS: usize = 3;
/// Providers that a group names.
const MOST_PROVIDERS: usize = 5;

/// The first trials of the plan, with their places in it.
type FirstTrials = BTreeSet<(u64, String)>;

/// Trials with the same outcome and reason.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// One line: the headline of the first trial, or the answer of all trials.
    pub reason: String,
    pub outcome: Outcome,
    pub trials: u64,
    /// Number of failures: a group has several of each trial if other groups had exactly its trials.
    pub(crate) failures: u64,
    /// The least and the greatest number of further failed checks of its trials.
    pub(super) more: [u64; 2],
    /// Sum of the hashes of its trials.
    pub(super) sum: u64,
    /// Number of the last row that was added.
    pub(super) last: u64,
    /// The reasons of the first trial of the plan, with all other parts of its result if this failure decided. Empty for flaky trials.
    pub block: Vec<BlockLine>,
    /// Up to [`MOST_TRIALS`] trials, or [`MOST_FLAKY`].
    pub(super) first: FirstTrials,
    /// The test of all trials. `None` if they have several.
    pub(super) test: Option<String>,
    /// Names of up to [`MOST_PROVIDERS`] + 1 providers.
    pub(super) providers: BTreeSet<String>,
    /// Hash of test and provider of each trial.
    pub(crate) keys: Vec<u64>,
    /// The keys of [`Signature`] of the first trial of the plan.
    pub(super) signature: [u64; 3],
    /// The answer of all trials, in [`Signature`].
    pub(super) answer: Option<String>,
    /// Whether headlines differ.
    pub(super) is_varied: bool,
    /// Number of the kind of all trials.
    pub(crate) kind: Option<u16>,
    /// The parts of the group, the first of which names it. Of each further [`MOST_GROUPS`] of them, all trials have the next key
    /// in `signature`.
    pub(crate) parts: Vec<usize>,
}

/// Merges groups with the same outcome and the same key at `level`, if over `most` of them are `alike`.
pub(super) fn merged(
    groups: Vec<FailureGroup>,
    level: usize,
    most: usize,
    alike: impl Fn(&FailureGroup) -> bool,
) -> Vec<FailureGroup> {
    let mut counts = HashMap::<_, usize>::new();
    for group in groups.iter().filter(|group| alike(group)) {
        *counts.entry(group.key(level)).or_default() += 1;
    }
    let mut merged = Vec::<FailureGroup>::new();
    let mut places = HashMap::new();
    for group in groups {
        let key = group.key(level);
        let is_merged = alike(&group) && counts[&key] > most;
        let place = is_merged.then(|| *places.entry(key).or_insert(merged.len()));
        match place.and_then(|place| merged.get_mut(place)) {
            Some(first) => first.merge(group),
            None => merged.push(group),
        }
    }
    merged
}

/// Formats the first of `count` trials, and the number of the others.
pub(crate) fn named(names: &[String], count: u64) -> String {
    match count - names.len() as u64 {
        0 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), grouped(more)),
    }
}

impl FailureGroup {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            reason: String::new(),
            outcome,
            trials: 0,
            failures: 0,
            more: [u64::MAX, 0],
            sum: 0,
            last: 0,
            block: Vec::new(),
            first: FirstTrials::new(),
            test: None,
            providers: BTreeSet::new(),
            keys: Vec::new(),
            signature: [0; 3],
            answer: None,
            is_varied: false,
            kind: None,
            parts: Vec::new(),
        }
    }

    /// Returns the key by which groups are merged at a level.
    pub(super) fn key(&self, level: usize) -> (Outcome, u64) {
        (self.outcome, self.signature[level])
    }

    /// Adds the trials of another group.
    fn merge(&mut self, mut other: Self) {
        self.is_varied |= other.is_varied || self.signature[0] != other.signature[0];
        if other.first.first() < self.first.first() {
            self.reason = other.reason;
            self.block = other.block;
            self.signature = other.signature;
        }
        self.trials += other.trials;
        self.failures += other.failures;
        self.sum = self.sum.wrapping_add(other.sum);
        self.add_more(other.more);
        self.test.take_if(|test| other.test.as_ref() != Some(test));
        self.answer.take_if(|answer| other.answer.as_ref() != Some(answer));
        self.first.append(&mut other.first);
        self.first = std::mem::take(&mut self.first).into_iter().take(MOST_TRIALS).collect();
        self.providers.append(&mut other.providers);
        self.providers =
            std::mem::take(&mut self.providers).into_iter().take(MOST_PROVIDERS + 1).collect();
        self.keys.append(&mut other.keys);
        self.parts.append(&mut other.parts);
    }

    /// Includes these numbers of further failed checks.
    pub(super) fn add_more(&mut self, [least, most]: [u64; 2]) {
        self.more = [self.more[0].min(least), self.more[1].max(most)];
    }

    /// Adds a trial, and keeps the first `most` names, each of which starts with `run`.
    pub(super) fn add(&mut self, run: &str, row: &RowRef<'_>, place: u64, most: usize) {
        let test = format!("{run}{}", &*row.test);
        match self.trials {
            0 => self.test = Some(test),
            _ => drop(self.test.take_if(|one| *one != test)),
        }
        self.trials += 1;
        let key = key(&row.trial.test, &row.trial.provider);
        self.keys.push(key);
        self.sum = self.sum.wrapping_add(hash(&(key, row.repeat, place)));
        self.first.insert((place, format!("{run}{}", row.trial)));
        if self.first.len() > most {
            self.first.pop_last();
        }
        self.providers.insert(row.provider.to_string());
        if self.providers.len() > MOST_PROVIDERS + 1 {
            self.providers.pop_last();
        }
    }

    /// Returns whether the trials count as failed, and are not skipped.
    pub fn is_failure(&self) -> bool {
        self.outcome != Outcome::Skipped
    }

    /// Returns the first trials, in the order of the plan.
    pub fn first(&self) -> impl Iterator<Item = &str> {
        self.first.iter().map(|(_, trial)| trial.as_str())
    }

    /// Returns the first providers by their names.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(String::as_str)
    }

    /// Returns one name for all trials of the group.
    pub fn name(&self) -> String {
        let first = self.first.first().map_or("", |(_, trial)| trial);
        match &self.test {
            Some(_) if self.trials > 1 && self.providers.len() == 1 => {
                let (trial, _) = first.rsplit_once('#').unwrap_or((first, ""));
                format!("{trial}, {} repeats", self.trials)
            }
            Some(test) if self.trials > 1 && self.providers.len() <= MOST_PROVIDERS => {
                format!("{test} on {}", self.providers().collect::<Vec<_>>().join(", "))
            }
            _ => self.first_names(),
        }
    }

    /// Returns the names of the first trials, and the number of the others.
    pub fn first_names(&self) -> String {
        let names: Vec<_> = self.first.iter().map(|(_, trial)| trial.clone()).collect();
        named(&names, self.trials)
    }
}
