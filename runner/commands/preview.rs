//! What `--dry-run` and `--explain` print.

use crate::{
    error::{Error, ExitStatus},
    model::granted_text,
    output::{self, Output},
    session::{Preview, PreviewedAccess},
};

/// Prints the trials that would run, why if that was asked for, and what the providers of a new run would be granted.
pub(super) fn show(
    preview: &Preview,
    is_explained: bool,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let count = preview.each_trial(|trial| {
        let id = trial.id.to_string();
        output.data(&match trial.before.filter(|_| is_explained) {
            Some(before) => format!("{id}  {}", output::why_pending(before, trial.ordinal)),
            None => id,
        });
    })?;
    let all = output::plural(preview.trial_count(), "trial");
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
    Ok(ExitStatus::Success)
}
