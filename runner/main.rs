//! The program: parse, dispatch, exit code.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use runner::{
    cli::Cli,
    commands::{self, Surroundings},
    error::ExitStatus,
    output::{self, Output},
    plugin, record, run,
    session::{Host, SessionLog},
};

fn main() -> ExitCode {
    // Only tests set it, and only a debug build knows it.
    #[cfg(debug_assertions)]
    if let Ok(failpoint) = env::var("RUNNER_FAILPOINT") {
        runner::record::failpoint::arm(&failpoint);
    }
    Output::tell_panics();
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    // These are not for people, so they are not part of the command line that help and completions describe.
    let first = arguments.first().cloned().unwrap_or_default();
    if first == plugin::COMPILE_ARGUMENT {
        return plugin::compile_child(&arguments[1..]);
    }
    if first == plugin::LOAD_ARGUMENT {
        return plugin::load_child(&arguments[1..]);
    }
    if first == run::SCHEMA_ARGUMENT {
        return run::schema_child();
    }
    plugin::raise_open_files();
    // It is set to be known; no other thread is there yet that could make a file.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    record::follow_umask(mask.as_raw_mode());
    let is_detached = first == commands::DETACHED_ARGUMENT;
    if is_detached {
        arguments.remove(0);
    }
    let output = Output::default();
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let (text, is_error) = (error.render(), error.use_stderr());
            output.usage(
                &text.to_string(),
                &text.ansi().to_string(),
                is_error,
                &arguments,
            );
            return match is_error {
                true => ExitStatus::Usage.into(),
                false => ExitStatus::Success.into(),
            };
        }
    };
    output::lay_out_errors();
    // An empty variable is none.
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    let surroundings = Surroundings {
        host: Host {
            // Without it plugins that are in the cache still run; compiling one says what is missing.
            program: env::current_exe().unwrap_or_else(|_| PathBuf::from("runner")),
            cache: cache_folder(),
            scratch_root: variable("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from),
            search_path: env::var_os("PATH").unwrap_or_default(),
            variable: |name| env::var_os(name),
            signals: None,
            log: SessionLog::default(),
            arguments,
            now: run::wall_clock,
            pause: thread::sleep,
        },
        is_detached,
        results: variable("RUNNER_RESULTS").map_or_else(|| "results".into(), PathBuf::from),
        run: text("RUNNER_RUN"),
        log_filter: text("RUNNER_LOG"),
    };
    let dispatch = || commands::dispatch(cli.command, &surroundings, &output);
    // The panic itself has been told by its hook.
    let done = panic::catch_unwind(AssertUnwindSafe(dispatch));
    match done {
        Err(_) => ExitStatus::Internal.into(),
        Ok(Ok(status)) => status.into(),
        Ok(Err(error)) => {
            output.error(&error);
            error.status.into()
        }
    }
}

/// Where compiled plugins are kept; `None` leaves it to the results root.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("RUNNER_CACHE") {
        return Some(folder.into());
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Some(PathBuf::from(folder).join("runner"));
    }
    let home = PathBuf::from(variable("HOME")?);
    let folder = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    Some(home.join(folder).join("runner"))
}
