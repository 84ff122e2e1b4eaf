//! `cleanup`, `prune`, `reindex` and `verify`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    format::{self, pretty},
    runs::run_json,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::{RunStatus, chain},
    record::{
        Amount, Damage, PrunedRun, Pruning, RecordError, Reindexed, ShortIds, Swept, Verification,
    },
};

/// How many damages a screen shows; the document has more.
const MAX_DAMAGES: usize = 100;

/// Whether something was done, or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// It was only shown.
    Dry,
    /// It was done.
    Real,
}

/// How many runs were swept, and which, where it was nobody's wish.
pub fn swept_text(runs: &[Swept]) -> String {
    let ids: Vec<_> = runs.iter().map(|swept| swept.run.id.as_str()).collect();
    let (count, had) = match runs.len() {
        1 => ("one run".to_owned(), "its process had died"),
        count => (format!("{count} runs"), "their processes had died"),
    };
    format!("swept {count}, because {had}: {}", ids.join(", "))
}

/// The runs that are swept, a line each, in at most `width` characters, and how many come to what.
pub fn cleanup_text(
    runs: &[Swept],
    ids: &ShortIds,
    execution: Execution,
    width: Option<usize>,
) -> String {
    let becomes = match execution {
        Execution::Dry => "would become",
        Execution::Real => "became",
    };
    let mut table = Table::new([
        Column::new("run").brief(0),
        Column::new("started").go(3),
        Column::new("progress").right().go(4),
        Column::new("providers").cut(1, 12).go(2),
        Column::new(becomes),
    ]);
    for swept in runs {
        let counts = swept.run.counts;
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
            Standing::of(&swept.run).status_cell(),
        ]);
    }
    let is_completed = |swept: &&Swept| swept.run.status == RunStatus::Completed;
    let completed = runs.iter().filter(is_completed).count();
    format!(
        "{}

{}: {completed} completed, {} incomplete",
        table.fitted(width),
        format::plural(runs.len() as u64, "run"),
        runs.len() - completed
    )
}

/// One document with the runs that are swept.
pub fn cleanup_json(
    runs: &[Swept],
    failures: &[(PathBuf, RecordError)],
    execution: Execution,
    now: Timestamp,
) -> String {
    let runs: Vec<_> = runs
        .iter()
        .map(|swept| {
            let mut value = run_json(&swept.run, now);
            value["providers"] = json!(swept.providers);
            value
        })
        .collect();
    pretty(&json!({
        "v": 1,
        "is_dry_run": execution == Execution::Dry,
        "runs": runs,
        "failures": failures_json(failures),
    }))
}

/// The runs that go, in at most `width` characters, then everything else in a line each.
pub fn prune_text(
    pruning: &Pruning,
    ids: &ShortIds,
    execution: Execution,
    width: Option<usize>,
) -> String {
    let mut lines = Vec::new();
    if !pruning.runs.is_empty() {
        lines.push(prune_table(&pruning.runs, ids, width));
        lines.push(String::new());
    }
    for (run, spared) in &pruning.spared {
        lines.push(format!("{} stays: it is {}", run.id, spared.as_str()));
    }
    let verb = match execution {
        Execution::Dry => "would delete",
        Execution::Real => "deleted",
    };
    let runs = pruning.runs.iter().map(|pruned| pruned.bytes);
    let leftovers = pruning.leftovers.iter().map(|(_, bytes)| *bytes);
    lines.push(format!(
        "{verb} {}, {}, {}",
        amount(sum(runs), "run"),
        amount(sum(leftovers), "leftover"),
        amount(pruning.entries, "stored file"),
    ));
    lines.push(format!("{} left", amount(pruning.left, "run")));
    lines.join("\n")
}

