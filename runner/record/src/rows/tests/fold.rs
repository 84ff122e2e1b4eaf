//! The fold agrees with the rows on disk.

use std::collections::BTreeMap;

use proptest::prelude::*;
use runner_model::{Counts, Outcome, known::KnownState, row::read_head};

use super::{Fold, RowEffect, RowFacts, TrialState, UnplannedFold};
use crate::{
    Owned, RunDir, Writer,
    tests::{begin, folder, row, session, tail, writer},
};

const TRIALS: u64 = 5;

/// A step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// A row: index, outcome, final, flaky, judged.
    Row(u64, Outcome, bool, bool, bool),
    /// The process dies, and another one continues the run.
    Death,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = proptest::sample::select(Outcome::ALL);
    let row = (0..TRIALS + 1, outcome, any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        8 => row.prop_map(|(index, outcome, is_final, flaky, judged)| Step::Row(index, outcome, is_final, flaky, judged)),
        1 => Just(Step::Death),
    ]
}

/// A session with its live state.
struct Session {
    writer: Option<Writer>,
    owned: Owned,
    live: Fold,
    number: u32,
}

impl Session {
    fn write(
        &mut self,
        (index, outcome, is_final, flaky, judged): (u64, Outcome, bool, bool, bool),
    ) {
        let attempt =
            if judged { self.live.attempts(index).max(1) } else { self.live.attempts(index) + 1 };
        let mut tail = tail(is_final && outcome.can_be_final());
        tail.flaky = flaky && outcome == Outcome::Passed && tail.r#final;
        tail.session = self.number;
        tail.judged = judged.then_some(1);
        let row = row(index as u32 + 1, attempt, outcome);
        let writer = self.writer.as_mut().unwrap();
        tail.seq = writer.row(row.clone(), tail.clone(), None, vec![]);
        let mut line = row;
        tail.finish(&mut line);
        let row = read_head(line.strip_suffix(b"\n").unwrap()).unwrap();
        self.live.add(index, (&row).into());
    }
}

/// Returns the fold of the rows on disk. The live one does not look for rows of other runs.
fn on_disk(owned: &Owned) -> Fold {
    Fold { foreign: None, removed: Counts::default(), ..crate::tests::fold(owned, TRIALS) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_live_state_is_the_fold_over_any_sessions_reruns_and_deaths(steps in proptest::collection::vec(step(), 0..40)) {
        let folder = folder();
        let (root, owned) = begin(folder.path(), TRIALS);
        let run = owned.dir().clone();
        let writer = |owned: &Owned| Some(writer(owned).0);
        let mut session = Session { writer: writer(&owned), owned, live: Fold::new(TRIALS), number: 1 };
        for step in steps {
            match step {
                Step::Row(index, outcome, is_final, flaky, judged) => session.write((index, outcome, is_final, flaky, judged)),
                Step::Death => {
                    session.writer.take().unwrap().close().unwrap();
                    let Session { owned, mut number, live, .. } = session;
                    drop(owned);
                    let mut owned = root.claim(&run).unwrap();
                    number += 1;
                    owned.open_session(self::session("resume"), None).unwrap();
                    let live_again = on_disk(&owned);
                    prop_assert_eq!(&live_again, &live);
                    session = Session { writer: writer(&owned), owned, live: live_again, number };
                }
            }
        }
        session.writer.take().unwrap().close().unwrap();
        prop_assert_eq!(&on_disk(&session.owned), &session.live);
        let written = numbers(&run);
        prop_assert!(written.is_sorted());

        // A plain search for the newest final rows finds the same counts.
        let (mut finals, mut newest) = (BTreeMap::new(), BTreeMap::new());
        let (known, adaptive) = Default::default();
        let mut unplanned = UnplannedFold::new(session.owned.manifest(), &known, &adaptive);
        run.read_lines(&mut |_, line| if let crate::ReadLine::Row(row, bytes) = line {
            if row.trial.repeat as u64 <= TRIALS {
                unplanned.add(&row, bytes);
            }
            if row.trial.repeat as u64 <= TRIALS {
                newest.insert(row.trial.repeat, row.outcome);
            }
            if row.r#final && row.trial.repeat as u64 <= TRIALS {
                finals.insert(row.trial.repeat, (row.outcome, row.flaky));
            }
        }).unwrap();
        let mut counts = Counts::default();
        for (outcome, flaky) in finals.values() {
            counts.add(*outcome, *flaky);
        }
        let waiting = newest.iter().filter(|(trial, outcome)| {
            **outcome == Outcome::Ungraded && !finals.contains_key(*trial)
        });
        waiting.for_each(|(_, outcome)| counts.add(*outcome, false));
        prop_assert_eq!(session.live.counts(), counts);
        prop_assert_eq!(unplanned.sums().finish(session.owned.manifest()).0, counts);
        for index in 0..TRIALS {
            let outcome = finals.get(&(index as u32 + 1)).map(|(outcome, _)| *outcome);
            prop_assert_eq!(session.live.trial(index).outcome, outcome);
        }

        // Another program has sorted the rows and doubled some.
        let path = run.path().join(crate::disk::layout::ROWS);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().chain(text.lines().skip(3)).collect();
        lines.sort_unstable_by_key(|line| line.len());
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        prop_assert_eq!(numbers(&run), written);
    }
}

