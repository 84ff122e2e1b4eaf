//! [`HeldTrials`]: the trials of the attempts that a worker has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{model::TrialId, record::AttemptKey, run::seam::Assignment};

/// The trials of the attempts that a worker has; its clones are one. What a worker says of others is not believed.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldTrials(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    trials: HashMap<AttemptKey, TrialId>,
    has_answered: bool,
}

impl HeldTrials {
    /// Notes what it is assigned.
    pub(super) fn add(&self, batch: Vec<Assignment>) {
        let assigned = batch.into_iter();
        let assigned = assigned.map(|assignment| (assignment.key(), assignment.trial));
        self.lock().trials.extend(assigned);
    }

    /// Takes the trial of an attempt that it has answered; `None` if it did not have it.
    pub(super) fn take(&self, key: AttemptKey) -> Option<TrialId> {
        let mut held = self.lock();
        let trial = held.trials.remove(&key);
        held.has_answered |= trial.is_some();
        trial
    }

    /// Tells whether it has ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.lock().has_answered
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
