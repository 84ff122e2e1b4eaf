//! What a guest is refused of files, whatever it is granted.

use crate::{model::Denied, plugin::denied::shown};

/// The longest path that systems take.
pub(super) const MAX_PATH_BYTES: usize = 4096;
/// How much is shown of a path that a guest made up.
pub(super) const SHOWN_CHARACTERS: usize = 200;

/// What a guest tried that would wait for whoever has the other end, on a thread that nothing can call back.
pub(super) fn special(path: &str) -> Denied {
    denied(format!(
        "opening `{}`, which is neither a file nor a folder",
        shown(path, SHOWN_CHARACTERS)
    ))
}

/// What a guest tried to read that is in none of its folders.
pub(super) fn outside(path: &str) -> Denied {
    denied(format!(
        "reading `{}`, which leads out of its folder",
        shown(path, SHOWN_CHARACTERS)
    ))
}

pub(super) fn denied(what: String) -> Denied {
    Denied { what, grant: None }
}
