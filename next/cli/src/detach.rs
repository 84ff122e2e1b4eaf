//! `--detach`: starts the same program in the background.
//!
//! The background process has the word `__detached` before its arguments, and a pipe as standard input. Once its run is on
//! disk it writes one line to the pipe, leaves the terminal's session, and prints into the run's `runner.log`. Until then it
//! prints to the terminal, and a signal of the terminal ends both processes.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::{env, ffi::OsString, fs::File, os::unix::process::CommandExt as _, sync::Once};

use runner_engine::{Observer, RunEvent};
use runner_model::{exit::Exit, visible::visible_line};
use runner_report::{Started, VERSION};

use crate::text::{CommandError, Out};

/// The first argument of a background process.
const WORD: &str = "__detached";

/// Returns the arguments as the user typed them, without the program.
pub fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1).skip(usize::from(is_background()))
}

pub fn is_background() -> bool {
    env::args_os().nth(1).is_some_and(|word| word == WORD)
}

/// Starts the background process, and prints the id of its run or group. If the background process ends before that, returns
/// its exit code.
pub fn start(out: &Out, json: bool) -> Result<Exit, CommandError> {
    let failed = |error: io::Error| {
        CommandError::failed(format!("cannot start a process in the background: {error}"))
    };
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    // The path of the program may lead to another version by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("runner").arg(WORD).args(arguments());
    command.stdin(writer).stdout(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the writer: without this, the pipe would stay open when the background process ends.
    drop(command);
    let mut line = String::new();
    reader.read_to_string(&mut line).map_err(failed)?;
    if let Ok(started) = serde_json::from_str::<Started>(&line) {
        if json {
            out.document(&started);
        } else {
            out.data(&started.id);
        }
        return Ok(Exit::Success);
    }
    let status = child.wait().map_err(failed)?;
    // The background process has printed the reason.
    match status.code().and_then(|code| Exit::of_code(code as u8)) {
        Some(exit) if exit != Exit::Success => Ok(exit),
        _ => Err(CommandError::failed(format!(
            "the process in the background ended before its run existed: {status}"
        ))),
    }
}

/// Writes the id to the first process and leaves the session, so that no signal of the terminal reaches this process. Later
/// calls do nothing.
pub fn report_start(id: &str, run_dir: Option<String>) {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        // This fails only for the leader of a process group, and a child of the first process does not lead one.
        let _ = rustix::process::setsid();
        let started = Started { v: VERSION, id: id.to_owned(), run_dir };
        let line = serde_json::to_vec(&started).unwrap_or_default();
        // If the first process was killed, the run continues without it.
        let _ = rustix::io::write(rustix::stdio::stdin(), &line);
        if let Ok(null) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(null);
        }
    });
}

/// Observes a session in the background, and reports only its start.
pub struct Background<'a> {
    out: &'a Out,
    /// The run is on disk, with its log.
    has_run: bool,
}

impl<'a> Background<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self { out, has_run: false }
    }
}

impl Observer for Background<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Created { manifest, directory, log } => {
                report_start(&manifest.id, Some(directory.to_string_lossy().into_owned()));
                // The message of a panic must not be lost, either.
                let _ = rustix::stdio::dup2_stderr(log);
                self.has_run = true;
            }
            RunEvent::Compiling { plugin } if !self.has_run => {
                self.out.talk(&format!("compiling {}", visible_line(plugin)));
            }
            // If nothing is left to do, there is no `Created` before.
            RunEvent::Finished { manifest, directory, .. } => {
                report_start(&manifest.id, Some(directory.to_string_lossy().into_owned()));
            }
            // Later notices are in `runner.log`.
            RunEvent::Notice(text) if !self.has_run => {
                self.out.talk(&format!("note: {}", visible_line(text)));
            }
            _ => {}
        }
    }
}
