//! What keeps a results root in order: sweeping, pinning, pruning, verifying, making `runner.db` anew.

pub(super) mod entries;
pub(super) mod leftovers;
pub(super) mod order;
pub(super) mod pin;
pub(super) mod policy;
pub(super) mod prune;
pub(super) mod reindex;
pub(super) mod retention;
pub(super) mod sweep;
#[cfg(test)]
mod testing;
pub(super) mod verify;
