//! Which status may follow which.

use std::fmt;

use thiserror::Error;

use crate::model::RunStatus;

/// Tells whether `to` may follow `from`; `None` is a run that is being born.
pub(in crate::record) fn check(
    from: Option<RunStatus>,
    to: RunStatus,
) -> Result<(), IllegalTransition> {
    if is_legal(from, to) {
        return Ok(());
    }
    Err(IllegalTransition { from, to })
}

/// Refuses a transition that is legal only with a cause that is missing.
pub(in crate::record) fn refused(from: RunStatus, to: RunStatus) -> IllegalTransition {
    IllegalTransition {
        from: Some(from),
        to,
    }
}

/// A status was to follow another one that it cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a run that is {} cannot become {to}", Shown(*from))]
pub struct IllegalTransition {
    /// The status the run has.
    pub from: Option<RunStatus>,
    /// The status it was to get.
    pub to: RunStatus,
}

fn is_legal(from: Option<RunStatus>, to: RunStatus) -> bool {
    use RunStatus::{Cancelled, Completed, Failed, Incomplete, Running};
    match from {
        None | Some(Completed | Cancelled) => to == Running,
        Some(Running) => to != Running,
        Some(Failed | Incomplete) => matches!(to, Running | Cancelled),
    }
}

struct Shown(Option<RunStatus>);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => status.fmt(formatter),
            None => formatter.write_str("not born yet"),
        }
    }
}
