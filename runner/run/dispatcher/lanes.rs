//! [`Lanes`]: all providers' ways through the plan, of which the next trial is chosen.

use std::io;

use super::lane::{Lane, Readiness, Trial};
use crate::{model::TrialId, plugin::Moment, record::State};

/// The lanes of all providers that have trials.
pub(super) struct Lanes(Vec<Lane>);

/// What [`Lanes::choose`] found.
pub(super) enum Choice {
    /// This lane can start an attempt of the trial with this ordinal.
    Lane(usize, u64),
    /// None can start one now; if a time is given, one can then.
    Wait(Option<Moment>),
}

impl Lanes {
    pub(super) fn new(lanes: Vec<Lane>) -> Self {
        Self(lanes)
    }

    /// The most memory that an attempt may take, in bytes.
    pub(super) fn largest(&self) -> u64 {
        let memory = self.0.iter().map(Lane::limit);
        memory.max().unwrap_or_default()
    }

    /// The lane of a provider that has trials.
    pub(super) fn of_provider(&self, provider: usize) -> usize {
        self.0
            .iter()
            .position(|lane| lane.provider() == provider)
            .expect("a trial's provider has a lane")
    }

    /// Finds the lane whose next trial comes first in the plan, of those that may start one. Whether there is somebody for
    /// it is what `takes` says of its memory, and of whether the attempt may lie ready; `avoids` says of a trial and its memory
    /// that somebody else is to have it.
    pub(super) fn choose(
        &mut self,
        state: &State,
        now: Moment,
        takes: impl Fn(u64, bool) -> bool,
        avoids: impl Fn(u64, u64) -> bool,
    ) -> io::Result<Choice> {
        let mut best = None;
        let mut wait = None::<Moment>;
        for (index, lane) in self.0.iter_mut().enumerate() {
            let memory = lane.memory();
            if !takes(memory, lane.is_unbounded()) {
                continue;
            }
            match lane.readiness(state, now, |ordinal| avoids(ordinal, memory))? {
                Readiness::Ready(ordinal) if best.is_none_or(|(least, _)| ordinal < least) => {
                    best = Some((ordinal, index));
                }
                Readiness::At(then) => wait = Some(wait.map_or(then, |wait| wait.min(then))),
                Readiness::Ready(_) | Readiness::Blocked => {}
            }
        }
        Ok(match best {
            Some((ordinal, index)) => Choice::Lane(index, ordinal),
            None => Choice::Wait(wait),
        })
    }

    /// Until when a lane may not start another attempt, if it has to wait for its rate.
    pub(super) fn wait_until(&self, lane: usize, now: Moment) -> Option<Moment> {
        self.0[lane].wait_until(now)
    }

    /// Tells whether all have a rate that allows more than one start in the time for which messages gather.
    pub(super) fn are_fast(&self) -> bool {
        self.0.iter().all(Lane::is_fast)
    }

    /// The next trials of those lanes that could begin one if their rate allowed it, and until when it does not.
    pub(super) fn paced(&mut self, state: &State, now: Moment) -> io::Result<Vec<(u64, Moment)>> {
        let mut paced = Vec::new();
        for lane in &mut self.0 {
            if let Readiness::At(until) = lane.readiness(state, now, |_| false)?
                && let Some(ordinal) = lane.next_ordinal(state)?
            {
                paced.push((ordinal, until));
            }
        }
        Ok(paced)
    }

    /// Tells whether any has trials that nobody has begun, or some that are due.
    pub(super) fn have_more(&mut self, state: &State) -> io::Result<bool> {
        for lane in &mut self.0 {
            if lane.has_more(state)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a trial of a lane that can start it.
    pub(super) fn take(&mut self, lane: usize, ordinal: u64, now: Moment) -> Trial {
        self.0[lane].take(ordinal, now)
    }

    /// Puts a trial before all that its lane has.
    pub(super) fn put_first(&mut self, lane: usize, trial: Trial) {
        self.0[lane].put_first(trial);
    }

    /// Notes that an attempt of a lane was answered or given back.
    pub(super) fn release(&mut self, lane: usize) {
        self.0[lane].release();
    }

    /// Notes what an attempt of a lane has held at most, in bytes.
    pub(super) fn measure(&mut self, lane: usize, peak: u64) {
        self.0[lane].measure(peak);
    }

    /// Tells whether an attempt could start for which there is `too_little` memory.
    pub(super) fn wait_for_memory(
        &mut self,
        state: &State,
        now: Moment,
        too_little: impl Fn(u64) -> bool,
    ) -> io::Result<bool> {
        for lane in &mut self.0 {
            if too_little(lane.memory())
                && matches!(lane.readiness(state, now, |_| false)?, Readiness::Ready(_))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is reserved for the next attempt of a lane, in bytes.
    pub(super) fn memory(&self, lane: usize) -> u64 {
        self.0[lane].memory()
    }

    /// The place in the scenario of a lane's provider.
    pub(super) fn provider(&self, lane: usize) -> usize {
        self.0[lane].provider()
    }

    /// Lets those lanes begin nothing more whose provider's name is meant; returns the providers of those that could until
    /// then.
    pub(super) fn close(&mut self, means: impl Fn(&str) -> bool) -> Vec<usize> {
        let mut closed = Vec::new();
        for lane in &mut self.0 {
            if !lane.is_closed() && means(lane.name()) {
                lane.close();
                closed.push(lane.provider());
            }
        }
        closed
    }

    /// Tells whether a lane begins nothing more.
    pub(super) fn is_closed(&self, lane: usize) -> bool {
        self.0[lane].is_closed()
    }

    /// The id of one of a lane's trials.
    pub(super) fn id_of(&self, lane: usize, trial: &Trial) -> TrialId {
        self.0[lane].id_of(trial)
    }
}
