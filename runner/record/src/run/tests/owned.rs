//! Creations, claims, sessions and ends.

use std::{fs, time::SystemTime};

use runner_model::{
    Outcome, Reason, RunStatus, StopSignal,
    status::{RunVerdict, Stage},
};

use crate::run::signature::{self, Extent};
use crate::{
    Ack, End, Fold, Manifest, RecordError, ResultsRoot, new_id, now,
    tests::{
        begin, dead_run, fold, folder, inject, new_run, row, session, tail, write_rows, writer,
    },
};

fn end(reason: Option<Reason>) -> End {
    End {
        reason,
        signal: (reason == Some(Reason::Interrupted)).then_some(StopSignal::Interrupt),
        at: SystemTime::now().into(),
        ..End::default()
    }
}

#[test]
fn birth_leaves_a_whole_run() {
    let folder = folder();
    let mut new = new_run(2);
    new.id = new_id("über/../alles", now());
    let root = ResultsRoot::open(folder.path()).unwrap();
    let owned = root.create(new).unwrap();
    let run = owned.dir().clone();
    let (time, rest) = run.id().split_at(23);
    assert_eq!(time.len(), "2026-11-20_09-18-04-015".len());
    assert!(rest.starts_with("--ber-..-alles-"), "{rest}");
    assert_eq!(run.id().len(), 23 + "--ber-..-alles-".len() + 8);
    assert_eq!(run.scenario(owned.manifest()).unwrap(), "name = \"basic\"\n");
    let log = fs::read_to_string(run.path().join("runner.log")).unwrap();
    assert!(log.ends_with("Z runner exec 'a scenario.toml'\n"), "{log}");
    assert_eq!(&run.manifest().unwrap(), owned.manifest());
    assert_eq!(run.truth().unwrap().status, RunStatus::Running);
    let held = root.claim(&run);
    assert!(
        matches!(held, Err(RecordError::Held { holder, .. }) if holder.pid == std::process::id())
    );
    let names: Vec<_> =
        fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn finish_gives_the_status_that_the_rows_have() {
    use RunStatus::{Completed, Failed, Incomplete};
    for (rows, reason, expected) in [
        (2, None, (Completed, None)),
        (2, Some(Reason::Interrupted), (Completed, None)),
        (1, Some(Reason::Interrupted), (Incomplete, Some(Reason::Interrupted))),
        (1, None, (Incomplete, Some(Reason::Internal))),
        (1, Some(Reason::Plugin), (Incomplete, Some(Reason::Plugin))),
        (0, Some(Reason::Plugin), (Failed, Some(Reason::Plugin))),
    ] {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 2);
        let run = owned.dir().clone();
        write_rows(&owned, 1..=rows);
        let fold = crate::tests::fold(&owned, 2);
        let (manifest, _) = owned.finish(end(reason), &fold).unwrap();
        assert_eq!((manifest.status, manifest.reason), expected);
        assert_eq!(manifest.signal.is_some(), manifest.reason == Some(Reason::Interrupted));
        assert_eq!(manifest.counts.passed, u64::from(rows));
        assert_eq!(manifest.completed_at, manifest.sessions[0].ended_at);
        assert_eq!(run.truth().unwrap(), manifest);
    }
}

#[test]
fn status_without_a_signature_is_not_failed() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    let fold = crate::tests::fold(&owned, 2);
    owned.finish(end(Some(Reason::Plugin)), &fold).unwrap();
    assert!(run.has_failed().unwrap());
    let by = crate::actor(None);
    root.claim(&run).unwrap().pin(Some(by)).unwrap();
    assert!(run.has_failed().unwrap());
    // As an earlier version has signed it. Another program may have changed the status since, which no later signature covers.
    let mut manifest = run.manifest().unwrap();
    signature::sign(&mut manifest, Extent::Plan);
    fs::write(run.path().join("benchmark.json"), manifest.to_bytes().unwrap()).unwrap();
    assert!(run.for_use().is_ok() && !run.has_failed().unwrap());
    root.claim(&run).unwrap().pin(None).unwrap();
    assert!(run.for_use().is_ok() && !run.has_failed().unwrap());
    // A dead session has its reason in a file without a signature.
    let (root, run) = dead_run(folder.path(), 2, 0);
    let words = End { reason: Some(Reason::Plugin), at: now(), ..End::default() };
    crate::LiveWriter(run.dir.clone()).last_words(1, &words);
    assert_eq!(root.claim(&run).unwrap().manifest().status, RunStatus::Failed);
    assert!(run.for_use().is_ok() && !run.has_failed().unwrap());
}

