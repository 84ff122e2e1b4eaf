//! Looking at all runs of a results root for many who ask.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Instant,
};

use super::{
    database,
    list::{Known, RunFilter},
    memory::{CountRows, KeptRuns, SharedRuns},
    root::Store,
    scan,
};
use crate::{
    model::RunStatus,
    record::{
        disk::{
            layout::RunDir,
            stamp::{self, Stamp},
        },
        error::RecordError,
        format::manifest::Manifest,
        reading::run_entry::RunEntry,
    },
};

impl Store {
    /// Lists all runs, as [`Store::runs`] does.
    ///
    /// # Errors
    ///
    /// Fails if the results root cannot be read.
    pub(crate) fn shared_runs(&self) -> Result<Arc<SharedRuns>, RecordError> {
        let Some(memory) = &self.memory else {
            let found = self.runs(&RunFilter::default())?;
            let unreadable = found.unreadable.into_iter();
            return Ok(Arc::new(SharedRuns {
                runs: found.runs.into_iter().map(Arc::new).collect(),
                unreadable: unreadable
                    .map(|(dir, error)| (dir, error.to_string()))
                    .collect(),
            }));
        };
        let asked = Instant::now();
        let mut kept = memory.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has waited for another's look that began later has its answer.
        if let Some((began, latest)) = &kept.latest
            && *began >= asked
        {
            return Ok(Arc::clone(latest));
        }
        let began = Instant::now();
        let looked = Arc::new(self.look(&mut kept, &memory.count_rows)?);
        kept.latest = Some((began, Arc::clone(&looked)));
        Ok(looked)
    }

    /// The runs that a process works on now, the newest first.
    ///
    /// # Errors
    ///
    /// Fails if the results root cannot be read.
    pub(crate) fn running(&self) -> Result<Vec<RunEntry>, RecordError> {
        if self.memory.is_none() {
            let filter = RunFilter {
                statuses: vec![RunStatus::Running],
            };
            return Ok(self.runs(&filter)?.runs);
        }
        let shared = self.shared_runs()?;
        let running = shared
            .runs
            .iter()
            .filter(|run| run.status == RunStatus::Running);
        Ok(running.map(|run| RunEntry::clone(run)).collect())
    }

    /// The runs whose manifests say that they go on, which may not be true any more, in no order.
    pub(in crate::record) fn said_to_run(&self) -> Result<Vec<RunEntry>, RecordError> {
        let mut runs = match &self.memory {
            None => self.listed()?.runs,
            Some(_) => {
                let shared = self.shared_runs()?;
                let open = shared
                    .runs
                    .iter()
                    .filter(|run| run.status == RunStatus::Running || run.is_not_yet_swept);
                open.filter_map(|run| {
                    let dir = RunDir::new(&run.dir);
                    Some(RunEntry::of(&dir, &Manifest::read(&dir.manifest()).ok()?))
                })
                .collect()
            }
        };
        runs.retain(|run| run.status == RunStatus::Running);
        Ok(runs)
    }

    fn look(&self, kept: &mut KeptRuns, count_rows: &CountRows) -> Result<SharedRuns, RecordError> {
        let stamps = self.stamps()?;
        if kept.manifests.is_empty() && !stamps.found.is_empty() {
            kept.manifests = self
                .known_to_database()
                .into_iter()
                .map(|(stamp, run)| (run.id.as_str().into(), (stamp, Arc::new(run))))
                .collect();
        }
        let odd = stamps.odd.into_iter();
        let mut all = SharedRuns {
            runs: Vec::with_capacity(stamps.found.len()),
            unreadable: odd.map(|(dir, error)| (dir, error.to_string())).collect(),
        };
        for (name, stamp) in &stamps.found {
            match self.manifest_of(name, *stamp, kept) {
                Ok(Some(run)) => all.runs.push(run),
                Ok(None) => {}
                Err(error) => {
                    let dir = self.root.run(name).path().to_owned();
                    all.unreadable.push((dir, error.to_string()));
                }
            }
        }
        if kept.manifests.len() > all.runs.len() {
            let here: HashSet<&str> = stamps.found.iter().map(|(name, _)| &**name).collect();
            kept.manifests.retain(|name, _| here.contains(&**name));
        }
        let SharedRuns { runs, unreadable } = &mut all;
        runs.retain_mut(|run| settle(run, count_rows, unreadable));
        runs.sort_unstable_by(|one, other| RunEntry::newest_first(one, other));
        Ok(all)
    }

