//! Runs `__compile`: inspects plugins before there is a run, and compiles those that the cache lacks.

use std::{
    env,
    fs::File,
    io,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use runner_model::{
    Digest,
    cache::{entry_name, inspection_name},
    provider::PluginKind,
    units::show_duration,
};
use runner_record::PluginCache;
use serde::Deserialize;

use crate::{PrepareError, children, machine};

/// How long a child may take that has no limit of its own.
const WALL_TIME: Duration = Duration::from_secs(300);
/// How often it is seen whether a child is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a plugin's file is, as the sandbox's inspection tells it.
#[derive(Debug, Deserialize)]
pub struct Inspection {
    /// How it is called.
    pub kind: PluginKind,
    /// The version of the contract that it exports.
    #[serde(default)]
    pub contract: Option<String>,
    /// What it imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// What it exports.
    #[serde(default)]
    pub exports: Vec<String>,
}

/// Tells what a plugin's file is: from the answer that is kept in the cache, else from a child's.
///
/// # Errors
///
/// A file that is no plugin, as the rest of a sentence that begins with the plugin, or a cache that cannot be written.
pub fn inspect(
    cache: &PluginCache,
    digest: &Digest,
    plugin: File,
) -> Result<Inspection, PrepareError> {
    let name = inspection_name(digest);
    let read = || {
        let kept = cache.read(&name)?;
        serde_json::from_slice::<Inspection>(&kept).ok()
    };
    if let Some(kept) = read() {
        return Ok(kept);
    }
    let answer = cache.draft()?;
    run_child("inspect", plugin, &answer, &AtomicBool::new(false))?;
    cache.keep(answer, &name)?;
    let lost = "was inspected, and the cache does not have the answer";
    read().ok_or_else(|| PrepareError::Refused(lost.to_owned()))
}

/// Compiles a plugin for workers with this key, tries in another child whether the result can be loaded, and keeps it.
///
/// # Errors
///
/// A plugin that cannot be compiled or loaded, as the rest of a sentence that begins with the plugin, or a cache that cannot be
/// written.
pub fn compile(
    cache: &PluginCache,
    (digest, plugin): (&Digest, File),
    key: &str,
    cancelled: &AtomicBool,
) -> Result<(), PrepareError> {
    let entry = cache.draft()?;
    run_child("compile", plugin, &entry, cancelled)?;
    let nothing = nameless()?;
    run_child("load", reopened(&entry)?, &nothing, cancelled)?;
    cache.keep(entry, &entry_name(digest, key))?;
    Ok(())
}

fn nameless() -> Result<File, PrepareError> {
    children::nameless("compiler", b"").map_err(refused)
}

fn reopened(file: &File) -> Result<File, PrepareError> {
    file.try_clone().map_err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: io::Error) -> PrepareError {
    PrepareError::Refused(format!("cannot be compiled: {error}"))
}

/// Runs a child to its end.
fn run_child(
    mode: &str,
    input: File,
    output: &File,
    cancelled: &AtomicBool,
) -> Result<(), PrepareError> {
    // Tests do not wait so long.
    let seconds = cfg!(debug_assertions).then(|| env::var("RUNNER_TEST_COMPILE_SECONDS").ok());
    let seconds: Option<u64> = seconds.flatten().and_then(|seconds| seconds.parse().ok());
    let stderr = nameless()?;
    let mut command = children::program(&["__compile", mode]);
    command
        .arg(machine::memory().to_string())
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(reopened(output)?))
        .stderr(Stdio::from(reopened(&stderr)?));
    let mut child = children::start(command).wait().map_err(refused)?;
    let wall = seconds.map_or(WALL_TIME, Duration::from_secs);
    let began = Instant::now();
    let status = loop {
        if began.elapsed() > wall || cancelled.load(Ordering::Acquire) {
            children::kill(&child);
            // It dies at once.
            let _ = child.wait();
            let took = show_duration(wall);
            let problem = format!("cannot be used: `{mode}` took longer than {took}");
            return Err(PrepareError::Refused(problem));
        }
        if let Some(status) = children::wait_for(&mut child, LOOK_EVERY).map_err(refused)? {
            break status;
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(PrepareError::Refused(children::last_words(&stderr))),
        // The compiler follows nested types by recursion.
        _ if children::last_words(&stderr).contains("stack overflow") => {
            Err(PrepareError::Refused("nests types too deeply to be compiled".to_owned()))
        }
        _ => Err(PrepareError::Refused(format!(
            "cannot be used: the process that was to {mode} it {}",
            children::show_end(status, &stderr)
        ))),
    }
}
