//! [`Host`]: what the process offers to what runs in it.

use std::{ffi::OsString, path::PathBuf, thread, time::Duration};

use jiff::Timestamp;
use nix::unistd::User;

use super::SessionLog;
use crate::{
    model::Actor,
    run::{OverdueAction, StopSignals, wall_clock},
};

/// What the process offers to what runs in it. Whoever embeds the runner decides all of it.
#[derive(Clone)]
pub struct Host {
    /// The runner's own program, which is started again to compile plugins.
    pub program: PathBuf,
    /// Where compiled plugins are kept; `None` leaves it to the results root.
    pub cache: Option<PathBuf>,
    /// Under which folder attempts have theirs: the system's for temporary files.
    pub scratch_root: PathBuf,
    /// Whether sandboxes may be pooled: made once, and reset between two guests. Else the kernel makes each of them anew.
    pub pools_sandboxes: bool,
    /// Where programs are looked for, as a shell does.
    pub search_path: OsString,
    /// Reads a variable of the environment: secrets come by names that only a scenario knows.
    pub variable: fn(&str) -> Option<OsString>,
    /// What stops the sessions of this process from outside, beside requests of other processes; `None` leaves the
    /// process's signals alone.
    pub signals: Option<StopSignals>,
    /// What is done about a session that does not end within the bounds of a stop.
    pub overdue: OverdueAction,
    /// Where what the runner traces goes.
    pub log: SessionLog,
    /// What the program was called with, without its name, as the logs of runs tell it.
    pub arguments: Vec<OsString>,
    /// Reads the wall clock.
    pub now: fn() -> Timestamp,
    /// Lets the calling thread rest; only the loop of [`block_on`](super::block_on) calls it.
    pub pause: fn(Duration),
}

impl Host {
    /// A host that offers nothing but `program`, which calls `runner::serve_child`, and a folder for temporary
    /// files: no environment, no signals, no tools that build plugins, no cache but the one in the results root. A session
    /// that does not end within the bounds of a stop ends the process.
    pub fn new(program: impl Into<PathBuf>, scratch_root: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cache: None,
            scratch_root: scratch_root.into(),
            pools_sandboxes: true,
            search_path: OsString::new(),
            variable: |_| None,
            signals: None,
            overdue: OverdueAction::default(),
            log: SessionLog::default(),
            arguments: Vec::new(),
            now: wall_clock,
            pause: thread::sleep,
        }
    }

    /// The user of this process, who asks for something now, and why.
    pub fn actor(&self, reason: Option<&str>) -> Actor {
        let uid = rustix::process::getuid().as_raw();
        let user = User::from_uid(uid.into()).ok().flatten();
        let system = rustix::system::uname();
        Actor {
            user: user.map(|user| user.name),
            uid,
            host: system.nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            at: (self.now)(),
            text: reason.map(str::to_owned),
        }
    }
}
