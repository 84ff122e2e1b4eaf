//! What must hold of a run however often its process has died: nothing lost, nothing doubled, nothing claimed that is not so.

#![cfg_attr(
    not(debug_assertions),
    expect(dead_code, reason = "most who need these need failpoints, too")
)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

use super::{
    rows::{expanded, row_texts},
    runner::{Ran, Run, Runner, tests},
};

/// How many sessions a run may need after one fault.
const MOST_SESSIONS: usize = 4;

/// Trials of every kind whose results are the same whenever they run.
pub(crate) fn every_kind() -> Runner {
    let runner = Runner::hostile_in_memory(&scenario("poison_after = 0"));
    runner.write("reference.txt", "attached");
    runner
}

/// The scenario of [`every_kind`] without its provider, with more keys for `[run]`.
pub(crate) fn scenario(run: &str) -> String {
    let list = tests(
        r#"
        passes | { do = "echo", value = "zwölf ✓" } | equals = "zwölf ✓"
        fails | { do = "echo", value = 1 } | equals = 2
        traps | { do = "trap" } |
        refuses | { do = "error", kind = "invalid-input", code = "no", message = "never" } |
        keeps-a-file | { do = "artifact", name = "notes.txt" } |
        says-much | { do = "huge-reply", bytes = 70000 } |
        warns | { do = "flood-log", count = 3, bytes = 20 } | equals = "flooded"
        comes-round | { do = "fail-until", attempt = 2 } |
        "#,
    );
    format!(
        r#"
        [run]
        {run}
        [defaults]
        retries = {{ max = 2, backoff = "1ms" }}
        {list}
        [[tests]]
        id = "reads"
        input = {{ do = "read-file", name = "reference" }}
        expect = {{ equals = "attached" }}
        files = {{ reference = "reference.txt" }}
        [[tests]]
        id = "naps"
        repeat = 6
        input = {{ do = "sleep", ms = 40 }}
        "#
    )
}

/// The current row of each trial, without what may differ from one time to the next.
pub(crate) fn canonical(run: &Run) -> BTreeMap<String, Value> {
    let mut current = BTreeMap::new();
    for mut row in whole_rows(run) {
        if row["final"] != true {
            continue;
        }
        if row.get("logs").is_some() {
            // Where it is may differ; what it is may not.
            let [log, stdout, stderr] =
                ["log", "stdout", "stderr"].map(|what| run.said(&row, what));
            row["logs"] = json!([log.map(|log| without_times(&log)), stdout, stderr]);
        }
        let object = row.as_object_mut().unwrap();
        for key in [
            "seq",
            "session",
            "attempt",
            "started_at",
            "duration_ms",
            "suspended_ms",
            "worker",
            "usage",
        ] {
            object.remove(key);
        }
        current.insert(row["trial"].as_str().unwrap().to_owned(), row);
    }
    current
}

/// The records of a log, which come at other times in every run.
fn without_times(log: &str) -> Vec<Value> {
    let records = log.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("at");
        record
    });
    records.collect()
}

/// Fails unless the current rows of a run are the expected ones.
#[track_caller]
pub(crate) fn assert_same_end(run: &Run, expected: &BTreeMap<String, Value>) {
    let actual = canonical(run);
    let trials: BTreeSet<_> = actual.keys().chain(expected.keys()).collect();
    let different: Vec<_> = trials
        .into_iter()
        .map(|trial| (trial, actual.get(trial), expected.get(trial)))
        .filter(|(_, actual, expected)| actual != expected)
        .collect();
    assert!(different.is_empty(), "another end: {different:?}");
}

/// The rows, as far as their lines are whole.
pub(crate) fn whole_rows(run: &Run) -> Vec<Value> {
    whole_lines(run).into_iter().map(expanded).collect()
}

/// The lines of rows that are whole.
pub(crate) fn whole_lines(run: &Run) -> Vec<Value> {
    let index = run.index();
    let lines = index.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice(line).ok());
    lines.collect()
}

/// The rows that a stream of events has told of, as [`row_texts`] has them; the stream may be torn.
pub(crate) fn acknowledged(stream: &str) -> HashSet<String> {
    let whole = &stream[..stream.rfind('\n').map_or(0, |end| end + 1)];
    let events = whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let rows = events.filter_map(|mut event: Value| Some(event.get_mut("row")?.take()));
    rows.map(|row| row.to_string()).collect()
}

