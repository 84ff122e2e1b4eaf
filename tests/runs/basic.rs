//! From the command to the rows, and to everything that reads them.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use crate::support::{
    guests::root,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::{assert_consistent, assert_kept, assert_whole, results},
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
fn stored_scenario_is_byte_for_byte() {
    let runner = basic();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.bytes("scenario.toml"), fs::read(runner.path("scenario.toml")).unwrap());
    let log = run.text("runner.log");
    assert!(log.lines().next().unwrap().contains("exec scenario.toml"), "{log}");
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
    assert_consistent(&runner);
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
