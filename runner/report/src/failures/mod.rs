//! [`Failures`]: trials of a run that did not pass, grouped by outcome and reason.
//!
//! Each failed check and grade of a trial is a failure of its own. Those with the same reason are a group. If there are many with the
//! same answer to different expectations, or many whose reasons differ only in values, these are one group.

mod group;
mod known;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::{mem, slice};

use runner_model::known::{Known, KnownState};
use runner_model::units::{grouped, plural};
use runner_model::visible::cut;
use runner_model::{Outcome, RowRef};
use runner_results::{hash, rank};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::group::named;
use self::group::{MOST_TRIALS, merged};
pub use self::{group::FailureGroup, known::KnownReason, known::StaleEntry};
use crate::KnownResult;
use crate::failure::PASSES;
use crate::failure::{self, Signature, Tone};
use crate::phrases;

/// Greatest number of groups by headline, of those by answer, and of those without values. Further trials are only counted.
const MOST_GROUPS: usize = 1000;
/// Greatest number of kinds. Trials of further ones are only counted.
const MOST_KINDS: usize = 30;
/// Groups that [`Failures::listed`] returns.
const MOST_LISTED: usize = 20;
/// Flaky trials that are named.
const MOST_FLAKY: usize = 10;
/// Headlines that differ only in values and stay apart: as long as a reader sees all of them, merging only hides what failed.
const MOST_APART: usize = 8;
/// Of many trials, some have the same headline by chance. A headline of one in this number of trials is not a group of its own.
const SMALL_PART: u64 = 5;
/// Lines of each value, message and difference in a block.
const BLOCK_LINES: usize = 12;
/// Characters of a reason that is kept: an error's message has up to a megabyte on one line.
const MOST_CHARACTERS: usize = 1000;

/// Trials that did not pass, and skipped ones whose provider gave a reason.
#[derive(Debug, Default)]
pub struct Failures {
    groups: Vec<FailureGroup>,
    /// In the order of their first rows.
    pub(crate) kinds: Vec<FailureKind>,
    /// Number of trials that did not pass.
    pub trials: u64,
    /// Number of failed checks and grades of these trials.
    checks: u64,
    /// Whether a trial has several of them.
    has_several: bool,
    /// Number of trials of which a failure is of a kind that is not kept.
    pub(crate) left_out_trials: u64,
    /// Number of rows that were added. The last one has this number.
    added: u64,
    /// Number of known failures, which are in no group.
    pub known: u64,
    /// Known failures by the reasons of their entries, in the order of their first rows. Those of further reasons, and those of
    /// [`Self::add_result`], are only counted.
    pub known_reasons: Vec<KnownReason>,
    /// Entries of the list of known failures that do not apply.
    pub stale: Vec<StaleEntry>,
    /// Number of failures in `groups` and in groups that are not kept.
    grouped: u64,
    /// Number of skipped trials among them.
    skipped: u64,
    /// Indexes in `groups` by a key of [`Signature`].
    places: BTreeMap<(Outcome, u64), usize>,
    flaky: Option<FailureGroup>,
    /// Trials that wait for a retry, by their place: trial, attempts and reason of the last one. Empty after the first
    /// [`MOST_GROUPS`].
    retried: BTreeMap<u64, String>,
    /// Start of the names of trials, if several runs are listed.
    run: String,
    /// Place of the run's first trial.
    first_place: u64,
}

/// Places between the first trials of two runs.
const RUN_PLACES: u64 = 1 << 40;

/// Trials that failed the same check or grader, or ended with the same class of error.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct FailureKind {
    /// Selects the trials of the kind: `/runs/{run}/trials?group=KEY`.
    pub(crate) key: String,
    /// Selects the trials of the kind, if it is a check with a plain name. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<String>,
    pub(crate) outcome: Outcome,
    /// An expectation such as `equals`, a check of the provider, `grader NAME below 0.7`, `grader NAME: VERDICT`, a class of
    /// errors, `timeout`, or `passes although known`.
    pub(crate) kind: String,
    pub(crate) trials: u64,
    /// Up to 10 groups: those with new failures, then those with the most trials.
    pub(crate) groups: Vec<FailedTrials>,
    /// Number of failures in other groups.
    pub(crate) left_out: u64,
    /// Number of the last row that was added.
    #[serde(skip)]
    last: u64,
}