/// Fails if a row is not on disk that somebody was told of.
#[track_caller]
pub(crate) fn assert_kept(run: &Run, acknowledged: &HashSet<String>) {
    let index = run.index();
    let rows = row_texts(&index);
    for row in acknowledged {
        assert!(rows.contains(row), "this row is lost: {row}");
    }
}

/// Fails if `list` says of a run without a process that it runs, or that it is complete although rows are missing.
#[track_caller]
pub(crate) fn assert_listed_truly(runner: &Runner) {
    let runs = runner.runs();
    let listed = runner.list(&[]);
    assert_eq!(listed.len(), runs.len());
    for (shown, run) in listed.iter().zip(runs.iter().rev()) {
        assert_eq!(shown["run"], run.id());
        assert_ne!(shown["status"], "running", "{shown}");
        let settled = canonical(run).len() as u64;
        let planned = shown["counts"]["planned"].as_u64().unwrap();
        if shown["status"] == "completed" {
            assert_eq!(settled, planned, "{shown}");
        }
        let counts = ["passed", "failed", "error", "timeout", "skipped"];
        let done = counts.map(|count| shown["counts"][count].as_u64().unwrap());
        // A trial that is to run again does not count.
        assert!(done.iter().sum::<u64>() <= settled, "{shown}");
        if shown["status"] == "running" || shown["is_not_yet_swept"] == true {
            assert_eq!(run.manifest()["status"], "running");
        }
    }
}

/// Begins the run if there is none, and resumes it until it is complete; gives the rows that it told of.
#[track_caller]
pub(crate) fn go_on_until_complete(runner: &Runner) -> HashSet<String> {
    let mut told = HashSet::new();
    for _ in 0..MOST_SESSIONS {
        let ran = match runner.runs().as_slice() {
            [] => runner.exec(&["--json", "-j", "2"]),
            // Whoever has dropped it wants it now all the same.
            _ => runner.run(&["resume", "--from", "latest", "--json", "--force"]),
        };
        told.extend(acknowledged(&ran.stdout));
        let shown = &runner.list(&[])[0];
        if shown["status"] == "completed" && ran.code == Some(1) {
            return told;
        }
        assert!(matches!(ran.code, Some(1 | 4)), "{ran:?}");
    }
    panic!("it is never complete: {:?}", runner.list(&[]));
}

/// Fails unless the only run is complete, with one final row for each trial and no attempt twice.
#[track_caller]
pub(crate) fn assert_whole(runner: &Runner) {
    let run = runner.only_run();
    let rows = whole_rows(&run);
    let finals = rows.iter().filter(|row| row["final"] == true).count();
    assert_eq!(finals, canonical(&run).len(), "a trial has two results");
    assert_consistent(runner);
}

/// Fails unless the only run is complete and all that is said of it agrees.
#[track_caller]
pub(crate) fn assert_consistent(runner: &Runner) {
    let run = runner.only_run();
    let rows = whole_rows(&run);
    let attempts: HashSet<_> = rows
        .iter()
        .map(|row| (row["trial"].to_string(), row["attempt"].to_string()))
        .collect();
    assert_eq!(attempts.len(), rows.len(), "an attempt has two rows");
    let seqs: Vec<_> = rows
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    assert!(
        seqs.is_sorted_by(|one, next| one < next),
        "rows have one number each, in order: {seqs:?}"
    );

    let manifest = run.manifest();
    assert_eq!(manifest["status"], "completed");
    assert_eq!(
        manifest["metadata"]["planned_test_count"],
        canonical(&run).len()
    );
    let transitions = manifest["transitions"].as_array().unwrap();
    let mut status = &Value::Null;
    for transition in transitions {
        assert_eq!(transition.get("from").unwrap_or(&Value::Null), status);
        status = &transition["to"];
    }
    for session in manifest["sessions"].as_array().unwrap() {
        assert!(session["closed_at"].is_string(), "{session}");
    }
    let left: Vec<_> = fs_err::read_dir(&run.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("request-") || name.starts_with(".new-"))
        .collect();
    assert_eq!(left, [""; 0]);
    let shown = &runner.list(&[])[0];
    assert_eq!(shown["counts"], manifest["counts"]);
    runner.run(&["show", run.id()]).expect(0);
}

/// A run that nothing has disturbed.
pub(crate) fn undisturbed() -> BTreeMap<String, Value> {
    let runner = every_kind();
    let ran: Ran = runner.exec(&["-j", "2"]).expect(1);
    drop(ran);
    canonical(&runner.only_run())
}
