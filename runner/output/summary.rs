//! The closing summary of a run.

use comfy_table::{CellAlignment, Table, presets};

use super::{
    format,
    tally::{ProviderTally, Tally},
};

/// A table with a line for each provider.
pub(super) fn table(tally: &Tally) -> String {
    let mut table = plain_table(&[
        "provider", "passed", "failed", "errors", "timeouts", "skipped", "flaky", "p50", "p95",
        "max",
    ]);
    for (name, provider) in &tally.providers {
        table.add_row(cells(name, provider));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    trimmed(&table)
}

/// A table without lines, as wide as its content.
pub(super) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    table
}

/// The table's text without trailing blanks.
pub(super) fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn cells(name: &str, provider: &ProviderTally) -> Vec<String> {
    let counts = &provider.counts;
    let percentile = |part| {
        let duration = provider.durations.percentile(part);
        duration.map(format::duration).unwrap_or_default()
    };
    vec![
        name.into(),
        format::count(counts.passed),
        format::count(counts.failed),
        format::count(counts.error),
        format::count(counts.timeout),
        format::count(counts.skipped),
        format::count(counts.flaky),
        percentile(0.5),
        percentile(0.95),
        format::duration(provider.durations.max()),
    ]
}
