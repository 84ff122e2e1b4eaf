//! What one guest runs in: a store with its bounds, what the host does for it, and what it leaves.

pub(super) mod artifacts;
pub(super) mod clocks;
pub(super) mod contain;
pub(super) mod handover;
pub(super) mod host;
pub(super) mod io_error;
pub(super) mod limits;
pub(super) mod spool;
pub(super) mod stdio;
pub(super) mod store;
