//! Delivers SIGINT, SIGTERM, SIGHUP and SIGTSTP to the sessions of the process.

use std::{
    fs, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use runner_model::StopSignal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::{flag, iterator::Signals, low_level::emulate_default_handler};

/// A request by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalEvent {
    /// Stops the session. `true` from the second signal on.
    Stop(StopSignal, bool),
    /// Stops the process until SIGCONT (Ctrl-Z).
    Suspend,
}

type Listener = Box<dyn FnMut(SignalEvent) + Send>;

/// Handlers are installed once and stay until the process exits.
static SHARED: OnceLock<Arc<SignalListeners>> = OnceLock::new();

struct SignalListeners {
    /// A stack: the listener that was added last is removed first. Each with the number of stop signals that it received.
    listeners: Mutex<Vec<(Listener, u32)>>,
    /// Whether the next signal exits the process inside its handler. Set before the third stop signal.
    is_last: Arc<AtomicBool>,
}

/// Removes its listener when it is dropped. Without listeners, the second signal exits the process.
pub(crate) struct ListenerGuard(Arc<SignalListeners>);

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        self.0.is_last.store(false, Ordering::SeqCst);
        lock(&self.0.listeners).pop();
    }
}

/// Calls `listener` for each signal, on the signal thread. Listeners that were added before are called, too. The third stop
/// signal exits the process in its handler, which works even if all threads are stuck.
///
/// # Errors
///
/// No handler or thread can be installed.
pub(crate) fn add_listener(
    listener: impl FnMut(SignalEvent) + Send + 'static,
) -> io::Result<ListenerGuard> {
    let shared = match SHARED.get() {
        Some(shared) => Arc::clone(shared),
        None => {
            let shared = install()?;
            Arc::clone(SHARED.get_or_init(|| shared))
        }
    };
    let mut listeners = lock(&shared.listeners);
    if listeners.is_empty() {
        shared.is_last.store(false, Ordering::SeqCst);
    }
    listeners.push((Box::new(listener), 0));
    drop(listeners);
    Ok(ListenerGuard(shared))
}

fn install() -> io::Result<Arc<SignalListeners>> {
    let mut numbers = vec![SIGINT, SIGTERM];
    // Under `nohup` a hang-up must not stop the session.
    if !is_ignored(SIGHUP) {
        numbers.push(SIGHUP);
    }
    let is_last = Arc::new(AtomicBool::new(false));
    for number in &numbers {
        // 128 + N is the status that shells report for a process that a signal ended.
        flag::register_conditional_shutdown(*number, 128 + number, Arc::clone(&is_last))?;
    }
    // With a handler, exceeding `RLIMIT_FSIZE` fails the write like a full disk. The default would end the process.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    if !is_ignored(SIGTSTP) {
        numbers.push(SIGTSTP);
    }
    let mut signals = Signals::new(numbers)?;
    let shared = Arc::new(SignalListeners { listeners: Mutex::default(), is_last });
    let receiver = Arc::clone(&shared);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            receiver.receive(number);
        }
    })?;
    Ok(shared)
}

impl SignalListeners {
    fn receive(&self, number: i32) {
        let mut listeners = lock(&self.listeners);
        if listeners.is_empty() {
            drop(listeners);
            if number == SIGTSTP {
                let _ = emulate_default_handler(number);
                return;
            }
            // The session is already over and about to report it. The next signal exits the process.
            self.is_last.store(true, Ordering::SeqCst);
            return;
        }
        if number == SIGTSTP {
            for (call, _) in listeners.iter_mut() {
                call(SignalEvent::Suspend);
            }
            return;
        }
        let signal = match number {
            SIGINT => StopSignal::Interrupt,
            SIGTERM => StopSignal::Terminate,
            _ => StopSignal::HangUp,
        };
        for (call, count) in listeners.iter_mut() {
            *count += 1;
            let is_second = *count > 1;
            // The newest listener decides: its session is the one that runs.
            self.is_last.store(is_second, Ordering::SeqCst);
            call(SignalEvent::Stop(signal, is_second));
        }
    }
}

/// Returns whether the process was started with the signal ignored.
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

/// Locks a mutex whose data is valid after a panic, too.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, atomic::Ordering, mpsc};

    use runner_model::StopSignal;
    use signal_hook::consts::{SIGTERM, SIGTSTP};

    use super::{SignalEvent, SignalListeners};

    /// Calls `receive` directly: real signals would reach the sessions of other tests.
    #[test]
    fn second_stop_signal_is_marked() {
        let (sender, received) = mpsc::channel();
        let listener = Box::new(move |signal| sender.send(signal).unwrap());
        let shared =
            SignalListeners { listeners: Mutex::new(vec![(listener, 0)]), is_last: Arc::default() };
        for number in [SIGTSTP, SIGTERM, SIGTSTP] {
            shared.receive(number);
        }
        assert!(!shared.is_last.load(Ordering::SeqCst));
        shared.receive(SIGTERM);
        assert!(shared.is_last.load(Ordering::SeqCst));
        drop(shared);
        let stop = |is_second| SignalEvent::Stop(StopSignal::Terminate, is_second);
        let received: Vec<_> = received.iter().collect();
        let expected = [SignalEvent::Suspend, stop(false), SignalEvent::Suspend, stop(true)];
        assert_eq!(received, expected);
    }
}
