//! [`Pacer`]: spaces the starts of attempts evenly, by a rate.

use runner_model::{Micros, RunTime, provider::Rate};

/// Longest delay that later starts make up for. Timers and messages cause such delays, which would otherwise slow down
/// rates of thousands per second. A longer delay is not made up for, because a rate must prevent bursts.
const MAX_CATCH_UP: Micros = Micros(10_000);

#[derive(Debug)]
pub(super) struct Pacer {
    gap: Micros,
    /// Time of the next start. `None` before the first start, which may be at any time.
    next: Option<RunTime>,
}

impl Pacer {
    pub(super) fn new(rate: Rate) -> Self {
        Self { gap: rate.gap(), next: None }
    }

    /// Returns the time of the earliest next start.
    pub(super) fn opens(&self) -> RunTime {
        self.next.unwrap_or_default()
    }

    /// Counts a start.
    pub(super) fn start(&mut self, now: RunTime) {
        let planned = self.next.filter(|next| *next + MAX_CATCH_UP >= now);
        self.next = Some(planned.unwrap_or(now) + self.gap);
    }
}

#[cfg(test)]
mod tests {
    use runner_model::{Micros, RunTime, provider::Rate};

    use super::Pacer;

    fn pacer(rate: &str) -> Pacer {
        Pacer::new(Rate::parse(rate).unwrap())
    }

    #[test]
    fn only_short_delays_are_caught_up() {
        let mut pacer = pacer("50/s");
        assert_eq!(pacer.opens(), RunTime(0));
        for (start, opens) in [
            (7_000, 27_000),
            (27_000, 47_000),
            (57_000, 67_000),
            (77_001, 97_001),
            (1_000_000, 1_020_000),
        ] {
            pacer.start(RunTime(start));
            assert_eq!(pacer.opens(), RunTime(opens));
        }
    }

    #[test]
    fn high_rates_are_reached() {
        let mut pacer = pacer("10000/s");
        let (mut now, mut starts) = (RunTime(0), 0);
        while now < RunTime(1_000_000) {
            while pacer.opens() <= now {
                pacer.start(now);
                starts += 1;
            }
            now = now + Micros(1_000);
        }
        assert!((9_900..=10_000).contains(&starts), "{starts}");
    }
}