#[test]
fn every_status_with_owed_reports_has_a_truth() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 1);
    let file = run.path().join("benchmark.json");
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for status in ["running", "completed", "incomplete", "cancelled", "failed"] {
        let mut changed = whole.clone();
        changed["status"] = status.into();
        changed["lost_report"] = "not written yet".into();
        fs::write(&file, changed.to_string()).unwrap();
        // A terminal status does not fit the other values. That may be an error, but no reading command ends by it.
        let found = run.truth().map(|truth| truth.status);
        assert!(found.is_err() || found.unwrap().is_terminal(), "{status}");
        let claimed = root.claim(&run).map(|owned| owned.manifest().owes_reports());
        assert!(claimed.is_err() || !claimed.unwrap(), "{status}");
    }
}

#[test]
fn a_dead_session_ends_at_its_last_sign() {
    for (rows, status) in [(2, RunStatus::Incomplete), (3, RunStatus::Completed)] {
        let folder = folder();
        let (root, run) = dead_run(folder.path(), 3, rows);
        let before = run.manifest().unwrap();
        let truth = run.truth().unwrap();
        assert_eq!(run.manifest().unwrap(), before, "a reader has changed it");
        assert_eq!((truth.status, truth.counts.passed), (status, rows.into()));
        // The rows are older than the session.
        assert_eq!(truth.completed_at, Some(before.started_at));
        let verdict = if rows == 3 { RunVerdict::Passed } else { RunVerdict::None };
        assert_eq!(truth.verdict, verdict);
        let claimed = root.claim(&run).unwrap();
        // The signature covers the status.
        let signature = truth.signature;
        let without_file = Manifest { rows: None, signature, ..claimed.manifest().clone() };
        assert_eq!(without_file, truth);
        assert!(run.has_same_rows(claimed.manifest()).unwrap());
        assert_eq!(&run.manifest().unwrap(), claimed.manifest());
    }
}

#[test]
fn nothing_is_written_into_a_run_after_its_thread() {
    let folder = folder();
    let (_root, owned) = begin(folder.path(), 3);
    for session in 1..50 {
        let live = owned.live_writer().start();
        assert!(live.try_send(crate::Live { session, ..Default::default() }));
        drop(live);
        let path = owned.dir().path().join("live.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("\"session\":{session},")), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn last_words_describe_a_dead_session() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 3);
    let run = owned.dir().clone();
    let mut live = crate::Live {
        session: 1,
        at: owned.manifest().started_at + std::time::Duration::from_millis(1),
        stage: Some(Stage::Run),
        ..Default::default()
    };
    let words = owned.live_writer();
    words.write(&live);
    assert_eq!(run.live().as_ref(), Some(&live));
    assert_eq!(run.truth().unwrap().stage, Stage::Run);
    let mut last = end(Some(Reason::Interrupted));
    last.message = Some("stuck".into());
    words.last_words(1, &last);
    drop(owned);
    assert_eq!(run.live(), None);
    let truth = run.truth().unwrap();
    assert_eq!(
        (truth.reason, truth.signal, truth.message.as_deref()),
        (last.reason, last.signal, Some("stuck"))
    );
    // A clock that jumps decides nothing.
    live.at = live.at + std::time::Duration::from_secs(3600);
    words.write(&live);
    assert!(run.truth().unwrap().completed_at <= Some(SystemTime::now().into()));

    // Last words of an earlier session are ignored.
    let mut owned = root.claim(&run).unwrap();
    owned.open_session(session("resume"), None).unwrap();
    drop(owned);
    assert_eq!(run.truth().unwrap().reason, Some(Reason::Crashed));
}

#[test]
fn sessions_go_on_where_the_last_one_ended() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 4, 2);
    let mut owned = root.claim(&run).unwrap();
    owned.open_session(session("resume"), None).unwrap();
    assert_eq!(run.truth().unwrap().status, RunStatus::Running);
    write_rows(&owned, 3..=4);
    let fold = crate::tests::fold(&owned, 4);
    assert_eq!(fold.last_seq(), 4);
    let (manifest, _) = owned.finish(end(None), &fold).unwrap();
    let steps: Vec<_> =
        manifest.transitions.iter().map(|step| (step.from, step.to, &*step.writer)).collect();
    use RunStatus::{Completed, Incomplete, Running};
    assert_eq!(
        steps,
        [
            (None, Running, "exec"),
            (Some(Running), Incomplete, "sweep"),
            (Some(Incomplete), Running, "resume"),
            (Some(Running), Completed, "resume"),
        ]
    );
    let sessions: Vec<_> = manifest
        .sessions
        .iter()
        .map(|session| (session.number, session.from_seq, session.ended_at.is_some()))
        .collect();
    assert_eq!(sessions, [(1, 0, true), (2, 2, true)]);
    assert!(!run.path().join("live.json").exists());
}

