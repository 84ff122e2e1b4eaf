//! [`Keys`]: key presses while a session runs.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

static CHANGED: Mutex<ChangedModes> = Mutex::new(ChangedModes { before: None, is_exiting: false });

/// Changes of the terminal's modes by this process.
struct ChangedModes {
    /// The modes before. `None` while they are in force.
    before: Option<Termios>,
    /// Whether the process is about to exit, and must not change them again.
    is_exiting: bool,
}

/// The terminal of standard input, without echo, so that no key press breaks the progress bar. Dropping it restores the terminal.
pub struct Keys(());

impl Keys {
    /// Returns `None` unless standard input and standard error are the terminal, and no other program of a pipeline may read
    /// keys from it.
    pub fn open() -> Option<Self> {
        let is_ours = io::stdin().is_terminal()
            && io::stderr().is_terminal()
            && fstat(io::stdout())
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Fifo);
        is_ours.then_some(Self(()))
    }

    /// Returns the keys pressed since the last call.
    pub fn pressed(&self) -> Vec<u8> {
        let stdin = io::stdin();
        if !is_in_foreground() {
            // The shell has set its own modes.
            changed().before = None;
            return Vec::new();
        }
        silence();
        let mut keys = Vec::new();
        let mut bytes = [0; 64];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now))
            .is_ok_and(|ready| ready > 0)
            && let Ok(count @ 1..) = rustix::io::read(&stdin, &mut bytes)
        {
            keys.extend(&bytes[..count]);
        }
        keys
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Returns whether the process may use the terminal. One in the background that changes or reads it is stopped.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

fn changed() -> MutexGuard<'static, ChangedModes> {
    CHANGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Switches off echo and the line buffer of the terminal, also after another process has switched them on again. Signals of
/// keys stay. If they are off already, another process restores them.
fn silence() {
    let noisy = LocalModes::ECHO | LocalModes::ICANON;
    let Ok(modes) = tcgetattr(io::stdin()) else { return };
    if modes.local_modes.intersects(noisy) {
        let mut silent = modes.clone();
        silent.local_modes.remove(noisy);
        let mut changed = changed();
        if !changed.is_exiting && tcsetattr(io::stdin(), OptionalActions::Now, &silent).is_ok() {
            changed.before = Some(modes);
        }
    }
}

/// Restores the modes of the terminal at the end of a session, and before Ctrl-Z stops the process.
pub fn restore_terminal() {
    changed().restore();
}

/// Restores the modes of the terminal before the process exits in another way. Another thread may still wait for keys.
pub fn restore_terminal_for_exit() {
    let mut changed = changed();
    changed.is_exiting = true;
    changed.restore();
}

impl ChangedModes {
    fn restore(&mut self) {
        if let Some(modes) = self.before.take().filter(|_| is_in_foreground()) {
            // A terminal that is gone has no modes.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
    }
}
