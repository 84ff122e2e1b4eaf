//! [`PressedKeys`]: the keys that a person presses while a session goes on.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::getpgrp,
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
    },
};

use super::Output;

/// How long a key may wait while the terminal was somebody else's, such as that of a shell.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// Keys are heard until it is dropped; then the terminal is again as it was.
pub struct PressedKeys {
    terminal: KeyTerminal,
    is_over: Arc<AtomicBool>,
}

impl Drop for PressedKeys {
    fn drop(&mut self) {
        // Nobody waits for the thread: it takes nothing from the terminal any more.
        let mut held = self.terminal.lock();
        self.is_over.store(true, Ordering::Relaxed);
        held.give_back();
    }
}

/// The terminal that keys come from. It hands over lines and shows what is typed, unless keys are listened to.
#[derive(Clone, Default)]
pub(super) struct KeyTerminal(Arc<Mutex<HeldTerminal>>);

#[derive(Default)]
struct HeldTerminal {
    /// How it was before each key came at once and unseen.
    was: Option<Termios>,
    /// Whether the process is about to end.
    is_ending: bool,
}

impl KeyTerminal {
    /// Leaves the terminal as it was while `meanwhile` lasts: the process may be stopped in it.
    pub(super) fn aside(&self, meanwhile: impl FnOnce()) {
        let mut held = self.lock();
        held.give_back();
        meanwhile();
        // The thread that listens takes it again, if the process has it then.
    }

    /// Leaves the terminal as it was for good.
    pub(super) fn leave(&self) {
        let mut held = self.lock();
        held.is_ending = true;
        held.give_back();
    }

    /// Tells whether a key is heard.
    pub(super) fn is_heard(&self) -> bool {
        self.lock().was.is_some()
    }

    /// Calls `on_key` for each key, on a thread of its own; nobody hears any where standard input, output or error is
    /// something else than a terminal, which somebody else may read then.
    pub(super) fn listen(
        &self,
        mut on_key: impl FnMut(u8) + Send + 'static,
    ) -> Option<PressedKeys> {
        let is_seen = io::stdout().is_terminal() && io::stderr().is_terminal();
        if !is_seen || !io::stdin().is_terminal() {
            return None;
        }
        let (terminal, is_over) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let listening = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("keys".into());
        let spawned = thread.spawn(move || {
            let mut keys = [0; 64];
            loop {
                match terminal.read(&mut keys, &listening) {
                    HeardKeys::Over => return,
                    // What is typed is for somebody else, and it need not be known that there is something.
                    HeardKeys::Elsewhere => drop(poll(&mut [], Some(&LOOK_EVERY))),
                    HeardKeys::Pressed(count) => {
                        keys[..count].iter().copied().for_each(&mut on_key);
                        if is_gone() {
                            return;
                        }
                    }
                }
            }
        });
        // A run goes on without it.
        spawned.ok()?;
        Some(PressedKeys {
            terminal: self.clone(),
            is_over,
        })
    }

    /// Takes the terminal, if the process has it, and what was typed.
    fn read(&self, keys: &mut [u8], is_over: &AtomicBool) -> HeardKeys {
        let mut held = self.lock();
        if is_over.load(Ordering::Relaxed) || held.is_ending {
            return HeardKeys::Over;
        }
        // From the background, reading and changing its mode would stop the process.
        if !has_terminal() {
            return HeardKeys::Elsewhere;
        }
        if held.was.is_none() && !held.take() {
            return HeardKeys::Over;
        }
        // It does not block.
        match rustix::io::read(io::stdin(), keys) {
            Ok(count) => HeardKeys::Pressed(count),
            Err(Errno::INTR) => HeardKeys::Pressed(0),
            Err(_) => HeardKeys::Over,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HeldTerminal> {
        // What is changed under the lock is changed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldTerminal {
    /// Lets each key come at once and unseen; those of signals still send signals.
    fn take(&mut self) -> bool {
        let Ok(was) = tcgetattr(io::stdin()) else {
            return false;
        };
        let mut mode = was.clone();
        mode.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        mode.special_codes[SpecialCodeIndex::VMIN] = 0;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        let is_taken = tcsetattr(io::stdin(), OptionalActions::Now, &mode).is_ok();
        self.was = is_taken.then_some(was);
        is_taken
    }

    fn give_back(&mut self) {
        // In the background it is somebody else's, who has set the mode for himself.
        if let Some(was) = self.was.take()
            && has_terminal()
        {
            // The terminal may be gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &was);
        }
    }
}

/// What was heard of the terminal.
enum HeardKeys {
    /// So many keys.
    Pressed(usize),
    /// The process is in the background.
    Elsewhere,
    /// Nothing can come any more.
    Over,
}

/// Waits for a key, and now and then for none; tells whether the terminal has gone.
fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    match poll(&mut asked, Some(&LOOK_EVERY)) {
        Ok(_) => asked[0].revents().intersects(ends),
        Err(error) => error != Errno::INTR,
    }
}

/// Tells whether the process is in the foreground of the terminal.
fn has_terminal() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

impl Output {
    /// Hears each key that is pressed until what comes back is dropped.
    pub fn listen(&self, on_key: impl FnMut(u8) + Send + 'static) -> Option<PressedKeys> {
        self.terminal.listen(on_key)
    }

    /// Tells whether a key is heard now.
    pub(super) fn has_keys(&self) -> bool {
        self.terminal.is_heard()
    }

    /// Leaves the screen and the terminal alone while `pause` lasts.
    pub fn aside(&self, pause: &dyn Fn()) {
        self.around_bar(|| self.terminal.aside(pause));
    }

    /// Leaves the terminal as it was found: the process is about to end without any further notice.
    pub fn leave_terminal(&self) {
        self.terminal.leave();
    }
}
