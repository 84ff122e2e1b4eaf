//! What whoever looks after a results root does again and again: [`tend`] once a minute, [`retain`] once an hour.

use jiff::Timestamp;

use super::{
    Cleaned, Host, Pruned, cleanup, notify_due, notifying::notify_long, prune, retention_policy,
    root_settings,
};
use crate::{
    error::Error,
    record::Store,
    view::{NotifyReport, UpkeepMode},
};

/// What was done for a results root.
#[derive(Debug)]
pub struct Tended {
    /// The runs whose processes had died, and that have the status now that is true of them.
    pub swept: Cleaned,
    /// Who was told of the ends of runs, and of runs that go on for long.
    pub told: Vec<NotifyReport>,
}

/// Gives runs whose processes have died the status that is true of them, and tells of ends of which somebody has still to be
/// told, and of runs that go on for too long; blocks for as long as the latter takes.
///
/// # Errors
///
/// Fails if the results root cannot be read, or its settings are wrong.
pub fn tend(store: &Store, host: &Host) -> Result<Tended, Error> {
    let now = (host.now)();
    let swept = cleanup(store, std::time::Duration::ZERO, UpkeepMode::Real, now);
    let swept = swept.map_err(Error::record)?;
    let mut told = notify_due(store, host)?;
    told.extend(notify_long(store, host)?);
    Ok(Tended { swept, told })
}

/// Deletes what the retention of a results root names, or says what would be deleted; `None` where its settings say nothing
/// of it.
///
/// # Errors
///
/// Fails if the results root cannot be read, or its settings are wrong.
pub fn retain(store: &Store, mode: UpkeepMode, now: Timestamp) -> Result<Option<Pruned>, Error> {
    let policy = retention_policy(&root_settings(store.root())?);
    let pruned = policy.map(|policy| prune(store, &policy, mode, now));
    pruned.transpose().map_err(Error::record)
}
