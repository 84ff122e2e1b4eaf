//! [`MachineShare`]: how much of a machine a session works with.

/// How much of a machine a session works with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineShare {
    /// Cores: how many of its attempts can compute at once.
    pub cores: usize,
    /// Bytes that its attempts can hold together.
    pub memory: u64,
}
