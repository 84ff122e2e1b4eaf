//! Listing the runs of a results root.

use std::{cmp::Reverse, collections::HashMap, panic::resume_unwind, path::PathBuf, thread};

use super::{
    database::{self, Database, DatabaseError},
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

/// Runs that SQLite knows, with the stamps of the manifests that they were read from.
pub(super) type Known = Vec<(Stamp, RunEntry)>;

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only those with one of these statuses; any, if there is none here.
    pub statuses: Vec<RunStatus>,
}

/// The runs of a store, and what could not be read.
#[derive(Debug, Default)]
pub struct Runs {
    /// The runs, newest first.
    pub runs: Vec<RunEntry>,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, RecordError)>,
}

impl Store {
    /// Lists the runs that a filter asks for.
    pub fn runs(&self, filter: &RunFilter) -> Result<Runs, RecordError> {
        let mut list = self.listed()?;
        list.settle(RunEntry::ask_lock);
        if !filter.statuses.is_empty() {
            list.runs
                .retain(|run| filter.statuses.contains(&run.status));
        }
        list.settle(RunEntry::fold_counts);
        // By keys of their own: entries are large, and there may be many of them.
        let newest_first = |run: &RunEntry| Reverse((run.started_at, run.id.clone()));
        list.runs.sort_by_cached_key(newest_first);
        Ok(list)
    }

    /// What the manifests say: from SQLite where they are unchanged, else from themselves.
    pub(in crate::record) fn listed(&self) -> Result<Runs, RecordError> {
        // While this thread reads what SQLite knows of the manifests, another looks at them; who is first does not matter,
        // since what differs is read again. It is this one that needs much memory, of which it is given more at a time.
        let (stamps, read) = thread::scope(|scope| {
            let look = || self.stamps();
            let is_known = self.root.database().exists();
            let looking = is_known.then(|| thread::Builder::new().spawn_scoped(scope, look));
            let read = is_known.then(|| self.read_database());
            let stamps = match looking {
                Some(Ok(thread)) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                None | Some(Err(_)) => look(),
            };
            (stamps, read)
        });
        let stamps = stamps?;
        // Nothing is opened that nobody could be asked about.
        let (mut database, known) = match read {
            _ if stamps.found.is_empty() => (None, Known::default()),
            None => usable(self.read_database()),
            Some(read) => usable(read),
        };

        let found = stamps.found.iter().map(|(name, stamp)| (&**name, *stamp));
        let mut found: HashMap<&str, Stamp> = found.collect();
        let mut gone = Vec::new();
        // Entries are large: where they are is where they stay.
        let unchanged = known.into_iter().filter_map(|(at, run)| {
            let name = run.id.as_str();
            match found.get(name) {
                Some(stamp) if *stamp == at => {
                    found.remove(name);
                    Some(run)
                }
                Some(_) => None,
                None => {
                    gone.push(run.id);
                    None
                }
            }
        });
        let mut list = Runs {
            runs: unchanged.collect(),
            unreadable: stamps.odd,
        };
        let mut changed = Vec::new();
        let mut others: Vec<_> = found.into_iter().collect();
        others.sort_unstable_by_key(|(name, _)| *name);
        for (name, stamp) in others {
            self.read_changed(name, stamp, &mut list, &mut changed);
        }
        if let Some(database) = &mut database
            && (!changed.is_empty() || !gone.is_empty())
        {
            match database.project(&changed, &gone) {
                Ok(refused) => database::warn_refused(&refused),
                Err(error) => database::warn(&error),
            }
        }
        Ok(list)
    }

    fn read_changed(
        &self,
        name: &str,
        stamp: Stamp,
        list: &mut Runs,
        changed: &mut Vec<(Stamp, Manifest)>,
    ) {
        let dir = self.root.run(name);
        match scan::read_as(&dir, name.to_owned()) {
            Ok(manifest) => {
                list.runs.push(RunEntry::of(&dir, &manifest));
                changed.push((stamp, manifest));
            }
            Err(_) if stamp::is_gone(&dir) => {}
            Err(error) => list.unreadable.push((dir.path().to_owned(), error)),
        }
    }

    /// Opens `runner.db` and reads what it knows.
    pub(super) fn read_database(&self) -> Result<(Database, Known), DatabaseError> {
        let database = Database::open_to_compare(&self.root.database())?;
        let known = database.known(self.root.path())?;
        Ok((database, known))
    }
}

