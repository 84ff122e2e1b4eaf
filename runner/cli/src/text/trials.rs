//! Trials as a line, a block with reasons, a page with all sections, and the list of those that failed.

use std::{cmp::Reverse, iter::repeat_n, ops::Range};

use runner_model::units::{grouped, plural, show_duration};
use runner_model::visible::{marked, visible_line};
use runner_model::{
    Outcome, RowRef,
    known::{Known, KnownState, Stale},
};
use runner_report::failure::{self, Tone};
use runner_report::{
    FailureGroup, Failures, KnownResult, Section, SincePrevious, known_line, phrases,
};

use super::layout::{cut, width};
use super::style::{self, Paint};
use super::{Out, difference::changed_parts, out::has_colours};

/// Columns before the trial: two spaces, the longest outcome of a failure with its sign, and two spaces.
const HEAD_WIDTH: usize = 13;
/// Columns of a change: the longest is `new test`.
const CHANGE_WIDTH: usize = 8;
/// Lines of each value, message and difference in a block.
pub const BLOCK_LINES: usize = 12;
/// Lines of each value, difference and log on a page.
const PAGE_LINES: usize = 200;
/// Columns of which lines are counted without a screen.
const NO_SCREEN: usize = 80;
/// Bytes of a page.
pub const PAGE_BYTES: usize = 64 << 10;

/// Lists failures, one line for each group, with their changes. On a screen, a reason that does not fit gets lines of its own.
pub fn list(failures: &Failures, since: Option<&SincePrevious>, screen: Option<usize>) -> String {
    let mut lines = Vec::new();
    let (groups, left) = failures.listed();
    let (failed, skipped): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(FailureGroup::is_failure);
    let extent = failures.checks().map(|_| format!(" {}", failures.extent()));
    let extent = extent.unwrap_or_default();
    for (title, extent, groups) in [("failed:", &*extent, failed), ("skipped:", "", skipped)] {
        if !groups.is_empty() {
            lines.push(format!("{}{extent}", style::bold(title)));
            lines.extend(groups.into_iter().map(|group| group_line(&group, since, screen)));
        }
    }
    lines.extend(left.map(|left| format!("  … and {left}")));
    lines.extend(known(failures));
    let (retried, all) = failures.retried();
    if all > 0 {
        lines.push(style::bold("not done:"));
        lines.extend(retried.iter().map(|trial| format!("  {}", visible_line(trial))));
        let left = all - retried.len() as u64;
        lines.extend(
            (left > 0).then(|| format!("  … and {}", plural(left, "more trial", "more trials"))),
        );
    }
    lines.join("\n")
}

/// Prints the list of failures, if `with_failures`, of skipped trials, of those that wait for a retry, and of flaky ones.
pub fn print_notable(
    failures: &Failures,
    since: Option<&SincePrevious>,
    out: &Out,
    with_failures: bool,
) {
    let is_listed = failures.sorted().iter().any(|group| with_failures || !group.is_failure());
    if is_listed || failures.retried().1 > 0 {
        out.data(&format!("\n{}", list(failures, since, out.columns())));
    }
    if let Some(flaky) = failures.flaky() {
        let reason = style::dim("passed after a bad attempt");
        out.data(&format!("{} {}  {reason}", style::bold("flaky:"), visible_line(&flaky)));
    }
}

fn group_line(
    group: &FailureGroup,
    since: Option<&SincePrevious>,
    screen: Option<usize>,
) -> String {
    let outcome = match group.outcome {
        // A pass that is not expected.
        Outcome::Passed => style::red("✗ passed"),
        outcome => style::outcome(outcome),
    };
    let mut head = format!("  {outcome}");
    let space = HEAD_WIDTH.saturating_sub(width(&head));
    head.extend(repeat_n(' ', space));
    if let Some(since) = since {
        let change = since.change(group).unwrap_or_default();
        head += &style::yellow(&format!("{change:CHANGE_WIDTH$}  "));
    }
    head += &visible_line(&group.name());
    let Some(screen) = screen else {
        return format!("{head}  {}", style::dim(&group.reason));
    };
    let room = screen.saturating_sub(width(&head) + 2);
    if room >= width(&group.reason) {
        format!("{head}  {}", style::dim(&group.reason))
    } else {
        let reason = cut(&group.reason, 2 * screen.saturating_sub(HEAD_WIDTH));
        format!("{head}\n{:HEAD_WIDTH$}{}", "", style::dim(&reason))
    }
}

