//! Waiting for a condition. No test assumes that something has happened because time has passed, and no wait is endless.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    processes::Process,
    progress::{self, Work},
    running::Running,
};

/// Longer than any condition takes, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(300);
/// Bound of something that takes 0.1 s. The rest is for a debug build next to other tests on two cores.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Bound of a stop, which takes 0.1 s and is given up by the watchdog after 2 s. The rest is for a slow machine.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Shortest and longest pause between two looks at a condition. The pause grows with the time that has passed.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];
/// Longest pause after a look that itself takes long, such as one that starts a program.
const REST: Duration = Duration::from_millis(50);
/// Comparisons of the work of programs without any work, after which a wait ends. They are counted because a machine may be
/// suspended.
const IDLE: u32 = 15;

/// Bounds of a wait.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Longest time in all.
    pub(crate) total: Duration,
    /// Interval at which the work of programs is compared: CPU time and written bytes. After 15 intervals without any, the wait
    /// ends.
    pub(crate) compare_every: Duration,
}

/// Bounds of usual waits: 5 min, and 30 s without any work.
pub(crate) const USUAL: Bounds = Bounds { total: LONG, compare_every: Duration::from_secs(2) };
/// Bounds of a build by tools of a language. They may wait for another build in the same folder, or for a network.
pub(crate) const BUILD: Bounds =
    Bounds { total: Duration::from_secs(1800), compare_every: Duration::MAX };

/// The rest of a wait within its bounds.
pub(crate) struct Patience {
    bounds: Bounds,
    started: Instant,
    compared: Instant,
    work: Option<Work>,
    idle: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self::within(USUAL)
    }

    pub(crate) fn within(bounds: Bounds) -> Self {
        let now = Instant::now();
        Self { bounds, started: now, compared: now, work: None, idle: 0 }
    }

    /// Fails with the output of the test's programs if the wait has lasted too long.
    #[track_caller]
    pub(crate) fn check(&mut self, what: &str) {
        let waited = self.started.elapsed();
        let shown = progress::outputs;
        assert!(waited < self.bounds.total, "timed out waiting until {what}:\n{}", shown());
        if self.compared.elapsed() < self.bounds.compare_every {
            return;
        }
        let work = progress::work();
        self.idle = if work.is_some() && work == self.work { self.idle + 1 } else { 0 };
        (self.work, self.compared) = (work, Instant::now());
        assert!(
            self.idle < IDLE,
            "after {waited:?}, nothing works any more while this waits until {what}:\n{}",
            shown()
        );
    }
}

/// Polls until there is a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::new();
    loop {
        let looked = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        let rest = looked.elapsed().min(REST);
        patience.check(what);
        let [least, most] = LOOK_EVERY;
        // The poll of all waits.
        thread::sleep((patience.started.elapsed() / 20).clamp(least, most).max(rest));
    }
}

/// Polls until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

#[test]
fn waits_for_stuck_programs_end() {
    let compare_every = Duration::from_millis(20);
    let idle =
        (Bounds { compare_every, ..USUAL }, "nothing works any more while this waits until ");
    let late = (Bounds { total: Duration::ZERO, compare_every }, "timed out waiting until ");
    for (bounds, says) in [idle, late] {
        let mut command = Command::new("sh");
        let running = Running::start(command.args(["-c", "sleep 1000 & echo child $!; wait"]));
        let child = wait_for("it names its child", || {
            let printed = running.printed();
            printed.strip_prefix("child ")?.strip_suffix('\n')?.parse().ok().map(Process)
        });
        let ended = catch_unwind(AssertUnwindSafe(|| running.finish_within(bounds)));
        let message = ended.unwrap_err().downcast::<String>().unwrap();
        let output = format!("child {}\n", child.0);
        for text in [says, "the program ends", "sleep 1000 & echo", &output] {
            assert!(message.contains(text), "`{text}` is not in {message}");
        }
        wait_until("its group is killed", || !child.is_alive());
    }
}
