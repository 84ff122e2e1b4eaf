//! [`Fold`]: the state of a run by its rows. Live state, resume, sweep, list, reports and accept-changes use it.
//!
//! A fold knows trials by index. Without a plan, [`UnplannedFold`] numbers them in the order of their first rows.

use std::collections::HashMap;
use std::sync::Arc;

use runner_model::known::{Known, KnownState};
use runner_model::row::{BadLine, FailureKinds, RowHead};
use runner_model::{Counts, Outcome, Places, RunStatus, TrialId, status::RunVerdict};
use serde::{Deserialize, Serialize};

use super::adaptive::{AdaptiveTests, Repeats, hash};
use crate::disk::layout::ROWS;
use crate::{Manifest, RecordError, Rerun, RunDir, rows::line_reader::ReadLine};

/// The state of a run by its rows. Uses one byte per trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    trials: Vec<PackedState>,
    /// Attempts of trials that have more than one.
    attempts: HashMap<u64, u32>,
    /// Trials whose result is a known failure or an unexpected pass.
    states: HashMap<u64, KnownState>,
    counts: Counts,
    last_seq: u64,
    /// Lines without a readable row.
    damaged: u64,
    foreign: Option<(u64, String)>,
    /// Counts of trials that have rows and that the plan lacks.
    removed: Counts,
    /// The trials that adaptive repeats need.
    repeats: Repeats,
    /// Trials with results of the last session and of earlier ones, in a fold without a plan.
    again: u64,
}

/// The keys of a row that a fold needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFacts {
    pub outcome: Outcome,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    pub is_final: bool,
    /// The attempt passed after a bad one.
    pub flaky: bool,
    /// The row replaces the judgement of an attempt that already has a row.
    pub is_judged: bool,
    /// The attempt or one of its graders was denied something.
    pub has_denied: bool,
    /// The key of the row.
    pub service_failed: bool,
    /// The result beside the known failures.
    pub state: KnownState,
    /// The row's number in the run; 0 if it has no number.
    pub seq: u64,
    pub session: u32,
}

impl RowFacts {
    /// Returns the facts of a row, whose line this is, beside the known failures.
    pub fn new(row: &RowHead, line: &[u8], known: &Known) -> Self {
        let TrialId { test, provider, .. } = &row.trial;
        let state = known.state(test, provider, row.outcome, || FailureKinds::of_line(line));
        Self { state, ..row.into() }
    }
}

/// Without known failures, for callers that need no counts.
impl From<&RowHead> for RowFacts {
    fn from(row: &RowHead) -> Self {
        Self {
            outcome: row.outcome,
            attempt: row.attempt,
            is_final: row.r#final,
            flaky: row.flaky,
            is_judged: row.judged.is_some(),
            has_denied: row.denies(),
            service_failed: row.service_failed,
            state: KnownState::Unlisted,
            seq: row.seq,
            session: row.session,
        }
    }
}

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialState {
    /// The newest final outcome.
    pub outcome: Option<Outcome>,
    /// The newest row is `ungraded`, and no session has selected the trial since.
    pub ungraded: bool,
    /// An attempt of any session was bad. Then a pass is flaky.
    pub had_bad: bool,
    /// The trial has no final row and is needed, or has none since a session selected it to run again.
    pub is_pending: bool,
    /// A session has selected the trial to run again, and it has no final row since.
    pub is_selected: bool,
    /// The newest result beside the known failures.
    pub state: KnownState,
}

/// The effect of a row on its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowEffect {
    /// The row is the newest final one.
    pub settles: bool,
    /// An attempt before the row's was bad.
    pub bad_before: bool,
    /// A trial that adaptive repeats need after this result, and did not need before.
    pub needs: Option<u64>,
}

/// The rows of a trial in a byte: the newest final outcome, the kind of the newest row, and flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PackedState(u8);

/// 0, or 1 + the place in [`Outcome::ALL`].
const OUTCOME: u8 = 0b0000_0111;
const FLAKY: u8 = 0b0000_1000;
/// Kind of the newest row; 0 without rows.
const NEWEST: u8 = 0b0011_0000;
const UNGRADED: u8 = 0b0001_0000;
const BAD: u8 = 0b0010_0000;
const OTHER: u8 = 0b0011_0000;
/// An attempt before the newest one was bad.
const BAD_BEFORE: u8 = 0b0100_0000;
/// The trial is pending although it has a final row.
const MARK: u8 = 0b1000_0000;

