//! [`follow_run`]: the events of a run, from one thread that reads it while clients follow.

use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant, SystemTime};
use std::{collections::VecDeque, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use runner_model::{Reason, RunStatus, Time, row::read_head, status::RunVerdict};
use runner_record::{Live, ReadLine, RecordError, RowsFile, RunCounts, RunDir};
use serde::Serialize;
use serde_json::json;

use super::polled_states::PolledStates;
use super::stream::{Closed, EventStream, event};

const READ_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest time between two events `progress`.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Time over which the rate is averaged.
const RATE_TIME: Duration = Duration::from_secs(10);
const MIN_RATE_TIME: Duration = Duration::from_secs(1);

/// Bytes after which a piece ends with the current row.
const PIECE: usize = 64 << 10;
/// Longer lines are damaged.
const MAX_LINE: u64 = 1 << 20;

/// The state of a run.
#[derive(PartialEq)]
pub(crate) struct RunSnapshot {
    /// Offset after the last whole line of the rows.
    end: u64,
    /// Events without their ids. All clients share their bytes.
    events: Vec<Bytes>,
    /// Whether the run has ended or was removed.
    is_last: bool,
}

/// Data of the event `progress`.
#[derive(Serialize)]
struct Progress<'a> {
    /// Number of rows.
    rev: u64,
    counts: RunCounts,
    /// Results per second. `None` before the first result, and of a run that is not running.
    rate: Option<f64>,
    live: Option<&'a Live>,
}

/// Data of the event `finished`.
#[derive(Serialize)]
struct Finished<'a> {
    run: &'a str,
    status: RunStatus,
    reason: Option<Reason>,
    verdict: RunVerdict,
}

struct RunReader {
    run: RunDir,
    file: Option<RowsFile>,
    end: u64,
    rev: u64,
    /// Numbers of results within [`RATE_TIME`].
    recent: VecDeque<(Instant, u64)>,
}

impl RunReader {
    fn new(run: RunDir) -> Self {
        Self { run, file: None, end: 0, rev: 0, recent: VecDeque::new() }
    }

    /// Returns the state of the run. `None` if it cannot be read now.
    fn snapshot(&mut self) -> Option<RunSnapshot> {
        match self.read() {
            Ok(snapshot) => Some(snapshot),
            Err(RecordError::Removed { .. } | RecordError::Unknown { .. }) => {
                let events = vec![event("gone", None, &json!({ "run": self.run.id() }))];
                Some(RunSnapshot { end: self.end, events, is_last: true })
            }
            Err(_) => None,
        }
    }

    fn read(&mut self) -> Result<RunSnapshot, RecordError> {
        // Read before the rows, so that a run that has ended has all its rows below.
        let manifest = self.run.truth()?;
        let file = self.run.rows_file()?;
        self.add_rows(file)?;
        let has_ended = manifest.status.is_terminal();
        let live = if has_ended { None } else { self.run.live() };
        let counts = RunCounts::from(&manifest);
        let done = counts.done.done();
        // A client that comes later has the mean of the session until then.
        let mean = manifest.sessions.last().and_then(|session| {
            let worked = Time::from(SystemTime::now()).since(session.started_at).as_secs_f64();
            let rows = self.rev.saturating_sub(session.from_seq);
            (worked > 0.0 && rows > 0).then(|| rows as f64 / worked)
        });
        let rate = if has_ended { None } else { self.rate(done).or(mean) };
        let rate = rate.map(|rate| (rate * 1000.0).round() / 1000.0);
        let progress = Progress { rev: self.rev, counts, rate, live: live.as_ref() };
        let mut events = vec![event("progress", None, &progress)];
        if has_ended {
            let run = manifest.id.as_str();
            let verdict = manifest.verdict;
            let status = manifest.status;
            let reason = manifest.reason;
            events.push(event("finished", None, &Finished { run, status, reason, verdict }));
        }
        Ok(RunSnapshot { end: self.end, events, is_last: has_ended })
    }

    fn add_rows(&mut self, file: Option<RowsFile>) -> Result<(), RecordError> {
        if file == self.file {
            return Ok(());
        }
        let is_same =
            |(old, new): (RowsFile, RowsFile)| old.inode == new.inode && old.length <= new.length;
        if self.file.is_some() && !self.file.zip(file).is_some_and(is_same) {
            (self.end, self.rev) = (0, 0);
        }
        let rev = &mut self.rev;
        self.end = self.run.read_lines_from(self.end, &mut |_, line| {
            *rev += u64::from(matches!(line, ReadLine::Row(..)));
        })?;
        self.file = file;
        Ok(())
    }

