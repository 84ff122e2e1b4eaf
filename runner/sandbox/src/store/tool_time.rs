//! [`ToolTime`]: ends a tool of a deterministic caller at its `limits.time`, at a place that a later guest finds again.
//!
//! The tool's code counts fuel, and yields every [`INTERVAL`]. At the first yield after its time, the host increments the epoch.
//! Code checks fuel and epoch at the same places, fuel first, so the guest ends where it has yielded. Between calls and yields,
//! fuel is in a register; here the store has all that was used. If the guest was in a function of the host instead, it ends at
//! the first check after that, and the store has the fuel until the call. A later guest that gets as much fuel runs out of it at
//! the same check in both cases, because a call takes fuel, too.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use runner_model::RunTime;
use wasmtime::{AsContext, Store};

use crate::net::{Exchanges, RecordedEnd};

/// Fuel between two yields, about one unit per instruction.
const INTERVAL: u64 = 1_000_000;

/// The time of one call of a tool.
pub(crate) struct ToolTime {
    /// Number of the call among those of tools in the attempt, from 1.
    call: u32,
    exchanges: Exchanges,
    /// The end of the same call of an earlier guest. `None` if its time was not over.
    recorded: Option<RecordedEnd>,
    /// `None` if only the caller's deadline ends it.
    end: OnceLock<RunTime>,
    is_over: AtomicBool,
    ended: OnceLock<ToolEnd>,
}

/// How a tool has ended whose time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolEnd {
    /// In a sleep beyond its time, by the clock that it sees. Every guest does.
    Sleep,
    /// With this fuel used.
    Fuel(u64),
}

impl ToolTime {
    pub(crate) fn new(call: u32, exchanges: &Exchanges) -> Self {
        Self {
            call,
            exchanges: exchanges.clone(),
            recorded: exchanges.start_tool(call),
            end: OnceLock::new(),
            is_over: AtomicBool::new(false),
            ended: OnceLock::new(),
        }
    }

    /// Sets the end of the tool's own time.
    pub(crate) fn limit(&self, end: RunTime) {
        let _ = self.end.set(end);
    }

    /// Returns the end of the tool's own time. `None` if only the caller's deadline ends it.
    pub(crate) fn end(&self) -> Option<RunTime> {
        self.end.get().copied()
    }

    /// Returns whether the guest must end at its next check. Called while it does not run. A guest that only repeats an earlier
    /// one ends where that did, however long it takes.
    pub(crate) fn check(&self, now: RunTime) -> bool {
        let is_over = self.end().is_some_and(|end| now >= end)
            && self.recorded.is_none()
            && self.exchanges.is_live();
        if is_over {
            self.is_over.store(true, Relaxed);
        }
        is_over
    }

    /// Ends the guest at a check, if it must end there. `store` is its store.
    pub(crate) fn end_here(&self, store: impl AsContext) -> bool {
        let is_over = self.is_over.load(Relaxed);
        if is_over && let Ok(left) = store.as_context().get_fuel() {
            self.set_ended(ToolEnd::Fuel(u64::MAX - left));
        }
        is_over
    }

    /// Ends the guest, which has used up its fuel.
    pub(crate) fn end_without_fuel(&self) {
        if let Some(recorded) = &self.recorded {
            self.set_ended(ToolEnd::Fuel(recorded.fuel));
        }
    }

    pub(crate) fn set_ended(&self, end: ToolEnd) {
        let _ = self.ended.set(end);
    }

    /// Keeps the end of a tool whose time was over. Returns `false` if its caller's deadline has ended it instead.
    pub(crate) async fn keep_end(&self) -> bool {
        match (self.ended.get(), &self.recorded) {
            (None, _) => return false,
            (Some(ToolEnd::Sleep), _) => {}
            (Some(ToolEnd::Fuel(_)), Some(recorded)) => {
                self.exchanges.keep_end_again(recorded).await;
            }
            (Some(ToolEnd::Fuel(fuel)), None) => self.exchanges.keep_end(self.call, *fuel).await,
        }
        true
    }

    /// Never resolves if the tool, which has ended by itself, did not do so before.
    pub(crate) async fn check_end(&self) {
        if self.recorded.is_some() {
            let call = self.call;
            let difference = format!(
                "call {call} of a tool ended at its `limits.time` before, and now by itself"
            );
            self.exchanges.differ::<()>(difference).await;
        }
    }
}

/// Gives fuel to a store whose code counts it.
pub(crate) fn add_fuel<T: 'static>(store: &mut Store<T>, time: Option<&ToolTime>) {
    let recorded = time.and_then(|time| time.recorded.as_ref());
    let fuel = recorded.map_or(u64::MAX, |recorded| recorded.fuel);
    // These fail only for code without fuel.
    let _ = store.set_fuel(fuel);
    let _ = store.fuel_async_yield_interval(Some(INTERVAL));
}
