//! [`HandedPlan`]: what a worker is told of a plan beside what its run has stored, and the same plan made of both.

use std::{collections::BTreeMap, path::Path};

use super::{
    planned::Plan,
    stored::{StoredError, missing},
};
use crate::{
    model::Digest,
    record::{RunReader, regular},
    scenario::{RunOptions, Suite, SuiteOutline},
};

/// What a worker is told of a plan beside what its run has stored.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::run) struct HandedPlan {
    /// What the plan made of it has as its digest.
    pub(in crate::run) digest: Digest,
    /// What holds instead of what the scenario says, as manifests have it.
    pub(in crate::run) overrides: String,
    pub(in crate::run) suite: SuiteOutline,
    /// The values of secrets, by name.
    pub(in crate::run) secrets: BTreeMap<String, String>,
    /// Which folders were found where providers are granted some: by provider, by the path that the guest finds each at.
    pub(in crate::run) folders: Vec<Vec<(String, [u64; 2])>>,
}

impl Plan {
    /// Lets workers on other machines make the attempts, as many at once as these carry.
    pub fn spread(&mut self) {
        self.is_spread = true;
    }

    /// Tells whether workers on other machines make the attempts.
    pub fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// How many attempts run at once, where workers on other machines could together make more than was asked for.
    pub(in crate::run) fn most_spread(&self) -> Option<usize> {
        let asked = self.options().jobs?;
        self.is_spread.then(|| asked.get())
    }

    /// What a worker of a run of this plan is told.
    pub(in crate::run) fn handed(&self) -> HandedPlan {
        let folders = self.providers.iter().map(|provider| {
            let mounts = provider.iter().flat_map(|provider| &provider.mounts);
            mounts
                .filter_map(|mount| Some((mount.guest.clone(), mount.identity()?)))
                .collect()
        });
        HandedPlan {
            digest: self.digest(),
            overrides: self.overrides().to_stored().to_string(),
            suite: self.suite().outline(),
            secrets: self.secrets.clone(),
            folders: folders.collect(),
        }
    }

    /// Makes the same plan again of what its run has stored, and of the list of tests at `suite`. What is stored was verified
    /// by who has handed it; that nothing is mounted in a granted folder's place is seen to when it is mounted.
    pub(in crate::run) fn of_handed(
        run: &RunReader,
        handed: HandedPlan,
        suite: &Path,
    ) -> Result<Self, StoredError> {
        let overrides = serde_json::from_str(&handed.overrides).unwrap_or_default();
        let overrides = RunOptions::of_stored(&overrides);
        let mut plan = Self::of_stored(run, overrides, || {
            regular::open(suite)
                .and_then(|file| Suite::open_with(file.into_parts().0, handed.suite))
                .map_err(|source| missing("the list of tests", suite, source))
        })?;
        if plan.digest() != handed.digest {
            return Err(StoredError::Plan {
                expected: handed.digest,
                found: plan.digest(),
                version: run.manifest().runner_version.clone(),
            });
        }
        // Nothing is graded there.
        for (provider, folders) in plan.providers.iter_mut().zip(handed.folders) {
            let mounts = provider
                .iter_mut()
                .flat_map(|provider| &mut provider.mounts);
            for mount in mounts {
                let found = folders.iter().find(|(guest, _)| *guest == mount.guest);
                if let Some((_, identity)) = found {
                    mount.was_found(*identity);
                }
            }
        }
        plan.set_secrets(&handed.secrets);
        Ok(plan)
    }
}
