//! What an answer means and may have, whichever way it comes: by the typed contract or by the JSON protocol.

use super::{ended::Ending, json_cost::Unread};
use crate::{
    model::{AttemptError, ErrorClass},
    plugin::{contract::runner::provider::types, failure::failure, interrupt::Guard},
};

/// Checks of one reply.
const MAX_CHECKS: usize = 10_000;
/// Metrics of one reply.
const MAX_METRICS: usize = 1_000;

/// What the contract's word for an error is to us; a stop counts only if there was a request to stop.
pub(super) fn provider_error(kind: types::ErrorKind, error: AttemptError, guard: &Guard) -> Ending {
    let class = match kind {
        types::ErrorKind::InvalidConfig => ErrorClass::InvalidConfig,
        types::ErrorKind::InvalidInput => ErrorClass::InvalidInput,
        types::ErrorKind::Denied => ErrorClass::Denied,
        types::ErrorKind::Unavailable => ErrorClass::Unavailable,
        types::ErrorKind::RateLimited => ErrorClass::RateLimited,
        types::ErrorKind::Internal => ErrorClass::Internal,
        types::ErrorKind::Other => ErrorClass::Other,
        types::ErrorKind::Stopped if guard.interrupt.is_requested() => return Ending::Stopped,
        types::ErrorKind::Stopped => {
            return Ending::Error(failure(
                ErrorClass::Protocol,
                "stopped",
                "the guest said that it was stopped, and nobody had asked it to",
            ));
        }
    };
    Ending::Error(AttemptError {
        class: Some(class),
        ..error
    })
}

/// Refuses a reply of more checks or metrics than anybody reads: without texts they cost nothing of `limits.reply`.
pub(super) fn few_parts(checks: usize, metrics: usize) -> Result<(), AttemptError> {
    for (what, count, most) in [
        ("checks", checks, MAX_CHECKS),
        ("metrics", metrics, MAX_METRICS),
    ] {
        if count > most {
            let message = format!("the reply has {count} {what}, and at most {most} are allowed");
            return Err(failure(ErrorClass::Limit, "reply", message));
        }
    }
    Ok(())
}

/// The error of a guest whose JSON would take too much memory as a value.
pub(super) fn too_large(what: &str, error: &Unread) -> AttemptError {
    let message = format!("the {what} is made of too many parts: {error}");
    failure(ErrorClass::Limit, "reply", message)
}
