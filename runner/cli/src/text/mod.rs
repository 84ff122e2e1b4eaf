//! Output: the printer, colours, layout, and the texts that several commands share.

mod difference;
pub mod error;
pub mod events;
pub mod grants;
pub mod keys;
mod layout;
pub mod matrix;
mod out;
pub mod progress;
mod spool;
pub mod style;
pub mod summary;
pub mod trials;
pub mod usage;

pub use error::CommandError;
pub(crate) use error::mistake;
pub use layout::Table;
pub use out::{Lines, Out};

#[cfg(test)]
#[path = "../tests/screens.rs"]
pub mod tests;
