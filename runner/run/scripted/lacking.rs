//! Machines that lack what attempts need, for ever or for a while, beside others that do not and alone.

use std::time::Duration;

use super::{
    executor::{Exit, Script, ScriptedAnswer, ScriptedOutcome},
    random::Random,
    tests::{PASSES, answering, calm, fleet, machine, one_machine, plan, play_many},
    world::Schedule,
};
use crate::{
    model::{Outcome, Reason},
    run::seam::ExecutorId,
};

/// From the beginning, and for ever.
const ALWAYS: std::ops::Range<Duration> = Duration::ZERO..Duration::MAX;

/// Many workers come and go on some machines, of which all but one may lack something.
fn lacking(seed: u64) -> Schedule {
    let mut schedule = fleet(seed);
    let mut random = Random(!seed);
    let names = ["a", "b", "c", "d"];
    let lacks = names.map(|_| {
        let (from, more) = (random.millis(100), random.millis(100));
        match random.below(4) {
            0 => Duration::ZERO..Duration::ZERO,
            1 => from..from + more,
            2 => from..Duration::MAX,
            _ => ALWAYS,
        }
    });
    for executor in &mut schedule.executors {
        let place = random.below(4) as usize;
        executor.machine = machine(names[place]);
        executor.lacks = lacks[place].clone();
        if random.one_in(6) {
            executor.heavy = vec![random.below(3)];
        }
    }
    let healthy = &mut schedule.executors[0];
    healthy.machine = machine("healthy");
    healthy.lacks = Duration::ZERO..Duration::ZERO;
    healthy.heavy.clear();
    // Before others have failed.
    (healthy.joins_at, healthy.lag) = (Duration::ZERO, Duration::ZERO);
    schedule
}

/// The same, and whoever lacks nothing leaves, too.
fn forsaken(seed: u64) -> Schedule {
    let mut schedule = lacking(seed);
    let mut random = Random(seed.rotate_left(7));
    let exits = [Exit::Dies, Exit::DiesHolding, Exit::Leaves];
    schedule.executors[0].leaves = Some((random.millis(300), *random.one_of(&exits)));
    schedule.rules.forsaken = random.millis(1000);
    schedule.rules.ends = Duration::from_secs(4);
    schedule
}

/// An executor of this machine, which lacks something from the beginning.
fn sick(name: &str) -> Script {
    Script {
        machine: machine(name),
        lacks: ALWAYS,
        ..answering(2, PASSES)
    }
}

fn healthy(name: &str) -> Script {
    Script {
        machine: machine(name),
        ..answering(2, PASSES)
    }
}

#[test]
fn a_session_is_completed_if_somebody_stays_who_lacks_nothing() {
    play_many(lacking, |schedule, played| {
        assert_eq!(played.ending.cause, None);
        assert_eq!(
            played.outcomes,
            one_machine(&schedule.shape).play().outcomes
        );
    });
}

#[test]
fn a_session_that_everybody_leaves_ends_for_what_was_lacking_or_waits() {
    play_many(forsaken, |schedule, played| {
        let reason = played.ending.cause.as_ref().map(|cause| cause.reason);
        match reason {
            None => assert_eq!(
                played.outcomes,
                one_machine(&schedule.shape).play().outcomes
            ),
            Some(Reason::Storage) => assert!(played.ending.error.is_some()),
            // Then nobody was set aside.
            reason => assert_eq!(reason, Some(Reason::Timeout)),
        }
    });
}

#[test]
fn where_nobody_is_left_but_what_was_set_aside_somebody_is_waited_for_and_not_for_ever() {
    let leaves = Duration::from_millis(100);
    let large = Script {
        leaves: Some((leaves, Exit::Leaves)),
        ..healthy("b")
    };
    let executors = vec![sick("a"), large];
    let played = calm(plan(400, ""), executors.clone()).play();
    assert_eq!(played.audit.machines.aside, [machine("a")].into());
    assert_eq!(played.ending.cause.unwrap().reason, Reason::Storage);
    let said = played.ending.error.unwrap();
    assert!(said.contains("worker a: "), "{said}");
    let over_at = leaves + Duration::from_secs(2);
    let bounds = over_at..over_at + Duration::from_millis(300);
    assert!(bounds.contains(&played.over_at), "{:?}", played.over_at);

    // Somebody else comes in time, or the same with what it lacked.
    for name in ["c", "a"] {
        let late = Script {
            joins_at: leaves + Duration::from_secs(1),
            ..healthy(name)
        };
        let played = calm(plan(400, ""), [&executors[..], &[late]].concat()).play();
        assert_eq!(played.ending.cause, None);
        assert_eq!(played.ending.counts.passed, 400);
    }
}

