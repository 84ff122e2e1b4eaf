//! [`Access`]: what of the world outside its sandbox a provider's attempts may touch.

use std::{path::PathBuf, sync::Arc};

use runner_model::provider::MountedFolder;

use crate::{Network, Secrets};

/// What of the world outside its sandbox a provider's attempts may touch, with every name resolved. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where HTTP requests may go; made of the grants, once per provider.
    pub network: Network,
    /// The secrets that it is granted, with their values.
    pub secrets: Arc<Secrets>,
    /// Folders that it finds in its file system.
    pub mounts: Vec<MountedFolder>,
    /// The folder in which an attempt's own folder is made for as long as it runs.
    pub scratch: PathBuf,
}
