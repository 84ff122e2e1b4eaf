//! [`State`]: what is known of every trial of a run, and the only door into it.

use std::{collections::BTreeMap, ops::Range};

use super::{
    slot::{Phase, TrialSlot},
    trial_pages::TrialPages,
};
use crate::{
    model::{Counts, Outcome},
    record::format::mark::{AttemptKey, Mark},
};

/// What is known of every trial of a run; two bytes each, by ordinal, once something is known of it or of a trial near it.
///
/// While a run is live the dispatcher maintains it: [`State::assign`] gives an attempt its number, [`accept`] lets its report
/// in once, [`State::written`] counts it when its row is on disk. `State::replay` arrives at the same state from the rows
/// alone.
#[derive(Clone, Debug)]
pub struct State {
    slots: TrialPages<TrialSlot>,
    /// Attempt numbers that do not fit into their slot.
    large_numbers: BTreeMap<u64, u32>,
    counts: Counts,
}

/// Lets the report of an attempt into the state, if it is the first one of an attempt that was assigned.
///
/// This is the only door: what it does not call [`Accepted::New`] must be dropped by the caller.
pub fn accept(state: &mut State, key: AttemptKey) -> Accepted {
    let Some(phase) = state.phase(key.ordinal) else {
        return Accepted::Foreign;
    };
    let number = state.number(key.ordinal);
    if key.number == 0 || key.number > number {
        return Accepted::Foreign;
    }
    if key.number < number || phase != Phase::Assigned {
        return Accepted::Duplicate;
    }
    state.set(key.ordinal, Phase::HandedOver, number);
    Accepted::New
}

/// What [`accept`] says of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is the first report of its attempt: record it.
    New,
    /// Its attempt was reported before, or is overtaken by a later one: drop it.
    Duplicate,
    /// Its trial is not of this plan, or its attempt was never assigned: drop it.
    Foreign,
}

impl State {
    /// Begins with no attempt of any of `trials` trials.
    pub fn planned(trials: u64) -> Self {
        Self {
            slots: TrialPages::default(),
            large_numbers: BTreeMap::new(),
            counts: Counts {
                planned: trials,
                ..Counts::default()
            },
        }
    }

    /// Lets in one row that was written earlier: its attempt was assigned, reported and written.
    pub(crate) fn replay(&mut self, mark: Mark) -> Accepted {
        let AttemptKey { ordinal, number } = mark.key;
        let is_open = self
            .phase(ordinal)
            .is_some_and(|phase| phase.outcome().is_none());
        if is_open && number > self.number(ordinal) {
            self.set(ordinal, Phase::Assigned, number);
        }
        let accepted = accept(self, mark.key);
        if accepted == Accepted::New {
            self.written(mark);
        }
        accepted
    }

    /// Tells whether a trial has no final row and no attempt that is under way or on its way to the disk.
    pub fn is_pending(&self, ordinal: u64) -> bool {
        self.phase(ordinal) == Some(Phase::Pending)
    }

    /// The first pending trial at or after `from`.
    pub fn next_pending(&self, from: u64) -> Option<u64> {
        (from..self.counts.planned).find(|ordinal| self.is_pending(*ordinal))
    }

    /// Begins a trial's next attempt and gives it its number.
    ///
    /// A retry may begin while the attempt before it is still on its way to the disk.
    ///
    /// # Panics
    ///
    /// If the trial is not of this plan, has a final row, or has an attempt that is under way.
    pub fn assign(&mut self, ordinal: u64) -> u32 {
        let phase = self.phase(ordinal);
        assert!(
            matches!(phase, Some(Phase::Pending | Phase::HandedOver)),
            "trial {ordinal} cannot be assigned while it is {phase:?}"
        );
        let number = self.number(ordinal) + 1;
        self.set(ordinal, Phase::Assigned, number);
        number
    }

    /// Takes back an attempt that was assigned and never began; its number is given again.
    pub fn release(&mut self, key: AttemptKey) -> Accepted {
        if self.phase(key.ordinal) != Some(Phase::Assigned)
            || self.number(key.ordinal) != key.number
        {
            return Accepted::Foreign;
        }
        self.set(key.ordinal, Phase::Pending, key.number - 1);
        Accepted::New
    }

    /// Notes that the row of an accepted attempt is on disk: from now on it counts.
    pub fn written(&mut self, mark: Mark) {
        let AttemptKey { ordinal, number } = mark.key;
        if !mark.is_final && mark.outcome.is_bad() && self.outcome(ordinal).is_none() {
            self.slot_mut(ordinal).set_flaky(true);
        }
        let is_current =
            self.phase(ordinal) == Some(Phase::HandedOver) && self.number(ordinal) == number;
        if !is_current {
            // A retry is under way already, and this was not its trial's last word.
            return;
        }
        if mark.outcome == Outcome::Ungraded {
            self.set(ordinal, Phase::Ungraded, number);
            return;
        }
        self.settle(mark);
    }

