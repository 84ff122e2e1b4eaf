//! What a guest is refused of files, whatever it is granted.

use crate::{model::Denied, plugin::denied::escaped_start};

/// The longest path that systems take.
pub(super) const MAX_PATH_BYTES: usize = 4096;
/// How much is shown of a path that a guest made up.
const SHOWN_CHARACTERS: usize = 200;

/// A FIFO, a device or a socket, which is refused before it is opened: opening one can wait for whoever has the other end,
/// and no deadline reaches a thread in a system call.
pub(super) fn special(path: &str) -> Denied {
    denied(format!(
        "opening `{}`, which is neither a file nor a folder",
        shown(path)
    ))
}

/// What a guest tried to read outside of its folders.
pub(super) fn outside(path: &str) -> Denied {
    denied(format!(
        "reading `{}`, which leads out of its folder",
        shown(path)
    ))
}

/// A denial of what no grant would allow.
pub(super) fn denied(what: String) -> Denied {
    Denied { what, grant: None }
}

/// The beginning of a path that a guest made up.
pub(super) fn shown(path: &str) -> String {
    escaped_start(path, SHOWN_CHARACTERS)
}
