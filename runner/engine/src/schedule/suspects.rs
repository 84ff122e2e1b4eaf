//! Deaths of workers, and the search for the trial that causes them.
//!
//! The death of a worker ends all attempts that it ran, and at most one of them caused it. So all become suspects and run
//! again, one at a time, in a separate worker. A trial whose worker dies twice while it runs alone is a crash. Without that,
//! the run would restart workers without end.

use runner_model::{Outcome, TaskId, WorkerId};

use super::effect::{Blame, Effect, LostReason};
use super::{
    lanes::LaneKind, schedule::Schedule, settings::Policy, timing::Ending, window::SentTask,
};

/// Deaths of workers that ran only this trial, after which the trial is a crash.
const MAX_DEATHS: u8 = 2;

impl Schedule {
    /// Sends a suspect to the worker for suspects, or starts that worker.
    pub(super) fn assign_suspect(&mut self) {
        let mut suspects = self.suspects.iter();
        let Some(place) = suspects.position(|suspect| self.lanes[suspect.lane].may_start(self.now))
        else {
            return;
        };
        let for_grader = self.lanes[self.suspects[place].lane].kind == LaneKind::Grades;
        match self.workers.suspect_worker(for_grader) {
            Some((worker, at)) if at.flights.is_empty() => {
                if let Some(suspect) = self.suspects.remove(place) {
                    self.send(worker, suspect, self.lanes[suspect.lane].reserve.limit);
                }
            }
            None if !self.is_alone_starting => {
                self.is_alone_starting = true;
                self.effects.push(Effect::StartAlone { for_grader });
            }
            _ => {}
        }
    }

    /// Removes a worker. Later reports of its tasks are ignored. `started` are the tasks in its slots, `policy` returns the
    /// policy of a task. Only [`Blame::Died`] makes the worker's trials suspects.
    pub fn worker_lost<'a>(
        &mut self,
        worker: WorkerId,
        started: &[TaskId],
        blame: Option<Blame>,
        policy: &dyn Fn(TaskId) -> Option<&'a Policy>,
    ) {
        let Some(lost) = self.workers.remove(worker) else {
            return;
        };
        let has_died = blame == Some(Blame::Died);
        // In a worker for suspects the task counts as started even if the worker died before it wrote the slot.
        let has_started = |task: &TaskId| started.contains(task) || (lost.is_alone && has_died);
        let ran = lost.flights.keys().filter(|task| has_started(task)).count();
        for (place, (task, mut flight)) in lost.flights.into_iter().enumerate() {
            let policy = policy(task);
            match (blame, policy) {
                (Some(Blame::Stuck(stuck)), Some(policy)) if stuck == task => {
                    self.on_stuck(task, flight, policy);
                }
                _ if has_started(&task) => {
                    if has_died {
                        let deaths = flight.trial.suspect.unwrap_or(0);
                        flight.trial.suspect = Some(deaths + u8::from(ran == 1));
                    }
                    self.on_died(task, flight, blame, policy);
                }
                _ => {
                    // The worker ran nothing, so it may have died while it started the first of its tasks.
                    if has_died && ran == 0 && place == 0 {
                        flight.trial.suspect.get_or_insert(0);
                    }
                    self.drop_unstarted(flight);
                }
            }
        }
    }

    /// Records an attempt that was lost with its worker. The trial runs again, or is a crash after [`MAX_DEATHS`].
    fn on_died(
        &mut self,
        task: TaskId,
        flight: SentTask,
        blame: Option<Blame>,
        policy: Option<&Policy>,
    ) {
        let trial = self.end_attempt(flight, flight.sent);
        if trial.suspect.is_some_and(|deaths| deaths >= MAX_DEATHS) {
            let next = policy.and_then(|policy| policy.next_grader);
            let is_unexpected = policy.is_none_or(|policy| policy.is_unexpected(Outcome::Error));
            self.end_badly(trial, task, Some(LostReason::Crash), next, is_unexpected);
            return;
        }
        // In a stop, a worker without blame is one that we killed.
        let reason = if blame.is_none() && self.is_interrupting() {
            LostReason::Stopped
        } else {
            LostReason::Lost
        };
        let continues = self.lanes[trial.lane].has_journal;
        self.interrupt(trial, task, Some(reason), flight.kind, continues);
    }

    fn on_stuck(&mut self, task: TaskId, flight: SentTask, policy: &Policy) {
        let mut trial = self.end_attempt(flight, flight.sent);
        trial.had_bad |= flight.kind == LaneKind::Attempts;
        trial.suspect = None;
        if self.retry(trial, Some(Ending::STUCK), policy) {
            self.write_retried(&trial, task, Some(LostReason::Stuck));
        } else {
            let is_unexpected = policy.is_unexpected(Outcome::Timeout);
            let next = policy.next_grader;
            self.end_badly(trial, task, Some(LostReason::Stuck), next, is_unexpected);
        }
    }
}
