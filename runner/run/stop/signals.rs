//! [`StopSignals`]: what signals ask of a run.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, signal::SIGXFSZ},
    flag::{self, register_conditional_default, register_conditional_shutdown},
    iterator::{
        Handle, SignalsInfo,
        exfiltrator::{WithOrigin, origin::Origin},
    },
    low_level::emulate_default_handler,
};

use super::{StopRequest, pauses::Pauses};
use crate::{
    model::{StopMode, StopSignal},
    plugin::clock,
};

/// How long a guest that computes may take to its next epoch, and more.
const HOLD_TIME: Duration = Duration::from_millis(30);

type RequestListener = Box<dyn FnMut(StopRequest) + Send>;
/// Does something while the screen is left alone.
type Aside = Box<dyn Fn(&dyn Fn()) + Send>;
/// Does what is left to do before a signal ends the process.
type Leave = Box<dyn Fn() + Send>;

/// Receives SIGINT, SIGTERM, SIGHUP and SIGTSTP on a thread of its own.
///
/// Of the first three, the first asks for a stop, the second for one without grace, the third ends the process in its
/// handler. Each that arrives counts, however close they come together; what the kernel has made one of never arrives
/// twice. While nobody listens, a signal does what it does to any program: it ends the process.
///
/// SIGTSTP, which is Ctrl-Z, stops the process as it does any other, after guests that compute are held at a safe place.
#[derive(Clone)]
pub struct StopSignals {
    shared: Arc<Listening>,
    handle: Handle,
}

struct Listening {
    listener: Mutex<Option<RequestListener>>,
    aside: Mutex<Option<Aside>>,
    leave: Mutex<Option<Leave>>,
    pauses: Mutex<Option<Pauses>>,
    /// Set before the third signal.
    is_last: Arc<AtomicBool>,
    has_received: AtomicBool,
}

impl StopSignals {
    /// Takes over the signals for the rest of the process's life; not SIGHUP or SIGTSTP where whoever started this process
    /// has switched them off, as `nohup` does.
    ///
    /// # Errors
    ///
    /// Fails if the handlers or the thread cannot be installed.
    pub fn install() -> io::Result<Self> {
        let mut wanted = StopSignal::ALL.to_vec();
        if is_ignored(SIGHUP) {
            wanted.retain(|signal| *signal != StopSignal::HangUp);
        }
        let is_last = Arc::new(AtomicBool::new(false));
        // Until `signals` is there, a signal ends the process as it ends any other; it would be lost otherwise.
        let is_early = Arc::new(AtomicBool::new(true));
        for number in wanted.iter().copied().map(number_of) {
            register_conditional_default(number, Arc::clone(&is_early))?;
            // As shells report the end of a process by a signal. Before `signals`, whose thread sets the flag.
            register_conditional_shutdown(number, 128 + number, Arc::clone(&is_last))?;
        }
        let pause = (!is_ignored(SIGTSTP)).then_some(SIGTSTP);
        let wanted = wanted.into_iter().map(number_of).chain(pause);
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
        is_early.store(false, Ordering::Relaxed);
        // A file that may not grow any more is a failed write, like a full disk, and not the end of the process.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let shared = Arc::new(Listening {
            listener: Mutex::default(),
            aside: Mutex::default(),
            leave: Mutex::default(),
            pauses: Mutex::default(),
            is_last,
            has_received: AtomicBool::new(false),
        });
        let (listening, handle) = (Arc::clone(&shared), signals.handle());
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut count = 0;
                for origin in signals.forever() {
                    listening.receive(&origin, &mut count);
                }
            })?;
        Ok(Self { shared, handle })
    }

    /// Sends requests to `listener` from now on.
    pub(crate) fn listen(&self, listener: impl FnMut(StopRequest) + Send + 'static) {
        *lock(&self.shared.listener) = Some(Box::new(listener));
    }

    /// Tells whether one of the first three has arrived that somebody listened for.
    pub(crate) fn has_received(&self) -> bool {
        self.shared.has_received.load(Ordering::Relaxed)
    }

    /// Pauses a session before the process is stopped: its workers are told of it, so that they wait as well.
    pub(crate) fn pause_session(&self, pauses: Pauses) {
        *lock(&self.shared.pauses) = Some(pauses);
    }

    /// Gives the signals their default effect back.
    pub(crate) fn stop_listening(&self) {
        *lock(&self.shared.pauses) = None;
        *lock(&self.shared.listener) = None;
    }

    /// Lets `aside` leave the screen alone while the process is stopped.
    pub(crate) fn pause_by(&self, aside: impl Fn(&dyn Fn()) + Send + 'static) {
        *lock(&self.shared.aside) = Some(Box::new(aside));
    }

    /// Calls `leave` before a signal ends the process, SIGQUIT included: it has changed what others find as it is.
    pub(crate) fn leave_by(&self, leave: impl Fn() + Send + 'static) {
        *lock(&self.shared.leave) = Some(Box::new(leave));
        if !is_ignored(SIGQUIT) {
            // Without it, SIGQUIT does what it does to any program.
            drop(self.handle.add_signal(SIGQUIT));
        }
    }
}

