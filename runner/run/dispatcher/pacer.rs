//! [`Pacer`]: spaces the starts of attempts as a rate asks for.

use std::time::Duration;

use crate::{plugin::Moment, scenario::Rate};

/// How late a start may be without making those after it later, too: timers and messages take that long, and what they take
/// must not make a rate of thousands a second slower than it is. A longer delay is never made up, because bursts are what a
/// rate forbids.
const MADE_UP: Duration = Duration::from_millis(10);
/// Where starts are closer to each other than this, attempts are assigned some at a time, and before an executor is free for
/// them.
const SHORT_GAP: Duration = Duration::from_millis(1);

/// Spaces starts evenly.
pub(super) struct Pacer {
    gap: Duration,
    /// When the next start would be in time.
    next: Option<Moment>,
    /// Before when there is none.
    opens: Option<Moment>,
}

impl Pacer {
    /// Lets the first start be at any time.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            gap: rate.per / rate.count,
            next: None,
            opens: None,
        }
    }

    /// Until when nothing may start, if that is not now.
    pub(super) fn wait_until(&self, now: Moment) -> Option<Moment> {
        self.opens.filter(|opens| *opens > now)
    }

    /// Tells whether there are so many starts that some of them are at the same time.
    pub(super) fn is_fast(&self) -> bool {
        self.gap < SHORT_GAP
    }

    /// Notes a start.
    pub(super) fn start(&mut self, now: Moment) {
        let planned = self.next.unwrap_or(now);
        let is_made_up = now.saturating_duration_since(planned) <= MADE_UP;
        let next = if is_made_up { planned } else { now } + self.gap;
        self.next = Some(next);
        if next > now {
            self.opens = Some(if self.is_fast() {
                next + SHORT_GAP
            } else {
                next
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MADE_UP, Pacer};
    use crate::{plugin::Moment, scenario::Rate};

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn pacer(count: u32) -> Pacer {
        let per = Duration::from_secs(1);
        Pacer::new(Rate { count, per })
    }

    #[test]
    fn what_is_a_little_late_is_made_up_and_more_is_not() {
        let mut pacer = pacer(50);
        let first = Moment::now();
        pacer.start(first);
        let second = first + 20 * MILLISECOND;
        assert_eq!(pacer.wait_until(first), Some(second));
        pacer.start(second + MADE_UP);
        let third = second + 20 * MILLISECOND;
        assert_eq!(pacer.wait_until(second + MADE_UP), Some(third));
        let late = third + MADE_UP + MILLISECOND;
        pacer.start(late);
        assert_eq!(pacer.wait_until(late), Some(late + 20 * MILLISECOND));
    }

    #[test]
    fn many_starts_a_second_come_together_and_are_as_many() {
        let mut pacer = pacer(10_000);
        let first = Moment::now();
        let (mut now, mut starts) = (first, 0);
        while now < first + Duration::from_secs(1) {
            while pacer.wait_until(now).is_none() {
                pacer.start(now);
                starts += 1;
            }
            now = pacer.wait_until(now).expect("it waits") + MILLISECOND;
        }
        assert!((9_950..=10_000).contains(&starts), "{starts}");
    }
}
