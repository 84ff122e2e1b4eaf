//! Requests to an owner, and to a run without one.

use std::{fs, thread, time::Duration};

use runner_model::{Reason, RunStatus};

use super::{Answer, POLL_EVERY, RequestMode};
use crate::{
    End, actor,
    tests::{begin, dead_run, fold, folder, session},
};

fn end(reason: Reason) -> End {
    End { reason: Some(reason), ..End::default() }
}

#[test]
fn requests_come_by_their_strength() {
    use RequestMode::{Cancel, Drain, Kill, Pause, Stop};
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    let requests = owned.requests();
    thread::scope(|scope| {
        for mode in [Kill, Drain, Cancel, Pause, Stop] {
            let (root, run) = (root.clone(), run.clone());
            scope.spawn(move || root.ask(&run, mode, &actor(Some("why".into()))));
        }
        while requests.pending().len() < 5 {
            thread::sleep(Duration::from_millis(1));
        }
        let modes: Vec<_> = requests.pending().iter().map(|one| one.mode).collect();
        assert_eq!(modes, [Pause, Drain, Stop, Cancel, Kill]);
        assert!(modes.is_sorted());
        let fold = fold(&owned, 2);
        owned.finish(end(Reason::Cancelled), &fold).unwrap();
    });
    assert!(requests.pending().is_empty());
    let left = fs::read_dir(run.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("request")).count(), 0);
}

#[test]
fn a_request_of_an_earlier_holder_is_ignored() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    let asking = {
        let (root, run) = (root.clone(), run.clone());
        thread::spawn(move || root.ask(&run, RequestMode::Stop, &actor(None)))
    };
    let requests = owned.requests();
    while requests.pending().is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    let name = run.path().join("request-stop.json");
    let request = fs::read(&name).unwrap();
    let fold = fold(&owned, 2);
    owned.finish(end(Reason::Stopped), &fold).unwrap();
    assert_eq!(asking.join().unwrap().unwrap(), Answer::Stopped);

    let mut owned = root.claim(&run).unwrap();
    owned.open_session(session("resume"), None).unwrap();
    fs::write(&name, request).unwrap();
    assert!(owned.requests().pending().is_empty());
    fs::write(&name, "{").unwrap();
    assert!(owned.requests().pending().is_empty());
}

#[test]
fn stop_reaches_a_session_being_opened() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 1);
    for opens in [true, false] {
        let mut owned = root.claim(&run).unwrap();
        let requests = owned.requests();
        let asking = {
            let (root, run) = (root.clone(), run.clone());
            thread::spawn(move || root.ask(&run, RequestMode::Stop, &actor(None)))
        };
        while requests.pending().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        if opens {
            owned.open_session(session("resume"), None).unwrap();
            assert_eq!(owned.requests().pending().len(), 1);
            let fold = fold(&owned, 2);
            owned.finish(end(Reason::Stopped), &fold).unwrap();
        } else {
            drop(owned);
        }
        let answer = asking.join().unwrap().unwrap();
        let expected = [Answer::AlreadyTerminal, Answer::Stopped];
        assert_eq!(answer, expected[usize::from(opens)]);
    }
}

#[test]
fn request_without_patience_reaches_a_new_holder() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    let (lock, requests) = (run.path().join("lock"), owned.requests());
    let holder = fs::read(&lock).unwrap();
    // As between taking the lock and writing the token.
    fs::write(&lock, "").unwrap();
    let asking =
        thread::spawn(move || root.ask_for(&run, RequestMode::Stop, &actor(None), Duration::ZERO));
    thread::sleep(2 * POLL_EVERY);
    fs::write(&lock, holder).unwrap();
    assert_eq!(asking.join().unwrap().unwrap(), Answer::Stopping);
    assert_eq!(requests.pending().len(), 1);
}

#[test]
fn a_run_without_a_process_is_cancelled_once() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 1);
    let by = actor(Some("wrong model".into()));
    let ask = |mode| root.ask(&run, mode, &by).unwrap();
    assert_eq!(ask(RequestMode::Pause), Answer::AlreadyTerminal);
    assert_eq!(run.manifest().unwrap().status, RunStatus::Running);
    assert_eq!(ask(RequestMode::Stop), Answer::AlreadyTerminal);
    let swept = run.manifest().unwrap();
    assert_eq!(swept.reason, Some(Reason::Crashed));
    assert_eq!(ask(RequestMode::Cancel), Answer::Cancelled);
    let cancelled = run.manifest().unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    assert_eq!(cancelled.message, by.reason);
    assert_eq!(cancelled.transitions.last().unwrap().by, Some(by.clone()));
    assert_eq!(cancelled.sessions, swept.sessions);
    let text = fs::read(run.path().join("benchmark.json")).unwrap();
    for mode in [RequestMode::Cancel, RequestMode::Stop, RequestMode::Kill] {
        assert_eq!(ask(mode), Answer::AlreadyTerminal);
    }
    assert_eq!(root.unpause(&run).unwrap(), Answer::AlreadyTerminal);
    assert_eq!(fs::read(run.path().join("benchmark.json")).unwrap(), text);
}

#[test]
fn a_completed_run_is_not_cancelled() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 2);
    let ask = |mode| root.ask(&run, mode, &actor(None)).unwrap();
    // The request completes the dead run, because all its rows are on disk.
    assert_eq!(ask(RequestMode::Cancel), Answer::AlreadyTerminal);
    assert_eq!(run.manifest().unwrap().status, RunStatus::Completed);
    assert_eq!(ask(RequestMode::Cancel), Answer::Refused);
}

#[test]
fn pauses_are_kept_and_end_with_the_session() {
    let folder = folder();
    let (root, mut owned) = begin(folder.path(), 2);
    let run = owned.dir().clone();
    let by = actor(Some("a meeting".into()));
    for _ in 1..=101 {
        owned.note_pause(true, Some(by.clone())).unwrap();
        assert_eq!(run.manifest().unwrap().paused().unwrap().by, Some(by.clone()));
        owned.note_pause(false, None).unwrap();
        assert_eq!(run.manifest().unwrap().paused(), None);
    }
    owned.note_pause(true, None).unwrap();
    assert_eq!(root.ask(&run, RequestMode::Pause, &by).unwrap(), Answer::AlreadyPaused);
    drop(owned);
    let truth = run.truth().unwrap();
    assert_eq!(truth.paused(), None);
    let pauses = &truth.sessions[0].pauses;
    assert_eq!(pauses.len(), 100);
    assert!(pauses.iter().all(|pause| pause.to >= Some(pause.from)));
    let owned = root.claim(&run).unwrap();
    assert_eq!(owned.manifest().status, RunStatus::Incomplete);
    assert_eq!(fold(&owned, 2).last_seq(), 0);
}
