//! Folders by handle: [`TreeReader`] reads the entries of a folder, with the digests of its files, and [`empty`] removes all
//! entries.
//!
//! No link is followed. Depends on `model`.
//!
//! Start reading at [`TreeReader`].

mod hash;
mod known;
mod open;
mod removal;
mod tree;

pub use hash::hash;
pub use known::DigestCache;
pub use open::{open_folder, open_regular, open_regular_at};
pub use removal::empty;
pub use tree::{Content, TooLarge, TreeReader};
