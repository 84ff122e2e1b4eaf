//! [`SaidBuffer`]: what executors of a worker have said and the runner was not told yet.

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::run::seam::FromExecutors;

/// How long it gathers where the runner is on the same machine.
pub(super) const WINDOW_HERE: Duration = Duration::from_millis(1);
/// The same where it is on another one: there, each message costs both ends and the engine between them as much as a short
/// attempt.
pub(super) const WINDOW_ELSEWHERE: Duration = Duration::from_millis(25);
/// How many attempts that lie ready are plenty. So many lie ready where attempts take two milliseconds or less; where those
/// are short, each message costs as much as one of them.
const PLENTY: usize = 4;
/// Which part of the time for which executors have enough to do may pass before the runner hears what they have done: it
/// has to find more for them, and that has to come here.
const PART: u32 = 3;

/// What executors have said, and when that is passed on.
pub(super) struct SaidBuffer {
    /// The longest time that it waits.
    window: Duration,
    batch: Vec<FromExecutors>,
    due: Instant,
    said_at: Instant,
    /// How long all executors together took for each of the last attempts.
    each: Duration,
}

impl SaidBuffer {
    /// Nothing was said.
    pub(super) fn new(window: Duration) -> Self {
        let now = Instant::now();
        Self {
            window,
            batch: Vec::new(),
            due: now,
            said_at: now,
            each: Duration::ZERO,
        }
    }

    /// Begins with the first that is said, while so many attempts lie ready.
    pub(super) fn begin(&mut self, first: FromExecutors, queued: usize) {
        self.batch.push(first);
        self.due = Instant::now() + self.wait(queued);
    }

    /// When it is to be passed on; `None` if there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.batch.is_empty()).then_some(self.due)
    }

    /// Lets it be passed on at once, unless plenty of attempts still lie ready.
    pub(super) fn look_again(&mut self, queued: usize) {
        if queued < PLENTY {
            self.due = self.said_at;
        }
    }

    /// All of it, with the `rest` that was said meanwhile.
    pub(super) fn take(
        &mut self,
        mut rest: impl FnMut() -> Option<FromExecutors>,
    ) -> Vec<FromExecutors> {
        let mut batch = mem::take(&mut self.batch);
        while let Some(next) = rest() {
            batch.push(next);
        }
        let ended = batch.iter();
        let ended = ended.filter(|message| matches!(message, FromExecutors::Reports { .. }));
        let now = Instant::now();
        if let Ok(ended @ 1..) = u32::try_from(ended.count()) {
            self.each = now.saturating_duration_since(self.said_at) / ended;
            self.said_at = now;
        }
        batch
    }

    fn wait(&self, queued: usize) -> Duration {
        if queued < PLENTY {
            return Duration::ZERO;
        }
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        let part = self.each.saturating_mul(queued) / PART;
        part.max(WINDOW_HERE).min(self.window)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{self, Instant};

    use super::{SaidBuffer, WINDOW_ELSEWHERE, WINDOW_HERE};
    use crate::run::{
        local::POOL,
        seam::{FromExecutors, Loss},
    };

    fn said() -> FromExecutors {
        FromExecutors::Reports {
            who: POOL,
            attempts: Vec::new(),
        }
    }

    fn after(buffer: &SaidBuffer) -> Duration {
        let due = buffer.due().expect("something was said");
        due.saturating_duration_since(Instant::now())
    }

    /// Four attempts of so many milliseconds each were told of.
    async fn paced(window: Duration, each: u64) -> SaidBuffer {
        let mut buffer = SaidBuffer::new(window);
        buffer.begin(said(), 0);
        time::advance(Duration::from_millis(4 * each)).await;
        let mut rest = [said(), said(), said()].into_iter();
        assert_eq!(buffer.take(|| rest.next()).len(), 4);
        buffer
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_gathers_for_a_part_of_the_time_that_executors_are_busy() {
        for (each, queued, wait) in [(5, 6, 10), (5, 100, 25), (100, 0, 0), (100, 3, 0)] {
            let mut buffer = paced(WINDOW_ELSEWHERE, each).await;
            assert_eq!(buffer.due(), None);
            buffer.begin(said(), queued);
            assert_eq!(after(&buffer), Duration::from_millis(wait), "{each} ms");
        }
        let mut here = paced(WINDOW_HERE, 5).await;
        here.begin(said(), 100);
        assert_eq!(after(&here), WINDOW_HERE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_is_passed_on_at_once_where_nothing_lies_ready_any_more() {
        let mut buffer = paced(WINDOW_ELSEWHERE, 5).await;
        buffer.begin(said(), 100);
        buffer.look_again(100);
        assert_eq!(after(&buffer), WINDOW_ELSEWHERE);
        buffer.look_again(0);
        assert_eq!(after(&buffer), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_report_says_nothing_of_how_long_attempts_take() {
        let mut buffer = paced(WINDOW_ELSEWHERE, 5).await;
        time::advance(Duration::from_secs(9)).await;
        let lost = FromExecutors::Lost {
            who: POOL,
            attempts: Vec::new(),
            why: Loss::Broken(String::new()),
        };
        buffer.begin(lost, 0);
        buffer.take(|| None);
        buffer.begin(said(), 6);
        assert_eq!(after(&buffer), Duration::from_millis(10));
    }
}
