//! [`HeldGradings`]: trials that were being graded whenever the process died.

use super::poison::{Fate, fate};
use crate::{
    record::GradingDeaths,
    run::{attempt::Deaths, grading::GradedTrial},
};

/// The trials that may have killed the process when they were graded: they are graded last, one at a time and alone.
pub(super) struct HeldGradings {
    deaths: GradingDeaths,
    /// At how many deaths a trial is held; 0 for never.
    poison_after: u32,
    waiting: Vec<GradedTrial>,
}

impl HeldGradings {
    pub(super) fn new(deaths: GradingDeaths, poison_after: u32) -> Self {
        Self {
            deaths,
            poison_after,
            waiting: Vec::new(),
        }
    }

    /// Holds a trial that is to be graded alone; any other is given back.
    pub(super) fn hold(&mut self, trial: GradedTrial) -> Option<GradedTrial> {
        let is_suspect = (self.counts(&trial)).any(|count| self.fate(count) == Fate::Alone);
        if !is_suspect {
            return Some(trial);
        }
        self.waiting.push(trial);
        None
    }

    /// At how many deaths a grader was being asked of a trial, if it is not asked again.
    pub(super) fn poisoned(&self, ordinal: u64, grader: usize) -> Option<u32> {
        let grader = u32::try_from(grader).ok()?;
        let count = *self.deaths.get(&ordinal)?.get(&grader)?;
        matches!(self.fate(count), Fate::Poisoned(_)).then_some(count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets go of the trial that was there least often: it is more likely to get through, and is not kept waiting by the one
    /// that is not.
    pub(super) fn next(&mut self) -> Option<GradedTrial> {
        let waiting = self.waiting.iter().enumerate();
        let least = waiting.min_by_key(|(_, trial)| self.counts(trial).max());
        let place = least.map(|(place, _)| place)?;
        Some(self.waiting.remove(place))
    }

    /// At how many deaths each grader was being asked of a trial.
    fn counts(&self, trial: &GradedTrial) -> impl Iterator<Item = u32> {
        let deaths = self.deaths.get(&trial.of.key().ordinal);
        deaths.into_iter().flatten().map(|(_, count)| *count)
    }

    fn fate(&self, count: u32) -> Fate {
        let deaths = Deaths {
            count,
            is_of_executors: false,
        };
        fate(deaths, self.poison_after)
    }
}
