//! [`TrialPlaces`]: the places that the trials of a shard have in the whole plan.

/// The places that the trials of a shard have in the whole plan, by their ordinals in the shard; four bytes each.
#[derive(Clone, Debug, Default)]
pub struct TrialPlaces(Vec<u32>);

impl TrialPlaces {
    /// Adds the shard's next trial.
    ///
    /// # Panics
    ///
    /// If no plan can have so many trials.
    pub fn push(&mut self, place: u64) {
        self.0
            .push(u32::try_from(place).expect("a plan has no more trials than that"));
    }

    /// How many trials the shard has.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The place of a trial of the shard.
    pub fn of(&self, ordinal: u64) -> Option<u64> {
        let place = self.0.get(usize::try_from(ordinal).ok()?)?;
        Some(u64::from(*place))
    }
}