    /// Notes that a judgement of an attempt is on disk: what it means now. It is [`Accepted::New`] if the attempt is its
    /// trial's latest one, and has been judged before or has yet to be graded; any other changes nothing.
    pub fn judged(&mut self, mark: Mark) -> Accepted {
        let AttemptKey { ordinal, number } = mark.key;
        let Some(phase) = self.phase(ordinal) else {
            return Accepted::Foreign;
        };
        let before = match phase {
            _ if number != self.number(ordinal) => None,
            _ if matches!(mark.outcome, Outcome::Ungraded | Outcome::Stopped) => None,
            Phase::Ungraded => Some(None),
            // What has settled a trial can be replaced, and not taken back.
            Phase::Final(outcome) if mark.is_final => Some(Some(outcome)),
            Phase::Pending | Phase::Assigned | Phase::HandedOver | Phase::Final(_) => None,
        };
        let Some(before) = before else {
            return Accepted::Duplicate;
        };
        if let Some(outcome) = before {
            let is_flaky = self.slot_mut(ordinal).is_flaky();
            self.counts.remove(outcome, is_flaky);
        } else if !mark.is_final && mark.outcome.is_bad() {
            self.slot_mut(ordinal).set_flaky(true);
        }
        self.settle(mark);
        Accepted::New
    }

    fn settle(&mut self, mark: Mark) {
        let AttemptKey { ordinal, number } = mark.key;
        if !mark.is_final {
            self.set(ordinal, Phase::Pending, number);
            return;
        }
        self.set(ordinal, Phase::Final(mark.outcome), number);
        self.slot_mut(ordinal).set_flaky(mark.is_flaky);
        self.counts.add(mark.outcome, mark.is_flaky);
    }

    /// Tells whether a trial's latest attempt is on disk, and has yet to be graded: it is not executed again.
    pub fn is_ungraded(&self, ordinal: u64) -> bool {
        self.phase(ordinal) == Some(Phase::Ungraded)
    }

    /// How many trials have yet to be graded.
    pub fn ungraded(&self) -> u32 {
        let slots = self.slots.iter();
        let ungraded = slots.filter(|(_, slot)| slot.phase() == Phase::Ungraded);
        u32::try_from(ungraded.count()).unwrap_or(u32::MAX)
    }

    /// Makes a trial that has a final row, or has yet to be graded, pending again; its attempts go on where they were.
    pub(in crate::record) fn reopen(&mut self, ordinal: u64) {
        match self.phase(ordinal) {
            Some(Phase::Final(outcome)) => {
                let is_flaky = self.slot_mut(ordinal).is_flaky();
                self.counts.remove(outcome, is_flaky);
            }
            Some(Phase::Ungraded) => {}
            Some(Phase::Pending | Phase::Assigned | Phase::HandedOver) | None => return,
        }
        self.set(ordinal, Phase::Pending, self.number(ordinal));
        self.slot_mut(ordinal).set_flaky(false);
    }

    /// Tells whether a trial that has no final row had an attempt that ended badly: if it passes now, it is flaky.
    pub fn is_shaky(&self, ordinal: u64) -> bool {
        self.slot(ordinal)
            .is_some_and(|slot| slot.phase().outcome().is_none() && slot.is_flaky())
    }

    /// What a trial came to, once its final row is on disk.
    pub fn outcome(&self, ordinal: u64) -> Option<Outcome> {
        self.phase(ordinal)?.outcome()
    }

    /// Where all trials are of which anything is known, as ranges of ordinals.
    pub(super) fn known(&self) -> Vec<Range<u64>> {
        self.slots.ranges()
    }

    /// The number of a trial's latest attempt; 0 if it had none.
    pub fn attempts(&self, ordinal: u64) -> u32 {
        self.number(ordinal)
    }

    /// How many trials came to what, by the rows that are on disk.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Tells whether every planned trial has a final row.
    pub fn is_complete(&self) -> bool {
        (0..self.counts.planned).all(|ordinal| self.outcome(ordinal).is_some())
    }

    /// A trial of this plan.
    fn slot(&self, ordinal: u64) -> Option<TrialSlot> {
        let is_planned = ordinal < self.counts.planned;
        is_planned.then(|| self.slots.get(ordinal).copied().unwrap_or_default())
    }

    fn phase(&self, ordinal: u64) -> Option<Phase> {
        Some(self.slot(ordinal)?.phase())
    }

    fn number(&self, ordinal: u64) -> u32 {
        match self.slot(ordinal).map(TrialSlot::number) {
            Some(TrialSlot::LARGE) => self.large_numbers[&ordinal],
            Some(number) => number,
            None => 0,
        }
    }

