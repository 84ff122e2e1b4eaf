//! Names of functions in the backtraces of traps.

use super::{MAX_NAME, readable};

/// The input is a name, mangled or not. It is shown within its bound.
pub fn symbols(bytes: &[u8]) {
    let shown = readable(&String::from_utf8_lossy(bytes));
    assert!(shown.len() <= MAX_NAME + '…'.len_utf8(), "{shown}");
}
