//! How a run stands, in words: the line that exec, resume and show end with, and what to type next.

use std::time::Duration;

use runner_model::{Counts, Reason, RunStatus, Time, status::RunVerdict, units::show_duration};
use runner_report::{RunSummary, phrases};

use super::{
    Out,
    style::{self, Paint},
};

/// The status, the verdict, the counts and the time on one line.
pub fn standing(run: &RunSummary, took: Duration) -> String {
    let (counts, planned) = (run.counts.done, run.counts.planned);
    let took = match took.is_zero() {
        true => String::new(),
        false => format!(" in {}", show_duration(took)),
    };
    let exit = run.exit_code.map(|code| format!("; exit code {code}"));
    let exit = exit.unwrap_or_default();
    let counted = |counts: &Counts| match phrases::counts(counts) {
        words if words.is_empty() => words,
        words => format!(" ({words})"),
    };
    match (run.status, run.verdict) {
        (RunStatus::Completed, verdict) => {
            let mut others = counts;
            let count = match verdict {
                RunVerdict::Failed => counts.bad(),
                _ => std::mem::take(&mut others.passed),
            };
            let head = headed(run, &format!(": {count} of {planned}"));
            format!("{head}{}{took}", counted(&others))
        }
        (RunStatus::Failed, _) => headed(run, ": could not start") + &exit,
        _ => {
            let (head, done) = (headed(run, ":"), counts.done());
            let counted = counted(&counts);
            format!("{head} {done} of {planned} done{counted}{took}{exit}")
        }
    }
}

/// The words for a run behind its sign, and more, as it is painted.
pub fn headed(run: &RunSummary, more: &str) -> String {
    let (sign, paint): (char, Paint) = match (run.status, run.verdict) {
        (RunStatus::Completed, RunVerdict::Failed) | (RunStatus::Failed, _) => ('✗', style::red),
        (RunStatus::Completed, _) => ('✓', style::green),
        (RunStatus::Running, _) => ('○', style::bold),
        (RunStatus::Incomplete, _) => ('◐', style::yellow),
        (RunStatus::Cancelled, _) => ('⊘', style::yellow),
    };
    paint(&format!("{sign} {}{more}", phrases::standing(run)))
}

/// Prints what a user may want to type next.
pub fn print_next_steps(run: &RunSummary, root_flag: &str, out: &Out) {
    let name = &run.short;
    if run.counts.done.bad() > 0 {
        out.hint(&format!("see why: runner show {name} --failed{root_flag}"));
    }
    if run.is_resumable() {
        // Without more of it nothing could begin.
        let more = match run.reason {
            Some(Reason::Budget) => " --budget METRIC=VALUE",
            _ => "",
        };
        out.hint(&format!("continue: runner resume {name}{root_flag}{more}"));
    }
}

/// A time in a table: an age on a screen, and whole elsewhere.
pub fn when(now: Time, time: Time, screen: Option<usize>) -> String {
    screen.map_or_else(|| phrases::clock(time), |_| phrases::ago(now, time))
}
