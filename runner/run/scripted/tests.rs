//! What the dispatcher promises, whatever executors, people and the disk do, and when.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::{
    executor::{Exit, Script, ScriptedAnswer, ScriptedOutcome},
    random::Random,
    shape::{AuditRules, PlanShape},
    world::{Played, Schedule},
};
use crate::{
    model::{Outcome, Reason, StopMode},
    run::seam::{Capacity, MachineName},
};

/// How many schedules are played of each kind.
const SCHEDULES: u64 = 5000;
const MIB: u64 = 1024 * 1024;

/// Plans are made once: each is read from the text of a scenario.
static SHAPES: LazyLock<Vec<Arc<PlanShape>>> = LazyLock::new(|| {
    let mut random = Random(1);
    let shapes = (0..128).map(|_| Arc::new(PlanShape::random(&mut random)));
    shapes.collect()
});

/// Plays many schedules, and says which one has failed.
pub(super) fn play_many(schedule: fn(u64) -> Schedule, check: fn(&Schedule, &Played)) {
    let first = std::env::var("RUNNER_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()) * 1_000_003,
        |seed| seed.parse().unwrap(),
    );
    let count = std::env::var("RUNNER_SCHEDULES").map_or(SCHEDULES, |count| count.parse().unwrap());
    for seed in first..first + count {
        let played = panic::catch_unwind(AssertUnwindSafe(|| {
            let schedule = schedule(seed);
            check(&schedule, &schedule.play());
        }));
        if let Err(panic) = played {
            #[expect(clippy::print_stderr, reason = "the seed is worth knowing")]
            {
                eprintln!("the first schedule of RUNNER_TEST_SEED={seed} fails");
            }
            panic::resume_unwind(panic);
        }
    }
}

fn end(random: &mut Random, may_lack: bool) -> ScriptedOutcome {
    let ends = [
        ScriptedOutcome::Passed,
        ScriptedOutcome::Passed,
        ScriptedOutcome::Passed,
        ScriptedOutcome::Failed,
        ScriptedOutcome::Timeout,
        ScriptedOutcome::Unavailable,
    ];
    match random.below(24) {
        0 | 1 if may_lack => ScriptedOutcome::Lacking,
        2 if may_lack => ScriptedOutcome::Unkept,
        _ => *random.one_of(&ends),
    }
}

fn answer(random: &mut Random, is_tame: bool) -> ScriptedAnswer {
    // Some attempts are so short that more are assigned than there are slots.
    let most = *random.one_of(&[0, 1, 1, 40]);
    let after = random.millis(most) + Duration::from_micros(50);
    match random.below(16) {
        0 => ScriptedAnswer::Twice(after, end(random, !is_tame)),
        1 => ScriptedAnswer::Lost(after),
        2 => ScriptedAnswer::LateAfterLost(after, end(random, !is_tame)),
        3 => ScriptedAnswer::Returned,
        4 if !is_tame => ScriptedAnswer::Never,
        _ => ScriptedAnswer::After(after, end(random, !is_tame)),
    }
}

fn executor(random: &mut Random, is_tame: bool) -> Script {
    let exits = [Exit::Dies, Exit::DiesHolding, Exit::Leaves];
    let mut answers = vec![ScriptedAnswer::After(
        Duration::from_millis(1),
        ScriptedOutcome::Passed,
    )];
    answers.extend((0..random.below(8)).map(|_| answer(random, is_tame)));
    Script {
        capacity: Capacity {
            slots: 1 + random.below(4) as usize,
            memory: *random.one_of(&[128, 256, 512, 1024]) * MIB,
        },
        machine: machine(["", "a", "b"][random.below(3) as usize]),
        lacks: Duration::ZERO..Duration::ZERO,
        heavy: Vec::new(),
        lag: random.millis(3),
        joins_at: match random.one_in(2) {
            true => Duration::ZERO,
            false => random.millis(300),
        },
        leaves: random
            .one_in(3)
            .then(|| (random.millis(400), *random.one_of(&exits))),
        answers,
        killers: Vec::new(),
        is_deaf: !is_tame && random.one_in(8),
        says_started: !random.one_in(12),
        tears_down: match random.one_in(16) {
            true => Duration::from_secs(8),
            false => random.millis(50),
        },
    }
}

/// The machine of a worker; the run's own has no name.
pub(super) fn machine(name: &str) -> MachineName {
    MachineName((!name.is_empty()).then(|| name.into()))
}

