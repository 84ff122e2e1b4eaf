//! [`PlannedTable`]: a table with the places of its trials in the plan, also of those without rows, and selections of them.

use runner_model::{Outcome, Places as _, TrialId, known::KnownState};
use runner_record::{Fold, RecordError, RunDir};
use runner_scenario::{Filter, Suite};

use crate::query::{SortKey, TrialOrder, TrialQuery, View};
use crate::row::NO_ROW;
use crate::search::Search;
use crate::{RunTable, TableRow, plan};

/// Selections that are kept. Each takes 4 bytes per trial.
const MOST_VIEWS: usize = 3;
/// The last place in the order of the worst.
const MILDEST: u8 = 5;
/// No trial with rows, in a list of trials.
const NO_TRIAL: u32 = u32::MAX;

/// The trials of a plan, with their numbers in a table. Takes 4 bytes a trial and 16 a test.
#[derive(Debug)]
pub struct PlanOrder {
    /// `None` if the stored tests cannot be read. Then the trials are those that have rows, in the order of the first ones.
    pub suite: Option<Suite>,
    /// Numbers of trials by their place.
    trials: Vec<u32>,
}

impl PlanOrder {
    /// Reads the plan of a table's run.
    #[must_use]
    pub fn read(table: &RunTable) -> Self {
        Self::of(table, plan::suite(table.run()))
    }

    fn of(table: &RunTable, suite: Option<Suite>) -> Self {
        let planned = suite.as_ref().map_or(0, |suite| suite.trials() as usize);
        let mut order = Self { suite, trials: vec![NO_TRIAL; planned] };
        order.add(table, 0);
        order
    }

    /// Finds the places of the trials from number `from` on.
    fn add(&mut self, table: &RunTable, from: u32) {
        for trial in from..table.trials() {
            let Some(suite) = &self.suite else {
                self.trials.push(trial);
                continue;
            };
            let place = table.trial_id(trial).and_then(|id| suite.index(&id));
            if let Some(of_place) = place.and_then(|place| self.trials.get_mut(place as usize)) {
                *of_place = trial;
            }
        }
    }

    /// Returns the number of trials.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.trials.len() as u32
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// Returns the place of a trial. `None` if the plan lacks it.
    #[must_use]
    pub fn place(&self, table: &RunTable, trial: &TrialId) -> Option<u32> {
        match &self.suite {
            Some(suite) => suite.index(trial).map(|place| place as u32),
            None => table.find(trial),
        }
    }

    /// Returns the trial at a place.
    #[must_use]
    pub fn trial_id(&self, table: &RunTable, place: u32) -> Option<TrialId> {
        match &self.suite {
            _ if place >= self.len() => None,
            Some(suite) => suite.trial_id(place.into()),
            None => table.trial_id(place),
        }
    }

    /// Returns the places of trials in the plan, by their numbers. `None` for those that the plan lacks. Empty without the plan.
    #[must_use]
    pub fn places(&self, table: &RunTable) -> Vec<Option<u32>> {
        let known = if self.suite.is_some() { table.trials() as usize } else { 0 };
        let mut places = vec![None; known];
        for (place, trial) in (0..).zip(&self.trials) {
            if let Some(of_trial) = places.get_mut(*trial as usize) {
                *of_trial = Some(place);
            }
        }
        places
    }

    /// Returns the places of the trials that have a row or that the results need: with adaptive repeats not all of them.
    #[must_use]
    pub fn needed(&self, table: &RunTable) -> Vec<u32> {
        let places = 0..self.len();
        let Some(suite) = self.suite.as_ref().filter(|suite| suite.is_adaptive()) else {
            return places.collect();
        };
        let has_row = |place: &u32| self.number(*place).is_some();
        if table.fold_sums().counts.is_whole(suite.trials()) {
            return places.filter(has_row).collect();
        }
        let mut fold = Fold::of_plan(suite, None);
        for place in places.clone() {
            if let Some(row) = self.number(place).and_then(|trial| table.result(trial)) {
                fold.add(place.into(), row.as_result());
            }
        }
        places.filter(|place| has_row(place) || fold.trial((*place).into()).is_pending).collect()
    }

