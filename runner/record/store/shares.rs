//! What the live sessions of a results root work with.
//!
//! Each has it in the text of its lock, which nobody believes once the lock is free: whoever is killed has given it back.

use super::root::Store;
use crate::{
    model::{MachineShare, RunStatus},
    record::{
        disk::{
            layout::{RunDir, RunId},
            lock,
        },
        error::RecordError,
        reading::run_entry::RunEntry,
    },
};

/// What sessions work with, each with its run.
pub type RunShares = Vec<(RunId, MachineShare)>;

impl Store {
    /// What every session works with that goes on now and says so, with its run.
    pub(crate) fn shares(&self) -> Result<RunShares, RecordError> {
        Ok(shares_of(&self.listed()?.runs))
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