/// What executes graders: it is of the dispatcher's own process, and neither comes late nor leaves before it is told to.
fn graders(random: &mut Random, is_tame: bool) -> Script {
    let script = executor(random, is_tame);
    Script {
        capacity: Capacity {
            memory: u64::MAX,
            ..script.capacity
        },
        joins_at: Duration::ZERO,
        leaves: None,
        answers: (script.answers.into_iter())
            .filter(|answer| !is_lacking(*answer))
            .collect(),
        ..script
    }
}

fn is_lacking(answer: ScriptedAnswer) -> bool {
    match answer {
        ScriptedAnswer::After(_, end)
        | ScriptedAnswer::Twice(_, end)
        | ScriptedAnswer::LateAfterLost(_, end) => {
            matches!(end, ScriptedOutcome::Lacking | ScriptedOutcome::Unkept)
        }
        ScriptedAnswer::Never | ScriptedAnswer::Lost(_) | ScriptedAnswer::Returned => false,
    }
}

/// Anything may happen.
fn wild(seed: u64) -> Schedule {
    let mut random = Random(seed);
    let random = &mut random;
    let shape = Arc::clone(random.one_of(&SHAPES));
    let mut executors: Vec<_> = (0..1 + random.below(4))
        .map(|_| executor(random, false))
        .collect();
    kill(random, &shape, &mut executors);
    let modes = [
        StopMode::Drain,
        StopMode::Stop,
        StopMode::Cancel,
        StopMode::Kill,
    ];
    let stops = random.below(5).saturating_sub(1);
    Schedule {
        shape,
        executors,
        graders: graders(random, false),
        rules: AuditRules {
            fail_fast: random.one_in(3).then(|| 1 + random.below(4)),
            poison_after: random.below(4) as u32,
            grace: random.millis(300),
            ends: Duration::from_millis(500) + random.millis(2000),
            forsaken: random.millis(600),
        },
        stops: (0..stops)
            .map(|_| (random.millis(600), *random.one_of(&modes)))
            .collect(),
        disk_lag: random.millis(30),
        disk_fails_after: random.one_in(12).then(|| random.below(12) as usize),
        seed,
    }
}

/// Nobody stops the session, and somebody stays to the end who answers.
fn tame(seed: u64) -> Schedule {
    let mut random = Random(seed);
    let random = &mut random;
    let shape = Arc::clone(random.one_of(&SHAPES));
    let mut executors: Vec<_> = (0..1 + random.below(4))
        .map(|_| executor(random, true))
        .collect();
    kill(random, &shape, &mut executors);
    executors[0].leaves = None;
    executors[0].capacity.memory = 1024 * MIB;
    Schedule {
        shape,
        executors,
        graders: graders(random, true),
        rules: AuditRules {
            fail_fast: None,
            poison_after: 1 + random.below(4) as u32,
            grace: Duration::from_millis(100),
            ends: Duration::from_secs(3600),
            forsaken: random.millis(600),
        },
        stops: Vec::new(),
        disk_lag: random.millis(30),
        disk_fails_after: None,
        seed,
    }
}

/// Many workers come and go, and what a trial comes to does not depend on who makes it.
pub(super) fn fleet(seed: u64) -> Schedule {
    let mut random = Random(seed);
    let random = &mut random;
    let shape = Arc::clone(random.one_of(&SHAPES));
    let mut executors: Vec<_> = (0..2 + random.below(15))
        .map(|_| Script {
            // None gives everything back for ever.
            answers: (0..random.below(8))
                .map(|_| own_answer(random))
                .chain([OWN])
                .collect(),
            ..executor(random, true)
        })
        .collect();
    // One stays.
    executors[0].leaves = None;
    executors[0].capacity.memory = 1024 * MIB;
    let mut schedule = one_machine(&shape);
    schedule.executors = executors;
    schedule.graders.lag = random.millis(3);
    schedule.disk_lag = random.millis(30);
    schedule.seed = seed;
    schedule
}

/// The same plan on one machine on which nothing goes wrong.
pub(super) fn one_machine(shape: &Arc<PlanShape>) -> Schedule {
    let mut schedule = calm(Arc::clone(shape), vec![answering(4, OWN)]);
    schedule.graders = answering(2, OWN);
    schedule.rules.poison_after = 0;
    schedule.rules.ends = Duration::from_secs(3600);
    schedule
}

const OWN: ScriptedAnswer =
    ScriptedAnswer::After(Duration::from_millis(1), ScriptedOutcome::OfTrial);

