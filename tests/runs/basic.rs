//! From the command to the rows, and to everything that reads them.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    guests::root,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::{assert_kept, assert_told_truly, assert_whole, results},
};

/// Creates a folder with the scenario of the README.
fn basic() -> Runner {
    let runner = Runner::new(&[]);
    let scenario = fs::read_to_string(root().join("scenarios/basic.toml")).unwrap();
    runner.scenario(&scenario);
    runner
}

/// Returns the content of every file of a run, except the lock.
fn files(run: &Run) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(&run.dir).unwrap().map(|entry| entry.unwrap());
    let is_file =
        |entry: &fs::DirEntry| entry.file_type().unwrap().is_file() && entry.file_name() != "lock";
    let names = entries.filter(is_file).map(|entry| entry.file_name().into_string().unwrap());
    let mut files: Vec<_> = names.map(|name| (name.clone(), run.bytes(&name))).collect();
    files.sort();
    files
}

#[test]
fn each_planned_trial_has_a_row() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let run = assert_whole(&runner, 9);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    let trials: Vec<_> = results(&run).into_keys().collect();
    let expected = [
        "greeting@echo#1",
        "length@units#1",
        "length@units-rounded#1",
        "pangram@echo#1",
        "person@echo#1",
        "rounding@units-rounded#1",
        "unknown-unit@units#1",
        "unknown-unit@units#2",
        "unknown-unit@units#3",
    ];
    assert_eq!(trials, expected);
    assert_eq!((run.planned(), run.count("passed"), run.count("flaky")), (9, 9, 0));
    assert!(run.id().contains("-basic-"), "{}", run.id());
}

#[test]
fn killed_main_job_is_finished_from_its_directory() {
    let runner = Runner::new(&[]);
    let scenario = root().join("scenarios/basic.toml");
    let mut exec = runner.command(&["exec", scenario.to_str().unwrap(), "-j", "1", "--json"]);
    exec.env("RUNNER_FAULT", "rows-write:kill:1");
    let killed = Running::start(&mut exec).finish();
    assert_eq!(killed.code, None, "{killed:?}");
    let run = runner.only_run();
    assert!(run.rows().len() < 9, "killed too late");
    runner.run(&["resume", "--from", run.dir.to_str().unwrap()]).expect(0);
    let run = assert_whole(&runner, 9);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    assert_kept(&run, &killed.acknowledged());
}

#[test]
fn rows_have_the_documented_keys() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("greeting");
    let object = row.as_object().unwrap();
    let keys: BTreeSet<_> = object.keys().map(String::as_str).collect();
    let always = [
        "v",
        "trial",
        "test",
        "provider",
        "repeat",
        "attempt",
        "outcome",
        "started_at",
        "duration_ms",
        "usage",
        "output",
        "checks",
        "fingerprint",
        "judgement_fingerprint",
        "final",
        "session",
        "seq",
        "crc",
    ];
    assert_eq!(keys, BTreeSet::from(always));
    let expected = json!({
        "v": 4, "trial": "greeting@echo#1", "test": "greeting", "provider": "echo", "repeat": 1, "attempt": 1,
        "outcome": "passed", "output": "hello", "checks": [{"name": "equals", "verdict": "pass"}],
        "final": true, "session": 1,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&row[key], value, "`{key}`");
    }
    for key in ["fingerprint", "judgement_fingerprint"] {
        let digits = row[key].as_str().unwrap();
        assert!(
            digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{digits}"
        );
    }
    let started_at = row["started_at"].as_str().unwrap();
    assert!(started_at.len() == 24 && started_at.ends_with('Z'), "{started_at}");
    assert!(row["duration_ms"].as_f64().unwrap() > 0.0, "{row}");
    assert!(row["usage"]["peak_memory"].as_u64().unwrap() >= 64 * 1024, "{row}");
}

#[test]
fn exit_codes_distinguish_results() {
    let runner = Runner::hostile(&tests(
        r#"
        good | { do = "echo", value = 1 } | equals = 1
        bad  | { do = "echo", value = 1 } | equals = 2
        "#,
    ));
    runner.exec(&["--no-such-flag"]).expect(2);
    runner.run(&["exec", "no-such-file.toml"]).expect(2).says(&["no-such-file.toml"]);
    runner.exec(&["--test", "none"]).expect(5);
    assert!(runner.runs().is_empty(), "nothing is created");
    runner.exec(&["--test", "good"]).expect(0);
    runner.exec(&["--test", "bad"]).expect(1);
    let runs = runner.runs();
    let endings: Vec<_> = runs.iter().map(|run| run.ending()[3].clone()).collect();
    assert_eq!(endings, ["passed", "failed"]);
    for (listed, code) in runner.list().iter().zip([1, 0]) {
        assert_eq!(listed["exit_code"], code, "{listed}");
    }
}