impl Listening {
    fn receive(&self, origin: &Origin, count: &mut u32) {
        let number = origin.signal;
        if number == SIGTSTP {
            self.pause();
            return;
        }
        let mut listener = lock(&self.listener);
        let (Some(listener), Some(signal)) = (listener.as_mut(), signal_of(number)) else {
            self.leave();
            default_effect(number);
            return;
        };
        *count += 1;
        if *count >= 2 {
            // The next one ends the process in its handler.
            self.leave();
        }
        self.has_received.store(true, Ordering::Relaxed);
        self.is_last.store(*count >= 2, Ordering::Relaxed);
        listener(StopRequest {
            mode: if *count == 1 {
                StopMode::Stop
            } else {
                StopMode::Kill
            },
            signal: Some(signal),
            actor: None,
        });
        match origin.process {
            Some(from) => tracing::info!(
                "received {} from process {} of user {}",
                signal.as_str(),
                from.pid,
                from.uid
            ),
            None => tracing::info!("received {}", signal.as_str()),
        }
    }

    fn leave(&self) {
        if let Some(leave) = &*lock(&self.leave) {
            leave();
        }
    }

    /// Stops the process; returns once it goes on.
    fn pause(&self) {
        clock::pause();
        let pauses = lock(&self.pauses).clone();
        match &pauses {
            Some(pauses) => pauses.stop_process(true),
            None => thread::sleep(HOLD_TIME),
        }
        let stop = || default_effect(SIGTSTP);
        match &*lock(&self.aside) {
            Some(aside) => aside(&stop),
            None => stop(),
        }
        if let Some(pauses) = &pauses {
            pauses.stop_process(false);
        }
        clock::resume();
        tracing::info!("the process was stopped, and goes on");
    }
}

/// Nothing can be done about a failure: the process should have ended, or stopped.
fn default_effect(number: i32) {
    drop(emulate_default_handler(number));
}

/// Tells whether whoever started this process had a signal ignored. Elsewhere than on Linux nobody can be asked safely.
fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

fn number_of(signal: StopSignal) -> i32 {
    match signal {
        StopSignal::Interrupt => SIGINT,
        StopSignal::Terminate => SIGTERM,
        StopSignal::HangUp => SIGHUP,
    }
}

fn signal_of(number: i32) -> Option<StopSignal> {
    StopSignal::ALL
        .into_iter()
        .find(|signal| number_of(*signal) == number)
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use signal_hook::{consts::SIGTERM, low_level::raise};

    use super::StopSignals;
    use crate::model::StopMode;

    #[test]
    fn signals_count_however_close_they_come_together() {
        let signals = StopSignals::install().unwrap();
        let (sender, heard) = mpsc::channel();
        signals.listen(move |request| sender.send(request.mode).unwrap());
        // Each has been through its handler when this returns, so that the kernel cannot make one of them.
        raise(SIGTERM).unwrap();
        raise(SIGTERM).unwrap();
        let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!([next(), next()], [StopMode::Stop, StopMode::Kill]);
    }
}