/// An answer of a worker that may be lost, late, doubled or given back, but never another than the trial's own.
fn own_answer(random: &mut Random) -> ScriptedAnswer {
    let after = random.millis(20) + Duration::from_micros(50);
    match random.below(8) {
        0 => ScriptedAnswer::Twice(after, ScriptedOutcome::OfTrial),
        1 => ScriptedAnswer::Lost(after),
        2 => ScriptedAnswer::LateAfterLost(after, ScriptedOutcome::OfTrial),
        3 => ScriptedAnswer::Returned,
        _ => ScriptedAnswer::After(after, ScriptedOutcome::OfTrial),
    }
}

/// Makes trials that nobody survives, in some schedules.
fn kill(random: &mut Random, shape: &PlanShape, executors: &mut [Script]) {
    if random.one_in(6) {
        let trials = shape.trials.len() as u64;
        let killers = [random.below(trials), random.below(trials)];
        for executor in executors {
            executor.killers = killers.into();
            executor.says_started = true;
        }
    }
}

#[test]
fn whatever_happens_when_the_dispatcher_keeps_its_promises() {
    play_many(wild, |_, _| {});
}

#[test]
fn a_session_is_completed_if_somebody_stays_who_answers() {
    play_many(tame, |_, played| {
        assert_eq!(played.ending.cause, None);
        assert_eq!(played.ending.counts.done(), played.ending.counts.planned);
    });
}

#[test]
fn many_workers_that_come_and_go_make_the_result_of_one_machine() {
    play_many(fleet, |schedule, played| {
        assert_eq!(played.ending.cause, None);
        assert_eq!(
            played.outcomes,
            one_machine(&schedule.shape).play().outcomes
        );
    });
}

#[test]
fn a_stop_reaches_a_thousand_workers_within_its_bound() {
    let workers = (0..1000).map(|_| Script {
        lag: Duration::from_millis(40),
        ..answering(2, ScriptedAnswer::Never)
    });
    let mut schedule = calm(plan(3000, ""), workers.collect());
    let asked = Duration::from_millis(500);
    schedule.stops = vec![(asked, StopMode::Stop)];
    let played = schedule.play();
    assert_eq!(played.audit.written.len(), 2000);
    let took = played.over_at - asked;
    assert!(
        took <= schedule.rules.grace + Duration::from_secs(3),
        "it took {took:?}"
    );
}

/// A plan of `trials` trials of one provider, of which `table` says more.
pub(super) fn plan(trials: u64, table: &str) -> Arc<PlanShape> {
    let provider = "[providers.p]\nplugin = \"plugins/echo\"\nlimits = { memory = \"64MiB\" }";
    let text = format!(
        "name = \"scripted\"\n{provider}\n{table}\n[[tests]]\nid = \"t\"\nrepeat = {trials}\n"
    );
    Arc::new(PlanShape::of(&text))
}

/// An executor that answers after 3 ms, and always in the same way.
pub(super) fn answering(slots: usize, answer: ScriptedAnswer) -> Script {
    Script {
        capacity: Capacity {
            slots,
            memory: 1024 * MIB,
        },
        machine: MachineName::default(),
        lacks: Duration::ZERO..Duration::ZERO,
        heavy: Vec::new(),
        lag: Duration::from_micros(100),
        joins_at: Duration::ZERO,
        leaves: None,
        answers: vec![answer],
        killers: Vec::new(),
        is_deaf: false,
        says_started: true,
        tears_down: Duration::ZERO,
    }
}

pub(super) const PASSES: ScriptedAnswer =
    ScriptedAnswer::After(Duration::from_millis(3), ScriptedOutcome::Passed);
const FAILS: ScriptedAnswer =
    ScriptedAnswer::After(Duration::from_millis(3), ScriptedOutcome::Failed);

/// A schedule in which nothing goes wrong but what executors do.
pub(super) fn calm(shape: Arc<PlanShape>, executors: Vec<Script>) -> Schedule {
    Schedule {
        shape,
        executors,
        graders: answering(2, PASSES),
        rules: AuditRules {
            fail_fast: None,
            poison_after: 3,
            grace: Duration::from_millis(200),
            ends: Duration::from_secs(60),
            forsaken: Duration::from_secs(2),
        },
        stops: Vec::new(),
        disk_lag: Duration::from_millis(5),
        disk_fails_after: None,
        seed: 1,
    }
}

