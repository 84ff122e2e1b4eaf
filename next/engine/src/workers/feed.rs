//! [`PoolFeed`]: the inputs of a session or probe, with those of workers handled by the pool.

use std::{
    collections::VecDeque,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use super::{
    events::PoolEvent,
    pool::{Pool, PrestartedWorker, Supplies},
};
use crate::input::Input;

/// A pool and the inputs that it shares with its owner.
pub(crate) struct PoolFeed {
    pub(crate) pool: Pool,
    inputs: Receiver<Input>,
    events: VecDeque<PoolEvent>,
    last_input: Instant,
}

/// What is left for the owner of a [`PoolFeed`].
pub(crate) enum Next {
    Pool(PoolEvent),
    /// Any input but those of workers.
    Input(Input),
}

impl PoolFeed {
    /// Makes a pool without workers; see [`Pool::start`].
    ///
    /// # Errors
    ///
    /// The temporary folder cannot be written.
    pub(crate) fn new(prestarted: PrestartedWorker, supplies: Supplies) -> std::io::Result<Self> {
        let (pool, inputs) = Pool::new(prestarted, supplies)?;
        Ok(Self { pool, inputs, events: VecDeque::new(), last_input: Instant::now() })
    }

    /// Waits for one input. `None` if none came within `wait`, or if the pool handled it and the owner has nothing to do.
    pub(crate) fn next(&mut self, wait: Duration) -> Option<Next> {
        if self.events.is_empty() {
            let input = self.inputs.recv_timeout(wait).ok()?;
            self.last_input = Instant::now();
            match input {
                Input::Link(worker, event) => self.pool.receive(worker, event, &mut self.events),
                Input::Supplied(supply, result) => {
                    self.pool.supplied(supply, result, &mut self.events);
                }
                input => return Some(Next::Input(input)),
            }
        }
        self.events.pop_front().map(Next::Pool)
    }

    /// Time since the last input.
    pub(crate) fn silence(&self) -> Duration {
        self.last_input.elapsed()
    }

    /// Waits until all workers have exited, at most for `time`. A signal ends the wait. Returns their last events.
    pub(crate) fn wait_for_exits(&mut self, time: Duration) -> VecDeque<PoolEvent> {
        let (until, mut events) = (Instant::now() + time, VecDeque::new());
        while !self.pool.is_empty() {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(Next::Pool(event)) => events.push_back(event),
                Some(Next::Input(Input::Signal(_))) => break,
                Some(Next::Input(_)) => {}
                None if Instant::now() >= until => break,
                None => {}
            }
        }
        events
    }
}
