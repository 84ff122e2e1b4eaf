//! Texts as snapshots have them: without what differs from run to run and from machine to machine.

use regex::Regex;

/// What is masked, and what stands in its place.
const MASKS: [(&str, &str); 8] = [
    (r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{3}-[0-9a-f]{8}", "[run]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[instant]"),
    (r"[0-9a-f]{64}", "[sha256]"),
    (r"\b\d+(\.\d+)? (ns|µs|ms|s)\b", "[time]"),
    (r"\b\d+(\.\d+)? [KM]iB", "[size]"),
    (r"(from the cache|compiled anew)", "[loaded]"),
    (r"(wasi:\w+)@0\.2\.\d+", "$1@[wasi]"),
    (r"lib\.rs:\d+:\d+", "lib.rs:[place]"),
];

pub(crate) fn masked(text: &str) -> String {
    MASKS.iter().fold(text.to_owned(), |text, (pattern, mask)| {
        replaced(&text, pattern, mask)
    })
}

/// The same of a table: the widths of its columns follow what is masked in them.
pub(crate) fn masked_table(text: &str) -> String {
    replaced(&masked(text), r"(\S) {2,}", "$1  ")
}

fn replaced(text: &str, pattern: &str, with: &str) -> String {
    let pattern = Regex::new(pattern).unwrap();
    pattern.replace_all(text, with).into_owned()
}
