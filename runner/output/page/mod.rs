//! A trial's page: what went in, what was expected, what came of it, and all that is known of how.

mod attempts;
mod grades;
mod sections;

use std::path::PathBuf;

use owo_colors::OwoColorize as _;
use unicode_width::UnicodeWidthStr as _;

use super::{
    Output, failure, format, grants,
    runs::dim_field,
    table::{Column, Table},
};
use crate::{
    model::CheckVerdict,
    record::{Row, RowCheck},
    view::{PageAttempt, PageFile, PlannedTest, TrialPage, plain_checks},
};
use sections::Sections;

/// A trial's page; texts are cut unless all is to be `is_full`, and tables have at most `width` characters.
pub fn page_text(page: &TrialPage, is_full: bool, width: Option<usize>) -> String {
    let mut sections = Sections::new(is_full, width);
    sections.head(&head(page));
    if let Some(planned) = &page.planned {
        sections.value("input", &planned.input);
        add_files(&mut sections, "files of the test", &planned.files);
        add_expected(&mut sections, planned);
    }
    if let Some(shown) = page.shown() {
        add_attempt(&mut sections, shown);
    }
    if page.attempts.len() > 1 {
        let table = attempts::table(&page.attempts, width);
        sections.lines("attempts", &table);
    }
    if let Some(command) = &page.command {
        let command = shell_lines(&format::visible_line(command), width);
        sections.lines("make such an attempt again", &command);
    }
    sections.finish()
}

/// Prints where files were written.
pub fn print_saved(files: &[PathBuf], output: &Output) {
    for file in files {
        output.data(&format::path(file));
    }
}

fn head(page: &TrialPage) -> String {
    let mut lines = Vec::new();
    let shown = page.shown();
    lines.push(match shown {
        Some(PageAttempt { row: Some(row), .. }) => failure::head(row),
        Some(PageAttempt { said, .. }) => failure::live_head(&said.name),
        None => format!(
            "{} {}",
            "not begun".cyan(),
            format::visible_line(&page.trial).bold()
        ),
    });
    let mut field = |name: &str, value: &str| lines.push(dim_field(name, value));
    field("run", &format::path(&page.run_dir));
    if let Some(planned) = &page.planned
        && !planned.tags.is_empty()
    {
        field("tags", &format::visible_line(&planned.tags.join(", ")));
    }
    let meta = page.planned.iter().flat_map(|planned| &planned.meta);
    let meta: Vec<_> = meta
        .map(|(key, value)| format!("{key} = {}", format::compact(value)))
        .collect();
    if !meta.is_empty() {
        field("meta", &format::visible_line(&meta.join(", ")));
    }
    if let Some(row) = shown.and_then(|shown| shown.row.as_ref()) {
        field("began", &format::local(row.started_at));
        field("used", &used(row));
        if let Some(worker) = &row.worker {
            field("by", &format!("worker {}", format::visible_line(worker)));
        }
    }
    lines.join("\n")
}

/// What an attempt used, as far as it is not nothing.
fn used(row: &Row<'_>) -> String {
    let usage = row.usage;
    let mut parts = vec![format!("{} of memory", format::size(usage.peak_memory))];
    for (number, word) in [
        (usage.host_calls, "host call"),
        (usage.http_requests, "HTTP request"),
    ] {
        if number > 0 {
            parts.push(format::plural(number, word));
        }
    }
    parts.push(format!("{} in", format::size(usage.bytes_in)));
    parts.push(format!("{} out", format::size(usage.bytes_out)));
    if let Some(fuel) = usage.fuel {
        parts.push(format!("fuel {}", format::count(fuel)));
    }
    parts.join(", ")
}

fn add_expected(sections: &mut Sections, planned: &PlannedTest) {
    for (key, value) in &planned.expect {
        sections.value(&format!("expected: {key}"), value);
    }
}

fn add_attempt(sections: &mut Sections, shown: &PageAttempt) {
    if let Some(output) = &shown.output {
        sections.value("output", output);
    }
    if let Some(row) = &shown.row {
        add_row(sections, row);
    }
    let said = &shown.said;
    let log: Vec<_> = said
        .log_text
        .lines()
        .map(super::attempt_logs::record)
        .collect();
    sections.text("log", &log.join("\n"));
    sections.text("stdout", &said.stdout);
    sections.text("stderr", &said.stderr);
    add_files(sections, "artifacts", &shown.artifacts);
}

