//! [`Host`]: what the process offers to what runs in it.

use std::{ffi::OsString, path::PathBuf};

/// What the process offers to what runs in it. Whoever embeds the runner decides all of it.
#[derive(Clone)]
pub struct Host {
    /// The runner's own program, which is started again to compile plugins.
    pub program: PathBuf,
    /// Where compiled plugins are kept; `None` leaves it to the results root.
    pub cache: Option<PathBuf>,
    /// Under which folder attempts have theirs: the system's for temporary files.
    pub scratch_root: PathBuf,
    /// Where programs are looked for, as a shell does.
    pub search_path: OsString,
    /// Reads a variable of the environment: secrets come by names that only a scenario knows.
    pub variable: fn(&str) -> Option<OsString>,
}
