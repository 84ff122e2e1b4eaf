//! Bounds of a session: rates, fail-fast, budgets and memory.

use runner_model::{
    Budgets, FailFast, HostFault, Micros, Outcome, Reason, TaskId, WorkerId, provider::Rate,
};

use super::{
    Bounds, Effect, ScheduleSettings, Spending,
    effect::Waiting,
    harness::{Harness, Sent, bounds, finish, ms, retries, row, sent, settings, trials},
};

const MIB: u64 = 1 << 20;

fn with_rate(rate: &str) -> Bounds {
    Bounds { rate: Rate::parse(rate), ..bounds(0) }
}

fn with_memory(mib: u64) -> Bounds {
    Bounds { memory: mib * MIB, ..bounds(0) }
}

fn settings_with(providers: &[Bounds]) -> ScheduleSettings {
    ScheduleSettings { providers: providers.to_vec(), ..settings(&[]) }
}

/// Returns a passed row with a memory peak and the metric `m`.
fn passed(peak: u64, m: f64) -> String {
    let row = row("passed", 1e4, None);
    let row = row.replace(r#""usage":{}"#, &format!(r#""usage":{{"peak_memory":{peak}}}"#));
    let row = row.strip_suffix('}').unwrap();
    format!(r#"{row},"metrics":[{{"name":"m","value":{m:?}}}]}}"#)
}

fn ready(harness: &mut Harness, worker: u32, slots: u32, mib: u64) -> Vec<Sent> {
    harness.add_worker(worker, slots, mib * MIB, false);
    sent(&harness.tick())
}

fn waiting(harness: &Harness) -> Vec<(u64, &'static str, u64)> {
    let waiting = harness.schedule.waiting();
    let plain = |waiting: Waiting| (waiting.trial, waiting.why, waiting.until.0 / 1_000);
    waiting.map(plain).collect()
}

fn ended(reason: Reason, message: &str) -> Effect {
    Effect::Finish { reason: Some(reason), message: Some(message.to_owned()) }
}

#[test]
fn rate_spaces_starts_of_its_provider_only() {
    // Trials are a b a b a b.
    let mut harness = Harness::new(settings_with(&[with_rate("10/s"), bounds(0)]), 3);
    assert_eq!(trials(&harness.ready(1, 8, false)), [0, 1, 3, 5]);
    assert_eq!(harness.schedule.wake_at(), Some(ms(100)));
    assert_eq!(waiting(&harness), [(2, "rate-limit", 100)]);
    assert_eq!(harness.tick_at(99), []);
    assert_eq!(trials(&sent(&harness.tick_at(107))), [2]);
    // The next start catches up on a few milliseconds.
    assert_eq!(harness.schedule.wake_at(), Some(ms(200)));
    assert_eq!(trials(&sent(&harness.tick_at(200))), [4]);
    assert_eq!(waiting(&harness), []);
}

#[test]
fn retries_count_as_starts_of_their_rate() {
    let mut harness = Harness::new(settings_with(&[with_rate("10/s")]), 2);
    harness.policy = retries(1, 30);
    let first = harness.ready(1, 2, false);
    harness.now = ms(10);
    harness.report(1, first[0].task, &row("unavailable", 10.0, None));
    assert_eq!(waiting(&harness), [(0, "retry", 40), (1, "rate-limit", 100)]);
    assert_eq!(harness.schedule.wake_at(), Some(ms(40)));
    assert_eq!(harness.tick_at(40), []);
    assert_eq!(waiting(&harness), [(0, "rate-limit", 100)]);
    assert_eq!(trials(&sent(&harness.tick_at(100))), [0]);
    assert_eq!(trials(&sent(&harness.tick_at(200))), [1]);
}

#[test]
fn stop_ends_waits_for_a_rate() {
    let mut harness = Harness::new(settings_with(&[with_rate("1/h")]), 2);
    let first = harness.ready(1, 1, false);
    harness.stop(super::StopMode::Drain);
    assert_eq!((waiting(&harness), harness.schedule.wake_at()), (vec![], Some(ms(3_600_000))));
    harness.pass(1, first[0].task, 1.0);
    assert_eq!(harness.ack(), [finish(Some(Reason::Interrupted))]);
}

#[test]
fn fail_fast_lets_running_attempts_finish() {
    let mut settings = settings(&[0]);
    settings.session.fail_fast = FailFast::Count(2);
    let mut harness = Harness::new(settings, 100);
    harness.policy = retries(1, 0);
    let first = harness.ready(1, 2, false);
    harness.report(1, first[0].task, &row("failed", 0.01, None));
    // It will be retried, so it has not ended badly yet.
    harness.report(1, first[1].task, &row("unavailable", 0.01, None));
    let next = sent(&harness.tick());
    assert_eq!(trials(&next), [1, 2], "no task waits that may not start");
    let effects = harness.report(1, next[0].task, &row("timeout", 0.01, None));
    let keep = Effect::TakeBack { worker: WorkerId(1), keep: 0 };
    assert_eq!(effects[1..], [keep]);
    assert_eq!(harness.tick(), []);
    harness.pass(1, next[1].task, 1.0);
    let message = "2 trials did not pass, which is the limit of `fail_fast`";
    assert_eq!(harness.ack(), [ended(Reason::FailFast, message)]);
}

#[test]
fn fail_fast_counts_unexpected_results() {
    // A test that is known to fail, and one that is not.
    for [unexpected, expected] in [["passed", "failed"], ["failed", "passed"]] {
        let mut settings = settings(&[0]);
        settings.session.fail_fast = FailFast::Count(2);
        let mut harness = Harness::new(settings, 100);
        let unexpected_outcome = Outcome::parse(unexpected).unwrap();
        harness.policy.unexpected = Some(vec![unexpected_outcome, Outcome::Timeout]);
        let mut tasks = harness.ready(1, 1, false);
        for outcome in [expected, unexpected, expected, "timeout"] {
            let task = tasks.remove(0).task;
            harness.report(1, task, &row(outcome, 0.01, None));
            tasks.extend(sent(&harness.tick()));
        }
        for sent in tasks {
            harness.report(1, sent.task, &row(expected, 0.01, None));
        }
        let message = "2 trials did not pass, which is the limit of `fail_fast`";
        assert_eq!(harness.ack(), [ended(Reason::FailFast, message)]);
    }
}

#[test]
fn fail_fast_at_last_trial_is_no_early_end() {
    let mut settings = settings(&[0]);
    settings.session.fail_fast = FailFast::Count(1);
    let mut harness = Harness::new(settings, 1);
    let first = harness.ready(1, 1, false);
    harness.report(1, first[0].task, &row("failed", 1.0, None));
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn budget_of_the_run_counts_all_attempts() {
    let mut settings = settings_with(&[bounds(0), bounds(0)]);
    let mut budgets = Budgets::default();
    budgets.add("m=10").unwrap();
    settings.spending = Spending::new(&budgets, &["a", "b"]).unwrap();
    let mut harness = Harness::new(settings, 100);
    let first = harness.ready(1, 2, false);
    harness.report(1, first[0].task, &passed(0, 4.0));
    let second = sent(&harness.tick());
    assert_eq!(trials(&second), [2], "no task waits at workers");
    harness.report(1, first[1].task, &passed(0, 6.0));
    assert_eq!(harness.tick(), []);
    harness.report(1, second[0].task, &passed(0, 6.0));
    let message = "the budget of `m` is used up: 10 of 10";
    assert_eq!(harness.ack(), [ended(Reason::Budget, message)]);
    assert_eq!(harness.schedule.left(), 197);
}

#[test]
fn budget_of_a_provider_ends_only_that_provider() {
    let mut settings = settings_with(&[bounds(0), bounds(0)]);
    let mut budgets = Budgets::default();
    budgets.add("a:m=1").unwrap();
    settings.spending = Spending::new(&budgets, &["a", "b"]).unwrap();
    // Trials are a b a b a b.
    let mut harness = Harness::new(settings, 3);
    harness.policy = retries(1, 100);
    let first = harness.ready(1, 1, false);
    harness.report(1, first[0].task, &passed(0, 1.5));
    for trial in [1, 3, 5] {
        let next = sent(&harness.tick());
        assert_eq!(trials(&next), [trial]);
        harness.report(1, next[0].task, &passed(0, 7.0));
    }
    let message = "the budget of `m` of `a` is used up: 1.5 of 1";
    assert_eq!(harness.ack(), [ended(Reason::Budget, message)]);
    assert_eq!(harness.schedule.left(), 2);
}

#[test]
fn used_up_budget_drops_waiting_retries() {
    let mut settings = settings_with(&[bounds(0)]);
    let mut budgets = Budgets::default();
    budgets.add("m=9").unwrap();
    budgets.add("a:m=1").unwrap();
    settings.spending = Spending::new(&budgets, &["a"]).unwrap();
    let mut harness = Harness::new(settings, 2);
    harness.policy = retries(1, 60_000);
    let first = harness.ready(1, 2, false);
    harness.report(1, first[0].task, &row("unavailable", 1.0, None));
    harness.report(1, first[1].task, &passed(0, 1.0));
    let message = "the budget of `m` of `a` is used up: 1 of 1";
    assert_eq!(harness.ack(), [ended(Reason::Budget, message)]);
}

#[test]
fn attempts_run_while_their_memory_fits_together() {
    let mut harness = Harness::new(settings_with(&[with_memory(8)]), 100);
    let mut open = ready(&mut harness, 1, 8, 20);
    assert_eq!(trials(&open), [0, 1]);
    assert!(harness.schedule.waits_for_memory());
    for _ in 0..8 {
        assert_eq!(open.len(), 2);
        let done = open.remove(0);
        harness.report(1, done.task, &passed(2 * MIB, 0.0));
        open.extend(sent(&harness.tick()));
    }
    // From now on 4 MiB are reserved, but 8 for the attempt that was sent before: three more fit.
    assert_eq!(open.len(), 1 + 3);
    for done in open.split_off(0) {
        harness.report(1, done.task, &passed(2 * MIB, 0.0));
    }
    assert_eq!(sent(&harness.tick()).len(), 5);
}

#[test]
fn memory_is_not_counted_if_all_limits_fit() {
    let mut harness = Harness::new(settings_with(&[with_memory(8)]), 100);
    let first = ready(&mut harness, 1, 2, 16);
    assert_eq!(first.len(), 2);
    harness.pass(1, first[0].task, 0.1);
    assert!(sent(&harness.tick()).len() > 30, "tasks wait at the worker");
    assert!(!harness.schedule.waits_for_memory());
}

#[test]
fn full_share_reserves_limit_and_is_no_fault() {
    let mut harness = Harness::new(settings_with(&[with_memory(8)]), 100);
    let mut open = ready(&mut harness, 1, 1, 7);
    for _ in 0..8 {
        harness.report(1, open[0].task, &passed(0, 0.0));
        open = sent(&harness.tick());
        assert_eq!(open.len(), 1);
    }
    let mut harness = Harness::new(settings_with(&[with_memory(8)]), 100);
    let mut open = ready(&mut harness, 1, 4, 16);
    for _ in 0..9 {
        harness.report(1, open.remove(0).task, &passed(0, 0.0));
        open.extend(sent(&harness.tick()));
    }
    open.extend(sent(&harness.tick()));
    assert_eq!(open.len(), 4);
    let stopped = row("stopped", 1.0, None);
    let lacked: Vec<u64> = trials(&open[2..]);
    for lacking in &open[2..] {
        harness.report_fault(1, lacking.task, &stopped, Some(HostFault::Memory));
    }
    // Each of the two needs half of the worker's memory, and the two others hold 1 MiB each.
    let again = sent(&harness.tick());
    assert_eq!(trials(&again)[..1], lacked[..1]);
    assert!(harness.schedule.waits_for_memory());
    // It lacks memory again with its full limit reserved, so it is a fault of the machine.
    let mut task = again[0].task;
    for _ in 0..3 {
        harness.report_fault(1, task, &stopped, Some(HostFault::Memory));
        task = sent(&harness.tick()).first().map_or(TaskId(0), |sent| sent.task);
    }
    assert_eq!(task, TaskId(0), "three faults in a row end the session");
}

#[test]
fn large_attempts_do_not_starve() {
    // Trials alternate between large and small. A large one needs a whole worker.
    let mut harness = Harness::new(settings_with(&[with_memory(8), with_memory(2)]), 200);
    let mut open = ready(&mut harness, 1, 4, 8);
    open.extend(ready(&mut harness, 2, 4, 8));
    // No small attempt takes the memory of the second worker before the next large one.
    assert_eq!(trials(&open), [0, 1]);
    harness.report(2, open[1].task, &passed(0, 0.0));
    assert_eq!(trials(&sent(&harness.tick())), [2]);
    harness.report(1, open[0].task, &passed(0, 0.0));
    assert_eq!(trials(&sent(&harness.tick())), [3]);
}

#[test]
fn slow_trial_does_not_block_waiting_tasks() {
    let mut harness = Harness::new(settings(&[0]), 200);
    let first = harness.ready(1, 1, false);
    harness.pass(1, first[0].task, 0.625);
    let mut waiting: Vec<_> = sent(&harness.tick());
    assert!(waiting.len() > 50);
    // The first task is slow, and the others wait for its slot until another worker is idle.
    let slow = waiting.remove(0);
    let mut open = harness.ready(2, 1, false);
    let mut done = 1;
    let mut idle = 0;
    for _ in 0..10_000 {
        harness.now = harness.now + Micros(100);
        if let Some(next) = (!open.is_empty()).then(|| open.remove(0)) {
            harness.pass(2, next.task, 0.625);
            done += 1;
        }
        for effect in harness.tick() {
            match effect {
                Effect::Send { .. } => {
                    let [next] = sent(&[effect])[..] else { panic!() };
                    let at = if next.worker == 1 { &mut waiting } else { &mut open };
                    at.push(next);
                }
                Effect::TakeBack { worker, keep } => {
                    assert_eq!(worker, WorkerId(1));
                    let back = waiting.split_off((keep as usize).min(waiting.len()));
                    let tasks: Vec<_> = back.iter().map(|sent| sent.task).collect();
                    harness.returned(1, &tasks);
                }
                other => panic!("{other:?}"),
            }
        }
        // Returned tasks are sent in the next step.
        idle = if open.is_empty() { idle + 1 } else { 0 };
        assert!(idle < 3, "the second worker is idle, and {} wait", waiting.len());
        if done == 199 {
            break;
        }
    }
    assert_eq!((done, waiting.len()), (199, 0), "only the slow one is left");
    harness.pass(1, slow.task, 1e3);
    assert_eq!(harness.ack(), [finish(None)]);
}
