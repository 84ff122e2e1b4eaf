//! The clock of a session.

use std::time::{Duration, Instant};

use runner_model::RunTime;
use rustix::time::{ClockId, clock_gettime};

/// Two looks at the clock are never so far apart while the process runs.
const GAP: Duration = Duration::from_secs(1);

/// Time since a session began, without the time in which the process was suspended (by Ctrl-Z, SIGSTOP or a frozen
/// control group). It must be looked at several times a second, or it takes the gap for a suspension.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    looked: Instant,
    cpu: Duration,
    suspended: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            looked: now,
            cpu: cpu_time(),
            suspended: Duration::ZERO,
        }
    }

    /// Looks at the clock.
    pub(crate) fn now(&mut self) -> RunTime {
        let now = Instant::now();
        let gap = now - self.looked;
        if gap > GAP {
            // A loop that computes for so long was not suspended.
            let cpu = cpu_time();
            self.suspended += gap.saturating_sub(cpu.saturating_sub(self.cpu));
            self.cpu = cpu;
        } else if gap > GAP / 10 {
            self.cpu = cpu_time();
        }
        self.looked = now;
        let running = (now - self.began).saturating_sub(self.suspended);
        RunTime(running.as_micros().try_into().unwrap_or(u64::MAX))
    }
}

/// The processor time that this process has used.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}

/// The monotonic clock in microseconds, which all processes of the machine share.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.unsigned_abs() * 1_000_000;
    micros + now.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Clock;

    #[test]
    fn suspensions_do_not_count() {
        let mut clock = Clock::start();
        let Some(earlier) = clock.looked.checked_sub(Duration::from_secs(3600)) else {
            return;
        };
        // As if the last look was an hour ago, and the session began then.
        (clock.began, clock.looked) = (earlier, earlier);
        assert!(clock.now().0 < 60_000_000);
        let before = clock.now();
        assert!(clock.now().0 - before.0 < 1_000_000);
    }
}
