//! Why a trial would run.

use crate::record::History;

/// Says why a trial would run, by what is known before the session that would run it.
pub fn why_pending(before: &History, ordinal: u64) -> String {
    let state = &before.state;
    let deaths = before.deaths.get(&ordinal).copied().unwrap_or(0);
    match (state.outcome(ordinal), state.attempts(ordinal)) {
        (Some(outcome), _) => format!("again: was {outcome}"),
        (None, _) if deaths > 1 => format!("in flight at the last {deaths} deaths of the process"),
        (None, _) if deaths == 1 => "in flight when the process died".into(),
        (None, 0) => "never began".into(),
        (None, attempts) => format!("stopped in attempt {attempts}"),
    }
}
