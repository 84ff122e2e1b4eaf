//! Pinning: what tells `prune` to leave a run alone.

use std::sync::Arc;

use jiff::Timestamp;

use crate::record::{
    disk::{layout::RunDir, lock::Lock},
    format::{manifest::Manifest, manifest_parts::Pinned},
    reading::run_entry::RunEntry,
    store::live,
    writing::{claim::Claim, claim_error::ClaimError},
};

/// What became of a wish to pin or unpin a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// The manifest says so now.
    Done,
    /// It said so before, and nothing was written.
    Already,
}

impl RunEntry {
    /// Pins the run; a new reason replaces the old one.
    pub(crate) fn pin(
        &self,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<Pinning, ClaimError> {
        self.change_pin(now, |pinned| match pinned {
            Some(old) if reason.is_none() || old.reason == reason => Pinning::Already,
            _ => {
                *pinned = Some(Pinned { at: now, reason });
                Pinning::Done
            }
        })
    }

    /// Lets `prune` have the run again.
    pub(crate) fn unpin(&self, now: Timestamp) -> Result<Pinning, ClaimError> {
        self.change_pin(now, |pinned| match pinned.take() {
            Some(_) => Pinning::Done,
            None => Pinning::Already,
        })
    }

    /// Only who holds a run's lock writes its manifest, so a live run cannot be pinned.
    fn change_pin(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut Option<Pinned>) -> Pinning,
    ) -> Result<Pinning, ClaimError> {
        let dir = RunDir::new(&self.dir);
        if self.is_not_yet_swept {
            // Before the manifest is written, whose time is one of the signs by which a sweep finds the end.
            let root_lock = Lock::share(&dir.root().lock()).map(Arc::new);
            let root_lock = root_lock.map_err(|error| ClaimError::of(self, error))?;
            drop(Claim::take(self, root_lock, now)?);
        }
        let lock = Lock::own_run(&dir, now).map_err(|error| ClaimError::of(self, error))?;
        let mut manifest = Manifest::read_to_write(&dir.manifest())?;
        let pinning = change(&mut manifest.pinned);
        if pinning == Pinning::Already {
            return Ok(pinning);
        }

        manifest.write(&dir.manifest(), "pin")?;
        live::project(&dir.root(), &dir, &manifest);
        drop(lock);
        Ok(pinning)
    }
}

#[cfg(test)]
mod tests {
    use super::Pinning;
    use crate::record::{
        ClaimError, Store,
        testing::{NOW, finished_run, ignore, new_run},
    };

    #[test]
    fn a_pin_is_kept_with_its_reason_until_it_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        finished_run(directory.path());
        let store = Store::open(directory.path()).unwrap();
        let run = || store.find("latest").unwrap();
        let now = NOW.parse().unwrap();
        let reason = |text: &str| Some(text.to_owned());

        assert_eq!(run().pin(reason("release"), now).unwrap(), Pinning::Done);
        assert_eq!(run().pin(None, now).unwrap(), Pinning::Already);
        assert_eq!(run().pinned.unwrap().reason, reason("release"));
        assert_eq!(run().pin(reason("audit"), now).unwrap(), Pinning::Done);
        assert_eq!(run().pinned.unwrap().reason, reason("audit"));
        assert_eq!(run().unpin(now).unwrap(), Pinning::Done);
        assert_eq!(run().unpin(now).unwrap(), Pinning::Already);
        assert_eq!(run().pinned, None);
    }

    #[test]
    fn a_live_run_cannot_be_pinned() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(1), ignore).unwrap();
        let run = store.find("latest").unwrap();
        let error = run.pin(None, NOW.parse().unwrap()).unwrap_err();
        assert!(matches!(error, ClaimError::Held { .. }), "{error}");
        drop(recorder);
    }
}
