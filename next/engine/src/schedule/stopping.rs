//! How a session ends before its trials do. Every step has a bound, whatever guests and workers do.

use runner_model::{Micros, Reason, RunTime, row::Metric, units::plural};

use super::{
    effect::{Effect, LostReason, StopMode},
    schedule::Schedule,
    stop_state::{Step, StopState},
};

/// How long after the grace workers may take to report what they have interrupted.
const ANSWER_TIME: Micros = Micros(100_000);
/// How long last reports and deaths of killed workers are waited for.
const LATE_TIME: Micros = Micros(50_000);

impl Schedule {
    /// Begins a stop, or makes the one that is under way stronger; a weaker one changes nothing.
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
                // A person's last word on the run.
                if reason == Reason::Cancelled {
                    (old.reason, old.message) = (reason, message);
                }
                return;
            }
            Some(old) => {
                // A second request makes haste. Only the end of a drain is another reason.
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
                // What waits unbegun is not begun any more.
                let take_back = |worker| Effect::TakeBack { worker, keep: 0 };
                self.effects.extend(self.workers.busy().map(take_back));
            }
        }
        if mode > StopMode::Drain {
            let kill = mode == StopMode::Kill;
            self.effects.push(Effect::Stop { kill });
        }
    }

    /// Begins a pause, unless the session stops, or ends it. A stop ends it, too.
    pub fn pause(&mut self, is_paused: bool) {
        if is_paused != self.is_paused && !(is_paused && self.stop.is_some()) {
            self.is_paused = is_paused;
            self.effects.push(Effect::Pause(is_paused));
        }
    }

    /// Whether a stop was requested.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether guests are interrupted.
    pub(super) fn is_interrupting(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.mode > StopMode::Drain)
    }

    /// Does what is due: the session's timeout, and the next steps of a stop.
    pub(super) fn enforce_bounds(&mut self) {
        let now = self.now;
        if now >= self.settings.timeout() && self.left > 0 {
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

    /// When [`Self::enforce_bounds`] has something to do.
    pub(super) fn next_bound(&self) -> Option<RunTime> {
        let timeout = (self.left > 0).then_some(self.settings.timeout());
        match self.stop.as_ref().map(|stop| stop.next) {
            None | Some(Step::Wait) => timeout,
            Some(Step::Kill(at) | Step::GiveUp(at)) => Some(at),
            Some(Step::Done) => None,
        }
    }

    /// Records attempts of workers that say nothing and are not known to be dead. What they have not begun never happened.
    fn give_up(&mut self) {
        let mut started = Vec::new();
        for worker in self.workers.0.values_mut() {
            let running = worker.running();
            started.extend(std::mem::take(&mut worker.flights).into_keys().take(running));
        }
        for task in started {
            self.write(task, Some(LostReason::Stopped), false, false);
        }
    }

    /// Notes that a trial has its final row.
    pub(super) fn settle(&mut self, is_bad: bool) {
        self.left -= 1;
        self.bad += u64::from(is_bad);
        if is_bad && self.settings.most_bad().is_some_and(|most| self.bad >= most) {
            let trials = plural(self.bad, "trial", "trials");
            let message = format!("{trials} ended badly, and `fail_fast` allows no more");
            self.stop(StopMode::Drain, Reason::FailFast, Some(message));
        }
    }

    /// Takes what an attempt has measured from the budgets.
    pub(super) fn spend(&mut self, lane: usize, metrics: &[Metric<'_>]) {
        let spending = &mut self.settings.spending;
        if metrics.is_empty() || spending.is_empty() {
            return;
        }
        spending.add(lane as u16, metrics);
        self.lanes[lane].is_closed |= spending.is_used_up_by(lane as u16);
        if let Some(text) = spending.used_up() {
            self.stop(StopMode::Drain, Reason::Budget, Some(text));
        }
    }

    /// Whether all that is left is of providers that have used up budgets of their own.
    pub(super) fn is_used_up(&self) -> bool {
        let mut waiting = self.later.values().chain(&self.suspects);
        let mut lanes = self.lanes.iter().filter(|lane| lane.first().is_some());
        lanes.all(|lane| lane.is_closed) && waiting.all(|trial| self.lanes[trial.lane].is_closed)
    }
}
