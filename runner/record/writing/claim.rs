//! [`Claim`]: a run that has ended, held by this process.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    claim_error::{CancelError, ClaimError},
    log,
    recorder::{self, Locks},
    repair, scenario_copy,
};
use crate::{
    model::{Actor, RunStatus},
    record::{
        disk::{
            durable,
            layout::{Root, RunDir, RunId},
            lock::Lock,
        },
        error::RecordError,
        format::{line, manifest::Manifest},
        reading::{
            death,
            history::{History, NextSession},
            missing::MissingRows,
            reader::RunReader,
            run_entry::RunEntry,
        },
        store::{live, root::Store},
    },
};

/// A run that has ended, held by this process: its lock is taken, its rows are repaired, and it does not say `running`.
#[derive(Debug)]
pub struct Claim {
    pub(super) root: Root,
    pub(super) dir: RunDir,
    pub(super) id: RunId,
    pub(super) manifest: Manifest,
    pub(super) last_seq: u64,
    pub(super) locks: Locks,
    /// What its rows come to, if they had to be read for its manifest.
    pub(super) settled: Option<History>,
}

impl Store {
    /// Takes a run's lock, repairs the tail of its rows, and sweeps it if its manifest says `running` still.
    pub(crate) fn claim(&self, run: &RunEntry, now: Timestamp) -> Result<Claim, ClaimError> {
        let run = &run.real();
        let root_lock = self.session_lock(&RunDir::new(&run.dir).root());
        let root_lock = root_lock.map_err(|error| ClaimError::of(run, error))?;
        Claim::take(run, root_lock, now)
    }
}

impl Claim {
    pub(in crate::record) fn take(
        run: &RunEntry,
        root_lock: Arc<Lock>,
        now: Timestamp,
    ) -> Result<Self, ClaimError> {
        let dir = RunDir::new(&run.dir);
        let root = dir.root();
        let run_lock = Lock::own_run(&dir, now).map_err(|error| ClaimError::of(run, error))?;

        durable::sweep(dir.path());
        let mut manifest = Manifest::read_to_write(&dir.manifest())?;
        // A copied directory is a run of its own.
        run.id.as_str().clone_into(&mut manifest.run_id);
        let repaired = repair::repair(&dir, manifest.session())?;
        let restored = scenario_copy::restore(&root, &dir, &manifest)?;
        let mut settled = match manifest.status {
            RunStatus::Running => Some(settle(&root, &dir, &mut manifest, &run_lock, now)?),
            _ => None,
        };
        // Only now: until then the log's age is a sign of when its writer died.
        let moved = repaired.moved.map(|moved| moved.to_string());
        // The manifest counts what is left by now.
        let missing = settled.as_mut().and_then(History::take_missing);
        let missing = missing.map(MissingRows::make_again);
        for told in moved.iter().chain(&restored).chain(&missing) {
            log::warn(&dir, told, now);
        }
        Ok(Self {
            root,
            dir,
            id: run.id.clone(),
            manifest,
            last_seq: repaired.last_seq,
            locks: Locks::new(run_lock, root_lock),
            settled,
        })
    }

    /// The manifest as it is on disk.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn has_begun(&self) -> bool {
        self.manifest.has_begun(&self.dir)
    }

    /// Reads the run as it is on disk.
    pub fn reader(&self) -> RunReader {
        RunReader::of(self.dir.clone(), self.manifest.clone())
    }

    /// What the rows come to, in the light of all sessions, and of one that is opened now.
    pub fn history(&self, asked: NextSession<'_>) -> Result<History, RecordError> {
        let history = match (&self.settled, asked) {
            (
                Some(settled),
                NextSession {
                    rerun: None,
                    planned: None,
                },
            ) => settled.clone(),
            _ => self.reader().history_with(asked)?,
        };
        line::check_version(&self.dir.index(), history.version)?;
        Ok(history)
    }

    /// Says on the screen and in the run's log that rows are missing, before a session is opened and the manifest counts what
    /// is left.
    pub fn tell_missing(
        &self,
        history: &History,
        words: fn(MissingRows) -> String,
        now: Timestamp,
    ) {
        if let Some(missing) = history.untold_missing() {
            log::warn(&self.dir, &words(missing), now);
        }
    }

    pub(in crate::record) fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Drops a run that has ended with work left. One that is dropped already stays as it is.
    pub fn cancel(mut self, actor: &Actor, now: Timestamp) -> Result<Manifest, CancelError> {
        if self.manifest.status == RunStatus::Cancelled {
            return Ok(self.manifest);
        }
        self.manifest.cancel("cancel", now, actor.into())?;
        self.manifest.write(&self.dir.manifest(), "cancel")?;
        recorder::tidy(&self.dir, None);
        live::project(&self.root, &self.dir, &self.manifest);
        Ok(self.manifest)
    }
}