#[test]
fn every_row_has_an_event() {
    let runner = basic();
    let ran = runner.exec(&["--json"]).expect(0);
    let (run, events) = (runner.only_run(), ran.events());
    let numbers: Vec<_> = events.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["v"].is_u64()), "{events:?}");
    let (started, finished) = (&events[0], events.last().unwrap());
    assert_eq!(started["event"], "started");
    assert_eq!((&started["run"], &started["planned"]), (&json!(run.id()), &json!(9)));
    assert_eq!(finished["event"], "finished");
    assert_eq!(
        (&finished["status"], &finished["verdict"]),
        (&json!("completed"), &json!("passed"))
    );
    assert_eq!((&finished["exit_code"], &finished["counts"]["passed"]), (&json!(0), &json!(9)));
    let acknowledged = ran.acknowledged();
    assert_eq!(acknowledged.len(), 9);
    assert_kept(&run, &acknowledged);
}

#[test]
fn manifest_records_the_plan() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let manifest = runner.only_run().manifest();
    assert_eq!((&manifest["format"], &manifest["stage"]), (&json!(3), &json!("finish")));
    let metadata = &manifest["metadata"];
    let planned = [&metadata["planned_trial_count"], &metadata["planned_test_count"]];
    assert_eq!(planned, [9, 9]);
    assert_eq!(manifest["id"], runner.only_run().id());
    assert_eq!(manifest["scenario"], "basic");
    let names: Vec<_> = manifest["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|provider| &provider["name"])
        .collect();
    assert_eq!(names, ["echo", "units", "units-rounded"]);
    assert_eq!(manifest["providers"][0]["limits"]["memory"], 256 << 20, "the default limit");
    let transitions = manifest["transitions"].as_array().unwrap();
    let steps: Vec<_> =
        transitions.iter().map(|step| (step["from"].as_str(), step["to"].as_str())).collect();
    assert_eq!(steps, [(None, Some("running")), (Some("running"), Some("completed"))]);
    let sessions = manifest["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0]["ended_at"].is_string(), "{sessions:?}");
}

#[test]
fn stored_scenario_is_byte_for_byte() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.bytes("scenario.toml"), fs::read(runner.path("scenario.toml")).unwrap());
    let log = run.text("runner.log");
    assert!(log.lines().next().unwrap().contains("exec scenario.toml"), "{log}");
}

#[test]
fn page_of_one_trial_names_its_check() {
    let runner =
        Runner::hostile(&tests(r#"bad | { do = "echo", value = "one" } | equals = "two""#));
    runner.exec(&[]).expect(1);
    let page = runner.run(&["show", "latest", "bad", "--json"]).expect(0).document();
    assert_eq!((&page["trial"], &page["provider"]), (&json!("bad@hostile#1"), &json!("hostile")));
    let shown = runner.run(&["show", "latest", "bad"]).expect(0).stdout;
    for text in ["bad@hostile#1", "failed", "equals", "one", "two"] {
        assert!(shown.contains(text), "no `{text}` in\n{shown}");
    }
    runner.run(&["show", "latest", "no-such-trial"]).expect(2).says(&["no-such-trial"]);
}

#[test]
fn failures_are_named_at_the_end() {
    let runner = Runner::hostile(&tests(
        r#"
        good  | { do = "echo", value = 1 } | equals = 1
        wrong | { do = "echo", value = "one" } | equals = "two"
        traps | { do = "trap" } |
        "#,
    ));
    let ran = runner.exec(&[]).expect(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    for text in ["wrong@hostile#1", "traps@hostile#1", "unreachable", "runner"] {
        assert!(said.contains(text), "no `{text}` in\n{said}");
    }
    let failed = runner.run(&["show", "--failed"]).expect(0).stdout;
    assert!(failed.contains("wrong@hostile#1") && failed.contains("traps@hostile#1"), "{failed}");
    assert!(!failed.contains("good@hostile#1"), "{failed}");
}

#[test]
fn deleted_database_changes_no_answer() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    runner.exec(&["--test", "greeting"]).expect(0);
    let before = runner.list();
    fs::remove_file(runner.path("results/runner.db")).unwrap();
    assert_eq!(runner.list(), before);
    runner.write("results/runner.db", "this is no database");
    assert_eq!(runner.list(), before);
    assert_told_truly(&runner);
}

#[test]
fn database_has_what_manifests_have() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    runner.exec(&["--test", "greeting"]).expect(0);
    runner.list();
    let database = Connection::open(runner.path("results/runner.db")).unwrap();
    for run in runner.runs() {
        let columns = "SELECT status, verdict, planned, passed, scenario FROM runs WHERE id = ?1";
        let listed: (String, String, i64, i64, String) = database
            .query_row(columns, [run.id()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })
            .unwrap();
        let [status, _, _, verdict] = run.ending();
        let counts = [run.planned(), run.count("passed")].map(u64::cast_signed);
        let expected = (status, verdict, counts[0], counts[1], "basic".to_owned());
        assert_eq!(listed, expected);
    }
    // The status graph applies there, too.
    let cancel = "UPDATE runs SET manifest = json_set(manifest, '$.status', 'cancelled')";
    let refused = database.execute(cancel, []).unwrap_err();
    assert!(refused.to_string().contains("status"), "{refused}");
}

#[test]
fn reading_commands_change_no_run() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = files(&run);
    for args in [
        &["list"][..],
        &["show"],
        &["show", "latest", "greeting"],
        &["show", "--json"],
        &["list", "--json"],
    ] {
        runner.run(args).expect(0);
    }
    assert_eq!(files(&run), before);
}

