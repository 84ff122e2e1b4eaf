//! [`TrialsPage`]: a page of the trials of a run.
//!
//! Rows are only added to their file. So the first `rev` rows are a snapshot, and a page of them is the same at any time.

use std::collections::{HashMap, HashSet};

use runner_model::{Outcome, RowRef, TrialId, known::KnownState, row::read_line};
use runner_record::{Live, RecordError, RunDir};
use runner_results::{PlannedTable, TrialQuery};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Class, KnownResult, SincePrevious, VERSION, failure};

/// The first trial of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// The trial after this many.
    Offset(usize),
    /// The trial before this one, or this one if it is the first.
    Before(TrialId),
}

/// Trials of a run that match a query. The answer for a `rev` stays the same.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrialsPage {
    /// Always [`VERSION`].
    v: u8,
    /// Number of rows that were read.
    rev: u64,
    /// Number of trials that match.
    total: u64,
    /// Number of planned trials.
    of: u64,
    /// Reason of the failures that `group` selects. Absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of trials before the page.
    offset: u64,
    /// Whether the search took too long and found only a part.
    is_cut: bool,
    /// Whether the rows are still being read. Then the page has the first trials on disk, and no other page can be read.
    is_partial: bool,
    trials: Vec<TrialItem>,
}

/// A trial of a list.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct TrialItem {
    trial: String,
    /// Place in the plan, from 0. `null` while the rows are still being read.
    index: Option<u32>,
    /// `null` without a result.
    outcome: Option<Outcome>,
    flaky: bool,
    /// Whether an attempt or a grader runs now.
    is_running: bool,
    /// Number of the attempt that counts, or of the last one. `null` without one.
    attempt: Option<u32>,
    duration_ms: Option<f64>,
    /// Reason of a failure, or the provider's summary, on one line.
    headline: Option<String>,
    /// `known` for a known failure, `unexpected-pass` for a pass that its list does not expect. Absent for other results.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<KnownState>,
    score: Option<f64>,
    /// Change since the previous run. Absent if the run is running, the trial just passes, or there is no such run.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Class>,
    /// Number of the row in the run.
    seq: Option<u64>,
}

impl TrialItem {
    fn of_row(row: &RowRef<'_>) -> Self {
        let has_outcome = row.settles() || row.outcome == Outcome::Ungraded;
        let is_shown = row.outcome != Outcome::Passed || row.summary.is_some();
        Self {
            trial: row.trial.to_string(),
            outcome: has_outcome.then_some(row.outcome),
            flaky: row.flaky,
            attempt: Some(row.attempt),
            duration_ms: Some(row.duration_ms),
            headline: is_shown.then(|| failure::headline(row)),
            score: row.trial_score(),
            seq: row.seq,
            ..Self::default()
        }
    }
}

impl TrialsPage {
    /// Reads the first trials with a result on disk, for a run whose rows are being indexed.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn of_first_rows(run: &RunDir, limit: usize) -> Result<Self, RecordError> {
        let counts = run.truth()?;
        let mut trials = Vec::<TrialItem>::new();
        for line in run.first_lines(limit)? {
            let Ok(row) = read_line(&line) else { continue };
            if !row.settles() {
                continue;
            }
            let item = TrialItem::of_row(&row);
            match trials.iter_mut().find(|other| other.trial == item.trial) {
                // Another program may have sorted the rows.
                Some(other) if other.seq <= item.seq => *other = item,
                Some(_) => {}
                None => trials.push(item),
            }
        }
        let planned = counts.counts.needed_of(counts.metadata.planned_trial_count);
        Ok(Self {
            v: VERSION,
            rev: 0,
            total: planned,
            of: planned,
            reason: None,
            offset: 0,
            is_cut: false,
            is_partial: true,
            trials,
        })
    }

    /// Reads a page of the trials of a query: of the first `rev` rows, or of all.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(
        planned: &mut PlannedTable,
        query: &TrialQuery,
        rev: Option<u64>,
        (start, limit): (&PageStart, usize),
        since: Option<&SincePrevious>,
        live: Option<&Live>,
    ) -> Result<Self, RecordError> {
        let rows = planned.table.rows();
        let rev = rev.map_or(rows, |rev| rev.min(rows.into()) as u32);
        let first = match start {
            PageStart::Offset(_) => None,
            PageStart::Before(trial) => planned.place(trial),
        };
        let page = planned.page(
            query,
            rev,
            |places| match start {
                PageStart::Offset(offset) => *offset,
                PageStart::Before(_) => {
                    let place = places.iter().position(|place| Some(*place) == first);
                    place.map_or(places.len(), |place| place.saturating_sub(1))
                }
            },
            limit,
        )?;
        let rows = page.trials.iter().filter_map(|(_, row)| Some(row.as_ref()?.number));
        let mut items = HashMap::new();
        let known = planned.table.known()?;
        planned.table.each_row(rows, |indexed, row, _| {
            let mut item = TrialItem::of_row(row);
            item.known = indexed.state.listed();
            if indexed.state == KnownState::UnexpectedPass {
                item.headline = KnownResult::of(&known, row).map(|known| known.line());
            }
            items.insert(indexed.number, item);
        })?;
        let running: HashSet<_> =
            live.iter().flat_map(|live| &live.in_flight).map(|one| one.trial.to_string()).collect();
        let trials = page.trials.iter().map(|(place, row)| {
            let item = row.and_then(|row| items.remove(&row.number)).unwrap_or_else(|| {
                let trial = planned.trial_id(*place).map(|trial| trial.to_string());
                TrialItem { trial: trial.unwrap_or_default(), ..TrialItem::default() }
            });
            TrialItem {
                index: Some(*place),
                is_running: running.contains(&item.trial),
                change: since.and_then(|since| since.class(&item.trial)),
                ..item
            }
        });
        let trials = trials.collect();
        Ok(Self {
            v: VERSION,
            rev: rev.into(),
            total: page.total as u64,
            of: planned.table.fold_sums().counts.needed_of(planned.order.len().into()),
            reason: None,
            offset: page.offset as u64,
            is_cut: page.is_cut,
            is_partial: false,
            trials,
        })
    }
}
