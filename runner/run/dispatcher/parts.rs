//! What a dispatcher is made of.

use std::time::Duration;

use super::{lane::Lane, poison::Suspects};
use crate::{model::Fingerprint, plugin::Moment, record::State, scenario::Test};

/// What bounds a session.
pub(in crate::run) struct Rules {
    /// At how many trials that ended badly the run gives up.
    pub(in crate::run) fail_fast: Option<u64>,
    /// How long guests are asked to stop before they are interrupted.
    pub(in crate::run) grace: Duration,
    /// The run's own deadline.
    pub(in crate::run) ends: Moment,
    /// What sets it, for people.
    pub(in crate::run) limit: String,
}

/// The fingerprint of a test's trials on the provider in this place of the scenario.
pub(in crate::run) type FingerprintOf = Box<dyn Fn(usize, &Test) -> Fingerprint>;

/// The parts that a dispatcher is made of.
pub(in crate::run) struct DispatcherParts<E> {
    pub(in crate::run) out: E,
    pub(in crate::run) rules: Rules,
    pub(in crate::run) state: State,
    pub(in crate::run) lanes: Vec<Lane>,
    pub(in crate::run) suspects: Suspects,
    pub(in crate::run) fingerprint: FingerprintOf,
}