/// Trials with the same outcome and reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct FailedTrials {
    /// Selects the trials of the group, as the key of a kind does.
    pub(crate) key: String,
    /// One line.
    pub(crate) reason: String,
    pub(crate) trials: u64,
    /// One name for all trials of the group.
    pub(crate) name: String,
    /// The first trials.
    pub(crate) first: Vec<String>,
    /// Names of up to 6 providers.
    pub(crate) providers: Vec<String>,
    /// `new`, `still`, or the number of trials that are new. Absent while the run is running, and without a previous run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<String>,
    #[serde(skip)]
    pub(crate) failures: u64,
}

/// The smallest part of the tree of failures that has a failure, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailurePlace {
    /// A part of a group, which may be one of a kind.
    Part(u16),
    /// A kind. The failure's group is not kept.
    Kind(u16),
    /// A reason of known failures.
    Known(u16),
}

impl Failures {
    /// Names the scenario of the run whose rows are added next.
    pub fn start_run(&mut self, scenario: &str) {
        self.run = format!("{scenario}: ");
        self.first_place += RUN_PLACES;
    }

    /// Adds a bad row of a trial that is not done.
    pub fn add_retried(&mut self, row: &RowRef<'_>, place: u64) {
        let place = self.first_place.saturating_add(place);
        let is_known = self.retried.get(&place).is_some_and(|text| !text.is_empty());
        let is_kept = is_known || self.retried.len() < MOST_GROUPS;
        let text = is_kept.then(|| {
            let attempts = plural(row.attempt.into(), "attempt", "attempts");
            let reason = cut(&failure::headline(row), MOST_CHARACTERS);
            format!("{}{} after {attempts}: {reason}", self.run, row.trial)
        });
        self.retried.insert(place, text.unwrap_or_default());
    }

    /// Removes the bad row of a trial that was retried.
    pub fn remove_retried(&mut self, place: u64) {
        self.retried.remove(&self.first_place.saturating_add(place));
    }

    /// Returns the first trials that wait for a retry, each with the reason, and the number of all.
    pub fn retried(&self) -> (Vec<&str>, u64) {
        let texts = self.retried.values().map(String::as_str).filter(|text| !text.is_empty());
        (texts.take(MOST_LISTED).collect(), self.retried.len() as u64)
    }

    /// Adds a row as [`Self::add`] does, by the known failures: they are only counted, and an unexpected pass is a failure.
    pub fn add_result(
        &mut self,
        row: &RowRef<'_>,
        place: u64,
        known: &Known,
    ) -> Vec<Option<FailurePlace>> {
        let line = failure::known_line(known, row);
        let known = KnownResult::of(known, row);
        if known.as_ref().is_some_and(|known| known.state == KnownState::Known) {
            self.known += 1;
            return Vec::new();
        }
        self.add_row(row, place, known.as_ref(), line.as_deref(), usize::MAX)
    }

    /// Adds a known failure by the reason of its entry.
    pub(crate) fn add_known(&mut self, reason: &str, trial: &str) -> Option<FailurePlace> {
        self.known += 1;
        let place = self.known_place(reason).or_else(|| {
            let is_kept = self.known_reasons.len() < MOST_KINDS;
            is_kept.then(|| {
                self.known_reasons.push(KnownReason {
                    key: format!("known-{:012x}", hash(reason) >> 16),
                    reason: reason.to_owned(),
                    trials: 0,
                    first: Vec::new(),
                });
                self.known_reasons.len() as u16 - 1
            })
        });
        if let Some(place) = place {
            let known = &mut self.known_reasons[usize::from(place)];
            known.trials += 1;
            // Rows end in another order in each run, and their places need the plan.
            let trial = format!("{}{trial}", self.run);
            let at = known.first.partition_point(|first| *first < trial);
            if at < MOST_TRIALS {
                known.first.insert(at, trial);
                known.first.truncate(MOST_TRIALS);
            }
        }
        place.map(FailurePlace::Known)
    }

