//! How a session ends before its trials do: drain, ask, interrupt, give up.

use std::{io, time::Duration};

use tokio::sync::mpsc::UnboundedReceiver;

use super::{Dispatcher, Event, Message};
use crate::{
    model::{Attempt, Outcome, Reason, StopMode},
    plugin::{Moment, TEARDOWN_TIME, clock},
    run::{Cause, StopRequest, executor::given_up},
};

/// How long a guest may take to answer an interrupt before its attempt is recorded without it.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// How long a stop may take before it is said what it waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stop that is under way.
pub(super) struct Stop {
    pub(super) mode: StopMode,
    pub(super) cause: Cause,
    step: Step,
    /// When it is said what it waits for; `None` once it was.
    tell_at: Option<Moment>,
}

/// How far a stop has come.
#[derive(Clone, Copy)]
enum Step {
    /// What is in flight finishes under its own deadlines.
    Drain,
    /// Guests see `stop-requested` until then.
    Ask(Moment),
    /// Guests are interrupted; what has not answered by then is given up.
    Interrupt(Moment),
    /// Reports that were on their way may arrive until then.
    Leave(Moment),
}

impl Dispatcher<'_> {
    /// Stops as somebody asked; what is weaker than a stop that is under way changes nothing.
    pub(super) fn asked_to_stop(&mut self, request: &StopRequest) {
        self.begin_stop(request.mode, request.cause());
    }

    /// Lets the row of an attempt that a stop has ended say who or what stopped it.
    pub(super) fn name_cause(&self, attempt: &mut Attempt) {
        if let (Outcome::Stopped, Some(error), Some(stop)) =
            (attempt.outcome, &mut attempt.error, &self.stop)
            // What the machine lacked has ended it, and not the stop.
            && error.fault.is_none()
        {
            let verb = match stop.cause.reason {
                Reason::Cancelled => "cancelled",
                _ => "stopped",
            };
            error.message = stop.cause.text(verb, &self.rules.limit);
        }
    }

    /// Begins a stop, or makes the one that is under way stronger.
    pub(super) fn begin_stop(&mut self, mode: StopMode, cause: Cause) {
        if self.stop.as_ref().is_some_and(|stop| stop.mode >= mode) {
            return;
        }
        let now = Moment::now();
        let old = self.stop.take();
        let step = match (mode, old.as_ref().map(|stop| stop.step)) {
            (StopMode::Drain, _) => Step::Drain,
            (_, Some(step @ (Step::Interrupt(_) | Step::Leave(_)))) => step,
            (StopMode::Stop | StopMode::Cancel, Some(step @ Step::Ask(_))) => step,
            (StopMode::Stop | StopMode::Cancel, _) => Step::Ask(now + self.rules.grace),
            (StopMode::Kill, _) => Step::Ask(now),
        };
        if mode > StopMode::Drain {
            self.interrupt.request();
        }
        // Who makes haste does not change why the run stops; who cancels it does.
        let cause = match old {
            Some(old) if old.mode > StopMode::Drain && mode != StopMode::Cancel => old.cause,
            _ => cause,
        };
        let (reason, why) = (cause.reason, cause.text("asked", &self.rules.limit));
        self.stop = Some(Stop {
            mode,
            cause,
            step,
            tell_at: (mode != StopMode::Kill).then_some(now + PATIENCE),
        });
        self.take_back();
        (self.observe)(Event::Stopping {
            mode,
            reason,
            why: &why,
            in_flight: self.pool.begun().len(),
        });
    }

    /// Takes back what no executor has begun: it never happened.
    fn take_back(&mut self) {
        for task in self.pool.take_back() {
            self.state.release(task.key());
            self.release(task.ordinal);
        }
    }

    /// Does what the clock asks for: the run's deadline, and the next step of a stop.
    pub(super) fn enforce(&mut self, now: Moment) {
        if now >= self.rules.ends {
            self.begin_stop(StopMode::Stop, Cause::of(Reason::Timeout));
        }
        let Some(stop) = &mut self.stop else { return };
        if stop.tell_at.is_some_and(|at| now >= at) {
            stop.tell_at = None;
            let mode = stop.mode;
            self.tell_what_is_awaited(mode, now);
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
    pub(super) fn next_bound(&self) -> Option<Moment> {
        let Some(stop) = &self.stop else {
            return Some(self.rules.ends);
        };
        let bound = match stop.step {
            Step::Drain => self.rules.ends,
            Step::Ask(until) | Step::Interrupt(until) | Step::Leave(until) => until,
        };
        Some(stop.tell_at.map_or(bound, |at| at.min(bound)))
    }

    fn tell_what_is_awaited(&mut self, mode: StopMode, now: Moment) {
        let begun = self.pool.begun();
        let running: Vec<_> = begun.iter().map(|begun| begun.running(now)).collect();
        (self.observe)(Event::Awaiting {
            mode,
            running: &running,
            rows: self.unwritten.rows,
        });
    }

    /// Records the attempts of guests that cannot be interrupted, such as one inside a long `memory.fill`.
    fn give_up(&mut self, now: Moment) {
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

    /// Lets executors tear down the instances that they keep, for as long as a stop lets guests go on.
    pub(super) async fn close_pool(&mut self, inbox: &mut UnboundedReceiver<Message>) {
        self.pool.close();
        let ends = Moment::now() + TEARDOWN_TIME + ANSWER_TIME;
        loop {
            let now = Moment::now();
            self.enforce(now);
            if self.interrupt.is_now() || now >= ends {
                return;
            }
            let wake = self.next_bound().map_or(ends, |bound| bound.min(ends));
            tokio::select! {
                biased;
                () = self.pool.closed() => return,
                Some(message) = inbox.recv() => self.receive(message),
                () = clock::sleep_until(wake) => {}
            }
        }
    }

    /// Tells whether nothing more can happen that this session waits for.
    pub(super) fn is_over(&mut self, now: Moment) -> io::Result<bool> {
        if self.unwritten.rows > 0 && self.storage.is_none() {
            return Ok(false);
        }
        if let Some(stop) = &self.stop {
            let has_left = matches!(stop.step, Step::Leave(until) if now >= until);
            return Ok(self.in_flight.is_empty() || has_left);
        }
        let mut has_more = !self.in_flight.is_empty()
            || !self.later.is_empty()
            || !self.suspects.waiting.is_empty();
        for lane in &mut self.lanes {
            has_more = has_more || lane.has_more(&self.state)?;
        }
        Ok(!has_more)
    }
}
