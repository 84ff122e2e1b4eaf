//! Builds plugins from source.
//!
//! Only [`build`] runs code of a plugin's author outside the sandbox, so only `plugin build` and `--build` call it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock, mpsc, mpsc::RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, io, io::Write as _, os::unix::process::CommandExt as _, thread};

use runner_engine::{EngineError, ExecRequest};
use runner_model::cache::loader_name;
use runner_model::{
    StopSignal, digest, provider::PluginKind, units::show_size, visible::shown_path,
};
use runner_prepare::development::{MAX_SOURCE, join};
use runner_prepare::source::{DevelopmentBuild, Source, SourceState, is_folder, read_regular};
use runner_prepare::{PrepareError, children, compiler};
use runner_record::{PluginCache, Selected};
use runner_scenario::{Problems, Scenario, load_selected};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::text::progress::{line_interval, show_seconds};
use crate::text::{CommandError, Out};
use crate::tools::{self, shell};

/// Pause between two attempts to take a folder that another process builds in.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A plugin that was just built.
pub struct Built {
    pub file: PathBuf,
    pub bytes: Vec<u8>,
    pub took: Duration,
    pub form: Form,
    /// Durations of the steps, in their order.
    pub steps: Vec<(String, Duration)>,
}

/// Measures the steps of a build.
struct Steps {
    last: Instant,
    ended: Vec<(String, Duration)>,
}

impl Steps {
    /// Adds a step that ends now, and has started at the end of the previous one.
    fn end(&mut self, step: impl Into<String>) {
        let now = Instant::now();
        self.ended.push((step.into(), now - self.last));
        self.last = now;
    }
}

/// A form of a built plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The build line's own file.
    Final,
    /// A loader with the source as data. The final one if the plugin has no `[dev]`.
    Development,
}

/// Reads the whole scenario of a request.
pub fn loaded(request: &ExecRequest) -> Result<Scenario, Problems> {
    let overrides = request.selection.overrides.clone();
    let selected = Selected { overrides, ..Selected::default() };
    load_selected(&request.scenario, &selected.into())
}

/// Builds the scenarios' plugins whose source has changed, in their development form if they have one. Scenarios with mistakes are skipped: running them reports those.
pub fn build_all(requests: &[ExecRequest], out: &Out) -> Result<(), CommandError> {
    let mut seen = BTreeSet::new();
    for scenario in requests.iter().filter_map(|request| loaded(request).ok()) {
        let folders = scenario
            .plugins()
            .filter(|plugin| is_folder(plugin, &scenario.folder))
            .map(|plugin| scenario.folder.join(plugin));
        for folder in folders {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let source = Source::open(&folder).map_err(CommandError::usage)?;
            let _lock = lock(&source, out)?;
            let why = match source.state().map_err(CommandError::usage)? {
                SourceState::Fresh => continue,
                SourceState::Stale(why) => why,
                SourceState::Missing => "it has not been built".to_owned(),
            };
            out.talk(&format!("building {}: {why}", source.shown()));
            build_locked(&source, Form::Development, out)?;
        }
    }
    Ok(())
}

/// Takes the folder of a plugin for a build, and waits for the build of another process.
fn lock(source: &Source, out: &Out) -> Result<File, CommandError> {
    let cannot = |error| {
        CommandError::failed(format!("cannot read `{}`: {error}", shown_path(source.folder())))
    };
    let mut is_waiting = false;
    loop {
        if let Some(lock) = source.lock().map_err(cannot)? {
            return Ok(lock);
        }
        if !is_waiting {
            out.talk(&format!("waiting for another process, which builds {}", source.shown()));
            is_waiting = true;
        }
        thread::sleep(LOCK_PAUSE);
        if let Some(signal) = runner_engine::kept_stop() {
            return Err(EngineError::Stopped(signal).into());
        }
    }
}

/// Builds a plugin. The output of the build goes to standard error.
///
/// # Errors
///
/// The build fails, writes no file, or writes a plugin of another kind.
pub fn build(source: &Source, form: Form, out: &Out) -> Result<Built, CommandError> {
    let _lock = lock(source, out)?;
    build_locked(source, form, out)
}

