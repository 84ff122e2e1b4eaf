//! Delivers SIGINT, SIGTERM, SIGHUP and SIGTSTP to the sessions of the process, suspends it, and restores the terminal before
//! SIGQUIT ends it.

use std::{
    fs,
    io::{self, Write as _},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};
use runner_model::{StopSignal, exit::Exit, test_setting};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::low_level::{self, emulate_default_handler};
use signal_hook::{flag, iterator::Signals};

/// A request by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalEvent {
    /// Stops the session. `true` from the second signal on.
    Stop(StopSignal, bool),
    /// Stops the process until SIGCONT (Ctrl-Z), by [`suspend`].
    Suspend,
}

/// Time for a message before the process exits.
const PRINT_TIME: Duration = Duration::from_millis(100);

type Listener = Box<dyn FnMut(SignalEvent) + Send>;

/// Handlers are installed once and stay until the process exits.
static SHARED: OnceLock<Arc<SignalListeners>> = OnceLock::new();

struct SignalListeners {
    stack: Mutex<ListenerStack>,
    /// Whether the next signal exits the process inside its handler. Set before the third stop signal.
    is_last: Arc<AtomicBool>,
}

#[derive(Default)]
struct ListenerStack {
    /// The listener that was added last is removed first. Each with the number of stop signals that it received.
    listeners: Vec<(Listener, u32)>,
    /// Stop signals for the next listener: received without a listener, or by listeners that are still there.
    kept: Vec<StopSignal>,
    /// Whether the process has ever received a stop signal.
    is_stopped: bool,
    /// Exit code of the last session, whose result is reported.
    result: Option<u8>,
    /// Whether the next stop signal exits the process with that code.
    exits: bool,
    /// Message of such an exit, about the work that is cut short.
    loss: Option<String>,
}

/// Removes its listener when it is dropped. Without listeners, the second signal exits the process.
pub struct ListenerGuard(Arc<SignalListeners>);

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        self.0.is_last.store(false, Ordering::SeqCst);
        let mut stack = lock(&self.0.stack);
        stack.listeners.pop();
        if stack.listeners.is_empty() {
            stack.kept.clear();
        }
    }
}

/// Installs the handlers. From then on a stop signal ends the process only through a listener: one that finds no listener is
/// kept for the next.
///
/// # Errors
///
/// No handler or thread can be installed.
pub fn take_over() -> io::Result<()> {
    let shared = listeners()?;
    let mut stack = lock(&shared.stack);
    if stack.kept.is_empty() {
        stack.exits = false;
        shared.is_last.store(false, Ordering::SeqCst);
    }
    Ok(())
}

fn listeners() -> io::Result<&'static Arc<SignalListeners>> {
    if let Some(shared) = SHARED.get() {
        return Ok(shared);
    }
    let shared = install()?;
    Ok(SHARED.get_or_init(|| shared))
}

/// Lets the next stop signal exit the process, until a listener is added: output that is not read must not keep a command that
/// has no session. Does nothing during a session. Returns whether an earlier signal has stopped a session.
pub fn exit_on_signal() -> bool {
    let Some(shared) = SHARED.get() else { return false };
    let mut stack = lock(&shared.stack);
    if stack.listeners.is_empty() {
        match stack.result {
            Some(_) => stack.exits = true,
            None => shared.is_last.store(true, Ordering::SeqCst),
        }
    }
    let is_stopped = stack.is_stopped;
    drop(stack);
    pass("exit");
    is_stopped
}

/// Sets the exit code of a session whose result is reported. A later signal that exits the process does not change it: the report
/// and the process must not differ. Such an exit prints `loss`.
pub fn keep_exit(exit: Exit, loss: Option<String>) {
    let Some(shared) = SHARED.get() else { return };
    let mut stack = lock(&shared.stack);
    (stack.result, stack.loss) = (Some(exit.code()), loss);
    if stack.listeners.is_empty() {
        stack.exits |= shared.is_last.swap(false, Ordering::SeqCst);
    }
}

/// Returns the first stop signal that the next listener would receive.
pub fn kept_stop() -> Option<StopSignal> {
    pass("kept");
    SHARED.get().and_then(|shared| lock(&shared.stack).kept.first().copied())
}

/// Calls `listener` for each signal, on the signal thread, and immediately for signals that were received before. Listeners that
/// were added before are called, too. The third stop signal exits the process in its handler, which works even if all threads
/// are stuck.
///
/// # Errors
///
/// No handler or thread can be installed.
pub(crate) fn add_listener(
    listener: impl FnMut(SignalEvent) + Send + 'static,
) -> io::Result<ListenerGuard> {
    let shared = Arc::clone(listeners()?);
    pass("listen");
    shared.add(Box::new(listener));
    Ok(ListenerGuard(shared))
}

