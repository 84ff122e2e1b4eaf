//! Bounds on the length of functions, files and lines. The lists of exceptions only shrink.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock};

use regex::Regex;

use super::sources;
use crate::support::guests::root;

/// Lines of a function, from `fn` to its last brace, as rustfmt writes them.
const MAX_FUNCTION: usize = 80;
const MAX_FILE: usize = 500;
/// Columns of a line without texts and comments, which rustfmt leaves as they are.
const MAX_COLUMNS: usize = 120;

/// Functions that are longer, with their lines.
const LONG_FUNCTIONS: &[(&str, usize)] = &[
    ("runner/cli/src/commands/follow.rs logs_of", 91),
    ("runner/cli/src/commands/results/history.rs sums", 98),
    ("runner/cli/src/commands/watch.rs run", 85),
    ("runner/engine/src/plan/load.rs load_plan_at", 88),
    ("runner/engine/src/plan/rescore_plan.rs new", 99),
    ("runner/engine/src/session/ending.rs close", 87),
    ("runner/engine/src/session/in_flight.rs add", 84),
    ("runner/engine/src/session/resume_plan.rs new", 87),
    ("runner/report/src/pages/timeline.rs read", 84),
    ("runner/report/src/trials/history.rs add", 87),
    ("runner/sandbox/src/engine/bounds.rs count_inside", 86),
    ("runner/sandbox/src/fs/preview1.rs add_to_linker", 100),
    ("runner/scenario/src/scenario.rs parse", 89),
    ("runner/scenario/src/suite/planner.rs check", 92),
    ("runner/scenario/src/suite/unmatched.rs unmatched", 86),
    ("runner/worker/src/attempt.rs judge_call", 94),
];

/// Files that are longer, with their lines.
const LONG_FILES: &[(&str, usize)] = &[
    ("runner/cli/src/commands/plugin/run.rs", 579),
    ("runner/engine/src/plan/plan.rs", 503),
    ("runner/engine/src/session/in_flight.rs", 522),
    ("runner/engine/src/workers/pool.rs", 579),
    ("runner/fleet/src/joined.rs", 519),
    ("runner/fleet/src/source.rs", 512),
    ("runner/model/src/row/line.rs", 580),
    ("runner/record/src/disk/beneath.rs", 533),
    ("runner/record/src/root/queue.rs", 526),
    ("runner/record/src/rows/fold.rs", 611),
    ("runner/record/src/run/manifest.rs", 587),
    ("runner/record/src/run/owned.rs", 668),
    ("runner/report/src/failure/mod.rs", 632),
    ("runner/report/src/trials/document.rs", 596),
    ("runner/report/src/trials/history.rs", 735),
    ("runner/sandbox/src/fs/preview3.rs", 676),
    ("runner/sandbox/src/net/exchanges.rs", 603),
    ("runner/scenario/src/lists/entries.rs", 510),
    ("runner/scenario/src/scenario.rs", 527),
    ("runner/scenario/src/suite/mod.rs", 563),
    ("runner/scenario/src/suite/planner.rs", 598),
    ("runner/worker/src/guests.rs", 643),
    ("runner/worker/src/provider.rs", 547),
];

static FUNCTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"^( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:async )?(?:unsafe )?(?:extern "C" )?fn (\w+)"#,
    )
    .unwrap()
});

/// Returns the sources of all product crates, with their paths in the repository.
fn product() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root().join("runner"), &mut found);
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// Compares what is longer than the bound with the exceptions.
#[track_caller]
fn check(found: &BTreeMap<String, usize>, exceptions: &[(&str, usize)], max: usize) {
    let listed: BTreeMap<_, _> = exceptions.iter().copied().collect();
    for (name, lines) in found {
        let bound = listed.get(&**name).copied().unwrap_or(max);
        assert!(*lines <= bound, "{name} has {lines} lines; at most {bound} are allowed: split it");
    }
    for (name, bound) in &listed {
        let lines = found.get(*name).copied().unwrap_or_default();
        assert!(lines == *bound, "{name} has {lines} lines by now: correct the list of exceptions");
    }
}

#[test]
fn functions_fit_on_a_screen() {
    let mut found = BTreeMap::new();
    let mut count = 0;
    for (path, text) in product() {
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(function) = FUNCTION.captures(line) else { continue };
            let end = format!("{}}}", &function[1]);
            let has_body = !line.ends_with(';') && !line.ends_with('}');
            let length = lines[number..].iter().position(|line| **line == end).unwrap_or_default();
            let length = if has_body { length + 1 } else { 1 };
            count += 1;
            if length > MAX_FUNCTION {
                let more = found.insert(format!("{path} {}", &function[2]), length);
                assert_eq!(more, None, "{path} has two long functions `{}`", &function[2]);
            }
        }
    }
    assert!(count > 3000, "{count}");
    check(&found, LONG_FUNCTIONS, MAX_FUNCTION);
}

#[test]
fn files_have_one_concept() {
    let lines = product().into_iter().map(|(path, text)| (path, text.lines().count()));
    let found = lines.filter(|(_, lines)| *lines > MAX_FILE).collect();
    check(&found, LONG_FILES, MAX_FILE);
}

#[test]
fn rustfmt_formats_every_line() {
    for (path, text) in product() {
        for (number, line) in (1..).zip(text.lines()) {
            let place = format!("{path}:{number}");
            assert!(!line.contains("rustfmt::skip"), "{place}: let rustfmt format it");
            let is_text = line.contains('"') || line.trim_start().starts_with("//");
            let is_packed =
                !is_text && line.contains([';', '{', '(']) && line.chars().count() > MAX_COLUMNS;
            assert!(!is_packed, "{place} has over {MAX_COLUMNS} columns: break the line");
        }
    }
}