/// One document with everything that goes and stays.
pub fn prune_json(pruning: &Pruning, execution: Execution, now: Timestamp) -> String {
    let runs = pruning.runs.iter();
    let runs: Vec<_> = runs.map(|pruned| pruned_json(pruned, now)).collect();
    let spared: Vec<_> = pruning
        .spared
        .iter()
        .map(|(run, spared)| json!({ "run": run.id.as_str(), "because": spared.as_str() }))
        .collect();
    let leftovers: Vec<_> = pruning
        .leftovers
        .iter()
        .map(|(path, bytes)| json!({ "path": path.to_string_lossy(), "bytes": bytes }))
        .collect();
    let amount = |amount: Amount| json!({ "count": amount.count, "bytes": amount.bytes });
    pretty(&json!({
        "v": 1,
        "is_dry_run": execution == Execution::Dry,
        "runs": runs,
        "spared": spared,
        "leftovers": leftovers,
        "stored_files": amount(pruning.entries),
        "left": amount(pruning.left),
        "unreadable": failures_json(&pruning.unreadable),
        "failures": failures_json(&pruning.failures),
    }))
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
pub fn verify_text(dir: &Path, verification: &Verification) -> String {
    let mut lines: Vec<_> = verification
        .damages
        .iter()
        .take(MAX_DAMAGES)
        .map(|damage| format::visible_line(&damage.to_string()))
        .collect();
    let more = verification.damage_count - lines.len() as u64;
    if more > 0 {
        lines.push(format!("… {} more", format::count(more)));
    }
    let verdict = match verification.damage_count {
        0 => "intact".to_owned(),
        count => format::plural(count, "fault"),
    };
    lines.push(format!(
        "{}: {verdict}; looked at {}, {}, {}",
        format::path(dir),
        format::plural(verification.rows, "row"),
        format::plural(verification.files, "file"),
        format::plural(verification.entries, "stored file"),
    ));
    lines.join("\n")
}

/// One document with each damage.
pub fn verify_json(dir: &Path, verification: &Verification) -> String {
    let damages: Vec<_> = verification.damages.iter().map(damage_json).collect();
    pretty(&json!({
        "v": 1,
        "run_dir": dir.to_string_lossy(),
        "is_intact": verification.is_intact(),
        "rows": verification.rows,
        "files": verification.files,
        "stored_files": verification.entries,
        "damage_count": verification.damage_count,
        "damages": damages,
    }))
}

fn prune_table(runs: &[PrunedRun], ids: &ShortIds, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("run").brief(0),
        Column::new("status").brief(1),
        Column::new("scenario").cut(2, 8).go(3),
        Column::new("size").right(),
        Column::new("because of"),
    ]);
    for pruned in runs {
        table.row([
            Cell::new(pruned.run.id.as_str()).or(ids.of(&pruned.run.id)),
            Standing::of(&pruned.run).status_cell(),
            pruned.run.scenario.as_str().into(),
            format::size(pruned.bytes).into(),
            reasons(pruned).join(", ").into(),
        ]);
    }
    table.fitted(width)
}

fn pruned_json(pruned: &PrunedRun, now: Timestamp) -> Value {
    let mut value = run_json(&pruned.run, now);
    value["bytes"] = pruned.bytes.into();
    value["because_of"] = json!(reasons(pruned));
    value
}

fn failures_json(failures: &[(PathBuf, RecordError)]) -> Vec<Value> {
    failures
        .iter()
        .map(|(path, error)| json!({ "path": path.to_string_lossy(), "error": chain(error) }))
        .collect()
}

fn reasons(pruned: &PrunedRun) -> Vec<&'static str> {
    pruned.why.iter().map(|why| why.as_str()).collect()
}

fn damage_json(damage: &Damage) -> Value {
    json!({ "path": damage.path.to_string_lossy(), "line": damage.line, "problem": damage.problem })
}

fn sum(sizes: impl Iterator<Item = u64>) -> Amount {
    let mut amount = Amount::default();
    for bytes in sizes {
        amount.count += 1;
        amount.bytes += bytes;
    }
    amount
}

/// `3 runs (1.5 MiB)`.
fn amount(amount: Amount, word: &str) -> String {
    let count = format::plural(amount.count, word);
    match amount.bytes {
        0 => count,
        bytes => format!("{count} ({})", format::size(bytes)),
    }
}
