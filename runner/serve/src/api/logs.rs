//! The logs of a run's attempts, in pieces that follow the rows.

use std::io;

use runner_model::row::read_line;
use runner_report::{LogEntry, Reading, VERSION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::RunName;
use super::{HttpProblem, Result, Route};
use crate::{events::each_line, server::Server};

/// Bytes of texts after which a piece ends with the current row.
const PIECE: usize = 256 << 10;
/// Bytes of rows after which a piece ends, also if they have no logs.
const MAX_ROWS: u64 = 4 << 20;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/runs/{run}/logs", "Logs and output of attempts that have ended", logs)]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogsKeys {
    /// `next` of the piece before. By default, the start.
    #[schemars(range(max = u64::MAX))]
    from: Option<u64>,
    /// Starts this many bytes of rows before the end, whatever `from` is.
    #[schemars(range(max = u64::MAX))]
    last: Option<u64>,
}

/// A piece of the logs of a run, in the order of its rows.
#[derive(Serialize, JsonSchema)]
struct LogsPage {
    /// Always [`VERSION`].
    v: u8,
    entries: Vec<LogEntry>,
    /// Place of the piece in the rows. 0 is the start.
    from: u64,
    /// Place of the next piece. The same as `from` at the end.
    next: u64,
}

fn logs(server: &Server, names: &RunName, keys: &LogsKeys) -> Result<LogsPage> {
    let run = server.run(&names.run)?;
    let (mut entries, mut bytes, mut reading) = (Vec::new(), 0, Reading::default());
    let mut from = keys.from.unwrap_or(0);
    let Some(rows) = run.rows_file()? else {
        return Ok(LogsPage { v: VERSION, entries, from, next: from });
    };
    if let Some(last) = keys.last {
        // The line of the byte before may be a part of a row.
        let before = rows.length.checked_sub(last).and_then(|start| start.checked_sub(1));
        let start = before.map(|before| each_line(&run, before, rows.length, |_, _| false));
        from = start.transpose().map_err(|error| unreadable(&error))?.unwrap_or(0);
    }
    let next = each_line(&run, from, from.saturating_add(MAX_ROWS), |_, line| {
        if let Ok(row) = read_line(line) {
            // `verify` reports damaged logs.
            reading.read_row(&run, &row, |entry| {
                bytes += entry.as_ref().map_or(0, |entry| entry.text.len());
                entries.extend(entry);
            });
        }
        bytes < PIECE
    });
    Ok(LogsPage { v: VERSION, entries, from, next: next.map_err(|error| unreadable(&error))? })
}

fn unreadable(error: &io::Error) -> HttpProblem {
    HttpProblem::storage(&format!("cannot read the logs: {error}"))
}
