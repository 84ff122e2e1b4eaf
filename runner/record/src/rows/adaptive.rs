//! [`Repeats`]: the trials that adaptive repeats need, by the results of a fold.
//!
//! The rule of a test on a provider looks at its own repeats only, in their order. `min` of them may run at once, then one after
//! the other. So neither the number of jobs nor the order of rows changes which trials are needed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use runner_model::test::{AdaptiveRepeats, RepeatUntil};
use runner_model::{Outcome, Text, TrialId};
use serde::Deserialize;

use crate::{Manifest, RunDir};

/// The tests of a run whose repeats end by a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdaptiveTests {
    /// Planned repeats and rules, by a hash of test and provider.
    pub(super) rules: HashMap<u64, (u32, RepeatUntil)>,
    /// Sessions of `rescore`.
    pub(super) rescores: Vec<u32>,
}

/// The keys of a line of the suite that are read here.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    providers: Vec<u16>,
    repeat: u32,
    until: RepeatUntil,
}

impl RunDir {
    /// Reads which tests have adaptive repeats. Without the stored tests there are none, so that the run lacks results.
    pub fn adaptive(&self, manifest: &Manifest) -> Arc<AdaptiveTests> {
        let mut tests = AdaptiveTests { rescores: manifest.rescoring(), ..Default::default() };
        let planned: Vec<_> = manifest.planned().map(|provider| &*provider.name).collect();
        if manifest.metadata.has_adaptive_repeats
            && let Ok(suite) = self.content(&manifest.metadata.suite)
        {
            for line in BufReader::new(suite).lines().map_while(Result::ok) {
                // Most tests may have none, and parsing takes longer than this search.
                if line.contains("\"until\":")
                    && let Ok(Line { id, providers, repeat, until }) = serde_json::from_str(&line)
                {
                    let names = providers.iter().filter_map(|index| planned.get(*index as usize));
                    let keys = names.map(|name| hash(&(&*id, *name)));
                    tests.rules.extend(keys.map(|key| (key, (repeat, until))));
                }
            }
        }
        Arc::new(tests)
    }
}

/// All tests on a provider with adaptive repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    all: Vec<State>,
    tests: Arc<AdaptiveTests>,
    /// Indexes of first trials by test and provider, in a fold without a plan.
    firsts: HashMap<u64, u64>,
    not_needed: u64,
}

/// The repeats of a test on a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    first: u64,
    max: u32,
    until: RepeatUntil,
    /// The first repeats, which the results so far need.
    open: u32,
    /// Planned trials without a result. `None` while the results do not decide.
    not_needed: Option<u32>,
}

impl Repeats {
    /// Returns the repeats of a plan.
    pub(super) fn of_plan(all: Vec<AdaptiveRepeats>, manifest: Option<&Manifest>) -> Self {
        let rescores = manifest.map(Manifest::rescoring).unwrap_or_default();
        let tests = Arc::new(AdaptiveTests { rescores, ..Default::default() });
        Self { all: all.into_iter().map(State::new).collect(), tests, ..Default::default() }
    }

    /// Returns the repeats of a fold without a plan, which adds them by [`Self::add`].
    pub(super) fn unplanned(tests: &Arc<AdaptiveTests>) -> Self {
        Self { tests: Arc::clone(tests), ..Default::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.tests.rules.is_empty()
    }

    /// Returns the planned trials that are not needed. `None` without adaptive repeats.
    pub(super) fn not_needed(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.not_needed)
    }

    /// Returns the index of a trial in a fold with `trials` trials and without a plan, and the number of trials with it. `None` if its
    /// test has no rule. All repeats of a test on a provider get their indexes at once.
    pub(super) fn add(&mut self, trial: &TrialId, trials: u64) -> Option<(u64, u64)> {
        let key = hash(&(&*trial.test, &*trial.provider));
        let (max, until) = *self.tests.rules.get(&key)?;
        let repeat = trial.repeat.checked_sub(1).filter(|repeat| *repeat < max)?;
        let first = *self.firsts.entry(key).or_insert(trials);
        let is_new = first == trials;
        if is_new {
            self.all.push(State::new(AdaptiveRepeats { first, max, until }));
        }
        Some((first + u64::from(repeat), if is_new { trials + u64::from(max) } else { trials }))
    }

    fn place(&self, index: u64) -> Option<usize> {
        let place = self.all.partition_point(|one| one.first <= index).checked_sub(1)?;
        (index - self.all[place].first < self.all[place].max.into()).then_some(place)
    }

    /// Returns whether the results so far need a trial that has none.
    pub(super) fn needs(&self, index: u64) -> bool {
        self.place(index).is_none_or(|place| {
            let one = self.all[place];
            one.not_needed.is_none() && index - one.first < one.open.into()
        })
    }

    /// Decides anew after a result. `trial` returns the outcome of a trial, and whether it is to run although it may have one.
    /// Returns the trial that is needed next, if that is a further one.
    pub(super) fn update(
        &mut self,
        index: u64,
        session: u32,
        trial: impl Fn(u64) -> (Option<Outcome>, bool),
    ) -> Option<u64> {
        let place = self.place(index)?;
        let one = &mut self.all[place];
        let trials = || (one.first..one.first + u64::from(one.max)).map(&trial);
        // `rescore` calls no provider, so that it must not need further trials.
        let is_decided = one.not_needed.is_some() && self.tests.rescores.contains(&session)
            || one.until.is_decided(trials().map(|(outcome, _)| outcome));
        let missing = || trials().filter(|(outcome, _)| outcome.is_none()).count() as u32;
        let not_needed = is_decided.then(missing);
        let count = |not_needed: Option<u32>| u64::from(not_needed.unwrap_or(0));
        self.not_needed = self.not_needed - count(one.not_needed) + count(not_needed);
        let open = one.open;
        let is_open = |open: u32| trials().take(open as usize).any(|(_, is_pending)| is_pending);
        let mut next = open;
        while !is_decided && next < one.max && !is_open(next) {
            next += 1;
        }
        (one.open, one.not_needed) = (next, not_needed);
        (next > open).then(|| one.first + u64::from(next) - 1)
    }

    /// Marks a session as one of `rescore`.
    pub(super) fn rescore(&mut self, session: u32) {
        Arc::make_mut(&mut self.tests).rescores.push(session);
    }
}

impl State {
    fn new(AdaptiveRepeats { first, max, until }: AdaptiveRepeats) -> Self {
        Self { first, max, until, open: until.min.min(max), not_needed: None }
    }
}

/// Returns 64 bits that tell ids of a run apart. They are never written to disk.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
