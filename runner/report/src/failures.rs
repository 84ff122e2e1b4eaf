//! [`Failures`]: trials of a run that did not pass, grouped by outcome and reason.
//!
//! Each failed check and grade of a trial is a failure of its own. Those with the same reason are a group. If there are many with the
//! same answer to different expectations, or many whose reasons differ only in values, these are one group.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::{mem, slice};

use runner_model::known::{Known, KnownEntry, KnownState, Stale};
use runner_model::units::{grouped, plural};
use runner_model::visible::{cut, visible_line};
use runner_model::{Outcome, RowRef};
use runner_results::{hash, key, rank};
use schemars::JsonSchema;
use serde::Serialize;

use crate::KnownResult;
use crate::failure::PASSES;
use crate::failure::{self, BlockLine, Signature, Tone};
use crate::phrases;

/// Greatest number of groups by headline, of those by answer, and of those without values. Further trials are only counted.
const MOST_GROUPS: usize = 1000;
/// Greatest number of kinds. Trials of further ones are only counted.
const MOST_KINDS: usize = 30;
/// Groups that [`Failures::listed`] returns.
const MOST_LISTED: usize = 20;
/// Providers that a group names.
const MOST_PROVIDERS: usize = 5;
/// Flaky trials that are named.
const MOST_FLAKY: usize = 10;
/// Trials that a group names.
const MOST_TRIALS: usize = 3;
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

/// The first trials of the plan, with their places in it.
type FirstTrials = BTreeSet<(u64, String)>;

/// The trials that failed the same check or grader, or ended with the same class of error.
#[derive(Debug)]
pub(crate) struct FailureKind {
    pub(crate) outcome: Outcome,
    pub(crate) label: String,
    /// Selects its trials, with the known failures among them. `None` unless the label is the name of a check.
    pub(crate) filter: Option<String>,
    pub(crate) trials: u64,
    /// Number of failures. A trial may have several of one kind.
    pub(crate) failures: u64,
    /// Number of the last row that was added.
    last: u64,
}

/// Numbers of a failure's kind and part, or of a known failure's reason. `None` for those that are not kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailurePlace {
    pub(crate) kind: Option<u16>,
    pub(crate) part: Option<u16>,
    pub(crate) known: Option<u16>,
}

/// Known failures whose entries have the same reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KnownReason {
    /// Selects the trials: `/runs/{run}/trials?group=KEY`.
    pub(crate) key: String,
    pub reason: String,
    pub trials: u64,
    /// Up to 3 trials, the first by their ids.
    pub(crate) first: Vec<String>,
}

/// An entry of the list of known failures that does not apply to the run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StaleEntry {
    /// Why the entry does not apply.
    pub why: Stale,
    /// Globs over the ids of tests, up to 3.
    pub(crate) tests: Vec<String>,
    /// File and line. `scenario` and the line for an entry of the scenario.
    pub(crate) place: String,
    /// The entry's reason.
    pub(crate) reason: String,
    /// The last day on which the entry applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// The entry's outcomes and that of the trial, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<String>,
}

impl StaleEntry {
    /// Describes an entry that does not apply. `None` without a reason.
    pub(crate) fn of(entry: &KnownEntry, why: Option<Stale>) -> Option<Self> {
        let KnownEntry { tests, reason, until, .. } = entry;
        Some(Self {
            why: why?,
            tests: tests.iter().take(3).cloned().collect(),
            place: failure::place(entry),
            reason: reason.clone(),
            until: until.clone(),
            outcomes: None,
        })
    }

    /// Describes the entry of a trial that failed in a way which it does not expect. `None` for an expected one.
    pub(crate) fn of_other(known: &Known, row: &RowRef<'_>) -> Option<Self> {
        let (words, entry) = failure::other_failure(known, row)?;
        let outcomes = Some(words);
        Self::of(entry, Some(Stale::Outcome)).map(|entry| Self { outcomes, ..entry })
    }

    /// Formats the entry as one line.
    pub(crate) fn line(&self) -> String {
        let why = match (self.why, &self.until) {
            (Stale::Expired, Some(until)) => format!("expired {until}"),
            (Stale::Expired, None) => "expired".to_owned(),
            (Stale::Changed, _) => "changed".to_owned(),
            (Stale::Unmatched, _) => "unmatched".to_owned(),
            (Stale::Outcome, _) => self.outcomes.clone().unwrap_or_default(),
        };
        visible_line(&format!("{why}: {} ({})", self.reason, self.place)).into_owned()
    }
}

