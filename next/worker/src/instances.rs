//! [`Instances`]: the instances that a slot keeps between its attempts.
//!
//! An idle instance holds memory that the coordinator, which admits attempts, does not see. So each slot has an equal share
//! of the worker's memory for its instances and its attempt.

use std::{collections::VecDeque, rc::Rc, time::Instant};

use runner_model::Micros;
use runner_sandbox::{Instance, cut};

use crate::provider::LoadedProvider;

/// How long all that is torn down at a time may take.
pub const TEARDOWN: Micros = Micros(5_000_000);
/// How many bytes there are of a line that a guest says then.
const MAX_LINE: usize = 2000;

/// The idle instances of one slot, of each provider at most one. The one that was used last is at the back.
#[derive(Default)]
pub struct Instances(VecDeque<(Rc<LoadedProvider>, Instance)>);

impl Instances {
    /// Takes the instance of a provider, if there is one.
    pub fn take(&mut self, provider: &Rc<LoadedProvider>) -> Option<Instance> {
        let mut idle = self.0.iter();
        let place = idle.position(|(other, _)| Rc::ptr_eq(other, provider))?;
        Some(self.0.remove(place)?.1)
    }

    /// Keeps the instance of a provider.
    pub fn keep(&mut self, provider: &Rc<LoadedProvider>, instance: Instance) {
        self.0.push_back((provider.clone(), instance));
    }

    /// Tears down what is idle longest until the rest may hold no more than `most` bytes; all with `None`. Returns lines for
    /// the run's log.
    pub async fn tear_down(&mut self, most: Option<u64>) -> Vec<String> {
        let began = Instant::now();
        let mut lines = Vec::new();
        loop {
            let held = self.0.iter().map(|(kept, _)| kept.settings.limits.memory);
            if most.is_some_and(|most| held.fold(0, u64::saturating_add) <= most) {
                return lines;
            }
            let Some((provider, instance)) = self.0.pop_front() else {
                return lines;
            };
            let took = began.elapsed().as_micros() as u64;
            let left = Micros(TEARDOWN.0.saturating_sub(took));
            lines.extend(tear_down(&provider, instance, left).await);
        }
    }
}

/// Tears an instance down, and returns lines for the run's log.
pub async fn tear_down(
    provider: &LoadedProvider,
    instance: Instance,
    within: Micros,
) -> Vec<String> {
    let name = &provider.settings.name;
    let lines = instance.tear_down(within).await.into_iter();
    lines
        .map(|line| {
            let line = cut(MAX_LINE, line);
            format!("teardown of provider `{name}`: {line}")
        })
        .collect()
}
