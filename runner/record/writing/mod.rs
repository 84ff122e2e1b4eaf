//! The life of one run as its owner writes it: created, claimed, recorded, repaired.

pub(super) mod artifacts;
pub(super) mod birth;
pub(super) mod claim;
pub(super) mod log;
pub(super) mod recorder;
pub(super) mod repair;
pub(super) mod writer;