/// Formats a row as one line: outcome, trial, score, grades and duration. That of a known failure is not red.
pub fn line(row: &RowRef<'_>, known: Option<KnownState>) -> String {
    let outcome = match known {
        Some(KnownState::Known) => style::dim(&format!("≈ {}", row.outcome)),
        _ => style::outcome(row.outcome),
    };
    let attempt =
        if row.attempt > 1 { format!(" (attempt {})", row.attempt) } else { String::new() };
    let flaky = if row.flaky { " flaky" } else { "" };
    let score = row.trial_score().map(|score| format!(" score {}", phrases::number(score)));
    let score = score.unwrap_or_default();
    let grades = row.grades.iter();
    let grades = grades.map(|grade| format!("{} {}", &*grade.grader, phrases::grade(grade)));
    let grades = match grades.collect::<Vec<_>>().join(", ") {
        grades if grades.is_empty() => grades,
        grades => format!(" ({})", visible_line(&grades)),
    };
    format!(
        "{outcome} {}{attempt}{}{score}{grades} {}",
        row.trial,
        style::yellow(flaky),
        style::dim(&show_duration(row.duration()))
    )
}

/// Formats a row that the next attempt of its trial replaces, or after which a grader is called, with the reason, as one line.
pub fn retried_line(row: &RowRef<'_>) -> String {
    // After an error of a grader, this one or the next one is called.
    let next = if row.outcome == Outcome::Ungraded { "" } else { "; retrying" };
    format!("{}: {}{next}", line(row, None), failure::headline(row))
}

/// Formats a row beside the known failures with its reasons, each of at most `max_lines` lines.
pub fn block(row: &RowRef<'_>, known: &Known, max_lines: usize) -> String {
    let mut text = line(row, KnownResult::of(known, row).map(|known| known.state));
    let known = known_line(known, row);
    text.extend(known.map(|line| format!("\n    {}", style::yellow(&line))));
    text + &reasons(row, max_lines, 0)
}

/// Formats the reasons of a row, each on lines of its own. Marks the changed parts of lines by colours, and by `^` below lines of at
/// most `columns` columns.
fn reasons(row: &RowRef<'_>, max_lines: usize, columns: usize) -> String {
    let mut text = String::new();
    let lines = failure::block(row, max_lines);
    let parts = changed_parts(&lines);
    for ((tone, line), part) in lines.iter().zip(parts) {
        let Range { start, end } = part.clone().unwrap_or(line.len()..line.len());
        let coloured = |paint: Paint, changed: Paint| {
            format!(
                "{}{}{}",
                paint(&line[..start]),
                changed(&line[start..end]),
                paint(&line[end..])
            )
        };
        text.push('\n');
        text.push_str(&match tone {
            Tone::Reason => format!("    {line}"),
            Tone::Detail => format!("      {}", style::dim(line)),
            Tone::Expected => format!("      {}", coloured(style::green, style::inverse_green)),
            Tone::Actual => format!("      {}", coloured(style::red, style::inverse_red)),
        });
        if part.is_some() && *tone == Tone::Actual && 6 + width(line) <= columns {
            let before = 6 + width(&line[..start]);
            let marks = width(&line[start..end]).max(1);
            text.push('\n');
            text.extend(repeat_n(' ', before).chain(repeat_n('^', marks)));
        }
    }
    text
}

/// The extent of a page.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Columns of the screen, if there is one: wide screens have the expected and the actual output side by side.
    pub columns: Option<usize>,
    /// Whether texts of any length are shown, not only their start.
    pub is_full: bool,
    /// The argument that shows all of a text.
    pub remedy: &'static str,
    /// The state of the row. `None` if it counts as without a list of known failures.
    pub known: Option<KnownState>,
}

