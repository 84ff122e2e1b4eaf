//! Workers that come and go, and which attempt is to blame if they die.
//!
//! A worker that dies takes all of its attempts with it, and all but one of them are innocent. So those that it ran become
//! suspects: each is made again in a worker of its own, beside the others. One that dies there twice is what kills workers,
//! and is recorded as that, or the run would restart workers without end.

use std::collections::VecDeque;

use runner_model::{TaskId, WorkerId};

use super::{
    Blame, Effect, Fate, Policy, Schedule, Trials, lanes::OpenTrial, retries::Ending,
    window::Flight,
};

/// So many workers that died while they ran a trial alone make it a crash.
const MAX_DEATHS: u8 = 2;

/// Trials that run alone, one at a time.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pub(super) waiting: VecDeque<OpenTrial>,
    /// Whether a worker was asked for that is not ready.
    is_asked: bool,
}

impl<T: Trials> Schedule<T> {
    pub(super) fn on_ready(&mut self, worker: WorkerId, slots: u32, memory: u64, alone: bool) {
        if alone {
            self.suspects.is_asked = false;
        }
        let largest = self.settings.providers.iter().map(|bounds| bounds.memory);
        let largest = largest.max().unwrap_or(0);
        self.workers.add(worker, slots, memory, alone).fit(largest);
    }

    /// Gives the worker for suspects one of them, or asks for such a worker.
    pub(super) fn assign_suspect(&mut self) {
        let mut suspects = self.suspects.waiting.iter();
        let Some(place) = suspects.position(|suspect| self.lanes.may_start(suspect.lane, self.now))
        else {
            return;
        };
        match self.workers.alone() {
            Some((worker, at)) if at.flights.is_empty() => {
                if let Some(suspect) = self.suspects.waiting.remove(place) {
                    self.send(worker, suspect, self.lanes.limit(suspect.lane));
                }
            }
            None if !self.suspects.is_asked => {
                self.suspects.is_asked = true;
                self.effects.push(Effect::StartAlone);
            }
            _ => {}
        }
    }

    pub(super) fn on_lost(
        &mut self,
        worker: WorkerId,
        begun: &[TaskId],
        blame: Option<Blame>,
        policy: Option<&Policy>,
    ) {
        let Some(lost) = self.workers.0.remove(&worker) else {
            return;
        };
        let has_died = blame == Some(Blame::Died);
        // What died alone is to blame, also if it died before it was noted as begun.
        let has_begun = |task: &TaskId| begun.contains(task) || (lost.is_alone && has_died);
        let ran = lost.flights.keys().filter(|task| has_begun(task)).count();
        for (place, (task, mut flight)) in lost.flights.into_iter().enumerate() {
            match (blame, policy) {
                (Some(Blame::Stuck(stuck)), Some(policy)) if stuck == task => {
                    self.on_stuck((task, flight), policy);
                }
                _ if has_begun(&task) => {
                    if has_died {
                        let deaths = flight.trial.suspect.unwrap_or(0);
                        flight.trial.suspect = Some(deaths + u8::from(ran == 1));
                    }
                    self.on_died((task, flight), blame);
                }
                _ => {
                    // It died of none that it ran. The next one is what it may have died of before it was begun.
                    if has_died && ran == 0 && place == 0 {
                        flight.trial.suspect.get_or_insert(0);
                    }
                    self.never_began(flight);
                }
            }
        }
    }

    /// Records an attempt that died with its worker, and lets it be made again unless it has killed too many.
    fn on_died(&mut self, (task, flight): (TaskId, Flight), blame: Option<Blame>) {
        let trial = self.has_begun(flight, flight.sent);
        if trial.suspect.is_some_and(|deaths| deaths >= MAX_DEATHS) {
            self.write_for((task, flight), Fate::Crash, true);
            self.settle(true);
            return;
        }
        // Without blame, it is we who killed it.
        let fate = match blame.is_none() && self.is_interrupting() {
            true => Fate::Stopped,
            false => Fate::Lost,
        };
        self.put_back(trial);
        self.write_for((task, flight), fate, false);
    }

    fn on_stuck(&mut self, (task, flight): (TaskId, Flight), policy: &Policy) {
        let mut trial = self.has_begun(flight, flight.sent);
        trial.had_bad = true;
        trial.suspect = None;
        let is_final = !self.retry(trial, Some(Ending::STUCK), policy);
        self.write_for((task, flight), Fate::Stuck, is_final);
        if is_final {
            self.settle(true);
        }
    }
}
