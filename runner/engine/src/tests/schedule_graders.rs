//! Lanes of graders, step by step. Lane 0 is the provider's, 1 and 2 are those of graders.

use runner_model::test::ExpectedError;
use runner_model::{Budgets, Outcome, Reason, TaskId, WorkerId, provider::Rate, row::Metric};

use super::harness::{
    ALONE, Harness, Sent, bounds, finish, grader, read, retries, row, sent, settings,
};
use super::{
    Blame, Bounds, Effect, LostReason, Next, Policy, RowForm, ScheduleSettings, Spending, StopMode,
};

fn graded() -> ScheduleSettings {
    ScheduleSettings { providers: vec![bounds(0), grader(0), grader(0)], ..settings(&[]) }
}

fn written(task: TaskId, is_final: bool) -> Effect {
    Effect::Write { form: RowForm::Reported, task, lost: None, is_final, flaky: false }
}

/// Returns trial and grader of tasks.
fn asked(sent: &[Sent]) -> Vec<(u64, Option<u16>)> {
    sent.iter().map(|sent| (sent.trial, sent.grader)).collect()
}

/// Starts a worker, and lets the first trial wait for the first grader. Returns the grader's task.
fn first_grade(harness: &mut Harness, slots: u32) -> Sent {
    let first = harness.ready(1, slots, false);
    harness.ungraded(1, first[0].task, 1);
    let asked = sent(&harness.ack_ungraded(0));
    *asked.iter().find(|sent| sent.grader == Some(1)).unwrap()
}

