//! What a dispatcher does to end a session before its trials do, and when.

use super::{
    Dispatcher, Effects,
    stopping::{Due, StopProgress},
};
use crate::{
    model::{Reason, StopMode},
    plugin::Moment,
    run::{attempt, clock::Now, event::Event, seam::ToExecutor, stop::Cause},
};

impl<E: Effects> Dispatcher<E> {
    /// Begins a stop, or makes the one that is under way stronger; what is weaker changes nothing.
    pub(super) fn begin_stop(&mut self, now: Now, mode: StopMode, cause: Cause) {
        let old = self.stop.as_ref();
        let Some(stop) = StopProgress::begin(old, mode, cause, self.rules.grace, now.at) else {
            return;
        };
        // Nobody is waited for any more.
        self.forsaken_until = None;
        for who in self.executors() {
            self.out.send(who, ToExecutor::TakeBack);
            if let Some(grace) = stop.grace_left(now.at) {
                self.out.send(who, ToExecutor::Stop { grace });
            }
        }
        self.out.show(Event::Stopping {
            mode,
            reason: stop.cause.reason,
            why: &stop.cause.text("asked", &self.rules.limit),
            in_flight: self.running(),
        });
        self.stop = Some(stop);
    }

    /// Does what the clock asks for: the run's deadline, and the next steps of a stop.
    pub(super) fn enforce(&mut self, now: Now) {
        if now.at >= self.rules.ends {
            self.begin_stop(now, StopMode::Stop, Cause::of(Reason::Timeout));
        }
        let Some(stop) = &mut self.stop else { return };
        match stop.advance(now.at) {
            Some(Due::Show) => {
                let mode = stop.mode;
                self.show_what_is_awaited(now, mode);
            }
            Some(Due::GiveUp) => self.record_unanswered(now),
            None => {}
        }
    }

    /// When [`Dispatcher::enforce`] has something to do.
    pub(super) fn next_bound(&self) -> Moment {
        let stop = self.stop.as_ref();
        let bound = stop.map_or(self.rules.ends, |stop| stop.next_bound(self.rules.ends));
        self.forsaken_until.map_or(bound, |until| until.min(bound))
    }

    /// Records the attempts of guests that cannot be interrupted, such as one inside a long `memory.fill`. What nobody is
    /// known to have begun never happened.
    fn record_unanswered(&mut self, now: Now) {
        self.forget_graders();
        for (who, key) in self.work.flights.keys() {
            let Some(flight) = self.work.release(who, key) else {
                continue;
            };
            match flight.begun {
                Some(begun) => {
                    let of = self.identity(flight.lane, &flight.trial, key.number, begun);
                    let attempt = attempt::given_up(of, begun, now);
                    self.enter(now, flight.lane, &flight.trial, attempt, false);
                }
                None => drop(self.work.state.release(key)),
            }
        }
    }
}
