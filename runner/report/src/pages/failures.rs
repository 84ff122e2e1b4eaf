//! [`FailuresPage`]: the failures of a run by kind and reason.

use std::cmp::Reverse;

use runner_model::{Counts, Outcome};
use runner_record::RecordError;
use runner_results::{RunTable, hash, rank};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failures::{FailurePlace, KnownReason, StaleEntry};
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
    /// For each part of [`Failures`] its own key, and that of its group.
    #[serde(skip)]
    parts: Vec<[String; 2]>,
    /// Keys by the number of the kind.
    #[serde(skip)]
    kind_keys: Vec<String>,
    /// Keys by the number of the reason of known failures.
    #[serde(skip)]
    known_keys: Vec<String>,
    /// Rows with the place of each of their failures. Takes 16 bytes for each.
    #[serde(skip)]
    rows: Vec<(u32, FailurePlace)>,
}

/// Trials that failed the same check or grader, or ended with the same class of error.
#[derive(Debug, Serialize, JsonSchema)]
struct FailureKind {
    /// Selects the trials of the kind: `/runs/{run}/trials?group=KEY`.
    key: String,
    /// Selects the trials of the kind, if it is a check with a plain name. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    outcome: Outcome,
    /// An expectation such as `equals`, a check of the provider, `grader NAME below 0.7`, `grader NAME: VERDICT`, a class of
    /// errors, `timeout`, or `passes although known`.
    kind: String,
    trials: u64,
    /// Up to 10 groups: those with new failures, then those with the most trials.
    groups: Vec<FailedTrials>,
    /// Number of failures in other groups.
    left_out: u64,
}

/// Trials with the same outcome and reason.
#[derive(Debug, Serialize, JsonSchema)]
struct FailedTrials {
    /// Selects the trials of the group, as the key of a kind does.
    key: String,
    /// One line.
    reason: String,
    trials: u64,
    /// One name for all trials of the group.
    name: String,
    /// The first trials.
    first: Vec<String>,
    /// Names of up to 6 providers.
    providers: Vec<String>,
    /// `new`, `still`, or the number of trials that are new. Absent while the run is running, and without a previous run.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
    #[serde(skip)]
    failures: u64,
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
        let kinds = failures.kinds.iter().map(|kind| FailureKind {
            filter: kind.filter.as_ref().map(|filter| format!("{filter}{unexpected}")),
            key: format!("{:012x}", hash(&(kind.outcome.as_str(), &kind.label)) >> 16),
            outcome: kind.outcome,
            kind: kind.label.clone(),
            trials: kind.trials,
            groups: Vec::new(),
            left_out: kind.failures,
        });
        let mut kinds: Vec<_> = kinds.collect();
        let kind_keys: Vec<_> = kinds.iter().map(|kind| kind.key.clone()).collect();
        let own_key = |(kind, part): (Option<u16>, u64)| {
            let kind = kind.map_or("", |kind| &kind_keys[usize::from(kind)]);
            format!("{kind}-{:012x}", part >> 16)
        };
        let mut parts: Vec<_> =
            failures.part_keys().map(own_key).map(|key| [key.clone(), key]).collect();
        for group in failures.by_reason() {
            let key = parts[group.parts[0]][0].clone();
            for part in &group.parts {
                parts[*part][1].clone_from(&key);
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
            known_keys: failures.known_reasons.iter().map(|known| known.key.clone()).collect(),
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
            parts,
            kind_keys,
            rows: Vec::new(),
        }
    }

    /// Returns the key of a failure's group, which starts with that of its kind, or else the key of its kind. The key of a known
    /// failure starts with `known`.
    pub(crate) fn key(&self, place: FailurePlace) -> Option<&str> {
        if let Some(known) = place.known {
            return self.known_keys.get(usize::from(known)).map(String::as_str);
        }
        let group = place.part.map(|part| &self.parts[usize::from(part)][1]);
        group.or_else(|| self.kind_keys.get(usize::from(place.kind?))).map(String::as_str)
    }

    /// Returns the reason of a group, or the label of a kind, and the numbers of its rows, ascending. Also finds a group by its key
    /// from before it was merged with others. `None` for an unknown key.
    pub fn group(&self, key: &str) -> Option<(String, Vec<u32>)> {
        if let Some(known) = self.known_reasons.iter().find(|known| known.key == key) {
            let rows = self.rows.iter().filter(|(_, place)| self.key(*place) == Some(key));
            let mut rows: Vec<_> = rows.map(|(row, _)| *row).collect();
            rows.sort_unstable();
            return Some((known.reason.clone(), rows));
        }
        let kind = self.kind_keys.iter().position(|kind| kind == key).map(|kind| kind as u16);
        let part = self.parts.iter().find(|[own, _]| own == key);
        let key = match part {
            Some([_, group]) => group,
            None => &self.kind_keys[usize::from(kind?)],
        };
        let is_in: Vec<_> = self.parts.iter().map(|[_, group]| group == key).collect();
        let rows = self.rows.iter().filter(|(_, place)| match kind {
            Some(_) => place.kind == kind,
            None => place.part.is_some_and(|part| is_in[usize::from(part)]),
        });
        let mut rows: Vec<_> = rows.map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        // A group that is not listed has the label of its kind.
        let kind = self.kinds.iter().find(|kind| key.starts_with(&kind.key));
        let group = kind.and_then(|kind| kind.groups.iter().find(|group| group.key == *key));
        let reason = group.map(|group| &group.reason).or(kind.map(|kind| &kind.kind));
        Some((reason.unwrap_or(key).clone(), rows))
    }
}
