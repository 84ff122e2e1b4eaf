//! [`visit_recent`]: the runs whose notifications may be left.

use std::{collections::BTreeMap, time::Duration};

use runner_model::{RunStatus, Time};
use runner_record::{RecordError, ResultsRoot, RunHead};

use super::left::{RunNotifications, SendScope};
use crate::settings::Settings;

/// Time after a run's end in which its notifications are sent without a request for it.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls `visit` for the runs of this user that are running or have ended within a day, and that `is_selected` selects. Returns
/// the problems of runs that cannot be read.
///
/// # Errors
///
/// The results root cannot be read.
pub fn visit_recent(
    root: &ResultsRoot,
    settings: &Settings,
    now: Time,
    is_selected: &dyn Fn(&RunHead) -> bool,
    visit: &mut dyn FnMut(&RunHead, RunNotifications<'_>) -> Result<(), RecordError>,
) -> Result<Vec<String>, RecordError> {
    let mut problems = Vec::new();
    for head in root.runs()?.runs {
        let is_recent = head.completed_at.is_none_or(|ended| now.since(ended) < RECENT);
        if !is_recent || !is_selected(&head) {
            continue;
        }
        let visited = root.find_named(&head.id).and_then(|run| {
            // The scenario of another user's run must not use environment variables of this user.
            let run = run.for_use()?;
            let manifest = run.truth()?;
            visit(&head, RunNotifications::new(root, settings, &run, &manifest))
        });
        match visited {
            Ok(()) | Err(RecordError::NotOwn { .. } | RecordError::Removed { .. }) => {}
            Err(error) => problems.push(format!("run {}: {error}", head.id)),
        }
    }
    Ok(problems)
}

/// Returns the ended runs whose notifications are still going to be sent or cannot be read, for
/// [`runner_record::PrunePolicy::keep`].
///
/// # Errors
///
/// The results root cannot be read.
pub fn unsent(
    root: &ResultsRoot,
    settings: &Settings,
    now: Time,
) -> Result<BTreeMap<String, String>, RecordError> {
    let mut unsent = BTreeMap::new();
    let is_ended = |head: &RunHead| head.status != RunStatus::Running;
    visit_recent(root, settings, now, &is_ended, &mut |head, run| {
        let id = &head.id;
        let why = match run.left(SendScope::Expected) {
            Ok(left) if left.is_empty() => return Ok(()),
            Ok(_) => {
                let send = root.command(&["notify", id]);
                format!("a notification of run {id} is not sent yet; to send it: {send}")
            }
            Err(error) => format!("the notifications of run {id} are unknown: {error}"),
        };
        unsent.insert(id.clone(), why);
        Ok(())
    })?;
    Ok(unsent)
}
