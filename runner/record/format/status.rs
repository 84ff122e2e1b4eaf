//! Which status may follow which.

use crate::{model::RunStatus, record::error::IllegalTransition};

/// Tells whether `to` may follow `from`; `None` is a run that is being created.
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

fn is_legal(from: Option<RunStatus>, to: RunStatus) -> bool {
    use RunStatus::{Cancelled, Completed, Failed, Incomplete, Running};
    match from {
        None | Some(Completed | Cancelled) => to == Running,
        Some(Running) => to != Running,
        Some(Failed | Incomplete) => matches!(to, Running | Cancelled),
    }
}