#[test]
fn a_sweep_ends_dead_runs_and_no_others() {
    let folder = folder();
    let (root, dead) = dead_run(folder.path(), 2, 1);
    let alive = root.create(new_run(1)).unwrap();
    let other = folder.path().join("other-format");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("benchmark.json"), r#"{"format": 2, "status": "running"}"#).unwrap();
    let swept = root.sweep().unwrap();
    assert_eq!(swept.iter().map(|run| &*run.id).collect::<Vec<_>>(), [dead.id()]);
    assert_eq!(swept[0].status, RunStatus::Incomplete);
    assert_eq!(alive.dir().truth().unwrap().status, RunStatus::Running);
    assert_eq!(fs::read_dir(other).unwrap().count(), 1);
    assert_eq!(root.sweep().unwrap(), []);
}

#[test]
fn failed_manifests_leave_the_old_one() {
    for fault in ["manifest-write:full", "manifest-rename:error"] {
        let folder = folder();
        let (root, owned) = begin(folder.path(), 1);
        let run = owned.dir().clone();
        write_rows(&owned, 1..=1);
        let fold = crate::tests::fold(&owned, 1);
        inject(fault);
        let error = owned.finish(end(None), &fold).unwrap_err();
        inject("");
        assert!(error.error.to_string().contains("benchmark.json"), "{error:?}");
        assert_eq!(error.manifest.status, RunStatus::Completed);
        // The rows are complete, so the truth is the status that the session could not write.
        assert_eq!(run.truth().unwrap().status, RunStatus::Completed);
        assert_eq!(root.sweep().unwrap().len(), 1);
    }
}

#[test]
fn a_birth_that_fails_is_no_run() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    for fault in ["lock:error", "manifest-write:full", "manifest-rename:error"] {
        inject(fault);
        root.create(new_run(1)).unwrap_err();
        inject("");
        let folders = fs::read_dir(folder.path()).unwrap();
        let mut folders = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir());
        assert!(folders.next().is_none(), "{fault} leaves a folder");
    }
    // A loss of power can leave the name of a manifest without its content.
    let empty = folder.path().join("2026-11-20_09-18-04-015-basic-6ba42b73");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("benchmark.json"), "").unwrap();
    let runs = root.runs().unwrap();
    assert_eq!((runs.runs.len(), runs.unreadable), (0, vec![]));
    assert!(matches!(root.find("latest"), Err(RecordError::Unknown { .. })));
}

#[test]
fn removed_run_is_not_reported_completed() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 1);
    fs::remove_dir_all(owned.dir().path()).unwrap();
    let fold = Fold::new(1);
    let unwritten = owned.finish(end(None), &fold).unwrap_err();
    assert!(matches!(*unwritten.error, RecordError::Io { .. }), "{unwritten:?}");
    let manifest = unwritten.manifest;
    assert_eq!((manifest.status, manifest.reason), (RunStatus::Incomplete, Some(Reason::Storage)));
}

#[test]
fn removed_run_no_longer_exists() {
    use crate::{PrunePolicy, RequestMode, actor};
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 1);
    let by = actor(None);
    fs::rename(run.path(), folder.path().join("gone")).unwrap();
    let gone = run.root.dir("gone").unwrap();
    gone.clear(&[]).unwrap();
    let is_removed = |error: Option<RecordError>| {
        assert!(matches!(error, Some(RecordError::Removed { .. })), "{error:?}");
    };
    is_removed(run.manifest().err());
    is_removed(run.truth().err());
    is_removed(run.verify(None).err());
    is_removed(run.runner_log(0).err());
    is_removed(root.claim(&run).err());
    is_removed(root.ask(&run, RequestMode::Stop, &by).err());
    is_removed(root.unpause(&run).err());
    assert_eq!(root.sweep().unwrap(), []);
    let policy = PrunePolicy { keep_last: Some(0), ..PrunePolicy::default() };
    assert!(root.prune(&policy, false, crate::now()).unwrap().problems.is_empty());
}

