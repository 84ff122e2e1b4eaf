//! `list` and `show`.

use std::{fmt::Write as _, time::Duration};

use owo_colors::OwoColorize as _;
use serde_json::{Value, json};

use super::{
    failure, format, grants,
    summary::{self, plain_table, trimmed},
    tally::Tally,
};
use crate::{
    model::{Actor, Counts, Reason, RunStatus},
    record::{By, Manifest, Pinned, Row, RunEntry},
};

/// A line for each run.
pub fn list_table(runs: &[RunEntry]) -> String {
    let mut table = plain_table(&[
        "run", "status", "scenario", "done", "passed", "failed", "took", "",
    ]);
    for run in runs {
        table.add_row(vec![
            run.id.to_string(),
            status_text(run),
            run.scenario.clone(),
            format!(
                "{}/{}",
                format::count(run.counts.done()),
                format::count(run.counts.planned)
            ),
            format::count(run.counts.passed),
            format::count(run.counts.bad()),
            took(run),
            pin_mark(run).into(),
        ]);
    }
    // Coloured afterwards: the table counts the characters of its cells, not their colours.
    let table = with_dim_header(&trimmed(&table));
    let mut lines = table.lines();
    let header = lines.next().map(str::to_owned);
    let coloured = runs.iter().zip(lines).map(|(run, line)| {
        let status = status_text(run);
        line.replacen(&status, &format::status(run.status, &status), 1)
    });
    header
        .into_iter()
        .chain(coloured)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One document with all runs.
pub fn list_json(runs: &[RunEntry]) -> String {
    let runs: Vec<_> = runs.iter().map(run_json).collect();
    pretty(&json!({ "v": 1, "runs": runs }))
}

/// What a run came to, with the rows that were asked for in full.
pub fn show_text(run: &RunEntry, manifest: &Manifest, tally: &Tally, rows: &[Row<'_>]) -> String {
    let status = format::status(run.status, &status_text(run));
    let mut lines = vec![format!("{} {status}", run.id.to_string().bold())];
    let mut field = |name: &str, value: &str| {
        lines.push(dim_field(name, value));
    };
    field(
        "scenario",
        &format!("{} ({})", manifest.scenario.name, manifest.scenario.path),
    );
    field("directory", &run.dir.display().to_string());
    field(
        "began",
        &format!("{} UTC", format::timestamp(run.started_at)),
    );
    if let Some(at) = run.completed_at {
        field(
            "ended",
            &format!("{} UTC, after {}", format::timestamp(at), took_in_full(run)),
        );
    }
    if let Some(pinned) = &run.pinned {
        field("pinned", &pin_text(pinned));
    }
    let session = manifest.sessions.last();
    if let Some(error) = session.and_then(|session| session.error.as_deref()) {
        field("error", &format::visible(error));
    }
    let latest = manifest.transitions.last();
    if let Some(by) = latest.and_then(|latest| latest.by.as_ref()) {
        field("asked by", &asked_by(by));
    }
    field("verdict", run.verdict.as_str());
    field("trials", &trials(run.counts));

    let providers = manifest.providers.iter();
    let providers = providers.map(|provider| (provider.name.as_str(), &provider.grants));
    let mut name = "grants";
    for line in grants::tables(providers.clone()) {
        field(std::mem::take(&mut name), &line);
    }

    if !tally.providers.is_empty() {
        lines.push(String::new());
        lines.push(summary::table(tally));
    }
    if let Some(denied) = tally.denied.text(&providers.collect()) {
        lines.push(String::new());
        lines.push(denied);
    }
    if !rows.is_empty() {
        lines.push(String::new());
        lines.extend(rows.iter().map(row_text));
    }
    lines.join("\n")
}

/// The sessions that worked on a run, and every change of its status.
pub fn history_text(run: &RunEntry, manifest: &Manifest) -> String {
    let mut sessions = plain_table(&["session", "began", "ended", "by", "reran", "reason"]);
    for session in &manifest.sessions {
        sessions.add_row(vec![
            session.n.to_string(),
            format::timestamp(session.opened_at),
            session.closed_at.map(format::timestamp).unwrap_or_default(),
            session.opened_by.clone(),
            session.rerun.clone().unwrap_or_default(),
            session
                .reason
                .map(|reason| reason.to_string())
                .unwrap_or_default(),
        ]);
    }
    let mut transitions = plain_table(&["at", "from", "to", "reason", "by", "asked by"]);
    for transition in &manifest.transitions {
        transitions.add_row(vec![
            format::timestamp(transition.at),
            transition
                .from
                .map(|from| from.to_string())
                .unwrap_or_default(),
            transition.to.to_string(),
            match (transition.reason, transition.signal) {
                (Some(reason), Some(signal)) => format!("{reason} ({})", signal.as_str()),
                (Some(reason), None) => reason.to_string(),
                (None, _) => String::new(),
            },
            transition.writer.clone(),
            transition.by.as_ref().map(asked_by).unwrap_or_default(),
        ]);
    }
    let status = format::status(run.status, &status_text(run));
    [
        format!("{} {status}", run.id.to_string().bold()),
        with_dim_header(&trimmed(&sessions)),
        with_dim_header(&trimmed(&transitions)),
    ]
    .join("\n\n")
}

/// One document with the manifest and the rows that were asked for.
pub fn show_json(run: &RunEntry, manifest: &Manifest, rows: &[Row<'_>]) -> String {
    pretty(&json!({ "v": 1, "run": run_json(run), "manifest": manifest, "rows": rows }))
}

/// What `stop` or `cancel` came to, and how the run is now.
pub fn stop_text(run: &RunEntry, result: &str) -> String {
    format!("{} {result}: {}", run.id, ended(run))
}

/// One document with what `stop` or `cancel` came to.
pub fn stop_json(run: &RunEntry, result: &str) -> String {
    pretty(&json!({
        "v": 1,
        "run": run.id.to_string(),
        "result": result,
        "status": run.status.as_str(),
        "reason": run.reason.map(Reason::as_str),
    }))
}

/// How a run ended, on one line.
pub(super) fn ending(run: &RunEntry) -> String {
    format!("{} {}", run.id.to_string().bold(), ended(run))
}

/// A table whose first line is less loud than the others.
pub(super) fn with_dim_header(table: &str) -> String {
    match table.split_once('\n') {
        Some((header, rest)) => format!("{}\n{rest}", header.dimmed()),
        None => table.dimmed().to_string(),
    }
}

/// A row: on one line if it is well, else with what is wrong.
pub(super) fn row_text(row: &Row<'_>) -> String {
    if row.outcome.is_bad() {
        return failure::lines(row);
    }
    failure::head(row)
}

fn ended(run: &RunEntry) -> String {
    let status = format::status(run.status, &status_text(run));
    format!("{status}, {}", trials(run.counts))
}

/// The status with its icon and why it is so.
pub(super) fn status_text(run: &RunEntry) -> String {
    let text = format::status_text(run.status, run.reason, run.signal);
    let sweep = if run.is_not_yet_swept {
        ", not yet swept"
    } else {
        ""
    };
    format!("{text}{sweep}")
}

/// Who asked for a change, from where, when and why.
fn asked_by(by: &By) -> String {
    let at = format::timestamp(by.at);
    let actor = Actor {
        text: None,
        ..by.clone().into()
    };
    let text = by.text.as_ref().map(|text| format!(": {text}"));
    let text = text.unwrap_or_default();
    format::visible_line(&format!("{actor} (pid {}) at {at} UTC{text}", by.pid))
}

fn pin_mark(run: &RunEntry) -> &'static str {
    match run.pinned {
        Some(_) => "pinned",
        None => "",
    }
}

fn pin_text(pinned: &Pinned) -> String {
    let since = format::timestamp(pinned.at);
    match &pinned.reason {
        Some(reason) => format!("since {since} UTC: {reason}"),
        None => format!("since {since} UTC"),
    }
}

/// How long it was worked on, once nobody does any more.
fn took(run: &RunEntry) -> String {
    match run.completed_at {
        Some(_) => format::duration(run.worked),
        None => String::new(),
    }
}

/// The same, and from its beginning to its end where that is something else.
fn took_in_full(run: &RunEntry) -> String {
    let wall = run
        .completed_at
        .map(|end| end.duration_since(run.started_at));
    match wall.map(Duration::try_from) {
        Some(Ok(wall)) if run.sessions > 1 => format!(
            "{} in {} sessions, {} in all",
            took(run),
            run.sessions,
            format::duration(wall)
        ),
        _ => took(run),
    }
}

fn trials(counts: Counts) -> String {
    format!(
        "{} of {}: {}",
        format::count(counts.done()),
        format::count(counts.planned),
        format::counted(counts)
    )
}

pub(super) fn run_json(run: &RunEntry) -> Value {
    let counts = &run.counts;
    json!({
        "run": run.id.to_string(),
        "run_dir": run.dir.to_string_lossy(),
        "scenario": run.scenario,
        "status": run.status.as_str(),
        "reason": run.reason.map(Reason::as_str),
        "signal": run.signal.map(|signal| signal.as_str()),
        "stage": run.stage.as_str(),
        "verdict": run.verdict.as_str(),
        "is_alive": run.status == RunStatus::Running,
        "is_not_yet_swept": run.is_not_yet_swept,
        "pinned": run.pinned,
        "created_at": run.created_at.to_string(),
        "started_at": run.started_at.to_string(),
        "completed_at": run.completed_at.map(|at| at.to_string()),
        "sessions": run.sessions,
        "worked_ms": format::millis(run.worked),
        "counts": {
            "planned": counts.planned,
            "passed": counts.passed,
            "failed": counts.failed,
            "error": counts.error,
            "timeout": counts.timeout,
            "skipped": counts.skipped,
            "flaky": counts.flaky,
        },
    })
}

/// A line with the name of what it tells; further lines of the value are below its first.
pub(super) fn dim_field(name: &str, value: &str) -> String {
    let value = value.replace('\n', "\n          ");
    format!("{} {value}", format!("{name:<9}").dimmed())
}

/// A document; what would steer a terminal is escaped in it, which JSON does itself only below U+0020.
pub(super) fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("a JSON value has a text");
    if !text.contains(format::steers) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if format::steers(character) {
            write!(escaped, "\\u{:04x}", u32::from(character)).expect("a string can be written to");
        } else {
            escaped.push(character);
        }
    }
    escaped
}
