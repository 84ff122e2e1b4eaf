//! What commands print with: the printer, colours, layout, words, and the texts that several commands share.

mod error;
pub mod events;
pub mod failures;
pub mod grants;
mod layout;
pub mod out;
pub mod page;
pub mod progress;
pub mod screen;
pub mod style;
pub mod summary;

pub use error::CommandError;
pub use layout::Table;
pub use out::Out;
