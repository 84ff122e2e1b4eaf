//! What the settings of a results root say: which runs go, who is told, and how many may be active.

use std::path::Path;

use crate::{
    error::Error,
    record::{PrunePolicy, settings_file},
    scenario::{Retention, RootSettings},
};

/// Reads the settings of the results root `root`; where there are none, the defaults.
///
/// # Errors
///
/// Fails with everything that is wrong with them.
pub fn root_settings(root: &Path) -> Result<RootSettings, Error> {
    RootSettings::load(&settings_file(root)).map_err(Error::usage)
}

/// Which runs go by the settings of a results root; `None` where they say nothing of it.
pub fn retention_policy(settings: &RootSettings) -> Option<PrunePolicy> {
    let Retention {
        older_than,
        keep_last,
        max_bytes,
    } = settings.retention?;
    Some(PrunePolicy {
        older_than,
        keep_last,
        max_bytes,
        ..PrunePolicy::default()
    })
}
