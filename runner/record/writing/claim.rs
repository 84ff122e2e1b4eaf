//! [`Claim`]: a run that has ended, held by this process.

use std::sync::Arc;

use fs_err::OpenOptions;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    birth::{self, Birth},
    log,
    recorder::{self, Begun, Locks, Recorder, Written},
    repair,
};
use crate::{
    model::{Actor, Counts, RunStatus},
    record::{
        disk::{
            durable,
            layout::{Root, RunDir, RunId},
            lock::Lock,
        },
        error::{CancelError, ClaimError, RecordError},
        failpoint,
        format::{
            inflight::InFlight,
            manifest::{Manifest, NewSession},
            request::Holding,
            rerun::Rerun,
            row,
        },
        reading::{
            history::{Asked, History},
            reader::RunReader,
            run_entry::RunEntry,
            scenario_copy,
        },
        store::{content::Content, root::Store},
        upkeep::sweep,
    },
};

/// A run that has ended, held by this process: its lock is taken, its rows are repaired, and it does not say `running`.
#[derive(Debug)]
pub struct Claim {
    root: Root,
    dir: RunDir,
    id: RunId,
    manifest: Manifest,
    last_seq: u64,
    locks: Locks,
}

/// How a claimed run goes on.
#[derive(Clone, Debug)]
pub struct Opening {
    /// When.
    pub now: Timestamp,
    /// The command that asks for it.
    pub opened_by: &'static str,
    /// Which trials that have a final row are run again.
    pub rerun: Option<Rerun>,
    /// How many trials came to what, by the [`Claim::history`] with the same `rerun`.
    pub counts: Counts,
    /// Whether a run that a person has dropped may go on.
    pub is_forced: bool,
    /// Options of the command line that are in effect from now on.
    pub options: Value,
    /// What a run is planned with from now on: one that failed to begin and so has no rows, or one that adopts another
    /// plan, whose trials that have changed are `rerun`.
    pub replanned: Option<Birth>,
}

impl Store {
    /// Takes a run's lock, repairs the tail of its rows, and sweeps it if its manifest says `running` still.
    pub fn claim(&self, run: &RunEntry, now: Timestamp) -> Result<Claim, ClaimError> {
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
        if manifest.status == RunStatus::Running {
            sweep::settle(&root, &dir, &mut manifest, &run_lock, now)?;
        }
        // Only now: until then the log's age is a sign of when its writer died.
        let moved = repaired.moved.map(|moved| moved.to_string());
        for told in moved.iter().chain(&restored) {
            log::tell(&dir, told, now);
        }
        Ok(Self {
            root,
            dir,
            id: run.id.clone(),
            manifest,
            last_seq: repaired.last_seq,
            locks: Locks::new(run_lock, root_lock),
        })
    }

    /// The manifest as it is on disk.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn has_begun(&self) -> bool {
        self.manifest.has_begun(&self.dir)
    }

    /// Reads the run as it is on disk.
    pub fn reader(&self) -> RunReader {
        RunReader::of(self.dir.clone(), self.manifest.clone())
    }

    /// What the rows come to, in the light of all sessions, and of one that is opened now.
    pub fn history(&self, asked: Asked<'_>) -> Result<History, RecordError> {
        let history = self.reader().history_with(asked)?;
        row::check_version(&self.dir.index(), history.version)?;
        Ok(history)
    }

    /// Opens the next session. `acks` is called as it is by [`Store::begin`].
    pub fn open(
        self,
        opening: Opening,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Recorder, RecordError> {
        let has_begun = self.has_begun();
        let Self {
            root,
            dir,
            id,
            mut manifest,
            last_seq,
            locks,
        } = self;
        let is_adopting = matches!(opening.rerun, Some(Rerun::Changed(_)));
        let content = match opening.replanned {
            Some(birth) if is_adopting || !has_begun && manifest.status == RunStatus::Failed => {
                birth::close(&dir, &birth);
                Some(replan(&root, &dir, &mut manifest, birth)?)
            }
            Some(_) => {
                return Err(RecordError::HasRows {
                    run: manifest.run_id,
                });
            }
            None => None,
        };
        // A run that failed to begin has those of its birth.
        if has_begun || manifest.status != RunStatus::Failed {
            manifest.counts = opening.counts.into();
        }
        manifest.options = opening.options;
        manifest.reopen(NewSession {
            now: opening.now,
            opened_by: opening.opened_by,
            rerun: opening.rerun.map(|rerun| rerun.to_string()),
            is_forced: opening.is_forced,
            from_seq: last_seq,
        })?;

        failpoint::pass("opening", "claimed").map_err(RecordError::io("open a session"))?;
        // A request that comes while the run is still being opened is one to the session which is opened now.
        let begins = Holding {
            session: manifest.session(),
            token: locks.run.token().map(str::to_owned),
        };
        recorder::tidy(&dir, Some(&begins));
        let failed = || RecordError::io("open a session");
        failpoint::pass("opening", "tidied").map_err(failed())?;
        let inflight = InFlight::create(&dir.inflight(), manifest.session()).map_err(failed())?;
        let index = OpenOptions::new()
            .append(true)
            .open(dir.index())
            .map_err(failed())?;
        failpoint::pass("opening", "files").map_err(failed())?;
        manifest.write(&dir.manifest(), "opening")?;
        // Now the manifest keeps the entries from being removed.
        drop(content);
        Recorder::start(
            Begun {
                root,
                dir,
                id,
                manifest,
                index,
                inflight,
                last_seq,
                locks,
            },
            acks,
        )
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
        recorder::project(&self.root, &self.dir, &self.manifest);
        Ok(self.manifest)
    }
}