    /// What a manifest says, from the latest look where it has not changed since.
    fn manifest_of(
        &self,
        name: &str,
        stamp: Stamp,
        kept: &mut KeptRuns,
    ) -> Result<Option<Arc<RunEntry>>, RecordError> {
        if let Some((at, run)) = kept.manifests.get(name)
            && *at == stamp
        {
            return Ok(Some(Arc::clone(run)));
        }
        kept.manifests.remove(name);
        let dir = self.root.run(name);
        match scan::read_as(&dir, name.to_owned()) {
            Ok(manifest) => {
                let run = Arc::new(RunEntry::of(&dir, &manifest));
                kept.manifests
                    .insert(name.into(), (stamp, Arc::clone(&run)));
                Ok(Some(run))
            }
            Err(_) if stamp::is_gone(&dir) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `runner.db` knows of manifests, which may have changed since.
    fn known_to_database(&self) -> Known {
        if !self.root.database().exists() {
            return Known::default();
        }
        match self.read_database() {
            Ok((_, known)) => known,
            Err(error) => {
                database::warn(&error);
                Known::default()
            }
        }
    }
}

/// Makes of what the manifest of a run says what is true of it; tells whether it can still be shown.
pub(super) fn settle(
    run: &mut Arc<RunEntry>,
    count_rows: &CountRows,
    unreadable: &mut Vec<(PathBuf, String)>,
) -> bool {
    if run.status != RunStatus::Running {
        return true;
    }
    let mut open = RunEntry::clone(run);
    let settled = open.ask_lock().and_then(|()| {
        if open.status != RunStatus::Running {
            return Ok(());
        }
        match count_rows(&open.dir) {
            Some(counts) => open.counts = counts,
            None => open.fold_counts()?,
        }
        Ok(())
    });
    match settled {
        Ok(()) => *run = Arc::new(open),
        Err(_) if stamp::is_gone(&RunDir::new(&open.dir)) => return false,
        Err(error) => {
            unreadable.push((open.dir, error.to_string()));
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Store;
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            RunEntry, RunMemory,
            testing::{end, entry, finished_run, ignore, list, new_run},
        },
    };

    fn shared(store: &Store) -> Vec<Arc<RunEntry>> {
        let all = store.shared_runs().unwrap();
        assert!(all.unreadable.is_empty(), "{:?}", all.unreadable);
        all.runs.clone()
    }

    #[test]
    fn what_is_remembered_is_what_a_list_says_whatever_happens_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let store = || Store::existing(directory.path()).unwrap();
        let memory = Arc::new(RunMemory::new(|_| None));
        let remembering = || store().remembering(&memory);
        let check = || {
            let expected = list(directory.path());
            let runs = shared(&remembering());
            assert_eq!(
                runs.iter()
                    .map(|run| RunEntry::clone(run))
                    .collect::<Vec<_>>(),
                expected
            );
            assert_eq!(shared(&store()), runs);
            let running = remembering().running().unwrap();
            assert_eq!(running, store().running().unwrap());
            runs
        };
        assert_eq!(check(), []);
        let first = finished_run(directory.path());
        let [one] = &check()[..] else {
            panic!("there is one run")
        };
        let second = finished_run(directory.path());
        assert!(
            check().iter().any(|run| Arc::ptr_eq(run, one)),
            "it has not changed"
        );

        let recorder = Store::open(directory.path()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let written = move |written| _ = sender.send(written);
        let recorder = recorder.begin(new_run(3), written).unwrap();
        recorder.record(vec![entry(0, 1, Outcome::Passed)]);
        recorder.flush();
        receiver.recv().unwrap();
        check();
        recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        let all = check();
        assert!(all.iter().all(|run| run.status == RunStatus::Completed));

        let died = Store::open(directory.path()).unwrap();
        drop(died.begin(new_run(3), ignore).unwrap());
        assert!(check().iter().any(|run| run.is_not_yet_swept));
        assert_eq!(remembering().said_to_run().unwrap().len(), 1);

        fs_err::remove_dir_all(&first.run_dir).unwrap();
        assert_eq!(check().len(), 3);
        fs_err::write(second.run_dir.join("benchmark.json"), "{").unwrap();
        assert_eq!(remembering().shared_runs().unwrap().unreadable.len(), 1);
    }
}
