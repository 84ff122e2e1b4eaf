//! What goes into the dispatcher beside what executors say, and what comes out of it.

use crate::{
    plugin::Moment,
    record::{Entry, JudgementEntry, WaitingTrials, Written},
    run::{
        event::Event,
        seam::{ExecutorId, ToExecutor},
        stop::StopRequest,
    },
};

/// What happens to a session beside what executors say.
pub enum SessionMessage {
    /// Rows are on disk, or never will be.
    Written(Written),
    /// Someone asks for a stop.
    Stop(StopRequest),
}

/// Where the dispatcher's decisions go. None of them is waited for.
pub(in crate::run) trait Effects {
    /// Says something to an executor.
    fn send(&mut self, who: ExecutorId, message: ToExecutor);
    /// Puts rows on the way to the disk; they are acknowledged in this order.
    fn record(&mut self, entries: Vec<Entry>);
    /// The same for judgements, which stand behind the rows that are put there before.
    fn judge(&mut self, judgements: Vec<JudgementEntry>);
    /// Says that no more rows are expected soon.
    fn flush(&mut self);
    /// Says which trials wait for the time of their next attempt.
    fn wait(&mut self, waits: WaitingTrials);
    /// Lets the world see something.
    fn show(&mut self, event: Event<'_>);
}

/// What is to be done after a turn.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) enum Turn {
    /// To wait for a message, but not for longer than until then.
    Wait(Moment),
    /// Nothing: the session is over.
    Over,
}
