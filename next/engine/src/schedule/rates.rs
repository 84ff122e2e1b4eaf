//! [`Pacer`]: spaces the starts of attempts as a rate asks for.

use runner_model::{Micros, RunTime, provider::Rate};

/// How late a start may be without making those after it later, too: timers and messages take that long, and must not make
/// a rate of thousands a second slower than it is. A longer delay is never made up, because bursts are what a rate forbids.
const MAX_CATCH_UP: Micros = Micros(10_000);

/// Spaces starts evenly.
#[derive(Debug)]
pub(super) struct Pacer {
    gap: Micros,
    /// When the next start would be in time.
    next: Option<RunTime>,
}

impl Pacer {
    /// Lets the first start be at any time.
    pub(super) fn new(rate: Rate) -> Self {
        Self { gap: rate.gap(), next: None }
    }

    /// Before this, nothing may start.
    pub(super) fn opens(&self) -> RunTime {
        self.next.unwrap_or_default()
    }

    /// Notes a start.
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
    fn what_is_a_little_late_is_made_up_and_more_is_not() {
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
    fn many_starts_a_second_are_as_many() {
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
