//! `exec --watch`: runs what has changed after each change of a scenario's files, as `resume --accept-changes` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::{fs, io, os::unix::fs::MetadataExt as _, time::Duration, time::Instant};

use notify::{RecursiveMode, Watcher as _};
use runner_engine::{ExecRequest, ResumeRequest};
use runner_model::{Digest, RunStatus, digest, exit::Exit, units::plural};
use runner_prepare::source::{Source, is_folder, read_regular};
use runner_record::ResultsRoot;

use super::session;
use crate::args::SessionArgs;
use crate::source_build;
use crate::text::{CommandError, Out, mistake};

/// A change is complete once no file has changed for this long. Editors and compilers write a file in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// The longest wait for that, since other programs may write next to the files all the time.
const LONGEST: Duration = Duration::from_secs(1);
/// Clears a terminal, also what has scrolled out of it.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J";

/// The files of a scenario. `None` for a missing one.
type Files = BTreeMap<PathBuf, Option<Stamp>>;

/// A value that differs after a change of a file.
#[derive(Clone, PartialEq)]
enum Stamp {
    /// Its inode, size, and time of change.
    File([i128; 3]),
    /// The digest of plugin source, because a build may write a file of its own there again.
    Source(Digest),
    /// The files of a folder that count have stamps of their own.
    Folder,
}

/// Runs a scenario, and again after each change until a signal ends the command. `build` builds changed plugins first.
pub fn run(
    request: &ExecRequest,
    args: &SessionArgs,
    build: Option<&dyn Fn() -> Result<(), CommandError>>,
    out: &Out,
) -> Result<Exit, CommandError> {
    if !request.scenario.is_file() {
        return session::run(args, out, false, |observer| runner_engine::exec(request, observer));
    }
    let (sender, events) = mpsc::channel();
    let watcher = notify::recommended_watcher(move |event| drop(sender.send(event)));
    let mut watcher = watcher.map_err(|error| cannot_watch(&error))?;
    let mut searched = BTreeSet::new();
    let mut watch = |files: &Files| 'again: loop {
        for (folder, mode) in folders(files, &args.root.path()) {
            let is_searched = mode == RecursiveMode::Recursive;
            if is_searched && searched.contains(&folder) {
                continue;
            }
            match watcher.watch(&folder, mode) {
                // A folder may have been removed and created again, such as `dist`.
                Ok(()) if !is_searched => {}
                Ok(()) => drop(searched.insert(folder)),
                // A build has removed it a moment ago: the folder above takes its place.
                Err(error) if is_missing(&error) => continue 'again,
                Err(error) => return Err(cannot_watch(&error)),
            }
        }
        return Ok::<_, CommandError>(());
    };
    // Its path: another process may move the run, whose handle stays valid.
    let mut run: Option<String> = None;
    // Before the session reads the files: a change during the session is another one.
    let mut files = look(request, &Files::new(), build.is_some());
    loop {
        watch(&files)?;
        // After a `prune` or `cancel` by another process, no session can continue the run.
        run = run.filter(|run| can_continue(request, run));
        let session = |observer: &mut dyn runner_engine::Observer| {
            let ended = match &run {
                None => runner_engine::exec(request, observer)?,
                Some(run) => {
                    let mut session = args.request_for_existing();
                    session.remote.clone_from(&request.session.remote);
                    let again = ResumeRequest::new(run, &request.session.results);
                    let again = ResumeRequest { accept_changes: true, session, ..again };
                    runner_engine::resume(&again, observer)?
                }
            };
            run = Some(ended.run.path().to_string_lossy().into_owned());
            Ok(ended)
        };
        let built = build.map_or(Ok(()), |build| build());
        if build.is_some() {
            // Only a scenario with built plugins names all of its files. A file that has changed during the build is a change.
            let mut now = look(request, &files, true);
            for (path, stamp) in &mut now {
                if let Some(before) = files.remove(path) {
                    *stamp = before;
                }
            }
            files = now;
        }
        let result = built.and_then(|()| session::run(args, out, false, session));
        if runner_engine::exit_on_signal() {
            return result;
        }
        if let Err(error) = result {
            out.talk(error.text());
        }
        let count = files.values().flatten().count() as u64;
        out.hint(&format!("watching {}; Ctrl-C ends", plural(count, "file", "files")));
        files = loop {
            let now = look(request, &files, build.is_some());
            if now != files {
                break now;
            }
            wait(&events)?;
            watch(&files)?;
        };
        if out.columns().is_some() {
            out.bytes(CLEAR);
        }
    }
}

