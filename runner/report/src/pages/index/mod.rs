//! [`RunIndex`]: the rows of a run in memory, for pages about runs of any size. This file makes pages of its trials, and reads one.
//!
//! Rows are only added to their file. So the first `rev` rows are a snapshot, and a page of them is the same at any time.
//!
//! Read `rows.rs` first. `select.rs` selects and sorts trials, `search.rs` reads their texts, and `tables.rs`, `failures.rs`,
//! `charts.rs` and `matrix.rs` sum them up.

mod charts;
mod failures;
mod matrix;
mod plan;
mod query;
mod rows;
mod search;
mod select;
mod tables;

use std::{sync::Arc, time::Duration};

use runner_model::{Outcome, ProviderName, TrialId, row::read_line};
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

pub use self::charts::{ProviderDurations, RunCharts, TimeBin};
pub use self::matrix::MatrixPage;
pub use self::query::{PageStart, TrialOrder, TrialQuery};
use self::rows::IndexedRow;
pub use self::rows::RunIndex;
use crate::rows::Line;
use crate::{Class, SincePrevious, TrialDocument, VERSION, failure};

/// Trials of a run that match a query. The answer for a `rev` stays the same.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrialsPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Number of rows that were read.
    pub rev: u64,
    /// Number of trials that match.
    pub total: u64,
    /// Number of planned trials.
    pub of: u64,
    /// Number of trials before the page.
    pub offset: u64,
    /// Whether the search took too long and found only a part.
    pub is_cut: bool,
    /// Whether the rows are still being read. Then the page has the first trials on disk, and no other page can be read.
    pub is_partial: bool,
    pub trials: Vec<TrialItem>,
}

/// A trial of a list.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct TrialItem {
    pub trial: String,
    /// Place in the plan, from 0. `null` while the rows are still being read.
    pub index: Option<u32>,
    /// `null` without a result.
    pub outcome: Option<Outcome>,
    pub flaky: bool,
    /// Whether an attempt or a grader runs now.
    pub is_running: bool,
    /// Number of the attempt that counts, or of the last one. `null` without one.
    pub attempt: Option<u32>,
    pub duration_ms: Option<f64>,
    /// Reason of a failure, or the provider's summary, on one line.
    pub headline: Option<String>,
    pub score: Option<f64>,
    /// Change since the previous run. Absent if the run is running, the trial just passes, or there is no such run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Class>,
    /// Number of the row in the run.
    pub seq: Option<u64>,
}

impl TrialItem {
    fn new(trial: String, index: Option<u32>) -> Self {
        Self { trial, index, ..Self::default() }
    }

