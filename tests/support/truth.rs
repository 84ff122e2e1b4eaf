//! Invariants of each run, also after kills of its processes: no row is lost or doubled, and outputs agree with the rows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{run::Run, runner::Runner};

const OUTCOMES: [&str; 5] = ["passed", "failed", "error", "timeout", "skipped"];

/// Returns the result of each trial: its newest final row.
#[track_caller]
pub(crate) fn results(run: &Run) -> BTreeMap<String, Value> {
    let rows = run.rows().into_iter().filter(|row| row["final"] == true);
    rows.map(|row| (row["trial"].as_str().unwrap().to_owned(), row)).collect()
}

/// Fails if an acknowledged row is not on disk.
#[track_caller]
pub(crate) fn assert_kept(run: &Run, acknowledged: &[Value]) {
    let rows: BTreeMap<_, _> =
        run.rows().into_iter().map(|row| (row["seq"].as_u64(), row)).collect();
    for expected in acknowledged {
        let Some(row) = rows.get(&expected["seq"].as_u64()) else {
            panic!("this row is lost: {expected}");
        };
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&row[key], value, "`{key}` of {row}");
        }
    }
}

/// Fails if `list` or `show` is wrong about a run without a process.
#[track_caller]
pub(crate) fn assert_consistent(runner: &Runner) {
    statuses(runner);
}

/// Returns the status of each run, in which `list` and `show` agree with the rows.
#[track_caller]
fn statuses(runner: &Runner) -> Vec<&'static str> {
    let mut statuses = Vec::new();
    let (runs, listed) = (runner.runs(), runner.list());
    assert_eq!(listed.len(), runs.len(), "{listed:?}");
    for run in &runs {
        let has_id = |shown: &&Value| shown["run"] == run.id();
        let listed =
            listed.iter().find(has_id).unwrap_or_else(|| panic!("`{}` is not listed", run.id()));
        let shown = runner.show(run);
        let (planned, results) = (run.planned(), results(run));
        let not_needed = listed["counts"]["not_needed"].as_u64().unwrap_or(0);
        let is_complete = results.len() as u64 + not_needed == planned;
        let expected = if is_complete { "completed" } else { "incomplete" };
        statuses.push(expected);
        for summary in [listed, &shown["run"]] {
            assert_eq!(summary["counts"]["planned"], planned, "{summary}");
            assert_eq!(summary["counts"]["not_needed"].as_u64().unwrap_or(0), not_needed);
            assert_eq!(
                summary["status"],
                expected,
                "{} of {planned} trials: {summary}",
                results.len()
            );
            for outcome in OUTCOMES {
                let count = results.values().filter(|row| row["outcome"] == outcome).count();
                assert_eq!(summary["counts"][outcome], count, "`{outcome}` of {summary}");
            }
        }
        let (mut on_disk, rows) = (run.rows(), shown["rows"].as_array().unwrap());
        let checksums_removed =
            on_disk.iter_mut().all(|row| row.as_object_mut().unwrap().remove("crc").is_some());
        assert!(checksums_removed);
        assert_eq!(rows.len(), on_disk.len());
        for (shown, on_disk) in rows.iter().zip(&on_disk) {
            assert_eq!(shown["seq"], on_disk["seq"]);
            assert_eq!(shown["outcome"], on_disk["outcome"]);
        }
    }
    statuses
}

/// Fails unless the run is completed, with one result per trial and one row per attempt. The manifest may still have
/// `running` if the last process died after the last row.
#[track_caller]
pub(crate) fn assert_whole(runner: &Runner, planned: usize) -> Run {
    let run = runner.only_run();
    let rows = run.rows();
    let finals = rows.iter().filter(|row| row["final"] == true).count();
    assert_eq!(finals, planned, "a trial has two results, or none");
    assert_eq!(results(&run).len(), planned);
    assert_numbered(&rows);
    assert_eq!(statuses(runner), ["completed"]);
    run
}

/// Fails unless rows are numbered consecutively, and the attempts of each trial increase. A judged row repeats its attempt.
#[track_caller]
pub(crate) fn assert_numbered(rows: &[Value]) {
    let mut attempts = BTreeMap::new();
    for (row, seq) in rows.iter().zip(1_u64..) {
        assert_eq!(row["seq"], seq, "{row}");
        let trial = row["trial"].as_str().unwrap();
        let expected = format!(
            "{}@{}#{}",
            row["test"].as_str().unwrap(),
            row["provider"].as_str().unwrap(),
            row["repeat"]
        );
        assert_eq!(trial, expected);
        let last = attempts.insert(trial.to_owned(), row["attempt"].as_u64().unwrap());
        let is_new = last < row["attempt"].as_u64() || row["judged"].is_u64();
        assert!(is_new, "an attempt has two rows: {row}");
    }
}
