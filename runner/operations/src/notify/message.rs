//! [`Message`].

use std::{ffi::OsString, path::PathBuf};

/// A notification and its context.
pub(super) struct Message {
    /// A JSON document.
    pub(super) body: String,
    /// Working folder of commands.
    pub(super) folder: PathBuf,
    /// Environment variables of commands.
    pub(super) variables: Vec<(&'static str, OsString)>,
    /// Environment variables whose values no message of a command may have.
    pub(super) secrets: Vec<String>,
}
