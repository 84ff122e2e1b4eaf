//! The cost of a trial with many workers. Prints it, and checks that a session with a thousand workers ends.

use std::collections::VecDeque;
use std::env;

use rustix::time::{ClockId, clock_gettime};

use runner_model::{RunTime, TaskId, WorkerId};

use super::harness::{FRESH, bounds, read, row, session};
use super::{Effect, Next, Pending, Policy, Schedule, ScheduleSettings, Shape, Spending, Trials};

const SLOTS: u32 = 16;
/// Reports between two decisions, as of a few frames.
const REPORTS: usize = 256;

/// Trials of one provider, all pending.
struct Line(u64);

impl Trials for Line {
    fn next_pending(&self, provider: Option<u16>, from: u64) -> Option<Pending> {
        let (attempts, had_bad) = FRESH;
        (provider == Some(0) && from < self.0).then_some(Pending { trial: from, attempts, had_bad })
    }
}

/// Runs all trials, and returns the processor time of the schedule for each, in nanoseconds.
fn run(workers: u32, trials: u64) -> u64 {
    let settings = ScheduleSettings {
        session: session(u32::MAX),
        planned: trials,
        providers: vec![bounds(0)],
        spending: Spending::default(),
    };
    let line = Line(trials);
    let mut schedule = Schedule::new(settings, trials, &line);
    let shape = Shape { slots: SLOTS, graders: 0, memory: 1 << 40 };
    for worker in 1..=workers {
        schedule
            .apply(RunTime(0), |schedule| schedule.worker_ready(WorkerId(worker), shape, false));
    }
    let (row, policy) = (row("passed", 100.0, None), Policy::default());
    let row = read(&row);
    let (mut now, mut at_workers, mut ended) =
        (RunTime(0), VecDeque::<(WorkerId, TaskId)>::new(), 0);
    let before = clock_gettime(ClockId::ThreadCPUTime);
    while ended < trials {
        for effect in schedule.apply(now, |schedule| schedule.tick(&line)) {
            if let Effect::Send { worker, assignment } = effect {
                at_workers.push_back((worker, assignment.task));
            }
        }
        now = RunTime(now.0 + 1_000);
        for _ in 0..REPORTS.min(at_workers.len()) {
            let (worker, task) = at_workers.pop_front().unwrap();
            let report = |schedule: &mut Schedule| {
                schedule.report(worker, task, &row, Next::Nothing, None, &policy);
            };
            ended += schedule.apply(now, report).len() as u64;
        }
        schedule.apply(now, |schedule| schedule.acked(0, 0));
    }
    let after = clock_gettime(ClockId::ThreadCPUTime);
    let nanos =
        |time: rustix::time::Timespec| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    let effects = schedule.apply(now, |schedule| schedule.tick(&line));
    assert!(matches!(effects[..], [Effect::Finish { reason: None, .. }]), "{effects:?}");
    (nanos(after) - nanos(before)) / trials
}

#[test]
#[allow(clippy::print_stdout, reason = "`--nocapture` shows the figures")]
fn thousand_workers_end_all_trials() {
    let is_full = env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let trials = if is_full { 10_000_000 } else { 50_000 };
    let (two, thousand) = (run(2, trials), run(1_000, trials));
    println!(
        "2 workers: {two} ns a trial; 1,000 workers: {thousand} ns, {:.2} times",
        thousand as f64 / two as f64
    );
}
