//! Runs `__compile` in child processes: inspects plugins, and compiles those that the cache lacks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs::File, io, os::unix::process::ExitStatusExt as _, process::Stdio};

use runner_model::cache::{CodeForm, inspection_name};
use runner_model::{Digest, provider::PluginKind, test_duration, units::show_duration};
use runner_record::PluginCache;
use rustix::process::{Resource, Signal, getrlimit};
use serde::Deserialize;

use crate::{PrepareError, children, development::Loader, machine};

/// Time for a child to finish.
const WALL_TIME: Duration = Duration::from_secs(300);
/// Bytes of memory that a compiler may use, as the child limits itself.
const COMPILE_MEMORY: u64 = 4 << 30;
/// Threads of a compiler.
const THREADS: u32 = 4;
/// Signals of other processes and of a system that is short of memory.
const KILLS: [i32; 4] =
    [Signal::KILL.as_raw(), Signal::TERM.as_raw(), Signal::HUP.as_raw(), Signal::INT.as_raw()];
/// Interval at which cancellation is checked.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The result of inspecting a plugin's file.
#[derive(Debug, Deserialize)]
pub struct Inspection {
    /// Kind of the plugin, which decides how it is called.
    pub kind: PluginKind,
    /// Version of the exported contract.
    #[serde(default)]
    pub contract: Option<String>,
    /// Imported interfaces or functions.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Exported interfaces or functions.
    #[serde(default)]
    pub exports: Vec<String>,
}

impl Inspection {
    /// Returns the first import or export of WASI 0.3. `None` without one.
    pub fn wasi_0_3(&self) -> Option<&str> {
        let mut interfaces = self.imports.iter().chain(&self.exports).map(String::as_str);
        interfaces.find(|name| name.starts_with("wasi:") && name.contains("@0.3."))
    }
}

/// Inspects a plugin's file in a child, unless the cache has the result.
///
/// # Errors
///
/// The file is not a plugin (as the rest of a sentence that starts with the plugin), the child was killed, or the cache cannot be
/// written.
pub fn inspect(
    cache: &PluginCache,
    digest: &Digest,
    plugin: File,
) -> Result<Inspection, PrepareError> {
    let loader = Loader::find(cache, digest, &plugin)?;
    let name = inspection_name(loader.as_ref().map_or(digest, |loader| &loader.digest));
    let read = || {
        let bytes = cache.read(&name)?;
        serde_json::from_slice::<Inspection>(&bytes).ok()
    };
    if let Some(inspection) = read() {
        return Ok(inspection);
    }
    let plugin = match loader {
        Some(loader) => loader.copy(&plugin)?,
        None => plugin,
    };
    let answer = cache.draft()?;
    run_child("inspect", plugin, &answer, &AtomicBool::new(false))?;
    cache.keep(answer, &name)?;
    read().ok_or_else(|| {
        PrepareError::Refused("was inspected, but the result is missing in the cache".to_owned())
    })
}

/// Returns the number of compilers that may run at the same time: their memory must fit the machine, and each occupies several
/// cores.
pub fn at_once() -> usize {
    let fitting = machine::memory() / COMPILE_MEMORY;
    fitting.min(u64::from(machine::cores() / THREADS)).max(1) as usize
}

/// Compiles a plugin to `forms` for workers with the compile key `key`, loads each result in another child as a test, and adds it
/// to the cache. Of a development form, only its loader is compiled, unless the cache has that.
///
/// # Errors
///
/// The plugin cannot be compiled or loaded (as the rest of a sentence that starts with the plugin), or the cache cannot be
/// written.
pub fn compile(
    cache: &PluginCache,
    digest: &Digest,
    plugin: &File,
    key: &str,
    forms: &[CodeForm],
    cancelled: &AtomicBool,
) -> Result<(), PrepareError> {
    if cancelled.load(Ordering::Acquire) {
        return Err(PrepareError::Refused("is not needed any more".to_owned()));
    }
    let loader = Loader::find(cache, digest, plugin)?;
    for form in forms {
        let (name, plugin) = match &loader {
            None => (form.entry_name(digest, key), reopened(plugin)?),
            Some(loader) => {
                let name = form.entry_name(&loader.digest, key);
                // If the cache had the source already, the worker has requested the loader: its entry is missing or damaged.
                if loader.is_new && cache.open_entry(&name).is_some() {
                    continue;
                }
                (name, loader.copy(plugin)?)
            }
        };
        let entry = cache.draft()?;
        run_child(form.mode(), plugin, &entry, cancelled)?;
        let nothing = memory_file()?;
        run_child("load", reopened(&entry)?, &nothing, cancelled)?;
        cache.keep(entry, &name)?;
    }
    Ok(())
}

fn memory_file() -> Result<File, PrepareError> {
    children::memory_file("compiler", b"").map_err(failed)
}

fn reopened(file: &File) -> Result<File, PrepareError> {
    file.try_clone().map_err(failed)
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: io::Error) -> PrepareError {
    PrepareError::Machine(machine::failure("cannot compile a plugin", error))
}

/// Runs a child to its end.
fn run_child(
    mode: &str,
    input: File,
    output: &File,
    cancelled: &AtomicBool,
) -> Result<(), PrepareError> {
    let stderr = memory_file()?;
    let mut command = children::program(&["__compile", mode]);
    command
        .arg(machine::memory().to_string())
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(reopened(output)?))
        .stderr(Stdio::from(reopened(&stderr)?));
    let mut child = children::start(command).wait().map_err(failed)?;
    let wall = test_duration("RUNNER_TEST_COMPILE_MS", WALL_TIME);
    let started = Instant::now();
    let status = loop {
        if started.elapsed() > wall || cancelled.load(Ordering::Acquire) {
            children::kill(&child);
            let _ = child.wait();
            let took = show_duration(wall);
            return Err(PrepareError::Interrupted(format!(
                "cannot be used: `{mode}` took longer than {took}; try again when less is running on this machine"
            )));
        }
        if let Some(status) = children::wait_for(&mut child, POLL_EVERY).map_err(failed)? {
            break status;
        }
    };
    let tail = children::stderr_tail(&stderr);
    let is_limited = match status.code() {
        Some(0) => false,
        // Other refusals contain names that are from the plugin. The child limits its output, too.
        Some(1) => tail.starts_with("cannot write") && getrlimit(Resource::Fsize).current.is_some(),
        // The child limits its memory, which hostile plugins exceed.
        _ => !tail.contains("memory"),
    };
    if is_limited && let Some(problem) = tail.lines().find_map(machine::with_limit) {
        return Err(PrepareError::Machine(format!("cannot {mode} a plugin: {problem}")));
    }
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(PrepareError::Refused(tail)),
        // The limits that the child has set for itself end it in other ways.
        None if status.signal().is_some_and(|signal| KILLS.contains(&signal)) => {
            Err(PrepareError::Interrupted(format!(
                "cannot be used: the `__compile {mode}` process {}, as by a system that is short of memory; try again",
                children::describe_exit(status, &stderr)
            )))
        }
        // The compiler recurses into nested types, so hostile plugins can overflow its stack.
        _ if tail.contains("stack overflow") => {
            Err(PrepareError::Refused("nests types too deeply to be compiled".to_owned()))
        }
        _ => Err(PrepareError::Refused(format!(
            "cannot be used: the `__compile {mode}` process {}",
            children::describe_exit(status, &stderr)
        ))),
    }
}
