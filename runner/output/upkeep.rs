//! `cleanup`, `prune`, `reindex`, `validate` and `verify`.

use std::path::{Path, PathBuf};

use super::{
    Output, format,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::{Counts, RunStatus, chain},
    record::{RecordError, Reindexed, ShortIds, Store},
    session::{Cleaned, Pruned},
    view::{CleanupReport, DoomedRun, PruneReport, SizedCount, SweptRun, VerifyReport},
};

/// How many damages a screen shows; the document has more.
const MAX_DAMAGES: usize = 100;

/// Warns of directories that hold a run which cannot be read.
pub fn warn_unreadable(unreadable: &[(PathBuf, RecordError)], output: &Output) {
    for (directory, error) in unreadable {
        let is_odd = matches!(error, RecordError::Odd(_));
        let (directory, error) = (format::path(directory), chain(error));
        output.warn(&match is_odd {
            true => format!("`{directory}` is left out: {error}"),
            false => format!("run `{directory}` cannot be read: {error}"),
        });
    }
}

/// Prints what was swept, or would be.
pub fn print_cleaned(cleaned: &Cleaned, store: &Store, is_json: bool, output: &Output) {
    for (path, error) in &cleaned.failures {
        let (path, error) = (format::path(path), chain(error));
        output.warn(&format!("`{path}` cannot be swept: {error}"));
    }
    let report = &cleaned.report;
    match (report.runs.is_empty(), cleaned.failures.is_empty()) {
        _ if is_json => output.document(report),
        (true, false) => {}
        (true, true) => output.talk("nothing to clean up"),
        (false, _) => {
            output.show(&cleanup_text(report, &store.short_ids(), output.columns()));
            if report.is_dry_run {
                output.hint("nothing was written; `--no-dry-run` writes");
            }
        }
    }
}

/// Prints what was pruned, or would be.
pub fn print_pruned(pruned: &Pruned, store: &Store, is_json: bool, output: &Output) {
    warn_unreadable(&pruned.pruning.unreadable, output);
    for (path, error) in &pruned.pruning.failures {
        let (path, error) = (format::path(path), chain(error));
        output.warn(&format!("`{path}` cannot be pruned: {error}"));
    }
    let report = &pruned.report;
    if is_json {
        output.document(report);
        return;
    }
    output.show(&prune_text(report, &store.short_ids(), output.columns()));
    if !report.is_dry_run {
        return;
    }
    output.hint("nothing was deleted; `--no-dry-run` deletes");
    let runs = report.runs.iter();
    match runs.filter(|doomed| doomed.run.is_resumable()).count() {
        0 => {}
        1 => output.hint("one of these runs can still be resumed"),
        count => output.hint(&format!("{count} of these runs can still be resumed")),
    }
}

/// Prints how many runs `runner.db` knows now, and which it does not.
pub fn print_reindexed(reindexed: &Reindexed, output: &Output) {
    warn_unreadable(&reindexed.unreadable, output);
    for (run, problem) in &reindexed.refused {
        output.warn(&format!(
            "run `{run}` is left out, and lists read its manifest instead: {problem}; `runner verify {run}` looks for damage"
        ));
    }
    let runs = format::plural(reindexed.runs, "run");
    output.data(&match reindexed.is_replaced {
        true => format!("{runs}, in a new file: the old one could not be read"),
        false => runs,
    });
}

/// Says that a scenario is valid, and what it makes.
pub fn valid_text(path: &Path, tests: u64, trials: u64) -> String {
    format!(
        "{}: valid, {} {} {}",
        format::path(path),
        format::plural(tests, "test"),
        if tests == 1 { "makes" } else { "make" },
        format::plural(trials, "trial")
    )
}

/// The runs that are swept, a line each, in at most `width` characters, and how many come to what.
fn cleanup_text(report: &CleanupReport, ids: &ShortIds, width: Option<usize>) -> String {
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
fn prune_text(report: &PruneReport, ids: &ShortIds, width: Option<usize>) -> String {
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
