//! [`PlannedTrials`]: the places of a run's trials in its plan.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use runner_model::{Places as _, TrialId};
use runner_record::{ReadLine, RecordError, RunDir};
use runner_scenario::Suite;

use crate::verify;

/// The trials of a run with their places. Uses 16 bytes per trial, and 16 per test.
#[derive(Debug)]
pub(super) struct PlannedTrials {
    /// `None` if the stored tests cannot be read.
    pub(super) suite: Option<Suite>,
    /// Hashes of trials with their places, ascending.
    places: Vec<(u64, u32)>,
}

impl PlannedTrials {
    /// Reads the plan. If it cannot be read, the trials are those that have rows now, in their order on disk.
    pub(super) fn read(run: &RunDir) -> Result<Self, RecordError> {
        let suite = verify::plan(run).ok().flatten();
        let mut places = Vec::new();
        if let Some(suite) = &suite {
            places.reserve_exact(suite.trials() as usize);
            let trials =
                (0..suite.trials()).filter_map(|place| Some((place, suite.trial_id(place)?)));
            places.extend(trials.map(|(place, trial)| (hash(&trial), place as u32)));
        } else {
            run.rows(&mut |_, line| {
                if let ReadLine::Row(row, _) = line {
                    places.push((hash(&row.trial), places.len() as u32));
                }
            })?;
        }
        places.sort_unstable();
        places.dedup_by_key(|(hash, _)| *hash);
        if suite.is_none() {
            // The rows of retries have left gaps.
            places.sort_unstable_by_key(|(_, place)| *place);
            places.iter_mut().zip(0..).for_each(|((_, old), place)| *old = place);
            places.sort_unstable();
        }
        Ok(Self { suite, places })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the place of a trial. `None` if the plan lacks it.
    pub(super) fn place(&self, trial: &TrialId) -> Option<u32> {
        let hash = hash(trial);
        let found = self.places.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
        Some(self.places[found].1)
    }

    /// Returns the trial at a place. `None` if the plan cannot be read.
    pub(super) fn trial(&self, place: u32) -> Option<TrialId> {
        self.suite.as_ref()?.trial_id(place.into())
    }
}

fn hash(trial: &TrialId) -> u64 {
    let mut hasher = DefaultHasher::new();
    trial.hash(&mut hasher);
    hasher.finish()
}
