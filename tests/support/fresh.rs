//! Files that are generated, and kept with the sources for people to read.

use std::path::Path;

/// Compares a file with what it should be, or writes it with `UPDATE=1`.
pub(crate) fn expect_file(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs_err::write(path, expected).unwrap();
    }
    let found = fs_err::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is stale; `UPDATE=1 cargo test` writes it anew:\n{}",
        path.display(),
        similar::TextDiff::from_lines(found.as_str(), expected).unified_diff()
    );
}
