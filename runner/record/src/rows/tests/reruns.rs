//! Selections of sessions and changes of the plan: the fold, the live state and the truth of dead sessions agree with a
//! plain search through the rows.

use std::sync::Arc;

use proptest::prelude::*;
use runner_model::known::KnownState;
use runner_model::{Counts, Outcome, RunStatus, Tail, digest};

use super::{Fold, RowFacts};
use crate::{
    NewPlan, NewSession, Owned, Rerun, ResultsRoot, RunDir, Writer,
    tests::{Plan, begin, folder, new_run, row, session, tail, writer},
};

/// A step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// A row of the pending trial at this place, modulo their number.
    Row(u64, Outcome, bool),
    /// The process dies. The next one selects trials, and may have a plan of another size.
    Death(Option<Rerun>, Option<u64>),
    /// The session selects the even trials again while it runs.
    Added,
}

fn step() -> impl Strategy<Value = Step> {
    let outcomes: Vec<_> = Outcome::ALL.iter().copied().filter(|one| one.can_be_final()).collect();
    let outcome = proptest::sample::select(outcomes);
    let row = (0..8_u64, outcome, proptest::bool::weighted(0.8));
    let reruns = [Rerun::Failed, Rerun::Errors, Rerun::All, Rerun::Glob("even".to_owned())];
    let rerun = proptest::option::of(proptest::sample::select(reruns.to_vec()));
    let trials = proptest::option::weighted(0.3, 2..7_u64);
    prop_oneof![
        6 => row.prop_map(|(place, outcome, is_final)| Step::Row(place, outcome, is_final)),
        1 => (rerun, trials).prop_map(|(rerun, trials)| Step::Death(rerun, trials)),
        1 => Just(Step::Added),
    ]
}

/// Ids of even trials, as far as the selections need them.
const EVEN: &str = "even";

fn matches(ids: &str, index: u64) -> bool {
    (ids == EVEN || ids == digest(EVEN.as_bytes()).to_string()) && index.is_multiple_of(2)
}

/// All rows, searched again for each question.
#[derive(Default)]
struct Model {
    /// Final rows: trial, outcome, number.
    finals: Vec<(u64, Outcome, u64)>,
    /// Selections, each with the number of rows before it.
    reruns: Vec<(Rerun, u64)>,
    trials: u64,
}

impl Model {
    fn outcome(&self, index: u64, up_to: u64) -> Option<Outcome> {
        let rows = self.finals.iter().rev();
        let mut rows = rows.filter(|(trial, _, seq)| *trial == index && *seq <= up_to);
        rows.next().map(|(_, outcome, _)| *outcome)
    }

    fn is_pending(&self, index: u64) -> bool {
        let has_row_after =
            |after| (self.finals.iter()).any(|(trial, _, seq)| *trial == index && *seq > after);
        let is_owed = |(rerun, from): &(Rerun, u64)| {
            let outcome = self.outcome(index, *from);
            outcome.is_some_and(|outcome| rerun.is_of(outcome, KnownState::Unlisted))
                && rerun.ids().is_none_or(|glob| matches(&glob, index))
                && !has_row_after(*from)
        };
        self.outcome(index, u64::MAX).is_none() || self.reruns.iter().any(is_owed)
    }

    fn pending(&self) -> Vec<u64> {
        (0..self.trials).filter(|index| self.is_pending(*index)).collect()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in (0..self.trials).filter_map(|index| self.outcome(index, u64::MAX)) {
            counts.add(outcome, false);
        }
        counts
    }
}

/// A session with its live state and the model.
struct Session {
    writer: Option<Writer>,
    owned: Owned,
    live: Fold,
    model: Model,
}