/// Plans a run anew: with new files in the content store, a new copy of the scenario, a new manifest.
fn replan(
    root: &Root,
    dir: &RunDir,
    manifest: &mut Manifest,
    birth: Birth,
) -> Result<Content, RecordError> {
    let content = birth::store(root, &birth)?;
    scenario_copy::replace(
        &content,
        dir,
        manifest.scenario.sha256,
        &birth.scenario.text,
        birth.now,
    )?;
    birth::replan(manifest, birth);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::ffi::OsStrExt as _,
        path::Path,
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use jiff::SignedDuration;

    use crate::{
        model::{Counts, Digest, Outcome, Reason, RunStatus, Stage, StopMode, StopSignal, Verdict},
        record::{
            Asked, Busy, CancelError, ClaimError, Filter, LastWords, Manifest, Opening,
            RecordError, Rerun, RunReader, Store,
            disk::lock,
            format::{
                last_words,
                request::{self, Holding},
            },
            testing::{
                actor, birth, claim, crashed_run, end, entry, finished_run, ignore, now, resume,
                resume_at,
            },
        },
    };

    fn manifest(dir: &Path) -> Manifest {
        RunReader::open(dir).unwrap().manifest().clone()
    }

    /// A crashed run of three trials: one passed, one failed, one was being executed.
    fn crashed(root: &Path) -> std::path::PathBuf {
        let entries = vec![entry(0, 1, Outcome::Passed), entry(1, 1, Outcome::Failed)];
        crashed_run(root, 3, entries)
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
        let mut recorder = store.begin(birth(3), ignore).unwrap();
        recorder.set_stage(Stage::Run).unwrap();
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
        assert_eq!(claimed.history(Asked::default()).unwrap().deaths[&2], 1);
        drop(claimed);
        let before = fs_err::read(dir.join("benchmark.json")).unwrap();
        drop(claim(&dir).unwrap());
        assert_eq!(fs_err::read(dir.join("benchmark.json")).unwrap(), before);
    }

    #[test]
    fn a_dead_session_ended_with_its_last_sign_of_life_and_not_with_its_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let after = |seconds| now() + SignedDuration::from_secs(seconds);
        for (name, seconds) in [("benchmark.json", 1), ("inflight", 5), ("runner.log", 3)] {
            let mut options = fs_err::OpenOptions::new();
            let file = options.create(true).append(true);
            let file = file.open(dir.join(name)).unwrap();
            file.file().set_modified(after(seconds).into()).unwrap();
        }
        let store = Store::existing(directory.path()).unwrap();
        let shown = store.find("latest").unwrap();
        assert!(shown.is_not_yet_swept);

        let swept_at = after(24 * 3600);
        let run = store.find("latest").unwrap();
        let claimed = store.claim(&run, swept_at).unwrap();
        let swept = claimed.manifest();
        assert_eq!(swept.completed_at, Some(after(5)));
        assert_eq!(swept.sessions[0].closed_at, Some(after(5)));
        assert_eq!(swept.transitions[1].at, swept_at);
        // Readers knew all of it, and SQLite does.
        let mut known = store.runs(&Filter::default()).unwrap().runs.remove(0);
        assert!(!known.is_not_yet_swept);
        known.is_not_yet_swept = true;
        assert_eq!(known, shown);
        assert_eq!(shown.worked, Duration::from_secs(5));

        let (recorder, _) = resume_at(claimed, None, after(48 * 3600));
        let mut end = end(RunStatus::Incomplete, 3);
        end.reason = Some(Reason::Stopped);
        end.now = after(48 * 3600 + 10);
        recorder.finish(&end).unwrap();
        let run = store.runs(&Filter::default()).unwrap().runs.remove(0);
        assert_eq!((run.worked, run.sessions), (Duration::from_secs(15), 2));
        assert_eq!(run.opened_at, after(48 * 3600));
    }

    #[test]
    fn a_run_that_has_begun_is_not_planned_anew_even_if_it_says_that_it_failed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed_run(directory.path(), 1, vec![entry(0, 1, Outcome::Stopped)]);
        let (recorder, _) = resume(claim(&dir).unwrap(), None);
        let mut failed = end(RunStatus::Failed, 1);
        failed.reason = Some(Reason::Setup);
        let finished = recorder.finish(&failed).unwrap();
        assert_eq!(finished.manifest.status, RunStatus::Incomplete);

        // As a runner of before left it.
        let mut manifest = finished.manifest;
        manifest.status = RunStatus::Failed;
        manifest.transitions.last_mut().unwrap().to = RunStatus::Failed;
        fs_err::write(
            dir.join("benchmark.json"),
            serde_json::to_vec(&manifest).unwrap(),
        )
        .unwrap();
        let claimed = claim(&dir).unwrap();
        assert!(claimed.has_begun());
        let opening = Opening {
            now: now(),
            opened_by: "resume",
            rerun: None,
            counts: Counts::default(),
            is_forced: false,
            options: serde_json::json!({}),
            replanned: Some(birth(1)),
        };
        let refused = claimed.open(opening, ignore).err().unwrap();
        assert!(matches!(refused, RecordError::HasRows { .. }), "{refused}");
        let (recorder, _) = resume(claim(&dir).unwrap(), None);
        drop(recorder);
    }

    #[test]
    fn last_words_of_the_open_session_tell_why_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let words = |session, reason, signal| LastWords {
            session,
            reason,
            signal,
            by: Some((&actor(Some("disk needed"))).into()),
        };
        last_words::write(&dir, &words(2, Reason::Timeout, None)).unwrap();
        assert_eq!(
            claim(&dir).unwrap().manifest().reason,
            Some(Reason::Crashed)
        );

        let dir = crashed(directory.path());
        let signal = Some(StopSignal::Terminate);
        last_words::write(&dir, &words(1, Reason::Interrupted, signal)).unwrap();
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().reason, Some(Reason::Interrupted));
        assert_eq!(claimed.manifest().signal, signal);
        let by = claimed.manifest().transitions[1].by.clone().unwrap();
        assert_eq!(by.text.as_deref(), Some("disk needed"));
        assert_eq!(last_words::read(&dir), None);
    }

    #[test]
    fn a_sweep_tells_what_it_would_do_and_then_does_it() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let done = crashed_run(directory.path(), 1, vec![entry(0, 1, Outcome::Passed)]);
        let store = Store::open(directory.path()).unwrap();
        let alive = store.begin(birth(1), ignore).unwrap();
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

    #[test]
    fn a_resumed_run_goes_on_where_its_rows_end() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let (recorder, mut state) = resume(claim(&dir).unwrap(), None);
        assert_eq!(state.next_pending(0), Some(2));
        let running = manifest(&dir);
        assert_eq!((running.status, running.reason), (RunStatus::Running, None));
        assert_eq!((running.completed_at, recorder.session()), (None, 2));
        assert_eq!(running.sessions[1].from_seq, 2);
        assert_eq!(running.options, serde_json::json!({ "concurrency": 3 }));

        let number = state.assign(2);
        recorder.record(vec![entry(2, number, Outcome::Passed)]);
        let finished = recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        let rows: Vec<_> = RunReader::open(&dir)
            .unwrap()
            .rows()
            .map(Result::unwrap)
            .collect();
        let places: Vec<_> = rows.iter().map(|row| (row.seq, row.session)).collect();
        assert_eq!(places, [(1, 1), (2, 1), (3, 2)]);
        let changes: Vec<_> = finished
            .manifest
            .transitions
            .iter()
            .map(|change| (change.to, &*change.writer))
            .collect();
        assert_eq!(
            changes,
            [
                (RunStatus::Running, "exec"),
                (RunStatus::Incomplete, "sweep"),
                (RunStatus::Running, "resume"),
                (RunStatus::Completed, "resume")
            ]
        );
        // The projection was made by replaying these through the triggers.
        let database = rusqlite::Connection::open(directory.path().join("runner.db")).unwrap();
        let count = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            database.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("sessions"), count("transitions")), (2, 4));
    }

    #[test]
    fn a_rerun_is_inherited_until_it_is_done_and_its_attempts_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![entry(0, 1, Outcome::Passed), entry(1, 1, Outcome::Failed)];
        let dir = crashed_run(directory.path(), 2, entries);
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().status, RunStatus::Completed);
        assert!(
            claimed
                .history(Asked::default())
                .unwrap()
                .state
                .is_complete()
        );
        let (recorder, state) = resume(claimed, Some(Rerun::Failed));
        assert_eq!((state.next_pending(0), state.counts().done()), (Some(1), 1));
        drop(recorder);

        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().status, RunStatus::Incomplete);
        let (recorder, mut state) = resume(claimed, None);
        assert_eq!(state.assign(1), 2);
        recorder.record(vec![entry(1, 2, Outcome::Passed)]);
        drop(recorder);
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().status, RunStatus::Completed);
        assert_eq!(claimed.manifest().verdict, Verdict::Passed);
        assert_eq!(claimed.manifest().counts.passed, 2);
    }

    #[test]
    fn runs_go_on_or_are_cancelled_only_from_a_status_that_allows_it() {
        let directory = tempfile::tempdir().unwrap();
        let completed = finished_run(directory.path()).run_dir;
        let refused = claim(&completed)
            .unwrap()
            .cancel(&actor(None), now())
            .unwrap_err();
        assert!(matches!(refused, CancelError::Refused(_)), "{refused}");

        let dir = crashed(directory.path());
        let cancelled = claim(&dir).unwrap().cancel(&actor(None), now()).unwrap();
        assert_eq!(
            (cancelled.status, cancelled.reason),
            (RunStatus::Cancelled, Some(Reason::Cancelled))
        );
        assert_eq!(cancelled, manifest(&dir));
        assert_eq!(
            claim(&dir).unwrap().cancel(&actor(None), now()).unwrap(),
            cancelled
        );
        assert_eq!(cancelled, manifest(&dir));

        for (dir, is_forced) in [
            (&completed, false),
            (&completed, true),
            (&dir, false),
            (&dir, true),
        ] {
            let before = manifest(dir);
            let claimed = claim(dir).unwrap();
            let opening = super::Opening {
                now: now(),
                opened_by: "resume",
                rerun: None,
                counts: claimed.history(Asked::default()).unwrap().state.counts(),
                is_forced,
                options: before.options.clone(),
                replanned: None,
            };
            let is_open = claimed.open(opening, ignore).is_ok();
            assert_eq!(is_open, before.status == RunStatus::Cancelled && is_forced);
            assert_eq!(is_open, manifest(dir) != before);
        }
    }

    #[test]
    fn a_run_that_failed_is_planned_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(birth(3), ignore).unwrap();
        let dir = recorder.run_dir().to_owned();
        let mut failed = end(RunStatus::Failed, 3);
        failed.reason = Some(Reason::Plugin);
        recorder.finish(&failed).unwrap();

        let open = |dir: &Path| {
            let mut reborn = birth(7);
            reborn.scenario.text = "name = \"new\"\n".into();
            let claimed = claim(dir).unwrap();
            let opening = super::Opening {
                now: now(),
                opened_by: "resume",
                rerun: None,
                counts: claimed.history(Asked::default()).unwrap().state.counts(),
                is_forced: false,
                options: serde_json::json!({}),
                replanned: Some(reborn),
            };
            claimed.open(opening, ignore)
        };
        drop(open(&dir).unwrap());
        let planned = manifest(&dir);
        assert_eq!(planned.metadata.planned_test_count, 7);
        assert_eq!(planned.counts.planned, 7);
        assert_eq!(planned.scenario.sha256, Digest::of(b"name = \"new\"\n"));
        assert_eq!((planned.sessions.len(), planned.transitions.len()), (2, 3));
        assert_eq!(
            claim(&dir).unwrap().reader().scenario_text().unwrap(),
            "name = \"new\"\n"
        );

        let begun = crashed(directory.path());
        let error = open(&begun).err().unwrap();
        assert!(matches!(error, RecordError::HasRows { .. }), "{error}");
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

    #[test]
    fn a_session_alone_in_its_root_keeps_the_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let mut alone = Store::open(directory.path()).unwrap();
        let other = Store::open(directory.path()).unwrap();

        let recorder = other.begin(birth(1), ignore).unwrap();
        let error = alone.exclusive(Busy::Refuse, now()).unwrap_err();
        assert!(matches!(error, RecordError::Held { .. }), "{error}");
        recorder.finish(&end(RunStatus::Completed, 1)).unwrap();

        alone.exclusive(Busy::Wait, now()).unwrap();
        let error = other.begin(birth(1), ignore).err().unwrap();
        assert!(
            error.to_string().contains("another process (pid "),
            "{error}"
        );
        assert!(matches!(claim(&dir), Err(ClaimError::Taken(_))));
        let run = alone.find("latest").unwrap();
        let recorder = alone.begin(birth(1), ignore).unwrap();
        drop(alone.claim(&run, now()).unwrap());
        drop(alone);
        assert!(other.begin(birth(1), ignore).is_err());
        drop(recorder);
        other.begin(birth(1), ignore).unwrap();
    }

    #[test]
    fn a_run_can_be_born_in_a_directory_of_ones_choice_if_nothing_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let dir = directory.path().join("mine");
        // What a birth that was interrupted leaves.
        fs_err::create_dir(&dir).unwrap();
        for name in ["lock", "index.jsonl", "scenario.toml"] {
            fs_err::write(dir.join(name), "").unwrap();
        }
        let place = store.reserve(&dir, now()).unwrap().unwrap();
        let held = store.reserve(&dir, now()).unwrap_err();
        assert!(held.to_string().contains("pid "), "{held}");
        let recorder = store.begin_in(place, birth(1), ignore).unwrap();
        assert_eq!(recorder.run_id().as_str(), "mine");
        recorder.record(vec![entry(0, 1, Outcome::Passed)]);
        recorder.finish(&end(RunStatus::Completed, 1)).unwrap();
        assert_eq!(
            store.runs(&Filter::default()).unwrap().runs[0].id.as_str(),
            "mine"
        );

        assert!(store.reserve(&dir, now()).unwrap().is_none());
        assert_eq!(manifest(&dir).status, RunStatus::Completed);
        let full = directory.path().join("full");
        fs_err::create_dir(&full).unwrap();
        fs_err::write(full.join("file"), "").unwrap();
        let error = store.reserve(&full, now()).unwrap_err();
        assert!(matches!(error, RecordError::InUse { .. }), "{error}");
        let unnamed = directory.path().join(OsStr::from_bytes(b"caf\xe9"));
        let error = store.reserve(&unnamed, now()).unwrap_err();
        assert!(matches!(error, RecordError::NoName { .. }), "{error}");
    }

    #[test]
    fn a_run_goes_on_whatever_happens_to_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runner.db");
        let dir = crashed(directory.path());
        let writer = rusqlite::Connection::open(&path).unwrap();
        for n in 2..=4 {
            match n {
                2 => writer.execute_batch("BEGIN EXCLUSIVE").unwrap(),
                3 => {
                    writer.execute_batch("ROLLBACK").unwrap();
                    fs_err::write(&path, "not a database").unwrap();
                }
                _ => {
                    fs_err::remove_file(&path).unwrap();
                    fs_err::create_dir(&path).unwrap();
                }
            }
            let (recorder, mut state) = resume(claim(&dir).unwrap(), Some(Rerun::All));
            assert_eq!((recorder.session(), state.counts().done()), (n, 0));
            let number = state.assign(0);
            recorder.record(vec![entry(0, number, Outcome::Passed)]);
        }
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.history(Asked::default()).unwrap().last_seq, 5);
        assert_eq!(claimed.manifest().transitions.len(), 8);
    }

    #[test]
    fn a_session_on_a_full_disk_ends_with_that_reason_and_can_be_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let claimed = claim(&dir).unwrap();
        let index = dir.join("index.jsonl");
        let rows = fs_err::read(&index).unwrap();
        fs_err::remove_file(&index).unwrap();
        std::os::unix::fs::symlink("/dev/full", &index).unwrap();
        let opening = super::Opening {
            now: now(),
            opened_by: "resume",
            rerun: None,
            counts: crate::model::Counts::default(),
            is_forced: false,
            options: serde_json::json!({}),
            replanned: None,
        };
        let (sender, receiver) = mpsc::channel();
        let recorder = claimed
            .open(opening, move |written| sender.send(written.error).unwrap())
            .unwrap();
        recorder.record(vec![entry(2, 1, Outcome::Passed)]);
        recorder.flush();
        assert!(receiver.recv().unwrap().is_some());
        let mut full = end(RunStatus::Incomplete, 3);
        full.reason = Some(Reason::Storage);
        recorder.finish(&full).unwrap();
        fs_err::remove_file(&index).unwrap();
        fs_err::write(&index, rows).unwrap();

        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().reason, Some(Reason::Storage));
        let (_, state) = resume(claimed, None);
        assert_eq!(state.next_pending(0), Some(2));
    }
}
