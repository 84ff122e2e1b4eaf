//! [`Machine`]: where a process runs.

use std::{num::NonZeroUsize, thread};

/// The machine of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::record) struct Machine {
    pub(in crate::record) host: String,
    pub(in crate::record) architecture: String,
    pub(in crate::record) cores: u64,
}

impl Machine {
    pub(in crate::record) fn here() -> Self {
        let system = rustix::system::uname();
        Self {
            host: system.nodename().to_string_lossy().into_owned(),
            architecture: system.machine().to_string_lossy().into_owned(),
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64,
        }
    }
}
