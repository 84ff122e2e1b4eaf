//! Why a trial would run.

use crate::record::History;

/// Says why a trial would run, by what is known before the session that would run it.
pub fn why_pending(before: &History, ordinal: u64) -> String {
    let state = &before.state;
    let mut why = match (state.outcome(ordinal), state.attempts(ordinal)) {
        (Some(outcome), _) => format!("again: was {outcome}"),
        (None, 0) => "never began".into(),
        (None, attempts) => format!("cut short in attempt {attempts}"),
    };
    if let Some(deaths) = before.deaths.get(&ordinal).filter(|deaths| **deaths > 0) {
        why.push_str(&format!(", in flight at the last {deaths} process deaths"));
    }
    why
}
