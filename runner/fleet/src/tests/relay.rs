use std::sync::atomic::Ordering;

use runner_model::prepare::{Described, Problem, Ready, RefusedPart};
use runner_model::protocol::{FromWorker, Hello, ReportHead, Task};
use runner_model::{Digest, ErrorClass, Micros, TaskId, TrialId};

use super::{Content, LocalEvent, MAX_TASK_BYTES, MAX_TASKS, ProcessTasks};

fn task(id: u64, bytes: u32) -> Task {
    Task::new(TaskId(id), TrialId::parse("a@p#1").unwrap(), Micros(1), bytes as usize)
}

fn report(id: u64) -> FromWorker {
    let head = ReportHead { task: TaskId(id), row_bytes: 0, log_bytes: 0, host_fault: None };
    FromWorker::Report { head, body: Vec::new() }
}

fn handled(tasks: &ProcessTasks, message: &FromWorker) -> (bool, Option<LocalEvent>) {
    let mut local = Vec::new();
    let is_forwarded = tasks.handle(message, &mut local);
    assert!(local.len() <= 1);
    (is_forwarded, local.pop())
}

#[test]
fn reports_and_returned_tasks_are_forwarded() {
    let tasks = ProcessTasks::default();
    assert!(tasks.add(&[task(1, 10), task(2, 10), task(3, 10)]));
    assert!(handled(&tasks, &report(2)).0);
    assert!(handled(&tasks, &FromWorker::Returned(vec![TaskId(3)])).0);
    assert!(!tasks.is_empty());
    assert!(handled(&tasks, &report(1)).0);
    assert!(tasks.is_empty());
}

#[test]
fn stopping_process_keeps_returned_tasks_to_itself() {
    let tasks = ProcessTasks::default();
    assert!(tasks.add(&[task(1, 10), task(2, 10)]));
    tasks.is_stopping.store(true, Ordering::Release);
    assert!(!handled(&tasks, &FromWorker::Returned(vec![TaskId(2)])).0);
    assert!(!handled(&tasks, &FromWorker::Bye).0);
    assert!(!tasks.is_empty());
    assert!(handled(&tasks, &report(1)).0);
    assert!(tasks.is_empty());
}

#[test]
fn requests_and_problems_stay_on_the_workers_machine() {
    let (tasks, digest) = (ProcessTasks::default(), Digest([7; 32]));
    let needs = handled(&tasks, &FromWorker::NeedPlugin(digest));
    assert!(matches!(needs, (false, Some(LocalEvent::Needs(Content::Plugin(_))))));
    let needs = handled(&tasks, &FromWorker::NeedBlob(digest));
    assert!(matches!(needs, (false, Some(LocalEvent::Needs(Content::Blob(_))))));
    let hello = Hello { version: "1".to_owned(), compile_key: "key".to_owned() };
    assert!(matches!(
        handled(&tasks, &FromWorker::Hello(hello)),
        (true, Some(LocalEvent::Hello(_)))
    ));
    let mut ready = Ready::default();
    assert!(matches!(
        handled(&tasks, &FromWorker::Ready(ready.clone())),
        (true, Some(LocalEvent::Ready))
    ));
    let problem = Problem {
        class: ErrorClass::Protocol,
        code: "cache".to_owned(),
        message: "cannot be read".to_owned(),
        refused: RefusedPart::default(),
    };
    ready.providers.push(Described { provider: 0, description: None, problem: Some(problem) });
    let (is_forwarded, event) = handled(&tasks, &FromWorker::Ready(ready));
    let Some(LocalEvent::Problem(why)) = event else { panic!("no problem") };
    assert_eq!((is_forwarded, &*why), (false, "on the worker's machine, a plugin cannot be read"));
}

#[test]
fn flood_of_tasks_is_refused() {
    let many: Vec<_> = (1..=MAX_TASKS as u64 + 1).map(|id| task(id, 1)).collect();
    assert!(ProcessTasks::default().add(&many[..MAX_TASKS]));
    assert!(!ProcessTasks::default().add(&many));
    assert!(!ProcessTasks::default().add(&[task(1, MAX_TASK_BYTES as u32), task(2, 1)]));
}