    fn of_row(line: &[u8], index: Option<u32>) -> Option<Self> {
        let line = Line::of(line)?;
        let row = line.row()?;
        let has_result = row.r#final == Some(true) && row.outcome.can_be_final();
        let has_outcome = has_result || row.outcome == Outcome::Ungraded;
        let is_shown = row.outcome != Outcome::Passed || row.summary.is_some();
        Some(Self {
            outcome: has_outcome.then_some(row.outcome),
            flaky: row.flaky,
            attempt: Some(row.attempt),
            duration_ms: Some(row.duration_ms),
            headline: is_shown.then(|| failure::headline(&row)),
            score: row.trial_score(),
            seq: row.seq,
            ..Self::new(row.trial.to_string(), index)
        })
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
        let mut trials = Vec::new();
        for line in run.first_rows(limit)? {
            let is_final = read_line(&line).is_ok_and(|row| row.r#final == Some(true));
            trials.extend(TrialItem::of_row(&line, None).filter(|_| is_final));
        }
        let planned = counts.metadata.planned_trial_count;
        Ok(Self {
            v: VERSION,
            rev: 0,
            total: planned,
            of: planned,
            offset: 0,
            is_cut: false,
            is_partial: true,
            trials,
        })
    }
}

impl RunIndex {
    /// Reads a page of the trials of a query: of the first `rev` rows, or of all.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn trials(
        &mut self,
        query: &TrialQuery,
        rev: Option<u64>,
        (start, limit): (&PageStart, usize),
        since: Option<&SincePrevious>,
        live: Option<&Live>,
    ) -> Result<TrialsPage, RecordError> {
        let rev = rev.unwrap_or(u64::MAX).min(self.rev()) as usize;
        self.select(query, rev)?;
        self.newest(rev);
        let Some(view) = self.views.last() else { unreachable!("the selected view is kept") };
        let offset = match start {
            PageStart::Offset(offset) => *offset,
            PageStart::Before(trial) => {
                let place = self.plan.place(trial);
                let at = view.places.iter().position(|one| Some(*one) == place);
                at.map_or(view.places.len(), |at| at.saturating_sub(1))
            }
        };
        let places: Vec<u32> = view.places.iter().skip(offset).take(limit).copied().collect();
        let mut trials: Vec<_> = places
            .iter()
            .map(|place| {
                let trial = self.plan.trial(*place).map(|trial| trial.to_string());
                TrialItem::new(trial.unwrap_or_default(), Some(*place))
            })
            .collect();
        let rows: Vec<_> = places.iter().map(|place| self.row_of(*place)).collect();
        let on_disk = rows.iter().flatten().map(IndexedRow::place_on_disk);
        let mut items = trials.iter_mut().zip(&rows).filter(|(_, row)| row.is_some());
        if rows.iter().any(Option::is_some) {
            self.run.rows_at(on_disk, &mut |line| {
                let Some((item, _)) = items.next() else { return };
                if let Some(of_row) = TrialItem::of_row(line, item.index) {
                    *item = of_row;
                }
            })?;
        }
        for item in &mut trials {
            let in_flight = live.iter().flat_map(|live| &live.in_flight);
            item.is_running = in_flight.map(|one| one.trial.to_string()).any(|id| id == item.trial);
            item.change = since.and_then(|since| since.class(&item.trial));
        }
        Ok(TrialsPage {
            v: VERSION,
            rev: rev as u64,
            total: view.places.len() as u64,
            of: self.plan.len() as u64,
            offset: offset as u64,
            is_cut: view.is_cut,
            is_partial: false,
            trials,
        })
    }

    /// Returns the changes of a run that has ended since the previous one. `None` without any, and while it runs.
    pub fn since_previous(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<Arc<Option<SincePrevious>>, RecordError> {
        if !manifest.status.is_terminal() {
            return Ok(Arc::default());
        }
        if let Some(kept) = self.since.get(self.rev(), false) {
            return Ok(kept);
        }
        let read = SincePrevious::read(root, &self.run, manifest);
        // The previous run may be damaged, which is no problem of this one.
        self.since.keep(self.rows.len() as u64, Duration::ZERO, Ok(read.ok().flatten()))
    }

    /// Reads a trial as [`TrialDocument::read`] does. `None` if the plan lacks it.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn document(
        &self,
        root: &ResultsRoot,
        trial: &TrialId,
    ) -> Result<Option<TrialDocument>, RecordError> {
        let Some(place) = self.plan.place(trial) else { return Ok(None) };
        let on_provider = |name: &String| {
            let provider = ProviderName::parse(name).ok()?;
            self.plan.place(&TrialId { provider, ..trial.clone() })
        };
        let places: Vec<_> = self.providers.iter().filter_map(on_provider).collect();
        let is_its = |row: &&IndexedRow| places.contains(&row.place);
        let rows: Vec<_> = self.rows.iter().filter(is_its).map(IndexedRow::place_on_disk).collect();
        let planned = self.plan.test(place);
        let document = TrialDocument::of_lines(root, &self.run, trial.clone(), planned, |each| {
            // A new run has no file of rows yet.
            if rows.is_empty() { Ok(()) } else { self.run.rows_at(rows.into_iter(), each) }
        });
        document.map(Some)
    }
}