#[test]
fn what_an_executor_held_that_died_is_made_again_elsewhere() {
    let mut dies = answering(5, ScriptedAnswer::Never);
    dies.leaves = Some((Duration::from_millis(20), Exit::DiesHolding));
    let mut late = answering(2, PASSES);
    late.joins_at = Duration::from_millis(50);
    let played = calm(plan(12, ""), vec![dies, late]).play();

    assert_eq!(played.ending.cause, None);
    assert_eq!(played.ending.counts.passed, 12);
    let written = &played.audit.written;
    let lost = written
        .iter()
        .filter(|mark| mark.outcome == Outcome::Stopped);
    assert_eq!((lost.count(), written.len()), (5, 17));
}

#[test]
fn a_trial_that_nobody_survives_runs_last_and_alone_and_is_recorded_as_the_cause() {
    let executors = (0..3).map(|_| Script {
        killers: vec![0],
        ..answering(2, PASSES)
    });
    let played = calm(plan(9, ""), executors.collect()).play();
    assert_eq!(played.ending.cause, None);
    let counts = played.ending.counts;
    assert_eq!((counts.passed, counts.error), (8, 1));
    // Three deaths among others, three alone, and the row that says so.
    let of_killer = played
        .audit
        .written
        .iter()
        .filter(|mark| mark.key.ordinal == 0);
    assert_eq!(of_killer.count(), 7);
    let last = played.audit.written.last().unwrap();
    assert_eq!((last.key.ordinal, last.outcome), (0, Outcome::Error));
}

#[test]
fn a_run_that_fails_fast_begins_no_more_than_its_executors_would_be_idle_for() {
    for (bad, slots) in [(1, 1), (1, 4), (3, 2), (2, 8)] {
        let executors = vec![answering(slots, FAILS)];
        let mut schedule = calm(plan(40, ""), executors);
        schedule.rules.fail_fast = Some(bad);
        let played = schedule.play();
        let reason = played.ending.cause.unwrap().reason;
        assert_eq!(reason, Reason::FailFast);
        let most = bad as usize + slots - 1;
        let begun = played.audit.begun.len();
        assert!(begun <= most, "{begun} of {most}");
    }
}

#[test]
fn what_is_given_back_is_assigned_again_under_the_same_number() {
    let mut reluctant = answering(2, PASSES);
    reluctant.answers = vec![ScriptedAnswer::Returned, PASSES];
    let played = calm(plan(10, ""), vec![reluctant]).play();
    assert_eq!(played.ending.cause, None);
    assert!(played.audit.written.iter().all(|mark| mark.key.number == 1));
}

#[test]
fn an_answer_after_the_loss_and_one_more_count_for_nothing() {
    let late = ScriptedAnswer::LateAfterLost(Duration::from_millis(2), ScriptedOutcome::Failed);
    let mut forgetful = answering(3, PASSES);
    forgetful.answers = vec![
        late,
        ScriptedAnswer::Twice(Duration::from_millis(1), ScriptedOutcome::Passed),
    ];
    let mut schedule = calm(plan(20, ""), vec![forgetful]);
    schedule.rules.poison_after = 0;
    let played = schedule.play();
    assert_eq!(played.ending.counts.passed, 20);
}

#[test]
fn attempts_start_no_faster_than_the_rate_whoever_takes_them() {
    let executors = (0..3).map(|_| answering(4, PASSES)).collect();
    let played = calm(plan(10, "rate = \"100/s\""), executors).play();
    assert_eq!(played.ending.cause, None);
    assert!(played.over_at >= Duration::from_millis(90));
    assert!(played.over_at < Duration::from_millis(200));
}

#[test]
fn a_stop_is_over_within_its_bound_although_nobody_answers() {
    for (mode, bound) in [
        (StopMode::Stop, 200 + 200),
        (StopMode::Cancel, 200 + 200),
        (StopMode::Kill, 200),
    ] {
        let mut deaf = answering(4, ScriptedAnswer::Never);
        deaf.is_deaf = true;
        let mut schedule = calm(plan(20, ""), vec![deaf]);
        let asked = Duration::from_millis(50);
        schedule.stops = vec![(asked, mode)];
        let played = schedule.play();
        let took = played.over_at - asked;
        let bound = Duration::from_millis(bound) + schedule.disk_lag;
        assert!(took <= bound, "{mode:?} took {took:?}");
        // Those that were begun have rows.
        assert_eq!(played.audit.written.len(), 4);
    }
}

#[test]
fn without_anybody_to_execute_a_session_ends_at_its_deadline() {
    let mut schedule = calm(plan(3, ""), Vec::new());
    schedule.rules.ends = Duration::from_secs(2);
    let played = schedule.play();
    assert_eq!(played.ending.cause.unwrap().reason, Reason::Timeout);
    assert!(played.over_at >= schedule.rules.ends);
}
