//! The attempts of a run in the trace event format of Chrome, which Perfetto opens:
//! <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::{collections::HashMap, io};

use runner_model::Outcome;
use serde::Serialize;
use serde_json::json;

use super::cases::FormError;
use crate::{RunDocument, failure, json::one_line, pages::timeline};

/// An event with a start and a duration.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'a str,
    /// Microseconds since the run's start.
    ts: f64,
    /// Microseconds.
    dur: f64,
    /// Number of the worker.
    pid: u16,
    /// Number of the lane.
    tid: usize,
    args: Args,
}

/// What a viewer shows about an attempt.
#[derive(Serialize)]
struct Args {
    attempt: u32,
    outcome: Outcome,
    score: Option<f64>,
    /// Reason of a failure on one line.
    reason: Option<String>,
}

/// Writes the report.
pub(super) fn write(document: &RunDocument, writer: &mut dyn io::Write) -> Result<(), FormError> {
    let table = &document.rows.table;
    let selected = document.rows.trials()?;
    let mut parts = timeline::attempts(table);
    let workers = timeline::pack(&mut parts, |part| {
        selected.as_ref().is_none_or(|trials| trials.contains(&part.row.trial))
    });
    let lanes: HashMap<_, _> =
        parts.iter().map(|part| (part.row.number, (part.worker, part.lane))).collect();
    writeln!(writer, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut before = None;
    for worker in workers.into_iter().filter(|worker| before.replace(*worker) != Some(*worker)) {
        let name = table.worker(worker).unwrap_or("this machine");
        let args = json!({"name": name});
        let event = json!({"name": "process_name", "ph": "M", "pid": worker, "args": args});
        writeln!(writer, "{},", one_line(&event))?;
    }
    let mut written = Ok(());
    table.each_row(lanes.keys().copied(), |indexed, row, _| {
        let (pid, tid) = lanes[&indexed.number];
        let reason = row.outcome.is_bad().then(|| failure::headline(row));
        let event = Event {
            name: &row.trial.to_string(),
            cat: row.outcome.as_str(),
            ph: "X",
            ts: row.started_at.since(table.started_at()).as_secs_f64() * 1e6,
            dur: row.duration_ms * 1e3,
            pid,
            tid,
            args: Args {
                attempt: row.attempt,
                outcome: row.outcome,
                score: row.trial_score(),
                reason,
            },
        };
        if written.is_ok() {
            written = writeln!(writer, "{},", one_line(&event));
        }
    })?;
    written?;
    // Without a last event, the list would end with a comma, which JSON does not allow.
    let name = &document.run.head.scenario;
    let event = json!({"name": "process_labels", "ph": "M", "pid": 0, "args": {"labels": name}});
    Ok(writeln!(writer, "{}]}}", one_line(&event))?)
}
