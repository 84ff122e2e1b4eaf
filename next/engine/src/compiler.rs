//! Runs `__compile`: inspects plugins before there is a run, and compiles those that the cache lacks.

use std::{
    borrow::Cow,
    fs::File,
    io,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use runner_model::{
    Digest,
    cache::{entry_name, inspection_name},
    provider::PluginKind,
    units::show_duration,
};
use runner_record::{PluginCache, RecordError};
use serde::Deserialize;

use crate::children;

/// The bytes of a plugin's file: part of this program, or read from a file.
pub(crate) type PluginBytes = Arc<Cow<'static, [u8]>>;

/// How long a child may take that has no limit of its own.
const WALL_TIME: Duration = Duration::from_secs(300);
/// How often it is seen whether a child is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a plugin's file is, as the sandbox's inspection tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Inspection {
    pub(crate) kind: PluginKind,
    /// The version of the contract that it exports.
    #[serde(default)]
    pub(crate) contract: Option<String>,
    #[serde(default)]
    pub(crate) imports: Vec<String>,
    #[serde(default)]
    pub(crate) exports: Vec<String>,
}

/// Why a plugin cannot be inspected or compiled.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// What is wrong with the plugin, as the rest of a sentence that begins with it.
    Refused(String),
    /// The cache.
    Cache(RecordError),
}

impl From<String> for CompileError {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}

impl From<RecordError> for CompileError {
    fn from(error: RecordError) -> Self {
        Self::Cache(error)
    }
}

/// Tells what a plugin's file is: from the answer that is kept in the cache, else from a child's.
///
/// # Errors
///
/// A file that is no plugin, or a cache that cannot be written.
pub(crate) fn inspect(
    cache: &PluginCache,
    digest: &Digest,
    plugin: &[u8],
    seconds: Option<u32>,
) -> Result<Inspection, CompileError> {
    let name = inspection_name(digest);
    let read = || {
        let kept = cache.read(&name)?;
        serde_json::from_slice::<Inspection>(&kept).ok()
    };
    if let Some(kept) = read() {
        return Ok(kept);
    }
    let answer = cache.draft()?;
    let input = nameless(plugin)?;
    run_child("inspect", input, &answer, seconds, &AtomicBool::new(false))?;
    cache.keep(answer, &name)?;
    read().ok_or_else(|| {
        CompileError::Refused("was inspected, and the cache does not have the answer".to_owned())
    })
}

/// Compiles a plugin for workers with this key, tries in another child whether the result can be loaded, and keeps it.
///
/// # Errors
///
/// A plugin that cannot be compiled or loaded, or a cache that cannot be written.
pub(crate) fn compile(
    cache: &PluginCache,
    (digest, plugin): (&Digest, &[u8]),
    key: &str,
    seconds: Option<u32>,
    cancelled: &AtomicBool,
) -> Result<(), CompileError> {
    let entry = cache.draft()?;
    run_child("compile", nameless(plugin)?, &entry, seconds, cancelled)?;
    let nothing = nameless(b"")?;
    run_child("load", reopened(&entry)?, &nothing, seconds, cancelled)?;
    cache.keep(entry, &entry_name(digest, key))?;
    Ok(())
}

fn nameless(content: &[u8]) -> Result<File, CompileError> {
    children::nameless("plugin", content).map_err(refused)
}

fn reopened(file: &File) -> Result<File, CompileError> {
    file.try_clone().map_err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: io::Error) -> CompileError {
    CompileError::Refused(format!("cannot be compiled: {error}"))
}

/// Runs a child to its end.
fn run_child(
    mode: &str,
    input: File,
    output: &File,
    seconds: Option<u32>,
    cancelled: &AtomicBool,
) -> Result<(), CompileError> {
    let stderr = nameless(b"")?;
    let mut command = children::program(&["__compile", mode]);
    if let Some(seconds) = seconds {
        command.arg(seconds.to_string());
    }
    command
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(reopened(output)?))
        .stderr(Stdio::from(reopened(&stderr)?));
    let mut child = children::start(command).wait().map_err(refused)?;
    let wall = seconds.map_or(WALL_TIME, |seconds| Duration::from_secs(seconds.into()));
    let began = Instant::now();
    let status = loop {
        if began.elapsed() > wall || cancelled.load(Ordering::Acquire) {
            children::kill(&child);
            // It dies at once.
            let _ = child.wait();
            let took = show_duration(wall);
            let problem = format!("cannot be used: `{mode}` took longer than {took}");
            return Err(CompileError::Refused(problem));
        }
        if let Some(status) = children::wait_for(&mut child, LOOK_EVERY).map_err(refused)? {
            break status;
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(CompileError::Refused(children::last_words(&stderr))),
        _ => Err(CompileError::Refused(format!(
            "cannot be used: the process that was to {mode} it {}",
            children::show_end(status, &stderr)
        ))),
    }
}
