//! Stopping a run that another process works on.

use super::{
    Host, Observe, Waiting,
    asking::{Asking, HolderAnswer, settle},
    block_on,
};
use crate::{
    error::Error,
    model::{Actor, RunStatus, StopMode},
    record::{RunEntry, Store},
};

/// What is asked for: that a run ends and can be gone on with.
#[derive(Debug)]
pub struct Stop {
    /// The run.
    pub run: RunEntry,
    /// How hard; any but `cancel`.
    pub mode: StopMode,
    /// Who asks, and why.
    pub actor: Actor,
}

/// What became of a request to end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAnswer {
    /// The run was running, and was stopped.
    Stopped,
    /// Nobody goes on with the run any more.
    Cancelled,
    /// The run had ended already, or ended by itself meanwhile.
    AlreadyTerminal,
    /// The run's owner has not answered; the request stays for it.
    NoAnswer,
}

impl StopAnswer {
    /// The word for it in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::AlreadyTerminal => "already_terminal",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// A run that was asked to end, as it stands now.
#[derive(Debug)]
pub struct Stopped {
    /// The run.
    pub run: RunEntry,
    /// What became of the request.
    pub answer: StopAnswer,
}

/// Asks a run to stop, and blocks until it has, or its owner had time enough to answer.
///
/// # Errors
///
/// Fails if the run cannot be read, or no request can be left for it.
pub fn stop(
    store: &Store,
    request: Stop,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Stopped, Error> {
    block_on(&mut Stopping::new(store, request, host)?, host, observe)
}

/// A run that is being stopped: what [`stop`] blocks on, for whoever must not block.
pub struct Stopping<'a> {
    store: &'a Store,
    host: &'a Host,
    run: RunEntry,
    asking: Asking,
}

impl<'a> Stopping<'a> {
    /// Gets ready to ask.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be read.
    pub fn new(store: &'a Store, request: Stop, host: &'a Host) -> Result<Self, Error> {
        let asking = Asking::new(&request.run, request.mode, request.actor)?;
        Ok(Self {
            store,
            host,
            run: request.run,
            asking,
        })
    }
}

impl Waiting for Stopping<'_> {
    type Answer = Stopped;

    fn poll(&mut self, observe: &mut dyn Observe) -> Result<Option<Stopped>, Error> {
        let Some(asked) = self.asking.poll(&mut self.run, observe)? else {
            return Ok(None);
        };
        if asked != HolderAnswer::Missing {
            settle(self.store, &mut self.run, (self.host.now)())?;
        }
        let Some(answer) = answer(asked, self.run.status, self.run.sessions) else {
            self.asking.again(&self.run)?;
            return Ok(None);
        };
        let run = self.run.clone();
        Ok(Some(Stopped { run, answer }))
    }
}

/// What became of a request, by how the run stands after it; `None` if somebody has taken it since, who is to be asked.
fn answer(asked: HolderAnswer, status: RunStatus, sessions: u32) -> Option<StopAnswer> {
    match (asked, status) {
        (HolderAnswer::Missing, _) => Some(StopAnswer::NoAnswer),
        (HolderAnswer::Idle, RunStatus::Running) => None,
        // Nothing was left to stop, or whoever held it has opened no session.
        (HolderAnswer::Idle, _) | (_, RunStatus::Completed) => Some(StopAnswer::AlreadyTerminal),
        (HolderAnswer::Ended { session }, _) if sessions < session => {
            Some(StopAnswer::AlreadyTerminal)
        }
        (HolderAnswer::Ended { .. }, _) => Some(StopAnswer::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::{HolderAnswer, StopAnswer, answer};
    use crate::model::RunStatus::{self, Completed, Failed, Incomplete, Running};

    #[test]
    fn a_stop_is_answered_by_how_the_run_stands_after_it() {
        let ended = HolderAnswer::Ended { session: 2 };
        for (asked, status, sessions, expected) in [
            (
                HolderAnswer::Missing,
                Running,
                2,
                Some(StopAnswer::NoAnswer),
            ),
            (HolderAnswer::Idle, Running, 2, None),
            (
                HolderAnswer::Idle,
                Incomplete,
                2,
                Some(StopAnswer::AlreadyTerminal),
            ),
            (
                HolderAnswer::Idle,
                Completed,
                2,
                Some(StopAnswer::AlreadyTerminal),
            ),
            (ended, Incomplete, 2, Some(StopAnswer::Stopped)),
            (ended, Failed, 2, Some(StopAnswer::Stopped)),
            (ended, Incomplete, 3, Some(StopAnswer::Stopped)),
            // It has come to its end by itself.
            (ended, Completed, 2, Some(StopAnswer::AlreadyTerminal)),
            // Whoever held the run has left without opening the session that was asked.
            (ended, Incomplete, 1, Some(StopAnswer::AlreadyTerminal)),
        ] {
            let answered = answer(asked, status, sessions);
            assert_eq!(answered, expected, "{asked:?} {status} {sessions}");
        }
    }

    #[test]
    fn only_a_run_that_somebody_has_taken_since_is_asked_once_more() {
        for status in RunStatus::ALL {
            let again = answer(HolderAnswer::Idle, status, 1).is_none();
            assert_eq!(again, status == Running, "{status}");
            assert!(
                answer(HolderAnswer::Missing, status, 1).is_some(),
                "{status}"
            );
            assert!(
                answer(HolderAnswer::Ended { session: 1 }, status, 1).is_some(),
                "{status}"
            );
        }
    }
}
