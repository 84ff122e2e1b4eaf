//! Opening the next session of a claimed run.

use fs_err::OpenOptions;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    claim::Claim,
    create::{self, NewRun},
    log,
    recorder::{self, Begun, Recorder},
    scenario_copy,
    writer::Written,
};
use crate::{
    model::{Counts, RunStatus},
    record::{
        disk::{
            layout::{Root, RunDir},
            machine::Machine,
            regular,
        },
        error::RecordError,
        failpoint,
        format::{
            inflight::InFlight,
            manifest::{Manifest, NewSession},
            request::Holding,
            rerun::Rerun,
        },
        store::content::ContentStore,
    },
};

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
    pub replanned: Option<NewRun>,
    /// Whether judgements are written in it that stand apart from their attempts.
    pub is_judged_apart: bool,
}

impl Claim {
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
            settled: _,
        } = self;
        let is_adopting = matches!(opening.rerun, Some(Rerun::Changed(_)));
        let content = match opening.replanned {
            Some(new_run) if is_adopting || !has_begun && manifest.status == RunStatus::Failed => {
                create::close(&dir, &new_run);
                Some(replan(&root, &dir, &mut manifest, new_run)?)
            }
            Some(_) => {
                return Err(RecordError::HasRows {
                    run: manifest.run_id,
                });
            }
            None => None,
        };
        // A run that failed to begin has those with which it was created.
        if has_begun || manifest.status != RunStatus::Failed {
            manifest.counts = opening.counts.into();
        }
        manifest.options = opening.options;
        if opening.is_judged_apart {
            manifest.judge_apart();
        }
        manifest.reopen(NewSession {
            now: opening.now,
            opened_by: opening.opened_by,
            rerun: opening.rerun.map(|rerun| rerun.to_string()),
            is_forced: opening.is_forced,
            from_seq: last_seq,
        })?;
        manifest.runs_on(Machine::here().into());

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
        let rows = dir.last_row_file().map_err(failed())?;
        let index = regular::open_to_write(OpenOptions::new().append(true), &dir.row_file(rows))
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
                rows,
                index,
                inflight,
                last_seq,
                locks,
            },
            acks,
        )
    }
}

/// Plans a run anew: with new files in the content store, a new copy of the scenario, a new manifest.
fn replan(
    root: &Root,
    dir: &RunDir,
    manifest: &mut Manifest,
    new_run: NewRun,
) -> Result<ContentStore, RecordError> {
    let (mut content, mut replaced) = create::store(root, &new_run)?;
    replaced.extend(scenario_copy::replace(
        &mut content,
        dir,
        manifest.scenario.sha256,
        &new_run.scenario.text,
        new_run.now,
    )?);
    for told in &replaced {
        log::warn(dir, told, new_run.now);
    }
    create::replan(manifest, new_run);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        model::{Counts, Digest, Outcome, Reason, RunStatus, Verdict},
        record::{
            CancelError, NextSession, Opening, RecordError, Rerun, RunReader, Store,
            testing::{
                actor, claim, crashed, crashed_run, end, entry, finished_run, ignore, manifest,
                new_run, now, resume,
            },
        },
    };

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
            replanned: Some(new_run(1)),
            is_judged_apart: false,
        };
        let refused = claimed.open(opening, ignore).err().unwrap();
        assert!(matches!(refused, RecordError::HasRows { .. }), "{refused}");
        let (recorder, _) = resume(claim(&dir).unwrap(), None);
        drop(recorder);
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
                .history(NextSession::default())
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
            let opening = Opening {
                now: now(),
                opened_by: "resume",
                rerun: None,
                counts: claimed
                    .history(NextSession::default())
                    .unwrap()
                    .state
                    .counts(),
                is_forced,
                options: before.options.clone(),
                replanned: None,
                is_judged_apart: false,
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
        let recorder = store.begin(new_run(3), ignore).unwrap();
        let dir = recorder.run_dir().to_owned();
        let mut failed = end(RunStatus::Failed, 3);
        failed.reason = Some(Reason::Plugin);
        recorder.finish(&failed).unwrap();

        let open = |dir: &Path| {
            let mut replanned = new_run(7);
            replanned.scenario.text = "name = \"new\"\n".into();
            let claimed = claim(dir).unwrap();
            let opening = Opening {
                now: now(),
                opened_by: "resume",
                rerun: None,
                counts: claimed
                    .history(NextSession::default())
                    .unwrap()
                    .state
                    .counts(),
                is_forced: false,
                options: serde_json::json!({}),
                replanned: Some(replanned),
                is_judged_apart: false,
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
}
