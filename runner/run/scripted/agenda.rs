//! [`Agenda`]: a virtual clock, and what happens when.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    model::StopMode,
    record::AttemptKey,
    run::seam::{ExecutorId, FromExecutors, ToExecutor},
};

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Happening {
    /// An executor's message arrives.
    Heard(FromExecutors),
    /// The dispatcher's message arrives.
    Told(ExecutorId, ToExecutor),
    /// An executor is started.
    Joins(ExecutorId),
    /// An executor is gone, in the way that its script says.
    Leaves(ExecutorId),
    /// An attempt comes to what its script says.
    Ends(ExecutorId, AttemptKey),
    /// What was said to be lost is answered nevertheless.
    Late(ExecutorId, AttemptKey),
    /// Guests are interrupted.
    Interrupts(ExecutorId),
    /// The disk has what it was given.
    Synced,
    /// Somebody asks for a stop.
    Asked(StopMode),
}

/// What will happen. What happens at the same time happens in the order in which it was planned.
#[derive(Default)]
pub(super) struct Agenda {
    /// How much virtual time has passed.
    pub(super) now: Duration,
    coming: BTreeMap<(Duration, u64), Happening>,
    planned: u64,
}

impl Agenda {
    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(super) fn at(&mut self, at: Duration, happening: Happening) {
        self.coming.insert((at, self.planned), happening);
        self.planned += 1;
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Duration> {
        let ((at, _), _) = self.coming.first_key_value()?;
        Some(*at)
    }

    /// Takes out what happens now, if anything does.
    pub(super) fn due(&mut self) -> Option<Happening> {
        if self.next()? > self.now {
            return None;
        }
        Some(self.coming.pop_first()?.1)
    }
}
