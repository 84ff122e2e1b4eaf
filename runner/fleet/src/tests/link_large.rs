//! Measures the coordinator's processor time per trial and its memory, with links to 2 and to 1,000 workers.

use std::env;
use std::time::{Duration, Instant};

use runner_model::protocol::{FrameBuffer, FromWorker, ReportHead, Task, ToWorker};
use runner_model::{Micros, TaskId, TrialId};
use rustix::time::{ClockId, clock_gettime};

use super::Window;
use crate::wire::{Kind, Piece};

/// Number of tasks or reports in a frame, as between the schedule and a busy worker.
const BATCH: u64 = 64;
const LINE: &[u8] = br#"{"id":"greeting","input":"hello","expect":{"equals":"hello"}}"#;
const ROW: &[u8] = br#"{"v":4,"trial":"greeting@echo#1","attempt":1,"outcome":"passed","started_at":"2026-11-20T09:18:04.015Z","duration_ms":0.05,"output":"hello","checks":[{"kind":"equals","verdict":"pass"}],"usage":{"peak_memory":65536}}"#;

fn tasks(first: u64) -> ToWorker {
    let trial = TrialId::parse("greeting@echo#1").unwrap();
    let task = |id| Task {
        seed: 1,
        ..Task::new(TaskId(id), trial.clone(), Micros(60_000_000), LINE.len())
    };
    ToWorker::Tasks {
        tasks: (first..first + BATCH).map(task).collect(),
        body: LINE.repeat(BATCH as usize),
    }
}

fn reports(first: u64) -> Vec<u8> {
    let mut frames = Vec::new();
    for task in first..first + BATCH {
        let head = ReportHead {
            task: TaskId(task),
            row_bytes: ROW.len() as u32,
            log_bytes: 0,
            host_fault: None,
        };
        FromWorker::Report { head, body: ROW.to_vec() }.encode(&mut frames);
    }
    frames
}

fn transfer(from: &mut Window, to: &mut Window, now: Instant) {
    while let Some(message) = from.next_message(now) {
        to.receive(&Piece::decode(&message).unwrap(), now);
    }
}

/// Sends all trials to the workers in turn, and receives the reports. Returns the coordinator's processor time per trial, in
/// nanoseconds.
fn run(workers: usize, trials: u64) -> u64 {
    let start = Instant::now();
    let link = |_| (Window::new(start), FrameBuffer::<FromWorker>::default(), Window::new(start));
    let mut links: Vec<_> = (0..workers).map(link).collect();
    let (reports, mut now, mut ended, mut spent) = (reports(1), start, 0, Duration::ZERO);
    for round in 0..trials / BATCH {
        // Long enough that all receipts are due.
        now += Duration::from_millis(5);
        let (coordinator, frames, worker) = &mut links[round as usize % workers];
        worker.send(Kind::Frames, &reports);
        let before = processor_time();
        transfer(worker, coordinator, now);
        while let Some((Kind::Frames, bytes)) = coordinator.take(now) {
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                frames.fill(&mut bytes).unwrap();
                while let Some(message) = frames.next().unwrap() {
                    ended += u64::from(matches!(message, FromWorker::Report { .. }));
                }
            }
        }
        let mut sent = Vec::new();
        tasks(round * BATCH + 1).encode(&mut sent);
        coordinator.send(Kind::Frames, &sent);
        transfer(coordinator, worker, now + Duration::from_millis(5));
        spent += processor_time() - before;
        while worker.take(now).is_some() {}
        transfer(worker, coordinator, now + Duration::from_millis(10));
        now += Duration::from_millis(10);
    }
    assert_eq!(ended, trials / BATCH * BATCH);
    (spent.as_nanos() / u128::from(ended)) as u64
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the peak memory of this process, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
#[allow(clippy::print_stdout, reason = "`--nocapture` shows the figures")]
fn thousand_links_carry_all_reports() {
    let is_full = env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let trials = if is_full { 10_000_000 } else { 64_000 };
    let two = run(2, trials);
    let before = peak_memory();
    let thousand = run(1_000, trials);
    println!(
        "links to 2 workers: {two} ns a trial; to 1,000 workers: {thousand} ns, {:.2} times, and {} MiB of memory",
        thousand as f64 / two as f64,
        peak_memory() - before
    );
}
