use std::{
    collections::HashMap,
    os::unix::net::UnixStream,
    sync::{Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use runner_model::{Micros, TaskId, protocol::FromWorker};
use runner_prepare::children;

use super::{FrameBuffer, Liveness, WorkerShared};
use crate::clock::monotonic;

/// Returns a few bytes per read.
struct Drops<'a>(&'a [u8], usize);

impl std::io::Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(self.0.len()).min(into.len());
        let (now, later) = self.0.split_at(length);
        into[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

fn frames(bytes: &[u8], at_once: usize) -> Result<Vec<FromWorker>, String> {
    let (mut drops, mut frames, mut all) =
        (Drops(bytes, at_once), FrameBuffer::default(), Vec::new());
    while frames.fill(&mut drops).unwrap() > 0 {
        while let Some(message) = frames.next().map_err(|bad| bad.to_string())? {
            all.push(message);
        }
    }
    Ok(all)
}

#[test]
fn frames_are_whole_however_they_are_cut() {
    let messages = [
        FromWorker::Log("x".repeat(50_000)),
        FromWorker::Bye,
        FromWorker::Artifact { task: TaskId(7), index: 1, bytes: vec![9; 200_000] },
        FromWorker::Returned(Vec::new()),
    ];
    let mut bytes = Vec::new();
    for message in &messages {
        message.encode(&mut bytes);
    }
    for at_once in [1, 7, 65_536, 1_000_000] {
        assert_eq!(frames(&bytes, at_once).unwrap(), messages, "{at_once}");
    }
    // An incomplete frame is not returned.
    bytes.pop();
    assert_eq!(frames(&bytes, 4096).unwrap().len(), 3);
}

#[test]
fn invalid_frames_are_refused() {
    for (bad, says) in [
        (&[0, 0, 0, 0, 1][..], "unknown kind 1"),
        (&[255, 255, 255, 255, 71], "more than"),
        (&[1, 0, 0, 0, 74, 0], "cannot be decoded"),
    ] {
        let error = frames(bad, 100).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn workers_must_end_tasks_in_time() {
    let shared = WorkerShared {
        process: Mutex::default(),
        socket: UnixStream::pair().unwrap().0,
        slots: children::memory_file("slots", b"").unwrap(),
        stderr: children::memory_file("stderr", b"").unwrap(),
        tasks: Mutex::default(),
        is_paused: AtomicBool::new(false),
    };
    // This holds whatever the worker sends and its slots contain.
    let is_given_up = |tasks: HashMap<TaskId, Micros>, ended_at, steady_since| {
        *shared.tasks.lock().unwrap() = tasks;
        let mut liveness = Liveness {
            checked: Instant::now() - Duration::from_millis(300),
            received: Instant::now(),
            doing: Vec::new(),
            doing_at: 0,
            ended_at,
            steady_since,
        };
        shared.check_liveness(&mut liveness, false).is_some()
    };
    let tasks = |seconds: u64| HashMap::from([(TaskId(1), Micros(seconds * 1_000_000))]);
    let now = monotonic();
    // A machine that stands still in the check looks like a suspension.
    assert!((0..5).any(|_| is_given_up(tasks(1), 0, 0)));
    assert!(!is_given_up(tasks(1), now, 0));
    assert!(!is_given_up(tasks(1), 0, now));
    assert!(!is_given_up(tasks(now / 1_000_000), 0, 0));
    assert!(!is_given_up(HashMap::new(), 0, 0));
}
