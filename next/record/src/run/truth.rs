//! The true status of a run, by its lock, its rows and the files that a dead session left.

use runner_model::{Reason, RunStatus, Time};

use crate::disk::{fault::now, lock};
use crate::rows::{fold::UnplannedFold, line_reader::ReadLine};
use crate::{Manifest, RecordError, RunDir, run::live};

impl RunDir {
    /// Reads the manifest with the true status: if no process holds the lock of a `running` run, status, end and counts
    /// are those that a sweep would write. Writes nothing.
    pub fn truth(&self) -> Result<Manifest, RecordError> {
        let mut manifest = self.manifest()?;
        if manifest.status.is_terminal() {
            return Ok(manifest);
        }
        if lock::is_held(&self.dir) {
            if let Some(live) = live::read(&self.dir, manifest.last_session()) {
                manifest.stage = live.stage.unwrap_or(manifest.stage);
                manifest.counts = live.counts;
                if let Some(session) = manifest.sessions.last_mut() {
                    session.worked_ms = Some(live.worked_ms);
                }
            }
            return Ok(manifest);
        }
        // An owner writes its last manifest before it unlocks, and another owner may have started meanwhile.
        manifest = self.manifest()?;
        if manifest.status == RunStatus::Running && !lock::is_held(&self.dir) {
            end_dead_session(self, &mut manifest, now())?;
        }
        Ok(manifest)
    }

    /// Returns how many results of the manifest's counts are not in the rows of a run that has ended.
    pub fn lost_results(&self, manifest: &Manifest) -> Result<u64, RecordError> {
        let (mut fold, _) = fold_rows(self, manifest)?;
        let (counts, _) = fold.finish(manifest);
        Ok(manifest.counts.done().saturating_sub(counts.done()))
    }
}

/// Folds all rows of a run. Also returns the latest end of an attempt.
fn fold_rows(run: &RunDir, manifest: &Manifest) -> Result<(UnplannedFold, Time), RecordError> {
    let (mut fold, mut last_end) = (UnplannedFold::new(manifest), Time::default());
    run.rows(&mut |_, line| {
        if let ReadLine::Row(row, _) = line {
            fold.add(&row.trial, (&row).into());
            last_end = last_end.max(row.ended_at());
        }
    })?;
    Ok((fold, last_end))
}

/// Sets status, counts and end of a run with a dead session, in memory only. The end is the time of the latest row,
/// `live.json`, `last-words.json` or manifest, limited to the time between the session's start and `now`.
pub(crate) fn end_dead_session(
    run: &RunDir,
    manifest: &mut Manifest,
    now: Time,
) -> Result<(), RecordError> {
    let (mut fold, last_row) = fold_rows(run, manifest)?;
    let session = manifest.last_session();
    let (live, words) = (live::read(&run.dir, session), live::last_words(&run.dir, session));
    let last = manifest.sessions.last_mut();
    let began = last.as_ref().map_or(manifest.started_at, |last| last.started_at);
    let pause = last.as_ref().and_then(|last| last.pauses.last());
    let signs = [
        live.as_ref().map(|live| live.at),
        words.as_ref().map(|words| words.at),
        pause.map(|pause| pause.to.unwrap_or(pause.from)),
        manifest.transitions.last().map(|change| change.at),
    ];
    let last_sign = signs.into_iter().flatten().fold(last_row, Time::max);
    let ended = last_sign.min(now).max(began);
    if let (Some(last), Some(live)) = (last, live) {
        manifest.stage = live.stage.unwrap_or(manifest.stage);
        last.worked_ms = Some(live.worked_ms);
    }

    let (counts, is_complete) = fold.finish(manifest);
    manifest.counts = counts;
    let said = words.as_ref().and_then(|words| words.reason);
    let reason = (!is_complete).then(|| said.unwrap_or(Reason::Crashed));
    let status = RunStatus::after(reason, fold.has_rows());
    manifest.change_status(status, reason, "sweep", ended)?;
    if let (Some(_), Some(words)) = (reason, words) {
        manifest.signal = words.signal;
        manifest.message = words.message;
    }
    Ok(())
}
