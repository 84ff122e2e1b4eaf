//! How a session ends before its trials do: drain, ask, interrupt, give up.

use std::time::Duration;

use crate::{
    model::{Attempt, Outcome, Reason, StopMode},
    plugin::Moment,
    run::{attempt::STOPPED, stop::Cause},
};

/// How long a guest may take to answer an interrupt before its attempt is recorded without it.
pub(super) const ANSWER_TIME: Duration = Duration::from_millis(50);

/// How long a stop may take before it is said what it waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stop that is under way.
pub(super) struct StopProgress {
    pub(super) mode: StopMode,
    pub(super) cause: Cause,
    step: StopStep,
    /// When it is said what it waits for; `None` once it was.
    show_at: Option<Moment>,
}

/// How far a stop has come.
#[derive(Clone, Copy)]
enum StopStep {
    /// What is in flight finishes under its own deadlines.
    Drain,
    /// Guests see `stop-requested` until then.
    Ask(Moment),
    /// Guests are interrupted; what has not answered by then is given up.
    Interrupt(Moment),
    /// Reports that were on their way may arrive until then.
    Leave(Moment),
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To say what the stop waits for.
    Show,
    /// To record what has not answered without it.
    GiveUp,
}

impl StopProgress {
    /// Begins a stop, or makes the one that is under way stronger; `None` if that is as strong already.
    pub(super) fn begin(
        old: Option<&Self>,
        mode: StopMode,
        cause: Cause,
        grace: Duration,
        now: Moment,
    ) -> Option<Self> {
        if old.is_some_and(|old| old.mode >= mode) {
            return None;
        }
        let step = match (mode, old.map(|old| old.step)) {
            (StopMode::Drain, _) => StopStep::Drain,
            (_, Some(step @ (StopStep::Interrupt(_) | StopStep::Leave(_)))) => step,
            (StopMode::Stop | StopMode::Cancel, Some(step @ StopStep::Ask(_))) => step,
            (StopMode::Stop | StopMode::Cancel, _) => StopStep::Ask(now + grace),
            (StopMode::Kill, _) => StopStep::Ask(now),
        };
        // Who makes haste does not change why the run stops; who cancels it does.
        let cause = match old {
            Some(old) if old.mode > StopMode::Drain && mode != StopMode::Cancel => {
                old.cause.clone()
            }
            _ => cause,
        };
        Some(Self {
            mode,
            cause,
            step,
            show_at: (mode != StopMode::Kill).then_some(now + PATIENCE),
        })
    }

    /// For how long guests are still asked to end by themselves; `None` while they need not.
    pub(super) fn grace_left(&self, now: Moment) -> Option<Duration> {
        match self.step {
            StopStep::Drain => None,
            StopStep::Ask(until) => Some(until.saturating_duration_since(now)),
            StopStep::Interrupt(_) | StopStep::Leave(_) => Some(Duration::ZERO),
        }
    }

    /// Goes on to the next step once its time has come, and says what is to be done for it.
    pub(super) fn advance(&mut self, now: Moment) -> Option<Due> {
        if self.show_at.is_some_and(|at| now >= at) {
            self.show_at = None;
            return Some(Due::Show);
        }
        match self.step {
            // Whoever executes interrupts guests at the end of the grace by its own clock.
            StopStep::Ask(until) if now >= until => {
                self.step = StopStep::Interrupt(now + ANSWER_TIME);
                None
            }
            StopStep::Interrupt(until) if now >= until => {
                self.step = StopStep::Leave(now + ANSWER_TIME);
                Some(Due::GiveUp)
            }
            StopStep::Drain | StopStep::Ask(_) | StopStep::Interrupt(_) | StopStep::Leave(_) => {
                None
            }
        }
    }

    /// When [`StopProgress::advance`] has something to do, where the run itself ends at `ends`.
    pub(super) fn next_bound(&self, ends: Moment) -> Moment {
        let bound = match self.step {
            StopStep::Drain => ends,
            StopStep::Ask(until) | StopStep::Interrupt(until) | StopStep::Leave(until) => until,
        };
        self.show_at.map_or(bound, |at| at.min(bound))
    }

    /// Tells whether guests are interrupted, so that nobody waits for what they would tear down.
    pub(super) fn is_interrupting(&self) -> bool {
        matches!(self.step, StopStep::Interrupt(_) | StopStep::Leave(_))
    }

    /// Tells whether everything has been waited for that can be.
    pub(super) fn has_left(&self, now: Moment) -> bool {
        matches!(self.step, StopStep::Leave(until) if now >= until)
    }

    /// Lets the row of an attempt that the stop has ended say who or what stopped it. `limit` is what sets the run's time.
    pub(super) fn name_cause(&self, attempt: &mut Attempt, limit: &str) {
        if let (Outcome::Stopped, Some(error)) = (attempt.outcome, &mut attempt.error)
            // What the machine lacked has ended it, or the loss of its executor, and not the stop.
            && error.fault.is_none()
            && error.code == STOPPED
        {
            let verb = match self.cause.reason {
                Reason::Cancelled => "cancelled",
                _ => "stopped",
            };
            error.message = self.cause.text(verb, limit);
        }
    }
}
