//! What the live sessions of a results root work with.
//!
//! Each has it in the text of its lock, which nobody believes once the lock is free: whoever is killed has given it back.

use jiff::Timestamp;

use super::root::Store;
use crate::{
    model::{MachineShare, RunStatus, chain},
    record::{
        disk::{
            layout::{RunDir, RunId},
            lock::{self, Busy, Lock},
        },
        error::RecordError,
        reading::run_entry::RunEntry,
    },
};

/// The turn to look at what others work with, and to say what one works with oneself: of two that begin at the same moment one
/// sees the other. It is over when this is dropped.
#[derive(Debug)]
pub struct SharesTurn(
    #[expect(dead_code, reason = "it is held for as long as the turn lasts")] Option<Lock>,
);

/// What sessions work with, each with its run.
pub type RunShares = Vec<(RunId, MachineShare)>;

impl Store {
    /// Waits for a turn. Whoever keeps the others waiting for longer than a beginning takes keeps nobody from beginning.
    pub(crate) fn shares_turn(&self, now: Timestamp) -> SharesTurn {
        let lock = Lock::exclude(&self.root.shares_lock(), Busy::Refuse, now);
        let lock = lock.inspect_err(|error| {
            tracing::warn!(
                "what other runs work with may not be seen: {}",
                chain(error)
            );
        });
        SharesTurn(lock.ok())
    }

    /// What every session works with that goes on now and says so, with its run.
    pub(crate) fn shares(&self) -> Result<RunShares, RecordError> {
        Ok(shares_of(&self.said_to_run()?))
    }
}

/// The same of runs that were just listed.
pub(in crate::record) fn shares_of(runs: &[RunEntry]) -> RunShares {
    let running = runs.iter().filter(|run| run.status == RunStatus::Running);
    running
        .filter_map(|run| {
            let holder = lock::holder(&RunDir::new(&run.dir).lock())?;
            Some((run.id.clone(), holder.share?))
        })
        .collect()
}
