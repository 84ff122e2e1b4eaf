//! [`Timeline`]: the attempts of a run over its time, in lanes. A lane has one attempt at a time, so a run has as many lanes as
//! attempts that ran at once.

use std::collections::{HashMap, HashSet};

use runner_model::{Counts, ErrorClass, Outcome, Time, known::KnownState};
use runner_record::{Manifest, RecordError};
use runner_results::{RowSelection, RunTable, TableRow, rank};
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// Spans of an answer, about. Shorter ones are joined.
const MOST_SPANS: usize = 4000;
/// Further attempts at once share the last lane.
const MOST_LANES: usize = 256;
/// Attempts share a lane if they overlap by less: the times of rows have whole milliseconds.
const PRECISION_MS: f64 = 1.5;
/// Worker of the lanes of waits.
const WAITS: u16 = u16::MAX;

/// The attempts of a run within a range of its time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Timeline {
    /// Always [`VERSION`].
    v: u8,
    /// Number of rows that were read.
    rev: u64,
    /// Start of the run. All other times are milliseconds since it.
    start: Time,
    /// End of the last attempt.
    end_ms: f64,
    /// Start of the range.
    from_ms: f64,
    /// End of the range.
    to_ms: f64,
    lanes: Vec<Lane>,
    /// Attempts and waits that overlap the range, by lane.
    spans: Vec<Span>,
    /// Start and end of each pause, and of each time between two sessions.
    pauses: Vec<(f64, f64)>,
}

/// Attempts of which one runs at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Lane {
    /// Name of the worker on another machine, with the number of its process. `null` on this machine.
    worker: Option<String>,
    /// Whether the lane has the waits before retries.
    is_waiting: bool,
}

/// An attempt, a wait, or several that are too short to be shown apart.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
struct Span {
    /// Index in `lanes`.
    lane: usize,
    from_ms: f64,
    to_ms: f64,
    /// The worst outcome of the attempts.
    outcome: Outcome,
    /// `known` for a known failure, `unexpected-pass` for a pass that the list does not expect. Absent for other results, and for
    /// several attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<KnownState>,
    /// Number of attempts.
    attempts: u64,
    /// Numbers of attempts by outcome, without interrupted ones. `null` for a single attempt.
    counts: Option<Counts>,
    /// The trial. `null` for several.
    trial: Option<String>,
    /// Number of the attempt. `null` for several.
    attempt: Option<u8>,
    /// Class of the error before the wait, or else the outcome. `null` for an attempt.
    wait: Option<&'static str>,
}

/// An attempt or a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) row: TableRow,
    pub(crate) from_ms: f64,
    pub(crate) to_ms: f64,
    pub(crate) worker: u16,
    pub(crate) lane: usize,
}

impl Timeline {
    /// Reads the attempts within a range, of the whole run by default, optionally only those of selected trials. They keep their
    /// lanes.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn read(
        table: &RunTable,
        manifest: &Manifest,
        from_ms: Option<u64>,
        to_ms: Option<u64>,
        which: Option<&RowSelection>,
    ) -> Result<Self, RecordError> {
        let mut parts = attempts(table);
        let end_ms = parts.iter().map(|part| part.to_ms).fold(0.0, f64::max);
        parts.extend(waits(table));
        let lanes = pack(&mut parts, |_| true);
        if let Some(which) = which {
            let rows = table.select(which)?.into_iter();
            let trials: HashSet<_> = rows.map(|row| table.row(row).trial).collect();
            parts.retain(|part| trials.contains(&part.row.trial));
        }
        let from_ms = from_ms.map_or(0.0, |from| from as f64).min(end_ms);
        let to_ms = to_ms.map_or(end_ms, |to| to as f64).clamp(from_ms, end_ms.max(from_ms));
        parts.retain(|part| part.from_ms <= to_ms && part.to_ms >= from_ms);
        // A lane has about as many spans as another.
        let least_ms = (to_ms - from_ms) * lanes.len() as f64 / MOST_SPANS as f64;
        let mut spans = Vec::<(Span, u32)>::new();
        for part in &parts {
            let wait = (part.worker == WAITS).then_some("");
            let outcome = part.row.outcome;
            // Only the attempt that decides has a state.
            let state = if part.row.settles() { part.row.state } else { KnownState::Unlisted };
            if let Some((last, _)) = spans
                .last_mut()
                .filter(|(last, _)| last.lane == part.lane && part.to_ms - last.from_ms < least_ms)
            {
                last.to_ms = last.to_ms.max(part.to_ms);
                last.attempts += 1;
                let (first, known) = (last.outcome, last.known.take());
                let counts = last.counts.get_or_insert_with(|| {
                    let mut counts = Counts::default();
                    counts.add(first, false);
                    counts.add_state(known.unwrap_or_default());
                    counts
                });
                counts.add(outcome, false);
                counts.add_state(state);
                (last.trial, last.attempt) = (None, None);
                if rank(outcome) < rank(last.outcome) {
                    last.outcome = outcome;
                }
                continue;
            }
            let Part { lane, from_ms, to_ms, .. } = *part;
            let trial = table.trial_id(part.row.trial).map(|trial| trial.to_string());
            let attempt = Some(part.row.attempt());
            let span = Span {
                lane,
                from_ms,
                to_ms,
                outcome,
                known: state.listed(),
                attempts: 1,
                counts: None,
                trial,
                attempt,
                wait,
            };
            spans.push((span, part.row.number));
        }
        name_waits(table, &mut spans)?;
        Ok(Self {
            v: VERSION,
            rev: table.rows().into(),
            start: table.started_at(),
            end_ms,
            from_ms,
            to_ms,
            lanes: lanes
                .into_iter()
                .map(|worker| Lane {
                    worker: table.worker(worker).map(str::to_owned),
                    is_waiting: worker == WAITS,
                })
                .collect(),
            spans: spans.into_iter().map(|(span, _)| span).collect(),
            pauses: pauses(manifest, table.started_at()),
        })
    }
}

