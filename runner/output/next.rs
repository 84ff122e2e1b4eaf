//! What to type next.

use std::path::Path;

use super::{format, quoted};
use crate::{
    model::RunStatus,
    record::{RunId, Store},
};

/// The command that goes on with the run in `dir`, if anything of it is left to do; `default_root` is the results root that
/// need not be named.
pub fn resume_command(
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
