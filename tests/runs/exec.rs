//! `runner exec` where all goes well: what is on disk, in SQLite and on standard output afterwards.

use std::{collections::HashSet, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::runner::{CommandExt as _, Run, Runner};

/// Two tests, one of them twice.
const THREE_TRIALS: &str = r#"
name = "three"
[[tests]]
id = "one"
input = { do = "echo", value = "a" }
expect = { equals = "a" }
[[tests]]
id = "two"
repeat = 2
input = { do = "echo", value = [1, 2.5, "x"] }
files = { "note.txt" = "note.txt" }
tags = ["smoke"]
expect = { contains = "x" }
"#;

fn three_trials() -> Runner {
    let runner = Runner::hostile(THREE_TRIALS);
    runner.write("note.txt", "a note");
    runner
}

#[test]
fn a_run_in_which_all_passes_exits_0_and_has_a_row_for_each_planned_trial() {
    let runner = three_trials();
    let ran = runner.exec(&[]).expect(0);
    assert_eq!(ran.stdout, "");
    ran.says(&["passed: 3 of 3"]);

    let run = runner.only_run();
    let mut rows = run.rows();
    rows.sort_by_key(|row| row["ordinal"].as_u64());
    let trials: Vec<_> = rows
        .iter()
        .map(|row| row["trial"].as_str().unwrap())
        .collect();
    assert_eq!(trials, ["one@hostile#1", "two@hostile#1", "two@hostile#2"]);
    let mut seqs: Vec<_> = rows
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3]);
    for (ordinal, row) in rows.iter().enumerate() {
        assert_eq!(row["ordinal"], ordinal);
        assert_eq!((&row["attempt"], &row["session"]), (&json!(1), &json!(1)));
        assert_eq!(
            (&row["final"], &row["outcome"]),
            (&json!(true), &json!("passed"))
        );
        assert!(row["duration_ms"].as_f64().unwrap() > 0.0, "{row}");
        assert!(
            row["usage"]["peak_memory"].as_u64().unwrap() > 65_536,
            "{row}"
        );
    }
    assert_eq!(rows[2]["output"], json!([1, 2.5, "x"]));
    assert_eq!(rows[2]["repeat"], 2);
    assert_eq!(rows[1]["fingerprint"], rows[2]["fingerprint"]);
    assert_ne!(rows[0]["fingerprint"], rows[1]["fingerprint"]);
}

#[test]
fn the_manifest_says_what_the_run_is_and_how_it_ended() {
    let runner = three_trials();
    runner.exec(&["-j", "1", "--grace", "1s"]).expect(0);

    let run = runner.only_run();
    let manifest = run.manifest();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["run_id"], run.id());
    let text = fs_err::read(runner.path("scenario.toml")).unwrap();
    assert_eq!(
        manifest["scenario"],
        json!({"name": "three", "path": "scenario.toml", "sha256": sha256(&text)})
    );
    assert_eq!(fs_err::read(run.dir.join("scenario.toml")).unwrap(), text);
    assert_eq!(manifest["metadata"]["planned_test_count"], 3);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    assert_eq!(manifest["stage"], "finish");
    assert_eq!(
        manifest["counts"],
        json!({"planned": 3, "passed": 3, "failed": 0, "error": 0, "timeout": 0, "skipped": 0, "flaky": 0})
    );
    assert_eq!(manifest["options"], json!({"jobs": 1, "grace_ms": 1000}));
    assert_eq!(manifest["selection"], json!({}));
    let provider = &manifest["providers"][0];
    assert_eq!(provider["name"], "hostile");
    assert_eq!(provider["kind"], "component");
    assert_eq!(provider["contract"], "0.1.0");
    let transitions = manifest["transitions"].as_array().unwrap();
    let ways: Vec<_> = transitions
        .iter()
        .map(|one| [&one["from"], &one["to"]])
        .collect();
    assert_eq!(
        ways,
        [
            [&Value::Null, &json!("running")],
            [&json!("running"), &json!("completed")]
        ]
    );
    assert_eq!(transitions[1]["at"], manifest["completed_at"]);
    assert_eq!(
        manifest["sessions"][0]["closed_at"],
        manifest["completed_at"]
    );
    assert!(manifest["started_at"].as_str() <= manifest["completed_at"].as_str());
}

#[test]
fn everything_that_decides_the_result_is_in_the_content_store() {
    let runner = three_trials();
    runner.exec(&[]).expect(0);

    let manifest = runner.only_run().manifest();
    let stored = |digest: &str| {
        let path = runner.path("results/store").join(&digest[..2]).join(digest);
        let bytes = fs_err::read(path).unwrap();
        assert_eq!(sha256(&bytes), digest);
        bytes
    };
    let plugin = stored(manifest["providers"][0]["plugin_sha256"].as_str().unwrap());
    assert_eq!(plugin, fs_err::read(runner.path("hostile.wasm")).unwrap());
    assert_eq!(stored(&sha256(b"a note")), b"a note");
    let suite = stored(manifest["metadata"]["suite"].as_str().unwrap());
    assert_eq!(suite.iter().filter(|byte| **byte == b'\n').count(), 2);
}