/// Calls `stop` for each stop signal until the guard is dropped, and immediately if [`take_over`] has kept one. `true` from the
/// second signal on.
///
/// # Errors
///
/// No handler or thread can be installed.
pub fn on_stop(
    mut stop: impl FnMut(StopSignal, bool) + Send + 'static,
) -> io::Result<ListenerGuard> {
    add_listener(move |event| {
        if let SignalEvent::Stop(signal, is_second) = event {
            stop(signal, is_second);
        }
    })
}

/// Blocks SIGCONT in this thread and in those that it starts. Call it before the process has another thread, for [`suspend`].
///
/// A blocked SIGCONT still continues a stopped process, and stays pending until the next signal that stops it. So the kernel
/// itself knows which of the two came last. Handlers can run in another order than their signals came.
pub fn keep_continue_pending() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCONT);
    // Cannot fail for a signal that exists.
    let _ = signals.thread_block();
}

/// Returns whether no SIGCONT has come since the last SIGTSTP.
pub(crate) fn is_suspending() -> bool {
    !has_signal("ShdPnd:", SIGCONT)
}

/// Stops the process until SIGCONT. Does nothing if SIGCONT has come since the last SIGTSTP: no process would send another one.
pub(crate) fn suspend() {
    if is_suspending() {
        let _ = low_level::raise(SIGSTOP);
    }
}

/// Sends this process SIGTERM if a test selects this place: `RUNNER_TEST_SIGNAL=place`, or `place:2` at the second passage.
/// Release builds have no such places.
pub(crate) fn pass(place: &str) {
    static PASSAGES: AtomicU32 = AtomicU32::new(0);
    let wanted = test_setting("RUNNER_TEST_SIGNAL");
    let Some((name, count)) =
        wanted.as_deref().map(|wanted| wanted.split_once(':').unwrap_or((wanted, "1")))
    else {
        return;
    };
    if name == place && count == (PASSAGES.fetch_add(1, Ordering::SeqCst) + 1).to_string() {
        let received = || SHARED.get().map_or(0, |shared| lock(&shared.stack).kept.len());
        let before = received();
        let _ = low_level::raise(SIGTERM);
        let mut pauses = 0..5_000;
        while received() == before && pauses.next().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Lets writes beyond the limit of a file's size (`ulimit -f`) fail like those on a full disk. The signal would end the process.
///
/// # Errors
///
/// The handler cannot be installed.
pub fn fail_large_writes() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

static RESTORE_TERMINAL: OnceLock<fn()> = OnceLock::new();

/// Sets a function that restores the terminal before a signal or the watchdog ends the process.
pub fn before_forced_exit(restore: fn()) {
    let _ = RESTORE_TERMINAL.set(restore);
}

pub(crate) fn restore_terminal() {
    if let Some(restore) = RESTORE_TERMINAL.get() {
        restore();
    }
}

fn install() -> io::Result<Arc<SignalListeners>> {
    let mut numbers = vec![SIGINT, SIGTERM];
    // Under `nohup` a hang-up must not stop the session.
    if !is_ignored(SIGHUP) {
        numbers.push(SIGHUP);
    }
    let stops = numbers.clone();
    let is_last = Arc::new(AtomicBool::new(false));
    // The last signal must exit before the thread receives it, so the shutdown is registered first. A signal between the two
    // registrations would have no effect. These flags keep it.
    let early: Vec<_> = stops.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
    let mut ids = Vec::new();
    for (number, early) in stops.iter().zip(&early) {
        ids.push(flag::register(*number, Arc::clone(early))?);
        // 128 + N is the status that shells report for a process that a signal ended.
        flag::register_conditional_shutdown(*number, 128 + number, Arc::clone(&is_last))?;
    }
    fail_large_writes()?;
    numbers.extend([SIGTSTP, SIGQUIT].into_iter().filter(|number| !is_ignored(*number)));
    let mut signals = Signals::new(numbers)?;
    for id in ids {
        low_level::unregister(id);
    }
    let shared = Arc::new(SignalListeners { stack: Mutex::default(), is_last });
    let pending: Vec<_> = signals.pending().collect();
    let is_early = |(_, early): &(&i32, &Arc<AtomicBool>)| early.load(Ordering::SeqCst);
    let early = stops.iter().zip(&early).filter(is_early).map(|(number, _)| *number);
    let early = early.filter(|number| !pending.contains(number));
    for number in early.chain(pending.iter().copied()) {
        shared.receive(number);
    }
    let receiver = Arc::clone(&shared);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            if let Some(exit) = receiver.receive(number) {
                restore_terminal();
                let loss = lock(&receiver.stack).loss.take();
                loss.into_iter().for_each(|loss| print_within(loss, PRINT_TIME));
                low_level::exit(exit);
            }
        }
    })?;
    Ok(shared)
}

