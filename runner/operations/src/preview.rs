//! Reads the lines of commands that change nothing, such as `exec --dry-run --json`. They run in a process of their own, because
//! plans of foreign lists can take much memory and time.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{ffi::OsString, ops::ControlFlow, path::PathBuf, thread};

use runner_prepare::children::{memory_file, tail};

use crate::launch::{LaunchError, MAX_MESSAGES};

/// Runs `runner` with these arguments in the working directory, and calls `each` for every line of its output. A break or the time
/// limit `within` ends the process.
///
/// # Errors
///
/// The process cannot be started, takes too long, or exits with a code other than 0 without a break.
pub fn preview(
    arguments: &[OsString],
    within: Duration,
    each: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), LaunchError> {
    let failed = |source| LaunchError::Start { folder: PathBuf::from("."), source };
    let messages = memory_file("messages", b"").map_err(failed)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("runner").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(messages.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let output = child.stdout.take();
    let child = Mutex::new(child);
    let kill = || child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    let (done, ended) = mpsc::channel::<()>();
    let (read, is_late) = thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let is_late = ended.recv_timeout(within) == Err(RecvTimeoutError::Timeout);
            is_late && kill().is_ok()
        });
        let read = output.map_or(Ok(ControlFlow::Continue(())), |output| read(output, each));
        drop(done);
        (read, watchdog.join().unwrap_or_default())
    });
    if read.is_err() || read.as_ref().is_ok_and(ControlFlow::is_break) {
        let _ = kill();
    }
    let status =
        child.into_inner().unwrap_or_else(PoisonError::into_inner).wait().map_err(failed)?;
    match read.map_err(failed)? {
        ControlFlow::Break(()) => Ok(()),
        ControlFlow::Continue(()) if is_late => Err(LaunchError::Late(within)),
        ControlFlow::Continue(()) if status.success() => Ok(()),
        ControlFlow::Continue(()) => {
            let messages = tail(&messages, MAX_MESSAGES);
            Err(LaunchError::Ended { status, messages, problems: Vec::new() })
        }
    }
}

/// Calls `each` for the lines of a process until a break or the end.
fn read(
    output: ChildStdout,
    each: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    for line in BufReader::new(output).lines() {
        if each(&line?).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