#[test]
fn unwritten_end_is_in_the_last_words() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    write_rows(&owned, 1..=1);
    let fold = crate::tests::fold(&owned, 2);
    inject("manifest-write:full");
    let unwritten = owned.finish(end(Some(Reason::Interrupted)), &fold).unwrap_err();
    inject("");
    let truth = run.truth().unwrap();
    assert_eq!((truth.status, truth.reason), (RunStatus::Incomplete, Some(Reason::Storage)));
    let ended = unwritten.manifest;
    assert_eq!(
        (ended.status, ended.reason, &ended.message),
        (truth.status, truth.reason, &truth.message)
    );
    // The next claim removes what a writer left that was killed.
    fs::write(run.path().join(".new-benchmark.json"), "half").unwrap();
    root.claim(&run).unwrap();
    assert!(!run.path().join(".new-benchmark.json").exists());
    assert_eq!(run.manifest().unwrap().reason, Some(Reason::Storage));
}

#[test]
fn lines_of_the_log_cannot_be_forged() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 1);
    owned.log("one\n2026-11-20T09:18:04.015Z forged \u{1b}[2J");
    let log = fs::read_to_string(owned.dir().path().join("runner.log")).unwrap();
    assert_eq!(log.lines().count(), 2);
    assert!(log.ends_with("Z one\\n2026-11-20T09:18:04.015Z forged \\u{1b}[2J\n"), "{log}");
}

#[test]
fn each_session_says_what_it_kept_open() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 1);
    let (mut rows, acks) = writer(&owned);
    let mut draft = owned.artifact_draft().unwrap();
    std::io::Write::write_all(&mut draft, b"large").unwrap();
    let digest = runner_model::digest(b"large");
    rows.row(row(1, 1, Outcome::Passed), tail(true), None, vec![(digest, draft)]);
    rows.close().unwrap();
    assert!(matches!(acks.recv().unwrap(), crate::Ack::Written { .. }));
    let artifact = owned.dir().artifact(&digest).unwrap();
    assert_eq!(std::io::read_to_string(artifact).unwrap(), "large");
    let path = owned.dir().path().join("artifacts").join(digest.path());
    fs::write(path, "other").unwrap();
    assert!(owned.dir().artifact(&digest).is_err());

    // Suites and plugins in the same way.
    let digest = root.keep_bytes(b"suite").unwrap();
    let mut draft = root.draft().unwrap();
    std::io::Write::write_all(&mut draft, b"suite").unwrap();
    root.keep(draft, &digest).unwrap();
    assert_eq!(std::io::read_to_string(root.content(&digest).unwrap()).unwrap(), "suite");
    let path = folder.path().join("store").join(digest.path());
    fs::write(&path, "damaged").unwrap();
    let error = root.content(&digest).unwrap_err().to_string();
    assert!(error.contains(&digest.to_string()), "{error}");
    root.keep_bytes(b"suite").unwrap();
    assert_eq!(fs::read(path).unwrap(), b"suite");
    inject("store-keep:full");
    let error = root.keep_bytes(b"other").unwrap_err().to_string();
    inject("");
    assert!(error.contains("space"), "{error}");
    drop(root.create(new_run(1)).unwrap());
}

#[test]
fn snapshot_is_read_again_after_a_start() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 3, 2);
    let mut owned = Some(root.claim(&run).unwrap());
    let mut reads = 0;
    let sessions = run.snapshot(|| {
        reads += 1;
        let before = run.manifest()?.sessions.len();
        if let Some(owned) = &mut owned
            && reads == 1
        {
            owned.open_session(session("resume"), None)?;
        }
        // Also an error counts only if nothing has changed meanwhile.
        if reads == 1 { Err(run.dir.refuse(".", "a row of another run")) } else { Ok(before) }
    });
    assert_eq!((sessions.unwrap(), reads), (2, 2));
}

#[test]
fn rows_replaced_before_the_end_are_not_counted() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let (mut writer, acks) = writer(&owned);
    for repeat in 1..=2 {
        writer.row(row(repeat, 1, Outcome::Passed), tail(true), None, Vec::new());
    }
    let mut written = 0;
    while written < 2 {
        let Ack::Written { lines, .. } = acks.recv().unwrap() else { panic!("a write failed") };
        written += lines.split(|byte| *byte == b'\n').count() - 1;
    }
    let all = fold(&owned, 2);
    let path = owned.dir().path().join("index.jsonl");
    let rows = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, rows.lines().next().unwrap().to_owned() + "\n").unwrap();
    writer.close().unwrap_err();
    let (run, mut owned) = (owned.dir().clone(), owned);
    owned.distrust_rows();
    let (told, _) = owned.finish(end(None), &all).unwrap();
    assert_eq!(told.status, RunStatus::Completed);
    assert_eq!(told.verdict, RunVerdict::Damaged);
    assert_eq!(root.runs().unwrap().runs[0].verdict, RunVerdict::Damaged);
    assert_eq!(run.truth().unwrap(), told);
}