    fn known_place(&self, reason: &str) -> Option<u16> {
        let place = self.known_reasons.iter().position(|known| known.reason == reason);
        place.map(|place| place as u16)
    }

    /// Adds a row that settles its trial, the one at `place` of the plan, with the reason that decided alone.
    pub(crate) fn add_first(&mut self, row: &RowRef<'_>, place: u64) {
        self.add_row(row, place, None, None, 1);
    }

    /// Adds up to `most` failures of a row. Returns their places.
    fn add_row(
        &mut self,
        row: &RowRef<'_>,
        place: u64,
        known: Option<&KnownResult>,
        line: Option<&str>,
        most: usize,
    ) -> Vec<Option<FailurePlace>> {
        let state = known.map_or(KnownState::Unlisted, |known| known.state);
        let place = self.first_place.saturating_add(place);
        if row.flaky {
            let flaky = self.flaky.get_or_insert_with(|| FailureGroup::new(row.outcome));
            flaky.add(&self.run, row, place, MOST_FLAKY);
        }
        let is_explained_skip = row.outcome == Outcome::Skipped && row.summary.is_some();
        if !state.is_unexpected(row.outcome) && !is_explained_skip {
            return Vec::new();
        }
        let checks = row.failed_checks().count() as u64;
        let singles = failure::single_reasons(row);
        self.trials += u64::from(state.is_unexpected(row.outcome));
        self.skipped += u64::from(is_explained_skip);
        self.checks += checks;
        self.has_several |= checks > 1;
        self.added += 1;
        let reasons = if singles.is_empty() { slice::from_ref(row) } else { &singles };
        let reasons = reasons.iter().take(most);
        let places: Vec<_> =
            reasons.map(|row| self.add_reason(row, place, known, line, checks)).collect();
        let has_kind = |place: &Option<FailurePlace>| match *place {
            Some(FailurePlace::Part(part)) => self.groups[usize::from(part)].kind.is_some(),
            place => place.is_some(),
        };
        self.left_out_trials += u64::from(!places.iter().all(has_kind));
        places
    }

    /// Adds a failure of a row with this number of failed checks.
    fn add_reason(
        &mut self,
        row: &RowRef<'_>,
        place: u64,
        known: Option<&KnownResult>,
        line: Option<&str>,
        checks: u64,
    ) -> Option<FailurePlace> {
        self.grouped += 1;
        let (label, headline, Signature { keys, answer }) = signature(row, known);
        let kind = self.kind_of(row.outcome, &label).or_else(|| {
            let is_kept = self.kinds.len() < MOST_KINDS;
            is_kept.then(|| {
                self.kinds.push(FailureKind {
                    key: format!("{:012x}", hash(&(row.outcome.as_str(), &label)) >> 16),
                    filter: failure::filter(row, &label),
                    outcome: row.outcome,
                    kind: label.into_owned(),
                    trials: 0,
                    groups: Vec::new(),
                    left_out: 0,
                    last: 0,
                });
                self.kinds.len() as u16 - 1
            })
        });
        if let Some(kind) = kind {
            let kind = &mut self.kinds[usize::from(kind)];
            kind.left_out += 1;
            kind.trials += u64::from(mem::replace(&mut kind.last, self.added) != self.added);
        }
        let part = self.part_of(row.outcome, keys).or_else(|| {
            let index = self.groups.len();
            self.places.insert((row.outcome, *keys.get(index / MOST_GROUPS)?), index);
            self.groups.push(FailureGroup {
                parts: vec![index],
                signature: keys,
                answer: answer.clone(),
                kind,
                ..FailureGroup::new(row.outcome)
            });
            Some(index)
        });
        let Some(part) = part else { return kind.map(FailurePlace::Kind) };
        let added = Some(FailurePlace::Part(part as u16));
        let group = &mut self.groups[part];
        group.failures += 1;
        group.is_varied |= group.signature[0] != keys[0];
        group.answer.take_if(|known| answer.as_ref() != Some(known));
        if mem::replace(&mut group.last, self.added) == self.added {
            return added;
        }
        // Rows are added in the order of their ends, which differs from run to run.
        if group.first.first().is_none_or(|(first, _)| place < *first) {
            group.reason = cut(&headline, MOST_CHARACTERS);
            group.block = failure::block(row, BLOCK_LINES);
            let workspace = row.workspace.iter();
            group.block.extend(
                workspace.map(|found| {
                    (Tone::Detail, format!("workspace: {}", phrases::workspace(found)))
                }),
            );
            group.signature = keys;
            if let Some(line) = line {
                group.block.insert(0, (Tone::Reason, line.to_owned()));
            }
        }
        group.add_more([checks.saturating_sub(1); 2]);
        group.add(&self.run, row, place, MOST_TRIALS);
        added
    }

