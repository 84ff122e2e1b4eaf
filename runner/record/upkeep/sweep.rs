//! Sweeping: giving runs whose process has died the status that is true of them.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    model::{RunStatus, chain},
    record::{
        disk::{durable, layout::RunDir, lock, stamp},
        error::RecordError,
        format::{line, manifest::Manifest},
        reading::{death, reader::RunReader, run_entry::RunEntry},
        store::{
            root::Store,
            shares::{RunShares, shares_of},
        },
        writing::{claim::Claim, claim_error::ClaimError},
    },
};

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
    #[cfg(test)]
    pub(crate) fn sweep(&self, now: Timestamp) -> Result<Vec<Swept>, RecordError> {
        self.sweep_and_share(now).map(|(swept, _)| swept)
    }

    /// Sweeps every run that says `running` and whose lock is free; one that cannot be swept does not keep the others. And
    /// what [`Store::shares`] says, by the same look at all runs.
    pub(crate) fn sweep_and_share(
        &self,
        now: Timestamp,
    ) -> Result<(Vec<Swept>, RunShares), RecordError> {
        durable::sweep(self.root.path());
        self.sweep_groups(now);
        let runs = self.said_to_run()?;
        let shares = shares_of(&runs);
        let orphans = orphans_of(runs);
        if orphans.is_empty() {
            return Ok((Vec::new(), shares));
        }
        self.sweep_these(orphans, now).map(|swept| (swept, shares))
    }

    fn sweep_these(
        &self,
        orphans: Vec<RunEntry>,
        now: Timestamp,
    ) -> Result<Vec<Swept>, RecordError> {
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
                Err(_) if stamp::is_gone(&RunDir::new(&run.dir)) => {}
                Err(ClaimError::Record(error)) => {
                    tracing::warn!("cannot sweep run `{}`: {}", run.id, chain(&error));
                }
            }
        }
        Ok(swept)
    }

    /// What a sweep would do now; changes nothing.
    pub(crate) fn sweepable(&self, now: Timestamp) -> Result<Vec<Swept>, RecordError> {
        let mut swept = Vec::new();
        for run in self.orphans()? {
            match foresee(&run, now) {
                Ok(foreseen) => swept.extend(foreseen),
                Err(_) if stamp::is_gone(&RunDir::new(&run.dir)) => {}
                Err(error) => tracing::warn!("cannot sweep run `{}`: {}", run.id, chain(&error)),
            }
        }
        Ok(swept)
    }

    /// What [`Store::claim`] would find; changes nothing.
    pub(crate) fn foresee(&self, run: &RunEntry, now: Timestamp) -> Result<RunReader, ClaimError> {
        let run = &run.real();
        let dir = RunDir::new(&run.dir);
        lock::refuse_held(&dir.lock()).map_err(|error| ClaimError::of(run, error))?;
        let mut manifest = Manifest::read_to_write(&dir.manifest())?;
        run.id.as_str().clone_into(&mut manifest.run_id);
        if manifest.status == RunStatus::Running {
            let history = death::close(&dir, &mut manifest, now)?;
            line::check_version(&dir.index(), history.version)?;
        }
        Ok(RunReader::of(dir, manifest))
    }

    /// The runs that say `running` and whose lock is free, oldest first.
    fn orphans(&self) -> Result<Vec<RunEntry>, RecordError> {
        self.said_to_run().map(orphans_of)
    }
}

fn orphans_of(mut runs: Vec<RunEntry>) -> Vec<RunEntry> {
    // Behind a link is a run of another root, whose sweeps it waits for.
    runs.retain(|run| run.is_orphan() && !run.dir.is_symlink());
    runs.sort_unstable_by(|one, other| RunEntry::newest_first(other, one));
    runs
}

/// What a sweep would make of a run, unless somebody else has just done so.
fn foresee(run: &RunEntry, now: Timestamp) -> Result<Option<Swept>, RecordError> {
    let dir = RunDir::new(&run.dir);
    let mut manifest = Manifest::read_to_write(&dir.manifest())?;
    if manifest.status != RunStatus::Running {
        return Ok(None);
    }
    let history = death::close(&dir, &mut manifest, now)?;
    line::check_version(&dir.index(), history.version)?;
    Ok(Some(Swept::of(&dir, &manifest)))
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

#[cfg(test)]
mod tests {
    use crate::{
        model::{Outcome, Reason, RunStatus, Verdict},
        record::{
            Store,
            testing::{crashed, crashed_run, entry, finished_run, ignore, manifest, new_run, now},
        },
    };

    #[test]
    fn a_sweep_tells_what_it_would_do_and_then_does_it() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let done = crashed_run(directory.path(), 1, vec![entry(0, 1, Outcome::Passed)]);
        let store = Store::open(directory.path()).unwrap();
        let alive = store.begin(new_run(1), ignore).unwrap();
        finished_run(directory.path());

        let manifests =
            || [&dir, &done].map(|dir| fs_err::read(dir.join("benchmark.json")).unwrap());
        let before = manifests();
        let would = store.sweepable(now()).unwrap();
        assert_eq!(manifests(), before);
        assert_eq!(store.sweep(now()).unwrap(), would);
        let mut statuses: Vec<_> = would
            .iter()
            .map(|swept| (swept.run.status, swept.run.verdict, swept.run.reason))
            .collect();
        statuses.sort_unstable_by_key(|(status, ..)| status.as_str());
        assert_eq!(
            statuses,
            [
                (RunStatus::Completed, Verdict::Passed, None),
                (RunStatus::Incomplete, Verdict::None, Some(Reason::Crashed))
            ]
        );
        assert_eq!(store.sweep(now()).unwrap(), []);
        assert_eq!(manifest(alive.run_dir()).status, RunStatus::Running);
    }
}
