//! [`TrialQuery`]: a selection of trials in an order.

use std::time::Instant;

use runner_model::TrialId;
use runner_scenario::Filter;

/// A selection of trials.
#[derive(Clone, Debug)]
pub struct TrialQuery {
    /// A resolved filter.
    pub filter: Option<Filter>,
    /// Text in the id, a message or the output. Empty for all trials.
    pub text: String,
    pub order: TrialOrder,
    /// Deadline of a search in texts, which then finds less.
    pub until: Instant,
}

/// An order of trials. Those without a value are last, and equal ones are in the order of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialOrder {
    /// Errors, timeouts, failures, flaky trials, others.
    Worst,
    Plan,
    Duration {
        descending: bool,
    },
    Score {
        descending: bool,
    },
    Attempts {
        descending: bool,
    },
}

/// The first trial of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// The trial after this many.
    Offset(usize),
    /// The trial before this one, or this one if it is the first.
    Before(TrialId),
}

/// The trials of a query in a snapshot.
#[derive(Debug)]
pub(super) struct View {
    pub(super) filter: String,
    pub(super) text: String,
    pub(super) order: TrialOrder,
    pub(super) rev: usize,
    /// Places in the plan, in order.
    pub(super) places: Vec<u32>,
    /// Whether the search ended early.
    pub(super) is_cut: bool,
}

impl TrialOrder {
    /// Parses a word, with `-` for descending order.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (descending, word) = match word.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, word),
        };
        match word {
            "worst" if !descending => Some(Self::Worst),
            "plan" if !descending => Some(Self::Plan),
            "duration" => Some(Self::Duration { descending }),
            "score" => Some(Self::Score { descending }),
            "attempts" => Some(Self::Attempts { descending }),
            _ => None,
        }
    }
}
