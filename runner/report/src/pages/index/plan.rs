//! [`PlannedTrials`]: the places of a run's trials in its plan.

use std::{cell::Cell, collections::HashSet};

use runner_model::{Places as _, TrialId};
use runner_record::{ReadLine, RecordError, RunDir};
use runner_scenario::Suite;
use serde_json::value::RawValue;

use crate::{logs::hash, stored_tests};

/// Trials after the last found one that are compared first: rows are nearly in the order of the plan.
const NEAR: usize = 8;

/// The trials of a run with their places. Uses 12 bytes per trial, and 16 per test.
#[derive(Debug)]
pub(super) struct PlannedTrials {
    /// `None` if the stored tests cannot be read.
    pub(super) suite: Option<Suite>,
    /// The hash of the trial at each place.
    hashes: Vec<u64>,
    /// Places, ascending by hash.
    by_hash: Vec<u32>,
    last_found: Cell<usize>,
}

impl PlannedTrials {
    /// Reads the plan. If it cannot be read, the trials are those that have rows now, in their order on disk.
    pub(super) fn read(run: &RunDir) -> Result<Self, RecordError> {
        let suite = stored_tests::plan(run);
        let mut hashes = Vec::new();
        if let Some(suite) = &suite {
            // A trial whose test became unreadable has no rows that count.
            let hash = |place| suite.trial_id(place).map_or(0, |trial| hash(&trial));
            hashes.reserve_exact(suite.trials() as usize);
            hashes.extend((0..suite.trials()).map(hash));
        } else {
            let mut known = HashSet::new();
            run.rows(&mut |_, line| {
                if let ReadLine::Row(row, _) = line {
                    let hash = hash(&row.trial);
                    hashes.extend(known.insert(hash).then_some(hash));
                }
            })?;
        }
        // Sorting pairs takes a quarter of the time of sorting places by their hashes. In parts, because glibc keeps blocks for
        // later as large as the largest one that was freed.
        let (mut by_hash, mut pairs) = (Vec::with_capacity(hashes.len()), Vec::new());
        for part in 0..16 {
            let numbered = hashes.iter().copied().zip(0_u32..);
            pairs.extend(numbered.filter(|(hash, _)| hash >> 60 == part));
            pairs.sort_unstable();
            by_hash.extend(pairs.drain(..).map(|(_, place)| place));
        }
        Ok(Self { suite, hashes, by_hash, last_found: Cell::new(0) })
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Returns the place of a trial. `None` if the plan lacks it.
    pub(super) fn place(&self, trial: &TrialId) -> Option<u32> {
        let (hash, last) = (hash(trial), self.last_found.get());
        let near = self.hashes.iter().skip(last).take(NEAR).position(|one| *one == hash);
        let place = match near {
            Some(near) => last + near,
            None => {
                let hash_of = |place: &u32| self.hashes[*place as usize];
                self.by_hash[self.by_hash.binary_search_by_key(&hash, hash_of).ok()?] as usize
            }
        };
        self.last_found.set(place);
        Some(place as u32)
    }

    /// Returns the trial at a place. `None` if the plan cannot be read.
    pub(super) fn trial(&self, place: u32) -> Option<TrialId> {
        self.suite.as_ref()?.trial_id(place.into())
    }

    /// Returns the stored test of the trial at a place. `None` if it cannot be read.
    pub(super) fn test(&self, place: u32) -> Option<Box<RawValue>> {
        let (suite, mut line) = (self.suite.as_ref()?, Vec::new());
        suite.line(suite.trial(place.into()).test, &mut line).ok()?;
        RawValue::from_string(String::from_utf8(line).ok()?).ok()
    }
}
