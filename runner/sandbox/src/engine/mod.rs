//! Everything before a call: a plugin's file is inspected and bounded, compiled in a child process,
//! loaded from the cache and linked to the host's functions.

mod bounds;
mod cache;
pub(crate) mod compile;
pub(crate) mod config;
mod engines;
pub(crate) mod inspect;
pub(crate) mod link;

pub use self::{engines::Engines, link::LoadError};
