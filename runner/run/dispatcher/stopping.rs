//! How a session ends before its trials do: drain, ask, interrupt, give up.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Dispatcher, Event};
use crate::{
    model::{Reason, StopSignal},
    run::executor::given_up,
};

/// How long a guest may take to answer an interrupt before its attempt is recorded without it.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// A stop that is under way.
pub(super) struct Stop {
    pub(super) reason: Reason,
    pub(super) signal: Option<StopSignal>,
    step: Step,
}

/// How far a stop has come.
#[derive(Clone, Copy)]
enum Step {
    /// What is in flight finishes under its own deadlines.
    Drain,
    /// Guests see `stop-requested` until then.
    Ask(Instant),
    /// Guests are interrupted; what has not answered by then is given up.
    Interrupt(Instant),
    /// Reports that were on their way may arrive until then.
    Leave(Instant),
}

impl Dispatcher<'_> {
    /// Lets what is in flight finish, and assigns nothing more.
    pub(super) fn begin_drain(&mut self, reason: Reason) {
        if self.stop.is_none() {
            self.stop_by(reason, None, Step::Drain);
        }
    }

    /// Stops: nothing more is assigned, guests are asked to end and, after the grace, interrupted.
    pub(super) fn begin_stop(&mut self, reason: Reason, signal: Option<StopSignal>) {
        let is_stopping = match &self.stop {
            None => false,
            Some(stop) => !matches!(stop.step, Step::Drain),
        };
        if is_stopping {
            return;
        }
        self.interrupt.request();
        let now = Instant::now();
        let until = now + self.rules.grace;
        self.stop_by(reason, signal, Step::Ask(until));
    }

    fn stop_by(&mut self, reason: Reason, signal: Option<StopSignal>, step: Step) {
        self.stop = Some(Stop {
            reason,
            signal,
            step,
        });
        // What no executor has begun never happened.
        for task in self.pool.take_back() {
            self.state.release(task.key());
            self.release(task.ordinal);
        }
        (self.observe)(Event::Stopping {
            reason,
            in_flight: self.in_flight.len(),
        });
    }

    /// Does what the clock asks for: the run's deadline, and the next step of a stop.
    pub(super) fn enforce(&mut self, now: Instant) {
        if now >= self.rules.ends {
            self.begin_stop(Reason::Timeout, None);
        }
        let Some(stop) = &mut self.stop else { return };
        match stop.step {
            Step::Ask(until) if now >= until => {
                self.interrupt.now();
                stop.step = Step::Interrupt(now + ANSWER_TIME);
            }
            Step::Interrupt(until) if now >= until => {
                stop.step = Step::Leave(now + ANSWER_TIME);
                self.give_up(now);
            }
            Step::Drain | Step::Ask(_) | Step::Interrupt(_) | Step::Leave(_) => {}
        }
    }

    /// When [`Dispatcher::enforce`] has something to do.
    pub(super) fn next_bound(&self) -> Option<Instant> {
        Some(match self.stop.as_ref().map(|stop| stop.step) {
            None | Some(Step::Drain) => self.rules.ends,
            Some(Step::Ask(until) | Step::Interrupt(until) | Step::Leave(until)) => until,
        })
    }

    /// Records the attempts of guests that cannot be interrupted, such as one inside a long `memory.fill`.
    fn give_up(&mut self, now: Instant) {
        for begun in self.pool.begun() {
            let flight = self.in_flight.get(&begun.ordinal);
            if flight.is_none_or(|flight| flight.number != begun.number) {
                continue;
            }
            if let Some(flight) = self.release(begun.ordinal) {
                let attempt = given_up(&begun, flight.trial.clone(), now);
                self.enter(&flight, attempt, false);
            }
        }
    }

    /// Tells whether nothing more can happen that this session waits for.
    pub(super) fn is_over(&mut self, now: Instant) -> io::Result<bool> {
        if self.unwritten.rows > 0 && self.storage.is_none() {
            return Ok(false);
        }
        if let Some(stop) = &self.stop {
            let has_left = matches!(stop.step, Step::Leave(until) if now >= until);
            return Ok(self.in_flight.is_empty() || has_left);
        }
        let mut has_more = !self.in_flight.is_empty() || !self.later.is_empty();
        for lane in &mut self.lanes {
            has_more = has_more || lane.has_more(&self.state)?;
        }
        Ok(!has_more)
    }
}
