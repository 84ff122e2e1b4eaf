//! Attempts that the runner's own machine could not carry: they settle nothing, are made again, and end the session where
//! that does not help.

use std::{collections::HashMap, time::Duration};

use super::{Dispatcher, InFlight};
use crate::{
    model::{Attempt, HostFault, Outcome, StopMode},
    plugin::Moment,
    run::{Cause, lane::Retry, retry::Later},
};

/// How many attempts in a row the machine may fail before the session ends.
const MAX_IN_A_ROW: u32 = 3;
/// How often a trial is attempted that it fails, while it carries others.
const MAX_TRIES: u32 = 3;
/// How long a trial waits for a machine that may have more to give then; longer each time.
const PAUSE: Duration = Duration::from_millis(200);

/// What the machine has lacked so far.
#[derive(Default)]
pub(super) struct Lacking {
    in_a_row: u32,
    /// By ordinal.
    tries: HashMap<u64, u32>,
    /// What it was last, in words.
    pub(super) last: Option<(HostFault, String)>,
}

impl Dispatcher<'_> {
    /// Looks whether the machine is what failed. If so the attempt settles nothing, and is made again or ends the session.
    pub(super) fn is_lacking(&mut self, flight: &InFlight, attempt: &mut Attempt) -> bool {
        let error = attempt.error.as_ref();
        let fault = error.and_then(|error| Some((error.fault?, error.message.clone())));
        let Some((fault, message)) = fault else {
            if attempt.outcome != Outcome::Stopped {
                self.lacking.in_a_row = 0;
            }
            return false;
        };
        // Not `error`: what a trial has come to when it passes afterwards is not flaky.
        attempt.outcome = Outcome::Stopped;
        self.lacking.last = Some((fault, message));
        self.lacking.in_a_row += 1;
        let tries = self.lacking.tries.entry(attempt.ordinal).or_default();
        *tries += 1;
        if *tries < MAX_TRIES {
            self.later.push(Later {
                at: Moment::now() + PAUSE * *tries,
                lane: flight.lane,
                retry: Retry {
                    ordinal: attempt.ordinal,
                    test: flight.test.clone(),
                    repeat: attempt.trial.repeat,
                    tries: flight.tries - 1,
                    trial_ends: flight.trial_ends,
                },
            });
        }
        true
    }

    /// Ends the session where the machine fails one attempt after the other.
    pub(super) fn give_up_lacking(&mut self) {
        if self.lacking.in_a_row < MAX_IN_A_ROW {
            return;
        }
        if let Some((fault, _)) = &self.lacking.last {
            let cause = Cause::of(fault.reason());
            self.begin_stop(StopMode::Drain, cause);
        }
    }
}
