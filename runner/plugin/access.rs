//! [`Access`]: what of the world outside its sandbox a provider's attempts may touch.

use std::{path::PathBuf, sync::Arc};

use super::{fs::mount::Mount, net::network::Network, secrets::Secrets};

/// What of the world outside its sandbox a provider's attempts may touch, with every name resolved. The default is
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where HTTP requests may go; made of the grants, once per provider.
    pub net: Network,
    /// The secrets that it is granted, with their values.
    pub secrets: Arc<Secrets>,
    /// Folders that it finds in its file system.
    pub mounts: Vec<Mount>,
    /// Under which folder an attempt's own files are made, for as long as it runs.
    pub scratch_root: PathBuf,
}
