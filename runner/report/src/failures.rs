//! [`Failures`]: trials of a run that did not pass, grouped by outcome and reason.

use std::collections::{BTreeMap, BTreeSet};

use runner_model::units::{grouped, plural};
use runner_model::{Outcome, RowRef, TrialId};

use crate::failure::{self, BlockLine};
use crate::logs::hash;

/// Groups that are kept. The trials of others are only counted.
const MOST_GROUPS: usize = 1000;
/// Groups that [`Failures::listed`] returns.
const MOST_LISTED: usize = 20;
/// Providers that a group names.
const MOST_PROVIDERS: usize = 5;
/// Flaky trials that are named.
const MOST_FLAKY: usize = 10;
/// Trials that a group names.
const MOST_TRIALS: usize = 3;
/// Lines of each value, message and difference in a block.
const BLOCK_LINES: usize = 12;

/// Trials that did not pass, and skipped ones whose provider gave a reason.
#[derive(Debug, Default)]
pub struct Failures {
    groups: Vec<FailureGroup>,
    /// Number of trials that did not pass.
    pub trials: u64,
    /// Number of trials in `groups` and in groups that are not kept.
    grouped: u64,
    /// Indexes in `groups`.
    places: BTreeMap<(Outcome, String), usize>,
    flaky: Option<FailureGroup>,
    /// Trials that wait for a retry, by their place: trial, attempts and reason of the last one. Empty after the first
    /// [`MOST_GROUPS`].
    retried: BTreeMap<u64, String>,
    /// Start of the names of trials, if several runs are listed.
    run: String,
    /// Place of the run's first trial.
    first_place: u64,
}

/// Places between the first trials of two runs.
const RUN_PLACES: u64 = 1 << 40;

/// The first trials of the plan, with their places in it.
type FirstTrials = BTreeSet<(u64, String)>;

/// Trials with the same outcome and reason.
#[derive(Debug)]
pub struct FailureGroup {
    /// One line.
    pub reason: String,
    pub outcome: Outcome,
    pub trials: u64,
    /// All reasons of the trial that was added first. Empty for flaky trials.
    pub block: Vec<BlockLine>,
    /// Up to [`MOST_TRIALS`] trials, or [`MOST_FLAKY`].
    first: FirstTrials,
    /// The test of all trials. `None` if they have several.
    test: Option<String>,
    /// Names of up to [`MOST_PROVIDERS`] + 1 providers.
    providers: BTreeSet<String>,
    /// [`key`] of each trial.
    pub(crate) keys: Vec<u64>,
}

impl Failures {
    /// Names the scenario of the run whose rows are added next.
    pub fn start_run(&mut self, scenario: &str) {
        self.run = format!("{scenario}: ");
        self.first_place += RUN_PLACES;
    }

    /// Adds a bad row of a trial that is not done.
    pub fn add_retried(&mut self, row: &RowRef<'_>, place: u64) {
        let is_kept = self.retried.len() < MOST_GROUPS;
        let text = is_kept.then(|| {
            let attempts = plural(row.attempt.into(), "attempt", "attempts");
            format!("{}{} after {attempts}: {}", self.run, row.trial, failure::headline(row))
        });
        self.retried.insert(self.first_place.saturating_add(place), text.unwrap_or_default());
    }

    /// Removes the bad row of a trial that was retried.
    pub fn remove_retried(&mut self, place: u64) {
        self.retried.remove(&self.first_place.saturating_add(place));
    }

    /// Returns the first trials that wait for a retry, each with the reason, and the number of all.
    #[must_use]
    pub fn retried(&self) -> (Vec<&str>, u64) {
        let texts = self.retried.values().map(String::as_str).filter(|text| !text.is_empty());
        (texts.take(MOST_LISTED).collect(), self.retried.len() as u64)
    }

