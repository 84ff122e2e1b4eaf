//! The summary line of a run, and the commands that a user may want to type next.

use std::time::Duration;

use runner_model::{Counts, RunStatus, Time, status::RunVerdict, units::show_duration};
use runner_report::{RunSummary, phrases};

use super::Out;
use super::style::{self, Paint};

/// Formats status, verdict, counts and time on one line. A `took` of 0 is left out.
pub fn line(run: &RunSummary, took: Duration) -> String {
    let (counts, planned) = (run.head.counts.done, run.head.counts.planned);
    let took = if took.is_zero() { String::new() } else { format!(" in {}", show_duration(took)) };
    let exit = run.exit_code.map(|code| format!("; exit code {code}")).unwrap_or_default();
    match (run.head.status, run.head.verdict) {
        (RunStatus::Completed, verdict) if verdict != RunVerdict::Damaged => {
            let mut others = counts;
            let count = match verdict {
                RunVerdict::Failed => counts.bad(),
                _ => std::mem::take(&mut others.passed),
            };
            let head = headed(run, &format!(": {count} of {planned}"));
            format!("{head}{}{took}", in_brackets(&others))
        }
        (RunStatus::Failed, RunVerdict::None) => headed(run, ": could not start") + &exit,
        _ => {
            let (head, done) = (headed(run, ":"), counts.done());
            format!("{head} {done} of {planned} done{}{took}{exit}", in_brackets(&counts))
        }
    }
}

/// Indents the lines after the first of a run's message, which may come from a plugin, so that none looks like a line of ours.
pub fn indented(message: &str) -> String {
    message.replace('\n', "\n  ")
}

fn in_brackets(counts: &Counts) -> String {
    let words = phrases::counts(counts);
    if words.is_empty() { words } else { format!(" ({words})") }
}

/// Formats the sign and the status of a run, followed by `more`, in the status's colour.
pub fn headed(run: &RunSummary, more: &str) -> String {
    let (sign, paint): (char, Paint) = match (run.head.status, run.head.verdict) {
        (_, RunVerdict::Damaged)
        | (RunStatus::Completed, RunVerdict::Failed)
        | (RunStatus::Failed, _) => ('✗', style::red),
        (RunStatus::Completed, _) => ('✓', style::green),
        (RunStatus::Running, _) => ('○', style::bold),
        (RunStatus::Incomplete, _) => ('◐', style::yellow),
        (RunStatus::Cancelled, _) => ('⊘', style::yellow),
    };
    paint(&format!("{sign} {}{more}", phrases::status_text(&run.head)))
}

/// Prints the commands that show why trials failed and that continue the run.
pub fn print_next_steps(run: &RunSummary, out: &Out) {
    if run.head.counts.done.bad() > 0 {
        out.hint(&format!("see why: {}", run.command("show", &run.short, &["--failed"])));
        let again = run.command("resume", &run.short, &["--rerun", "failed"]);
        out.hint(&format!("run them again: {again}"));
    }
    if run.is_resumable() {
        out.hint(&format!("continue: {}", run.resume_command(&run.short)));
    }
}

/// Formats a time in a table: as an age on a screen, in full elsewhere.
pub fn when(now: Time, time: Time, screen: Option<usize>) -> String {
    screen.map_or_else(|| phrases::clock(time), |_| phrases::ago(now, time))
}
