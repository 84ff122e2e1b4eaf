//! [`TrialQuery`]: a selection of trials in an order.

use std::time::Instant;

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

/// The trials of a query in a snapshot.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) filter: String,
    pub(crate) text: String,
    pub(crate) order: TrialOrder,
    pub(crate) rev: u32,
    /// Places in the plan, in order.
    pub(crate) places: Vec<u32>,
    /// Whether the search ended early.
    pub(crate) is_cut: bool,
}

impl TrialOrder {
    /// Parses a word, with `-` for descending order.
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
