//! Adopting another plan for a run that has rows: which of its trials have changed.
//!
//! Rows name trials by their ordinals, so the trials of the run must be the first ones of the new plan, in the same order;
//! what has moved or is gone is refused. Rows that are copied under other ordinals would make one attempt two rows. The
//! trials that have changed are stored with the session as a `rerun` of ordinals, so that the one fold serves this case, too.

use std::{collections::BTreeSet, io, ops::Range};

use thiserror::Error;

use super::{fingerprint::Fingerprints, planned::Plan};
use crate::{
    model::{Fingerprint, TrialId, add_to_ranges},
    record::{LineError, RunReader},
    scenario::SuiteReader,
};

/// Why a plan cannot be adopted by a run.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// A trial that the run knows is not at its place any more, so that its rows would be another trial's.
    #[error("trial `{old}` of the run is {}", match new {
        Some(new) => format!("`{new}` now"),
        None => "gone".into(),
    })]
    OtherTrials {
        /// The run's trial.
        old: TrialId,
        /// What has its place in the plan now.
        new: Option<TrialId>,
    },
    /// Tests could not be read back.
    #[error("cannot read the normalised tests")]
    Suite(#[from] io::Error),
}

/// The trials of a plan that are not what they were, as ranges of ordinals without their ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlanChanges {
    /// Those of which what is executed has changed.
    pub execution: Vec<Range<u64>>,
    /// Those of which only that has changed by which they are judged.
    pub judgement: Vec<Range<u64>>,
}

impl Plan {
    /// Finds the trials whose fingerprint is another one than in `old`.
    ///
    /// Trials are known by their ordinals, so those of `old` must be the first ones here, in the same order.
    ///
    /// # Errors
    ///
    /// Fails if they are not, or if tests cannot be read.
    pub fn changes_since(&self, old: &Self) -> Result<PlanChanges, AdoptError> {
        let (mut old_trials, mut new_trials) = (PlanTrials::new(old), PlanTrials::new(self));
        let mut changes = PlanChanges::default();
        for ordinal in 0..old.trial_count() {
            let (old_trial, old_print) = old_trials.at(ordinal)?;
            let new = match ordinal < self.trial_count() {
                true => Some(new_trials.at(ordinal)?),
                false => None,
            };
            let Some((_, new_print)) = new.as_ref().filter(|(trial, _)| *trial == old_trial) else {
                return Err(AdoptError::OtherTrials {
                    old: old_trial,
                    new: new.map(|(trial, _)| trial),
                });
            };
            if new_print.execution != old_print.execution {
                add_to_ranges(&mut changes.execution, ordinal);
            } else if new_print.judgement != old_print.judgement {
                add_to_ranges(&mut changes.judgement, ordinal);
            }
        }
        Ok(changes)
    }

    /// Finds among trials those whose final row was not judged by this plan, as ranges of ordinals without their ends.
    ///
    /// # Errors
    ///
    /// Fails if rows or tests cannot be read.
    pub fn judged_otherwise(
        &self,
        run: &RunReader,
        among: &[Range<u64>],
    ) -> io::Result<Vec<Range<u64>>> {
        let mut otherwise = BTreeSet::new();
        let mut trials = PlanTrials::new(self);
        for row in run.rows() {
            let row = match row {
                Ok(row) => row,
                Err(LineError::Damaged { .. }) => continue,
                Err(LineError::Io(error)) => return Err(error),
            };
            if !row.is_final || !among.iter().any(|range| range.contains(&row.ordinal)) {
                continue;
            }
            let (_, print) = trials.at(row.ordinal)?;
            let by = row.judgement_fingerprint;
            match by.is_some_and(|by| by.begins(print.judgement)) {
                true => otherwise.remove(&row.ordinal),
                false => otherwise.insert(row.ordinal),
            };
        }
        let mut ranges = Vec::new();
        otherwise
            .into_iter()
            .for_each(|ordinal| add_to_ranges(&mut ranges, ordinal));
        Ok(ranges)
    }
}

/// The trials of a plan with their fingerprints.
struct PlanTrials<'a> {
    plan: &'a Plan,
    reader: SuiteReader,
    fingerprints: Fingerprints,
}

impl<'a> PlanTrials<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            reader: plan.suite().reader(),
            fingerprints: Fingerprints::new(&plan.providers, &plan.graders, plan.options()),
        }
    }

    fn at(&mut self, ordinal: u64) -> io::Result<(TrialId, Fingerprint)> {
        let (test, provider, repeat) = self.reader.at(ordinal)?;
        let trial = TrialId {
            test: test.id.clone(),
            provider: self.plan.scenario().providers()[provider].id.clone(),
            repeat,
        };
        Ok((trial, self.fingerprints.of(provider, &test)))
    }
}
