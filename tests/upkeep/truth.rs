//! What commands report of runs whose rows are lost, damaged or reordered, and that no text makes up a line of output.

use std::{fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::naps;
use crate::messages::outputs::snapshot;
use crate::support::{
    random::times,
    run::Run,
    runner::Runner,
    running::Running,
    truth::{assert_consistent, assert_whole},
    wait::{wait_for, wait_until},
};

/// A text that looks like a line of its own if its line breaks are printed.
const MADE_UP: &str = "x\n✓ made up\n";

/// Fails if a line of the output is made up.
#[track_caller]
fn assert_no_made_up_line(runner: &Runner, args: &[&str]) {
    let ran = runner.run(args);
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        assert!(!line.starts_with("✓ made up"), "{args:?} prints\n{}{}", ran.stdout, ran.stderr);
    }
}

/// Calls `each` with every text in a document, to replace it.
fn each_text(value: &mut Value, each: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, each)),
        Value::Object(values) => values.values_mut().for_each(|value| each_text(value, each)),
        Value::String(_) => each(value),
        _ => {}
    }
}

#[test]
fn manifests_cannot_make_up_lines() {
    let runner = naps(2, 1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.write("other.toml", &text);
    runner.run(&["exec", "scenario.toml", "other.toml", "-q", "--label", "a=b"]).expect(0);
    let run = runner.runs().remove(1);
    let manifest = run.manifest();
    let mut texts = 0;
    each_text(&mut manifest.clone(), &mut |_| texts += 1);
    assert!(texts > 30, "{manifest}");
    let commands: &[&[&str]] = &[
        &["list"],
        &["show", run.id(), "--history"],
        &["show", "group"],
        &["wait", run.id()],
        &["verify", run.id()],
        &["logs", run.id()],
        &["resume", run.id(), "--dry-run"],
        &["prune", "--keep-last", "0"],
        &["stop", run.id()],
    ];
    let all = |manifest: &Value, commands: &[&[&str]]| {
        run.write("benchmark.json", manifest.to_string());
        commands.iter().for_each(|args| assert_no_made_up_line(&runner, args));
    };
    for chosen in 0..texts {
        let (mut manifest, mut place) = (manifest.clone(), 0);
        each_text(&mut manifest, &mut |text| {
            if place == chosen {
                *text = MADE_UP.into();
            }
            place += 1;
        });
        all(&manifest, &commands[..times(1, commands.len())]);
    }
    // All texts whose form is free, in all commands.
    let mut manifest = manifest;
    for key in ["scenario", "scenario_path", "message"] {
        manifest[key] = MADE_UP.into();
    }
    manifest["labels"][MADE_UP] = MADE_UP.into();
    manifest["group"]["id"] = MADE_UP.into();
    manifest["transitions"][0]["writer"] = MADE_UP.into();
    for key in ["host", "user", "wall"] {
        manifest["sessions"][0][key] = MADE_UP.into();
    }
    manifest["sessions"][0]["command"][0] = MADE_UP.into();
    all(&manifest, commands);
}

#[test]
fn file_names_cannot_make_up_lines() {
    let runner = Runner::new(&[]);
    let name = "x\n✓ made up";
    fs::create_dir_all(runner.path(name)).unwrap();
    let file = format!("{name}/{name}.toml");
    runner.write(&file, "[providers.echo]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"a\"\n");
    runner.write(&format!("{name}.toml"), "[providers.echo]\nplugins = 1\n");
    runner.write(&format!("{name}.wasm"), "no plugin");
    runner.write(&format!("{name}.jsonl"), "{}\n");
    runner.write(
        "list.toml",
        "[providers.echo]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"*.jsonl\"]\n",
    );
    let [toml, wasm] = [format!("{name}.toml"), format!("{name}.wasm")];
    for args in [
        &["validate", &toml][..],
        &["validate", &file],
        &["validate", name],
        &["validate", "nowhere\n✓ made up"],
        &["validate", "list.toml"],
        &["exec", &file, "--results", name],
        &["exec", &file, "--results", &toml],
        &["exec", &toml],
        &["exec", &file, "--build", "--secret-file", &wasm, "--results", name],
        &["list", "--results", name],
        &["list", "--results", &toml],
        &["list", "--results", "nowhere\n✓ made up"],
        &["list", "-n", name],
        &["list", &format!("--since={name}")],
        &["list", name],
        &["show", name],
        &["show", "latest", "--results", name],
        &["show", "latest", name, "--results", name],
        &["resume", name, "--results", name],
        &["resume", "latest", "--rerun", name, "--results", name],
        &["verify", name, "--results", name],
        &["prune", name, "--results", name],
        &["plugin", "run", &wasm],
        &["plugin", "inspect", &wasm],
        &["plugin", "inspect", name],
        &["plugin", "build", name],
        &["plugin", "doctor", &toml],
        &["plugin", "new", name, "--lang", "c"],
        &["init", name],
        &["init", &toml],
    ] {
        assert_no_made_up_line(&runner, args);
    }
}

/// Fails unless all commands report the run as damaged, with these counts of passed trials.
#[track_caller]
fn assert_damaged(runner: &Runner, run: &Run, passed: u64) {
    // The answer is the same with and without what `runner.db` remembers.
    for _ in 0..2 {
        let [listed] = runner.list().try_into().unwrap();
        let shown = runner.show(run);
        for summary in [&listed, &shown["run"]] {
            assert_eq!(summary["verdict"], "damaged", "{summary}");
            assert_eq!(summary["exit_code"], 8, "{summary}");
            assert_eq!(summary["counts"]["passed"], passed, "{summary}");
        }
    }
    let wait = runner.run(&["wait", run.id()]).expect(8);
    for ran in [wait, runner.run(&["list"]).expect(0), runner.run(&["show"]).expect(0)] {
        ran.says(&["✗ damaged"]);
        assert!(!ran.stdout.contains('✓'), "{}", ran.stdout);
    }
    runner.run(&["list", "--verdict", "damaged"]).expect(0).says(&["damaged"]);
    let events = runner.run(&["wait", run.id(), "--json"]).expect(8).events();
    assert_eq!((&events[0]["verdict"], &events[0]["exit_code"]), (&json!("damaged"), &json!(8)));
}

#[test]
fn lost_rows_make_a_run_damaged() {
    let runner = naps(4, 1);
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    let (rows, manifest) = (run.text("index.jsonl"), run.text("benchmark.json"));
    let two: String = rows.split_inclusive('\n').take(2).collect();
    let changed = rows.replacen("passed", "pissed", 1);
    for (left, passed) in
        [("", 0), (&*two, 2), (&*rows.replace("passed", "pissed"), 0), (&*changed, 3)]
    {
        run.write("index.jsonl", left);
        assert_damaged(&runner, &run, passed);
        runner.run(&["resume", run.id()]).expect(0);
        runner.run(&["wait"]).expect(0);
        let listed = &runner.list()[0];
        assert_eq!(
            (&listed["verdict"], &listed["counts"]["passed"]),
            (&json!("passed"), &json!(4))
        );
        // Restored from a backup, every trial has its result again.
        run.write("index.jsonl", &rows);
        run.write("benchmark.json", &manifest);
        assert_eq!(runner.list()[0]["verdict"], "passed");
    }
    fs::remove_file(run.dir.join("index.jsonl")).unwrap();
    assert_damaged(&runner, &run, 0);
}

#[test]
fn manifests_must_count_what_they_plan() {
    let runner = naps(6, 1);
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    let manifest = run.text("benchmark.json");
    // The counts alone are wrong.
    run.write("benchmark.json", manifest.replace("\"passed\": 6", "\"passed\": 3"));
    assert_damaged(&runner, &run, 6);
    runner.run(&["resume", run.id()]).expect(0);
    assert_eq!(run.count("passed"), 6);
    runner.run(&["wait"]).expect(0);
    // Rows are missing, and the counts are those of the other rows.
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.split_inclusive('\n').take(3).collect::<String>());
    run.write("benchmark.json", manifest.replace("\"passed\": 6", "\"passed\": 3"));
    assert_damaged(&runner, &run, 3);
    runner.run(&["resume", run.id()]).expect(0);
    assert_whole(&runner, 6);
}

