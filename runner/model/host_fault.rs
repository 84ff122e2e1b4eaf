//! [`HostFault`]: what the runner's own machine lacked.

use super::Reason;

/// What the runner's own machine lacked for an attempt; no fault of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// Memory, or address space.
    Memory,
    /// Files that may be open at once.
    Files,
    /// Space on a disk.
    Storage,
    /// Threads.
    Threads,
}

impl HostFault {
    /// A stable word for rows.
    pub fn code(self) -> &'static str {
        match self {
            Self::Memory => "host-memory",
            Self::Files => "host-files",
            Self::Storage => "host-storage",
            Self::Threads => "host-threads",
        }
    }

    /// The reason of a run that ends for want of it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Storage => Reason::Storage,
            Self::Memory | Self::Files | Self::Threads => Reason::Internal,
        }
    }
}