    /// Returns the number of the trial at a place. `None` without rows.
    #[must_use]
    pub fn number(&self, place: u32) -> Option<u32> {
        self.trials.get(place as usize).copied().filter(|trial| *trial != NO_TRIAL)
    }
}

/// A table in the order of the plan, with the last selections.
#[derive(Debug)]
pub struct PlannedTable {
    pub table: RunTable,
    pub order: PlanOrder,
    /// The newest row of each trial among the first `rev` rows.
    snapshot: Option<(u32, Vec<u32>)>,
    views: Vec<View>,
}

impl PlannedTable {
    /// Reads a run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, RecordError> {
        Ok(Self::new(RunTable::open(run)?))
    }

    fn new(table: RunTable) -> Self {
        let order = PlanOrder::read(&table);
        Self { table, order, snapshot: None, views: Vec::new() }
    }

    /// Reads the rows that were added since the last call. Returns whether they replace those of the table.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn follow(&mut self, run: &RunDir) -> Result<bool, RecordError> {
        let known = self.table.trials();
        let is_replaced = self.table.follow(run)?;
        // A plan that could not be read may be back.
        let suite = (is_replaced || self.order.suite.is_none()).then(|| plan::suite(run)).flatten();
        if is_replaced || suite.is_some() {
            (self.order, self.snapshot) = (PlanOrder::of(&self.table, suite), None);
            self.views.clear();
        } else {
            self.order.add(&self.table, known);
        }
        Ok(is_replaced)
    }

    /// Returns the trial at a place of the plan.
    #[must_use]
    pub fn trial_id(&self, place: u32) -> Option<TrialId> {
        self.order.trial_id(&self.table, place)
    }

    /// Returns the place of a trial. `None` if the plan lacks it.
    #[must_use]
    pub fn place(&self, trial: &TrialId) -> Option<u32> {
        self.order.place(&self.table, trial)
    }

    /// Returns the row that settles the trial at a place, or else its last one.
    #[must_use]
    pub fn newest(&self, place: u32) -> Option<TableRow> {
        self.table.newest(self.order.number(place)?)
    }

    /// Returns the newest row of the trial at a place among the first `rev` rows, after [`Self::select`] with this `rev`.
    fn newest_of(&self, place: u32) -> Option<TableRow> {
        match &self.snapshot {
            None => self.newest(place),
            Some((_, newest)) => {
                let trial = self.order.number(place)?;
                // Trials that are newer than the snapshot are not in it.
                let row = *newest.get(trial as usize)?;
                (row != NO_ROW && self.table.is_planned(trial)).then(|| self.table.row(row))
            }
        }
    }

    /// Selects trials by a query, as of the first `rev` rows. Returns up to `limit` places from `start` on, each with the row that
    /// counts, the number of all selected trials, and whether the search ended early.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn page(
        &mut self,
        query: &TrialQuery,
        rev: u32,
        start: impl FnOnce(&[u32]) -> usize,
        limit: usize,
    ) -> Result<Page, RecordError> {
        let is_older = rev < self.table.rows();
        if !is_older {
            self.snapshot = None;
        } else if self.snapshot.as_ref().is_none_or(|(of, _)| *of != rev) {
            self.snapshot = Some((rev, self.table.newest_of_first(rev)));
        }
        let view = self.select(query, rev)?;
        let offset = start(&view.places);
        let shown = view.places.iter().skip(offset).take(limit).copied().collect::<Vec<_>>();
        let total = view.places.len();
        let is_cut = view.is_cut;
        let trials = shown.into_iter().map(|place| (place, self.newest_of(place))).collect();
        Ok(Page { offset, total, is_cut, trials })
    }

    /// Returns the selection, which is the last of `views`.
    fn select(&mut self, query: &TrialQuery, rev: u32) -> Result<&View, RecordError> {
        let known = self.views.iter().position(|view| view.is_of(query, rev));
        let known = known.map(|known| self.views.remove(known));
        let known = known.filter(|view| !view.is_outdated(query));
        let view = match known {
            Some(view) => view,
            None => {
                let surplus = (self.views.len() + 1).saturating_sub(MOST_VIEWS);
                self.views.drain(..surplus);
                let (mut places, is_cut) = self.find(query)?;
                self.sort(&mut places, query.order);
                View { query: query.clone(), rev, places, is_cut }
            }
        };
        self.views.push(view);
        Ok(&self.views[self.views.len() - 1])
    }

    /// Returns the places of trials in the order of the plan, and whether the search ended early.
    fn find(&self, query: &TrialQuery) -> Result<(Vec<u32>, bool), RecordError> {
        let places = self.order.needed(&self.table);
        let text = (!query.text.is_empty()).then(|| Filter::with_text(&query.text));
        let has_filter = query.filter.is_some();
        let filters = query.filter.iter().cloned().chain(text);
        let filter = Filter::all(filters.collect());
        let numbers = query.rows.as_deref();
        if filter.is_none() && numbers.is_none() {
            return Ok((places, false));
        }
        let settling = places.iter().copied().filter_map(|place| {
            let row = self.newest_of(place).filter(TableRow::settles)?.number;
            let is_in = numbers.is_none_or(|numbers| numbers.binary_search(&row).is_ok());
            is_in.then_some((row, place))
        });
        let Some(filter) = filter else {
            return Ok((settling.map(|(_, place)| place).collect(), false));
        };
        let (mut rows, mut is_cut): (Vec<_>, _) = (settling.collect(), false);
        let mut found: Vec<u32> = if filter.needs_texts() {
            rows.sort_unstable_by_key(|(row, _)| self.table.place(*row));
            let is_text = !has_filter;
            let until = query.until;
            let search = Search { table: &self.table, filter: &filter, is_text, until };
            let found;
            (found, is_cut) = search.places(&rows)?;
            found
        } else {
            let matching = self.table.matching(&filter, rows.iter().map(|(row, _)| *row))?;
            let mut matching = matching.into_iter().peekable();
            let is_match = |(row, _): &&(u32, u32)| matching.next_if_eq(row).is_some();
            rows.iter().filter(is_match).map(|(_, place)| *place).collect()
        };
        if !has_filter && numbers.is_none() {
            found.extend(
                places.iter().copied().filter(|place| self.is_planned_with(*place, &query.text)),
            );
        }
        found.sort_unstable();
        Ok((found, is_cut))
    }

    /// Returns whether a trial without a result has a text in its id.
    fn is_planned_with(&self, place: u32, text: &str) -> bool {
        self.newest_of(place).is_none_or(|row| !row.settles())
            && self
                .trial_id(place)
                .is_some_and(|id| id.to_string().to_lowercase().contains(&text.to_lowercase()))
    }

    fn sort(&self, places: &mut [u32], order: TrialOrder) {
        if order.by != SortKey::Plan {
            places.sort_unstable_by(|left, right| {
                let values = [left, right].map(|place| order.rank(self.sort_value(*place, order)));
                values[0].total_cmp(&values[1]).then(left.cmp(right))
            });
        }
    }

    /// Returns the value by which trials are sorted.
    fn sort_value(&self, place: u32, order: TrialOrder) -> Option<f64> {
        let row = self.newest_of(place).filter(TableRow::counts);
        match order.by {
            SortKey::Plan => Some(place.into()),
            SortKey::Worst => Some(row.map_or(MILDEST, badness).into()),
            SortKey::Duration => row.map(|row| row.duration_ms.into()),
            SortKey::Score => row.and_then(|row| row.score),
            SortKey::Attempts => row.map(|row| row.attempt().into()),
        }
    }
}

/// Returns the place of a row in the order of the worst.
fn badness(row: TableRow) -> u8 {
    match row.state {
        KnownState::Known => MILDEST - 1,
        _ if row.is_unexpected() || row.is_flaky() => rank(row.outcome),
        _ => MILDEST,
    }
}

/// A part of the trials that a query selects.
#[derive(Debug)]
pub struct Page {
    /// Number of trials before the page.
    pub offset: usize,
    /// Number of selected trials.
    pub total: usize,
    /// Whether the search took too long and found only a part.
    pub is_cut: bool,
    /// Places in the plan, each with the row that counts.
    pub trials: Vec<(u32, Option<TableRow>)>,
}

/// Returns the place of an outcome in lists of failures.
#[must_use]
pub fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Error => 0,
        Outcome::Timeout => 1,
        Outcome::Failed => 2,
        _ => 3,
    }
}