    /// Returns the groups: errors, timeouts, failures, then skipped trials, each in the order of the plan. Groups with exactly the
    /// same trials are one, and a reason has the number of further failed checks.
    pub fn sorted(&self) -> Vec<FailureGroup> {
        let mut sorted = Vec::<FailureGroup>::new();
        let mut places = HashMap::new();
        for group in self.by_reason() {
            let place = *places.entry((group.outcome, group.sum)).or_insert(sorted.len());
            match sorted.get_mut(place) {
                Some(first) => {
                    first.failures += group.failures;
                    first.block.extend(group.block);
                }
                None => sorted.push(group),
            }
        }
        for group in &mut sorted {
            group.reason = failure::with_more(mem::take(&mut group.reason), group.more);
        }
        sorted
    }

    /// Returns a group for each reason, in the order of [`Self::sorted`].
    pub(crate) fn by_reason(&self) -> Vec<FailureGroup> {
        let groups = merged(self.groups.clone(), 1, MOST_TRIALS, |group| group.answer.is_some());
        let mut trials = HashMap::<_, u64>::new();
        for group in &groups {
            *trials.entry(group.key(2)).or_default() += group.trials;
        }
        let mut groups = merged(groups, 2, MOST_APART, |group| {
            group.parts.iter().any(|part| part / MOST_GROUPS == 2)
                || group.trials * SMALL_PART <= trials[&group.key(2)]
        });
        for group in groups.iter_mut().filter(|group| group.is_varied) {
            let varied = format!("{} (values differ)", group.reason);
            group.reason = group.answer.take().unwrap_or(varied);
        }
        groups.sort_by(|one, other| {
            (rank(one.outcome), one.first.first()).cmp(&(rank(other.outcome), other.first.first()))
        });
        groups
    }

    /// Returns the groups of [`Self::sorted`] that did not pass.
    pub fn failed(&self) -> Vec<FailureGroup> {
        let mut groups = self.sorted();
        groups.retain(FailureGroup::is_failure);
        groups
    }

    /// Returns the place of each failure of a row that was added, or that of a known one.
    pub(crate) fn places(
        &self,
        row: &RowRef<'_>,
        known: Option<&KnownResult>,
    ) -> Vec<Option<FailurePlace>> {
        if let Some(known) = known.filter(|known| known.state == KnownState::Known) {
            let known = self.known_place(&known.reason);
            return vec![known.map(FailurePlace::Known)];
        }
        let singles = failure::single_reasons(row);
        let reasons = if singles.is_empty() { slice::from_ref(row) } else { &singles };
        let place = |row| {
            let (label, _, Signature { keys, .. }) = signature(row, known);
            let part = self.part_of(row.outcome, keys);
            let part = part.map(|part| FailurePlace::Part(part as u16));
            part.or_else(|| self.kind_of(row.outcome, &label).map(FailurePlace::Kind))
        };
        reasons.iter().map(place).collect()
    }

