//! Each rule of the schedule, step by step.

use std::time::Duration;

use runner_model::{HostFault, Micros, Reason, TaskId, WorkerId};

use super::{
    Blame, Effect, LostReason, RowForm, Schedule, StopMode,
    harness::{
        ALONE, FRESH, Harness, MEMORY, Sent, finish, ms, retries, row, sent, settings, trials,
    },
};

fn written(task: TaskId, is_final: bool, flaky: bool) -> Effect {
    Effect::Write { task, lost: None, form: RowForm::Reported, is_final, flaky }
}

fn take_back(worker: u32, keep: u32) -> Effect {
    Effect::TakeBack { worker: WorkerId(worker), keep }
}

#[test]
fn session_ends_once_all_rows_are_on_disk() {
    let mut harness = Harness::new(settings(&[0]), 2);
    assert_eq!(harness.tick(), []);
    let first = harness.ready(1, 1, false);
    assert_eq!(trials(&first), [0]);
    assert_eq!(harness.pass(1, first[0].task, 1e4), [written(first[0].task, true, false)]);
    let second = sent(&harness.tick());
    harness.pass(1, second[0].task, 1e4);
    assert_eq!(harness.tick(), []);
    harness.acked(1, 9);
    assert_eq!(harness.tick(), []);
    assert_eq!(harness.ack(), [finish(None)]);
    assert_eq!((harness.ack(), harness.schedule.wake_at()), (vec![], None));
}

#[test]
fn session_without_trials_ends_at_once() {
    let mut harness = Harness::with(settings(&[0]), 3, |_| None);
    assert_eq!(harness.tick(), [finish(None)]);
}

#[test]
fn pending_trials_get_free_attempt_numbers() {
    let mut harness = Harness::with(settings(&[0]), 6, |index| match index {
        1 => Some(FRESH),
        3 => Some((62, false)),
        4 => Some((5_000, true)),
        _ => None,
    });
    let sent = harness.ready(1, 8, false);
    let numbers: Vec<_> = sent.iter().map(|sent| (sent.trial, sent.attempt)).collect();
    assert_eq!(numbers, [(1, 1), (3, 63), (4, 5_001)]);
    // A bad attempt of an earlier session makes a pass flaky.
    assert_eq!(harness.pass(1, sent[1].task, 1.0), [written(sent[1].task, true, false)]);
    assert_eq!(harness.pass(1, sent[2].task, 1.0), [written(sent[2].task, true, true)]);
}

#[test]
fn first_trial_of_open_lanes_is_next() {
    // Trials are p0 p1 p2 p0 p1 p2 …; one attempt of p1 at a time.
    let mut harness = Harness::new(settings(&[0, 1, 0]), 4);
    let sent_first = harness.ready(1, 6, false);
    assert_eq!(trials(&sent_first), [0, 1, 2, 3, 5, 6]);
    harness.pass(1, sent_first[1].task, 1e4);
    assert_eq!(trials(&sent(&harness.tick())), [4]);
}

#[test]
fn retries_precede_new_trials() {
    let mut harness = Harness::new(settings(&[0]), 4);
    harness.policy = retries(1, 0);
    let first = harness.ready(1, 2, false);
    harness.report(1, first[1].task, &row("unavailable", 1e4, None));
    harness.pass(1, first[0].task, 1e4);
    let next: Vec<_> =
        sent(&harness.tick()).iter().map(|sent| (sent.trial, sent.attempt)).collect();
    assert_eq!(next, [(1, 2), (2, 1)]);
}

#[test]
fn retries_keep_their_place_in_the_plan() {
    let mut harness = Harness::new(settings(&[0, 0]), 3);
    harness.policy = retries(1, 0);
    let first = harness.ready(1, 4, false);
    assert_eq!(trials(&first), [0, 1, 2, 3]);
    harness.report(1, first[1].task, &row("unavailable", 1e4, None));
    assert_eq!(trials(&sent(&harness.tick())), [1]);
}

#[test]
fn window_follows_the_pace() {
    let mut harness = Harness::new(settings(&[0]), 5_000);
    let first = harness.ready(1, 2, false);
    assert_eq!(first.len(), 2, "no task waits before the first report");
    harness.pass(1, first[0].task, 1.0);
    assert_eq!(sent(&harness.tick()).len(), 1 + 100, "50 ms of work wait for each slot");
    harness.pass(1, first[1].task, 500.0);
    assert_eq!(harness.tick(), [], "slower attempts make it smaller");

    let mut harness = Harness::new(settings(&[0]), 5_000);
    let mut open = harness.ready(1, 1, false);
    let task = open.pop().unwrap().task;
    harness.pass(1, task, 0.002);
    open.extend(sent(&harness.tick()));
    assert_eq!(open.len(), 512, "there is a largest window");
    for sent in open.drain(..63) {
        harness.pass(1, sent.task, 0.002);
    }
    assert_eq!(harness.tick(), [], "few tasks are not worth a frame");
    harness.pass(1, open[0].task, 0.002);
    assert_eq!(sent(&harness.tick()).len(), 64);
}

