//! [`FailuresPage`]: the failures of a run by kind and reason.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use runner_model::Counts;
use runner_record::RecordError;
use runner_results::{RunTable, rank};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failures::{FailedTrials, FailureKind, FailurePlace, KnownReason, StaleEntry};
use crate::{Failures, SincePrevious, VERSION, rows::add_failures};

/// Groups of a kind that are listed.
const MOST_LISTED: usize = 10;
/// Stale entries that are listed.
const MOST_STALE: usize = 20;

/// The trials of a run that did not pass, or were skipped with a reason, by kind and reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailuresPage {
    /// Always [`VERSION`].
    v: u8,
    /// Counts of the rows that are grouped. Absent in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    /// Number of trials that did not pass, or that pass although they are known failures.
    trials: u64,
    /// Number of failed checks and grades, if a trial has several. It then counts in several kinds and groups, whose sums exceed
    /// `trials`. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<u64>,
    /// Number of known failures, which are in no kind. Absent for 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<u64>,
    /// Up to 30 reasons of known failures, those with the most trials first. Absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known_reasons: Vec<KnownReason>,
    /// Up to 20 entries of the list of known failures that do not apply. Absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<StaleEntry>,
    /// Number of stale entries.
    stale_entries: u64,
    /// Up to 30 kinds: those with new failures, then errors, timeouts, failures and skipped trials.
    kinds: Vec<FailureKind>,
    /// Number of trials with a failure of another kind.
    left_out: u64,
    /// One name for all flaky trials. `null` without any.
    flaky: Option<String>,
    /// The first trials that wait for a retry, each with the reason.
    retried: Vec<String>,
    /// Number of trials that wait for a retry.
    retries: u64,
    /// The key of each place, and that of its group or kind.
    #[serde(skip)]
    keys: HashMap<FailurePlace, [String; 2]>,
    /// Rows with the place of each of their failures. Takes 8 bytes for each.
    #[serde(skip)]
    rows: Vec<(u32, FailurePlace)>,
}

impl FailedTrials {
    fn is_new(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.contains("new"))
    }
}

impl FailuresPage {
    /// Groups the failures of a table.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn new(table: &RunTable, since: Option<&SincePrevious>) -> Result<Self, RecordError> {
        let mut failures = Failures::default();
        let mut rows = Vec::new();
        add_failures(table, None, None, &mut failures, |row, place| rows.push((row, place)))?;
        let mut counts = Counts::default();
        table.settling().for_each(|row| row.count(&mut counts));
        Ok(Self { rows, counts: Some(counts), ..Self::of(&failures, since) })
    }

    /// Lists grouped failures.
    pub(crate) fn of(failures: &Failures, since: Option<&SincePrevious>) -> Self {
        let (retried, retries) = failures.retried();
        let unexpected = if failures.known > 0 { " & unexpected()" } else { "" };
        let mut kinds = failures.kinds.clone();
        kinds.iter_mut().flat_map(|kind| &mut kind.filter).for_each(|filter| *filter += unexpected);
        let keys = failures.keys().map(|(place, key)| (place, [key.clone(), key]));
        let mut keys: HashMap<_, _> = keys.collect();
        for group in failures.by_reason() {
            // All parts of a group have the key of its first one.
            let part = |part: &usize| FailurePlace::Part(*part as u16);
            let key = keys[&part(&group.parts[0])][0].clone();
            for place in group.parts.iter().map(part) {
                keys.entry(place).and_modify(|[_, of]| of.clone_from(&key));
            }
            let Some(kind) = group.kind else { continue };
            kinds[usize::from(kind)].groups.push(FailedTrials {
                key,
                name: group.name(),
                first: group.first().map(str::to_owned).collect(),
                providers: group.providers().map(str::to_owned).collect(),
                change: since.and_then(|since| since.change(&group)),
                failures: group.failures,
                reason: group.reason,
                trials: group.trials,
            });
        }
        for kind in &mut kinds {
            kind.groups.sort_by_key(|group| (!group.is_new(), Reverse(group.trials)));
            kind.groups.truncate(MOST_LISTED);
            kind.left_out -= kind.groups.iter().map(|group| group.failures).sum::<u64>();
        }
        kinds.sort_by_key(|kind| {
            let is_new = kind.groups.first().is_some_and(FailedTrials::is_new);
            (!is_new, rank(kind.outcome), Reverse(kind.trials))
        });
        let mut known_reasons = failures.known_reasons.clone();
        known_reasons.sort_by_key(|known| Reverse(known.trials));
        Self {
            v: VERSION,
            counts: None,
            known_reasons,
            stale: failures.stale.iter().take(MOST_STALE).cloned().collect(),
            stale_entries: failures.stale.len() as u64,
            trials: failures.trials,
            known: Some(failures.known).filter(|known| *known > 0),
            left_out: failures.left_out_trials,
            checks: failures.checks(),
            kinds,
            flaky: failures.flaky(),
            retried: retried.into_iter().map(str::to_owned).collect(),
            retries,
            keys,
            rows: Vec::new(),
        }
    }

    /// Returns the key of a failure's group, which starts with that of its kind, or else the key of its kind. The key of a known
    /// failure starts with `known`.
    pub(crate) fn key(&self, place: FailurePlace) -> Option<&str> {
        self.keys.get(&place).map(|[_, key]| key.as_str())
    }

    /// Returns the reason of a group, or the label of a kind, and the numbers of its rows, ascending. Also finds a group by its key
    /// from before it was merged with others. `None` for an unknown key.
    pub fn group(&self, key: &str) -> Option<(String, Vec<u32>)> {
        let [_, key] = self.keys.values().find(|[own, _]| own == key)?;
        // The keys of all groups of a kind start with its key.
        let places = self.keys.iter().filter(|(_, [_, of])| of.starts_with(key));
        let places: HashSet<_> = places.map(|(place, _)| place).collect();
        let rows = self.rows.iter().filter(|(_, place)| places.contains(place));
        let mut rows: Vec<_> = rows.map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        let known = self.known_reasons.iter().find(|known| known.key == *key);
        // A group that is not listed has the label of its kind.
        let kind = self.kinds.iter().find(|kind| key.starts_with(&kind.key));
        let group = kind.and_then(|kind| kind.groups.iter().find(|group| group.key == *key));
        let reason = known.map(|known| &known.reason).or(group.map(|group| &group.reason));
        Some((reason.or(kind.map(|kind| &kind.kind)).unwrap_or(key).clone(), rows))
    }
}
