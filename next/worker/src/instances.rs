//! [`Instances`]: the instances that a slot keeps between its attempts.
//!
//! An idle instance holds memory that the coordinator, which admits attempts, does not see. So each slot has an equal share
//! of the worker's memory for its instances and its attempt.

use std::{collections::VecDeque, rc::Rc, time::Instant};

use runner_model::Micros;
use runner_sandbox::Instance;

use crate::{provider::Provider, report::beginning};

/// How long all that is torn down at a time may take.
pub const TEARDOWN: Micros = Micros(5_000_000);
/// How many bytes there are of a line that a guest says then.
pub const MAX_LINE: usize = 2000;

/// The idle instances of one slot, of each provider at most one.
pub struct Instances {
    /// The one that was used last is at the back.
    idle: VecDeque<Idle>,
    /// What they and the attempt that runs may hold together, in bytes.
    share: u64,
}

/// An instance that waits for another call.
pub struct Idle {
    /// The provider's.
    pub index: u16,
    pub provider: Rc<Provider>,
    pub instance: Instance,
}

impl Instances {
    /// Keeps nothing yet, and never more than fits into `share` bytes.
    pub fn new(share: u64) -> Self {
        Self {
            idle: VecDeque::new(),
            share,
        }
    }

    /// Takes the instance of a provider, if there is one.
    pub fn take(&mut self, index: u16) -> Option<Instance> {
        let mut idle = self.idle.iter();
        let place = idle.position(|idle| idle.index == index)?;
        Some(self.idle.remove(place)?.instance)
    }

    pub fn keep(&mut self, idle: Idle) {
        self.idle.push_back(idle);
    }

    /// Takes out what is idle longest of other providers, if an attempt of this one that may hold `memory` bytes has no room
    /// beside the rest.
    pub fn surplus(&mut self, index: u16, memory: u64) -> Option<Idle> {
        let is_other = |idle: &Idle| idle.index != index;
        let others = self.idle.iter().filter(|idle| is_other(idle));
        let others = others.map(|idle| idle.provider.settings.limits.memory);
        let held = others.fold(memory, u64::saturating_add);
        let oldest = self.idle.iter().position(is_other)?;
        (held > self.share).then(|| self.idle.remove(oldest))?
    }

    /// Tears all of them down, and returns lines for the run's log.
    pub async fn tear_down(&mut self) -> Vec<String> {
        let began = Instant::now();
        let mut lines = Vec::new();
        while let Some(idle) = self.idle.pop_front() {
            let left = TEARDOWN
                .0
                .saturating_sub(began.elapsed().as_micros() as u64);
            lines.extend(idle.tear_down(Micros(left)).await);
        }
        lines
    }
}

impl Idle {
    /// Tears it down, and returns lines for the run's log.
    pub async fn tear_down(self, within: Micros) -> impl Iterator<Item = String> {
        let lines = self.instance.tear_down(within).await;
        lines.into_iter().map(move |line| {
            let line = beginning(&line, MAX_LINE);
            format!(
                "teardown of provider `{}`: {line}",
                self.provider.settings.name
            )
        })
    }
}
