//! What `--dry-run` and `--explain` print.

use jiff::Timestamp;

use super::{Output, format::plural};
use crate::{
    error::Error,
    model::granted_text,
    session::{Preview, PreviewedAccess},
    view::{PlanLine, PlanPart, PlannedTrial, TrialBefore},
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
            Some(before) => format!("{id}  {}", why_pending(before)),
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
            role,
            provider,
            limits,
            grants,
            missing,
        } = access;
        output.talk(&granted_text(role, provider, limits, grants, &missing));
    }
    Ok(())
}

/// Prints the same for programs: a line of JSON for the plan as it is `now`, and one for each trial.
///
/// # Errors
///
/// Fails if the tests cannot be read back.
pub fn print_plan(preview: &Preview, now: Timestamp, output: &Output) -> Result<(), Error> {
    output.line(&PlanLine::from(PlanPart::Plan(preview.head(now))));
    preview.each_trial(|trial| {
        let trial = PlannedTrial::new(trial.id, trial.ordinal, trial.tags, trial.before);
        output.line(&PlanLine::from(PlanPart::Trial(trial)));
    })?;
    Ok(())
}

/// Says why a trial would run, by what is known before the session that would run it.
fn why_pending(before: TrialBefore) -> String {
    let TrialBefore {
        outcome,
        attempts,
        deaths,
    } = before;
    match (outcome, attempts) {
        (Some(outcome), _) => format!("again: was {outcome}"),
        (None, _) if deaths > 1 => format!("in flight at the last {deaths} deaths of the process"),
        (None, _) if deaths == 1 => "in flight when the process died".into(),
        (None, 0) => "never began".into(),
        (None, attempts) => format!("stopped in attempt {attempts}"),
    }
}