/// An open database and what it knows; a warning and neither, where it cannot be used.
fn usable(read: Result<(Database, Known), DatabaseError>) -> (Option<Database>, Known) {
    match read {
        Ok((database, known)) => (Some(database), known),
        Err(error) => {
            database::warn(&error);
            (None, Known::default())
        }
    }
}

impl Runs {
    /// Asks more of every run; one that cannot answer does not keep the others from being listed.
    fn settle(&mut self, ask: fn(&mut RunEntry) -> Result<(), RecordError>) {
        let Self { runs, unreadable } = self;
        runs.retain_mut(|run| match ask(run) {
            Ok(()) => true,
            Err(_) if stamp::is_gone(&RunDir::new(&run.dir)) => false,
            Err(error) => {
                unreadable.push((run.dir.clone(), error));
                false
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{RunFilter, Store};
    use crate::{
        model::{Counts, Outcome, Reason, RunStatus, Verdict},
        record::testing::{end, entry, finished_run, ignore, list, new_run},
    };

    #[test]
    fn a_live_run_is_running_and_counts_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(3), ignore).unwrap();
        recorder.record(vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
        ]);
        let dir = recorder.run_dir().to_owned();

        let runs = list(directory.path());
        assert_eq!(runs[0].status, RunStatus::Running);
        assert!(!runs[0].is_not_yet_swept);

        recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        let run = store.find("latest").unwrap();
        assert_eq!(
            (run.status, run.verdict),
            (RunStatus::Completed, Verdict::Passed)
        );
        assert_eq!(run.dir, dir);
        assert_eq!(list(directory.path()), [run]);
    }

    #[test]
    fn a_run_whose_owner_is_gone_is_shown_as_crashed_with_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(3), ignore).unwrap();
        recorder.record(vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
        ]);
        let manifest = recorder.run_dir().join("benchmark.json");
        drop(recorder);

        let before = fs_err::read(&manifest).unwrap();
        let run = &list(directory.path())[0];
        assert_eq!(run.status, RunStatus::Incomplete);
        assert_eq!(run.reason, Some(Reason::Crashed));
        assert!(run.is_not_yet_swept);
        let counts = Counts {
            planned: 3,
            passed: 1,
            failed: 1,
            ..Counts::default()
        };
        assert_eq!(run.counts, counts);
        assert_eq!(fs_err::read(&manifest).unwrap(), before);

        let filter = RunFilter {
            statuses: vec![RunStatus::Running],
        };
        assert!(store.runs(&filter).unwrap().runs.is_empty());
        let filter = RunFilter {
            statuses: vec![RunStatus::Incomplete],
        };
        assert_eq!(store.runs(&filter).unwrap().runs.len(), 1);
    }

    #[test]
    fn lists_answer_the_same_whatever_happens_to_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("runner.db");
        for _ in 0..3 {
            finished_run(directory.path());
        }
        let expected = list(directory.path());
        assert_eq!(expected.len(), 3);

        for damage in [b"".as_slice(), b"not a database", &[0; 5000]] {
            for suffix in ["", "-wal", "-shm"] {
                _ = fs_err::remove_file(format!("{}{suffix}", database.display()));
            }
            fs_err::write(&database, damage).unwrap();
            assert_eq!(list(directory.path()), expected);
            let finished = finished_run(directory.path());
            assert_eq!(list(directory.path()).len(), expected.len() + 1);
            fs_err::remove_dir_all(&finished.run_dir).unwrap();
            assert_eq!(list(directory.path()), expected);
        }

        fs_err::remove_file(&database).unwrap();
        fs_err::create_dir(&database).unwrap();
        assert_eq!(list(directory.path()), expected);
        finished_run(directory.path());
        assert_eq!(list(directory.path()).len(), 4);
    }

    #[test]
    fn a_damaged_manifest_is_reported_and_hides_no_other_run() {
        let directory = tempfile::tempdir().unwrap();
        let first = finished_run(directory.path());
        let second = finished_run(directory.path());
        fs_err::write(first.run_dir.join("benchmark.json"), "{").unwrap();

        let list = Store::existing(directory.path())
            .unwrap()
            .runs(&RunFilter::default())
            .unwrap();
        assert_eq!(list.runs.len(), 1);
        assert_eq!(list.runs[0].dir, second.run_dir);
        assert_eq!(list.unreadable.len(), 1);
        assert_eq!(list.unreadable[0].0, first.run_dir);
    }
}
