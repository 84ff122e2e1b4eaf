//! [`WarmInstances`]: the instances that one executor keeps between its attempts.
//!
//! An idle instance holds memory that the dispatcher, which admits attempts, does not see. So where instances are kept, each
//! executor has an equal share of the memory for its instances and its attempt. If idle instances were counted instead, there
//! would have to be a way to take one away from another executor.

use std::collections::VecDeque;

use crate::plugin::{Activity, Guard, Instance, Interrupt, Moment, TEARDOWN_TIME};

/// The idle instances of one executor, of each provider at most one.
pub(super) struct WarmInstances {
    /// The one that was used last is at the back.
    idle: VecDeque<Idle>,
    /// What they and the attempt that runs may hold together, in bytes.
    share: u64,
}

struct Idle {
    provider: usize,
    memory: u64,
    instance: Instance,
}

impl WarmInstances {
    /// Keeps nothing yet, and never more than fits into `share` bytes.
    pub(super) fn new(share: u64) -> Self {
        Self {
            idle: VecDeque::new(),
            share,
        }
    }

    /// Takes the instance of a provider, if there is one.
    pub(super) fn take(&mut self, provider: usize) -> Option<Instance> {
        let index = self
            .idle
            .iter()
            .position(|idle| idle.provider == provider)?;
        Some(self.idle.remove(index)?.instance)
    }

    /// Keeps what an attempt has left, which may take `memory` bytes.
    pub(super) fn keep(&mut self, provider: usize, memory: u64, instance: Option<Instance>) {
        self.idle.extend(instance.map(|instance| Idle {
            provider,
            memory,
            instance,
        }));
    }

    /// Tears down instances of other providers until an attempt that may take `memory` bytes has room beside the rest.
    pub(super) async fn make_room(&mut self, provider: usize, memory: u64, interrupt: &Interrupt) {
        let guard = guard(interrupt);
        while let Some(instance) = self.surplus(provider, memory) {
            instance.tear_down(&guard).await;
        }
    }

    /// Takes out the instance that was idle longest, if those of other providers leave too little room.
    fn surplus(&mut self, provider: usize, memory: u64) -> Option<Instance> {
        let is_other = |idle: &Idle| idle.provider != provider;
        let others = self.idle.iter().filter(|idle| is_other(idle));
        let held = others.fold(memory, |sum, idle| sum.saturating_add(idle.memory));
        if held <= self.share {
            return None;
        }
        let oldest = self.idle.iter().position(is_other)?;
        Some(self.idle.remove(oldest)?.instance)
    }

    /// Tears all of them down.
    pub(super) async fn tear_down(self, interrupt: &Interrupt) {
        let guard = guard(interrupt);
        for idle in self.idle {
            idle.instance.tear_down(&guard).await;
        }
    }
}

/// One bound for all that is torn down at a time: whoever waits for it waits no longer.
fn guard(interrupt: &Interrupt) -> Guard {
    Guard {
        deadline: Moment::now() + TEARDOWN_TIME,
        interrupt: interrupt.clone(),
        memory: None,
        activity: Activity::default(),
    }
}