    fn set(&mut self, ordinal: u64, phase: Phase, number: u32) {
        let slot = self.slot_mut(ordinal);
        let is_flaky = slot.is_flaky();
        *slot = TrialSlot::new(phase, number);
        slot.set_flaky(is_flaky);
        if number >= TrialSlot::LARGE {
            self.large_numbers.insert(ordinal, number);
        }
    }

    fn slot_mut(&mut self, ordinal: u64) -> &mut TrialSlot {
        assert!(
            ordinal < self.counts.planned,
            "trial {ordinal} is not of this plan"
        );
        self.slots.slot(ordinal)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::{Accepted, AttemptKey, Mark, State, accept};
    use crate::model::Outcome;

    const TRIALS: u64 = 5;

    /// The state that rows tell of, in the order in which they were written.
    fn fold(marks: impl IntoIterator<Item = Mark>) -> State {
        let mut state = State::planned(TRIALS);
        for mark in marks {
            state.replay(mark);
        }
        state
    }

    fn key(ordinal: u64, number: u32) -> AttemptKey {
        AttemptKey { ordinal, number }
    }

    fn mark(ordinal: u64, number: u32, outcome: Outcome) -> Mark {
        Mark {
            key: key(ordinal, number),
            outcome,
            is_final: !matches!(outcome, Outcome::Stopped | Outcome::Ungraded),
            is_flaky: false,
        }
    }

    #[test]
    fn a_report_is_let_in_once_and_only_if_its_attempt_was_assigned() {
        let mut state = State::planned(2);
        assert_eq!(accept(&mut state, key(0, 1)), Accepted::Foreign);
        assert_eq!(state.assign(0), 1);
        assert_eq!(accept(&mut state, key(2, 1)), Accepted::Foreign);
        assert_eq!(accept(&mut state, key(0, 2)), Accepted::Foreign);
        assert_eq!(accept(&mut state, key(0, 0)), Accepted::Foreign);
        assert_eq!(accept(&mut state, key(0, 1)), Accepted::New);
        assert_eq!(accept(&mut state, key(0, 1)), Accepted::Duplicate);

        assert_eq!(state.assign(0), 2);
        assert_eq!(accept(&mut state, key(0, 1)), Accepted::Duplicate);
        assert_eq!(accept(&mut state, key(0, 2)), Accepted::New);
    }

    #[test]
    fn a_trial_counts_once_its_final_row_is_written() {
        let mut state = State::planned(1);
        state.assign(0);
        accept(&mut state, key(0, 1));
        assert_eq!((state.counts().done(), state.is_complete()), (0, false));
        assert!(!state.is_pending(0));

        state.written(mark(0, 1, Outcome::Passed));
        state.written(mark(0, 1, Outcome::Passed));
        assert_eq!((state.counts().passed, state.is_complete()), (1, true));
        assert_eq!(state.outcome(0), Some(Outcome::Passed));
    }

    #[test]
    fn a_stopped_trial_is_pending_again_and_an_attempt_that_never_began_gives_its_number_back() {
        let mut state = State::planned(2);
        state.assign(0);
        accept(&mut state, key(0, 1));
        state.written(mark(0, 1, Outcome::Stopped));
        assert_eq!(state.next_pending(0), Some(0));
        assert_eq!(state.assign(0), 2);

        assert_eq!(state.release(key(0, 1)), Accepted::Foreign);
        assert_eq!(state.release(key(0, 2)), Accepted::New);
        assert_eq!(accept(&mut state, key(0, 2)), Accepted::Foreign);
        assert_eq!(state.assign(0), 2);
        assert_eq!(state.next_pending(0), Some(1));
    }

    #[test]
    fn attempts_are_numbered_beyond_what_a_slot_holds() {
        let mut state = State::planned(1);
        for number in 1..=10_000 {
            assert_eq!(state.assign(0), number);
            assert_eq!(accept(&mut state, key(0, number)), Accepted::New);
        }
        assert_eq!(state.attempts(0), 10_000);
    }

    #[test]
    fn an_attempt_is_graded_once_it_is_on_disk_and_what_it_means_is_replaced_by_the_newest_judgement()
     {
        let mut state = State::planned(2);
        state.assign(0);
        accept(&mut state, key(0, 1));
        assert_eq!(
            state.judged(mark(0, 1, Outcome::Passed)),
            Accepted::Duplicate
        );
        state.written(mark(0, 1, Outcome::Ungraded));
        assert!(state.is_ungraded(0) && !state.is_pending(0));
        assert_eq!((state.counts().done(), state.next_pending(0)), (0, Some(1)));

        assert_eq!(
            state.judged(mark(0, 2, Outcome::Passed)),
            Accepted::Duplicate
        );
        assert_eq!(state.judged(mark(7, 1, Outcome::Passed)), Accepted::Foreign);
        assert_eq!(
            state.judged(mark(0, 1, Outcome::Ungraded)),
            Accepted::Duplicate
        );
        let tried_again = Mark {
            is_final: false,
            ..mark(0, 1, Outcome::Failed)
        };
        assert_eq!(state.judged(tried_again), Accepted::New);
        assert!(state.is_pending(0) && state.is_shaky(0));

        assert_eq!(state.assign(0), 2);
        accept(&mut state, key(0, 2));
        let flaky = Mark {
            is_flaky: true,
            ..mark(0, 2, Outcome::Passed)
        };
        state.written(flaky);
        assert_eq!((state.counts().passed, state.counts().flaky), (1, 1));
        assert_eq!(state.judged(tried_again), Accepted::Duplicate);
        assert_eq!(
            state.judged(mark(0, 2, Outcome::Stopped)),
            Accepted::Duplicate
        );
        assert_eq!(state.judged(mark(0, 2, Outcome::Failed)), Accepted::New);
        let counts = state.counts();
        assert_eq!((counts.passed, counts.failed, counts.flaky), (0, 1, 0));
        assert_eq!(state.judged(flaky), Accepted::New);
        assert_eq!((state.counts().passed, state.counts().flaky), (1, 1));

        // What is to run again is judged when it has run.
        state.reopen(0);
        assert_eq!(
            state.judged(mark(0, 2, Outcome::Failed)),
            Accepted::Duplicate
        );
        assert!(state.is_pending(0));
    }

    /// One thing that may happen; what cannot happen at its time is left out.
    #[derive(Clone, Debug)]
    enum Event {
        Assign(u64),
        Release(u64),
        /// A report, of any attempt there may ever be, from whoever sends it.
        Report(u64, u32, Outcome, bool),
        /// The oldest row on its way arrives on disk.
        Write,
    }

    fn event() -> impl Strategy<Value = Event> {
        let outcome = prop::sample::select(Outcome::ALL.to_vec());
        prop_oneof![
            (0..TRIALS).prop_map(Event::Assign),
            (0..TRIALS).prop_map(Event::Release),
            (0..=TRIALS, 0..4_u32, outcome, any::<bool>()).prop_map(
                |(ordinal, number, outcome, retry)| Event::Report(ordinal, number, outcome, retry)
            ),
            Just(Event::Write),
        ]
    }

    proptest! {
        #[test]
        fn the_live_state_is_the_fold_of_what_was_written(events in prop::collection::vec(event(), 0..120)) {
            let mut live = State::planned(TRIALS);
            let mut on_its_way = VecDeque::new();
            let mut written = Vec::new();
            let mut is_settled = [false; TRIALS as usize];
            let mut is_assigned = [false; TRIALS as usize];

            for event in events {
                match event {
                    Event::Assign(ordinal) => {
                        let index = ordinal as usize;
                        if !is_settled[index] && !is_assigned[index] {
                            live.assign(ordinal);
                            is_assigned[index] = true;
                        }
                    }
                    Event::Release(ordinal) => {
                        if live.release(key(ordinal, live.attempts(ordinal))) == Accepted::New {
                            is_assigned[ordinal as usize] = false;
                        }
                    }
                    Event::Report(ordinal, number, outcome, is_retried) => {
                        if accept(&mut live, key(ordinal, number)) == Accepted::New {
                            let mut mark = mark(ordinal, number, outcome);
                            mark.is_final &= !is_retried;
                            is_settled[ordinal as usize] =
                                mark.is_final || outcome == Outcome::Ungraded;
                            is_assigned[ordinal as usize] = false;
                            on_its_way.push_back(mark);
                        }
                    }
                    Event::Write => {
                        if let Some(mark) = on_its_way.pop_front() {
                            written.push(mark);
                            live.written(mark);
                        }
                    }
                }

                let folded = fold(written.iter().copied());
                prop_assert_eq!(folded.counts(), live.counts());
                prop_assert_eq!(folded.is_complete(), live.is_complete());
                for ordinal in 0..TRIALS {
                    prop_assert_eq!(folded.outcome(ordinal), live.outcome(ordinal));
                    let is_over = folded.outcome(ordinal).is_some() || folded.is_ungraded(ordinal);
                    prop_assert_eq!(folded.is_pending(ordinal), !is_over);
                    prop_assert_eq!(!folded.is_ungraded(ordinal) || live.is_ungraded(ordinal), true);
                }
            }

            let twice = written.iter().chain(&written).copied();
            prop_assert_eq!(fold(twice).counts(), live.counts());
        }
    }
}
