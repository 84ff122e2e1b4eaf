//! Plugins as folders with their source: finding the tools of their languages, building them, writing new ones.
//!
//! Building is the one thing that runs a plugin author's code outside the sandbox, so nothing here builds by itself.

mod advice;
mod build;
mod c;
mod digest;
mod doctor;
mod error;
mod folders;
mod go;
mod javascript;
mod kind;
mod language;
mod need;
mod python;
mod regular;
mod rust;
mod source;
mod starter;
#[cfg(test)]
mod tests;
mod tool;
mod watch;

pub use doctor::{ToolFinding, examine};
pub use error::SourceError;
pub use folders::folders;
pub use kind::SourceKind;
pub use language::Language;
pub use need::FoundTool;
pub use source::{Built, Source, SourceState};
pub use starter::{Starter, StarterError};
pub use watch::BuildWatch;
