//! What failed: as blocks while it happens, and as a short list at the end.

use runner_model::{
    RowRef,
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_report::{
    FailureGroup, Failures,
    failure::{self, Tone},
};

use super::{
    layout::{cut, width},
    style,
};

/// Columns before the trial: two, those of the longest outcome of a failure with its sign, and two.
const HEAD_WIDTH: usize = 13;
/// A reason with less room stands on a line of its own.
const NARROWEST_REASON: usize = 30;
/// Lines of each value, message and difference in a block.
pub const BLOCK_LINES: usize = 12;

/// A title, a line for each group, and one for what is left out. On a screen, reasons end where it ends.
pub fn list(failures: &Failures, screen: Option<usize>) -> String {
    let mut lines = vec![style::bold("failed:")];
    let groups = failures.groups.iter();
    lines.extend(groups.map(|group| group_line(group, screen)));
    let left = failures.left_out();
    if left > 0 {
        let trials = plural(left, "more trial", "more trials");
        lines.push(format!("  … and {trials}"));
    }
    lines.join("\n")
}

fn group_line(group: &FailureGroup, screen: Option<usize>) -> String {
    let mut head = format!("  {}", style::outcome(group.outcome));
    let space = HEAD_WIDTH.saturating_sub(width(&head));
    head.extend(std::iter::repeat_n(' ', space));
    head += &visible_line(&group.name());
    let Some(screen) = screen else {
        return format!("{head}  {}", style::dim(&group.reason));
    };
    let room = screen.saturating_sub(width(&head) + 2);
    if room >= NARROWEST_REASON {
        format!("{head}  {}", style::dim(&cut(&group.reason, room)))
    } else {
        let reason = cut(&group.reason, screen.saturating_sub(HEAD_WIDTH));
        format!("{head}\n{:HEAD_WIDTH$}{}", "", style::dim(&reason))
    }
}

/// A row as one line: what it came to, its trial and how long it took.
pub fn row_line(row: &RowRef<'_>) -> String {
    let attempt =
        if row.attempt > 1 { format!(" (attempt {})", row.attempt) } else { String::new() };
    let flaky = if row.flaky { " flaky" } else { "" };
    format!(
        "{} {}{attempt}{} {}",
        style::outcome(row.outcome),
        row.trial,
        style::yellow(flaky),
        style::dim(&show_duration(row.duration()))
    )
}

/// A row with its reasons.
pub fn row_block(row: &RowRef<'_>, most: usize) -> String {
    let mut text = row_line(row);
    for (tone, line) in failure::block(row, most) {
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
