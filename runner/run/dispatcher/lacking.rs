//! Attempts that the runner's own machine could not carry: they settle nothing, are made again, and end the session where
//! that does not help.

use std::{collections::HashMap, time::Duration};

use crate::model::{Attempt, HostFault, Outcome};

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

/// What becomes of an attempt that the machine has failed.
pub(super) struct Failed {
    /// After how long its trial is made again, if it is.
    pub(super) again_after: Option<Duration>,
}

impl Lacking {
    /// Looks whether the machine is what failed. If so, the attempt settles nothing.
    pub(super) fn look(&mut self, attempt: &mut Attempt) -> Option<Failed> {
        let error = attempt.error.as_ref();
        let fault = error.and_then(|error| Some((error.fault?, error.message.clone())));
        if fault.is_none() {
            if attempt.outcome != Outcome::Stopped {
                self.in_a_row = 0;
            }
            return None;
        }
        // Not `error`: what a trial has come to when it passes afterwards is not flaky.
        attempt.outcome = Outcome::Stopped;
        self.last = fault;
        self.in_a_row += 1;
        let tries = self.tries.entry(attempt.ordinal).or_default();
        *tries += 1;
        Some(Failed {
            again_after: (*tries < MAX_TRIES).then_some(PAUSE * *tries),
        })
    }

    /// What ends the session where the machine fails one attempt after the other.
    pub(super) fn hopeless(&self) -> Option<HostFault> {
        let (fault, _) = self.last.as_ref()?;
        (self.in_a_row >= MAX_IN_A_ROW).then_some(*fault)
    }
}
