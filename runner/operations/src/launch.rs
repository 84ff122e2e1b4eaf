//! Starts `exec`, `resume` and `rescore` as processes of their own.
//!
//! The new process runs the same program. Its arguments start with [`DETACHED`] and a request's id, priority and digest of the
//! body. It reports its run, or the problems of its scenario, in a line of JSON on its standard input, which is a pipe. With a
//! run, it then leaves the session of the terminal. Its standard output is the lock of the request, which it holds until its run exists.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{error::Error, fmt, fs::File, thread, time::Duration};

use runner_model::{exit::Exit, units::show_duration, visible::shown_path};
use runner_prepare::children::{self, memory_file, tail};
use runner_record::RequestMark;
use runner_report::{ScenarioProblem, Started};

/// The first argument of a process in the background.
pub const DETACHED: &str = "__detached";

/// Bytes kept of the messages of a process that has not started a run, the last ones.
pub(crate) const MAX_MESSAGES: u64 = 64 << 10;

/// A command that starts a session in a process of its own.
#[derive(Debug, Default)]
pub struct Launch<'a> {
    /// The arguments of `runner`, as the first line of the run's log has them.
    pub arguments: &'a [OsString],
    /// The working directory. `None` for that of this process.
    pub folder: Option<&'a Path>,
    /// The results root of a command without `--results`. `None` for the root of the environment.
    pub results: Option<&'a Path>,
    /// The request that the session's entry in the manifest names.
    pub request: Option<&'a RequestMark>,
    /// An open, locked file. The process keeps it open until its run exists.
    pub lock: Option<File>,
    /// Whether the process prints its messages to this one's standard error until its run exists. Otherwise [`LaunchError`] has
    /// them.
    pub prints_messages: bool,
}

/// Reason why a process did not start a run.
#[derive(Debug)]
pub enum LaunchError {
    /// The process could not be started.
    Start { folder: PathBuf, source: io::Error },
    /// The process ended before its run existed.
    Ended {
        status: ExitStatus,
        /// The messages of the process, at most the last 64 KiB. Empty if it has printed them.
        messages: String,
        /// The problems of its scenario, as data.
        problems: Vec<ScenarioProblem>,
    },
    /// The request was removed from the queue meanwhile.
    Removed,
    /// A preview took longer than this time.
    Late(Duration),
}

impl LaunchError {
    /// Returns the exit code of a process that ended with a documented one, other than 0.
    pub fn exit(&self) -> Option<Exit> {
        let Self::Ended { status, .. } = self else { return None };
        let exit = Exit::of_code(u8::try_from(status.code()?).ok()?)?;
        (exit != Exit::Success).then_some(exit)
    }
}

impl Error for LaunchError {}

impl fmt::Display for LaunchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { folder, source } => {
                write!(out, "cannot start `runner` in {}: {source}", shown_path(folder))
            }
            Self::Ended { status, messages, .. } if messages.trim().is_empty() => {
                write!(out, "the background process ended before its run existed: {status}")
            }
            Self::Ended { messages, .. } => out.write_str(messages.trim_end()),
            Self::Removed => out.write_str("it was removed from the queue"),
            Self::Late(within) => {
                let time = show_duration(*within);
                write!(out, "the plan took over {time}\nselect fewer tests, or use a terminal")
            }
        }
    }
}

/// Starts the process, and waits until its run or group exists. The process outlives this one.
///
/// # Errors
///
/// The process cannot be started, or ends before its run exists.
pub fn launch(launch: Launch<'_>) -> Result<Started, LaunchError> {
    let folder = launch.folder.unwrap_or(Path::new(".")).to_owned();
    let failed = |source| LaunchError::Start { folder: folder.clone(), source };
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    let messages = memory_file("messages", b"").map_err(failed)?;
    // The path of the program may lead to another version by now.
    let mut command = Command::new("/proc/self/exe");
    let (id, priority) = launch.request.map_or(("", 0), |mark| (&*mark.id, mark.priority));
    let body = launch.request.and_then(|mark| mark.body);
    let body = body.map_or_else(String::new, |body| body.to_string());
    command.arg0("runner").args([DETACHED, id, &priority.to_string(), &body]);
    command.args(launch.arguments).current_dir(&folder).stdin(writer);
    command.stdout(launch.lock.map_or_else(Stdio::null, Stdio::from));
    if !launch.prints_messages {
        command.stderr(messages.try_clone().map_err(failed)?);
    }
    if let Some(results) = launch.results {
        command.env("RUNNER_RESULTS", results);
    }
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the writer: without this, the pipe would stay open when the process ends.
    drop(command);
    let mut line = String::new();
    let read = reader.read_to_string(&mut line);
    match serde_json::from_str(&line) {
        Ok(started) => {
            reap(child);
            Ok(started)
        }
        Err(_) => {
            read.map_err(failed)?;
            let status = child.wait().map_err(failed)?;
            let problems = serde_json::from_str(&line).unwrap_or_default();
            Err(LaunchError::Ended { status, messages: tail(&messages, MAX_MESSAGES), problems })
        }
    }
}

/// Kills the process that holds the lock of a request until its run exists. Returns whether this machine has one. The process is
/// not found by the id: a request of another results root can have the same one.
pub(crate) fn kill(lock: &File) -> bool {
    children::kill_holders(DETACHED, lock).unwrap_or(false)
}

/// Waits for the end of a process in a thread. Without a wait, a long-lived parent would keep it as a zombie.
fn reap(mut child: Child) {
    let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || child.wait());
}