/// Closes the open session of a run whose lock is held by this process and whose rows are repaired.
fn settle(
    root: &Root,
    dir: &RunDir,
    manifest: &mut Manifest,
    lock: &Lock,
    now: Timestamp,
) -> Result<History, RecordError> {
    let history = death::close(dir, manifest, now)?;
    line::check_version(&dir.index(), history.version)?;
    manifest.write(&dir.manifest(), "sweep")?;
    recorder::tidy(dir, Some(&recorder::next_session(manifest, lock)));
    live::project(root, dir, manifest);
    Ok(history)
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
    };

    use crate::{
        model::{Outcome, Reason, RunStatus, Stage, StopMode},
        record::{
            ClaimError, NextSession, Store,
            disk::lock,
            format::{
                inflight::InFlight,
                request::{self, Holding},
            },
            testing::{actor, claim, crashed, entry, ignore, manifest, new_run, now, resume},
        },
    };

    #[test]
    fn what_a_death_left_is_as_if_the_rows_were_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let in_flight = InFlight::join(&dir, 1).unwrap();
        in_flight.begin(0, 2, 1, now());
        let claimed = claim(&dir).unwrap();
        let settled = claimed.history(NextSession::default()).unwrap();
        assert_eq!((settled.deaths[&2], settled.unrecorded.len()), (1, 1));
        let read = claimed.reader().history().unwrap();
        assert_eq!(format!("{settled:?}"), format!("{read:?}"));
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = dir
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_claim_closes_the_session_of_a_crashed_run_with_what_it_had_in_flight() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(3), ignore).unwrap();
        recorder.begin_run_stage().unwrap();
        let inflight = recorder.inflight();
        for (slot, ordinal) in [(0, 0), (1, 2)] {
            inflight.begin(slot, ordinal, 1, now());
        }
        recorder.record(vec![entry(0, 1, Outcome::Passed)]);
        let dir = recorder.run_dir().to_owned();
        drop(recorder);
        let asked = Holding {
            session: 1,
            token: None,
        };
        request::request(&dir, StopMode::Stop, &asked, &actor(None)).unwrap();

        let claimed = claim(&dir).unwrap();
        let swept = claimed.manifest();
        assert_eq!(swept, &manifest(&dir));
        assert_eq!(
            (swept.status, swept.reason, swept.stage),
            (RunStatus::Incomplete, Some(Reason::Crashed), Stage::Run)
        );
        assert_eq!(swept.counts.passed, 1);
        assert_eq!(swept.completed_at, Some(now()));
        let session = &swept.sessions[0];
        assert_eq!(session.reason, Some(Reason::Crashed));
        assert_eq!(session.closed_at, Some(now()));
        // Trial 0 has a row: it was over before the process was.
        assert_eq!(session.in_flight, [(2, 1)]);
        assert_eq!(swept.transitions[1].writer, "sweep");
        assert_eq!(
            files(&dir),
            [
                "benchmark.json",
                "index.jsonl",
                "inflight",
                "lock",
                "scenario.toml"
            ]
        );
        assert_eq!(
            claimed.history(NextSession::default()).unwrap().deaths[&2],
            1
        );
        drop(claimed);
        let before = fs_err::read(dir.join("benchmark.json")).unwrap();
        drop(claim(&dir).unwrap());
        assert_eq!(fs_err::read(dir.join("benchmark.json")).unwrap(), before);
    }

    #[test]
    fn of_two_claims_at_once_one_is_held_and_names_the_owner() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let claimed = claim(&dir).unwrap();
        let error = claim(&dir).unwrap_err();
        let ClaimError::Held { text, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            text.contains(&format!("pid {}", std::process::id())),
            "{text}"
        );
        let (recorder, _) = resume(claimed, None);
        assert!(matches!(claim(&dir), Err(ClaimError::Held { .. })));
        drop(recorder);

        let (sender, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                let (sender, dir) = (sender.clone(), &dir);
                scope.spawn(move || {
                    let claimed = claim(dir);
                    let is_claimed = claimed.is_ok();
                    // Held until both have their answer.
                    sender.send((is_claimed, claimed)).unwrap();
                });
            }
        });
        let answers: Vec<_> = results.try_iter().collect();
        assert_eq!(
            answers.iter().filter(|(is_claimed, _)| *is_claimed).count(),
            1
        );
    }

    #[test]
    fn a_claim_gets_through_while_readers_probe_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        lock::is_held(&dir.join("lock"));
                        thread::yield_now();
                    }
                });
            }
            let claims: Vec<bool> = (0..20).map(|_| claim(&dir).is_ok()).collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(claims, [true; 20]);
        });
    }
}
