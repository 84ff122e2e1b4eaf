//! [`Access`]: the parts of the host that a provider's attempts may use.

use std::{path::PathBuf, sync::Arc};

use runner_model::provider::MountedFolder;

use crate::{Network, Secrets};

/// The parts of the host that a provider's attempts may use, with all names resolved. The default
/// allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Shared by all attempts of the provider.
    pub network: Network,
    /// The granted secrets, with their values.
    pub secrets: Arc<Secrets>,
    pub mounts: Vec<MountedFolder>,
    /// Parent of the private folders of attempts.
    pub scratch: PathBuf,
}
