//! Workers that come and go, and which attempt is to blame if they die.
//!
//! A worker that dies takes all of its attempts with it, and all but one of them are innocent. So those that it ran become
//! suspects: each is made again in a worker of its own, beside the others. One that dies there twice is what kills workers,
//! and is recorded as that, or the run would restart workers without end.

use runner_model::{TaskId, WorkerId};

use super::{
    effect::{Blame, Effect, LostReason},
    retries::Ending,
    schedule::Schedule,
    settings::Policy,
    window::SentTask,
};

/// So many workers that died while they ran a trial alone make it a crash.
const MAX_DEATHS: u8 = 2;

impl Schedule {
    /// Gives the worker for suspects one of them, or asks for such a worker.
    pub(super) fn assign_suspect(&mut self) {
        let mut suspects = self.suspects.iter();
        let Some(place) = suspects.position(|suspect| self.lanes[suspect.lane].may_start(self.now))
        else {
            return;
        };
        match self.workers.suspect_worker() {
            Some((worker, at)) if at.flights.is_empty() => {
                if let Some(suspect) = self.suspects.remove(place) {
                    self.send(worker, suspect, self.lanes[suspect.lane].reserve.limit);
                }
            }
            None if !self.is_alone_starting => {
                self.is_alone_starting = true;
                self.effects.push(Effect::StartAlone);
            }
            _ => {}
        }
    }

    /// A worker is gone; reports of its tasks no longer count. `begun` are the tasks that its slots had begun, `policy` is that
    /// of the test of the task that was stuck. Without blame it is nobody's fault.
    pub fn worker_lost(
        &mut self,
        worker: WorkerId,
        started: &[TaskId],
        blame: Option<Blame>,
        policy: Option<&Policy>,
    ) {
        let Some(lost) = self.workers.0.remove(&worker) else {
            return;
        };
        let has_died = blame == Some(Blame::Died);
        // What died alone is to blame, also if it died before it was noted as begun.
        let has_started = |task: &TaskId| started.contains(task) || (lost.is_alone && has_died);
        let ran = lost.flights.keys().filter(|task| has_started(task)).count();
        for (place, (task, mut flight)) in lost.flights.into_iter().enumerate() {
            match (blame, policy) {
                (Some(Blame::Stuck(stuck)), Some(policy)) if stuck == task => {
                    self.on_stuck((task, flight), policy);
                }
                _ if has_started(&task) => {
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
                    self.drop_unstarted(flight);
                }
            }
        }
    }

    /// Records an attempt that died with its worker, and lets it be made again unless it has killed too many.
    fn on_died(&mut self, (task, flight): (TaskId, SentTask), blame: Option<Blame>) {
        let trial = self.end_attempt(flight, flight.sent);
        if trial.suspect.is_some_and(|deaths| deaths >= MAX_DEATHS) {
            self.write(task, Some(LostReason::Crash), true, false);
            self.settle(true);
            return;
        }
        // Without blame, it is we who killed it.
        let reason = match blame.is_none() && self.is_interrupting() {
            true => LostReason::Stopped,
            false => LostReason::Lost,
        };
        self.put_back(trial);
        self.write(task, Some(reason), false, false);
    }

    fn on_stuck(&mut self, (task, flight): (TaskId, SentTask), policy: &Policy) {
        let mut trial = self.end_attempt(flight, flight.sent);
        trial.had_bad = true;
        trial.suspect = None;
        let is_final = !self.retry(trial, Some(Ending::STUCK), policy);
        self.write(task, Some(LostReason::Stuck), is_final, false);
        if is_final {
            self.settle(true);
        }
    }
}