    fn rate(&mut self, done: u64) -> Option<f64> {
        let now = Instant::now();
        self.recent.retain(|(at, _)| now.duration_since(*at) <= RATE_TIME);
        self.recent.push_back((now, done));
        let (start, before) = *self.recent.front()?;
        let time = now.duration_since(start);
        let rate = done.saturating_sub(before) as f64 / time.as_secs_f64();
        (time >= MIN_RATE_TIME).then_some(rate)
    }
}

/// The place in a run's rows from which a client follows it.
pub(crate) struct RunCursor {
    /// Offset after the last row that the client has.
    pub after: u64,
    /// Whether each row is an event, too.
    pub sends_rows: bool,
}

/// Writes the events of a run until it has ended.
pub(crate) async fn follow_run(
    run: RunDir,
    mut cursor: RunCursor,
    states: PolledStates<Arc<RunSnapshot>>,
    stream: EventStream,
) -> Result<(), Closed> {
    let mut reader = RunReader::new(run.clone());
    let read = move || reader.snapshot().map(Arc::new);
    let mut snapshots = states.follow(run.id(), read, |took| READ_INTERVAL.max(took));
    let reset = || event("reset", Some("0"), &json!({ "run": run.id() }));
    if !is_row_end(&run, cursor.after) {
        cursor.after = 0;
        stream.send(reset()).await?;
    }
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            if snapshot.end < cursor.after {
                cursor.after = 0;
                stream.send(reset()).await?;
            }
            if cursor.sends_rows {
                send_rows(&run, &mut cursor, snapshot.end, &stream).await?;
            } else {
                cursor.after = snapshot.end;
            }
            for event in &snapshot.events {
                // With rows, the id of a later event would skip them.
                if !cursor.sends_rows {
                    stream.send(format!("id: {}\n", snapshot.end).into()).await?;
                }
                stream.send(event.clone()).await?;
            }
            if snapshot.is_last {
                return Ok(());
            }
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
        stream.wait(&mut snapshots).await?;
    }
}

async fn send_rows(
    run: &RunDir,
    cursor: &mut RunCursor,
    end: u64,
    stream: &EventStream,
) -> Result<(), Closed> {
    while cursor.after < end {
        let run = run.clone();
        let after = cursor.after;
        let read = tokio::task::spawn_blocking(move || read_rows(&run, after, end)).await;
        // The client reconnects with its cursor.
        let (events, next) = read.map_err(|_| Closed)?.map_err(|_| Closed)?;
        if next == after {
            return Err(Closed);
        }
        cursor.after = next;
        stream.send(events).await?;
    }
    Ok(())
}

/// Reads the rows between two offsets of the file, up to the end of a piece. Returns their events, and the offset after the last
/// row.
fn read_rows(run: &RunDir, from: u64, end: u64) -> io::Result<(Bytes, u64)> {
    let mut events = Vec::new();
    let next = each_line(run, from, end, |Range { start, end }, line| {
        // Browsers read `\r` as a line break, which would end the event's data.
        if !line.contains(&b'\r') && read_head(line).is_ok() {
            events.extend(format!("id: {end}\nevent: row\ndata: ").bytes());
            events.extend_from_slice(line);
            events.extend(b"\n\n");
        } else {
            events.extend(event("damaged", Some(&end.to_string()), &json!({ "byte": start })));
        }
        events.len() < PIECE
    })?;
    Ok((events.into(), next))
}

/// Calls `each` with the lines of the rows between two offsets, each with its place in the file, until it returns `false`. A line that
/// is too long is empty. Returns the offset after the last whole line.
pub(crate) fn each_line(
    run: &RunDir,
    from: u64,
    end: u64,
    mut each: impl FnMut(Range<u64>, &[u8]) -> bool,
) -> io::Result<u64> {
    let mut file = run.open_rows().map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let (mut at, mut line, mut is_wanted) = (from, Vec::new(), true);
    while is_wanted && at < end {
        line.clear();
        let mut length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        if line.pop_if(|last| *last == b'\n').is_none() {
            if length < MAX_LINE {
                break;
            }
            line.clear();
            length += reader.skip_until(b'\n')? as u64;
        }
        is_wanted = each(at..at + length, &line);
        at += length;
    }
    Ok(at)
}

/// Returns whether an offset is 0 or directly after a row.
fn is_row_end(run: &RunDir, byte: u64) -> bool {
    let Some(before) = byte.checked_sub(1) else { return true };
    let mut last = [0];
    let read = run.open_rows().is_ok_and(|rows| rows.read_exact_at(&mut last, before).is_ok());
    read && last == *b"\n"
}
