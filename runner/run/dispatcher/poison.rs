//! Trials that were being executed when a process or an executor died, again and again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
};

use super::lane::Trial;
use crate::{record::State, run::attempt::Deaths, scenario::Test};

/// How many times a suspect may end whoever executes it, alone, before it is recorded as the cause.
const DEATHS_ALONE: u32 = 3;

/// The trials of a session that may have ended a process or an executor.
#[derive(Default)]
pub(in crate::run) struct Suspects {
    /// Those that are known from earlier sessions: no lane finds them.
    pub(in crate::run) held: Arc<HashSet<u64>>,
    /// They run last, one at a time and alone.
    pub(super) waiting: VecDeque<Suspect>,
    /// They are recorded as errors and not run any more.
    pub(super) poisoned: Vec<(Suspect, Deaths)>,
    /// At how many deaths in a row a trial becomes a suspect; 0 for never.
    poison_after: u32,
    /// At how many deaths in a row a trial was being executed, by ordinal; not those that got through since.
    deaths: HashMap<u64, Deaths>,
}

/// A trial that may end whoever executes it.
pub(super) struct Suspect {
    /// The provider's place in the scenario.
    pub(super) provider: usize,
    pub(super) trial: Trial,
}

/// What becomes of a trial whose executor has died.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is made again.
    Again,
    /// It is made again when nothing else is left.
    Alone,
    /// It is recorded as the cause.
    Poisoned(Deaths),
}

impl Suspects {
    /// Finds the pending trials that were in flight at `poison_after` `deaths` of a process in a row or more; none if that
    /// is 0. `find` finds a trial's test, the place of its provider, and its repeat.
    pub(in crate::run) fn of(
        deaths: &HashMap<u64, u32>,
        state: &State,
        poison_after: u32,
        mut find: impl FnMut(u64) -> io::Result<(Arc<Test>, usize, u32)>,
    ) -> io::Result<Self> {
        let pending = deaths
            .iter()
            .filter(|(ordinal, _)| state.is_pending(**ordinal));
        let pending = pending.map(|(ordinal, count)| {
            let deaths = Deaths {
                count: *count,
                is_of_executors: false,
            };
            (*ordinal, deaths)
        });
        let mut suspects = Self {
            poison_after,
            deaths: pending.collect(),
            ..Self::default()
        };
        let mut found: Vec<_> = suspects
            .deaths
            .iter()
            .map(|(ordinal, deaths)| (*ordinal, *deaths))
            .collect();
        found.retain(|(_, deaths)| suspects.fate(*deaths) != Fate::Again);
        // Whoever was there less often is more likely to get through, and is not kept waiting by the one that is not.
        found.sort_unstable_by_key(|(ordinal, deaths)| (deaths.count, *ordinal));

        for (ordinal, deaths) in &found {
            let (test, provider, repeat) = find(*ordinal)?;
            let trial = Trial {
                ordinal: *ordinal,
                test,
                repeat,
                tries: 0,
                ends: None,
            };
            let suspect = Suspect { provider, trial };
            match suspects.fate(*deaths) {
                Fate::Poisoned(deaths) => suspects.poisoned.push((suspect, deaths)),
                Fate::Again | Fate::Alone => suspects.waiting.push_back(suspect),
            }
        }
        suspects.held = Arc::new(found.into_iter().map(|(ordinal, _)| ordinal).collect());
        Ok(suspects)
    }

    /// Counts that a trial was being executed when its executor died.
    pub(super) fn died(&mut self, ordinal: u64) -> Fate {
        let deaths = self.deaths.entry(ordinal).or_insert(Deaths {
            count: 0,
            is_of_executors: true,
        });
        deaths.count += 1;
        deaths.is_of_executors = true;
        let deaths = *deaths;
        self.fate(deaths)
    }

    /// What becomes of a trial that is not executed any more, but for another reason.
    pub(super) fn fate_of(&self, ordinal: u64) -> Fate {
        let deaths = self.deaths.get(&ordinal);
        deaths.map_or(Fate::Again, |deaths| self.fate(*deaths))
    }

    /// Notes that a trial got through.
    pub(super) fn survived(&mut self, ordinal: u64) {
        if !self.deaths.is_empty() {
            self.deaths.remove(&ordinal);
        }
    }

    fn fate(&self, deaths: Deaths) -> Fate {
        fate(deaths, self.poison_after)
    }
}

/// What becomes of a trial after so many deaths, if one is a suspect after `poison_after`.
pub(super) fn fate(deaths: Deaths, poison_after: u32) -> Fate {
    match poison_after {
        0 => Fate::Again,
        after if deaths.count >= after.saturating_add(DEATHS_ALONE) => Fate::Poisoned(deaths),
        after if deaths.count >= after => Fate::Alone,
        _ => Fate::Again,
    }
}
