//! [`Moment`]: an instant of the time in which this process could work.
//!
//! Deadlines are for work. While a process is stopped (Ctrl-Z, SIGSTOP, a paused machine), nobody works, and that time is
//! handed back to everything that is measured or bounded by moments. It is found as a gap between the beats of a pulse
//! by whoever asks for the time next, so that no deadline fires before. A pulse that is merely starved on a busy machine
//! leaves a gap as well: of any gap, only what the process's CPU time does not explain is handed back, so that a guest that
//! computes always comes to its deadline.
//!
//! While somebody holds the clock, because a run is paused, it stands still, and everything that it bounds with it. Of a machine
//! that sleeps neither the monotonic clock nor this one has time; what a clock that goes on meanwhile has more is only told.

use std::{
    ops::Add,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// How long nothing may be heard of a pulse before the process was not running. A pulse beats every few milliseconds.
const GAP: Duration = Duration::from_secs(1);
/// The last beat while no pulse beats.
const NEVER: u64 = u64::MAX;

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);
static RESUMED: Notify = Notify::const_new();

/// An instant of the time in which this process could work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self(Duration::from_nanos(CLOCK.worked()))
    }

    /// How much work there was time for since then.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    /// The same up to another moment; zero if `earlier` is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// A moment before this one; `None` before this process's first.
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(duration).map(Self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Waits for a moment.
pub async fn sleep_until(at: Moment) {
    loop {
        while_paused().await;
        let left = at.saturating_duration_since(Moment::now());
        if left.is_zero() {
            return;
        }
        // Of a process that was stopped it ends too early.
        tokio::time::sleep(left).await;
    }
}

/// Waits for as much time to work.
pub(super) async fn sleep(duration: Duration) {
    sleep_until(Moment::now() + duration).await;
}

/// Waits for `future`, but not for longer than `duration` of work; `None` if that is over.
pub(super) async fn within<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let ends = Moment::now() + duration;
    tokio::select! {
        biased;
        result = future => Some(result),
        () = sleep_until(ends) => None,
    }
}

/// How long this process has been stopped, held or asleep with its machine so far, as far as a pulse was there to find out.
pub fn suspended() -> Duration {
    CLOCK.worked();
    Duration::from_nanos(CLOCK.suspended.load(Ordering::Acquire)) + CLOCK.slept()
}

/// Holds the clock, until it is let go as often as it is held: guests that compute wait at their next epoch, those that wait for
/// the host are not told of its answer, and no time passes.
pub fn pause() {
    CLOCK.hold();
}

/// Lets the clock go that was held.
pub fn resume() {
    CLOCK.release();
    RESUMED.notify_waiters();
}

/// Tells whether somebody holds the clock.
pub fn is_paused() -> bool {
    CLOCK.held_at.load(Ordering::Acquire) != NEVER
}

/// Waits while somebody holds the clock.
pub async fn while_paused() {
    loop {
        // Before the look at the flag: a waiter is told of every call that comes after it was made.
        let told = RESUMED.notified();
        if !is_paused() {
            return;
        }
        told.await;
    }
}

/// Somebody who tells the clock again and again that the process is running; gaps are found while there is one.
pub(super) struct Pulse(());

impl Pulse {
    pub(super) fn begin() -> Self {
        CLOCK.begin();
        Self(())
    }

    pub(super) fn beat(&self) {
        CLOCK.beat();
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        CLOCK.end();
    }
}

/// All times are in nanoseconds after `base`.
struct Clock {
    base: Instant,
    /// When a pulse was heard last.
    beaten: AtomicU64,
    /// The sum of what was handed back. It is changed before `beaten`.
    suspended: AtomicU64,
    /// Since when somebody holds the clock. It is changed after `suspended`.
    held_at: AtomicU64,
    /// For how long the machine had slept at `base`.
    asleep: Duration,
    pulses: Mutex<Pulses>,
}

#[derive(Default)]
struct Pulses {
    count: usize,
    /// How many hold the clock.
    holds: usize,
    /// The process's CPU time at the last beat.
    cpu: Duration,
}

impl Clock {
    fn new() -> Self {
        Self {
            base: Instant::now(),
            beaten: AtomicU64::new(NEVER),
            suspended: AtomicU64::new(0),
            held_at: AtomicU64::new(NEVER),
            asleep: asleep_since_boot(),
            pulses: Mutex::default(),
        }
    }

    fn worked(&self) -> u64 {
        loop {
            let suspended = self.suspended.load(Ordering::Acquire);
            if self.held_at.load(Ordering::Acquire) != NEVER {
                // Together: both change when it is let go.
                let _pulses = self.lock();
                let held_at = self.held_at.load(Ordering::Acquire);
                if held_at != NEVER {
                    return held_at.saturating_sub(self.suspended.load(Ordering::Acquire));
                }
                continue;
            }
            let now = self.now();
            if is_gap(now.saturating_sub(self.beaten.load(Ordering::Acquire))) {
                self.beat();
            } else if self.held_at.load(Ordering::Acquire) == NEVER
                && self.suspended.load(Ordering::Acquire) == suspended
            {
                return now.saturating_sub(suspended);
            }
            // Somebody has found a gap in between, or holds the clock: `now` may be a time that does not count.
        }
    }

