//! [`DividedPlan`]: the whole that shards are parts of, for whoever puts them together.

use std::{io, num::NonZeroU32};

use super::names::{self, TrialNames};
use crate::{
    model::{Shard, TrialId},
    record::{ManifestShard, RunReader, TrialPlaces, regular},
    scenario::Suite,
};

/// The trials of a whole plan, by the shards that they belong to.
pub struct DividedPlan {
    names: TrialNames,
    /// For each shard the places that its trials have in the whole.
    places: Vec<TrialPlaces>,
}

impl DividedPlan {
    /// Reads the whole plan as a shard has stored it.
    ///
    /// # Errors
    ///
    /// Fails if what was stored is not there, or is not what it was; the text says what.
    pub fn of(reader: &RunReader, shard: &ManifestShard) -> Result<Self, String> {
        let scenario = names::stored_scenario(reader)
            .ok_or("the scenario that was stored with it cannot be read")?;
        let path = reader.content().path(shard.suite);
        let read = |error: io::Error| {
            format!(
                "the list of all tests cannot be read from `{}`: {error}",
                path.display()
            )
        };
        let file = regular::open(&path).map_err(read)?;
        let suite = Suite::open(file.into_parts().0).map_err(read)?;
        if suite.digest() != shard.suite || suite.trial_count() != shard.planned_test_count {
            return Err(format!(
                "the list of all tests, `{}`, was altered",
                path.display()
            ));
        }
        let count = NonZeroU32::new(shard.count).ok_or("it is none of any shards")?;
        let mut places = vec![TrialPlaces::default(); count.get() as usize];
        let providers = scenario.providers().iter();
        let providers: Vec<_> = providers.map(|provider| provider.id.as_str()).collect();
        let mut ordinals = 0..;
        let each = |shard: Shard| {
            let places = &mut places[shard.index() as usize - 1];
            ordinals
                .by_ref()
                .take(1)
                .for_each(|ordinal| places.push(ordinal));
        };
        suite.each_shard(count, &providers, each).map_err(read)?;
        Ok(Self {
            names: TrialNames::with(scenario, &suite),
            places,
        })
    }

    /// For each shard, in their order, the places that its trials have in the whole.
    pub fn places(&self) -> &[TrialPlaces] {
        &self.places
    }

    /// The trial with this place in the whole.
    pub fn name(&mut self, ordinal: u64) -> Option<TrialId> {
        self.names.name(ordinal)
    }
}