#[test]
fn graders_are_asked_in_order_and_after_the_disk() {
    let mut harness = Harness::new(graded(), 1);
    let first = harness.ready(1, 1, false);
    assert_eq!(asked(&first), [(0, None)]);
    assert_eq!(harness.ungraded(1, first[0].task, 1), [written(first[0].task, false)]);
    // Other rows may be on disk before it.
    assert_eq!(harness.ack(), []);
    let second = sent(&harness.ack_ungraded(0));
    assert_eq!(asked(&second), [(0, Some(1))]);
    assert_eq!(second[0].attempt, 1);
    harness.ungraded(1, second[0].task, 2);
    assert_eq!(harness.tick(), []);
    let third = sent(&harness.ack_ungraded(0));
    assert_eq!(asked(&third), [(0, Some(2))]);
    assert_eq!(harness.pass(1, third[0].task, 1.0), [written(third[0].task, true)]);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn graders_of_a_settled_trial_add_their_grades() {
    for is_stopped in [false, true] {
        let mut harness = Harness::new(graded(), 1);
        harness.policy = retries(1, 0);
        let first = harness.ready(1, 1, false);
        let partial = |task| Effect::Write {
            form: RowForm::Partial,
            task,
            lost: None,
            is_final: true,
            flaky: false,
        };
        let timeout = row("trap", 1.0, None);
        let written = harness.report_next(1, first[0].task, &timeout, Next::Partial(1));
        assert_eq!(written, [partial(first[0].task)]);
        assert_eq!(harness.schedule.left(), 0);
        let second = sent(&harness.ack_ungraded(0));
        assert_eq!(asked(&second), [(0, Some(1))]);
        // The grader is called again after an error, and the trial stays settled.
        let failed = row("unavailable", 1.0, None);
        let written = harness.report_next(1, second[0].task, &failed, Next::Partial(2));
        assert_eq!(written, [partial(second[0].task)]);
        let third = sent(&harness.ack_ungraded(0));
        assert_eq!(asked(&third), [(0, Some(1))]);
        let passed = row("passed", 1.0, None);
        let written = harness.report_next(1, third[0].task, &passed, Next::Partial(2));
        assert_eq!(written, [partial(third[0].task)]);
        if is_stopped {
            // All trials have their results.
            harness.apply(|schedule| schedule.stop(StopMode::Drain, Reason::Interrupted, None));
            assert_eq!(harness.ack_ungraded(0), [finish(None)]);
            continue;
        }
        let last = sent(&harness.ack_ungraded(0));
        assert_eq!(asked(&last), [(0, Some(2))]);
        assert_eq!(harness.pass(1, last[0].task, 1.0), [self::written(last[0].task, true)]);
        assert_eq!(harness.ack(), [finish(None)]);
    }
}

#[test]
fn what_a_cut_attempt_left_decides_after_the_retries() {
    let timeout = row("timeout", 1.0, None);
    for next in [Next::Decided(Outcome::Passed, None), Next::Decided(Outcome::Ungraded, Some(1))] {
        let mut harness = Harness::new(graded(), 1);
        harness.policy = retries(1, 0);
        harness.policy.retries.on = vec![ExpectedError::Timeout];
        let first = harness.ready(1, 1, false);
        let retried = harness.report_next(1, first[0].task, &timeout, next);
        assert_eq!(retried, [written(first[0].task, false)]);
        let again = sent(&harness.ack());
        let is_final = next == Next::Decided(Outcome::Passed, None);
        let (task, flaky) = (again[0].task, is_final);
        let decided = Effect::Write { form: RowForm::Decided, task, lost: None, is_final, flaky };
        assert_eq!(harness.report_next(1, task, &timeout, next), [decided]);
        if is_final {
            assert_eq!(harness.ack(), [finish(None)]);
        } else {
            assert_eq!(asked(&sent(&harness.ack_ungraded(0))), [(0, Some(1))]);
        }
    }
}

#[test]
fn graders_have_slots_of_their_own() {
    let mut harness = Harness::new(graded(), 4);
    let first = harness.ready(1, 2, false);
    assert_eq!(asked(&first), [(0, None), (1, None)]);
    for sent in &first {
        harness.ungraded(1, sent.task, 1);
        let effects = harness.apply(|schedule| schedule.is_on_disk(sent.trial));
        assert_eq!(effects, []);
    }
    let both = sent(&harness.ack());
    assert_eq!(asked(&both), [(0, Some(1)), (1, Some(1)), (2, None), (3, None)]);
    assert_eq!(harness.schedule.running(), 4);
    // No third grader runs before one of the two has answered.
    let third = both[2];
    harness.ungraded(1, third.task, 2);
    assert_eq!(sent(&harness.ack_ungraded(2)), []);
    harness.pass(1, both[0].task, 1.0);
    assert_eq!(asked(&sent(&harness.tick())), [(2, Some(2))]);
}

#[test]
fn concurrency_bounds_grades() {
    let settings = ScheduleSettings { providers: vec![bounds(0), grader(1)], ..settings(&[]) };
    let mut harness = Harness::new(settings, 2);
    let first = harness.ready(1, 2, false);
    for sent in &first {
        harness.ungraded(1, sent.task, 1);
        harness.apply(|schedule| schedule.is_on_disk(sent.trial));
    }
    let one = sent(&harness.ack());
    assert_eq!(asked(&one), [(0, Some(1))]);
    harness.pass(1, one[0].task, 1.0);
    assert_eq!(asked(&sent(&harness.tick())), [(1, Some(1))]);
}

#[test]
fn retried_grader_waits_for_its_row_and_its_backoff() {
    let mut harness = Harness::new(graded(), 1);
    harness.policy = retries(1, 100);
    let grade = first_grade(&mut harness, 1);
    let report = row("unavailable", 1.0, None);
    assert_eq!(harness.report(1, grade.task, &report), [written(grade.task, false)]);
    assert_eq!(harness.tick_at(100), []);
    assert_eq!(asked(&sent(&harness.ack_ungraded(0))), [(0, Some(1))]);
    let again = TaskId(grade.task.0 + 1);
    assert_eq!(harness.report(1, again, &report), [written(again, true)]);
    assert_eq!(harness.ack(), [finish(None)]);
}

#[test]
fn tries_of_the_provider_are_not_those_of_a_grader() {
    let mut harness = Harness::new(graded(), 1);
    harness.policy = retries(1, 0);
    let first = harness.ready(1, 1, false);
    let report = row("unavailable", 1.0, None);
    harness.report(1, first[0].task, &report);
    let second = sent(&harness.ack());
    assert_eq!(second[0].attempt, 2);
    harness.ungraded(1, second[0].task, 1);
    let grade = sent(&harness.ack_ungraded(0));
    // It keeps the attempt that it grades, and has its own retry.
    assert_eq!((grade[0].grader, grade[0].attempt), (Some(1), 2));
    assert_eq!(harness.report(1, grade[0].task, &report), [written(grade[0].task, false)]);
    let again = sent(&harness.ack_ungraded(0));
    // A pass after the provider's bad attempt is flaky.
    let flaky = Effect::Write {
        form: RowForm::Reported,
        task: again[0].task,
        lost: None,
        is_final: true,
        flaky: true,
    };
    assert_eq!(harness.pass(1, again[0].task, 1.0), [flaky]);
}

#[test]
fn interrupted_grade_has_no_row_and_is_asked_again() {
    let mut harness = Harness::new(graded(), 1);
    let grade = first_grade(&mut harness, 1);
    // The row that it has not changed waits for the same grader.
    let (policy, stopped) = (harness.policy.clone(), row("stopped", 1.0, None));
    let effects = harness.apply(|schedule| {
        schedule.report(WorkerId(1), grade.task, &read(&stopped), Next::Grader(1), None, &policy);
    });
    assert_eq!(effects, []);
    let again = sent(&harness.tick());
    assert_eq!(asked(&again), [(0, Some(1))]);
    // The same after a worker that was not to blame, and after a task that came back.
    assert_eq!(harness.lost(1, &[again[0].task], None), []);
    let again = harness.ready(2, 1, false);
    assert_eq!(asked(&again), [(0, Some(1))]);
    harness.returned(2, &[again[0].task]);
    assert_eq!(asked(&sent(&harness.tick())), [(0, Some(1))]);
}

#[test]
fn grader_that_kills_two_workers_is_a_crash() {
    let mut harness = Harness::new(graded(), 2);
    let grade = first_grade(&mut harness, 1);
    // The worker ran nothing else that had started, so this is the first death.
    assert_eq!(harness.lost(1, &[grade.task], Some(Blame::Died)), []);
    harness.add_worker(2, 1, 1 << 40, ALONE);
    let alone = sent(&harness.ack());
    assert_eq!(asked(&alone), [(0, Some(1))]);
    let crash = Effect::Write {
        form: RowForm::Reported,
        task: alone[0].task,
        lost: Some(LostReason::Crash),
        is_final: true,
        flaky: false,
    };
    assert_eq!(harness.lost(2, &[alone[0].task], Some(Blame::Died)), [crash]);
}

#[test]
fn stuck_grader_is_a_timeout() {
    for max in [0, 1] {
        let mut harness = Harness::new(graded(), 1);
        harness.policy = retries(max, 0);
        let grade = first_grade(&mut harness, 1);
        let lost = harness.lost(1, &[grade.task], Some(Blame::Stuck(grade.task)));
        let expected = Effect::Write {
            form: RowForm::Reported,
            task: grade.task,
            lost: Some(LostReason::Stuck),
            is_final: max == 0,
            flaky: false,
        };
        assert_eq!(lost, [expected]);
        assert_eq!(harness.ready(2, 1, false), []);
        assert_eq!(sent(&harness.ack_ungraded(0)).len(), max as usize);
    }
}

#[test]
fn later_grader_is_asked_after_an_error() {
    let report = row("unavailable", 1.0, None);
    let end_first = |harness: &mut Harness, how: u8| {
        harness.policy = Policy { next_grader: Some(2), ..retries(1, 0) };
        let grade = first_grade(harness, 1);
        let task = match how {
            0 => {
                harness.report(1, grade.task, &report);
                sent(&harness.ack_ungraded(0))[0].task
            }
            1 => {
                harness.policy.retries.max = 0;
                grade.task
            }
            _ => {
                harness.lost(1, &[grade.task], Some(Blame::Died));
                harness.add_worker(2, 1, 1 << 40, ALONE);
                sent(&harness.ack())[0].task
            }
        };
        let (effects, lost) = match how {
            0 => (harness.report(1, task, &report), None),
            1 => (harness.lost(1, &[task], Some(Blame::Stuck(task))), Some(LostReason::Stuck)),
            _ => (harness.lost(2, &[task], Some(Blame::Died)), Some(LostReason::Crash)),
        };
        assert_eq!(
            effects,
            [Effect::Write { form: RowForm::Reported, task, lost, is_final: false, flaky: false }]
        );
    };
    for how in 0..3 {
        let mut harness = Harness::new(graded(), 1);
        end_first(&mut harness, how);
        if how > 0 {
            assert_eq!(harness.ready(3, 1, false), []);
        }
        let second = sent(&harness.ack_ungraded(0));
        assert_eq!(asked(&second), [(0, Some(2))], "{how}");
        // The trial ends with the error of the first. The second one is not called again.
        harness.policy.next_grader = None;
        let end = harness.report(second[0].worker, second[0].task, &row("error", 1.0, None));
        assert_eq!(end, [written(second[0].task, true)], "{how}");
        assert_eq!(harness.ack(), [finish(None)]);
    }
}

#[test]
fn stop_asks_no_further_grader() {
    for mode in [StopMode::Drain, StopMode::Stop] {
        let mut harness = Harness::new(graded(), 1);
        let grade = first_grade(&mut harness, 1);
        harness.stop(mode);
        harness.tick();
        // An answer that comes in time counts.
        assert_eq!(harness.ungraded(1, grade.task, 2), [written(grade.task, false)]);
        assert_eq!(harness.ack_ungraded(0), [finish(Some(Reason::Interrupted))]);
    }
}

#[test]
fn unanswered_graders_leave_no_row_after_a_stop() {
    let mut harness = Harness::new(graded(), 1);
    first_grade(&mut harness, 1);
    harness.stop(StopMode::Kill);
    harness.tick_at(100);
    // Neither an answer nor an exit: the session ends all the same.
    let effects = harness.tick_at(200);
    let writes = effects.iter().filter(|effect| matches!(effect, Effect::Write { .. })).count();
    assert_eq!(writes, 0, "{effects:?}");
}

#[test]
fn used_up_budget_of_a_grader_closes_its_lane_alone() {
    let mut budgets = Budgets::default();
    budgets.add("judge:m=1").unwrap();
    let settings = ScheduleSettings {
        providers: vec![bounds(0), grader(0)],
        spending: Spending::new(&budgets, &["p", "judge"]).unwrap(),
        ..settings(&[])
    };
    let mut harness = Harness::new(settings, 2);
    let grade = first_grade(&mut harness, 1);
    let mut measured = row("passed", 1.0, None);
    measured.truncate(measured.len() - 1);
    measured += r#","metrics":[{"name":"m","value":1.0}]}"#;
    assert_eq!(harness.report(1, grade.task, &measured), [written(grade.task, true)]);
    // The other output is still made.
    harness.ungraded(1, TaskId(grade.task.0 + 1), 1);
    let end = harness.ack_ungraded(1);
    assert!(matches!(&end[..], [Effect::Finish { reason: Some(Reason::Budget), .. }]), "{end:?}");
}

#[test]
fn memory_of_graders_is_reserved_with_that_of_attempts() {
    let mut harness = Harness::new(graded(), 4);
    // The slots allow two attempts and two grades at once, and the memory three.
    harness.add_worker(1, 2, 3 << 20, false);
    let first = sent(&harness.tick());
    assert_eq!(asked(&first), [(0, None), (1, None)]);
    for sent in &first {
        harness.ungraded(1, sent.task, 1);
        harness.apply(|schedule| schedule.is_on_disk(sent.trial));
    }
    let next = sent(&harness.ack());
    assert_eq!(asked(&next), [(0, Some(1)), (1, Some(1)), (2, None)]);
    assert!(harness.schedule.waits_for_memory());
}

#[test]
fn no_bound_of_a_provider_holds_judgements() {
    let mut budgets = Budgets::default();
    budgets.add("p:m=1").unwrap();
    let mut spending = Spending::new(&budgets, &["p", "judge"]).unwrap();
    spending.add(0, &[Metric { name: "m".into(), value: 1.0, unit: None }]);
    let rate = Some(Rate::parse("1/h").unwrap());
    let settings = ScheduleSettings {
        providers: vec![Bounds { rate, ..bounds(1) }, grader(0)],
        spending,
        ..settings(&[])
    };
    let mut harness = Harness::judging(settings, 4, |_| Some((7, false)), &[1, 2, 3]);
    let first = harness.ready(1, 4, false);
    let numbers: Vec<_> = first.iter().map(|sent| (sent.trial, sent.attempt)).collect();
    assert_eq!(numbers, [(1, 7), (2, 7), (3, 7)]);
    // One waits for its grader, and one is judged for good.
    harness.ungraded(1, first[0].task, 1);
    harness.pass(1, first[1].task, 1.0);
    assert_eq!(asked(&sent(&harness.ack_ungraded(1))), [(1, Some(1))]);
    // A lost judgement leaves no row.
    assert_eq!(harness.lost(1, &[first[2].task], None), []);
    let again = harness.ready(2, 4, false);
    assert_eq!(asked(&again), [(1, Some(1)), (3, None)]);
    for sent in again {
        harness.pass(2, sent.task, 1.0);
    }
    let end = harness.ack();
    assert!(matches!(&end[..], [Effect::Finish { reason: Some(Reason::Budget), .. }]), "{end:?}");
}