/// Returns whether a run is still there, and not cancelled.
fn can_continue(request: &ExecRequest, run: &str) -> bool {
    let found = ResultsRoot::existing(&request.session.results).and_then(|root| root.find(run));
    let manifest = found.and_then(|run| run.manifest());
    manifest.is_ok_and(|manifest| manifest.status != RunStatus::Cancelled)
}

/// Returns the files of a scenario. Those of one that cannot be read are the files that it had before. A plugin in a folder has
/// its source if the watch builds it, or else the file that a build writes last.
fn look(request: &ExecRequest, before: &Files, with_source: bool) -> Files {
    let mut paths = match runner_engine::inputs(request) {
        Ok(paths) => paths,
        Err(_) => before.keys().cloned().chain([request.scenario.clone()]).collect(),
    };
    let mut source_files = BTreeSet::new();
    for source in sources(request) {
        paths.remove(&source.file());
        if with_source {
            source_files.extend(source.files().unwrap_or_default());
        } else {
            paths.insert(source.digest_path());
        }
    }
    let stamp = |path: &Path| {
        let about = fs::metadata(path).ok()?;
        // A build runs, or has failed.
        if about.len() == 0 && path.ends_with("dist/plugin.digest") {
            return before.get(path).cloned().flatten();
        }
        if about.is_dir() {
            return Some(Stamp::Folder);
        }
        if source_files.contains(path) {
            return Some(Stamp::Source(digest(&read_regular(path, about.len()).ok()?)));
        }
        let changed = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Some(Stamp::File([about.ino().into(), about.len().into(), changed]))
    };
    paths.extend(source_files.iter().cloned());
    paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

/// Returns the sources of the scenario's plugins.
fn sources(request: &ExecRequest) -> Vec<Source> {
    let Ok(scenario) = source_build::loaded(request) else { return Vec::new() };
    let plugins = scenario.plugins().filter(|plugin| is_folder(plugin, &scenario.folder));
    plugins.filter_map(|plugin| Source::open(&scenario.folder.join(plugin)).ok()).collect()
}

/// Returns the folders to watch: those of files, because an editor replaces a file, and of those that links lead to, and those
/// that globs search, with the folders in them unless they have the results, which change all the time.
fn folders(files: &Files, results: &Path) -> Vec<(PathBuf, RecursiveMode)> {
    let results = results.canonicalize().unwrap_or_else(|_| results.to_owned());
    let mut folders = BTreeMap::new();
    let links = files.keys().filter(|path| path.is_symlink());
    let targets: Vec<_> = links.filter_map(|path| path.canonicalize().ok()).collect();
    for path in files.keys().chain(&targets) {
        let mut above = path.ancestors().map(|above| match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        });
        let Some(folder) = above.find(|above| above.is_dir()) else { continue };
        let is_searched =
            folder == path && !folder.canonicalize().is_ok_and(|real| results.starts_with(real));
        *folders.entry(folder.to_owned()).or_default() |= is_searched;
    }
    let mode = |is_searched| match is_searched {
        true => RecursiveMode::Recursive,
        false => RecursiveMode::NonRecursive,
    };
    folders.into_iter().map(|(folder, is_searched)| (folder, mode(is_searched))).collect()
}

/// Waits for a change, and until it is complete.
fn wait(events: &Receiver<notify::Result<notify::Event>>) -> Result<(), CommandError> {
    let is_change = |event: notify::Result<notify::Event>| match event {
        Ok(event) => Ok(!event.kind.is_access()),
        Err(error) => Err(cannot_watch(&error)),
    };
    while !is_change(events.recv().map_err(CommandError::failed)?)? {}
    let end = Instant::now() + LONGEST;
    while Instant::now() < end
        && let Ok(event) = events.recv_timeout(QUIET)
    {
        is_change(event)?;
    }
    Ok(())
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn cannot_watch(error: &notify::Error) -> CommandError {
    let advice = match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "\nraise the limit: sysctl fs.inotify.max_user_watches=1000000"
        }
        _ => "",
    };
    mistake!("cannot watch the files of the scenario: {error}{advice}")
}
