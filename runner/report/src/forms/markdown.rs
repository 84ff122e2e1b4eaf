//! The report as Markdown that fits into a comment on GitHub.

use std::io;

use runner_model::units::plural;
use runner_model::visible::{visible_line, without_commands};
use runner_model::{Counts, GateResult};

use super::cases::{CaseCounts, Cases, FormError};
use crate::{FailureGroup, ResultRow, RunDocument, phrases, run_facts};

/// Bytes of a report. A comment on GitHub has at most as many characters.
const MOST_BYTES: usize = 64 << 10;
/// Bytes that are kept free for the lines after the failures.
const TAIL_BYTES: usize = 1 << 10;
/// Bytes of the block of a failure.
const BLOCK_BYTES: usize = 8 << 10;
/// Providers in the table.
const MOST_PROVIDERS: usize = 100;

/// Writes the report.
pub(super) fn write(
    document: &RunDocument,
    ran_nothing: bool,
    writer: &mut dyn io::Write,
) -> Result<(), FormError> {
    let cases = Cases::read(document, false)?;
    let counts = cases.counts(document.tables.providers.len());
    let sum = counts.iter().fold(Counts::default(), |sum, of| sum.plus(of.counts));
    let has_plan = cases.order.suite.is_some();
    let failed = document.rows.failures_in(&cases.order)?;
    let mut text = head(document, ran_nothing, &sum, &counts);
    if !has_plan {
        text += "\n> **The stored tests cannot be read: trials without rows are missing**\n";
    }
    text += &table(document, &counts);
    if failed.checks().is_some() {
        text += &format!("\n{}\n", escaped(&failed.extent()));
    }
    let mut groups = failed.failed();
    groups.retain(|group| {
        let section = section(group);
        let fits = text.len() + section.len() <= MOST_BYTES - TAIL_BYTES;
        text += if fits { &section } else { "" };
        fits
    });
    if let Some(left) = failed.left_out(&groups) {
        text += &format!("\nNot shown here: {left}.\n");
    }
    if failed.known > 0 {
        let known = plural(failed.known, "known failure is", "known failures are");
        let command = document.run.command("show", &document.run.short, &["-E", "known()"]);
        text += &format!("\n{known} not listed: {}\n", code(&command));
    }
    if failed.trials > 0 {
        let command = document.run.command("show", &document.run.short, &["--failed"]);
        text += &format!("\nAll failures: {}\n", code(&command));
    }
    Ok(writer.write_all(text.as_bytes())?)
}

/// Formats state and counts, and warnings about results that are missing.
fn head(document: &RunDocument, ran_nothing: bool, sum: &Counts, all: &[CaseCounts]) -> String {
    let run = &document.run;
    let manifest = &document.manifest;
    let trials: u64 = all.iter().map(CaseCounts::trials).sum();
    let state = phrases::status_text(&run.head);
    let state = if ran_nothing { state + phrases::NONE_RUN } else { state };
    let mut text = format!("### {}: {state}\n\n", code(&manifest.scenario));
    let is_whole = document.rows.which.filter().is_none();
    let not_needed = run.head.counts.done.not_needed.filter(|_| is_whole);
    let counts = Counts { not_needed, ..*sum }.to_string();
    let counts = if counts.is_empty() { counts } else { format!(": {counts}") };
    let replayed = run.replayed().map(|replayed| format!(", a replay of {}", code(replayed)));
    text += &format!(
        "{}{counts}. Run {}{}.\n",
        plural(trials, "trial", "trials"),
        code(&run.head.id),
        replayed.unwrap_or_default()
    );
    if let Some(names) = run_facts::development_forms(manifest) {
        text += &format!("Development form: {}.\n", code(&names));
    }
    if let Some(filter) = document.rows.which.filter() {
        text += &format!("Only trials that match {} are counted and listed.\n", code(filter));
    }
    let gate = manifest.gate.as_ref();
    let title = match gate.map(GateResult::title) {
        Some("known.strict") => "`known.strict`",
        _ => "Gate",
    };
    let gate = gate.map(run_facts::gate_lines).unwrap_or_default();
    text.extend(gate.iter().enumerate().map(|(index, line)| match index {
        0 => format!("\n{title} {}\n", code(line)),
        _ => format!("- {}\n", code(line)),
    }));
    let missing: u64 = all.iter().map(|counts| counts.without_result).sum();
    let damage = [
        (missing, "trial has no result", "trials have no result"),
        (document.lost_results, "result is lost", "results are lost"),
        (
            document.tables.damaged_lines,
            "line of the results is damaged",
            "lines of the results are damaged",
        ),
    ];
    for (count, one, many) in damage.into_iter().filter(|(count, ..)| *count > 0) {
        text += &format!("\n> **{}**\n", plural(count, one, many));
    }
    text
}

fn table(document: &RunDocument, all: &[CaseCounts]) -> String {
    let tables = document.tables.providers.iter().zip(all).take(MOST_PROVIDERS);
    // The results are those of the whole run, so they do not belong to the trials of a filter.
    let is_whole = document.rows.which.filter().is_none();
    let rows = tables.map(|(table, CaseCounts { counts, .. })| {
        ResultRow::new(&table.provider, *counts, Some(&table.results).filter(|_| is_whole))
    });
    let graders = document.tables.graders.iter().filter(|_| is_whole);
    let rows: Vec<_> = rows.chain(graders.filter_map(ResultRow::of_grader)).collect();
    let columns = ResultRow::columns(&rows);
    let titles: String = columns.iter().map(|(title, _)| format!(" {title} |")).collect();
    let mut text = format!("\n| provider |{titles}\n| --- |{}\n", " ---: |".repeat(columns.len()));
    for (index, row) in rows.iter().enumerate() {
        let cells: String =
            columns.iter().map(|(_, cells)| format!(" {} |", cells[index])).collect();
        text += &format!("| {} |{cells}\n", code(&row.name).replace('|', "\\|"));
    }
    let more = document.tables.providers.len().saturating_sub(MOST_PROVIDERS) as u64;
    text.extend(
        (more > 0)
            .then(|| format!("\n{} not shown\n", plural(more, "provider is", "providers are"))),
    );
    text
}

/// Formats a folded failure. Texts of guests are code, in which Markdown and HTML have no effect.
fn section(group: &FailureGroup) -> String {
    let mut block = String::new();
    for (_, line) in &group.block {
        if block.len() + line.len() > BLOCK_BYTES {
            block += "…\n";
            break;
        }
        block += &format!("{}\n", without_commands(line));
    }
    let count = plural(group.trials, "trial", "trials");
    let outcome = group.outcome;
    let reason = escaped(&group.reason);
    let name = code(&group.first_names());
    let fence = "`".repeat(longest_backticks(&block).max(2) + 1);
    let block = if block.trim_end() == group.reason {
        String::new()
    } else {
        format!("\n{fence}text\n{block}{fence}\n")
    };
    format!(
        "\n<details><summary>{outcome}, {count}: <code>{reason}</code></summary>\n\n{name}\n{block}\n</details>\n"
    )
}

/// Formats a text as code within a line.
pub fn code(text: &str) -> String {
    let text = visible_line(text);
    let text = without_commands(&text);
    let fence = "`".repeat(longest_backticks(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn longest_backticks(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

fn escaped(text: &str) -> String {
    let text = without_commands(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
