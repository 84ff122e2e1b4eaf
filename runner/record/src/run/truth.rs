//! The true status of a run, by its lock, its rows and the files that a dead session left.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runner_model::{Reason, RunStatus, Time, status::RunVerdict};

use crate::disk::layout::{MANIFEST, ROWS};
use crate::disk::{beneath::Stamp, fault::now, lock};
use crate::rows::fold::{FoldSums, UnplannedFold};
use crate::run::{live, manifest::cut};
use crate::{Manifest, RecordError, RunDir, rows::line_reader::ReadLine};

/// Attempts that ran at a death and are kept in the manifest.
const MAX_RUNNING: usize = 100;
/// Age of `live.json` at most when a row is added. If it seems older, the clock was set.
const LIVE_AGE: Duration = Duration::from_secs(1);
/// Number of runs whose sums are kept in memory.
const MAX_KEPT: usize = 1000;
/// Age from which the sums of rows are kept.
const SETTLED_AGE: Duration = Duration::from_secs(1);

/// A manifest whose counts and verdict, if the run has ended, are those of its rows.
#[derive(Debug)]
pub(crate) struct CheckedManifest {
    pub(crate) manifest: Manifest,
    /// The manifest as it is on disk.
    pub(crate) text: String,
    pub(crate) stamp: Stamp,
    /// The rows of a run that has ended. `None` without rows.
    pub(crate) rows: Option<Stamp>,
}

impl RunDir {
    /// Reads the manifest. Reads also the rows of a run that has ended if they are not as its last session left them.
    pub(crate) fn checked_manifest(&self) -> Result<CheckedManifest, RecordError> {
        loop {
            let (mut manifest, text, stamp) = self.read_manifest()?;
            let has_ended = manifest.status.is_terminal();
            let rows = if has_ended { self.dir.stat(ROWS)? } else { None };
            if has_ended && !manifest.is_of(rows) {
                sum_rows(self, &manifest)?.0.judge(&mut manifest);
            }
            // The rows may be of a session that has started meanwhile.
            let is_damaged = manifest.verdict == RunVerdict::Damaged;
            if !is_damaged || self.dir.stat(MANIFEST)? == Some(stamp) {
                return Ok(CheckedManifest { manifest, text, stamp, rows });
            }
        }
    }

    /// Returns whether the rows of a run that has ended are as its last session left them.
    pub fn has_same_rows(&self, manifest: &Manifest) -> Result<bool, RecordError> {
        Ok(manifest.is_of(self.dir.stat(ROWS)?))
    }

    /// Reads the rows of a run that has ended, and returns whether they have all results that the manifest counts.
    pub fn has_all_results(&self, manifest: &Manifest) -> Result<bool, RecordError> {
        let mut judged = manifest.clone();
        sum_rows(self, manifest)?.0.judge(&mut judged);
        Ok(judged.verdict != RunVerdict::Damaged)
    }

    /// Calls `read` until no session has started or ended meanwhile, so that its result or error is of one state of the run:
    /// rows of a session that a manifest does not have yet look like rows of another run.
    pub fn snapshot<T, E: From<RecordError>>(
        &self,
        mut read: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let state = || self.manifest().map(|now| (now.last_session(), now.status));
        loop {
            let before = state()?;
            let result = read();
            if state()? == before {
                return result;
            }
        }
    }

    /// Reads the manifest with the true state. If the run has ended, counts and verdict are those of its rows. If no process
    /// holds the lock of a `running` run, status, end and counts are those that a sweep would write. A run whose session may still
    /// write reports is `running` while another process holds it. Writes nothing.
    pub fn truth(&self) -> Result<Manifest, RecordError> {
        let mut manifest = self.checked_manifest()?.manifest;
        if manifest.owes_reports() {
            return self.truth_of_reports(manifest);
        }
        if manifest.status.is_terminal() {
            return Ok(manifest);
        }
        if lock::is_held(&self.dir) {
            if let Some(live) = live::read(&self.dir, manifest.last_session()) {
                manifest.stage = live.stage.unwrap_or(manifest.stage);
                manifest.message = live.waits_for_workers;
                manifest.counts = live.counts;
                if let Some(session) = manifest.sessions.last_mut() {
                    session.worked_ms = Some(live.worked_ms);
                }
            }
            return Ok(manifest);
        }
        // An owner writes its last manifest before it unlocks, and another owner may have started meanwhile.
        manifest = self.checked_manifest()?.manifest;
        if manifest.status == RunStatus::Running && !lock::is_held(&self.dir) {
            end_dead_session(self, &mut manifest, now())?;
        }
        Ok(manifest)
    }
}

