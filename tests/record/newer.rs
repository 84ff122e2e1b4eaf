//! What a newer runner has written: read where possible, and never written to.

use serde_json::{Value, json};

use crate::support::runner::{Run, Runner, tests};

/// A run of which one of three trials is left.
fn incomplete() -> Runner {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 2 } | equals = 2
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    ));
    runner.exec(&["-j1"]).expect(0);
    let run = runner.only_run();
    run.change_manifest(|manifest| {
        manifest["status"] = "incomplete".into();
        manifest["reason"] = "crashed".into();
        manifest["verdict"] = "none".into();
        manifest["counts"]["passed"] = 2.into();
        manifest["transitions"][1]["to"] = "incomplete".into();
    });
    run.keep_rows(2);
    runner
}

/// Changes the last row as another version would have written it.
fn rewrite_last_row(run: &Run, change: impl FnOnce(String) -> String) {
    let index = run.read("index.jsonl");
    let last = index.trim_end().rfind('\n').unwrap() + 1;
    let (before, row) = index.split_at(last);
    let (covered, _) = row.split_once(",\"crc\"").unwrap();
    let covered = change(covered.to_owned());
    let crc = crc32fast::hash(covered.as_bytes());
    let row = format!("{covered},\"crc\":\"{crc:08x}\"}}\n");
    run.write("index.jsonl", before.to_owned() + &row);
}

/// Fails if any command changes the manifest or the rows, or lets itself be asked to.
#[track_caller]
fn assert_never_written(runner: &Runner, says: &[&str]) {
    let run = runner.only_run();
    let files = || ["benchmark.json", "index.jsonl"].map(|name| run.read(name));
    let before = files();
    for args in [
        &["resume", "--from", "latest"][..],
        &["resume", "--from", "latest", "--rerun", "all"],
        &["exec", "scenario.toml", "--into", run.dir.to_str().unwrap()],
        &["cancel", "latest"],
    ] {
        runner.run(args).expect(2).says(says);
        assert_eq!(files(), before, "{args:?}");
    }
    // These are not about this run alone.
    runner.run(&["cleanup", "--no-dry-run"]);
    runner.run(&["reindex"]).expect(0);
    runner.run(&["prune", "--no-dry-run"]).expect(0);
    assert_eq!(files(), before);
}

#[test]
fn a_manifest_of_a_newer_runner_is_read_and_never_written() {
    let runner = incomplete();
    let run = runner.only_run();
    run.change_manifest(|manifest| {
        manifest["format"] = 3.into();
        manifest["novelty"] = json!({ "of": "tomorrow" });
    });
    assert_eq!(runner.list(&[])[0]["status"], "incomplete");
    runner.run(&["show", "latest"]).expect(0);
    let says = ["benchmark.json", "format 3", "format 2"];
    assert_never_written(&runner, &says);
    runner.run(&["pin", "latest"]).expect(2).says(&says);

    // The same of a run whose process has died, which a sweep would otherwise write.
    run.change_manifest(|manifest| {
        manifest["status"] = "running".into();
        let map = manifest.as_object_mut().unwrap();
        map.remove("completed_at");
        map.remove("reason");
        map["transitions"].as_array_mut().unwrap().truncate(1);
    });
    assert_never_written(&runner, &says);

    // What this version cannot make sense of is told from damage.
    run.change_manifest(|manifest| manifest["status"] = "hibernating".into());
    runner.run(&["show", "latest"]).expect(2).says(&says);
    runner.run(&["list"]).expect(0).says(&["format 3"]);
}

#[test]
fn rows_of_a_newer_runner_are_read_and_nothing_is_written_behind_them() {
    let runner = incomplete();
    let run = runner.only_run();
    let newer = |row: String| row.replacen("{\"v\":2", "{\"v\":4,\"novelty\":true", 1);
    rewrite_last_row(&run, newer);
    let shown = runner.run(&["show", "latest", "--json"]).expect(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["rows"].as_array().unwrap().len(), 2);
    let says = ["index.jsonl", "format 4", "format 3"];
    assert_never_written(&runner, &says);

    // One that cannot be read any more is not torn, and stays where it is.
    rewrite_last_row(&run, |row| row.replacen("\"outcome\"", "\"came_to\"", 1));
    assert_never_written(&runner, &says);
    assert!(!run.dir.join("index.torn-1").exists());
    runner.run(&["verify", "latest"]).expect(1);
}

#[test]
fn keys_that_this_version_does_not_know_stay_in_the_manifest() {
    let runner = incomplete();
    let run = runner.only_run();
    run.change_manifest(|manifest| {
        manifest["novelty"] = json!({ "of": "a neighbour" });
        manifest["sessions"][0]["mood"] = "calm".into();
        manifest["transitions"][0]["because"] = json!([1, 2]);
    });
    runner.run(&["pin", "latest"]).expect(0);
    runner.run(&["resume", "--from", "latest"]).expect(0);
    let manifest = run.manifest();
    assert_eq!(manifest["novelty"], json!({ "of": "a neighbour" }));
    assert_eq!(manifest["sessions"][0]["mood"], "calm");
    assert_eq!(manifest["transitions"][0]["because"], json!([1, 2]));
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);
}
