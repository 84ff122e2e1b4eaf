//! The program `runner` as a whole: from the process to an exit code.

use std::{
    ffi::{OsStr, OsString},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use crate::{
    cli::Cli,
    commands::{self, Context},
    error::{Error, ExitStatus},
    output::{self, Output, Pager},
    plugin, record, run,
    session::{Host, START_ARGUMENT, SessionLog},
};

/// What a process was started with.
pub struct Process {
    /// Its arguments, without the program's own name.
    pub arguments: Vec<OsString>,
    /// Reads a variable of its environment.
    pub variable: fn(&str) -> Option<OsString>,
    /// The program's own file.
    pub path: Option<PathBuf>,
}

impl Process {
    /// Reads a variable of the environment; an empty one is as good as none.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The same as text. One that is none is told by its reader as what it looks like, and not passed over.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.variable(name)?;
        Some(value.to_string_lossy().into_owned())
    }

    /// Where compiled plugins are kept; `None` leaves it to the results root.
    fn cache_folder(&self) -> Option<PathBuf> {
        if let Some(folder) = self.variable("RUNNER_CACHE") {
            return Some(folder.into());
        }
        if let Some(folder) = self.variable("XDG_CACHE_HOME") {
            return Some(PathBuf::from(folder).join("runner"));
        }
        let folder = match cfg!(target_os = "macos") {
            true => "Library/Caches",
            false => ".cache",
        };
        let home = PathBuf::from(self.variable("HOME")?);
        Some(home.join(folder).join("runner"))
    }
}

/// Does the work of a child process, if `arguments` are those of one: plugins are compiled, and schemas evaluated, in
/// children of the program that limit themselves before they read anything, and attempts are made in workers.
///
/// The children are started from [`Host::program`], and by the program's own name for it, so a program that embeds the
/// runner calls this first of all in its `main`, before it starts a thread, and exits with the code that comes back.
/// `arguments` are without the program's name.
pub fn serve_child(arguments: &[OsString]) -> Option<ExitCode> {
    let (first, rest) = arguments.split_first()?;
    // These are not for people, so they are not part of the command line that help and completions describe.
    match first.to_str()? {
        plugin::COMPILE_ARGUMENT => Some(plugin::compile_child(rest)),
        plugin::LOAD_ARGUMENT => Some(plugin::load_child(rest)),
        run::SCHEMA_ARGUMENT => Some(run::schema_child()),
        run::WORKER_ARGUMENT => Some(run::worker_child()),
        _ => None,
    }
}

/// Is the program `runner`: parses the command line, carries it out, and prints what there is to say.
pub fn run_program(mut process: Process) -> ExitCode {
    // Only tests set it, and only a debug build knows it.
    #[cfg(debug_assertions)]
    if let Some(failpoint) = process.text("RUNNER_FAILPOINT") {
        record::failpoint::arm(&failpoint);
    }
    Output::tell_panics();
    plugin::raise_open_files();
    // It is set to be known; no other thread is there yet that could make a file.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    record::follow_umask(mask.as_raw_mode());
    let first = process.arguments.first().map(OsString::as_os_str);
    let is_requested = first == Some(OsStr::new(START_ARGUMENT));
    let is_detached = first == Some(OsStr::new(commands::DETACHED_ARGUMENT));
    if is_detached {
        process.arguments.remove(0);
    }
    let output = Output::default();
    if is_requested {
        let root = process.arguments.get(1).map(PathBuf::from);
        let context = context(process, true, output);
        let root = root.unwrap_or_else(|| context.results.clone());
        return carry_out(&context, || commands::start_requested(&root, &context));
    }
    let cli = match Cli::read(&process.arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let (text, is_error) = (error.render(), error.use_stderr());
            output.usage(
                &text.to_string(),
                &text.ansi().to_string(),
                is_error,
                &process.arguments,
            );
            return ended(
                &output,
                match is_error {
                    true => ExitStatus::Usage,
                    false => ExitStatus::Success,
                },
            );
        }
    };
    let context = context(process, is_detached, output);
    carry_out(&context, || commands::dispatch(cli.command, &context))
}

/// Does the work of the process, and makes its exit code of what came of it.
fn carry_out(context: &Context, work: impl FnOnce() -> Result<ExitStatus, Error>) -> ExitCode {
    output::lay_out_errors();
    // The panic itself has been told by its hook.
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    let status = match done {
        Err(_) => ExitStatus::Internal,
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            context.output.error(&error);
            error.status
        }
    };
    ended(&context.output, status)
}

/// Tells what of the output was lost, and makes the exit code.
fn ended(output: &Output, status: ExitStatus) -> ExitCode {
    let Some(lost) = output.lost() else {
        return status.into();
    };
    output.error(&lost);
    match status {
        // Whatever has ended the process takes its terminal as well.
        ExitStatus::Signalled(_) => status.into(),
        _ => status.worse(lost.status).into(),
    }
}

fn context(process: Process, is_detached: bool, output: Output) -> Context {
    let results = process.variable("RUNNER_RESULTS");
    Context {
        pager: Pager::of(process.variable),
        output,
        is_detached,
        results: results.map_or_else(|| "results".into(), PathBuf::from),
        run: process.text("RUNNER_RUN"),
        log_filter: process.text("RUNNER_LOG"),
        host: Host {
            cache: process.cache_folder(),
            scratch_root: process
                .variable("TMPDIR")
                .map_or_else(|| "/tmp".into(), PathBuf::from),
            pools_sandboxes: process
                .variable("RUNNER_POOL")
                .is_none_or(|value| value != "off"),
            search_path: (process.variable)("PATH").unwrap_or_default(),
            // Without it plugins that are in the cache still run; compiling one says what is missing.
            program: process.path.unwrap_or_else(|| PathBuf::from("runner")),
            variable: process.variable,
            signals: None,
            overdue: run::OverdueAction::EndProcess,
            log: SessionLog::default(),
            arguments: process.arguments,
            now: run::wall_clock,
            pause: thread::sleep,
        },
    }
}