    fn kind_of(&self, outcome: Outcome, label: &str) -> Option<u16> {
        let mut kinds = self.kinds.iter();
        let place = kinds.position(|kind| kind.kind == label && kind.outcome == outcome);
        place.map(|place| place as u16)
    }

    /// Returns the key of each place, which stays the same while rows are added. That of a part starts with the key of its kind,
    /// if that is kept.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (FailurePlace, String)> {
        let known = (0..).zip(&self.known_reasons);
        let known = known.map(|(known, of)| (FailurePlace::Known(known), of.key.clone()));
        let kinds = (0..).zip(&self.kinds);
        let kinds = kinds.map(|(kind, of)| (FailurePlace::Kind(kind), of.key.clone()));
        let parts = (0..).zip(&self.groups).map(|(part, group)| {
            let kind = group.kind.map_or("", |kind| &self.kinds[usize::from(kind)].key);
            let hash = group.signature[usize::from(part) / MOST_GROUPS];
            (FailurePlace::Part(part), format!("{kind}-{:012x}", hash >> 16))
        });
        known.chain(kinds).chain(parts)
    }

    fn part_of(&self, outcome: Outcome, keys: [u64; 3]) -> Option<usize> {
        keys.iter().find_map(|key| self.places.get(&(outcome, *key)).copied())
    }

    /// Returns the first 20 groups of [`Self::sorted`], and the number of failures and skipped trials in others.
    pub fn listed(&self) -> (Vec<FailureGroup>, Option<String>) {
        let mut groups = self.sorted();
        groups.truncate(MOST_LISTED);
        let left = self.left(self.grouped, &groups);
        (groups, left)
    }

    /// Formats the number of failures in no group of `shown`, which has no skipped trials. `None` if there are none.
    pub fn left_out(&self, shown: &[FailureGroup]) -> Option<String> {
        self.left(self.grouped - self.skipped, shown)
    }

    /// Formats the number of failures: of trials, unless one has several.
    fn left(&self, all: u64, shown: &[FailureGroup]) -> Option<String> {
        let left = all - shown.iter().map(|group| group.failures).sum::<u64>();
        let noun = if self.has_several { "failure" } else { "trial" };
        (left > 0).then(|| plural(left, &format!("more {noun}"), &format!("more {noun}s")))
    }

    /// Returns the number of failed checks, if a trial has several.
    pub fn checks(&self) -> Option<u64> {
        self.has_several.then_some(self.checks)
    }

    /// Formats the number of trials, and that of their failed checks with the kinds if a trial has several.
    pub fn extent(&self) -> String {
        let trials = plural(self.trials, "trial", "trials");
        let Some(checks) = self.checks() else { return trials };
        // A grader may have failed in trials of several outcomes.
        let mut by_label = BTreeMap::<_, u64>::new();
        for kind in self.kinds.iter().filter(|kind| kind.outcome != Outcome::Skipped) {
            *by_label.entry(&kind.kind).or_default() += kind.trials;
        }
        let mut kinds: Vec<_> = by_label.into_iter().collect();
        kinds.sort_by_key(|(_, trials)| Reverse(*trials));
        let kinds = kinds.iter().map(|(label, trials)| format!("{} × {label}", grouped(*trials)));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        format!("{trials}, {}, by kind: {kinds}", plural(checks, "failed check", "failed checks"))
    }

    /// Formats the flaky trials as one line. `None` without flaky trials.
    pub fn flaky(&self) -> Option<String> {
        self.flaky.as_ref().map(FailureGroup::name)
    }
}

/// Returns label, headline and signature of a failure.
fn signature(
    row: &RowRef<'_>,
    known: Option<&KnownResult>,
) -> (Cow<'static, str>, String, Signature) {
    let (label, headline) = match known {
        Some(known) => (PASSES.into(), known.line()),
        None => (failure::kind(row), failure::headline(row)),
    };
    let signature = Signature::of(row, &label, &headline);
    (label, headline, signature)
}