/// Returns the attempts of a run. Only the last row of an attempt is used: a grade or a rescore adds one.
pub(crate) fn attempts(table: &RunTable) -> Vec<Part> {
    let rows = (0..table.rows()).map(|number| table.row(number));
    let is_last = |row: &TableRow| {
        table.newest(row.trial).is_none_or(|newest| {
            newest.number == row.number
                || (newest.attempt(), newest.ended_ms) != (row.attempt(), row.ended_ms)
        })
    };
    rows.filter(is_last)
        .map(|row| {
            let to_ms = f64::from(row.ended_ms);
            let from_ms = (to_ms - row.ms()).max(0.0);
            Part { row, from_ms, to_ms, worker: row.worker, lane: 0 }
        })
        .collect()
}

/// Returns the times between a failed attempt and the next one of its trial.
fn waits(table: &RunTable) -> Vec<Part> {
    let mut waits = Vec::new();
    for (trial, rows) in table.unsettling() {
        let rows = rows.into_iter().map(|number| table.row(number));
        let rows: Vec<_> = rows.chain(table.newest(trial)).collect();
        for pair in rows.windows(2).filter(|pair| pair[0].attempt() < pair[1].attempt()) {
            let from_ms = f64::from(pair[0].ended_ms);
            let to_ms = f64::from(pair[1].ended_ms) - pair[1].ms();
            if to_ms > from_ms {
                waits.push(Part { row: pair[0], from_ms, to_ms, worker: WAITS, lane: 0 });
            }
        }
    }
    waits
}

/// Sorts parts by lane and time, and returns the worker of each lane.
pub(crate) fn pack(parts: &mut Vec<Part>, is_kept: impl Fn(&Part) -> bool) -> Vec<u16> {
    parts.retain(is_kept);
    parts.sort_unstable_by(|left, right| {
        left.worker.cmp(&right.worker).then(left.from_ms.total_cmp(&right.from_ms))
    });
    // The worker and the end of each lane.
    let mut lanes = Vec::<(u16, f64)>::new();
    let mut first = 0;
    for part in parts.iter_mut() {
        if lanes.get(first).is_some_and(|(worker, _)| *worker != part.worker) {
            first = lanes.len();
        }
        let free = lanes[first..].iter().position(|(_, end)| *end <= part.from_ms + PRECISION_MS);
        part.lane = match free {
            Some(free) => first + free,
            None if lanes.len() < first + MOST_LANES => {
                lanes.push((part.worker, 0.0));
                lanes.len() - 1
            }
            None => lanes.len() - 1,
        };
        lanes[part.lane].1 = part.to_ms;
    }
    parts.sort_by_key(|part| part.lane);
    lanes.into_iter().map(|(worker, _)| worker).collect()
}

/// Sets the reasons of waits.
fn name_waits(table: &RunTable, spans: &mut [(Span, u32)]) -> Result<(), RecordError> {
    let rows = spans.iter().filter(|(span, _)| span.wait.is_some()).map(|(_, row)| *row);
    let mut names = HashMap::new();
    table.each_row(rows, |indexed, row, _| {
        let class = row.error.as_ref().and_then(|error| error.class);
        names.insert(indexed.number, class.map_or(row.outcome.as_str(), ErrorClass::as_str));
    })?;
    for (span, row) in spans.iter_mut().filter(|(span, _)| span.wait.is_some()) {
        span.wait = Some(names.get(row).copied().unwrap_or(span.outcome.as_str()));
    }
    Ok(())
}

/// Returns the pauses of all sessions, and the times between sessions.
fn pauses(manifest: &Manifest, start: Time) -> Vec<(f64, f64)> {
    let ms = |time: Time| time.since(start).as_secs_f64() * 1000.0;
    let sessions = &manifest.sessions;
    let between = sessions
        .windows(2)
        .filter_map(|pair| Some((ms(pair[0].ended_at?), ms(pair[1].started_at))));
    let paused = sessions.iter().flat_map(|session| &session.pauses);
    let paused = paused.filter_map(|pause| Some((ms(pause.from), ms(pause.to?))));
    between.chain(paused).collect()
}
