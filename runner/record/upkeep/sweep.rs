//! Sweeping: giving runs whose process has died the status that is true of them.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    model::{Reason, RunStatus, Stage, Verdict, chain},
    record::{
        disk::{
            durable,
            layout::{Root, RunDir},
            lock::{self, Lock},
        },
        error::{ClaimError, RecordError},
        format::{
            inflight,
            last_words::{self, LastWords},
            manifest::{End, Manifest},
            row,
        },
        reading::{
            history::{self, Asked, History},
            reader::RunReader,
            run_entry::{self, RunEntry},
            sign,
        },
        store::root::Store,
        writing::{claim::Claim, recorder},
    },
};

/// Who writes the transitions of a sweep.
const WRITER: &str = "sweep";

/// A run whose process has died, and what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Swept {
    /// The run as it is after the sweep.
    pub run: RunEntry,
    /// The names of its providers.
    pub providers: Vec<String>,
}

impl Store {
    /// Sweeps every run that says `running` and whose lock is free. One that cannot be swept does not keep the others.
    pub fn sweep(&self, now: Timestamp) -> Result<Vec<Swept>, RecordError> {
        durable::sweep(self.root.path());
        let orphans = self.orphans()?;
        if orphans.is_empty() {
            return Ok(Vec::new());
        }
        let lock = match self.session_lock(&self.root) {
            // Whoever is alone in this root sweeps it.
            Err(RecordError::Taken(_)) => return Ok(Vec::new()),
            lock => lock?,
        };
        let mut swept = Vec::new();
        for run in orphans {
            match Claim::take(&run, Arc::clone(&lock), now) {
                Ok(claim) => swept.push(Swept::of(claim.dir(), claim.manifest())),
                // Somebody else was faster, or has just resumed it.
                Err(ClaimError::Held { .. } | ClaimError::Taken(_)) => {}
                Err(_) if run_entry::is_gone(&RunDir::new(&run.dir)) => {}
                Err(ClaimError::Record(error)) => {
                    tracing::warn!("cannot sweep run `{}`: {}", run.id, chain(&error));
                }
            }
        }
        Ok(swept)
    }

    /// What a sweep would do now; changes nothing.
    pub fn sweepable(&self, now: Timestamp) -> Result<Vec<Swept>, RecordError> {
        let mut swept = Vec::new();
        for run in self.orphans()? {
            match foresee(&run, now) {
                Ok(foreseen) => swept.extend(foreseen),
                Err(_) if run_entry::is_gone(&RunDir::new(&run.dir)) => {}
                Err(error) => tracing::warn!("cannot sweep run `{}`: {}", run.id, chain(&error)),
            }
        }
        Ok(swept)
    }

    /// What [`Store::claim`] would find; changes nothing.
    pub fn foresee(&self, run: &RunEntry, now: Timestamp) -> Result<RunReader, ClaimError> {
        let run = &run.real();
        let dir = RunDir::new(&run.dir);
        lock::refuse_held(&dir.lock()).map_err(|error| ClaimError::of(run, error))?;
        let mut manifest = Manifest::read_to_write(&dir.manifest())?;
        run.id.as_str().clone_into(&mut manifest.run_id);
        if manifest.status == RunStatus::Running {
            let history = close(&dir, &mut manifest, now)?;
            row::check_version(&dir.index(), history.version)?;
        }
        Ok(RunReader::of(dir, manifest))
    }

    /// The runs that say `running` and whose lock is free, oldest first.
    fn orphans(&self) -> Result<Vec<RunEntry>, RecordError> {
        let mut runs = self.listed()?.runs;
        // Behind a link is a run of another root, whose sweeps it waits for.
        runs.retain(|run| run.is_orphan() && !run.dir.is_symlink());
        runs.sort_unstable_by(|one, other| RunEntry::newest_first(other, one));
        Ok(runs)
    }
}

/// What a sweep would make of a run, unless somebody else has just done so.
fn foresee(run: &RunEntry, now: Timestamp) -> Result<Option<Swept>, RecordError> {
    let dir = RunDir::new(&run.dir);
    let mut manifest = Manifest::read_to_write(&dir.manifest())?;
    if manifest.status != RunStatus::Running {
        return Ok(None);
    }
    let history = close(&dir, &mut manifest, now)?;
    row::check_version(&dir.index(), history.version)?;
    Ok(Some(Swept::of(&dir, &manifest)))
}

/// Closes the open session of a run whose lock is held by this process and whose rows are repaired.
pub(in crate::record) fn settle(
    root: &Root,
    dir: &RunDir,
    manifest: &mut Manifest,
    lock: &Lock,
    now: Timestamp,
) -> Result<(), RecordError> {
    let history = close(dir, manifest, now)?;
    row::check_version(&dir.index(), history.version)?;
    manifest.write(&dir.manifest(), "sweep")?;
    recorder::tidy(dir, Some(&recorder::next_session(manifest, lock)));
    recorder::project(root, dir, manifest);
    Ok(())
}

/// Closes the open session in the manifest alone: what a sweep at `now` will write, and what readers show until then.
pub(in crate::record) fn close(
    dir: &RunDir,
    manifest: &mut Manifest,
    now: Timestamp,
) -> Result<History, RecordError> {
    let history = history::fold(vec![dir.index()], manifest, Asked::default())
        .map_err(|error| error.or_gone(dir))?;
    close_by(dir, manifest, &history, now)?;
    Ok(history)
}

/// The same by what its rows come to, which were read already.
pub(in crate::record) fn close_by(
    dir: &RunDir,
    manifest: &mut Manifest,
    history: &History,
    now: Timestamp,
) -> Result<(), RecordError> {
    let n = manifest.session();
    let words = last_words::read(dir.path()).filter(|words| words.session == n);
    let opened = manifest.sessions.last().map(|open| open.opened_at);
    let last_sign = sign::last(dir, opened.unwrap_or(manifest.started_at), now);
    let end = end(manifest, history, words, last_sign);
    if let Some(session) = manifest.sessions.last_mut() {
        session.in_flight = inflight::read(&dir.inflight(), n)
            .into_iter()
            .filter(|key| history.is_unrecorded(*key))
            .map(|key| (key.ordinal, key.number))
            .collect();
    }
    manifest.close(WRITER, now.max(last_sign), &end)?;
    Ok(())
}

/// How a session ended that could not say so itself.
fn end(manifest: &Manifest, history: &History, words: Option<LastWords>, now: Timestamp) -> End {
    let counts = history.state.counts();
    if history.state.is_complete() {
        return End {
            status: RunStatus::Completed,
            reason: None,
            signal: None,
            stage: Stage::Finish,
            verdict: counts.verdict(),
            counts,
            error: None,
            by: None,
            now,
        };
    }
    End {
        status: RunStatus::Incomplete,
        reason: Some(words.as_ref().map_or(Reason::Crashed, |words| words.reason)),
        signal: words.as_ref().and_then(|words| words.signal),
        stage: manifest.stage,
        verdict: Verdict::None,
        counts,
        error: None,
        by: words.and_then(|words| words.by),
        now,
    }
}

impl Swept {
    fn of(dir: &RunDir, manifest: &Manifest) -> Self {
        Self {
            run: RunEntry::of(dir, manifest),
            providers: manifest
                .providers
                .iter()
                .map(|provider| provider.name.clone())
                .collect(),
        }
    }
}
