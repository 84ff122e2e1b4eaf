//! [`Transcript`]: the steps of an attempt, within their limit.

use runner_model::row::Raw;

/// The steps of an attempt, each an object of the Agent Trajectory Interchange Format without `step_id`.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) steps: Vec<Raw<'static>>,
    /// Bytes that further steps may have.
    left: u64,
    /// Steps beyond the limit.
    pub(crate) dropped: u64,
    /// Number of the last call of a tool.
    pub(super) calls: u32,
}

impl Transcript {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: limit, ..Self::default() }
    }

    /// Adds a step. Returns whether it fits.
    pub(super) fn push(&mut self, step: Raw<'static>) -> bool {
        let left = self.left.checked_sub(step.get().len() as u64);
        match left {
            Some(left) => {
                self.left = left;
                self.steps.push(step);
            }
            None => self.dropped += 1,
        }
        left.is_some()
    }
}