impl RunDir {
    /// Returns the true state of a run whose session has ended, and whose reports are not written yet.
    fn truth_of_reports(&self, mut manifest: Manifest) -> Result<Manifest, RecordError> {
        match lock::holder(&self.dir) {
            // The reports show the end.
            Some(holder) if holder.is_this_process() => manifest.lost_report = None,
            Some(_) => manifest.reopen(),
            None => {
                // An owner writes its last manifest before it unlocks, and another owner may have started meanwhile.
                manifest = self.checked_manifest()?.manifest;
                manifest.lose_owed_reports();
                if !manifest.status.is_terminal() {
                    return self.truth();
                }
            }
        }
        Ok(manifest)
    }
}

/// The sums of the rows of a run.
struct KeptSums {
    rows: Stamp,
    /// The last session.
    session: u32,
    sums: (FoldSums, Time),
}

/// Sums all rows of a run. Also returns the latest end of an attempt. Results are kept, because each
/// request reads the rows of a run that was copied, damaged or not swept yet.
fn sum_rows(run: &RunDir, manifest: &Manifest) -> Result<(FoldSums, Time), RecordError> {
    static KEPT: Mutex<Vec<KeptSums>> = Mutex::new(Vec::new());
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = run.dir.stat(ROWS)?;
    let session = manifest.last_session();
    if let Some(known) =
        kept().iter().find(|kept| Some(kept.rows) == rows && kept.session == session)
    {
        return Ok(known.sums);
    }
    let list = run.known(manifest)?;
    let adaptive = run.adaptive(manifest);
    let (fold, last_end) = run.fold_lines(
        &|| (UnplannedFold::new(manifest, &list, &adaptive), Time::default()),
        |_| (),
        &mut |(fold, last_end), _, (line, _)| {
            if let ReadLine::Row(row, bytes) = line {
                fold.add(&row, bytes);
                *last_end = row.ended_at().max(*last_end);
            }
        },
    )?;
    let sums = (fold.sums(), last_end);
    // Another change within the clock's step would not show in the stamp.
    if let Some(rows) = rows.filter(|rows| now().since(rows.changed()) > SETTLED_AGE)
        && run.dir.stat(ROWS)? == Some(rows)
    {
        let mut kept = kept();
        let surplus = (kept.len() + 1).saturating_sub(MAX_KEPT);
        kept.drain(..surplus);
        kept.push(KeptSums { rows, session, sums });
    }
    Ok(sums)
}

/// Sets status, counts and end of a run with a dead session, in memory only. The end is the time of the latest row,
/// `live.json`, `last-words.json` or manifest, limited to the time between the session's start and `now`.
pub(crate) fn end_dead_session(
    run: &RunDir,
    manifest: &mut Manifest,
    now: Time,
) -> Result<(), RecordError> {
    let (sums, last_row) = sum_rows(run, manifest)?;
    let session = manifest.last_session();
    let live = live::read(&run.dir, session);
    let words = live::last_words(&run.dir, session);
    let last = manifest.sessions.last_mut();
    let began = last.as_ref().map_or(manifest.started_at, |last| last.started_at);
    let pause = last.as_ref().and_then(|last| last.pauses.last());
    let signs = [
        live.as_ref().map(|live| live.at),
        words.as_ref().map(|words| words.at),
        pause.map(|pause| pause.to.unwrap_or(pause.from)),
        manifest.transitions.last().map(|change| change.at),
    ];
    let ended = signs.into_iter().flatten().fold(last_row, Time::max).min(now).max(began);
    if let (Some(last), Some(live)) = (last, live) {
        manifest.stage = live.stage.unwrap_or(manifest.stage);
        let later = last_row.since(live.at).min(LIVE_AGE).as_millis() as f64;
        last.worked_ms = Some(live.worked_ms + later);
        last.in_flight = live.in_flight;
        last.in_flight.truncate(MAX_RUNNING);
    }

    let (counts, missing) = sums.finish(manifest);
    manifest.counts = counts;
    let rescores = manifest.sessions.last().is_some_and(|last| last.rescores);
    // Trials that `rescore` leaves have no result for the reason of the session before it.
    let before = manifest.transitions.iter().rev().nth(1).filter(|_| rescores);
    let said = words.as_ref().and_then(|words| words.reason);
    let reason = before.and_then(|before| before.reason).or(said);
    // The gate was not evaluated, which `resume` makes up for.
    let is_open = missing > 0 || manifest.metadata.has_gate;
    let reason = is_open.then(|| reason.unwrap_or(Reason::Crashed));
    let status = RunStatus::after(reason, sums.has_rows());
    manifest.change_status(status, reason, "sweep", ended)?;
    if let (Some(_), Some(words)) = (reason, words) {
        manifest.signal = words.signal;
        manifest.message = words.message.map(cut);
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/truth.rs"]
mod tests;