impl Session {
    fn write(&mut self, place: u64, outcome: Outcome, is_final: bool) {
        let pending = self.model.pending();
        let Some(index) = pending.get(place as usize % pending.len().max(1)) else {
            return;
        };
        let attempt = self.live.attempts(*index) + 1;
        let line = row(*index as u32 + 1, attempt, outcome);
        let writer = self.writer.as_mut().unwrap();
        let session = self.owned.manifest().sessions.len() as u32;
        let seq = writer.row(line, Tail { session, ..tail(is_final) }, None, vec![]);
        let facts = RowFacts {
            outcome,
            attempt,
            is_final,
            flaky: false,
            is_judged: false,
            has_denied: false,
            service_failed: false,
            state: KnownState::Unlisted,
            seq,
            session,
        };
        self.live.add(*index, facts);
        if is_final {
            self.model.finals.push((*index, outcome, seq));
        }
    }

    fn add_rerun(&mut self) {
        let from_seq = self.live.last_seq();
        for index in (0..self.model.trials).filter(|index| index.is_multiple_of(2)) {
            let was_pending = self.model.is_pending(index);
            assert_eq!(self.live.select_again(index), !was_pending);
        }
        self.owned.add_rerun("why", EVEN, from_seq, self.live.selected()).unwrap();
        let trials = digest(EVEN.as_bytes());
        self.model.reruns.push((Rerun::Filter { filter: "why".to_owned(), trials }, from_seq));
    }

    /// Ends the process, sweeps the run and resumes it.
    fn die(
        mut self,
        root: &ResultsRoot,
        run: &RunDir,
        rerun: Option<Rerun>,
        trials: Option<u64>,
    ) -> Self {
        self.writer.take().unwrap().close().unwrap();
        drop(self.owned);
        let mut model = self.model;
        let truth = run.truth().unwrap();
        let mut owned = root.claim(run).unwrap();
        let is_complete = owned.manifest().status == RunStatus::Completed;
        assert_eq!(is_complete, model.pending().is_empty());
        assert_eq!(owned.manifest().counts, model.counts());
        assert_eq!((truth.status, truth.counts), (owned.manifest().status, model.counts()));

        model.trials = trials.unwrap_or(model.trials);
        let fold = |owned: &Owned| {
            Fold::of(run, owned.manifest(), &Plan(model.trials), &Arc::default(), &matches).unwrap()
        };
        let mut before = fold(&owned);
        if let Some(rerun) = &rerun {
            before.select(rerun, &matches);
            model.reruns.push((rerun.clone(), before.last_seq()));
        }
        let plan = trials.map(|trials| {
            let new = new_run(trials);
            NewPlan {
                scenario: new.scenario,
                text: format!("name = \"{trials}\""),
                metadata: new.metadata,
                providers: new.providers,
                counts: before.counts(),
            }
        });
        let session = NewSession {
            rerun,
            pending: Some(before.left()),
            removed: before.removed(),
            ..session("resume")
        };
        owned.open_session(session, plan).unwrap();
        let live = fold(&owned);
        assert_eq!(live.left(), before.left());
        assert_eq!(live.damaged(), 0);
        Self { writer: Some(writer(&owned).0), owned, live, model }
    }

    fn check(&self) {
        assert_eq!(self.live.left(), self.model.pending().len() as u64);
        assert_eq!(self.live.counts(), self.model.counts());
        for index in 0..self.model.trials {
            let state = self.live.trial(index);
            assert_eq!(state.is_pending, self.model.is_pending(index));
            assert_eq!(state.outcome, self.model.outcome(index, u64::MAX));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reruns_and_plans_agree_with_a_search(steps in proptest::collection::vec(step(), 0..60)) {
        const TRIALS: u64 = 4;
        let folder = folder();
        let (root, owned) = begin(folder.path(), TRIALS);
        let run = owned.dir().clone();
        let model = Model { trials: TRIALS, ..Model::default() };
        let live = Fold::new(TRIALS);
        let mut session = Session { writer: Some(writer(&owned).0), owned, live, model };
        for step in steps {
            match step {
                Step::Row(place, outcome, is_final) => session.write(place, outcome, is_final),
                Step::Death(rerun, trials) => session = session.die(&root, &run, rerun, trials),
                Step::Added => session.add_rerun(),
            }
            session.check();
        }
        session.die(&root, &run, None, None).check();
    }
}