/// Formats the page of a trial or of a call: its row and its sections.
pub fn page(row: &RowRef<'_>, sections: Vec<Section>, extent: Extent) -> String {
    let (most, bytes) =
        if extent.is_full { (usize::MAX, usize::MAX) } else { (PAGE_LINES, PAGE_BYTES) };
    let remedy = extent.remedy;
    let columns = extent.columns.unwrap_or(NO_SCREEN);
    let within = if has_colours() { 0 } else { extent.columns.unwrap_or(usize::MAX) };
    let block = line(row, extent.known) + &reasons(row, most, within);
    let mut page = shortened(block.lines(), bytes / 2, remedy).join("\n");
    let has_comparison = !extent.is_full && failure::shows_differences(row);
    let mut sections = sections.into_iter().peekable();
    while let Some(section) = sections.next() {
        let room = bytes.saturating_sub(page.len());
        let shown = |Section { title, text }: &Section| {
            let line = |line: &str| match *title {
                "input" if !extent.is_full => {
                    let lines = [format!("  {}", marked(line))];
                    shortened(lines.iter().map(String::as_str), columns * BLOCK_LINES, remedy)
                        .concat()
                }
                "input" | "reference" | "expected" | "output" => format!("  {}", marked(line)),
                _ => format!("  {}", visible_line(line)),
            };
            // `str::lines` would hide carriage returns.
            let all = text.split_terminator('\n');
            let lines: Vec<_> = all.clone().take(most).map(line).collect();
            let left = all.count() - lines.len();
            let mut lines = shortened(lines.iter().map(String::as_str), room / 4, remedy);
            if left > 0 {
                lines.push(left_out(left, remedy));
            }
            lines.insert(0, style::bold(title));
            lines
        };
        let output = sections.next_if(|next| (section.title, next.title) == ("expected", "output"));
        if let Some(output) = output.as_ref().filter(|_| has_comparison)
            && let [expected, got] = [&section, output].map(|section| {
                let lines = section.text.lines();
                lines.map(|line| width(line).div_ceil(columns).max(1) as u64).sum::<u64>()
            })
            && expected.max(got) > BLOCK_LINES as u64
        {
            let [expected_lines, lines] =
                [expected, got].map(|count| plural(count, "line", "lines"));
            let lines = match expected == got {
                true => format!("{lines} each"),
                false => format!("{expected_lines} and {lines}"),
            };
            page.push_str(&format!("\n{} {lines}: {remedy}", style::bold("expected and output:")));
            continue;
        }
        let lines = shown(&section);
        let lines = match (output.map(|output| shown(&output)), extent.columns) {
            (Some(output), Some(columns)) => {
                side_by_side(&lines, &output, columns).unwrap_or_else(|| [lines, output].concat())
            }
            (Some(output), None) => [lines, output].concat(),
            (None, _) => lines,
        };
        page.push_str(&format!("\n{}", lines.join("\n")));
    }
    page
}

/// Returns the first lines of a text, of at most `most` bytes.
fn shortened<'a>(lines: impl Iterator<Item = &'a str>, most: usize, remedy: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let mut room = most;
    let mut left = 0;
    for line in lines {
        if left > 0 || room == 0 {
            left += 1;
        } else if line.len() <= room {
            room -= line.len();
            shown.push(line.to_owned());
        } else {
            let kept = &line[..line.floor_char_boundary(room)];
            let left = grouped((line.len() - kept.len()) as u64);
            shown.push(format!("{kept}\u{1b}[0m… ({left} more bytes: {remedy})"));
            room = 0;
        }
    }
    if left > 0 {
        shown.push(left_out(left, remedy));
    }
    shown
}

fn left_out(lines: usize, remedy: &str) -> String {
    format!("  … {}: {remedy}", plural(lines as u64, "more line", "more lines"))
}

/// Joins two texts of several lines each, if both fit next to each other.
fn side_by_side(left: &[String], right: &[String], columns: usize) -> Option<Vec<String>> {
    let [widest, right_widest] =
        [left, right].map(|lines| lines.iter().map(|line| width(line)).max());
    let column = widest? + 4;
    // The first line is the title.
    if left.len().min(right.len()) <= 2 || column + right_widest? > columns {
        return None;
    }
    let lines = (0..left.len().max(right.len())).map(|index| {
        let [mut left, right] =
            [left, right].map(|lines| lines.get(index).cloned().unwrap_or_default());
        left.extend(repeat_n(' ', column - width(&left)));
        (left + &right).trim_end().to_owned()
    });
    Some(lines.collect())
}

/// Formats the known failures that a list leaves out by the reasons of their entries, and the number of stale entries.
pub fn known(failures: &Failures) -> Vec<String> {
    let mut lines = Vec::new();
    if failures.known > 0 {
        let text = plural(failures.known, "known failure is", "known failures are");
        lines.push(style::dim(&format!("  {text} left out: `-E 'known()'` shows them")));
    }
    let mut reasons: Vec<_> = failures.known_reasons.iter().collect();
    reasons.sort_by_key(|known| Reverse(known.trials));
    lines.extend(reasons.iter().map(|known| {
        let trials = grouped(known.trials);
        style::dim(&format!("    {trials} × {}", visible_line(&known.reason)))
    }));
    if !failures.stale.is_empty() {
        let count = |why| failures.stale.iter().filter(|entry| entry.why == why).count();
        let counts = [
            (Stale::Expired, "expired"),
            (Stale::Changed, "changed"),
            (Stale::Unmatched, "unmatched"),
        ]
        .map(|(why, word)| (count(why), word));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        let entries = plural(failures.stale.len() as u64, "entry does", "entries do");
        let text =
            format!("  {entries} not apply: {}; `runner known` lists them", counts.join(", "));
        lines.push(style::yellow(&text));
    }
    lines
}
