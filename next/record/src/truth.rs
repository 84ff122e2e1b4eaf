//! What became of a session whose process died, by what it left on disk.

use runner_model::{Reason, RunStatus, Time};

use crate::{Manifest, RecordError, RunDir, fold::Tally, live, rows::ReadLine};

impl RunDir {
    /// How many results the manifest of a run that has ended counts that are not in its rows.
    pub fn lost_results(&self, manifest: &Manifest) -> Result<u64, RecordError> {
        let mut tally = Tally::new(manifest);
        self.rows(&mut |_, line| {
            if let ReadLine::Row(row, _) = line {
                tally.add(&row.trial, (&row).into());
            }
        })?;
        tally.finish(manifest);
        Ok(manifest.counts.done().saturating_sub(tally.counts.done()))
    }
}

/// Gives the run of a dead session its status, counts and end, in memory alone. The session ended at its latest sign: the
/// last row, `live.json`, `last-words.json` or the manifest, but not before it began and not after now.
pub(crate) fn end_dead_session(
    run: &RunDir,
    manifest: &mut Manifest,
    now: Time,
) -> Result<(), RecordError> {
    let mut tally = Tally::new(manifest);
    let mut last_sign = Time::default();
    run.rows(&mut |_, line| {
        if let ReadLine::Row(row, _) = line {
            tally.add(&row.trial, (&row).into());
            last_sign = last_sign.max(row.ended_at());
        }
    })?;
    let began = manifest.sessions.last().map(|session| session.started_at);
    let began = began.unwrap_or(manifest.started_at);
    let session = manifest.last_session();
    if let Some(live) = live::read(&run.dir, session) {
        last_sign = last_sign.max(live.at);
        manifest.stage = live.stage.unwrap_or(manifest.stage);
        if let Some(session) = manifest.sessions.last_mut() {
            session.worked_ms = Some(live.worked_ms);
        }
    }
    let words = live::last_words(&run.dir, session);
    last_sign = last_sign.max(words.as_ref().map_or(last_sign, |words| words.at));
    let pauses = manifest.sessions.last().map(|session| &session.pauses);
    let pause = pauses.and_then(|pauses| pauses.last());
    last_sign = last_sign.max(pause.map_or(last_sign, |pause| pause.to.unwrap_or(pause.from)));
    let last_change = manifest.transitions.last().map(|change| change.at);
    last_sign = last_sign.max(last_change.unwrap_or_default());
    let ended = last_sign.min(now).max(began);

    let is_complete = tally.finish(manifest);
    manifest.counts = tally.counts;
    let said = words.as_ref().and_then(|words| words.reason);
    let reason = (!is_complete).then(|| said.unwrap_or(Reason::Crashed));
    let status = RunStatus::after(reason, tally.has_rows);
    manifest.change_status(status, reason, "sweep", ended)?;
    if let (Some(_), Some(words)) = (reason, words) {
        manifest.signal = words.signal;
        manifest.message = words.message;
    }
    Ok(())
}
