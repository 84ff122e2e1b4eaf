//! [`Adding`]: the state of a table to which rows are added.

use std::hash::RandomState;

use hashbrown::HashTable;
use runner_record::Fold;

/// The state that only further rows need. A table of a run that has ended drops it.
#[derive(Debug)]
pub(crate) struct Adding {
    pub(crate) fold: Fold,
    /// The first byte that was not read.
    pub(crate) end: u64,
    /// Session and number of the last row.
    pub(crate) last: (u32, u64),
    pub(crate) hasher: RandomState,
    /// Numbers of tests, by id.
    pub(crate) tests: HashTable<u32>,
    /// Numbers of trials, by test, provider and repeat.
    pub(crate) trials: HashTable<u32>,
}

impl Default for Adding {
    fn default() -> Self {
        Self {
            fold: Fold::new(0),
            end: 0,
            last: (0, 0),
            hasher: RandomState::new(),
            tests: HashTable::new(),
            trials: HashTable::new(),
        }
    }
}