impl PackedState {
    fn outcome(self) -> Option<Outcome> {
        let place = usize::from(self.0 & OUTCOME).checked_sub(1)?;
        Outcome::ALL.get(place).copied()
    }

    fn is_pending(self) -> bool {
        self.0 & OUTCOME == 0 || self.has(MARK)
    }

    fn newest(self) -> u8 {
        self.0 & NEWEST
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, mask: u8, bits: u8) {
        self.0 = self.0 & !mask | bits;
    }

    /// Selects the trial again, because its rows are not trusted. An output does not wait for graders any more.
    fn select_again(&mut self) {
        if self.outcome().is_some() && self.newest() == UNGRADED {
            self.set(NEWEST, OTHER);
        }
        if self.newest() != 0 {
            self.set(MARK, MARK);
        }
    }

    /// Returns whether the newest row waits for graders, and no session has selected the trial since.
    fn awaits_graders(self) -> bool {
        self.newest() == UNGRADED && (self.outcome().is_some() || !self.has(MARK))
    }

    /// Returns whether an output waits for graders, and the trial has no result yet.
    fn is_ungraded(self) -> bool {
        self.newest() == UNGRADED && self.outcome().is_none()
    }

    fn add(&mut self, row: RowFacts, counts: &mut Counts) -> RowEffect {
        if self.is_ungraded() {
            counts.remove(Outcome::Ungraded, false);
        }
        if !row.is_judged && self.outcome().is_none() {
            self.set(MARK, 0);
        }
        // A row that was judged again replaces the row of the same attempt.
        if row.flaky || !row.is_judged && self.newest() == BAD {
            self.set(BAD_BEFORE, BAD_BEFORE);
        }
        let newest = match row.outcome {
            Outcome::Ungraded => UNGRADED,
            outcome if outcome.is_bad_attempt(row.service_failed) => BAD,
            _ => OTHER,
        };
        self.set(NEWEST, newest);
        let settles = row.is_final && row.outcome.can_be_final();
        if settles {
            if let Some(old) = self.outcome() {
                counts.remove(old, self.has(FLAKY));
            }
            counts.add(row.outcome, row.flaky);
            let place = Outcome::ALL.iter().position(|one| *one == row.outcome);
            let flaky = if row.flaky { FLAKY } else { 0 };
            self.set(OUTCOME | FLAKY | MARK, place.map_or(0, |place| place as u8 + 1) | flaky);
        }
        if self.is_ungraded() {
            counts.add(Outcome::Ungraded, false);
        }
        RowEffect { settles, bad_before: self.has(BAD_BEFORE), needs: None }
    }
}

impl Fold {
    /// Creates a fold without rows, whose trials are all needed.
    pub fn new(trials: u64) -> Self {
        Self { trials: vec![PackedState::default(); trials as usize], ..Self::default() }
    }

    /// Creates a fold of a plan without rows. `manifest` has the earlier sessions.
    pub fn of_plan(places: &dyn Places, manifest: Option<&Manifest>) -> Self {
        Self::new(places.trials()).with(Repeats::of_plan(places.adaptive(), manifest))
    }

    /// Creates a fold without a plan and rows, for [`Self::add_trial`].
    pub fn unplanned(tests: &Arc<AdaptiveTests>) -> Self {
        Self::default().with(Repeats::unplanned(tests))
    }

    fn with(mut self, repeats: Repeats) -> Self {
        self.counts.not_needed = repeats.not_needed();
        Self { repeats, ..self }
    }

