//! Runs that another user or another key made: a run decides which plugins are executed with which of this user's files and
//! secrets, so it is refused with its author and its grants.

use std::path::{Path, PathBuf};

use runner_model::provider::{MountedFolder, Provider};
use runner_model::{grants::FsGrant, visible::visible_line};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_results::plan;
use runner_scenario::GrantsToml;

use crate::{EngineError, SessionRequest};

const TRUST_ROOT: &str = "RUNNER_TRUST_ROOT";
/// Lines of grants that a refusal shows, and the bytes of each.
const MAX_LINES: usize = 40;
const MAX_LINE: usize = 400;
/// Skipped runs that are named.
const MAX_SKIPPED: usize = 3;

/// Returns the run for a session.
///
/// # Errors
///
/// Another user or key made it: with its author and its grants. Or it cannot be read.
pub(crate) fn usable(dir: &RunDir) -> Result<RunDir, EngineError> {
    dir.for_use().map_err(|mut error| {
        if let RecordError::NotOwn { grants, .. } = &mut error
            && let Ok(manifest) = dir.manifest()
        {
            let access = shortened(stored_access(dir, &manifest));
            *grants = format!("; {} started it:\n{}", author(&manifest), access.join("\n"));
        }
        error.into()
    })
}

/// Cuts lines for a message. `runner trust` prints them whole.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("…".to_owned());
    }
    for line in lines.iter_mut().filter(|line| line.len() > MAX_LINE) {
        line.truncate(line.floor_char_boundary(MAX_LINE));
        line.push('…');
    }
    lines
}

/// Returns notices of the author, the grants and the real folders of a run that another user or key made, and that is trusted.
pub(crate) fn owner_notices(dir: &RunDir, manifest: &Manifest) -> Vec<String> {
    let Some(problem) = dir.other_author() else { return Vec::new() };
    let author = author(manifest);
    let head =
        format!("run {} {problem}; {author} started it; it is trusted by {TRUST_ROOT}", dir.id());
    [head].into_iter().chain(stored_access(dir, manifest)).collect()
}

/// Returns the user and the machine that a manifest names as those of the first session.
pub fn author(manifest: &Manifest) -> String {
    let first = manifest.sessions.first();
    let name = |text: Option<&String>| visible_line(text.map_or("", String::as_str)).into_owned();
    format!("{} on {}", name(first.map(|one| &one.user)), name(first.map(|one| &one.host)))
}

/// Returns the access that a run gives to its plugins: the grants of its stored scenario, which the manifest may contradict,
/// the folders where they lead now, and the secrets of webhooks. A line each.
pub fn stored_access(dir: &RunDir, manifest: &Manifest) -> Vec<String> {
    let Some(scenario) = plan::scenario(dir, manifest) else {
        return vec!["its scenario cannot be read".to_owned()];
    };
    let mut lines = grant_lines(&scenario.providers);
    if lines.is_empty() {
        lines.push("it grants its providers nothing".to_owned());
    }
    let folders = scenario.providers.iter().map(|one| {
        let planned = manifest.planned().find(|stored| stored.name == *one.name);
        let stored = planned.map_or(&[][..], |stored| &stored.mounts);
        let real = |(place, fs): (usize, &FsGrant)| {
            // A session mounts the folder that the manifest names, even if the scenario names another one.
            let path = stored.get(place).map_or(&fs.path, |folder| &folder.host);
            let path = PathBuf::from(path);
            let host = path.canonicalize().unwrap_or(path).to_string_lossy().into_owned();
            let guest = fs.mount.clone();
            let mode = fs.mode;
            MountedFolder { host, guest, mode, device: 0, inode: 0, content: None }
        };
        let folders: Vec<_> = one.grants.fs.iter().enumerate().map(real).collect();
        (one.table().trim_end_matches('s'), &*one.name, folders)
    });
    let folders: Vec<_> = folders.collect();
    let mounts = folders.iter().map(|(role, name, folders)| (*role, *name, &**folders));
    let folder = Path::new(&manifest.scenario_path).parent().unwrap_or(Path::new("."));
    lines.extend(scenario.access(folder, mounts));
    lines.iter().map(|line| visible_line(line).into_owned()).collect()
}

/// Finds the run of a request in a results root. `find` also returns the refusals of runs that it skipped. Returns the settings for
/// the root in which the run is, that root, the run, and notices of skipped runs.
pub(crate) fn find_run(
    session: &SessionRequest,
    find: impl FnOnce(&ResultsRoot) -> Result<(RunDir, Vec<RecordError>), EngineError>,
) -> Result<(SessionRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    let (dir, skipped) = find(&ResultsRoot::existing(&session.results)?)?;
    let root = dir.results_root();
    let session = SessionRequest { results: root.path().to_owned(), ..session.clone() };
    Ok((session, root, usable(&dir)?, skipped_notices(&skipped)))
}

/// Finds a run by its name, or the newest of this user, as [`find_run`] does.
pub(crate) fn find_named(
    session: &SessionRequest,
    run: Option<&str>,
) -> Result<(SessionRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    find_run(session, |root| match run {
        Some(name) => Ok((root.find(name)?, Vec::new())),
        None => Ok(root.newest_for_use()?),
    })
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

/// Formats grants as TOML tables. Empty without any.
fn grant_lines(providers: &[Provider]) -> Vec<String> {
    let tables = providers.iter().flat_map(|provider| {
        GrantsToml::from(&provider.grants).table(provider.table(), &provider.name)
    });
    tables.collect()
}
