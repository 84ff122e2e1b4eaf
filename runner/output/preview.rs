//! What `--dry-run` and `--explain` print.

use super::{Output, format::plural};
use crate::{
    error::Error,
    model::granted_text,
    record::History,
    session::{Preview, PreviewedAccess},
};

/// Prints the trials that would run, why if that was asked for, and what the providers of a new run would be granted.
///
/// # Errors
///
/// Fails if the tests cannot be read back.
pub fn print_preview(preview: &Preview, is_explained: bool, output: &Output) -> Result<(), Error> {
    let count = preview.each_trial(|trial| {
        let id = trial.id.to_string();
        output.data(&match trial.before.filter(|_| is_explained) {
            Some(before) => format!("{id}  {}", why_pending(before, trial.ordinal)),
            None => id,
        });
    })?;
    let all = plural(preview.trial_count(), "trial");
    output.talk(&match preview.is_of_existing_run() {
        true => format!("{count} of {all} would run"),
        false => format!("{all} would run"),
    });
    for access in preview.access() {
        let PreviewedAccess {
            provider,
            limits,
            grants,
            missing,
        } = access;
        output.talk(&granted_text(provider, limits, grants, &missing));
    }
    Ok(())
}

/// Says why a trial would run, by what is known before the session that would run it.
fn why_pending(before: &History, ordinal: u64) -> String {
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
