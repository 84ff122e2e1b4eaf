//! How reports say what a run and a trial came to.

use std::time::Duration;

use crate::{
    model::{self, Outcome, RunStatus, Verdict, duration},
    view::{ReportTrial, RunReport},
};

/// What became of the run, in a sentence's words: `failed`, or `incomplete (signal), passed so far`.
pub(super) fn outcome_words(report: &RunReport) -> String {
    let head = &report.head;
    if head.status == RunStatus::Completed {
        return head.verdict.as_str().to_owned();
    }
    let reason = head.reason.map(|reason| format!(" ({reason})"));
    let so_far = match head.verdict {
        Verdict::None => String::new(),
        verdict => format!(", {} so far", verdict.as_str()),
    };
    format!("{}{}{so_far}", head.status, reason.unwrap_or_default())
}

/// A share of a hundred with its interval: `92.0 % (80.8–97.0 %)`.
pub(super) fn percent(rate: f64, (least, most): (f64, f64)) -> String {
    let hundred = |share: f64| format!("{:.1}", share * 100.0);
    format!(
        "{} % ({}–{} %)",
        hundred(rate),
        hundred(least),
        hundred(most)
    )
}

/// Milliseconds as people read them.
pub(super) fn millis(millis: f64) -> String {
    // A row may have been changed by hand.
    Duration::try_from_secs_f64(millis / 1e3).map_or_else(|_| millis.to_string(), duration)
}

/// A duration that may be missing.
pub(super) fn duration_or_dash(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "–".to_owned(), model::duration)
}

/// The word for what a trial came to; `none` if nothing has settled it.
pub(super) fn outcome_word(trial: &ReportTrial) -> &'static str {
    trial.outcome.map_or("none", Outcome::as_str)
}
