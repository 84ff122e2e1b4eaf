//! Trials that may have ended the process before: run last and alone, or recorded as its cause.

use std::io;

use super::{Dispatcher, InFlight};
use crate::{
    plugin::Moment,
    run::{
        executor::{Task, poisoned},
        lane::Readiness,
    },
};

impl Dispatcher<'_> {
    /// Takes a trial that may have ended the process before, once nothing else is left to do.
    pub(super) fn next_suspect(&mut self, now: Moment) -> io::Result<Option<Task>> {
        let Some(suspect) = self.suspects.waiting.pop_front() else {
            return Ok(None);
        };
        let lane = self.lane_of(suspect.provider);
        self.lanes[lane].retry(suspect.into_retry());
        match self.lanes[lane].readiness(&self.state, now)? {
            Readiness::Ready(_) => Ok(Some(self.take(lane, now))),
            // It is due, so its lane's own pace decides.
            Readiness::At(_) | Readiness::Blocked => Ok(None),
        }
    }

    /// Records the trials that ended the process once too often.
    pub(super) fn record_guilty(&mut self) {
        for suspect in std::mem::take(&mut self.suspects.guilty) {
            let lane = self.lane_of(suspect.provider);
            let trial = self.lanes[lane].trial(&suspect.test, suspect.repeat);
            let number = self.state.assign(suspect.ordinal);
            let attempt = poisoned(suspect.ordinal, trial.clone(), number, suspect.deaths);
            let flight = InFlight {
                number,
                tries: 1,
                trial,
                lane,
                test: suspect.test,
                trial_ends: None,
            };
            self.enter(&flight, attempt, true);
        }
    }

    fn lane_of(&self, provider: usize) -> usize {
        self.lanes
            .iter()
            .position(|lane| lane.provider() == provider)
            .expect("a trial's provider has a lane")
    }
}
