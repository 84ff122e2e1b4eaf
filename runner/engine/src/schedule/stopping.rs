//! Stops, pauses, and the bounds that end a session early. A stop has a deadline that guests and workers cannot extend.

use runner_model::{Micros, Reason, RunTime, row::Metric, units::plural};

use super::effect::{Effect, LostReason, Step, StopMode, StopState};
use super::schedule::Schedule;

/// Time after the grace for workers to report interrupted attempts.
const ANSWER_TIME: Micros = Micros(100_000);
/// Time for the last reports and the exits of killed workers.
const LATE_TIME: Micros = Micros(50_000);

impl Schedule {
    /// Starts a stop or makes the current one stronger. A weaker mode is ignored.
    pub fn stop(&mut self, mode: StopMode, reason: Reason, message: Option<String>) {
        self.pause(false);
        let now = self.now;
        let next = match mode {
            StopMode::Drain => Step::Wait,
            StopMode::Stop => Step::Kill(now + self.settings.grace() + ANSWER_TIME),
            StopMode::Kill => Step::Kill(now + ANSWER_TIME),
        };
        match &mut self.stop {
            Some(old) if old.mode >= mode => {
                // Cancelling ends the run for good, so it overrides the reason of the stop.
                if reason == Reason::Cancelled {
                    (old.reason, old.message) = (reason, message);
                }
                return;
            }
            Some(old) => {
                // A second request only speeds the stop up, so the first reason stays. A drain might have finished all trials,
                // so the request that ends it is the reason.
                if old.mode == StopMode::Drain || reason == Reason::Cancelled {
                    (old.reason, old.message) = (reason, message);
                }
                old.mode = mode;
                old.next = match (old.next, next) {
                    (Step::Wait, next) => next,
                    (Step::Kill(before), Step::Kill(at)) => Step::Kill(before.min(at)),
                    (further, _) => further,
                };
            }
            None => {
                self.stop = Some(StopState { mode, reason, message, next });
                // Tasks that have not started must not start.
                self.effects
                    .extend(self.workers.busy().map(|worker| Effect::TakeBack { worker, keep: 0 }));
            }
        }
        if mode > StopMode::Drain {
            let kill = mode == StopMode::Kill;
            self.effects.push(Effect::Stop { kill });
        }
    }

    /// Starts or ends a pause. A stopping session is not paused.
    pub fn pause(&mut self, is_paused: bool) {
        if is_paused != self.is_paused && !(is_paused && self.stop.is_some()) {
            self.is_paused = is_paused;
            self.effects.push(Effect::Pause(is_paused));
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Returns the end of the grace period, after which running attempts are interrupted. `None` if no grace period runs.
    pub fn grace_end(&self) -> Option<RunTime> {
        let stop = self.stop.as_ref().filter(|stop| stop.mode == StopMode::Stop)?;
        let Step::Kill(at) = stop.next else { return None };
        Some(RunTime(at.0.saturating_sub(ANSWER_TIME.0)))
    }

    pub fn stop_reason(&self) -> Option<Reason> {
        self.stop.as_ref().map(|stop| stop.reason)
    }

    /// Returns the number of final rows of this session that `fail_fast` counts.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    pub(super) fn is_interrupting(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.mode > StopMode::Drain)
    }

    /// Applies the session's timeout and the next step of a stop if they are due.
    pub(super) fn enforce_bounds(&mut self) {
        let now = self.now;
        if now >= self.settings.timeout() && self.left + self.partial > 0 {
            self.stop(StopMode::Stop, Reason::Timeout, None);
        }
        let Some(stop) = &mut self.stop else { return };
        match stop.next {
            Step::Kill(at) if now >= at => {
                stop.next = Step::GiveUp(now + LATE_TIME);
                self.effects.extend(self.workers.busy().map(Effect::Kill));
            }
            Step::GiveUp(at) if now >= at => {
                stop.next = Step::Done;
                self.give_up();
            }
            _ => {}
        }
    }

    /// Returns the time at which [`Self::enforce_bounds`] is due.
    pub(super) fn next_bound(&self) -> Option<RunTime> {
        let timeout = (self.left + self.partial > 0).then_some(self.settings.timeout());
        match self.stop.as_ref().map(|stop| stop.next) {
            None | Some(Step::Wait) => timeout,
            Some(Step::Kill(at) | Step::GiveUp(at)) => Some(at),
            Some(Step::Done) => None,
        }
    }

    /// Records the attempts of workers that neither answered nor exited.
    fn give_up(&mut self) {
        for (task, lane) in self.workers.take_started() {
            if !self.lanes[lane].has_journal {
                self.write(task, Some(LostReason::Stopped), false, false);
            }
        }
    }

    /// Counts a final row.
    pub(super) fn settle(&mut self, is_unexpected: bool) {
        self.left -= 1;
        self.bad += u64::from(is_unexpected);
        if is_unexpected && self.settings.most_bad().is_some_and(|most| self.bad >= most) {
            let trials = plural(self.bad, "trial", "trials");
            let message = format!("{trials} did not pass, which is the limit of `fail_fast`");
            self.stop(StopMode::Drain, Reason::FailFast, Some(message));
        }
    }

    /// Adds the metrics of an attempt to the spending.
    pub(super) fn spend(&mut self, lane: usize, metrics: &[Metric<'_>], has_output: bool) {
        let spending = &mut self.settings.spending;
        if has_output {
            spending.count_output(lane as u16, metrics);
        }
        if metrics.is_empty() || spending.is_empty() {
            return;
        }
        spending.add(lane as u16, metrics);
        self.lanes[lane].is_closed |= spending.is_used_up_by(lane as u16);
        if let Some(text) = spending.used_up() {
            self.stop(StopMode::Drain, Reason::Budget, Some(text));
        }
    }

    /// Returns whether all remaining trials are of providers whose own budgets are used up.
    pub(super) fn is_used_up(&self) -> bool {
        let mut waiting = self.later.values().chain(&self.suspects);
        let mut lanes = self.lanes.iter().filter(|lane| lane.first().is_some());
        self.ungraded.is_empty()
            && lanes.all(|lane| lane.is_closed)
            && waiting.all(|trial| self.lanes[trial.lane].is_closed)
    }
}
