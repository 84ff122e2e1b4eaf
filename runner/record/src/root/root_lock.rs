//! [`Share`]: whether sessions share a results root, by the lock of its file `.lock`.

use std::time::Duration;

use runner_model::Stage;

use crate::disk::lock::{self, retry_for, try_lock};
use crate::{RecordError, ResultsRoot, disk::layout::ROOT_LOCK};

/// A child that is just starting may still have the lock file of an ended session open.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);

/// Whether sessions share a results root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    #[default]
    WithOthers,
    /// Exclusive. Fails if another session uses the root.
    Alone,
    /// Exclusive, after waiting until no other session uses the root.
    AloneOnce,
}

impl ResultsRoot {
    /// Locks the root for as long as it is open. Does nothing if it is locked already.
    ///
    /// # Errors
    ///
    /// [`RecordError::RootHeld`] if other sessions prevent it.
    pub fn share(&self, share: Share) -> Result<(), RecordError> {
        let taken = retry_for(PATIENCE, PAUSE, || Ok(self.try_share(share)?.then_some(())));
        match taken? {
            Some(()) => Ok(()),
            None => Err(RecordError::RootHeld {
                root: self.own_dir()?.path().to_owned(),
                runs: self.live_runs()?,
            }),
        }
    }

    /// Locks the root as [`Self::share`] does. Returns `false` if other sessions prevent it.
    pub fn try_share(&self, share: Share) -> Result<bool, RecordError> {
        let root = self.own_dir()?;
        if self.lock().get().is_some() {
            return Ok(true);
        }
        let file = root.write(ROOT_LOCK)?;
        let is_taken = try_lock(&file, share != Share::WithOthers)
            .map_err(|source| root.error("take", ROOT_LOCK, source))?;
        if is_taken {
            let _ = self.lock().set(file);
        }
        Ok(is_taken)
    }

    /// Returns the runs that processes work on, with the processes. Waiting runs are left out, because they block no
    /// other.
    fn live_runs(&self) -> Result<Vec<(String, u32)>, RecordError> {
        let mut runs = Vec::new();
        let mut waiting = Vec::new();
        for name in self.names()? {
            let Ok(Some(run)) = self.open_run(&name) else {
                continue;
            };
            if let Some(holder) = lock::holder(&run.dir) {
                let manifest = run.manifest();
                let waits = manifest.is_ok_and(|manifest| manifest.stage == Stage::Waiting);
                let runs = if waits { &mut waiting } else { &mut runs };
                runs.push((name, holder.pid));
            }
        }
        // Between two runs of a group all remaining runs wait.
        if runs.is_empty() {
            runs = waiting;
        }
        runs.sort();
        Ok(runs)
    }
}
