//! Which trials adaptive repeats need.

use std::collections::BTreeSet;
use std::sync::Arc;

use runner_model::known::KnownState;
use runner_model::test::{AdaptiveRepeats, RepeatUntil};
use runner_model::{Outcome, Places, TrialId};

use super::{AdaptiveTests, Fold, RowFacts, hash};

const MAX: u32 = 40;
const TESTS: [&str; 3] = ["a", "b", "c"];
const UNTIL: RepeatUntil = RepeatUntil { min: 5, width: 0.3 };

/// Three tests on a provider. The last one has no rule.
struct Plan;

impl Places for Plan {
    fn index(&self, _: &TrialId) -> Option<u64> {
        None
    }

    fn trials(&self) -> u64 {
        u64::from(MAX) * 2 + 3
    }

    fn adaptive(&self) -> Vec<AdaptiveRepeats> {
        let first = |test: u64| test * u64::from(MAX);
        (0..2).map(|test| AdaptiveRepeats { first: first(test), max: MAX, until: UNTIL }).collect()
    }
}

fn id(index: u64) -> TrialId {
    let (test, repeat) = (index / u64::from(MAX), index % u64::from(MAX) + 1);
    TrialId::parse(&format!("{}@p#{repeat}", TESTS[test as usize])).unwrap()
}

fn facts(outcome: Outcome, session: u32) -> RowFacts {
    RowFacts {
        outcome,
        attempt: 1,
        is_final: true,
        flaky: false,
        is_judged: false,
        has_denied: false,
        service_failed: false,
        state: KnownState::Unlisted,
        seq: 1,
        session,
    }
}

/// The outcome of a trial: all of `a` pass, and two of three of `b`.
fn outcome(index: u64) -> Outcome {
    let is_pass = index < MAX.into() || !index.is_multiple_of(3);
    if is_pass { Outcome::Passed } else { Outcome::Timeout }
}

fn unplanned() -> Fold {
    let rules = TESTS[..2].iter().map(|test| (hash(&(*test, "p")), (MAX, UNTIL)));
    Fold::unplanned(&Arc::new(AdaptiveTests { rules: rules.collect(), rescores: vec![3] }))
}

/// Runs all needed trials, with up to `jobs` at once, whose results come in an order by `seed`. Returns the trials that ran.
fn run(fold: &mut Fold, jobs: usize, mut seed: u64) -> Vec<u64> {
    let mut waiting: BTreeSet<u64> =
        (0..Plan.trials()).filter(|index| fold.trial(*index).is_pending).collect();
    let (mut in_flight, mut ran) = (Vec::new(), Vec::new());
    loop {
        while in_flight.len() < jobs
            && let Some(next) = waiting.pop_first()
        {
            in_flight.push(next);
        }
        if in_flight.is_empty() {
            return ran;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let index = in_flight.swap_remove((seed >> 33) as usize % in_flight.len());
        ran.push(index);
        let effect = fold.add(index, facts(outcome(index), 1)).unwrap();
        waiting.extend(effect.needs);
    }
}

#[test]
fn order_of_results_does_not_change_which_are_needed() {
    let expected: BTreeSet<_> = run(&mut Fold::of_plan(&Plan, None), 1, 0).into_iter().collect();
    // 9 passes, or 24 of 35, make the interval narrower than 0.3.
    let of = |test: u64| expected.iter().filter(|index| **index / u64::from(MAX) == test).count();
    assert_eq!([of(0), of(1), of(2)], [9, 35, 3]);
    for seed in 0..200 {
        let mut fold = Fold::of_plan(&Plan, None);
        assert_eq!(fold.left(), 13);
        let ran = run(&mut fold, 1 + seed as usize % 16, seed);
        assert_eq!(ran.iter().copied().collect::<BTreeSet<_>>(), expected, "{seed}");
        assert_eq!(ran.len(), expected.len(), "{seed}: no trial runs twice");
        assert_eq!((fold.left(), fold.counts().not_needed), (0, Some(80 - 44)));
        assert!(fold.counts().is_whole(Plan.trials()));
        // A fold without the plan has the same counts, and one that is interrupted anywhere continues to the same trials.
        let mut other = unplanned();
        let mut torn = Fold::of_plan(&Plan, None);
        for (place, index) in ran.iter().enumerate() {
            let place_there = other.add_trial(&id(*index));
            other.add_unplanned(place_there, facts(outcome(*index), 1), false);
            if place < seed as usize % ran.len() {
                torn.add(*index, facts(outcome(*index), 1));
            }
        }
        assert_eq!(other.counts(), fold.counts());
        run(&mut torn, 7, seed + 1);
        assert_eq!((torn.counts(), torn.left()), (fold.counts(), 0));
    }
}

#[test]
fn results_of_a_rescore_need_no_further_trials() {
    for (session, needs, not_needed) in [(3, None, Some(31)), (4, Some(9), Some(0))] {
        let mut fold = Fold::of_plan(&Plan, None);
        fold.rescore(3);
        let mut other = unplanned();
        for index in 0..9 {
            fold.add(index, facts(Outcome::Passed, 1));
            let place = other.add_trial(&id(index));
            other.add_unplanned(place, facts(Outcome::Passed, 1), true);
        }
        assert_eq!(fold.counts().not_needed, Some(31));
        // The interval of 8 passes in 9 trials is wide.
        let effect = fold.add(4, facts(Outcome::Failed, session)).unwrap();
        assert_eq!((effect.needs, fold.counts().not_needed), (needs, not_needed), "{session}");
        other.add_unplanned(4, facts(Outcome::Failed, session), false);
        assert_eq!(other.counts(), fold.counts(), "{session}");
    }
}

#[test]
fn trials_that_run_again_end_before_further_ones_start() {
    let mut fold = Fold::of_plan(&Plan, None);
    for index in 0..9 {
        fold.add(index, facts(Outcome::Passed, 1));
    }
    fold.mark(2);
    fold.mark(6);
    assert_eq!((fold.selected(), fold.left()), (2, 2 + 5 + 3));
    // With the old result of the other one, the rule looks at no whole round.
    assert_eq!(fold.add(6, facts(Outcome::Failed, 2)).unwrap().needs, None);
    assert_eq!(fold.add(2, facts(Outcome::Passed, 2)).unwrap().needs, Some(9));
    assert!(fold.trial(9).is_pending && !fold.trial(10).is_pending);
}
