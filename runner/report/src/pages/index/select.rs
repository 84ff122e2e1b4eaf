//! Selects and sorts trials. The last selections are kept, so that other pages of them cost nothing.

use std::cmp::Ordering;

use runner_model::{RowRef, Text, TrialId};
use runner_record::RecordError;
use runner_scenario::Filter;

use super::query::{TrialOrder, TrialQuery, View};
use super::rows::{IndexedRow, RunIndex};
use super::search::Search;
use crate::failures::rank;
use crate::rows::row_filter;

/// Selections that are kept. Each takes 4 bytes per trial.
const MOST_VIEWS: usize = 3;

impl RunIndex {
    /// Selects trials, unless they were selected before. The view is the last one.
    pub(super) fn select(&mut self, query: &TrialQuery, rev: usize) -> Result<(), RecordError> {
        let filter = query.filter.as_ref().map_or("", Filter::text);
        let is_it = |view: &View| {
            !view.is_cut
                && (view.filter.as_str(), view.text.as_str()) == (filter, query.text.as_str())
                && (view.order, view.rev) == (query.order, rev)
        };
        let view = match self.views.iter().position(is_it) {
            Some(found) => self.views.remove(found),
            None => {
                let surplus = (self.views.len() + 1).saturating_sub(MOST_VIEWS);
                self.views.drain(..surplus);
                self.newest(rev);
                let (mut places, is_cut) = self.find(query)?;
                self.sort(&mut places, query.order);
                let (filter, text) = (filter.to_owned(), query.text.clone());
                View { filter, text, order: query.order, rev, places, is_cut }
            }
        };
        self.views.push(view);
        Ok(())
    }

    /// Finds the places of trials in the order of the plan, and whether the search ended early.
    fn find(&self, query: &TrialQuery) -> Result<(Vec<u32>, bool), RecordError> {
        let places = 0..self.newest_rows().len() as u32;
        let text = match &*query.text {
            "" => None,
            text => Filter::with_text(text).ok(),
        };
        match (&query.filter, text) {
            (None, None) => Ok((places.collect(), false)),
            (Some(filter), None) if !filter.needs_texts() && self.plan.suite.is_some() => {
                let needs_ids = filter.needs_ids();
                let filter = row_filter(&self.run, filter)?;
                let row = |place: u32| self.row_of(place).filter(IndexedRow::settles);
                // Reading an id takes longer than the rest.
                let any = self.plan.trial(0);
                let trial = |place| if needs_ids { self.plan.trial(place) } else { any.clone() };
                let is_match = |place: &u32| {
                    let row = row(*place).and_then(|row| Some((row, trial(*place)?)));
                    row.is_some_and(|(row, trial)| filter.matches(&without_texts(row, &trial)))
                };
                Ok((places.filter(is_match).collect(), false))
            }
            (filter, text) => {
                let (filters, has_filter) = (filter.iter().cloned().chain(text), filter.is_some());
                let Some(filter) = Filter::all(filters.collect()) else {
                    return Ok((Vec::new(), false));
                };
                let (mut found, is_cut) = self.search(&filter, query)?;
                if !has_filter {
                    found.extend(places.filter(|place| self.is_planned_with(*place, &query.text)));
                }
                found.sort_unstable();
                Ok((found, is_cut))
            }
        }
    }

    /// Finds trials by their rows on disk.
    fn search(&self, filter: &Filter, query: &TrialQuery) -> Result<(Vec<u32>, bool), RecordError> {
        let row = |number: u32| self.rows[number as usize];
        let mut numbers: Vec<_> = self.numbers().filter(|number| row(*number).settles()).collect();
        if numbers.is_empty() {
            return Ok((Vec::new(), false));
        }
        // In their order on disk.
        numbers.sort_unstable();
        let (run, rows, until) = (&self.run, self.rows.as_slice(), query.until);
        let is_text = query.filter.is_none();
        Search { run, rows, filter, is_text, until }.places(&numbers)
    }

    /// Returns whether a trial without rows has a text in its id.
    fn is_planned_with(&self, place: u32, text: &str) -> bool {
        let trial = || self.plan.trial(place);
        self.row_of(place).is_none_or(|row| !row.settles())
            && trial()
                .is_some_and(|id| id.to_string().to_lowercase().contains(&text.to_lowercase()))
    }

    fn sort(&self, places: &mut [u32], order: TrialOrder) {
        let by_value = |descending: bool, value: fn(&IndexedRow) -> Option<f32>| {
            move |left: &u32, right: &u32| {
                let [one, other] = [left, right].map(|place| {
                    self.row_of(*place).filter(IndexedRow::counts).and_then(|row| value(&row))
                });
                let order = match (one, other) {
                    (Some(one), Some(other)) if descending => other.total_cmp(&one),
                    (Some(one), Some(other)) => one.total_cmp(&other),
                    (one, other) => other.is_some().cmp(&one.is_some()),
                };
                order.then_with(|| left.cmp(right))
            }
        };
        type Compare<'c> = Box<dyn Fn(&u32, &u32) -> Ordering + 'c>;
        let compare: Compare<'_> = match order {
            TrialOrder::Plan => return,
            TrialOrder::Worst => {
                return places.sort_unstable_by_key(|place| (self.badness(*place), *place));
            }
            TrialOrder::Duration { descending } => {
                Box::new(by_value(descending, |row| Some(row.duration_ms)))
            }
            TrialOrder::Score { descending } => Box::new(by_value(descending, IndexedRow::score)),
            TrialOrder::Attempts { descending } => {
                Box::new(by_value(descending, |row| Some(row.attempt().into())))
            }
        };
        places.sort_unstable_by(compare);
    }

    fn badness(&self, place: u32) -> u8 {
        match self.row_of(place).filter(IndexedRow::counts) {
            Some(row) if row.outcome.is_bad() || row.is_flaky() => rank(row.outcome),
            _ => 4,
        }
    }
}

/// Creates a row with the keys that an index has.
fn without_texts(row: IndexedRow, trial: &TrialId) -> RowRef<'_> {
    RowRef {
        v: 0,
        trial: trial.clone(),
        test: Text::from(&*trial.test),
        provider: Text::from(&*trial.provider),
        repeat: trial.repeat,
        attempt: row.attempt().into(),
        outcome: row.outcome,
        started_at: Default::default(),
        duration_ms: row.duration_ms.into(),
        usage: Default::default(),
        output: None,
        verdict: None,
        score: None,
        summary: None,
        checks: Vec::new(),
        grades: Vec::new(),
        metrics: Vec::new(),
        error: None,
        denied: Vec::new(),
        artifacts: Vec::new(),
        truncated: false,
        suspended_ms: 0.0,
        fingerprint: None,
        judgement_fingerprint: None,
        judged: None,
        worker: None,
        stopped_by: None,
        logs: None,
        flaky: row.is_flaky(),
        r#final: Some(true),
        session: None,
        seq: None,
        crc: None,
    }
}