#[test]
fn sqlite_has_the_run_its_session_and_its_transitions() {
    let runner = three_trials();
    runner.exec(&[]).expect(0);

    let run = runner.only_run();
    let database = rusqlite::Connection::open(runner.path("results/runner.db")).unwrap();
    let text = |query: &str| -> String { database.query_row(query, [], |row| row.get(0)).unwrap() };
    assert_eq!(text("PRAGMA journal_mode"), "wal");
    assert_eq!(text("SELECT run_id FROM runs"), run.id());
    assert_eq!(
        text(
            "SELECT concat_ws(' ', scenario, status, reason, stage, verdict, planned, passed, failed) FROM runs"
        ),
        "three completed finish passed 3 3 0"
    );
    assert_eq!(
        text("SELECT completed_at FROM runs"),
        run.manifest()["completed_at"].as_str().unwrap()
    );
    assert_eq!(
        text("SELECT group_concat(to_status, ' ') FROM (SELECT * FROM transitions ORDER BY n)"),
        "running completed"
    );
    assert_eq!(
        text("SELECT concat_ws(' ', n, opened_by) FROM sessions WHERE closed_at IS NOT NULL"),
        "1 exec"
    );
}

#[test]
fn the_run_directory_is_named_by_its_instant_and_a_random_suffix() {
    let runner = three_trials();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let name = regex::Regex::new(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{3}-[0-9a-f]{8}$").unwrap();
    assert!(name.is_match(run.id()), "{}", run.id());

    let created = run.manifest()["created_at"].as_str().unwrap().to_owned();
    let instant: String = created
        .chars()
        .filter(char::is_ascii_digit)
        .take(17)
        .collect();
    let named: String = run.id()[..23]
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    assert_eq!(named, instant);
}

#[test]
fn runs_that_start_together_have_directories_of_their_own() {
    let runner = three_trials();
    runner.exec(&[]).expect(0);
    let together: Vec<_> = (0..4).map(|_| runner.start(&["-j1"])).collect();
    for running in together {
        running.finish().expect(0);
    }

    let runs = runner.runs();
    assert_eq!(runs.len(), 5);
    for run in &runs {
        assert_eq!(run.ending(), ["completed", "", "", "passed"]);
        assert_eq!(run.rows().len(), 3);
    }
    let listed: HashSet<_> = runner
        .list(&[])
        .iter()
        .map(|run| run["run"].to_string())
        .collect();
    assert_eq!(listed.len(), 5);
}

#[test]
fn the_event_stream_tells_of_the_start_of_each_row_and_of_the_end() {
    let runner = three_trials();
    let ran = runner.exec(&["--json"]).expect(0);
    assert_eq!(ran.stderr, "");

    let run = runner.only_run();
    let events: Vec<_> = ran
        .events()
        .into_iter()
        .filter(|event| event["event"] != "progress")
        .collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["started", "requests", "row", "row", "row", "finished"]
    );
    assert_eq!(events[0]["run"], run.id());
    assert_eq!(events[0]["planned"], 3);
    let dir = Path::new(events[0]["run_dir"].as_str().unwrap());
    assert!(
        runner
            .path("")
            .join(dir)
            .ends_with(run.dir.strip_prefix(runner.path("")).unwrap())
    );
    let rows: Vec<_> = events[2..5]
        .iter()
        .map(|event| event["row"].clone())
        .collect();
    assert_eq!(rows, run.rows());
    let end = &events[5];
    assert_eq!(
        (&end["status"], &end["verdict"]),
        (&json!("completed"), &json!("passed"))
    );
    assert_eq!(end["exit_code"], 0);
    assert_eq!(end["counts"], run.manifest()["counts"]);
    for (index, event) in ran.events().iter().enumerate() {
        assert_eq!((&event["v"], &event["n"]), (&json!(1), &json!(index + 1)));
    }
}

#[test]
fn everything_that_is_written_is_valid_by_its_published_schema() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "judge"
        input = { do = "judge" }
        expect = { min_score = 0.5, json = { a = 1 } }
        [[tests]]
        id = "trap"
        input = { do = "trap" }
        [[tests]]
        id = "log"
        input = { do = "log" }
        [[tests]]
        id = "large"
        input = { do = "huge-reply", bytes = 100000 }
        [[tests]]
        id = "file"
        input = { do = "artifact", name = "notes.txt" }
        [[tests]]
        id = "flaky"
        input = { do = "fail-until", attempt = 2 }
        retries = { max = 1 }
        [[tests]]
        id = "late"
        timeout = "1200ms"
        input = { do = "sleep" }
        "#,
    );
    let ran = runner.exec(&["--json", "--fail-fast=5"]).expect(1);
    let run = runner.only_run();

    let events = ran.events();
    assert!(events.iter().any(|event| event["event"] == "progress"));
    runner.assert_valid("events", &events);
    assert_eq!(run.rows().len(), 8);
    runner.assert_valid("row", &run.lines());
    runner.assert_valid("benchmark", &[run.manifest()]);
}

#[test]
fn a_second_run_takes_the_compiled_plugin_from_the_cache() {
    let runner = three_trials();
    let exec = || {
        runner
            .command(&["exec", "scenario.toml"])
            .env("RUNNER_CACHE", runner.path("cache"))
            .run()
            .expect(0);
    };
    let entries = || {
        let files = walkdir::WalkDir::new(runner.path("cache"))
            .into_iter()
            .map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| {
                (
                    entry.path().to_owned(),
                    entry.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    exec();
    let first = entries();
    assert_eq!(first.len(), 1);
    exec();
    assert_eq!(entries(), first);
}

#[test]
fn plans_are_the_same_wherever_they_are_run_and_differ_where_results_may() {
    let runner = three_trials();
    let digest = |args: &[&str]| {
        runner.exec(args);
        runner.runs().last().map(Run::manifest).unwrap()["metadata"]["plan_digest"].clone()
    };
    let first = digest(&[]);
    assert_eq!(digest(&["-j", "3", "--timeout-minutes", "3"]), first);
    assert_ne!(digest(&["--limit", "memory=128MiB"]), first);
    assert_ne!(digest(&["--test", "one"]), first);
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
