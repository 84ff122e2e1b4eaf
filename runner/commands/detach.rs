//! `exec --detach` and `resume --detach`: a run in a session of its own, which no terminal can end.
//!
//! The runner starts itself again. The second process is an ordinary one of the terminal until its run is born, so that
//! what is wrong before is said there, and Ctrl-C ends both. Then it says the run's id and leaves.

use std::{
    io::{self, Read as _},
    process::{Command, Stdio},
};

use fs_err::File;
use miette::miette;
use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::Context;
use crate::error::{Error, ExitStatus};

/// The first argument of the process that is going to detach itself.
pub const DETACHED_ARGUMENT: &str = "__detached";

/// Carries out the same command line in the background; returns once its run is born, or cannot be.
pub(super) fn start(context: &Context) -> Result<ExitStatus, Error> {
    let failed = |error| Error::internal(miette!("cannot start the runner again: {error}"));
    let mut child = Command::new(&context.host.program)
        .arg(DETACHED_ARGUMENT)
        .args(&context.host.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;

    // It ends when the run is born, or the process. One of which nothing is left to run is named, too.
    let mut said = String::new();
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout.read_to_string(&mut said).map_err(failed)?;
    if !said.is_empty() {
        context.output.text(&said);
        return Ok(ExitStatus::Success);
    }
    let code = child.wait().map_err(failed)?.code();
    code.and_then(ExitStatus::from_code)
        .ok_or_else(|| Error::internal(miette!("the runner ended before the run was born")))
}

/// Leaves the terminal: its signals, its input and its screen. What is said from now on goes into the run's log.
pub(super) fn leave_terminal(log: File) -> io::Result<()> {
    rustix::process::setsid()?;
    dup2_stderr(log)?;
    // Last, because the process in the foreground waits for it.
    dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(())
}
