//! [`TrialQuery`]: a selection of trials in an order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_scenario::Filter;

/// Time until a search that ended early is repeated. Meanwhile, its pages are those of one list.
const CUT_TIME: Duration = Duration::from_mins(1);

/// A selection of trials.
#[derive(Clone, Debug)]
pub struct TrialQuery {
    /// A resolved filter.
    pub filter: Option<Filter>,
    /// Text in the id, a message or the output. Empty for all trials.
    pub text: String,
    /// Numbers of rows, ascending, one of which settles the trial. `None` for all trials.
    pub rows: Option<Arc<[u32]>>,
    pub order: TrialOrder,
    /// Deadline of a search in texts, which then finds less.
    pub until: Instant,
}

impl TrialQuery {
    fn key(&self) -> (Option<&str>, &str, Option<&[u32]>, TrialOrder) {
        let filter = self.filter.as_ref().map(Filter::text);
        (filter, &self.text, self.rows.as_deref(), self.order)
    }
}

/// An order of trials. Those without a value are last, and equal ones are in the order of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialOrder {
    pub(crate) by: SortKey,
    is_descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortKey {
    /// Errors, timeouts, failures, flaky trials, others.
    Worst,
    Plan,
    Duration,
    Score,
    Attempts,
}

/// The trials of a query in a snapshot.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) query: TrialQuery,
    pub(crate) rev: u32,
    /// Places in the plan, in order.
    pub(crate) places: Vec<u32>,
    /// Whether the search ended early.
    pub(crate) is_cut: bool,
}

impl View {
    /// Returns whether the view is of a query and a snapshot.
    pub(crate) fn is_of(&self, query: &TrialQuery, rev: u32) -> bool {
        (self.query.key(), self.rev) == (query.key(), rev)
    }

    /// Returns whether the search ended early, and another one is due.
    pub(crate) fn is_outdated(&self, query: &TrialQuery) -> bool {
        self.is_cut && query.until > self.query.until + CUT_TIME
    }
}

impl TrialOrder {
    /// Parses a word, with `-` for descending order.
    pub fn parse(word: &str) -> Option<Self> {
        let (is_descending, word) = match word.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let by = match word {
            "worst" if !is_descending => SortKey::Worst,
            "plan" if !is_descending => SortKey::Plan,
            "duration" => SortKey::Duration,
            "score" => SortKey::Score,
            "attempts" => SortKey::Attempts,
            _ => return None,
        };
        Some(Self { by, is_descending })
    }

    /// Returns the number by which a value is sorted, ascending.
    pub(crate) fn rank(self, value: Option<f64>) -> f64 {
        value.map_or(f64::INFINITY, |value| if self.is_descending { -value } else { value })
    }
}