/// Prints a message, unless standard error is not read.
fn print_within(message: String, time: Duration) {
    let (sender, printed) = mpsc::channel();
    let print = move || {
        let _ = writeln!(io::stderr(), "{message}");
        let _ = sender.send(());
    };
    if thread::Builder::new().spawn(print).is_ok() {
        let _ = printed.recv_timeout(time);
    }
}

impl SignalListeners {
    /// Returns the exit code if the signal exits the process: that of a reported session, or that of the signal if
    /// [`exit_on_signal`] was called after its handler and before this.
    fn receive(&self, number: i32) -> Option<i32> {
        let mut stack = lock(&self.stack);
        if number == SIGQUIT {
            restore_terminal();
            let _ = emulate_default_handler(number);
        }
        if number == SIGTSTP {
            if stack.listeners.is_empty() {
                drop(stack);
                suspend();
                return None;
            }
            for (call, _) in &mut stack.listeners {
                call(SignalEvent::Suspend);
            }
            return None;
        }
        let signal = match number {
            SIGINT => StopSignal::Interrupt,
            SIGTERM => StopSignal::Terminate,
            _ => StopSignal::HangUp,
        };
        stack.kept.push(signal);
        stack.is_stopped = true;
        // The newest listener decides: its session is the one that runs.
        for listener in &mut stack.listeners {
            self.send(listener, signal);
        }
        if !stack.listeners.is_empty() {
            return None;
        }
        // A session is about to start, or all are over and about to be reported. The next signal exits the process.
        match stack.result {
            Some(code) => mem::replace(&mut stack.exits, true).then(|| code.into()),
            None => self.is_last.swap(true, Ordering::SeqCst).then_some(128 + number),
        }
    }

    fn add(&self, listener: Listener) {
        let mut stack = lock(&self.stack);
        let mut listener = (listener, 0);
        self.is_last.store(false, Ordering::SeqCst);
        stack.exits = false;
        for signal in &stack.kept {
            self.send(&mut listener, *signal);
        }
        stack.listeners.push(listener);
    }

    fn send(&self, (call, count): &mut (Listener, u32), signal: StopSignal) {
        *count += 1;
        let is_second = *count > 1;
        if is_second {
            // The next signal exits the process inside its handler.
            restore_terminal();
        }
        self.is_last.store(is_second, Ordering::SeqCst);
        call(SignalEvent::Stop(signal, is_second));
    }
}

/// Returns whether the process was started with the signal ignored.
fn is_ignored(number: i32) -> bool {
    has_signal("SigIgn:", number)
}

/// Returns whether a set of signals of the process has this one. `set` is its name in `/proc/self/status`.
fn has_signal(set: &str, number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix(set))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
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

    use super::{ListenerGuard, SignalEvent, SignalListeners};

    fn unused() -> Arc<SignalListeners> {
        Arc::new(SignalListeners { stack: Mutex::default(), is_last: Arc::default() })
    }

    fn stop(is_second: bool) -> SignalEvent {
        SignalEvent::Stop(StopSignal::Terminate, is_second)
    }

    #[test]
    fn unheard_signals_reach_the_next_listener() {
        let shared = unused();
        let heard = || {
            let (sender, received) = mpsc::channel();
            shared.add(Box::new(move |signal| sender.send(signal).unwrap()));
            (ListenerGuard(Arc::clone(&shared)), received)
        };
        assert_eq!(shared.receive(SIGTERM), None);
        assert!(shared.is_last.load(Ordering::SeqCst));
        let (_group, received) = heard();
        assert!(!shared.is_last.load(Ordering::SeqCst));
        assert_eq!(received.recv(), Ok(stop(false)));
        // The next session of a group receives the signals of the group.
        let (session, received) = heard();
        assert_eq!(received.recv(), Ok(stop(false)));
        drop((session, _group));
        // The sessions that received it are over.
        let (_next, received) = heard();
        assert!(received.try_recv().is_err());
    }

    #[test]
    fn signal_exits_once_output_only_waits() {
        let shared = unused();
        // Does the same as `exit_on_signal`, after the handler of the signal has run.
        shared.is_last.store(true, Ordering::SeqCst);
        assert_eq!(shared.receive(SIGTERM), Some(128 + SIGTERM));
    }

    /// Calls `receive` directly: real signals would reach the sessions of other tests.
    #[test]
    fn second_stop_signal_is_marked() {
        let (shared, (sender, received)) = (unused(), mpsc::channel());
        shared.add(Box::new(move |signal| sender.send(signal).unwrap()));
        for number in [SIGTSTP, SIGTERM, SIGTSTP] {
            shared.receive(number);
        }
        assert!(!shared.is_last.load(Ordering::SeqCst));
        shared.receive(SIGTERM);
        assert!(shared.is_last.load(Ordering::SeqCst));
        drop(shared);
        let received: Vec<_> = received.iter().collect();
        let expected = [SignalEvent::Suspend, stop(false), SignalEvent::Suspend, stop(true)];
        assert_eq!(received, expected);
    }
}
