//! Waits of tests: each is for a condition, and each has a bound.

use std::{fs, path::Path, sync::LazyLock};

use regex::Regex;

use super::entries;
use crate::support::guests::root;

static PAUSE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bsleep\(").unwrap());

/// Waits without a bound. `Running` and `finished` of the support have one.
static ENDLESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\.(output|status|wait|wait_with_output)\(\)").unwrap());

/// Adds the sources of tests below a folder: path, and text.
fn add_tests(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in entries(folder) {
        // Guests and benchmarks are no tests.
        let is_other =
            ["guests", "bench"].iter().any(|name| entry == root().join("tests").join(name));
        if entry.is_dir() && !is_other {
            add_tests(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push((entry.display().to_string(), fs::read_to_string(&entry).unwrap()));
        }
    }
}

/// Fails at lines of tests that match, unless a comment on them or directly above says why.
#[track_caller]
fn refuse(pattern: &Regex, advice: &str) {
    let mut tests = Vec::new();
    add_tests(&root().join("tests"), &mut tests);
    assert!(tests.len() > 150, "{}", tests.len());
    for (path, text) in tests {
        let mut above = "";
        for (number, line) in (1..).zip(text.lines()) {
            // Some lines are of Python.
            let is_explained = above.trim_start().starts_with("// ")
                || line.contains("// ")
                || line.contains("  # ");
            assert!(!pattern.is_match(line) || is_explained, "{path}:{number}: {advice}");
            above = line;
        }
    }
}

#[test]
fn pauses_of_tests_have_a_reason() {
    refuse(&PAUSE, "wait for a condition, or say in a comment why none exists");
}

#[test]
fn programs_of_tests_end_within_bounds() {
    refuse(&ENDLESS, "use `finished` or `Running`, or say in a comment why it ends");
}
