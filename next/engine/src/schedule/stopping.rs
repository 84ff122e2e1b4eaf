//! How a session ends before its trials do. Every step has a bound, whatever guests and workers do.

use runner_model::{Micros, Reason, RunTime};

use super::{Effect, LostReason, Schedule, StopMode};

/// How long after the grace workers may take to report what they have interrupted.
const ANSWER_TIME: Micros = Micros(100_000);
/// How long last reports and deaths of killed workers are waited for.
const LATE_TIME: Micros = Micros(50_000);

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct Stopping {
    mode: StopMode,
    pub(super) reason: Reason,
    pub(super) message: Option<String>,
    next: Step,
}

/// What a stop does next, unless everything is reported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: what runs may finish.
    Wait,
    /// Kill workers that have not answered.
    Kill(RunTime),
    /// Record what they had begun without them.
    GiveUp(RunTime),
    /// Nothing: nothing is in flight.
    Done,
}

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
                self.stop = Some(Stopping { mode, reason, message, next });
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
        let mut begun = Vec::new();
        for worker in self.workers.0.values_mut() {
            let running = worker.running();
            begun.extend(std::mem::take(&mut worker.flights).into_keys().take(running));
        }
        for task in begun {
            self.write(task, Some(LostReason::Stopped), false, false);
        }
    }
}