fn build_locked(source: &Source, form: Form, out: &Out) -> Result<Built, CommandError> {
    let start = Instant::now();
    let mut steps = Steps { last: start, ended: Vec::new() };
    // Digests are taken before the build, so a file that changes during the build makes the plugin stale.
    let digests = source.digests().map_err(CommandError::failed)?;
    let digest_path = source.digest_path();
    let cannot_write = |error: io::Error| {
        CommandError::failed(format!("cannot write `{}`: {error}", shown_path(&digest_path)))
    };
    fs::create_dir_all(source.folder().join("dist")).map_err(cannot_write)?;
    // A build that fails may leave a plugin of unknown source, which must not count as fresh.
    fs::write(&digest_path, "").map_err(cannot_write)?;
    steps.end("hash the source");
    let file = source.file();
    let (form, bytes) = match source.development().filter(|_| form == Form::Development) {
        Some(dev) => {
            let bytes = build_development(source, dev, &mut steps, out)?;
            fs::write(&file, &bytes).map_err(|error| CommandError::cannot_write(&file, &error))?;
            (Form::Development, bytes)
        }
        None => {
            if let Some(dev) = source.development() {
                // It finds most mistakes of an author in a second, and in better words than the tools of the final form. But only
                // that form can have native code.
                if !run(&mut build_command(&dev.source, source.folder()), wait)?.success() {
                    out.talk("the development form cannot be built; building the final form");
                }
                steps.end(format!("source: {}", dev.source));
            }
            // A build line that finds nothing to do must not pass an earlier development form off as the final one.
            if source.is_built_as_development() {
                remove(&file)?;
            }
            run_line(source, source.build_line(), |child| match source.development() {
                // Its tools print nothing while they work.
                Some(_) => wait_shown(child, &format!("building {}:", source.shown()), out),
                None => wait(child),
            })?;
            steps.end(format!("build: {}", source.build_line()));
            (Form::Final, read_built(source, &file, "the `file` of its `plugin.toml`")?)
        }
    };
    check_kind(source, &bytes).map_err(CommandError::failed)?;
    fs::write(&digest_path, digests).map_err(cannot_write)?;
    steps.end("check the plugin");
    // The listener of the build is gone, and no session may follow.
    if let Some(signal) = runner_engine::kept_stop() {
        return Err(EngineError::Stopped(signal).into());
    }
    Ok(Built { file, bytes, took: start.elapsed(), form, steps: steps.ended })
}

/// Builds the development form of a plugin. Its loader is built only if the cache lacks it.
fn build_development(
    source: &Source,
    dev: &DevelopmentBuild,
    steps: &mut Steps,
    out: &Out,
) -> Result<Vec<u8>, CommandError> {
    let cache = PluginCache::open().map_err(CommandError::failed)?;
    let origin = source.loader_origin(dev).map_err(|problem| failure(source, problem))?;
    let name = loader_name(&origin);
    let known = cache.read(&name).and_then(|mut entry| {
        // The checksum is before the loader.
        let loader = entry.split_off(entry.len().min(64));
        (entry == digest(&loader).to_string().as_bytes()).then_some(loader)
    });
    let loader = match known {
        Some(loader) => {
            steps.end("take the loader from the cache");
            loader
        }
        None => {
            out.talk(&format!("building the loader of {}, once", source.shown()));
            // A line that finds nothing to do must not pass an earlier loader off as this one.
            remove(&source.loader())?;
            run_line(source, &dev.loader, |child| {
                wait_shown(child, &format!("building {}:", source.shown()), out)
            })?;
            let file = source.loader();
            let loader = read_built(source, &file, "which `dev.loader` creates")?;
            // A file that has changed since may be in this loader, or not.
            if source.loader_origin(dev).is_ok_and(|now| now == origin) {
                let mut draft = cache.draft().map_err(CommandError::failed)?;
                let kept = draft.write_all(digest(&loader).to_string().as_bytes());
                kept.and_then(|()| draft.write_all(&loader)).map_err(|error| {
                    CommandError::cannot_write(&cache.path().join(&name), &error)
                })?;
                cache.keep(draft, &name).map_err(CommandError::failed)?;
            }
            let _ = fs::remove_file(file);
            steps.end(format!("loader: {}", dev.loader));
            loader
        }
    };
    // A line that writes another file must not leave the earlier source in use.
    remove(&source.text())?;
    run_line(source, &dev.source, wait)?;
    steps.end(format!("source: {}", dev.source));
    let text = read_built(source, &source.text(), "which `dev.source` creates")?;
    if text.len() as u64 > MAX_SOURCE {
        let most = show_size(MAX_SOURCE);
        return Err(CommandError::failed(format!(
            "the source of `{}` has more than {most}, too much for a development form; to build the final one: {}",
            source.shown(),
            source.build_command()
        )));
    }
    Ok(join(loader, &text))
}

/// Removes what an earlier build has left.
fn remove(file: &Path) -> Result<(), CommandError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CommandError::failed(format!("cannot remove `{}`: {error}", shown_path(file))))
        }
        _ => Ok(()),
    }
}

/// Reads a file that a build has written.
fn read_built(source: &Source, file: &Path, what: &str) -> Result<Vec<u8>, CommandError> {
    read_regular(file, u64::MAX).map_err(|error| {
        CommandError::failed(format!(
            "the build of `{}` did not write `{}`, {what}: {error}",
            source.shown(),
            shown_path(file)
        ))
    })
}

