//! `cleanup`, `prune`, `reindex` and `verify`.

use super::{
    format,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::{Counts, RunStatus},
    record::{Reindexed, ShortIds},
    view::{CleanupReport, DoomedRun, PruneReport, SizedCount, SweptRun, VerifyReport},
};

/// How many damages a screen shows; the document has more.
const MAX_DAMAGES: usize = 100;

/// The runs that are swept, a line each, in at most `width` characters, and how many come to what.
pub fn cleanup_text(report: &CleanupReport, ids: &ShortIds, width: Option<usize>) -> String {
    let runs = &report.runs;
    let becomes = match report.is_dry_run {
        true => "would become",
        false => "became",
    };
    let mut table = Table::new([
        Column::new("run").brief(0),
        Column::new("started").go(3),
        Column::new("progress").right().go(4),
        Column::new("providers").cut(1, 12).go(2),
        Column::new(becomes),
    ]);
    for swept in runs {
        let counts = Counts::from(swept.run.counts);
        let progress = format!(
            "{}/{}",
            format::count(counts.done()),
            format::count(counts.planned)
        );
        table.row([
            Cell::new(swept.run.id.as_str()).or(ids.of(&swept.run.id)),
            format::local(swept.run.started_at).into(),
            progress.into(),
            swept.providers.join(", ").into(),
            Standing::from(&swept.run).status_cell(),
        ]);
    }
    let is_completed = |swept: &&SweptRun| swept.run.status == RunStatus::Completed;
    let completed = runs.iter().filter(is_completed).count();
    format!(
        "{}

{}: {completed} completed, {} incomplete",
        table.fitted(width),
        format::plural(runs.len() as u64, "run"),
        runs.len() - completed
    )
}

/// The runs that go, in at most `width` characters, then everything else in a line each.
pub fn prune_text(report: &PruneReport, ids: &ShortIds, width: Option<usize>) -> String {
    let mut lines = Vec::new();
    if !report.runs.is_empty() {
        lines.push(prune_table(&report.runs, ids, width));
        lines.push(String::new());
    }
    for spared in &report.spared {
        lines.push(format!("{} stays: it is {}", spared.id, spared.because));
    }
    let verb = match report.is_dry_run {
        true => "would delete",
        false => "deleted",
    };
    let runs = report.runs.iter().map(|doomed| doomed.bytes);
    let leftovers = report.leftovers.iter().map(|leftover| leftover.bytes);
    lines.push(format!(
        "{verb} {}, {}, {}",
        amount(SizedCount::of(runs), "run"),
        amount(SizedCount::of(leftovers), "leftover"),
        amount(report.stored_files, "stored file"),
    ));
    lines.push(format!("{} left", amount(report.left, "run")));
    lines.join("\n")
}

/// How many runs `runner.db` knows now.
pub fn reindex_text(reindexed: &Reindexed) -> String {
    let runs = format::plural(reindexed.runs, "run");
    match reindexed.is_replaced {
        true => format!("{runs}, in a new file: the old one could not be read"),
        false => runs,
    }
}

/// Each damage with its place, and what was looked at.
pub fn verify_text(report: &VerifyReport) -> String {
    let mut lines: Vec<_> = report
        .damages
        .iter()
        .take(MAX_DAMAGES)
        .map(|damage| format::visible_line(&damage.sentence))
        .collect();
    let more = report.damage_count - lines.len() as u64;
    if more > 0 {
        lines.push(format!("… {} more", format::count(more)));
    }
    let verdict = match report.damage_count {
        0 => "intact".to_owned(),
        count => format::plural(count, "fault"),
    };
    lines.push(format!(
        "{}: {verdict}; looked at {}, {}, {}",
        format::path(&report.dir),
        format::plural(report.rows, "row"),
        format::plural(report.files, "file"),
        format::plural(report.stored_files, "stored file"),
    ));
    lines.join("\n")
}

fn prune_table(runs: &[DoomedRun], ids: &ShortIds, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("run").brief(0),
        Column::new("status").brief(1),
        Column::new("scenario").cut(2, 8).go(3),
        Column::new("size").right(),
        Column::new("because of"),
    ]);
    for doomed in runs {
        table.row([
            Cell::new(doomed.run.id.as_str()).or(ids.of(&doomed.run.id)),
            Standing::from(&doomed.run).status_cell(),
            doomed.run.scenario.as_str().into(),
            format::size(doomed.bytes).into(),
            doomed.because_of.join(", ").into(),
        ]);
    }
    table.fitted(width)
}

/// `3 runs (1.5 MiB)`.
fn amount(amount: SizedCount, word: &str) -> String {
    let count = format::plural(amount.count, word);
    match amount.bytes {
        0 => count,
        bytes => format!("{count} ({})", format::size(bytes)),
    }
}
