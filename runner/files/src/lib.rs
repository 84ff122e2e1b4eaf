//! Folders with their contents, by handle: what is in one ([`TreeReader`]), with the digests of its files, and the removal of
//! everything in one ([`empty`]).
//!
//! No link is followed. Depends on `model`.
//!
//! Start reading at [`TreeReader`].

mod hash;
mod known;
mod removal;
mod tree;

pub use hash::hash;
pub use known::DigestCache;
pub use removal::{empty, open_folder};
pub use tree::{Content, TooLarge, TreeReader};
