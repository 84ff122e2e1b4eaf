//! [`Pager`]: the program in which a person reads what is longer than the screen.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use signal_hook::{consts::SIGINT, flag};

/// The pager where the environment names none.
const DEFAULT: &str = "less";
/// How `less` behaves where the environment does not say it: it ends where the text fits on one screen, shows colours, and
/// leaves the text there.
const LESS: (&str, &str) = ("LESS", "FRX");
/// What makes a command one for the shell.
const FOR_SHELL: &str = "|&;<>()$`\\\"' \t\n*?[#~=%";

/// The program in which a person reads what is longer than the screen.
#[derive(Clone, Debug)]
pub struct Pager {
    command: OsString,
    /// Whether the environment says how `less` behaves.
    knows_less: bool,
}

/// Where what is printed goes: to standard output, or to a pager once there is something to read.
#[derive(Debug, Default)]
pub(super) enum Paging {
    /// To standard output.
    #[default]
    Off,
    /// To a pager that is started with the first text.
    Ready(Pager),
    /// To this one.
    On(Child),
}

/// Ends the pager, and waits for whoever reads in it.
pub struct Paged(pub(super) Arc<Mutex<Paging>>);

impl Pager {
    /// The pager that the environment names; `None` if it says that there is to be none.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let command = variable("PAGER").unwrap_or_else(|| DEFAULT.into());
        let is_none = command.is_empty() || command == "cat";
        (!is_none).then(|| Self {
            command,
            knows_less: variable(LESS.0).is_some(),
        })
    }

    fn start(&self) -> io::Result<Child> {
        let is_for_shell = self
            .command
            .to_string_lossy()
            .contains(|c| FOR_SHELL.contains(c));
        let mut command = match is_for_shell {
            true => Command::new("sh"),
            false => Command::new(&self.command),
        };
        if is_for_shell {
            command.args([OsStr::new("-c"), &self.command]);
        }
        if !self.knows_less {
            command.env(LESS.0, LESS.1);
        }
        let child = command.stdin(Stdio::piped()).spawn()?;
        // Ctrl-C is for the pager: this process ends when that has.
        drop(flag::register(SIGINT, Arc::new(AtomicBool::new(false))));
        Ok(child)
    }
}

impl Paging {
    /// Writes to the pager, which is started by that; `None` if there is none to write to.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<io::Result<()>> {
        if let Self::Ready(pager) = self {
            *self = match pager.start() {
                Ok(child) => Self::On(child),
                // Then it is read without one.
                Err(_) => Self::Off,
            };
        }
        match self {
            Self::On(child) => {
                let stdin = child.stdin.as_mut();
                Some(stdin.map_or(Ok(()), |stdin| stdin.write_all(bytes)))
            }
            Self::Off | Self::Ready(_) => None,
        }
    }
}

impl Drop for Paged {
    fn drop(&mut self) {
        let paging = std::mem::take(&mut *lock(&self.0));
        if let Paging::On(mut child) = paging {
            drop(child.stdin.take());
            // However it ended: what it was for is over.
            drop(child.wait());
        }
    }
}

/// Locks what one thread at a time writes to.
pub(super) fn lock(paging: &Mutex<Paging>) -> MutexGuard<'_, Paging> {
    paging.lock().unwrap_or_else(PoisonError::into_inner)
}