#[test]
fn lost_rows_of_an_unfinished_run_count() {
    let runner = naps(400, 100);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(4);
    running.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.split_inclusive('\n').take(2).collect::<String>());
    assert_damaged(&runner, &run, 2);
}

/// Kills a rerun of all trials while it writes this row of the session.
#[cfg(debug_assertions)]
fn kill_rerun(runner: &Runner, run: &Run, row: usize) {
    let args = ["resume", run.id(), "--rerun", "all", "-j", "1", "-q"];
    let mut command = runner.command(&args);
    command.env("RUNNER_FAULT", format!("rows-write:kill:{row}"));
    assert_eq!(Running::start(&mut command).finish().code, None);
}

#[test]
#[cfg(debug_assertions)]
fn sorted_rows_hide_no_pending_trial() {
    let sort: [fn(&mut Vec<&str>); 3] =
        [|lines| lines.swap(1, 2), |lines| lines.reverse(), |lines| lines.sort_unstable()];
    for sort in sort {
        let runner = naps(3, 300);
        runner.exec(&["-q", "-j", "3"]).expect(0);
        let run = runner.only_run();
        let sorted = |run: &Run| {
            let text = run.text("index.jsonl");
            let mut lines: Vec<_> = text.split_inclusive('\n').collect();
            sort(&mut lines);
            run.write("index.jsonl", lines.concat());
        };
        sorted(&run);
        assert_eq!(runner.list()[0]["verdict"], "passed");
        // A slow machine writes several rows at once, but not all three.
        kill_rerun(&runner, &run, 2);
        assert_eq!(runner.list()[0]["status"], "incomplete");
        runner.run(&["cleanup", "--yes"]).expect(0);
        sorted(&run);
        runner.run(&["wait"]).expect(4);
        runner.run(&["resume", run.id(), "-j", "3"]).expect(0);
        let rows = run.rows();
        let finals = rows.iter().filter(|row| row["session"] != 1 && row["final"] == true);
        let mut trials: Vec<_> = finals.map(|row| row["trial"].as_str().unwrap()).collect();
        trials.sort_unstable();
        assert_eq!(trials, ["nap@hostile#1", "nap@hostile#2", "nap@hostile#3"]);
        let mut seqs: Vec<_> = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=rows.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn dead_sessions_name_their_trials() {
    let runner = naps(4, 50_000);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let run = runner.only_run();
    running.kill();
    let live: Value = serde_json::from_slice(&run.bytes("live.json")).unwrap();
    let in_flight = live["in_flight"].as_array().unwrap();
    let trials: Vec<_> =
        in_flight.iter().map(|attempt| attempt["trial"].as_str().unwrap()).collect();
    let says = format!("while {} ran", trials.join(" and "));
    runner.run(&["show"]).expect(0).says(&[&says]);
    let explained = runner.run(&["resume", "--explain"]).expect(0);
    explained.says(&[&format!("{} runs: it has no result: it ran when", trials[0])]);
    runner.run(&["cleanup", "--yes"]).expect(0).says(&["1 run became incomplete"]);
    let died = format!("its process died {says}");
    runner.run(&["show", "--history"]).expect(0).says(&[&died]);
    assert!(run.text("runner.log").contains(&format!("died {says}")), "{}", run.text("runner.log"));
    assert_eq!(run.manifest()["sessions"][0]["in_flight"], live["in_flight"]);
    assert_consistent(&runner);
}

#[test]
fn guests_without_a_processor_are_ready() {
    let jobs = 2 * thread::available_parallelism().unwrap().get();
    let runner = Runner::endless(jobs, "loop", "grace = \"0s\"");
    // The memory of a machine with many cores may not be enough for all of them by the default limit.
    let mut running = runner.start(&["-j", &jobs.to_string(), "--limit", "memory=32MiB"]);
    running.wait_until_running(&runner, jobs);
    let run = runner.only_run();
    let steps = wait_for("a guest is ready", || {
        let live: Value = serde_json::from_slice(&run.bytes("live.json")).ok()?;
        let steps: Vec<_> = live["in_flight"].as_array()?.clone();
        steps.iter().any(|step| step["phase"] == "ready").then_some(steps)
    });
    assert!(steps.iter().all(|step| step["phase"] != "waiting"), "{steps:?}");
    assert!(steps.iter().all(|step| step["what"].is_null()), "{steps:?}");
    wait_until("a guest is shown as ready", || {
        runner.run(&["show"]).expect(0).stdout.contains("waiting for the processor for")
    });
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn used_up_budgets_tell_the_final_use() {
    let runner = Runner::hostile(
        r#"
        [run.budget]
        metrics = { tokens = 100 }
        [[tests]]
        id = "a"
        input = { do = "measure", tokens = 30 }
        repeat = 400
        "#,
    );
    let ran = runner.exec(&["-j", "4"]).expect(4);
    let run = runner.only_run();
    let used = 30 * run.rows().len();
    let says = format!("`tokens` is used up: {used} of 100");
    ran.says(&[&says]);
    assert!(run.manifest()["message"].as_str().unwrap().contains(&says));
    runner.run(&["resume"]).expect(2).says(&[&says]);
}

#[test]
fn paused_waiting_runs_are_shown_as_paused() {
    let runner = Runner::endless(1, "wait-for-stop", "grace = \"0s\"");
    let mut first = runner.start(&[]);
    first.wait_until_running(&runner, 1);
    let second = runner.start(&["--exclusive", "--wait"]);
    wait_until("the second run waits", || {
        runner.runs().last().is_some_and(|run| run.manifest()["stage"] == "waiting")
    });
    let waiting = runner.runs().pop().unwrap();
    runner.run(&["pause", waiting.id()]).expect(0);
    runner.run(&["show", waiting.id()]).expect(0).says(&["running (paused)"]);
    runner.run(&["stop", waiting.id()]).expect(0);
    second.finish().expect(4);
    first.end_by(Signal::INT).0.expect(130);
}

#[test]
fn waits_may_be_polls() {
    let runner = Runner::endless(1, "wait-for-stop", "grace = \"0s\"");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    runner.run(&["wait", "--timeout", "0s"]).expect(6).says(&["still running"]);
    running.end_by(Signal::INT).0.expect(130);
    runner.run(&["wait", "--timeout", "0s"]).expect(130);
}

#[test]
fn last_failed_believes_no_damaged_run() {
    let runner = naps(1, 1);
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    fs::create_dir(runner.path("copy")).unwrap();
    for name in ["scenario.toml", "hostile.wasm"] {
        fs::copy(runner.path(name), runner.path(&format!("copy/{name}"))).unwrap();
    }
    let other = ["exec", "copy/scenario.toml", "--last-failed"];
    snapshot(&runner.run(&other).expect(2));
    let rows = run.bytes("index.jsonl");
    run.write("index.jsonl", [&rows[..], &rows].concat());
    runner.exec(&["--last-failed", "--dry-run"]).expect(5);
    run.write("index.jsonl", "");
    runner.exec(&["--last-failed", "--dry-run"]).expect(0).says(&[run.id(), "is damaged"]);
}

#[test]
fn last_failed_after_success_says_so() {
    let runner = naps(1, 1);
    runner.exec(&["-q"]).expect(0);
    let ran = runner.exec(&["--last-failed"]).expect(5);
    snapshot(&ran);
    assert!(!ran.stderr.contains("--tag"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("planned in these runs"), "{}", ran.stderr);
}