    /// Folds the rows of a run by its plan, beside `known`. The `rerun` of a session selects among the rows before that session.
    /// `matches` returns whether the ids of [`Rerun::ids`] select a trial.
    pub fn of(
        run: &RunDir,
        manifest: &Manifest,
        places: &dyn Places,
        known: &Arc<Known>,
        matches: &dyn Fn(&str, u64) -> bool,
    ) -> Result<Self, RecordError> {
        let reruns = manifest.sessions.iter().flat_map(|session| {
            let added = session.number;
            session.reruns().map(move |(from_seq, rerun)| (added, from_seq, rerun))
        });
        let new = || {
            let fold = Self::of_plan(places, Some(manifest));
            (fold, UnplannedFold::removed(known), reruns.clone().peekable())
        };
        let mut other_version = None;
        let folded =
            run.fold_lines(&new, |_| (), &mut |(fold, removed, reruns), place, (line, _)| {
                let number = place.number;
                match line {
                    ReadLine::Row(row, bytes) => {
                        let is_due = |(session, from_seq, _): &(u32, u64, &Rerun)| {
                            *session < row.session || *session == row.session && *from_seq < row.seq
                        };
                        while let Some((_, from_seq, rerun)) = reruns.next_if(is_due) {
                            fold.select_from(from_seq, rerun, matches);
                        }
                        let index = places.index(&row.trial);
                        if fold.foreign.is_none() {
                            let place = (row.session, row.seq);
                            let foreign = manifest.foreign(&row.trial, place, index.is_some());
                            fold.foreign = foreign.map(|problem| (number, problem));
                        }
                        if index.is_none() {
                            removed.add(&row, bytes);
                        }
                        // No trial has the index `u64::MAX`.
                        fold.add(index.unwrap_or(u64::MAX), RowFacts::new(&row, bytes, known));
                    }
                    ReadLine::Damaged(problem @ BadLine::Version(_)) => {
                        other_version.get_or_insert_with(|| format!("line {number}: {problem}"));
                    }
                    ReadLine::Damaged(_) => fold.damaged += 1,
                    ReadLine::Torn => {}
                }
            })?;
        if let Some(problem) = other_version {
            // Continuing would mix rows of two versions.
            return Err(run.dir.refuse(ROWS, problem));
        }
        let (mut fold, removed, reruns) = folded;
        for (_, from_seq, rerun) in reruns {
            fold.select_from(from_seq, rerun, matches);
        }
        fold.removed = removed.fold.counts;
        Ok(fold)
    }

    /// Makes the trials pending that `rerun` selects, and returns their number. `matches` returns whether the ids of
    /// [`Rerun::ids`] select a trial. [`Rerun::Failed`] is of a session without known failures: a list that is read later must not
    /// change what it selects.
    pub fn select(&mut self, rerun: &Rerun, matches: &dyn Fn(&str, u64) -> bool) -> u64 {
        let ids = rerun.ids();
        self.select_if(|index, outcome, _| {
            rerun.is_of(outcome, KnownState::Unlisted)
                && ids.as_ref().is_none_or(|ids| matches(ids, index))
        })
    }

    /// Makes the trials pending whose results are unexpected, and returns their number.
    pub fn select_unexpected(&mut self) -> u64 {
        self.select_if(|_, outcome, state| Rerun::Failed.is_of(outcome, state))
    }

    fn select_if(&mut self, is_of: impl Fn(u64, Outcome, KnownState) -> bool) -> u64 {
        let mut selected = 0;
        for (index, state) in (0..).zip(&mut self.trials) {
            let known = self.states.get(&index).copied().unwrap_or_default();
            if state.outcome().is_some_and(|outcome| is_of(index, outcome, known)) {
                state.set(MARK, MARK);
                if state.newest() == UNGRADED {
                    // The output of an interrupted `rescore` waits for no grader any more.
                    state.set(NEWEST, OTHER);
                }
                selected += 1;
            }
        }
        selected
    }

    /// Applies a selection of [`SessionEntry::reruns`](crate::SessionEntry::reruns).
    fn select_from(&mut self, from_seq: u64, rerun: &Rerun, matches: &dyn Fn(&str, u64) -> bool) {
        match rerun.ids().filter(|_| from_seq > 0) {
            Some(ids) => {
                let trials = (0..self.trials.len() as u64).filter(|index| matches(&ids, *index));
                trials.for_each(|index| _ = self.select_again(index));
            }
            None => drop(self.select(rerun, matches)),
        }
    }

    /// Selects a trial whose rows are not trusted: it is pending until its next final row. Returns whether it was not pending.
    pub fn select_again(&mut self, index: u64) -> bool {
        let is_new = !self.is_pending(index, self.state(index));
        if let Some(state) = self.trials.get_mut(index as usize) {
            state.select_again();
        }
        is_new
    }

    /// Makes a trial pending until its next final row.
    pub fn mark(&mut self, index: u64) {
        if let Some(state) = self.trials.get_mut(index as usize) {
            state.set(MARK, MARK);
        }
    }

    /// Forgets that attempts of a trial were bad, because they were of another test. A later pass is not flaky.
    pub fn forget_bad(&mut self, index: u64) {
        if let Some(state) = self.trials.get_mut(index as usize) {
            state.set(BAD_BEFORE, 0);
            if state.newest() == BAD {
                state.set(NEWEST, OTHER);
            }
        }
    }

    /// Makes the results of a session's rows those of `rescore`, which do not make further trials needed.
    pub fn rescore(&mut self, session: u32) {
        self.repeats.rescore(session);
    }

