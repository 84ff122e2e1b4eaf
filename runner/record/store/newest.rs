//! The newest runs of a results root, for whoever looks at the first page of all.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{memory::KeptRuns, root::Store, shared::settle};
use crate::record::{
    disk::{layout::NO_RUN, stamp::Stamp},
    error::RecordError,
    reading::run_entry::RunEntry,
};

/// For how long it is taken as known of an older run, of which nothing is shown, that its manifest can be read.
const KNOWN_FOR: Duration = Duration::from_secs(120);

/// The newest runs of a store.
#[derive(Debug)]
pub struct NewestRuns {
    /// These runs, the newest first.
    pub runs: Vec<Arc<RunEntry>>,
    /// How many runs there are.
    pub count: usize,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Store {
    /// The newest runs, at most so many, and how many runs there are.
    ///
    /// # Errors
    ///
    /// Fails if the results root cannot be read.
    pub(crate) fn newest_runs(&self, most: usize) -> Result<NewestRuns, RecordError> {
        if let Some(memory) = &self.memory {
            let kept = memory.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(mut newest) = self.newest_known(most, &kept)? {
                drop(kept);
                let NewestRuns {
                    runs, unreadable, ..
                } = &mut newest;
                let known = runs.len();
                runs.retain_mut(|run| settle(run, &memory.count_rows, unreadable));
                if runs.len() == known {
                    return Ok(newest);
                }
            }
        }
        let all = self.shared_runs()?;
        Ok(NewestRuns {
            runs: all.runs.iter().take(most).cloned().collect(),
            count: all.runs.len(),
            unreadable: all.unreadable.clone(),
        })
    }

    /// What the manifests of the newest runs say, and how many runs there are, where the runs are those of the latest look.
    /// No manifest is looked at but theirs: whatever another one says by now, its run is older than they are.
    fn newest_known(
        &self,
        most: usize,
        kept: &KeptRuns,
    ) -> Result<Option<NewestRuns>, RecordError> {
        let Some((began, latest)) = &kept.latest else {
            return Ok(None);
        };
        let is_whole = latest.unreadable.is_empty() && kept.manifests.len() == latest.runs.len();
        if !is_whole || began.elapsed() > KNOWN_FOR {
            return Ok(None);
        }
        let Some((root, names)) = self.entry_names()? else {
            return Ok(None);
        };
        let mut here = 0;
        for name in &names {
            let is_known = |name| kept.manifests.contains_key(name);
            if name.to_str().is_some_and(is_known) {
                here += 1;
            } else if name != NO_RUN && !matches!(Stamp::within(root.file(), name), Ok(None)) {
                return Ok(None);
            }
        }
        if here != latest.runs.len() {
            return Ok(None);
        }
        let newest = latest.runs.iter().take(most).map(|run| {
            let (at, said) = kept.manifests.get(run.id.as_str())?;
            let stamp = Stamp::within(root.file(), run.id.as_str().as_ref()).ok()?;
            (stamp? == *at).then(|| Arc::clone(said))
        });
        let newest: Option<Vec<_>> = newest.collect();
        Ok(newest.map(|runs| NewestRuns {
            runs,
            count: here,
            unreadable: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Store;
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            RunEntry, RunMemory,
            testing::{end, entry, finished_run, ignore, new_run},
        },
    };

    #[test]
    fn the_newest_runs_are_the_first_of_all_whatever_happens_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let store = || Store::existing(directory.path()).unwrap();
        let memory = Arc::new(RunMemory::new(|_| None));
        let remembering = || store().remembering(&memory);
        // Before another look at all runs, and after it.
        let check = || {
            for _ in 0..2 {
                for most in [0, 2, 10] {
                    let newest = remembering().newest_runs(most).unwrap();
                    let all = store().shared_runs().unwrap();
                    assert_eq!(newest.runs, all.runs[..most.min(all.runs.len())]);
                    assert_eq!(newest.count, all.runs.len());
                    assert_eq!(newest.unreadable.len(), all.unreadable.len());
                }
                remembering().shared_runs().unwrap();
            }
        };
        let is_known = |most| {
            let kept = memory.kept.lock().unwrap();
            remembering().newest_known(most, &kept).unwrap().is_some()
        };
        check();
        finished_run(directory.path());
        assert!(!is_known(10), "there is another run");
        check();
        let newer: Vec<_> = (0..3).map(|_| finished_run(directory.path())).collect();
        check();
        assert!(is_known(10));

        let recorder = Store::open(directory.path()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let written = move |written| _ = sender.send(written);
        let recorder = recorder.begin(new_run(3), written).unwrap();
        check();
        recorder.record(vec![entry(0, 1, Outcome::Passed)]);
        recorder.flush();
        receiver.recv().unwrap();
        assert!(is_known(10), "a row is in no manifest");
        let newest = remembering().newest_runs(10).unwrap();
        let goes_on = |run: &&Arc<RunEntry>| run.status == RunStatus::Running;
        let running: Vec<_> = newest.runs.iter().filter(goes_on).collect();
        assert_eq!((running.len(), running[0].counts.passed), (1, 1));
        recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        assert!(!is_known(10), "its manifest has changed");
        check();
        drop(
            Store::open(directory.path())
                .unwrap()
                .begin(new_run(3), ignore)
                .unwrap(),
        );
        check();

        fs_err::create_dir(directory.path().join("no-run")).unwrap();
        assert!(is_known(10));
        fs_err::remove_dir_all(&newer[1].run_dir).unwrap();
        assert!(!is_known(10), "a run has gone");
        check();
        let all = remembering().newest_runs(10).unwrap();
        let oldest = &all.runs.last().unwrap().dir;
        fs_err::write(oldest.join("benchmark.json"), "{").unwrap();
        assert!(is_known(2), "it is older");
        assert!(!is_known(10));
        remembering().shared_runs().unwrap();
        assert!(!is_known(2), "a run cannot be read");
        check();
    }
}