#[test]
fn a_machine_that_fails_one_attempt_after_the_other_gets_no_more_and_others_make_them() {
    let played = calm(plan(40, ""), vec![sick("a"), sick("a"), healthy("b")]).play();
    assert_eq!(played.ending.cause, None);
    assert_eq!(played.ending.counts.passed, 40);
    assert_eq!(played.audit.machines.aside, [machine("a")].into());
    let failed = played.audit.written.iter();
    let failed = failed.filter(|mark| mark.outcome == Outcome::Stopped);
    // Three in a row, and what was begun beside them.
    assert!((3..=6).contains(&failed.count()));
}

#[test]
fn where_all_machines_lack_something_the_session_ends_for_that_and_soon() {
    for names in [
        vec!["a"],
        vec!["a", "b"],
        vec!["a", "b", "c", "d", "e"],
        vec!["", "", ""],
    ] {
        for trials in [1, 40] {
            let executors = names.iter().map(|name| sick(name)).collect();
            let played = calm(plan(trials, ""), executors).play();
            assert_eq!(played.ending.cause.unwrap().reason, Reason::Storage);
            assert!(played.ending.error.is_some());
            assert!(
                played.over_at < Duration::from_secs(4),
                "{:?}",
                played.over_at
            );
            // Those of the run's own machine are one machine.
            let machines = match names[0] {
                "" => 1,
                _ => names.len(),
            };
            let begun_beside = names.len() * 2;
            let rows = played.audit.written.len();
            assert!(
                rows <= machines * 3 + begun_beside,
                "{rows} rows of {names:?}"
            );
        }
    }
}

#[test]
fn a_trial_that_no_machine_can_carry_is_tried_once_on_each_and_sets_none_aside() {
    let names = ["a", "b", "c", "d", "e"];
    let executors = names.map(|name| Script {
        heavy: vec![0],
        ..healthy(name)
    });
    let played = calm(plan(60, ""), executors.into()).play();
    assert_eq!(played.ending.cause.unwrap().reason, Reason::Storage);
    assert_eq!(played.ending.counts.passed, 59);
    let tries = played.audit.written.iter();
    let tries = tries.filter(|mark| mark.key.ordinal == 0);
    assert_eq!(tries.count(), names.len());
    assert!(played.audit.machines.aside.is_empty());
}

#[test]
fn a_trial_that_one_machine_cannot_carry_is_made_on_another() {
    let weak = Script {
        heavy: (0..60).step_by(2).collect(),
        ..healthy("a")
    };
    let played = calm(plan(60, ""), vec![weak, healthy("b")]).play();
    assert_eq!(played.ending.cause, None);
    assert_eq!(played.ending.counts.passed, 60);
}

#[test]
fn a_worker_that_is_started_again_when_it_has_what_it_lacked_comes_back() {
    let until = Duration::from_millis(100);
    let again = Script {
        joins_at: until,
        ..healthy("a")
    };
    let played = calm(plan(400, ""), vec![sick("a"), again, healthy("b")]).play();
    assert_eq!(played.ending.cause, None);
    assert_eq!(played.audit.machines.aside, [machine("a")].into());
    assert!(played.audit.machines.assigned[&ExecutorId(1)] > 50);
}

#[test]
fn what_the_runs_own_machine_cannot_keep_sets_no_worker_aside_and_ends_the_session() {
    let unkept = ScriptedAnswer::After(Duration::from_millis(3), ScriptedOutcome::Unkept);
    let makers = ["a", "b"].map(|name| Script {
        answers: vec![unkept],
        ..healthy(name)
    });
    let played = calm(plan(40, ""), makers.into()).play();
    assert_eq!(played.ending.cause.unwrap().reason, Reason::Storage);
    assert!(played.ending.error.is_some());
    assert!(played.audit.machines.aside.is_empty());
    // Three in a row, and what was begun beside them.
    let rows = played.audit.written.len();
    assert!((3..=3 + 4).contains(&rows), "{rows}");
}