/// Returns the numbers of all rows as commands read them.
fn numbers(run: &RunDir) -> Vec<u64> {
    run.fold_rows(&Vec::new, &mut |numbers, _, row, _| numbers.push(row.seq)).unwrap()
}

#[test]
fn a_trial_remembers_what_matters_of_its_rows() {
    let mut fold = Fold::new(2);
    let mut seq = 0;
    let mut add = |fold: &mut Fold, index: u64, attempt, outcome, is_final, flaky| {
        seq += 1;
        let mut tail = tail(is_final);
        (tail.seq, tail.flaky) = (seq, flaky);
        let mut line = row(index as u32 + 1, attempt, outcome);
        tail.finish(&mut line);
        let row = read_head(line.strip_suffix(b"\n").unwrap()).unwrap();
        fold.add(index, (&row).into());
    };
    let new = TrialState {
        outcome: None,
        ungraded: false,
        had_bad: false,
        is_pending: true,
        is_selected: false,
        state: KnownState::Unlisted,
    };
    add(&mut fold, 0, 1, Outcome::Stopped, false, false);
    assert_eq!(fold.trial(0), new);
    add(&mut fold, 0, 2, Outcome::Failed, false, false);
    add(&mut fold, 0, 3, Outcome::Ungraded, false, false);
    assert_eq!(fold.trial(0), TrialState { ungraded: true, had_bad: true, ..new });
    // A distrusted output is not graded, and a new attempt is.
    let mut distrusted = fold.clone();
    assert!(!distrusted.select_again(0));
    assert_eq!(distrusted.trial(0), TrialState { had_bad: true, is_selected: true, ..new });
    add(&mut distrusted, 0, 4, Outcome::Ungraded, false, false);
    assert_eq!(distrusted.trial(0), TrialState { ungraded: true, had_bad: true, ..new });
    add(&mut fold, 0, 3, Outcome::Passed, true, true);
    let passed = Some(Outcome::Passed);
    let expected = TrialState { outcome: passed, had_bad: true, is_pending: false, ..new };
    assert_eq!(fold.trial(0), expected);
    assert_eq!(fold.attempts(0), 3);
    assert_eq!((fold.counts().passed, fold.counts().flaky), (1, 1));
    add(&mut fold, 0, 3, Outcome::Error, true, false);
    assert_eq!((fold.counts().passed, fold.counts().flaky, fold.counts().error), (0, 0, 1));
    assert_eq!((fold.attempts(1), fold.last_seq(), fold.damaged()), (0, 6, 0));
    // The plan has no such trial.
    add(&mut fold, 2, 1, Outcome::Passed, true, false);
    assert_eq!((fold.counts().done(), fold.last_seq(), fold.damaged()), (1, 7, 0));
}

#[test]
fn judged_row_replaces_the_row_of_its_attempt() {
    use Outcome::{Error, Failed, Passed};
    let mut fold = Fold::new(1);
    // The error is of a service that failed, which makes no pass flaky.
    for (outcome, is_judged, bad_before, had_bad) in [
        (Error, false, false, false),
        (Failed, false, false, true),
        (Failed, true, false, true),
        (Passed, true, false, false),
        (Failed, false, false, true),
        (Passed, false, true, true),
        (Passed, true, true, true),
    ] {
        let row = RowFacts {
            outcome,
            attempt: 1,
            is_final: true,
            flaky: false,
            is_judged,
            has_denied: false,
            service_failed: true,
            state: KnownState::Unlisted,
            seq: 1,
            session: 1,
        };
        let expected = RowEffect { settles: true, bad_before, needs: None };
        assert_eq!(fold.add(0, row), Some(expected), "{outcome} {is_judged}");
        assert_eq!(fold.trial(0).had_bad, had_bad, "{outcome} {is_judged}");
    }
}