/// Runs a line of a `plugin.toml`. `wait` waits for its end.
fn run_line(
    source: &Source,
    line: &str,
    wait: impl FnOnce(Child) -> io::Result<ExitStatus>,
) -> Result<(), CommandError> {
    let status = run(&mut build_command(line, source.folder()), wait)?;
    if status.success() {
        return Ok(());
    }
    Err(failure(source, format!("building `{}` failed ({status}): {line}", source.shown())))
}

/// Returns the error of a build, with the tools that are missing.
fn failure(source: &Source, mut text: String) -> CommandError {
    let language = tools::language(source);
    let tools = language.map(|language| tools::find(source.folder(), Some(language)));
    for tool in tools.iter().flatten().filter(|tool| tool.is_missing()) {
        text += &format!("\n`{}` is missing: {}", tool.tool, tool.install);
    }
    CommandError::failed(text)
}

/// Runs a build in a process group of its own, so that a signal to this process ends the tools of its shell, too. The second
/// signal kills them.
///
/// # Errors
///
/// The build cannot be started, or a signal has stopped it.
fn run(
    command: &mut Command,
    wait: impl FnOnce(Child) -> io::Result<ExitStatus>,
) -> Result<ExitStatus, CommandError> {
    let cannot_run = |error| CommandError::failed(format!("cannot run `sh`: {error}"));
    runner_engine::take_over().map_err(cannot_run)?;
    command.stdout(Stdio::from(io::stderr())).process_group(0);
    let child = command.spawn().map_err(cannot_run)?;
    let group = Pid::from_child(&child);
    let stopped = Arc::new(OnceLock::new());
    let received = Arc::clone(&stopped);
    let listener = runner_engine::on_stop(move |signal, is_second| {
        let _ = received.set(signal);
        let sent = match signal {
            _ if is_second => Signal::KILL,
            StopSignal::Interrupt => Signal::INT,
            StopSignal::Terminate => Signal::TERM,
            StopSignal::HangUp => Signal::HUP,
        };
        let _ = kill_process_group(group, sent);
    });
    let status = wait(child).map_err(cannot_run)?;
    drop(listener);
    match stopped.get() {
        Some(signal) => Err(EngineError::Stopped(*signal).into()),
        None => Ok(status),
    }
}

fn wait(mut child: Child) -> io::Result<ExitStatus> {
    child.wait()
}

/// Waits for a program that prints nothing itself, and shows a text with the seconds, or prints it every 10 s.
fn wait_shown(child: Child, text: &str, out: &Out) -> io::Result<ExitStatus> {
    let start = Instant::now();
    let is_shown = show_seconds(out, text);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(wait(child)));
    let status = loop {
        match ended.recv_timeout(line_interval()) {
            Ok(status) => break status,
            Err(RecvTimeoutError::Disconnected) => break Err(io::Error::other("it was lost")),
            Err(RecvTimeoutError::Timeout) if is_shown => {}
            Err(RecvTimeoutError::Timeout) => {
                out.talk(&format!("{text} {} s", start.elapsed().as_secs()));
            }
        }
    };
    out.set_bar(None);
    status
}

/// Checks that the built plugin has the `kind` of `plugin.toml`.
fn check_kind(source: &Source, bytes: &[u8]) -> Result<(), String> {
    let path = source.file();
    let file = shown_path(&path);
    let cache = PluginCache::open().map_err(|error| error.to_string())?;
    let copy = children::memory_file("plugin", bytes).map_err(|error| error.to_string())?;
    let kind = match compiler::inspect(&cache, &digest(bytes), copy) {
        Ok(inspection) => inspection.kind,
        Err(PrepareError::Refused(problem) | PrepareError::Interrupted(problem)) => {
            return Err(format!("`{file}` was built, and {problem}"));
        }
        Err(error) => return Err(error.to_string()),
    };
    let expected = source.kind();
    let advice = match expected {
        _ if expected == kind => return Ok(()),
        PluginKind::Component => {
            "a component exports `runner:provider/provider`; for a program with a `main`, write `kind = \"command\"`"
        }
        PluginKind::Command => {
            "a command is a program with a `main`; for a plugin that exports `runner:provider/provider`, write `kind = \"component\"`"
        }
    };
    Err(format!(
        "`{file}` was built as a {kind}, but its `plugin.toml` has `kind = \"{expected}\"`\n{advice}"
    ))
}

/// Returns the command that runs a build line in a plugin's folder. Programs that the package managers of Python and Node.js
/// have installed in the folder take precedence, but `sh` itself is never taken from there.
fn build_command(line: &str, folder: &Path) -> Command {
    let mut command = shell(line);
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let own = [".venv/bin", "node_modules/.bin"].map(|name| folder.join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    // `PATH` cannot contain a folder with a `:` in its name.
    if let Ok(path) = env::join_paths(own.into_iter().chain(env::split_paths(&path))) {
        command.env("PATH", path);
    }
    // `componentize-py` would print its own stack after the error in the author's source.
    command.env("RUST_LIB_BACKTRACE", "0").current_dir(folder);
    command
}