#[test]
fn trials_are_spread_by_slots() {
    let mut harness = Harness::new(settings(&[0]), 200);
    let one = harness.ready(1, 2, false);
    let two = harness.ready(2, 1, false);
    assert_eq!((one.len(), two.len()), (2, 1));
    harness.pass(1, one[0].task, 0.01);
    harness.pass(2, two[0].task, 0.01);
    let sent = sent(&harness.tick());
    let of_two = sent.iter().filter(|sent| sent.worker == 2).count();
    assert_eq!((sent.len(), of_two), (197, 66), "by their slots");
}

#[test]
fn bounded_lanes_get_slots_without_waiting_tasks() {
    // p0 is fast and fills windows; one attempt of p1 at a time.
    let mut harness = Harness::new(settings(&[0, 1]), 2_000);
    let mut open = harness.ready(1, 1, false);
    let mut bounded = 0;
    for _ in 0..4_000 {
        let Some(first) = open.first().copied() else {
            break;
        };
        open.remove(0);
        harness.pass(1, first.task, 6.25);
        if first.trial % 2 == 1 {
            bounded += 1;
        }
        for sent in sent(&harness.tick()) {
            let is_bounded = sent.trial % 2 == 1;
            assert!(!is_bounded || open.is_empty(), "{sent:?} waits");
            open.push(sent);
        }
        harness.ack();
        if bounded == 100 {
            break;
        }
    }
    assert_eq!(bounded, 100, "others took all slots");
    assert!(harness.schedule.left() > 2_000, "they came long before the others were done");
}

#[test]
fn concurrency_above_jobs_has_no_effect() {
    let mut settings = settings(&[3]);
    settings.session.jobs = 2;
    let mut harness = Harness::new(settings, 100);
    let first = harness.ready(1, 2, false);
    harness.pass(1, first[0].task, 2.5);
    assert_eq!(sent(&harness.tick()).len(), 41);
}

#[test]
fn idle_worker_gets_waiting_tasks_of_others() {
    let mut harness = Harness::new(settings(&[0]), 5);
    let first = harness.ready(1, 1, false);
    harness.pass(1, first[0].task, 0.5);
    let open = sent(&harness.tick());
    assert_eq!(trials(&open), [1, 2, 3, 4]);
    harness.add_worker(2, 1, MEMORY, false);
    assert_eq!(harness.tick(), [take_back(1, 1)]);
    assert_eq!(harness.tick(), [], "it is sent once");
    harness.returned(1, &[open[3].task, open[2].task, TaskId(99)]);
    let moved = sent(&harness.tick());
    let moved: Vec<_> = moved.iter().map(|sent| (sent.worker, sent.trial, sent.attempt)).collect();
    // The first worker keeps one waiting task, so the last returned task waits for its slot, too.
    assert_eq!(moved, [(2, 3, 1), (1, 4, 1)]);
}

#[test]
fn take_back_repeats_after_the_next_report() {
    let mut harness = Harness::new(settings(&[0]), 5);
    let first = harness.ready(1, 1, false);
    harness.pass(1, first[0].task, 0.5);
    let open = sent(&harness.tick());
    harness.add_worker(2, 1, MEMORY, false);
    assert_eq!(harness.tick(), [take_back(1, 1)]);
    harness.returned(1, &[]);
    assert_eq!(harness.tick(), []);
    harness.pass(1, open[0].task, 0.5);
    assert_eq!(harness.tick(), [take_back(1, 1)]);
}

