//! [`Transcript`]: the steps of an attempt, within their limit.

use runner_model::{row::Raw, transcript::AgentEnd};

/// The steps of an attempt, each an object of the Agent Trajectory Interchange Format without `step_id`.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) steps: Vec<Raw<'static>>,
    /// Bytes that further steps may have.
    left: u64,
    /// Steps beyond the limit.
    pub(crate) dropped: u64,
    /// How the agent ended, by its last step, even if that did not fit.
    pub(crate) ended: Option<AgentEnd>,
    /// Number of the last call of a tool.
    pub(super) calls: u32,
}

impl Transcript {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: limit, ..Self::default() }
    }

    /// Returns whether a step fits.
    pub(super) fn has_room_for(&self, step: &Raw<'_>) -> bool {
        step.get().len() as u64 <= self.left
    }

    /// Adds a step, with the guest's word for its end. Returns whether it fits.
    pub(super) fn push(&mut self, step: Raw<'static>, ended: Option<AgentEnd>) -> bool {
        self.ended = ended;
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

#[cfg(test)]
mod tests {
    use runner_model::row::Raw;
    use runner_model::transcript::AgentEnd;

    use super::Transcript;

    #[test]
    fn end_of_a_dropped_step_counts() {
        let step = || Raw::from_string("[1,2,3]".to_owned()).unwrap();
        let mut transcript = Transcript::new(10);
        assert!(transcript.push(step(), Some(AgentEnd::Done)));
        // The agent has continued.
        assert!(!transcript.push(step(), None));
        assert_eq!(transcript.ended, None);
        assert!(!transcript.push(step(), Some(AgentEnd::Context)));
        assert_eq!((transcript.ended, transcript.dropped), (Some(AgentEnd::Context), 2));
    }
}
