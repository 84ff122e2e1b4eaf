//! What to type next.

use std::path::Path;

use super::{format, quoted};
use crate::{
    model::{Reason, RunStatus},
    record::{RunId, RunReader, Store},
    run,
};

/// The command that goes on with the run in `dir`, if anything of it is left to do; `default_root` is the results root that
/// need not be named. Where budgets are used up it gives as much again.
pub fn resume_command(
    dir: &Path,
    id: &RunId,
    ended: (RunStatus, Option<Reason>),
    default_root: &Path,
) -> Option<String> {
    let mut command = resume_at_a_glance(dir, id, ended.0, default_root)?;
    if ended.1 == Some(Reason::Budget) {
        let reader = RunReader::open(dir).ok();
        let larger = reader.as_ref().and_then(run::larger_budgets);
        for budget in larger.unwrap_or_default() {
            command += &format!(" --budget {}", quoted(&budget));
        }
    }
    Some(command)
}

/// The same without a look at rows: it does not say how much larger a budget has to be.
pub(super) fn resume_at_a_glance(
    dir: &Path,
    id: &RunId,
    status: RunStatus,
    default_root: &Path,
) -> Option<String> {
    match status {
        RunStatus::Failed | RunStatus::Incomplete => {}
        RunStatus::Running | RunStatus::Completed | RunStatus::Cancelled => return None,
    }
    // Without its root a run cannot be gone on with either.
    let store = Store::existing_around(dir).ok()?;
    let ids = store.short_ids();
    let mut command = format!("runner resume --from {}", quoted(ids.of(id)));
    if store.root() != default_root {
        let root = store.root().to_string_lossy();
        command += &format!(" --results {}", quoted(&root));
    }
    Some(command)
}

/// Says how to go on with a run.
pub fn resume_line(command: &str) -> String {
    format!("resume with: {}", format::visible_line(command))
}