#[test]
fn passed_retry_makes_trial_flaky() {
    let mut harness = Harness::new(settings(&[0]), 1);
    harness.policy = retries(2, 100);
    let first = harness.ready(1, 1, false);
    assert_eq!(
        harness.report(1, first[0].task, &row("unavailable", 0.0, None)),
        [written(first[0].task, false, false)]
    );
    assert_eq!(harness.tick(), []);
    assert_eq!(harness.schedule.wake_at(), Some(ms(100)));
    let second = sent(&harness.tick_at(100));
    assert_eq!(second[0].attempt, 2);
    // The backoff doubles.
    harness.report(1, second[0].task, &row("timeout", 0.0, None));
    assert_eq!(harness.tick_at(299), []);
    let third = sent(&harness.tick_at(300));
    assert_eq!(harness.pass(1, third[0].task, 0.0), [written(third[0].task, true, true)]);
    assert_eq!(harness.ack(), [finish(None)]);

    // Only an error of a service is excused, if the service failed.
    for (outcome, flaky) in [("unavailable", false), ("timeout", true)] {
        let mut harness = Harness::new(settings(&[0]), 1);
        harness.policy = retries(1, 0);
        let first = harness.ready(1, 1, false);
        let failed = r#""usage":{},"service_failed":true"#;
        let failed = row(outcome, 0.0, None).replace(r#""usage":{}"#, failed);
        harness.report(1, first[0].task, &failed);
        let second = sent(&harness.tick());
        assert_eq!(harness.pass(1, second[0].task, 0.0), [written(second[0].task, true, flaky)]);
    }
}

#[test]
fn only_named_errors_are_retried_until_used_up() {
    let mut harness = Harness::new(settings(&[0]), 3);
    harness.policy = retries(1, 0);
    let open = harness.ready(1, 3, false);
    let failed = harness.report(1, open[0].task, &row("failed", 1e4, None));
    assert_eq!(failed, [written(open[0].task, true, false)]);
    let trap = harness.report(1, open[1].task, &row("trap", 1e4, None));
    assert_eq!(trap, [written(open[1].task, true, false)]);
    harness.report(1, open[2].task, &row("unavailable", 1e4, None));
    let again = sent(&harness.tick());
    let last = harness.report(1, again[0].task, &row("unavailable", 1e4, None));
    assert_eq!(last, [written(again[0].task, true, false)]);
}

#[test]
fn retry_waits_as_long_as_the_guest_requests() {
    let mut harness = Harness::new(settings(&[0]), 1);
    harness.policy = retries(1, 100);
    let first = harness.ready(1, 1, false);
    harness.report(1, first[0].task, &row("unavailable", 0.0, Some(700)));
    harness.tick();
    assert_eq!(harness.schedule.wake_at(), Some(ms(700)));
}

#[test]
fn backoff_doubles_up_to_a_minute() {
    let policy = retries(99, 1_000);
    let timeout = super::timing::Ending::STUCK;
    let seconds: Vec<_> = (1..=8)
        .map(|tries| super::timing::backoff(&policy.retries, tries, timeout).unwrap())
        .map(|wait| wait.0 / 1_000_000)
        .collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    let longer = retries(99, 90_000);
    let wait = super::timing::backoff(&longer.retries, 9, timeout);
    assert_eq!(wait, Some(Micros(90_000_000)));
}

#[test]
fn attempt_without_time_for_retry_is_final() {
    for (trial_timeout, session, bound) in [
        (None, 3_600_000, None),
        (Some(151), 3_600_000, None),
        // The attempt took 50 ms, and its retry would start 100 ms later.
        (Some(150), 3_600_000, Some("its `trial_timeout`")),
        (None, 1_100, Some("the session's timeout")),
        (None, 1_101, None),
    ] {
        let mut settings = settings(&[0]);
        settings.session.timeout = Duration::from_millis(session);
        let mut harness = Harness::new(settings, 1);
        harness.policy = retries(1, 100);
        harness.policy.trial_timeout = trial_timeout.map(|millis| Micros(millis * 1_000));
        let first = harness.ready(1, 1, false);
        harness.now = ms(1_000);
        let left_out = |bound| Effect::LeaveOutRetry { trial: 0, wait: Micros(100_000), bound };
        let mut expected: Vec<_> = bound.map(left_out).into_iter().collect();
        expected.push(written(first[0].task, bound.is_some(), false));
        let effects = harness.report(1, first[0].task, &row("timeout", 50.0, None));
        assert_eq!(effects, expected, "{trial_timeout:?} {session}");
    }
}

#[test]
fn trial_timeout_counts_from_first_attempt() {
    let mut harness = Harness::new(settings(&[0]), 1);
    harness.policy = retries(5, 0);
    harness.now = ms(10);
    let first = harness.ready(1, 1, false);
    // The report claims a longer duration than the time since the task was sent.
    harness.now = ms(30);
    harness.report(1, first[0].task, &row("timeout", 1e6, None));
    let [Effect::Send { assignment, .. }] = harness.tick()[..] else {
        panic!("it is retried");
    };
    assert_eq!(assignment.trial_started, Some(ms(10)));
}

#[test]
fn host_faults_use_no_retry() {
    let mut harness = Harness::new(settings(&[0]), 1);
    let mut task = harness.ready(1, 1, false)[0].task;
    for attempt in 2..=3 {
        let fault = Some(HostFault::Memory);
        assert_eq!(
            harness.report_fault(1, task, &row("stopped", 1.0, None), fault),
            [written(task, false, false)]
        );
        let again = sent(&harness.tick());
        assert_eq!(again[0].attempt, attempt);
        task = again[0].task;
    }
    assert_eq!(harness.pass(1, task, 1.0), [written(task, true, false)]);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn three_host_faults_in_a_row_end_session() {
    for (fault, reason) in [
        (Some(HostFault::Memory), Reason::Machine),
        (Some(HostFault::Storage), Reason::Storage),
        // `stopped` without a fault or a stop counts, too.
        (None, Reason::Internal),
    ] {
        let mut harness = Harness::new(settings(&[0]), 5);
        let open = harness.ready(1, 5, false);
        harness.report_fault(1, open[0].task, &row("stopped", 1.0, None), fault);
        harness.report_fault(1, open[1].task, &row("stopped", 1.0, None), fault);
        // A pass resets the count.
        harness.pass(1, open[2].task, 1.0);
        harness.report_fault(1, open[3].task, &row("stopped", 1.0, None), fault);
        harness.report_fault(1, open[4].task, &row("stopped", 1.0, None), fault);
        let again = sent(&harness.tick());
        assert_eq!(trials(&again), [0, 1, 3, 4]);
        let last = harness.report_fault(1, again[0].task, &row("stopped", 1.0, None), fault);
        assert_eq!(last, [written(again[0].task, false, false), take_back(1, 0)]);
        // Running attempts finish.
        harness.pass(1, again[1].task, 1.0);
        harness.pass(1, again[2].task, 1.0);
        assert_eq!(harness.ack(), []);
        harness.pass(1, again[3].task, 1.0);
        let message = Some("3 attempts in a row could not run: why".into());
        let reason = Some(reason);
        assert_eq!(harness.ack(), [Effect::Finish { reason, message }]);
    }
}

/// Returns a schedule of a provider whose interrupted attempts continue.
fn with_journal(tests: u64) -> Harness {
    let mut settings = settings(&[0]);
    settings.providers[0].has_journal = true;
    let mut harness = Harness::new(settings, tests);
    harness.policy = retries(1, 0);
    harness
}

/// Returns the trials and attempts of tasks.
fn attempts(sent: &[Sent]) -> Vec<(u64, u32)> {
    sent.iter().map(|sent| (sent.trial, sent.attempt)).collect()
}

#[test]
fn interrupted_attempt_with_a_journal_continues_without_a_row() {
    let mut harness = with_journal(2);
    let first = harness.ready(1, 2, false);
    let fault = Some(HostFault::Files);
    let stopped = row("stopped", 1.0, None);
    assert_eq!(harness.report_fault(1, first[0].task, &stopped, fault), []);
    let again = sent(&harness.tick());
    assert_eq!(attempts(&again), [(0, 1)]);
    // It has used no retry.
    let failed = harness.report(1, again[0].task, &row("unavailable", 1.0, None));
    assert_eq!(failed, [written(again[0].task, false, false)]);
    let retry = sent(&harness.tick());
    assert_eq!(attempts(&retry), [(0, 2)]);
    // The worker dies, and both continue alone. A second death alone is a crash, with a row.
    assert_eq!(harness.lost(1, &[retry[0].task, first[1].task], Some(Blame::Died)), []);
    harness.tick();
    let alone = harness.ready(2, 1, ALONE);
    assert_eq!(attempts(&alone), [(1, 1)]);
    assert_eq!(harness.lost(2, &[alone[0].task], Some(Blame::Died)), []);
    harness.tick();
    let other = harness.ready(3, 1, ALONE);
    assert_eq!(attempts(&other), [(0, 2)]);
    harness.pass(3, other[0].task, 1.0);
    let last = sent(&harness.tick());
    assert_eq!(attempts(&last), [(1, 1)]);
    let crashed = harness.lost(3, &[last[0].task], Some(Blame::Died));
    assert_eq!(crashed.len(), 1);
    assert!(matches!(crashed[0], Effect::Write { lost: Some(LostReason::Crash), .. }));
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn attempt_of_an_earlier_session_keeps_its_tries() {
    let mut harness = with_journal(2);
    harness.apply(|schedule| schedule.continues(0, 1));
    let sent = harness.ready(1, 2, false);
    // The trial has used its retry.
    let failed = row("unavailable", 1.0, None);
    assert_eq!(harness.report(1, sent[0].task, &failed), [written(sent[0].task, true, false)]);
    assert_eq!(harness.report(1, sent[1].task, &failed), [written(sent[1].task, false, false)]);
}

#[test]
fn attempt_that_differs_from_its_journal_starts_anew() {
    let mut harness = with_journal(1);
    let mut task = harness.ready(1, 1, false)[0].task;
    let diverged = row("stopped", 1.0, None).replace("\"code\":\"code\"", "\"code\":\"diverged\"");
    // It is no fault of the machine, of which three in a row end a session.
    for attempt in 2..=5 {
        assert_eq!(harness.report(1, task, &diverged), [written(task, false, false)]);
        let again = sent(&harness.tick());
        assert_eq!(attempts(&again), [(0, attempt)]);
        task = again[0].task;
    }
    // Interrupted attempts are such faults, although they have no rows.
    for _ in 0..3 {
        harness.report_fault(1, task, &row("stopped", 1.0, None), Some(HostFault::Memory));
        task = sent(&harness.tick()).first().map_or(task, |sent| sent.task);
    }
    assert_eq!(harness.schedule.stop_reason(), Some(Reason::Machine));
}

#[test]
fn stop_leaves_no_rows_of_attempts_that_continue() {
    for answers in [true, false] {
        let mut harness = with_journal(2);
        let open = harness.ready(1, 2, false);
        harness.stop(StopMode::Stop);
        harness.tick();
        if answers {
            for sent in &open {
                assert_eq!(harness.report(1, sent.task, &row("stopped", 1.0, None)), []);
            }
            assert_eq!(harness.tick(), [finish(Some(Reason::Interrupted))]);
        } else {
            harness.tick_at(1_200);
            assert_eq!(harness.tick_at(1_300), [finish(Some(Reason::Interrupted))]);
        }
    }
}

#[test]
fn death_without_blame_makes_no_suspects() {
    let mut harness = Harness::new(settings(&[0]), 3);
    let first = harness.ready(1, 1, false);
    harness.pass(1, first[0].task, 1.0);
    let open = sent(&harness.tick());
    assert_eq!(trials(&open), [1, 2]);
    let lost = harness.lost(1, &[open[0].task, TaskId(77)], None);
    assert_eq!(harness.lost_attempts(&lost), [(1, 1, LostReason::Lost, false)]);
    // A task that did not start keeps the number of its attempt free.
    let again = harness.ready(2, 2, false);
    let again: Vec<_> = again.iter().map(|sent| (sent.trial, sent.attempt)).collect();
    assert_eq!(again, [(1, 2), (2, 1)]);
    assert_eq!(harness.pass(1, open[0].task, 1.0), [], "it is not there any more");
}

/// Lets a worker with two slots die, so that two of its tasks become suspects.
fn with_two_suspects() -> (Harness, Vec<Sent>) {
    let mut harness = Harness::new(settings(&[0]), 6);
    let first = harness.ready(1, 2, false);
    harness.pass(1, first[0].task, 50.0);
    let mut open = vec![first[1]];
    open.extend(sent(&harness.tick()));
    assert_eq!(trials(&open), [1, 2, 3, 4]);
    let died = harness.lost(1, &[open[0].task, open[1].task], Some(Blame::Died));
    let lost = [(1, 1, LostReason::Lost, false), (2, 1, LostReason::Lost, false)];
    assert_eq!(harness.lost_attempts(&died), lost);
    (harness, open)
}

#[test]
fn suspects_run_alone_one_at_a_time() {
    let (mut harness, _) = with_two_suspects();
    assert_eq!(harness.tick(), [Effect::StartAlone { for_grader: false }]);
    assert_eq!(harness.tick(), [], "it is started once");
    assert_eq!(trials(&harness.ready(2, 2, false)), [3, 4]);
    let alone = harness.ready(3, 1, ALONE);
    assert_eq!((trials(&alone), alone[0].worker, alone[0].attempt), (vec![1], 3, 2));
    harness.pass(3, alone[0].task, 0.01);
    let next = sent(&harness.tick());
    assert_eq!((trials(&next), next[0].worker), (vec![2], 3));
    // It passes, too, and the worker for suspects gets no other tasks.
    assert_eq!(harness.pass(3, next[0].task, 0.01), [written(next[0].task, true, false)]);
    assert_eq!(harness.tick(), []);
}

#[test]
fn second_death_alone_is_a_crash() {
    let (mut harness, _) = with_two_suspects();
    harness.tick();
    let alone = harness.ready(2, 1, ALONE);
    let died = harness.lost(2, &[alone[0].task], Some(Blame::Died));
    assert_eq!(harness.lost_attempts(&died), [(1, 2, LostReason::Lost, false)]);
    assert_eq!(harness.tick(), [Effect::StartAlone { for_grader: false }]);
    // The other suspect comes first, and passes.
    let other = harness.ready(3, 1, ALONE);
    assert_eq!(trials(&other), [2]);
    harness.pass(3, other[0].task, 1.0);
    let again = sent(&harness.tick());
    assert_eq!((trials(&again), again[0].attempt), (vec![1], 3));
    // The worker died before it wrote the slot, but the task was alone in it.
    let died = harness.lost(3, &[], Some(Blame::Died));
    assert_eq!(harness.lost_attempts(&died), [(1, 3, LostReason::Crash, true)]);
    assert_eq!(trials(&harness.ready(4, 2, false)), [3, 4]);
}

#[test]
fn only_attempt_of_a_worker_ran_alone() {
    let mut harness = Harness::new(settings(&[0]), 1);
    let first = harness.ready(1, 1, false);
    harness.lost(1, &[first[0].task], Some(Blame::Died));
    assert_eq!(harness.tick(), [Effect::StartAlone { for_grader: false }]);
    let alone = harness.ready(2, 1, ALONE);
    let died = harness.lost(2, &[alone[0].task], Some(Blame::Died));
    assert_eq!(harness.lost_attempts(&died), [(0, 2, LostReason::Crash, true)]);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn attempt_that_ends_alone_is_no_suspect() {
    let mut harness = Harness::new(settings(&[0]), 1);
    harness.policy = retries(9, 0);
    let first = harness.ready(1, 1, false);
    harness.lost(1, &[first[0].task], Some(Blame::Died));
    harness.tick();
    let alone = harness.ready(2, 1, ALONE);
    harness.report(2, alone[0].task, &row("timeout", 1.0, None));
    assert_eq!(harness.tick(), []);
    let third = harness.ready(3, 1, false);
    assert_eq!((third[0].worker, third[0].attempt), (3, 3));
    let died = harness.lost(3, &[third[0].task], Some(Blame::Died));
    assert_eq!(harness.lost_attempts(&died), [(0, 3, LostReason::Lost, false)]);
}

#[test]
fn death_before_any_start_suspects_the_next_task() {
    let mut harness = Harness::new(settings(&[0]), 2);
    harness.ready(1, 2, false);
    assert_eq!(harness.lost(1, &[], Some(Blame::Died)), []);
    assert_eq!(harness.tick(), [Effect::StartAlone { for_grader: false }]);
    let alone = harness.ready(2, 1, ALONE);
    assert_eq!((trials(&alone), alone[0].attempt), (vec![0], 1));
    assert_eq!(trials(&harness.ready(3, 2, false)), [1]);
}

#[test]
fn suspects_respect_the_concurrency_of_their_lane() {
    let mut harness = Harness::new(settings(&[1]), 2);
    let first = harness.ready(1, 1, false);
    harness.lost(1, &[first[0].task], Some(Blame::Died));
    let second = harness.ready(2, 1, false);
    assert_eq!(trials(&second), [1]);
    assert_eq!(harness.ready(3, 1, ALONE), []);
    harness.pass(2, second[0].task, 1.0);
    let alone = sent(&harness.tick());
    assert_eq!((trials(&alone), alone[0].worker), (vec![0], 3));
}

#[test]
fn stuck_guest_times_out_and_others_run_again() {
    for (max, is_final) in [(0, true), (1, false)] {
        let mut harness = Harness::new(settings(&[0]), 2);
        harness.policy = retries(max, 0);
        let open = harness.ready(1, 2, false);
        let started = [open[0].task, open[1].task];
        let lost = harness.lost(1, &started, Some(Blame::Stuck(started[1])));
        let lost_pair = [(0, 1, LostReason::Lost, false), (1, 1, LostReason::Stuck, is_final)];
        assert_eq!(harness.lost_attempts(&lost), lost_pair);
        let again = harness.ready(2, 2, false);
        assert_eq!(again.len(), if is_final { 1 } else { 2 });
        if let Some(retry) = again.get(1) {
            let flaky = [written(retry.task, true, true)];
            assert_eq!(harness.pass(2, retry.task, 1.0), flaky);
        }
    }
}

#[test]
fn stop_kills_and_records_started_attempts() {
    let mut harness = Harness::new(settings(&[0]), 9);
    let mut open = harness.ready(1, 2, false);
    harness.pass(1, open.remove(0).task, 25.0);
    open.extend(sent(&harness.tick()));
    assert_eq!(open.len(), 6);
    assert_eq!(harness.stop(StopMode::Stop), [take_back(1, 0), Effect::Stop { kill: false }]);
    let returned: Vec<_> = open[3..].iter().map(|sent| sent.task).collect();
    harness.returned(1, &returned);
    assert_eq!(
        harness.report(1, open[0].task, &row("stopped", 1.0, None)),
        [written(open[0].task, false, false)]
    );
    assert_eq!(harness.ack(), []);
    assert_eq!(harness.ready(2, 2, false), [], "nothing starts after a stop");
    assert_eq!(harness.schedule.wake_at(), Some(ms(1_100)));
    assert_eq!(harness.tick_at(1_100), [Effect::Kill(WorkerId(1))]);
    let lost = harness.lost(1, &[open[1].task], None);
    assert_eq!(harness.lost_attempts(&lost), [(2, 1, LostReason::Stopped, false)]);
    assert_eq!(harness.tick(), []);
    assert_eq!(harness.ack(), [finish(Some(Reason::Interrupted))]);
}

#[test]
fn worker_that_does_not_die_is_given_up() {
    let mut harness = Harness::new(settings(&[0]), 9);
    let first = harness.ready(1, 2, false);
    harness.pass(1, first[0].task, 2.0);
    harness.tick();
    harness.stop(StopMode::Stop);
    assert_eq!(harness.tick_at(1_101), [Effect::Kill(WorkerId(1))]);
    assert_eq!(harness.schedule.wake_at(), Some(ms(1_151)));
    let given_up = harness.tick_at(1_151);
    let stopped = [(1, 1, LostReason::Stopped, false), (2, 1, LostReason::Stopped, false)];
    assert_eq!(harness.lost_attempts(&given_up), stopped, "as many as it has slots");
    assert_eq!(harness.schedule.wake_at(), None);
    assert_eq!(harness.pass(1, first[1].task, 1.0), [], "it is too late");
    assert_eq!(harness.ack(), [finish(Some(Reason::Interrupted))]);
}

#[test]
fn stronger_stop_keeps_the_first_reason() {
    let mut harness = Harness::new(settings(&[0]), 2);
    harness.ready(1, 1, false);
    assert_eq!(harness.stop(StopMode::Drain), [take_back(1, 0)]);
    assert_eq!(harness.stop(StopMode::Drain), []);
    assert_eq!(harness.schedule.wake_at(), Some(ms(3_600_000)));
    let stopped = harness.apply(|schedule| schedule.stop(StopMode::Stop, Reason::Stopped, None));
    assert_eq!(stopped, [Effect::Stop { kill: false }]);
    harness.now = ms(200);
    let killed = harness.apply(|schedule| schedule.stop(StopMode::Kill, Reason::Plugin, None));
    assert_eq!(killed, [Effect::Stop { kill: true }]);
    assert_eq!(harness.apply(|schedule| schedule.stop(StopMode::Stop, Reason::Plugin, None)), []);
    assert_eq!(harness.schedule.wake_at(), Some(ms(300)));
    harness.tick_at(300);
    harness.lost(1, &[], None);
    assert_eq!(harness.tick(), [finish(Some(Reason::Stopped))]);
}

#[test]
fn cancelled_session_stays_cancelled() {
    for is_first in [true, false] {
        let mut harness = Harness::new(settings(&[0]), 2);
        let mut stops = [(StopMode::Stop, Reason::Cancelled), (StopMode::Kill, Reason::Stopped)];
        if !is_first {
            stops.reverse();
        }
        for (mode, reason) in stops {
            harness.apply(|schedule| schedule.stop(mode, reason, None));
        }
        assert_eq!(harness.tick(), [finish(Some(Reason::Cancelled))]);
    }
}

#[test]
fn pause_assigns_nothing() {
    let mut harness = Harness::new(settings(&[0]), 3);
    let first = harness.ready(1, 1, false);
    assert_eq!(harness.apply(|schedule| schedule.pause(false)), []);
    assert_eq!(harness.apply(|schedule| schedule.pause(true)), [Effect::Pause(true)]);
    assert_eq!(harness.apply(|schedule| schedule.pause(true)), []);
    let written = harness.pass(1, first[0].task, 1.0);
    assert_eq!(written.len(), 1);
    assert_eq!(harness.ready(2, 1, false), []);
    assert_eq!(harness.apply(|schedule| schedule.pause(false)), [Effect::Pause(false)]);
    assert_eq!(sent(&harness.tick()).len(), 2);
}

#[test]
fn stop_ends_a_pause_for_good() {
    for mode in [StopMode::Drain, StopMode::Stop, StopMode::Kill] {
        let mut harness = Harness::new(settings(&[0]), 2);
        harness.ready(1, 1, false);
        harness.apply(|schedule| schedule.pause(true));
        assert_eq!(harness.stop(mode)[0], Effect::Pause(false));
        assert_eq!(harness.apply(|schedule| schedule.pause(true)), []);
    }
}

#[test]
fn stronger_stop_gives_no_more_time() {
    let mut settings = settings(&[0]);
    settings.session.grace = Duration::from_millis(10);
    let mut harness = Harness::new(settings, 2);
    harness.ready(1, 1, false);
    harness.stop(StopMode::Stop);
    harness.now = ms(50);
    harness.stop(StopMode::Kill);
    assert_eq!(harness.schedule.wake_at(), Some(ms(110)));
    harness.tick_at(110);
    assert_eq!(harness.schedule.wake_at(), Some(ms(160)));
}

#[test]
fn drain_lets_running_attempts_finish() {
    let mut harness = Harness::new(settings(&[0]), 5);
    let first = harness.ready(1, 2, false);
    harness.stop(StopMode::Drain);
    assert_eq!(harness.tick_at(100_000), []);
    harness.policy = retries(3, 0);
    let last = harness.report(1, first[0].task, &row("timeout", 1.0, None));
    assert_eq!(last, [written(first[0].task, false, false)], "resume retries");
    assert_eq!(harness.ack(), []);
    // In a drain the runner does not kill workers, so this is a lost worker.
    let lost = harness.lost(1, &[first[1].task], None);
    assert_eq!(harness.lost_attempts(&lost), [(1, 1, LostReason::Lost, false)]);
    assert_eq!(harness.ack(), [finish(Some(Reason::Interrupted))]);
}

#[test]
fn session_timeout_ends_session() {
    let mut settings = settings(&[0]);
    settings.session.timeout = Duration::from_millis(500);
    let mut harness = Harness::new(settings, 5);
    harness.ready(1, 1, false);
    assert_eq!(harness.schedule.wake_at(), Some(ms(500)));
    assert_eq!(harness.tick_at(500), [take_back(1, 0), Effect::Stop { kill: false }]);
    harness.lost(1, &[], None);
    assert_eq!(harness.tick(), [finish(Some(Reason::Timeout))]);
}

#[test]
fn timeout_ignores_a_wait_for_the_disk() {
    let mut settings = settings(&[0]);
    settings.session.timeout = Duration::from_millis(500);
    let mut harness = Harness::new(settings, 1);
    let first = harness.ready(1, 1, false);
    harness.pass(1, first[0].task, 1.0);
    assert_eq!(harness.schedule.wake_at(), None);
    assert_eq!(harness.tick_at(600), []);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn stop_after_last_trial_does_not_count() {
    let mut harness = Harness::new(settings(&[0]), 1);
    let first = harness.ready(1, 1, false);
    harness.stop(StopMode::Stop);
    harness.pass(1, first[0].task, 1.0);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn stop_without_workers_ends_at_once() {
    let mut harness = Harness::new(settings(&[0]), 1);
    assert_eq!(harness.stop(StopMode::Kill), [Effect::Stop { kill: true }]);
    assert_eq!(harness.tick(), [finish(Some(Reason::Interrupted))]);
}

#[test]
fn failed_write_ends_session_and_later_writes() {
    let mut harness = Harness::new(settings(&[0]), 2);
    let open = harness.ready(1, 2, false);
    harness.pass(1, open[0].task, 1.0);
    let failed = harness.apply(Schedule::storage_failed);
    assert_eq!(failed, [Effect::Stop { kill: true }, finish(Some(Reason::Storage))]);
    assert_eq!(harness.pass(1, open[1].task, 1.0), []);
    assert_eq!(harness.apply(Schedule::storage_failed), []);
}

#[test]
fn slow_disk_delays_assignments() {
    for (rows, bytes) in [(4_096, 0), (0, 8 << 20)] {
        let mut harness = Harness::new(settings(&[0]), 2);
        harness.acked(rows, bytes);
        assert_eq!(harness.ready(1, 1, false), []);
        harness.acked(4_095, (8 << 20) - 1);
        let first = sent(&harness.tick());
        assert_eq!(trials(&first), [0]);
        // Rows of this session count, too.
        harness.pass(1, first[0].task, 1.0);
        assert_eq!(harness.tick(), []);
    }
}

#[test]
fn reports_of_unknown_tasks_are_ignored() {
    let mut harness = Harness::new(settings(&[0]), 4);
    let one = harness.ready(1, 1, false);
    let two = harness.ready(2, 1, false);
    assert_eq!(harness.pass(2, one[0].task, 1e4), [], "it is at another worker");
    assert_eq!(harness.pass(9, one[0].task, 1e4), [], "the worker is unknown");
    assert_eq!(harness.pass(1, TaskId(99), 1e4), [], "the task was not sent");
    assert_eq!(harness.pass(2, two[0].task, 1e4).len(), 1);
    assert_eq!(harness.pass(2, two[0].task, 1e4), [], "it was answered");
    assert_eq!(harness.lost(9, &[one[0].task], Some(Blame::Died)), []);
    assert_eq!((harness.schedule.running(), harness.schedule.left()), (1, 3));
}
