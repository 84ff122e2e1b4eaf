//! Folders with their contents, by handle: the removal of everything in one ([`empty`]).
//!
//! No link is followed. This crate may know `model`.
//!
//! Start reading at [`empty`].

mod removal;

pub use removal::{empty, open_folder};
