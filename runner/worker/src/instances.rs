//! [`Instances`]: the instances that a slot keeps between its attempts.
//!
//! Idle instances hold memory that the coordinator does not count when it admits attempts. So each slot has an equal share
//! of the worker's memory for its instances and its attempt.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use runner_model::Micros;
use runner_sandbox::{Instance, cut};

use crate::provider::LoadedProvider;

/// Time for all instances that are torn down together.
pub const TEARDOWN: Micros = Micros(5_000_000);
/// Bytes of a line that a guest writes during teardown.
const MAX_LINE: usize = 2000;

/// The idle instances of one slot, at most one of each provider. The last used is at the back.
#[derive(Default)]
pub struct Instances(VecDeque<(Arc<LoadedProvider>, Instance)>);

impl Instances {
    /// Removes the instance of a provider.
    pub fn take(&mut self, provider: &Arc<LoadedProvider>) -> Option<Instance> {
        let index = self.0.iter().position(|(other, _)| Arc::ptr_eq(other, provider))?;
        Some(self.0.remove(index)?.1)
    }

    /// Adds the instance of a provider.
    pub fn keep(&mut self, provider: &Arc<LoadedProvider>, instance: Instance) {
        self.0.push_back((provider.clone(), instance));
    }

    /// Tears down the longest idle instances until the limits of the rest are within `limit` bytes, or all if it is `None`.
    /// Returns lines for the run's log.
    pub async fn tear_down(&mut self, limit: Option<u64>) -> Vec<String> {
        let started = Instant::now();
        let mut lines = Vec::new();
        loop {
            let held = self.0.iter().map(|(kept, _)| kept.settings.limits.memory);
            if limit.is_some_and(|limit| held.fold(0, u64::saturating_add) <= limit) {
                return lines;
            }
            let Some((provider, instance)) = self.0.pop_front() else {
                return lines;
            };
            let took = started.elapsed().as_micros() as u64;
            let left = Micros(TEARDOWN.0.saturating_sub(took));
            lines.extend(tear_down(&provider, instance, left).await);
        }
    }
}

/// Tears down an instance. Returns lines for the run's log.
pub async fn tear_down(
    provider: &LoadedProvider,
    instance: Instance,
    within: Micros,
) -> Vec<String> {
    let name = &provider.settings.name;
    let lines = instance.tear_down(within).await.into_iter();
    lines.map(|line| format!("teardown of provider `{name}`: {}", cut(MAX_LINE, line))).collect()
}
