//! What one attempt finds as files, and how what it writes is counted.
//!
//! Nothing by default. Granted folders are mounted as they are; what else is there lives in a private folder that is
//! made for the attempt and gone with it.

pub(super) mod attempt_folders;
mod blocking;
pub(super) mod counted;
mod counted_stream;
pub(super) mod descriptors;
pub(super) mod error;
pub(super) mod files;
pub(super) mod folder;
mod leftovers;
mod listing;
pub(super) mod mount;
pub(super) mod preview1;
pub(super) mod quota;
mod readdir;
mod refused;
mod removal;
pub(super) mod way;
