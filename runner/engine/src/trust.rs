//! Runs of other users: a run decides which plugins are executed with which of this user's files and secrets, so it is refused
//! with its owner and its grants.

use runner_model::provider::Provider;
use runner_record::{RecordError, ResultsRoot, RunDir};
use runner_scenario::{GrantsToml, parse_stored};

use crate::{EngineError, SessionRequest};

/// Lines of grants that a message shows, and the bytes of each.
const MAX_LINES: usize = 40;
const MAX_LINE: usize = 400;
/// Skipped runs that are named.
const MAX_SKIPPED: usize = 3;

/// Returns the run for a session.
///
/// # Errors
///
/// It is another user's, with its owner and its grants, or it cannot be read.
pub(crate) fn usable(dir: &RunDir) -> Result<RunDir, EngineError> {
    dir.for_use().map_err(|mut error| {
        if let RecordError::NotOwn { grants, .. } = &mut error {
            *grants = stored_grants(dir);
        }
        error.into()
    })
}

/// Returns notices of the owner and the grants of another user's run, which is trusted.
pub(crate) fn owner_notices(dir: &RunDir, providers: &[Provider]) -> Vec<String> {
    let text = |owner| format!("run {} {owner}{}", dir.id(), grants(providers));
    let text = dir.other_author().map(text).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Finds the run of a request in a results root. `find` also returns the refusals of runs that it skipped. Returns the settings for
/// the root in which the run is, that root, the run, and notices of skipped runs.
pub(crate) fn find_run(
    session: &SessionRequest,
    find: impl FnOnce(&ResultsRoot) -> Result<(RunDir, Vec<RecordError>), EngineError>,
) -> Result<(SessionRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    let (dir, skipped) = find(&ResultsRoot::existing(&session.results)?)?;
    let root = dir.results_root()?;
    let session = SessionRequest { results: root.path().to_owned(), ..session.clone() };
    Ok((session, root, usable(&dir)?, skipped_notices(&skipped)))
}

/// Returns notices of the runs that were skipped.
pub(crate) fn skipped_notices(skipped: &[RecordError]) -> Vec<String> {
    let mut notices: Vec<_> =
        skipped.iter().take(MAX_SKIPPED).map(|error| format!("skipped: {error}")).collect();
    if let Some(more @ 1..) = skipped.len().checked_sub(MAX_SKIPPED) {
        notices.push(format!("skipped: {more} more runs"));
    }
    notices
}

/// Formats the grants of a run's stored scenario. The manifest may have others.
fn stored_grants(dir: &RunDir) -> String {
    let read = || {
        let manifest = dir.manifest().ok()?;
        parse_stored(
            &dir.scenario(&manifest).ok()?,
            &manifest.scenario,
            &manifest.metadata.selection.overrides.vars,
        )
        .ok()
    };
    match read() {
        Some(scenario) => grants(&scenario.providers),
        None => "; its scenario cannot be read".to_owned(),
    }
}

/// Formats grants as the end of a sentence, with lines of their own.
fn grants(providers: &[Provider]) -> String {
    let tables = providers.iter().flat_map(|provider| {
        GrantsToml::from(&provider.grants).table(provider.table(), &provider.name)
    });
    let mut lines: Vec<_> = tables
        .take(MAX_LINES + 1)
        .map(|mut line| {
            if line.len() > MAX_LINE {
                line.truncate(line.floor_char_boundary(MAX_LINE));
                line.push('…');
            }
            line
        })
        .collect();
    if lines.len() > MAX_LINES {
        lines[MAX_LINES] = "…".to_owned();
    }
    if lines.is_empty() {
        return ", and grants its providers nothing".to_owned();
    }
    format!(", and grants its providers:\n{}", lines.join("\n"))
}
