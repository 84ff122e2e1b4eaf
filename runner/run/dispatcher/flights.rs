//! [`Flights`]: the attempts that are assigned and not answered, and which of them are known to be begun.

use std::collections::HashMap;

use super::lane::Trial;
use crate::{
    plugin::Moment,
    record::AttemptKey,
    run::{clock::Now, seam::ExecutorId},
};

/// An attempt that is assigned and not answered.
pub(super) struct Flight {
    pub(super) number: u32,
    /// Who has it.
    pub(super) who: ExecutorId,
    pub(super) lane: usize,
    /// What is reserved for it, in bytes.
    pub(super) memory: u64,
    pub(super) trial: Trial,
    /// When it is known to have been begun.
    pub(super) begun: Option<Now>,
}

/// All of them, by ordinal: a trial has one at a time.
#[derive(Default)]
pub(super) struct Flights {
    by_ordinal: HashMap<u64, Flight>,
    begun: usize,
}

impl Flight {
    pub(super) fn key(&self) -> AttemptKey {
        AttemptKey {
            ordinal: self.trial.ordinal,
            number: self.number,
        }
    }
}

impl Flights {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_ordinal.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_ordinal.is_empty()
    }

    /// How many of them are being executed.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Notes that an attempt is assigned.
    pub(super) fn add(&mut self, flight: Flight) {
        self.begun += usize::from(flight.begun.is_some());
        self.by_ordinal.insert(flight.trial.ordinal, flight);
    }

    /// Notes that `who` has begun an attempt; one that it does not have is nobody's business.
    pub(super) fn begin(&mut self, who: ExecutorId, key: AttemptKey, now: Now) {
        if let Some(flight) = self.by_ordinal.get_mut(&key.ordinal)
            && (flight.who, flight.number) == (who, key.number)
            && flight.begun.is_none()
        {
            flight.begun = Some(now);
            self.begun += 1;
        }
    }

    /// Takes out an attempt that `who` has; `None` if it does not have it any more, or never had.
    pub(super) fn remove(&mut self, who: ExecutorId, key: AttemptKey) -> Option<Flight> {
        let flight = self.by_ordinal.get(&key.ordinal)?;
        if (flight.who, flight.number) != (who, key.number) {
            return None;
        }
        let flight = self.by_ordinal.remove(&key.ordinal)?;
        self.begun -= usize::from(flight.begun.is_some());
        Some(flight)
    }

    /// What an executor has.
    pub(super) fn of(&self, who: ExecutorId) -> Vec<AttemptKey> {
        let flights = self.by_ordinal.values();
        let mut keys: Vec<_> = flights
            .filter(|flight| flight.who == who)
            .map(Flight::key)
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Who has what.
    pub(super) fn keys(&self) -> Vec<(ExecutorId, AttemptKey)> {
        let flights = self.by_ordinal.values();
        let mut keys: Vec<_> = flights.map(|flight| (flight.who, flight.key())).collect();
        keys.sort_unstable();
        keys
    }

    /// What is being executed and began first.
    pub(super) fn oldest(&self) -> Option<(&Flight, Now)> {
        self.executed().min_by_key(order)
    }

    /// What is being executed; the one that began first is the first.
    pub(super) fn running(&self) -> Vec<(&Flight, Now)> {
        let mut running: Vec<_> = self.executed().collect();
        running.sort_unstable_by_key(order);
        running
    }

    fn executed(&self) -> impl Iterator<Item = (&Flight, Now)> {
        let flights = self.by_ordinal.values();
        flights.filter_map(|flight| Some((flight, flight.begun?)))
    }
}

/// By when they began; what began together stands in the plan's order.
fn order((flight, begun): &(&Flight, Now)) -> (Moment, u64) {
    (begun.at, flight.trial.ordinal)
}
