//! How a stop reaches a run: signals become data.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, signal::SIGXFSZ},
    flag,
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::model::StopSignal;

type Listener = Box<dyn FnMut(StopSignal) + Send>;

/// Receives SIGINT, SIGTERM and SIGHUP on a thread of its own.
///
/// While nobody listens, a signal does what it does to any program: it ends the process.
#[derive(Clone)]
pub struct StopSignals {
    listener: Arc<Mutex<Option<Listener>>>,
}

impl StopSignals {
    /// Takes over the three signals for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// Fails if the handlers or the thread cannot be installed.
    pub fn install() -> io::Result<Self> {
        let listener = Arc::new(Mutex::new(None::<Listener>));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        // A file that may not grow any more is a failed write, like a full disk, and not the end of the process.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let shared = Arc::clone(&listener);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for number in signals.forever() {
                    let mut listener = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    match (listener.as_mut(), from_number(number)) {
                        (Some(listener), Some(signal)) => listener(signal),
                        // Nothing can be done about a failure: the process should have ended.
                        _ => drop(emulate_default_handler(number)),
                    }
                }
            })?;
        Ok(Self { listener })
    }

    /// Sends signals to `listener` from now on.
    pub fn listen(&self, listener: impl FnMut(StopSignal) + Send + 'static) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// Gives the signals their default effect back.
    pub fn stop_listening(&self) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn from_number(number: i32) -> Option<StopSignal> {
    match number {
        SIGINT => Some(StopSignal::Interrupt),
        SIGTERM => Some(StopSignal::Terminate),
        SIGHUP => Some(StopSignal::HangUp),
        _ => None,
    }
}