fn add_row(sections: &mut Sections, row: &Row<'_>) {
    if let Some(summary) = &row.summary {
        sections.text("summary", summary);
    }
    if let Some(error) = &row.error {
        sections.text(
            "error",
            &format!("{}: {}", failure::error_name(error), error.message),
        );
    }
    let checks = plain_checks(&row.checks, &row.grades);
    if !checks.is_empty() {
        sections.section("checks");
        checks.iter().for_each(|check| add_check(sections, check));
    }
    grades::add(sections, &row.grades);
    if !row.metrics.is_empty() {
        let mut table = Table::new([
            Column::new("metric").cut(1, 8),
            Column::new("value").right(),
            Column::new("unit").cut(0, 4),
        ]);
        for metric in &row.metrics {
            table.row([
                metric.name.as_ref().into(),
                format::number(metric.value).into(),
                metric.unit.as_deref().unwrap_or_default().into(),
            ]);
        }
        sections.table("metrics", table);
    }
    if !row.denied.is_empty() {
        let denied = row.denied.iter();
        let lines: Vec<_> = denied
            .map(|denied| grants::denied_line(&row.provider, &denied.what, denied.grant.as_deref()))
            .collect();
        sections.lines("not granted", &lines.join("\n").yellow().to_string());
    }
}

fn add_check(sections: &mut Sections, check: &RowCheck<'_>) {
    let name = format::visible_line(&check.name);
    let sign = match check.verdict {
        CheckVerdict::Pass => "✓".green().to_string(),
        CheckVerdict::Fail => "✗".red().to_string(),
        CheckVerdict::Skip => "-".dimmed().to_string(),
    };
    let score = check.score.map(|score| format!(" score {score}"));
    let score = score.unwrap_or_default().dimmed().to_string();
    let message = check.message.as_deref().map(format::visible);
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    sections.line(2, &format!("{sign} {name}{score}{message}"));
    match &check.diff {
        Some(diff) => sections.diff(diff),
        None if check.verdict == CheckVerdict::Fail => {
            for (word, value) in ["expected", "got"].into_iter().zip(check.compared()) {
                if let Some(value) = value {
                    sections.named_value(word, value);
                }
            }
        }
        None => {}
    }
    if let Some(details) = &check.details {
        sections.named_value("details", details);
    }
}

fn add_files(sections: &mut Sections, title: &str, files: &[PageFile]) {
    if files.is_empty() {
        return;
    }
    let mut table = Table::new([
        Column::new("name").cut(2, 8),
        Column::new("type").go(0),
        Column::new("size").right().go(1),
        Column::new("path"),
    ]);
    for file in files {
        table.row([
            file.name.as_str().into(),
            file.media_type.as_str().into(),
            format::size(file.bytes).into(),
            format::path(&file.path).into(),
        ]);
    }
    sections.table(title, table);
}
/// A command in lines that a shell takes for one, where it is too long for a line: what is copied from a terminal has the ends
/// of lines that it was broken into.
fn shell_lines(command: &str, width: Option<usize>) -> String {
    if width.is_none_or(|width| command.width() + 2 <= width) {
        return command.to_owned();
    }
    let mut lines = String::with_capacity(command.len());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in command.char_indices() {
        let rest = &command[at..];
        let begins_part = rest.starts_with(" --") || rest.starts_with(" | ");
        match character {
            ' ' if begins_part && !is_quoted => lines.push_str(" \\\n  "),
            other => lines.push(other),
        }
        is_quoted ^= character == '\'' && !is_escaped;
        is_escaped = character == '\\' && !is_quoted && !is_escaped;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::shell_lines;

    #[test]
    fn a_long_command_is_broken_where_a_shell_goes_on() {
        let command = r#"runner show a --open input | runner plugin run p --input '[1, "it'\''s --x | y"]' --seed 3 -- --z"#;
        let lines = shell_lines(command, Some(60));
        let expected = r#"runner show a \
  --open input \
  | runner plugin run p \
  --input '[1, "it'\''s --x | y"]' \
  --seed 3 \
  -- \
  --z"#;
        assert_eq!(lines, expected);
        assert_eq!(lines.replace(" \\\n  ", " "), command);
        assert_eq!(shell_lines(command, None), command);
        assert_eq!(
            shell_lines("runner plugin run p", Some(21)),
            "runner plugin run p"
        );
    }
}
