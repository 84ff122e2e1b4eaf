//! [`FailedGroups`]: the failures of a report, grouped by outcome and reason.

use std::collections::HashMap;

use runner_model::{Outcome, RowRef, TrialId};

use super::{cases::Cases, error::FormError};
use crate::{
    RunDocument,
    failure::{self, BlockLine},
    failures::{named, rank},
};

/// Groups that are kept. The trials of others are only counted.
const MOST_GROUPS: usize = 100;
/// Trials that a group names.
const MOST_TRIALS: usize = 3;
/// Lines of each value, message and difference in a block.
const BLOCK_LINES: usize = 12;

/// Trials that failed, grouped: errors, timeouts, failures, each in the order of the plan.
#[derive(Debug, Default)]
pub struct FailedGroups {
    pub groups: Vec<FailedGroup>,
    /// Trials of all groups, also of those that are not kept.
    pub trials: u64,
    /// Indexes in `groups`.
    places: HashMap<(Outcome, String), usize>,
}

/// Trials with the same outcome and reason.
#[derive(Debug)]
pub struct FailedGroup {
    pub outcome: Outcome,
    /// One visible line.
    pub reason: String,
    /// All reasons of the first trial.
    pub block: Vec<BlockLine>,
    pub trials: u64,
    /// The first three trials.
    pub first: Vec<TrialId>,
}

impl FailedGroups {
    /// Groups the selected trials of a run.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn read(document: &RunDocument) -> Result<Self, FormError> {
        Self::of_cases(Cases::read(document, false)?)
    }

    pub(crate) fn of_cases(cases: Cases<'_>) -> Result<Self, FormError> {
        let mut failed = Self::default();
        cases.failed().each(|_, case| {
            case.result.iter().for_each(|row| failed.add(row));
            Ok(())
        })?;
        failed.groups.sort_by_key(|group| rank(group.outcome));
        Ok(failed)
    }

    fn add(&mut self, row: &RowRef<'_>) {
        self.trials += 1;
        let key = (row.outcome, failure::headline(row));
        let index = match self.places.get(&key) {
            Some(index) => *index,
            None if self.groups.len() == MOST_GROUPS => return,
            None => {
                self.groups.push(FailedGroup {
                    outcome: row.outcome,
                    reason: key.1.clone(),
                    block: failure::block(row, BLOCK_LINES),
                    trials: 0,
                    first: Vec::new(),
                });
                self.places.insert(key, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[index];
        group.trials += 1;
        if group.first.len() < MOST_TRIALS {
            group.first.push(row.trial.clone());
        }
    }
}

impl FailedGroup {
    /// Names the first trials, and counts the others.
    #[must_use]
    pub fn name(&self) -> String {
        let names: Vec<_> = self.first.iter().map(TrialId::to_string).collect();
        named(&names, self.trials)
    }
}
