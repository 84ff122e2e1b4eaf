//! Dropping a run for good, whether somebody works on it or not.

use miette::miette;

use super::{
    Host, Observe, StopAnswer, Stopped, Waiting,
    asking::{Asking, HolderAnswer, settle},
    block_on,
};
use crate::{
    error::Error,
    model::{Actor, RunStatus, StopMode},
    record::{ClaimError, RunEntry, Store},
};

/// What is asked for: that a run ends, and that nobody goes on with it.
#[derive(Debug)]
pub struct Cancel {
    /// The run.
    pub run: RunEntry,
    /// Who asks, and why.
    pub actor: Actor,
    /// Whether other runs of its group were kept from beginning: then it is fine that it is completed.
    pub was_going_on: bool,
}

/// Stops a run if it is running, drops it, and blocks until that is done, or its owner had time enough to answer.
///
/// # Errors
///
/// Fails if the run is completed, cannot be read or taken, or no request can be left for it.
pub fn cancel(
    store: &Store,
    request: Cancel,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Stopped, Error> {
    block_on(&mut Cancelling::new(store, request, host)?, host, observe)
}

/// A run that is being cancelled: what [`cancel`] blocks on, for whoever must not block.
pub struct Cancelling<'a> {
    store: &'a Store,
    host: &'a Host,
    run: RunEntry,
    asking: Asking,
    was_going_on: bool,
}

impl<'a> Cancelling<'a> {
    /// Gets ready to ask.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be read.
    pub fn new(store: &'a Store, request: Cancel, host: &'a Host) -> Result<Self, Error> {
        let asking = Asking::new(&request.run, StopMode::Cancel, request.actor)?;
        Ok(Self {
            store,
            host,
            run: request.run,
            asking,
            was_going_on: request.was_going_on,
        })
    }

    /// Drops the run if nobody works on it; `None` if somebody does again.
    fn drop_ended(&mut self) -> Result<Option<StopAnswer>, Error> {
        match self.run.status {
            RunStatus::Cancelled => return Ok(Some(StopAnswer::AlreadyTerminal)),
            RunStatus::Completed if self.was_going_on => {
                return Ok(Some(StopAnswer::AlreadyTerminal));
            }
            RunStatus::Completed => {
                return Err(Error::usage(miette!(
                    "run `{}` is completed: there is nothing to cancel",
                    self.run.id
                )));
            }
            RunStatus::Failed | RunStatus::Incomplete | RunStatus::Running => {}
        }
        let now = (self.host.now)();
        match self.store.claim(&self.run, now) {
            Ok(claim) => claim
                .cancel(self.asking.actor(), now)
                .map_err(Error::cancel)?,
            Err(ClaimError::Held { .. }) if self.run.is_held() => return Ok(None),
            Err(error) => return Err(Error::claim(error)),
        };
        self.run.refresh().map_err(Error::record)?;
        Ok(Some(StopAnswer::Cancelled))
    }
}

impl Waiting for Cancelling<'_> {
    type Answer = Stopped;

    fn poll(&mut self, observe: &mut dyn Observe) -> Result<Option<Stopped>, Error> {
        let Some(asked) = self.asking.poll(&mut self.run, observe)? else {
            return Ok(None);
        };
        if asked != HolderAnswer::Missing {
            settle(self.store, &mut self.run, (self.host.now)())?;
        }
        let answer = match answer(asked, self.run.status, self.run.sessions) {
            // It had ended before, or for another reason, or died, before anybody saw the request.
            None => self.drop_ended()?,
            answer => answer,
        };
        let Some(answer) = answer else {
            self.asking.again(&self.run)?;
            return Ok(None);
        };
        let run = self.run.clone();
        Ok(Some(Stopped { run, answer }))
    }
}

/// What became of a request, by how the run stands after it; `None` if the run is still to be dropped.
fn answer(asked: HolderAnswer, status: RunStatus, sessions: u32) -> Option<StopAnswer> {
    let has_answered = matches!(asked, HolderAnswer::Ended { session } if session <= sessions);
    match (asked, status) {
        (HolderAnswer::Missing, _) => Some(StopAnswer::NoAnswer),
        (_, RunStatus::Completed) if has_answered => Some(StopAnswer::AlreadyTerminal),
        (_, RunStatus::Cancelled) if has_answered => Some(StopAnswer::Cancelled),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{HolderAnswer, StopAnswer, answer};
    use crate::model::RunStatus::{Cancelled, Completed, Failed, Incomplete, Running};

    #[test]
    fn a_cancel_is_answered_by_its_owner_or_the_run_is_still_to_be_dropped() {
        let ended = HolderAnswer::Ended { session: 2 };
        for (asked, status, sessions, expected) in [
            (
                HolderAnswer::Missing,
                Running,
                2,
                Some(StopAnswer::NoAnswer),
            ),
            (ended, Cancelled, 2, Some(StopAnswer::Cancelled)),
            (ended, Completed, 2, Some(StopAnswer::AlreadyTerminal)),
            // Its owner has died, or ended it for another reason.
            (ended, Incomplete, 2, None),
            (ended, Failed, 2, None),
            // Its owner has left without opening the session that was asked: the run was cancelled or completed before.
            (ended, Cancelled, 1, None),
            (ended, Completed, 1, None),
            (HolderAnswer::Idle, Cancelled, 2, None),
            (HolderAnswer::Idle, Completed, 2, None),
            (HolderAnswer::Idle, Incomplete, 2, None),
        ] {
            let answered = answer(asked, status, sessions);
            assert_eq!(answered, expected, "{asked:?} {status} {sessions}");
        }
    }
}