    /// Returns the number of pending trials.
    pub fn left(&self) -> u64 {
        (0..).zip(&self.trials).filter(|(index, state)| self.is_pending(*index, **state)).count()
            as u64
    }

    /// Returns the number of pending trials that the next session is known to run. Of adaptive repeats, only those that have a
    /// result: its rows decide how many others it runs.
    pub fn selected(&self) -> u64 {
        if self.repeats.is_empty() {
            return self.left();
        }
        self.trials.iter().filter(|state| state.has(MARK) && state.outcome().is_some()).count()
            as u64
    }

    fn is_pending(&self, index: u64, state: PackedState) -> bool {
        state.is_pending()
            && (self.repeats.is_empty() || state.outcome().is_some() || self.repeats.needs(index))
    }

    /// Returns whether the newest row of a pending trial is `ungraded`.
    pub fn has_ungraded(&self) -> bool {
        self.trials.iter().any(|state| state.is_pending() && state.awaits_graders())
    }

    /// Adds a trial without rows to a fold without a plan. Returns its index, which is the next one if there are no adaptive repeats.
    pub fn add_trial(&mut self, trial: &TrialId) -> u64 {
        let next = self.trials.len() as u64;
        let added = if self.repeats.is_empty() { None } else { self.repeats.add(trial, next) };
        let (index, trials) = added.unwrap_or((next, next + 1));
        self.trials.resize(trials as usize, PackedState::default());
        index
    }

    /// Returns whether [`Self::add_trial`] may return another index than the next one.
    pub fn is_adaptive(&self) -> bool {
        !self.repeats.is_empty()
    }

    /// Adds a row to a fold without a plan. The result of an `earlier` session than the last one is pending: whether the last one
    /// had to run the trial again is unknown, only the number of such trials.
    pub fn add_unplanned(
        &mut self,
        index: u64,
        row: RowFacts,
        is_earlier: bool,
    ) -> Option<RowEffect> {
        let was_marked = self.state(index).has(MARK);
        let effect = self.add(index, row)?;
        if effect.settles && is_earlier {
            self.mark(index);
        } else if effect.settles && was_marked {
            self.again += 1;
        }
        Some(effect)
    }

    /// Adds a row that is on disk. `None` if the plan has no such trial.
    pub fn add(&mut self, index: u64, row: RowFacts) -> Option<RowEffect> {
        self.last_seq = self.last_seq.max(row.seq);
        let state = self.trials.get_mut(index as usize)?;
        if row.attempt > 1 {
            let attempts = self.attempts.entry(index).or_default();
            *attempts = row.attempt.max(*attempts);
        }
        let mut effect = state.add(row, &mut self.counts);
        if effect.settles && !self.repeats.is_empty() {
            let trials = &self.trials;
            effect.needs = self.repeats.update(index, row.session, |index| {
                let state = trials.get(index as usize).copied().unwrap_or_default();
                (state.outcome(), state.is_pending())
            });
            self.counts.not_needed = self.repeats.not_needed();
        }
        if effect.settles {
            let old = match row.state {
                KnownState::Unlisted => self.states.remove(&index),
                state => self.states.insert(index, state),
            };
            self.counts.remove_state(old.unwrap_or_default());
            self.counts.add_state(row.state);
        }
        Some(effect)
    }

    pub fn trial(&self, index: u64) -> TrialState {
        let state = self.state(index);
        TrialState {
            outcome: state.outcome(),
            ungraded: state.awaits_graders(),
            had_bad: state.newest() == BAD || state.has(BAD_BEFORE),
            is_pending: self.is_pending(index, state),
            is_selected: state.has(MARK),
            state: self.states.get(&index).copied().unwrap_or_default(),
        }
    }

    /// Returns the counts of the newest final rows.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the sums of a fold whose trials are those that have rows.
    pub fn sums(&self) -> FoldSums {
        let trials = self.trials.len() as u64;
        let settled = if self.is_adaptive() { self.again } else { trials - self.left() };
        FoldSums { counts: self.counts, trials, settled }
    }

    /// Returns the counts of trials that have rows on disk and that the plan lacks.
    pub fn removed(&self) -> Counts {
        self.removed
    }

    /// Returns the number of the newest row; 0 without rows.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Returns the highest number of an attempt that the trial's rows have; 0 without rows.
    pub fn attempts(&self, index: u64) -> u32 {
        let one = u32::from(self.state(index).newest() != 0);
        self.attempts.get(&index).copied().unwrap_or(one)
    }

    /// Returns the number of lines without a readable row.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Returns the first line that can only be of another run, from 1, and the reason.
    pub fn foreign(&self) -> Option<(u64, &str)> {
        let (line, problem) = self.foreign.as_ref()?;
        Some((*line, problem))
    }

