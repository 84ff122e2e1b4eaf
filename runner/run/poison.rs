//! Trials that were in flight when the process died, again and again.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
};

use super::lane::Retry;
use crate::{
    record::History,
    scenario::{Suite, Test},
};

/// How many times a suspect may end the process alone before it is recorded as the cause.
const DEATHS_ALONE: u32 = 3;

/// The trials of a session that may have ended the process before.
#[derive(Default)]
pub(super) struct Suspects {
    /// They run last, one at a time and alone.
    pub(super) held: Arc<HashSet<u64>>,
    pub(super) waiting: VecDeque<Suspect>,
    /// They are recorded as errors and not run any more.
    pub(super) guilty: Vec<Suspect>,
}

/// A trial, read from the plan.
pub(super) struct Suspect {
    pub(super) ordinal: u64,
    /// The provider's place in the scenario.
    pub(super) provider: usize,
    pub(super) test: Arc<Test>,
    pub(super) repeat: u32,
    /// At how many process deaths in a row it was in flight.
    pub(super) deaths: u32,
}

impl Suspects {
    /// Finds the pending trials that were in flight at `poison_after` deaths in a row or more; none if that is 0.
    pub(super) fn of(history: &History, poison_after: u32, suite: &Suite) -> io::Result<Self> {
        if poison_after == 0 {
            return Ok(Self::default());
        }
        let is_suspect = |(ordinal, deaths): &(&u64, &u32)| {
            **deaths >= poison_after && history.state.is_pending(**ordinal)
        };
        let mut found: Vec<_> = history.deaths.iter().filter(is_suspect).collect();
        // Whoever was there less often is more likely to get through, and is not kept waiting by the one that is not.
        found.sort_unstable_by_key(|(ordinal, deaths)| (**deaths, **ordinal));

        let mut suspects = Self::default();
        let mut reader = suite.reader();
        for (ordinal, deaths) in &found {
            let (test, provider, repeat) = reader.at(**ordinal)?;
            let suspect = Suspect {
                ordinal: **ordinal,
                provider,
                test,
                repeat,
                deaths: **deaths,
            };
            if **deaths >= poison_after.saturating_add(DEATHS_ALONE) {
                suspects.guilty.push(suspect);
            } else {
                suspects.waiting.push_back(suspect);
            }
        }
        suspects.held = Arc::new(found.into_iter().map(|(ordinal, _)| *ordinal).collect());
        Ok(suspects)
    }
}

impl Suspect {
    /// The suspect as a trial that its lane runs before all others.
    pub(super) fn into_retry(self) -> Retry {
        Retry {
            ordinal: self.ordinal,
            test: self.test,
            repeat: self.repeat,
            tries: 0,
            trial_ends: None,
        }
    }
}