    fn begin(&self) {
        let mut pulses = self.lock();
        pulses.count += 1;
        pulses.cpu = cpu_time();
        self.beaten.store(self.now(), Ordering::Release);
    }

    fn end(&self) {
        let mut pulses = self.lock();
        pulses.count -= 1;
        if pulses.count == 0 {
            self.beaten.store(NEVER, Ordering::Release);
        }
    }

    fn hold(&self) {
        // What was lost before is nobody's pause.
        self.worked();
        let mut pulses = self.lock();
        pulses.holds += 1;
        if pulses.holds == 1 {
            // First of all whoever looks is made to wait, so that nobody reads a later time than the one that is held.
            self.held_at.swap(0, Ordering::SeqCst);
            self.held_at.store(self.now(), Ordering::Release);
        }
    }

    fn release(&self) {
        let mut pulses = self.lock();
        let held_at = self.held_at.load(Ordering::Acquire);
        pulses.holds = pulses.holds.saturating_sub(1);
        if pulses.holds > 0 || held_at == NEVER {
            return;
        }
        let now = self.now();
        if pulses.count > 0 {
            pulses.cpu = cpu_time();
            self.beaten.store(now, Ordering::Release);
        }
        self.suspended
            .fetch_add(now.saturating_sub(held_at), Ordering::Release);
        self.held_at.store(NEVER, Ordering::Release);
    }

    /// How long the machine has slept since `base`.
    fn slept(&self) -> Duration {
        let slept = asleep_since_boot().saturating_sub(self.asleep);
        // The two clocks are not read at the same moment.
        if slept > GAP { slept } else { Duration::ZERO }
    }

    fn beat(&self) {
        let mut pulses = self.lock();
        if pulses.count == 0 {
            return;
        }
        if self.held_at.load(Ordering::Acquire) != NEVER {
            // All of it is handed back when the clock is let go.
            pulses.cpu = cpu_time();
            self.beaten.store(self.now(), Ordering::Release);
            return;
        }
        // In this order: a process that is stopped here has its gap found by the next who looks.
        let now = self.now();
        let cpu = cpu_time();
        let gap = now.saturating_sub(self.beaten.load(Ordering::Acquire));
        let lost = lost(gap, cpu.saturating_sub(pulses.cpu));
        pulses.cpu = cpu;
        self.suspended.fetch_add(lost, Ordering::Release);
        self.beaten.store(now, Ordering::Release);
    }

    fn now(&self) -> u64 {
        nanos(self.base.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pulses> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_gap(gap: u64) -> bool {
    gap > nanos(GAP)
}

/// How much of the time between two beats the process could not work, if it has used so much of the CPU meanwhile.
fn lost(gap: u64, cpu: Duration) -> u64 {
    match is_gap(gap) {
        true => gap.saturating_sub(nanos(cpu)),
        false => 0,
    }
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What a clock that goes on while the machine sleeps has more than one that does not. Elsewhere than on Linux there is none
/// that could be asked.
fn asleep_since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::{Duration, Instant},
    };

    use super::{Clock, Moment, lost, nanos, within};

    #[test]
    fn a_clock_that_is_held_and_let_go_never_goes_back() {
        let clock = Clock::new();
        let is_over = AtomicBool::new(false);
        let went_back = thread::scope(|scope| {
            let read = || {
                let mut before = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let now = clock.worked();
                    if now < before {
                        return before - now;
                    }
                    before = now;
                }
                0
            };
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(500) {
                clock.hold();
                thread::yield_now();
                clock.release();
            }
            is_over.store(true, Ordering::Relaxed);
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .max()
        });
        assert_eq!(went_back, Some(0), "nanoseconds");
    }

    #[test]
    fn of_a_gap_only_what_nobody_has_computed_in_is_handed_back() {
        let lost = |gap: u64, cpu: u64| {
            lost(
                nanos(Duration::from_millis(gap)),
                Duration::from_millis(cpu),
            )
        };
        // A pulse that comes late, and one that is starved by guests that compute.
        assert_eq!(lost(1_000, 0), 0);
        assert_eq!(lost(5_000, 5_000), 0);
        assert_eq!(lost(5_000, 20_000), 0);
        // A process that was stopped.
        assert_eq!(lost(5_000, 20), 4_980_000_000);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_not_waited_for() {
        let begun = Moment::now();
        let short = Duration::from_millis(20);
        assert_eq!(within(short, std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= short);
        assert_eq!(within(short, std::future::ready(7)).await, Some(7));
    }
}