#[test]
fn completed_run_is_resumed_without_change() {
    let runner = Runner::hostile(&tests(r#"bad | { do = "echo", value = 1 } | equals = 2"#));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let before = files(&run);
    runner.run(&["resume", "latest"]).expect(1);
    assert_eq!(files(&run), before);
}

#[test]
fn results_are_their_owners_alone() {
    let runner = Runner::hostile(&tests(r#"large | { do = "huge-reply", bytes = 100000 } |"#));
    let umask = r#"umask 022; exec "$runner" exec scenario.toml"#;
    Running::start(&mut runner.shell(umask)).finish().expect(0);
    let mut folders = vec![runner.path("results")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            if entry.file_type().unwrap().is_dir() {
                assert_eq!(mode, 0o700, "{}", entry.path().display());
                folders.push(entry.path());
            } else {
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
                files += 1;
            }
        }
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn large_outputs_become_artifacts() {
    let runner = Runner::hostile(&tests(
        r#"large | { do = "huge-reply", bytes = 100000 } | matches = "^x+$""#,
    ));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row = run.row("large");
    assert_eq!(row["output"], json!({"$artifact": "output.json"}));
    let artifact = &row["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["bytes"]), (&json!("output.json"), &json!(100_002)));
    let digest = artifact["sha256"].as_str().unwrap();
    let stored = run.bytes(&format!("artifacts/{}/{digest}", &digest[..2]));
    let output: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(output, "x".repeat(100_000));
}

#[test]
fn instances_share_nothing_between_trials() {
    let runner = Runner::new(&["counter"]);
    runner.scenario(
        "[providers.c]\nplugin = \"counter.wasm\"\n[[tests]]\nid = \"count\"\nrepeat = 20\n",
    );
    runner.exec(&["-j", "1"]).expect(0);
    let run = assert_whole(&runner, 20);
    let outputs = results(&run).into_values().map(|mut row| row["output"].take());
    let mut names = BTreeSet::new();
    for output in outputs {
        assert_eq!((&output["setups"], &output["tests"]), (&json!(1), &json!(1)), "{output}");
        assert!(names.insert(output["instance"].to_string()), "one instance served two trials");
    }
}

#[test]
fn guests_cannot_steer_the_terminal() {
    let escape = r"\u001b[2J\u001b]0;title\u0007 \u202e \u009b31m";
    let runner = Runner::hostile(&tests(&format!(
        r#"
        wrong | {{ do = "echo", value = "{escape}" }} | equals = "two"
        error | {{ do = "error", kind = "other", code = "{escape}", message = "{escape}" }} |
        said  | {{ do = "say", text = "{escape}\nforged" }} |
        "#
    )));
    runner.exec(&["-v"]).expect(1);
    let mut printed = Vec::new();
    for args in [&["exec", "scenario.toml", "-v"][..], &["show"], &["show", "--failed"]] {
        let ran = runner.run(args);
        printed.push(ran.stdout + &ran.stderr);
    }
    for trial in ["wrong", "error", "said"] {
        printed.push(runner.run(&["show", "latest", trial]).expect(0).stdout);
    }
    for run in runner.runs() {
        printed.push(run.text("runner.log"));
    }
    for text in printed {
        let steers = |char: char| char.is_control() && char != '\n' && char != '\t';
        let found = text.chars().find(|char| steers(*char) || *char == '\u{202e}');
        assert_eq!(found, None, "{text}");
        assert!(!text.lines().any(|line| line == "forged"), "{text}");
    }
    // Documents and events escape control characters.
    for args in [&["exec", "scenario.toml", "--json"][..], &["show", "--json"]] {
        let printed = runner.run(args).stdout;
        let raw = ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'];
        assert!(!printed.contains(raw), "{printed}");
    }
}

#[test]
fn started_folder_runs_as_it_is() {
    let runner = Runner::new(&[]);
    runner.run(&["init"]).expect(0);
    assert!(runner.path("first.toml").exists());
    let scenario = fs::read(runner.path("first.toml")).unwrap();
    runner.run(&["validate", "first.toml"]).expect(0);
    runner.run(&["exec", "first.toml"]).expect(0);
    // A second `init` overwrites nothing.
    let _ = runner.run(&["init"]);
    assert_eq!(fs::read(runner.path("first.toml")).unwrap(), scenario);
    assert_told_truly(&runner);
}