    fn state(&self, index: u64) -> PackedState {
        self.trials.get(index as usize).copied().unwrap_or_default()
    }
}

/// A [`Fold`] without the plan, for readers that must not wait for a suite to be read. Uses about 25 bytes per trial.
#[derive(Debug, Default)]
pub struct UnplannedFold {
    fold: Fold,
    /// Numbers of the trials by 64 bits of a hash.
    numbers: HashMap<u64, u32>,
    known: Arc<Known>,
    /// Number of the last session, and of the last row before its last selection.
    last: (u32, u64),
}

impl UnplannedFold {
    /// Creates a fold without rows.
    pub fn new(manifest: &Manifest, known: &Arc<Known>, adaptive: &Arc<AdaptiveTests>) -> Self {
        Self {
            fold: Fold::unplanned(adaptive),
            known: Arc::clone(known),
            last: (
                manifest.last_session(),
                manifest
                    .sessions
                    .last()
                    .and_then(|session| Some(session.added.last()?.from_seq))
                    .unwrap_or(0),
            ),
            ..Self::default()
        }
    }

    /// Creates a fold of trials that the plan lacks. Their known failures do not count in the run either.
    pub(crate) fn removed(known: &Arc<Known>) -> Self {
        Self { known: Arc::clone(known), ..Self::default() }
    }

    /// Adds a row, whose line this is. Returns the number of its trial, from 0, and the effect.
    pub fn add(&mut self, row: &RowHead, line: &[u8]) -> Option<(usize, RowEffect)> {
        let number = self.numbers.entry(hash(&row.trial));
        let number = *number.or_insert_with(|| self.fold.add_trial(&row.trial) as u32);
        // Only a session needs the number of a trial's attempts, and it has a plan.
        let facts = RowFacts { attempt: 1, ..RowFacts::new(row, line, &self.known) };
        let (session, from_seq) = self.last;
        let is_earlier = row.session < session || row.session == session && row.seq <= from_seq;
        let effect = self.fold.add_unplanned(number.into(), facts, is_earlier)?;
        Some((number as usize, effect))
    }

    pub(crate) fn sums(&self) -> FoldSums {
        self.fold.sums()
    }

    /// Returns the counts of the newest final rows.
    pub(crate) fn counts(&self) -> Counts {
        self.fold.counts
    }
}

/// The sums of a fold whose trials are those that have rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldSums {
    /// Counts of the newest final rows.
    pub counts: Counts,
    /// Number of trials with rows, and of other repeats of their tests.
    trials: u64,
    /// Number of trials that are not pending. With adaptive repeats, of those that also have a result of an earlier session.
    settled: u64,
}

impl FoldSums {
    pub(crate) fn has_rows(&self) -> bool {
        self.trials > 0
    }

    /// Sets counts and verdict of a run that has ended to those of its rows. The verdict is `damaged` unless the rows are those
    /// that the manifest counts.
    pub fn judge(&self, manifest: &mut Manifest) {
        let (counts, missing) = self.finish(manifest);
        let is_whole =
            counts == manifest.counts && (missing == 0 || manifest.status != RunStatus::Completed);
        manifest.counts = counts;
        manifest.verdict = if is_whole { manifest.verdict_of(counts) } else { RunVerdict::Damaged };
    }

    /// Returns the counts once all rows are added, and the number of trials that the run lacks: planned ones without a final
    /// row, or those that were pending when the last session started and have none of that session, or that `rescore` left. If
    /// rows of trials that the plan lacks are lost, the counts are too low; see [`Manifest::set_removed`].
    pub(crate) fn finish(&self, manifest: &Manifest) -> (Counts, u64) {
        let removed = manifest.adopted().and_then(|session| session.adopted);
        let counts = self.counts.without(removed.unwrap_or_default());
        let last = manifest.sessions.last();
        let unsettled = last.and_then(|last| {
            let pending = last.pending?;
            Some(if last.rescores { pending } else { pending.abs_diff(self.settled) })
        });
        let planned = counts.needed_of(manifest.metadata.planned_trial_count);
        (counts, planned.abs_diff(counts.done()).max(unsettled.unwrap_or(0)))
    }
}

#[cfg(test)]
#[path = "tests/adaptive.rs"]
mod adaptive;
#[cfg(test)]
#[path = "tests/reruns.rs"]
mod reruns;
#[cfg(test)]
#[path = "tests/fold.rs"]
mod tests;
