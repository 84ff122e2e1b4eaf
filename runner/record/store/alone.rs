//! Who may work in a results root: every session shares its lock, unless one is to be alone.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

use super::{list::RunFilter, root::Store};
use crate::{
    model::RunStatus,
    record::{
        disk::{
            layout::{Root, RunDir},
            lock::{self, Busy, Lock},
        },
        error::{RecordError, Taken},
        reading::run_entry::RunEntry,
    },
};

impl Store {
    /// Keeps every other session out of this root, for as long as this store and the runs that it begins or claims live.
    pub(crate) fn exclusive(&mut self, busy: Busy, now: Timestamp) -> Result<(), RecordError> {
        let lock = Lock::exclude(&self.root.lock(), busy, now)?;
        self.alone = Some(Arc::new(lock));
        Ok(())
    }

    /// Lets sessions begin in this store that are to be alone in its root, and have to wait for [`Store::try_alone`] before
    /// they do anything: until then they keep nobody out, and nobody keeps their runs from being created.
    pub(crate) fn be_alone_later(&mut self) -> Result<(), RecordError> {
        self.alone = Some(Arc::new(Lock::intended(&self.root.lock())?));
        self.is_to_be_alone = true;
        Ok(())
    }

    /// Tells whether sessions of this store have to wait for [`Store::try_alone`].
    pub(crate) fn is_to_be_alone(&self) -> bool {
        self.is_to_be_alone
    }

    /// Keeps every other session out from now on, as [`Store::exclusive`] does, unless one is there.
    pub(crate) fn try_alone(&self, now: Timestamp) -> Result<bool, RecordError> {
        self.alone
            .as_ref()
            .map_or(Ok(true), |lock| lock.try_alone(now))
    }

    /// The lock that every session in a root holds.
    pub(in crate::record) fn session_lock(&self, root: &Root) -> Result<Arc<Lock>, RecordError> {
        if let Some(lock) = &self.alone
            && is_same(root.path(), self.root.path())
        {
            return Ok(Arc::clone(lock));
        }
        match Lock::share(&root.lock()) {
            Err(RecordError::Held { .. }) => Err(self.taken(root).into()),
            lock => lock.map(Arc::new),
        }
    }

    /// Says who is alone in a root: the run, where it can be found.
    fn taken(&self, root: &Root) -> Taken {
        let holder = lock::holder(&root.lock()).unwrap_or_default();
        let filter = RunFilter {
            statuses: vec![RunStatus::Running],
        };
        let around = Self::existing(root.path());
        let runs = around.and_then(|store| store.runs(&filter));
        let mut runs = runs.unwrap_or_default().runs.into_iter();
        let is_its = |run: &RunEntry| {
            let owner = lock::holder(&RunDir::new(&run.dir).lock());
            owner.is_some_and(|owner| (owner.pid, owner.host) == (holder.pid, holder.host.clone()))
        };
        let run = runs.find(is_its);
        let who = match &run {
            Some(run) => format!("run `{}`", run.id),
            None => "another process".to_owned(),
        };
        let known = holder.to_string();
        let is_own = is_same(root.path(), self.root.path());
        Taken {
            root: if is_own { self.root() } else { root.path() }.to_owned(),
            by: match known.is_empty() {
                true => who,
                false => format!("{who} ({known})"),
            },
            run: run.map(|run| run.dir),
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs_err::canonicalize(one), fs_err::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::RunStatus,
        record::{
            Busy, ClaimError, RecordError, Store,
            testing::{claim, crashed, end, ignore, new_run, now},
        },
    };

    #[test]
    fn a_session_alone_in_its_root_keeps_the_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let mut alone = Store::open(directory.path()).unwrap();
        let other = Store::open(directory.path()).unwrap();

        let recorder = other.begin(new_run(1), ignore).unwrap();
        let error = alone.exclusive(Busy::Refuse, now()).unwrap_err();
        assert!(matches!(error, RecordError::Held { .. }), "{error}");
        recorder.finish(&end(RunStatus::Completed, 1)).unwrap();

        alone.exclusive(Busy::Wait, now()).unwrap();
        let error = other.begin(new_run(1), ignore).err().unwrap();
        assert!(
            error.to_string().contains("another process (pid "),
            "{error}"
        );
        assert!(matches!(claim(&dir), Err(ClaimError::Taken(_))));
        let run = alone.find("latest").unwrap();
        let recorder = alone.begin(new_run(1), ignore).unwrap();
        drop(alone.claim(&run, now()).unwrap());
        drop(alone);
        assert!(other.begin(new_run(1), ignore).is_err());
        drop(recorder);
        other.begin(new_run(1), ignore).unwrap();
    }
}