/// Trials with the same outcome and reason.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// One line: the headline of the first trial, or the answer of all trials.
    pub reason: String,
    pub outcome: Outcome,
    pub trials: u64,
    /// Number of failures: a group has several of each trial if other groups had exactly its trials.
    pub(crate) failures: u64,
    /// The least and the greatest number of further failed checks of its trials.
    more: [u64; 2],
    /// Sum of the hashes of its trials.
    sum: u64,
    /// Number of the last row that was added.
    last: u64,
    /// The reasons of the first trial of the plan, with all other parts of its result if this failure decided. Empty for flaky trials.
    pub block: Vec<BlockLine>,
    /// Up to [`MOST_TRIALS`] trials, or [`MOST_FLAKY`].
    first: FirstTrials,
    /// The test of all trials. `None` if they have several.
    test: Option<String>,
    /// Names of up to [`MOST_PROVIDERS`] + 1 providers.
    providers: BTreeSet<String>,
    /// Hash of test and provider of each trial.
    pub(crate) keys: Vec<u64>,
    /// The keys of [`Signature`] of the first trial of the plan.
    signature: [u64; 3],
    /// The answer of all trials, in [`Signature`].
    answer: Option<String>,
    /// Whether headlines differ.
    is_varied: bool,
    /// Number of the kind of all trials.
    pub(crate) kind: Option<u16>,
    /// The parts of the group, the first of which names it. Of each further [`MOST_GROUPS`] of them, all trials have the next key
    /// in `signature`.
    pub(crate) parts: Vec<usize>,
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
    pub fn add_result(&mut self, row: &RowRef<'_>, place: u64, known: &Known) -> Vec<FailurePlace> {
        let line = failure::known_line(known, row);
        let known = KnownResult::of(known, row);
        if known.as_ref().is_some_and(|known| known.state == KnownState::Known) {
            self.known += 1;
            return Vec::new();
        }
        self.add_row(row, place, known.as_ref(), line.as_deref(), usize::MAX)
    }

    /// Adds a known failure by the reason of its entry.
    pub(crate) fn add_known(&mut self, reason: &str, trial: &str) -> FailurePlace {
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
        FailurePlace { known: place, ..FailurePlace::default() }
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
    ) -> Vec<FailurePlace> {
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
        self.left_out_trials += u64::from(places.iter().any(|place| place.kind.is_none()));
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
    ) -> FailurePlace {
        self.grouped += 1;
        let (label, headline, Signature { keys, answer }) = signature(row, known);
        let kind = self.kind_of(row.outcome, &label).or_else(|| {
            let is_kept = self.kinds.len() < MOST_KINDS;
            is_kept.then(|| {
                self.kinds.push(FailureKind {
                    outcome: row.outcome,
                    filter: failure::filter(row, &label),
                    label: label.into_owned(),
                    trials: 0,
                    failures: 0,
                    last: 0,
                });
                self.kinds.len() as u16 - 1
            })
        });
        if let Some(kind) = kind {
            let kind = &mut self.kinds[usize::from(kind)];
            kind.failures += 1;
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
        let added = FailurePlace { kind, part: part.map(|part| part as u16), known: None };
        let Some(part) = part else { return added };
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

    /// Returns kind and part of each failure of a row that was added, or the reason of a known one.
    pub(crate) fn places(
        &self,
        row: &RowRef<'_>,
        known: Option<&KnownResult>,
    ) -> Vec<FailurePlace> {
        if let Some(known) = known.filter(|known| known.state == KnownState::Known) {
            let known = self.known_place(&known.reason);
            return vec![FailurePlace { known, ..Default::default() }];
        }
        let singles = failure::single_reasons(row);
        let reasons = if singles.is_empty() { slice::from_ref(row) } else { &singles };
        let place = |row| {
            let (label, _, Signature { keys, .. }) = signature(row, known);
            let part = self.part_of(row.outcome, keys).map(|part| part as u16);
            FailurePlace { kind: self.kind_of(row.outcome, &label), part, known: None }
        };
        reasons.iter().map(place).collect()
    }

    fn kind_of(&self, outcome: Outcome, label: &str) -> Option<u16> {
        let mut kinds = self.kinds.iter();
        let place = kinds.position(|kind| kind.label == label && kind.outcome == outcome);
        place.map(|place| place as u16)
    }

    /// Returns the hash of each part, which is the same as long as the part has trials.
    pub(crate) fn part_keys(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let groups = self.groups.iter().enumerate();
        groups.map(|(part, group)| (group.kind, group.signature[part / MOST_GROUPS]))
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
            *by_label.entry(&kind.label).or_default() += kind.trials;
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

/// Merges groups with the same outcome and the same key at `level`, if over `most` of them are `alike`.
fn merged(
    groups: Vec<FailureGroup>,
    level: usize,
    most: usize,
    alike: impl Fn(&FailureGroup) -> bool,
) -> Vec<FailureGroup> {
    let mut counts = HashMap::<_, usize>::new();
    for group in groups.iter().filter(|group| alike(group)) {
        *counts.entry(group.key(level)).or_default() += 1;
    }
    let mut merged = Vec::<FailureGroup>::new();
    let mut places = HashMap::new();
    for group in groups {
        let key = group.key(level);
        let is_merged = alike(&group) && counts[&key] > most;
        let place = is_merged.then(|| *places.entry(key).or_insert(merged.len()));
        match place.and_then(|place| merged.get_mut(place)) {
            Some(first) => first.merge(group),
            None => merged.push(group),
        }
    }
    merged
}

/// Formats the first of `count` trials, and the number of the others.
pub(crate) fn named(names: &[String], count: u64) -> String {
    match count - names.len() as u64 {
        0 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), grouped(more)),
    }
}

impl FailureGroup {
    fn new(outcome: Outcome) -> Self {
        Self {
            reason: String::new(),
            outcome,
            trials: 0,
            failures: 0,
            more: [u64::MAX, 0],
            sum: 0,
            last: 0,
            block: Vec::new(),
            first: FirstTrials::new(),
            test: None,
            providers: BTreeSet::new(),
            keys: Vec::new(),
            signature: [0; 3],
            answer: None,
            is_varied: false,
            kind: None,
            parts: Vec::new(),
        }
    }

    /// Returns the key by which groups are merged at a level.
    fn key(&self, level: usize) -> (Outcome, u64) {
        (self.outcome, self.signature[level])
    }

    /// Adds the trials of another group.
    fn merge(&mut self, mut other: Self) {
        self.is_varied |= other.is_varied || self.signature[0] != other.signature[0];
        if other.first.first() < self.first.first() {
            self.reason = other.reason;
            self.block = other.block;
            self.signature = other.signature;
        }
        self.trials += other.trials;
        self.failures += other.failures;
        self.sum = self.sum.wrapping_add(other.sum);
        self.add_more(other.more);
        self.test.take_if(|test| other.test.as_ref() != Some(test));
        self.answer.take_if(|answer| other.answer.as_ref() != Some(answer));
        self.first.append(&mut other.first);
        self.first = std::mem::take(&mut self.first).into_iter().take(MOST_TRIALS).collect();
        self.providers.append(&mut other.providers);
        self.providers =
            std::mem::take(&mut self.providers).into_iter().take(MOST_PROVIDERS + 1).collect();
        self.keys.append(&mut other.keys);
        self.parts.append(&mut other.parts);
    }

    /// Includes these numbers of further failed checks.
    fn add_more(&mut self, [least, most]: [u64; 2]) {
        self.more = [self.more[0].min(least), self.more[1].max(most)];
    }

    /// Adds a trial, and keeps the first `most` names, each of which starts with `run`.
    fn add(&mut self, run: &str, row: &RowRef<'_>, place: u64, most: usize) {
        let test = format!("{run}{}", &*row.test);
        match self.trials {
            0 => self.test = Some(test),
            _ => drop(self.test.take_if(|one| *one != test)),
        }
        self.trials += 1;
        let key = key(&row.trial.test, &row.trial.provider);
        self.keys.push(key);
        self.sum = self.sum.wrapping_add(hash(&(key, row.repeat, place)));
        self.first.insert((place, format!("{run}{}", row.trial)));
        if self.first.len() > most {
            self.first.pop_last();
        }
        self.providers.insert(row.provider.to_string());
        if self.providers.len() > MOST_PROVIDERS + 1 {
            self.providers.pop_last();
        }
    }

    /// Returns whether the trials count as failed, and are not skipped.
    pub fn is_failure(&self) -> bool {
        self.outcome != Outcome::Skipped
    }

    /// Returns the first trials, in the order of the plan.
    pub fn first(&self) -> impl Iterator<Item = &str> {
        self.first.iter().map(|(_, trial)| trial.as_str())
    }

    /// Returns the first providers by their names.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(String::as_str)
    }

    /// Returns one name for all trials of the group.
    pub fn name(&self) -> String {
        let first = self.first.first().map_or("", |(_, trial)| trial);
        match &self.test {
            Some(_) if self.trials > 1 && self.providers.len() == 1 => {
                let (trial, _) = first.rsplit_once('#').unwrap_or((first, ""));
                format!("{trial}, {} repeats", self.trials)
            }
            Some(test) if self.trials > 1 && self.providers.len() <= MOST_PROVIDERS => {
                format!("{test} on {}", self.providers().collect::<Vec<_>>().join(", "))
            }
            _ => self.first_names(),
        }
    }

    /// Returns the names of the first trials, and the number of the others.
    pub fn first_names(&self) -> String {
        let names: Vec<_> = self.first.iter().map(|(_, trial)| trial.clone()).collect();
        named(&names, self.trials)
    }
}
