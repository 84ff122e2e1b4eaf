//! [`Failures`]: failed trials of a run, grouped by test and reason.

use std::collections::BTreeMap;

use runner_model::{Outcome, RowRef};

use crate::failure;

/// Groups that are kept. The trials of others are only counted.
const MOST_GROUPS: usize = 10;

/// Trials that did not pass, grouped by test and reason.
#[derive(Debug, Default)]
pub struct Failures {
    /// The first groups, in the order of their first trials.
    pub groups: Vec<FailureGroup>,
    /// Number of trials, including those without a group.
    pub trials: u64,
    /// Indexes in `groups` by test and reason.
    places: BTreeMap<(String, String), usize>,
}

/// Trials of one test that did not pass for one reason.
#[derive(Debug)]
pub struct FailureGroup {
    pub test: String,
    /// One line.
    pub reason: String,
    /// Outcome of the first trial.
    pub outcome: Outcome,
    /// Repeats by provider.
    pub providers: BTreeMap<String, Vec<u32>>,
}

impl Failures {
    /// Adds a row that settles its trial badly.
    pub fn add(&mut self, row: &RowRef<'_>) {
        self.trials += 1;
        let key = (row.test.to_string(), failure::headline(row));
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.groups.len() == MOST_GROUPS => return,
            None => {
                self.groups.push(FailureGroup {
                    test: key.0.clone(),
                    reason: key.1.clone(),
                    outcome: row.outcome,
                    providers: BTreeMap::new(),
                });
                self.places.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let providers = &mut self.groups[place].providers;
        let repeats = providers.entry(row.provider.to_string()).or_default();
        repeats.push(row.repeat);
    }

    /// Returns the number of trials in groups that are not kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let named: usize = self.groups.iter().map(FailureGroup::trials).sum();
        self.trials - named as u64
    }
}

impl FailureGroup {
    fn trials(&self) -> usize {
        self.providers.values().map(Vec::len).sum()
    }

    /// Returns one name for all trials of the group.
    #[must_use]
    pub fn name(&self) -> String {
        match self.providers.iter().next() {
            Some((provider, repeats)) if self.providers.len() == 1 => match repeats.as_slice() {
                [only] => format!("{}@{provider}#{only}", self.test),
                _ => format!("{}@{provider}, {} repeats", self.test, repeats.len()),
            },
            _ => {
                let providers: Vec<_> = self.providers.keys().map(String::as_str).collect();
                format!("{} on {}", self.test, providers.join(", "))
            }
        }
    }
}
