//! Calls of plugins. `component` and `command` make a call, each by its own protocol; `reply`,
//! `description` and `json` check the answer, `classify` explains a guest that did not answer, and
//! `collect` builds the [`Ended`] of either.

pub(crate) mod classify;
mod collect;
pub(crate) mod command;
pub(crate) mod component;
mod description;
mod ended;
mod field;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/replies.rs"]
pub(crate) mod fuzzing;
mod inputs;
pub(crate) mod instance;
mod json;
mod protocol;
mod reply;

pub use self::ended::{Ended, Ending, Reply};
pub use self::inputs::{AttachedFile, Call, CommandCall};
