//! Places at which tests kill the process or make a write fail; without the feature `failpoints` there are none.

use std::io;

/// Passes `<step>.<place>`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(super) fn pass(_step: &str, _place: &str) -> io::Result<()> {
    Ok(())
}

/// Passes `<step>.<place>`: what `FAILPOINTS` says happens there, as in `row.written=5*off->return(kill)`.
#[cfg(feature = "failpoints")]
pub(super) fn pass(step: &str, place: &str) -> io::Result<()> {
    fail::eval(&format!("{step}.{place}"), |fault| inject(fault.as_deref())).unwrap_or(Ok(()))
}

#[cfg(feature = "failpoints")]
fn inject(fault: Option<&str>) -> io::Result<()> {
    use rustix::{io::Errno, process};

    match fault {
        Some("kill") => {
            process::kill_process(process::getpid(), process::Signal::KILL)?;
            Ok(())
        }
        Some("full") => Err(Errno::NOSPC.into()),
        Some("broken") => Err(Errno::IO.into()),
        other => Err(io::Error::other(format!("no fault is called {other:?}"))),
    }
}
