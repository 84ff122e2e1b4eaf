//! [`StopRequest`], and the [`Cause`] that a session ends for before its work is done.

use std::sync::Arc;

use crate::model::{Actor, Reason, StopMode, StopSignal};

/// A request to stop, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// How hard.
    pub mode: StopMode,
    /// The signal that it came by, if it did.
    pub signal: Option<StopSignal>,
    /// Who asked for it from another process, as far as they said so.
    pub actor: Option<Arc<Actor>>,
}

impl StopRequest {
    /// Tells whether guests are asked to end.
    pub fn interrupts(&self) -> bool {
        self.mode > StopMode::Drain
    }

    /// The reason of a run that ends by this request.
    pub(super) fn reason(&self) -> Reason {
        match (self.signal, self.mode) {
            (Some(_), _) => Reason::Interrupted,
            (None, StopMode::Cancel) => Reason::Cancelled,
            (None, StopMode::Drain | StopMode::Stop | StopMode::Kill) => Reason::Stopped,
        }
    }

    /// The cause of a run's end by this request.
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.reason(),
            signal: self.signal,
            actor: self.actor.clone(),
            budget: None,
        }
    }
}

/// Why a session ends before its work is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason that its run gets.
    pub reason: Reason,
    /// The signal, if that was the reason.
    pub signal: Option<StopSignal>,
    /// Who asked for it from another process.
    pub actor: Option<Arc<Actor>>,
    /// Which budget is used up, if that was the reason.
    pub budget: Option<Arc<str>>,
}

impl Cause {
    /// A cause that nobody asked for.
    pub fn of(reason: Reason) -> Self {
        Self {
            reason,
            signal: None,
            actor: None,
            budget: None,
        }
    }

    /// A budget is used up.
    pub(in crate::run) fn of_budget(used_up: String) -> Self {
        Self {
            budget: Some(used_up.into()),
            ..Self::of(Reason::Budget)
        }
    }

    /// Says it: `stopped by anna@host: disk needed`, where `verb` is the first word. `limit` is what sets the run's time.
    pub fn text(&self, verb: &str, limit: &str) -> String {
        if let Some(used_up) = &self.budget {
            return used_up.to_string();
        }
        match (self.reason, self.signal, &self.actor) {
            (Reason::Timeout, ..) => format!("the run's time is up: {limit}"),
            (Reason::FailFast, ..) => "enough trials ended badly".into(),
            (Reason::Storage, ..) => "something could not be stored".into(),
            (_, Some(signal), _) => format!("{verb} by {}", signal.as_str()),
            (_, _, Some(actor)) => format!("{verb} by {actor}"),
            (Reason::Cancelled, ..) => format!("{verb} by `runner cancel`"),
            _ => format!("{verb} by `runner stop`"),
        }
    }
}
