//! Trials as a line, a block with reasons, a page with all sections, and the list of those that failed.

use std::iter::repeat_n;

use runner_model::units::{plural, show_duration};
use runner_model::{RowRef, visible::visible_line};
use runner_report::failure::{self, Tone};
use runner_report::{FailureGroup, Failures, Section};

use super::layout::{cut, width};
use super::{Out, style};

/// Columns before the trial: two spaces, the longest outcome of a failure with its sign, and two spaces.
const HEAD_WIDTH: usize = 13;
/// Columns that a reason needs on the line of its trial. With fewer it gets its own line.
const MIN_REASON: usize = 30;
/// Lines of each value, message and difference in a block.
pub const BLOCK_LINES: usize = 12;
/// Lines of each value, difference and log on a page.
const PAGE_LINES: usize = 200;

/// Lists failures, one line for each group. On a screen, reasons are cut at its right edge.
pub fn list(failures: &Failures, screen: Option<usize>) -> String {
    let title = if failures.trials > 0 { "failed:" } else { "skipped:" };
    let mut lines = vec![style::bold(title)];
    lines.extend(failures.listed().into_iter().map(|group| group_line(group, screen)));
    let left = failures.left_out();
    if left > 0 {
        let trials = plural(left, "more trial", "more trials");
        lines.push(format!("  … and {trials}"));
    }
    lines.join("\n")
}

/// Prints the list of failures, if `with_failures`, of skipped trials and of flaky ones.
pub fn print_notable(failures: &Failures, out: &Out, with_failures: bool) {
    let is_listed = failures.listed().iter().any(|group| with_failures || !group.outcome.is_bad());
    if is_listed {
        out.data(&format!("\n{}", list(failures, out.columns())));
    }
    if let Some(flaky) = failures.flaky() {
        out.data(&format!("{} {}", style::bold("flaky:"), visible_line(&flaky)));
    }
}

fn group_line(group: &FailureGroup, screen: Option<usize>) -> String {
    let mut head = format!("  {}", style::outcome(group.outcome));
    let space = HEAD_WIDTH.saturating_sub(width(&head));
    head.extend(repeat_n(' ', space));
    head += &visible_line(&group.name());
    let Some(screen) = screen else {
        return format!("{head}  {}", style::dim(&group.reason));
    };
    let room = screen.saturating_sub(width(&head) + 2);
    if room >= MIN_REASON {
        format!("{head}  {}", style::dim(&cut(&group.reason, room)))
    } else {
        let reason = cut(&group.reason, screen.saturating_sub(HEAD_WIDTH));
        format!("{head}\n{:HEAD_WIDTH$}{}", "", style::dim(&reason))
    }
}

/// Formats a row as one line: outcome, trial, score and duration.
pub fn line(row: &RowRef<'_>) -> String {
    let attempt =
        if row.attempt > 1 { format!(" (attempt {})", row.attempt) } else { String::new() };
    let flaky = if row.flaky { " flaky" } else { "" };
    let score = row.score.map(|score| format!(" {score}")).unwrap_or_default();
    format!(
        "{} {}{attempt}{}{score} {}",
        style::outcome(row.outcome),
        row.trial,
        style::yellow(flaky),
        style::dim(&show_duration(row.duration()))
    )
}

/// Formats a row that its trial's next attempt replaces, with the reason, as one line.
pub fn retried_line(row: &RowRef<'_>) -> String {
    format!("{}: {}; retrying", line(row), failure::headline(row))
}

/// Formats a row with its reasons, each of at most `max_lines` lines.
pub fn block(row: &RowRef<'_>, max_lines: usize) -> String {
    let mut text = line(row);
    for (tone, line) in failure::block(row, max_lines) {
        text.push('\n');
        text.push_str(&match tone {
            Tone::Reason => format!("    {line}"),
            Tone::Detail => format!("      {}", style::dim(&line)),
            Tone::Expected => format!("      {}", style::green(&line)),
            Tone::Actual => format!("      {}", style::red(&line)),
        });
    }
    text
}

/// Formats the page of a trial or of a call: its row and its sections.
pub fn page(row: &RowRef<'_>, sections: Vec<Section>) -> String {
    let mut page = block(row, PAGE_LINES);
    for Section { title, text } in sections {
        page.push_str(&format!("\n{}\n", style::bold(title)));
        let mut lines: Vec<_> =
            text.lines().take(PAGE_LINES).map(|line| format!("  {}", visible_line(line))).collect();
        let left = text.lines().count() - lines.len();
        if left > 0 {
            lines.push(format!("  … {left} more lines: `--json` has all"));
        }
        page.push_str(&lines.join("\n"));
    }
    page
}
