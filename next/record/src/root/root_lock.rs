//! [`Share`]: whether other sessions may work in a results root meanwhile, by the lock of its file `.lock`.

use std::time::Duration;

use runner_model::Stage;

use crate::{
    RecordError, ResultsRoot,
    disk::{
        layout::ROOT_LOCK,
        lock::{self, try_for, try_lock},
    },
};

/// A child that is just being started may have the file of a session open that has ended.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);

/// Whether other sessions may work in a results root meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// They may.
    #[default]
    WithOthers,
    /// None may; a session does not begin if one does.
    Alone,
    /// None may; a session waits until none does.
    AloneOnce,
}

impl ResultsRoot {
    /// Takes the root's lock for as long as this root is open, unless it has it.
    ///
    /// # Errors
    ///
    /// [`RecordError::RootHeld`] if other sessions are in the way.
    pub fn share(&self, share: Share) -> Result<(), RecordError> {
        let taken = try_for(PATIENCE, PAUSE, || Ok(self.try_share(share)?.then_some(())));
        match taken? {
            Some(()) => Ok(()),
            None => Err(RecordError::RootHeld {
                root: self.own_dir()?.path().to_owned(),
                runs: self.live_runs()?,
            }),
        }
    }

    /// Takes the root's lock as [`Self::share`] does, or says that other sessions are in the way.
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

    /// The runs that processes work on, with their process. Those that wait are in the way of no other.
    fn live_runs(&self) -> Result<Vec<(String, u32)>, RecordError> {
        let (mut runs, mut waiting) = (Vec::new(), Vec::new());
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
        // Between two runs of a group all that are left wait.
        if runs.is_empty() {
            runs = waiting;
        }
        runs.sort();
        Ok(runs)
    }
}
