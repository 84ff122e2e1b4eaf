//! [`Waiting`]: what another process decides, and how long to wait for it.
//!
//! The runs of other processes are files and locks, of which no system tells all changes, so they are looked at again and
//! again. Looking once is [`Waiting::poll`], which does not block: a server calls it between other work. [`block_on`] is for
//! whoever has nothing else to do: the one loop of this room, which rests by [`Host::pause`] for [`POLL_EVERY`] at a time.

use std::time::Duration;

use super::{Host, Observe};
use crate::error::Error;

/// How long to rest before the next look: short beside what a person notices, long beside what reading a manifest takes.
pub const POLL_EVERY: Duration = Duration::from_millis(50);

/// Something that another process decides.
pub trait Waiting {
    /// What is waited for.
    type Answer;

    /// Looks once; `None` if there is no answer yet. To be called no more once there was an answer.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be read, or a request cannot be left for it.
    fn poll(&mut self, observe: &mut dyn Observe) -> Result<Option<Self::Answer>, Error>;
}

/// Blocks the calling thread until there is an answer.
///
/// # Errors
///
/// Fails as [`Waiting::poll`] does.
pub fn block_on<W: Waiting>(
    waiting: &mut W,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<W::Answer, Error> {
    until(host, || waiting.poll(observe).transpose())
}

/// Looks again and again, and rests in between.
pub(super) fn until<T>(host: &Host, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        (host.pause)(POLL_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::{Observe, POLL_EVERY, Waiting, block_on};
    use crate::{
        error::Error,
        session::{Notice, testing::host},
    };

    thread_local! {
        static RESTED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    struct Nobody;

    impl Observe for Nobody {
        fn notice(&mut self, _: &Notice<'_>) {}
    }

    /// There is an answer once `left` looks were in vain.
    struct Looks {
        left: u32,
    }

    impl Waiting for Looks {
        type Answer = &'static str;

        fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<&'static str>, Error> {
            match self.left.checked_sub(1) {
                None => Ok(Some("here")),
                Some(left) => {
                    self.left = left;
                    Ok(None)
                }
            }
        }
    }

    #[test]
    fn waiting_rests_between_two_looks_and_not_before_the_first() {
        let mut host = host();
        host.pause = |pause| RESTED.set(RESTED.get() + pause);
        for left in [0, 1, 5] {
            RESTED.set(Duration::ZERO);
            let answer = block_on(&mut Looks { left }, &host, &mut Nobody).unwrap();
            assert_eq!(answer, "here");
            assert_eq!(RESTED.get(), POLL_EVERY * left);
        }
    }
}