    /// Adds a row that settles its trial, the one at `place` of the plan.
    pub fn add(&mut self, row: &RowRef<'_>, place: u64) {
        let place = self.first_place.saturating_add(place);
        if row.flaky {
            let new = || FailureGroup::new(String::new(), row.outcome);
            self.flaky.get_or_insert_with(new).add(&self.run, row, place, MOST_FLAKY);
        }
        let is_explained_skip = row.outcome == Outcome::Skipped && row.summary.is_some();
        if !row.outcome.is_bad() && !is_explained_skip {
            return;
        }
        self.trials += u64::from(row.outcome.is_bad());
        self.grouped += 1;
        let key = (row.outcome, failure::headline(row));
        let index = match self.places.get(&key) {
            Some(index) => *index,
            None if self.groups.len() == MOST_GROUPS => return,
            None => {
                let block = failure::block(row, BLOCK_LINES);
                self.groups.push(FailureGroup { block, ..FailureGroup::new(key.1.clone(), key.0) });
                self.places.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index].add(&self.run, row, place, MOST_TRIALS);
    }

    /// Returns the groups: errors, timeouts, failures, then skipped trials, each in the order of the plan.
    #[must_use]
    pub fn sorted(&self) -> Vec<&FailureGroup> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|group| (rank(group.outcome), group.first.first()));
        groups
    }

    /// Returns the first 20 groups of [`Self::sorted`].
    #[must_use]
    pub fn listed(&self) -> Vec<&FailureGroup> {
        let mut groups = self.sorted();
        groups.truncate(MOST_LISTED);
        groups
    }

    /// Returns the number of trials in groups that are not listed.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let listed = self.listed();
        self.grouped - listed.iter().map(|group| group.trials).sum::<u64>()
    }

    /// Formats the flaky trials as one line. `None` without flaky trials.
    #[must_use]
    pub fn flaky(&self) -> Option<String> {
        self.flaky.as_ref().map(FailureGroup::name)
    }
}

/// Returns a hash of a trial's test and provider, the same for all repeats.
pub(crate) fn key(trial: &TrialId) -> u64 {
    hash(&(&trial.test, &trial.provider))
}

/// Returns the place of an outcome in lists.
pub(crate) fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Error => 0,
        Outcome::Timeout => 1,
        Outcome::Failed => 2,
        _ => 3,
    }
}

/// Formats the first of `count` trials, and the number of the others.
pub(crate) fn named(names: &[String], count: u64) -> String {
    match count - names.len() as u64 {
        0 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), grouped(more)),
    }
}

impl FailureGroup {
    fn new(reason: String, outcome: Outcome) -> Self {
        let (first, providers) = (FirstTrials::new(), BTreeSet::new());
        let (block, keys) = (Vec::new(), Vec::new());
        Self { reason, outcome, trials: 0, block, first, test: None, providers, keys }
    }

    /// Adds a trial, and keeps the first `most` names, each of which starts with `run`.
    fn add(&mut self, run: &str, row: &RowRef<'_>, place: u64, most: usize) {
        let test = format!("{run}{}", &*row.test);
        match self.trials {
            0 => self.test = Some(test),
            _ => drop(self.test.take_if(|one| *one != test)),
        }
        self.trials += 1;
        self.keys.push(key(&row.trial));
        self.first.insert((place, format!("{run}{}", row.trial)));
        if self.first.len() > most {
            self.first.pop_last();
        }
        if self.providers.len() <= MOST_PROVIDERS {
            self.providers.insert(row.provider.to_string());
        }
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
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.first.first().map_or("", |(_, trial)| trial);
        match &self.test {
            Some(_) if self.trials > 1 && self.providers.len() == 1 => {
                let (trial, _) = first.rsplit_once('#').unwrap_or((first, ""));
                format!("{trial}, {} repeats", self.trials)
            }
            Some(test) if self.trials > 1 && self.providers.len() <= MOST_PROVIDERS => {
                let providers: Vec<_> = self.providers.iter().map(String::as_str).collect();
                format!("{test} on {}", providers.join(", "))
            }
            _ => self.first_names(),
        }
    }

    /// Returns the names of the first trials, and the number of the others.
    #[must_use]
    pub fn first_names(&self) -> String {
        let names: Vec<_> = self.first.iter().map(|(_, trial)| trial.clone()).collect();
        named(&names, self.trials)
    }
}
