//! `rescore`: stored outputs that are judged again.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    http::Site,
    random::{Random, times},
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::assert_kept,
};

const PROVIDER: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";
const ECHO: &str = r#"{ do = "echo", value = 1 }"#;

/// Replaces the scenario's tests. `more` are tables after them.
fn change(runner: &Runner, table: &str, more: &str) {
    runner.scenario(&format!("{}\n{PROVIDER}\n{more}", tests(table)));
}

fn run_of(table: &str, exit: i32) -> (Runner, Run) {
    let runner = Runner::hostile(&tests(table));
    runner.exec(&["-j", "1"]).expect(exit);
    let run = runner.only_run();
    (runner, run)
}

/// A grader that answers with `value`, after some milliseconds.
fn grader(name: &str, input: &str) -> String {
    format!("[graders.{name}]\nplugin = \"hostile.wasm\"\ninput = {{ {input} }}\n")
}

const PASSES: &str = r#"do = "echo", value = { verdict = "pass" }"#;
const FAILS: &str = r#"do = "echo", value = { verdict = "fail" }"#;

/// Returns the files that hold the results of a run.
fn state(run: &Run) -> [Vec<u8>; 2] {
    ["index.jsonl", "benchmark.json"].map(|name| run.bytes(name))
}

/// Fails if `ask` changes the run.
#[track_caller]
fn assert_unchanged(run: &Run, ask: impl FnOnce()) {
    let before = state(run);
    ask();
    assert!(before == state(run), "the run has changed");
}

/// Fails unless list, show and verify agree on the run.
#[track_caller]
fn assert_sound(runner: &Runner, run: &Run, status: &str) {
    let listed = &runner.list()[0];
    assert_eq!(listed["status"], status, "{listed}");
    let shown = runner.show(run);
    assert_eq!(
        (&shown["run"]["status"], &shown["run"]["counts"]),
        (&json!(status), &listed["counts"])
    );
    runner.run(&["verify"]).expect(0);
}

#[test]
fn changed_expectations_replace_only_judgements() {
    let (runner, run) = run_of(&format!("a | {ECHO} | equals = 1\nb | {ECHO} | equals = 2"), 1);
    change(&runner, &format!("b | {ECHO} | equals = 1\na | {ECHO} | equals = 1"), "");
    let ran = runner.run(&["rescore"]).expect(0);
    snapshot(&ran);
    let rows = run.rows_of("b");
    assert_eq!(
        (rows.len(), &rows[1]["judged"], &rows[1]["outcome"]),
        (2, &rows[0]["seq"], &json!("passed"))
    );
    for key in ["output", "started_at", "fingerprint", "attempt"] {
        assert_eq!(rows[0][key], rows[1][key]);
    }
    assert_eq!(run.rows_of("a").len(), 1);
    assert_sound(&runner, &run, "completed");
    assert_eq!(run.manifest()["transitions"][2]["writer"], "rescore");
    assert_unchanged(&run, || {
        snapshot(&runner.run(&["rescore"]).expect(0));
    });
    // The scenario of the run is still the stored one.
    assert!(run.text("scenario.toml").contains("equals = 2"));
    runner.run(&["resume", "latest"]).expect(0);
}

#[test]
fn added_graders_judge_stored_outputs() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    let table = format!("a | {ECHO} | graders = [\"one\", \"two\"]\nb | {ECHO} |");
    change(&runner, &table, &(grader("one", PASSES) + &grader("two", FAILS)));
    snapshot(&runner.run(&["rescore", "--no-graders"]).expect(0));
    snapshot(&runner.run(&["rescore"]).expect(1));
    let row = run.rows_of("a").pop().unwrap();
    assert_eq!((&row["outcome"], row["grades"].as_array().unwrap().len()), (&json!("failed"), 2));
    assert_sound(&runner, &run, "completed");

    // An answer is kept as long as the question is the same.
    change(&runner, &table, &(grader("one", PASSES) + &grader("two", PASSES)));
    let asked = row["grades"][0]["duration_ms"].clone();
    snapshot(&runner.run(&["rescore"]).expect(0));
    let row = run.rows_of("a").pop().unwrap();
    assert_eq!(row["grades"][0]["duration_ms"], asked);
    assert_unchanged(&run, || drop(runner.run(&["rescore"]).expect(0)));
}

/// Returns the names of the graders that `show` and the manifest list, which must be the same.
#[track_caller]
fn listed(runner: &Runner, run: &Run) -> Vec<String> {
    let name = |of: &Value, key: &str| of[key].as_str().unwrap().to_owned();
    let shown = runner.show(run);
    let shown = shown["graders"].as_array().into_iter().flatten();
    let shown: Vec<_> = shown.map(|table| name(table, "grader")).collect();
    let manifest = run.manifest();
    let providers = manifest["providers"].as_array().unwrap().iter();
    let graders = providers.filter(|one| one["grader"] == true);
    assert_eq!(graders.map(|one| name(one, "name")).collect::<Vec<_>>(), shown);
    shown
}

#[test]
fn new_access_of_graders_is_refused() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    let folder = tempfile::tempdir().unwrap();
    let grants = format!(
        "limits.scratch = \"1MiB\"\ngrants.fs = [{{ path = {:?}, mount = \"/home\", mode = \"rw\" }}]\n",
        folder.path()
    );
    let table = format!("a | {ECHO} | graders = [\"g\"]");
    change(&runner, &table, &(grader("g", PASSES) + &grants));
    let says = ["grader `g` reads and writes the folder", "rescore", "--accept-access"];
    let site = Site::start(&runner, &["--scenarios", "."]);
    assert_unchanged(&run, || {
        for more in [&[][..], &["--dry-run"], &["--explain"]] {
            runner.run(&[&["rescore"], more].concat()).expect(2).says(&says);
        }
        let rescore = format!("/runs/{}/rescore", run.id());
        site.post(&rescore, &json!({})).refuses(422, &["--accept-access"]);
    });
    drop(site);
    runner.run(&["rescore", "--accept-access"]).expect(0);
    assert_eq!(run.rows_of("a").pop().unwrap()["grades"][0]["grader"], "g");
    // It is allowed as long as it judges, but no other one is.
    snapshot(&runner.run(&["rescore"]).expect(0));
    let table = table.replace("\"g\"", "\"h\"");
    change(&runner, &table, &(grader("h", PASSES) + &grants));
    snapshot(&runner.run(&["rescore"]).expect(2));
}

#[test]
fn manifest_lists_graders_that_judged() {
    let table = |graders: &str| format!("a | {ECHO} | graders = [{graders}]");
    let both = grader("one", PASSES) + &grader("two", FAILS);
    let runner = Runner::hostile(&(tests(&table("\"one\"")) + &grader("one", PASSES)));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(listed(&runner, &run), ["one"]);
    change(&runner, &table("\"one\", \"two\""), &both);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(listed(&runner, &run), ["one", "two"]);
    let two = runner.show(&run)["graders"][1].clone();
    assert_eq!((&two["failed"], &two["plugin"]), (&json!(1), &json!("hostile.wasm")));
    // A grader whose grades have all been replaced is gone.
    change(&runner, &table("\"two\""), &grader("two", FAILS));
    runner.run(&["rescore"]).expect(1);
    assert_eq!(listed(&runner, &run), ["two"]);
    runner.run(&["verify"]).expect(0);
    // The stored plan has its own graders.
    runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
    let graders = run.rows_of("a").pop().unwrap()["grades"].clone();
    assert_eq!((&graders[0]["grader"], graders.as_array().unwrap().len()), (&json!("one"), 1));
    assert_eq!(listed(&runner, &run), ["one", "two"]);
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!(listed(&runner, &run), ["two"]);
    assert_eq!(run.manifest().get("planned_graders"), None);
    assert_sound(&runner, &run, "completed");
}

#[test]
fn partly_rescored_run_lists_all_graders() {
    let table = |grader: &str| {
        format!("a | {ECHO} | graders = [\"{grader}\"]\nb | {ECHO} | graders = [\"{grader}\"]")
    };
    let runner = Runner::hostile(&(tests(&table("one")) + &grader("one", PASSES)));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let slow = r#"do = "sleep", ms = 100000"#;
    change(&runner, &table("two"), &grader("two", slow));
    let mut running = runner.started(&["rescore", "--json"]);
    running.wait_for_event(|event| event["row"]["outcome"] == "ungraded");
    running.kill();
    assert_eq!(listed(&runner, &run), ["two", "one"]);
    change(&runner, &table("two"), &grader("two", FAILS));
    runner.run(&["rescore", "-E", "test(a)"]).expect(1);
    assert_eq!(listed(&runner, &run), ["two", "one"]);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(listed(&runner, &run), ["two"]);
    assert_sound(&runner, &run, "completed");
}

#[test]
fn changed_weights_change_scores_without_calls() {
    let graded = |weight: u32| {
        let scored = |name: &str, score: f64, more: &str| {
            let answer = format!(r#"do = "echo", value = {{ score = {score} }}"#);
            grader(name, &answer) + "min_score = 0.5\n" + more
        };
        scored("exact", 1.0, &format!("weight = {weight}\n")) + &scored("close", 0.5, "")
    };
    let table = format!(r#"a | {ECHO} | graders = ["exact", "close"]"#);
    let runner = Runner::hostile(&format!("{}{}", graded(3), tests(&table)));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let score = || runner.show(&run)["providers"][0]["score"].clone();
    assert_eq!(score(), json!(0.875));
    let grades = || run.rows_of("a").last().unwrap()["grades"].clone();
    let first = grades();
    for (weight, expected) in [(1, 0.75), (0, 0.5)] {
        change(&runner, &table, &graded(weight));
        runner.run(&["rescore"]).expect(0);
        let mut after = grades();
        let found = after[0]["weight"].as_f64().unwrap_or(1.0);
        assert_eq!((found, score()), (weight.into(), json!(expected)));
        after[0]["weight"] = json!(3.0);
        assert_eq!(first, after, "the grader was called again");
    }
    assert_sound(&runner, &run, "completed");
}

#[test]
fn failed_graders_are_asked_again() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    let table = format!("a | {ECHO} | graders = [\"one\"]");
    change(&runner, &table, &grader("one", r#"do = "echo", value = "no answer""#));
    snapshot(&runner.run(&["rescore"]).expect(1));
    let rows = run.rows().len();
    runner.run(&["rescore"]).expect(1);
    assert!(run.rows().len() > rows, "the grader was not asked");
    change(&runner, &table, &grader("one", PASSES));
    snapshot(&runner.run(&["rescore"]).expect(0));
    assert_eq!(run.rows_of("a").pop().unwrap().get("error"), None);
}

#[test]
fn only_graders_without_an_answer_are_asked_again() {
    let expect = "graders = [\"broken\", \"good\", \"slow\"]";
    let table = format!("a | {ECHO} | {expect}");
    let nap = |ms: u32| {
        let slow = format!(r#"do = "sleep", ms = {ms}, value = {{ verdict = "pass" }}"#);
        grader("good", PASSES) + &grader("slow", &slow) + "timeout = \"300ms\"\n"
    };
    let runner = Runner::hostile("");
    change(&runner, &table, &(grader("broken", r#"do = "trap""#) + &nap(100_000)));
    // The other graders are called after the error of the first.
    runner.exec(&[]).expect(1).says(&["grader `broken`"]);
    let run = runner.only_run();
    let grades = || run.rows_of("a").pop().unwrap()["grades"].clone();
    let ended = |grades: &Value| {
        let grades = grades.as_array().unwrap().iter();
        let ended = grades.map(|one| {
            (one["grader"].as_str().unwrap().to_owned(), one["verdict"].as_str().map(str::to_owned))
        });
        ended.collect::<Vec<_>>()
    };
    let pass = Some("pass".to_owned());
    let names = ["broken", "good", "slow"].map(str::to_owned);
    let [broken, good, slow] = names;
    let first = grades();
    let expected = [(broken.clone(), None), (good.clone(), pass.clone()), (slow.clone(), None)];
    assert_eq!(ended(&first), expected);
    // The answer between the two stays, and the plan of the preview is that of the session.
    change(
        &runner,
        &table,
        &(grader("broken", PASSES) + &grader("good", PASSES) + &grader("slow", PASSES)),
    );
    let ran = runner.run(&["rescore", "--dry-run"]).expect(0);
    snapshot(&ran);
    snapshot(&runner.run(&["rescore"]).expect(0));
    let second = grades();
    assert_eq!(ended(&second), [(broken, pass.clone()), (good, pass.clone()), (slow, pass)]);
    assert_eq!(second[1], first[1], "it was called again");
    assert_eq!(run.rows_of("a").pop().unwrap().get("error"), None);
    assert_sound(&runner, &run, "completed");
}

#[test]
fn incomplete_run_keeps_status_and_judgements() {
    let table = |value: u32| {
        format!("a | {ECHO} | equals = {value}\nb | {ECHO} | equals = 2\nc | {ECHO} |")
    };
    let runner = Runner::hostile(&tests(&table(2)));
    runner.exec(&["-j", "1", "--fail-fast", "1"]).expect(4);
    let run = runner.only_run();
    change(&runner, &table(1), "");
    let done = run.rows().len();
    snapshot(&runner.run(&["rescore"]).expect(4));
    assert_eq!(run.ending()[..2], ["incomplete", "fail-fast"]);
    assert_sound(&runner, &run, "incomplete");
    // No trial has run.
    assert_eq!(run.rows().len(), done + 1);
    // The stored expectations are those of the trials that have yet to run, and so are the settings.
    runner.run(&["resume"]).expect(4);
    let jobs = |session: usize| run.manifest()["sessions"][session]["jobs"].clone();
    assert_eq!((jobs(0), jobs(2)), (json!(1), json!(1)));
    runner.run(&["resume", "--fail-fast=off"]).expect(1);
    assert_eq!((run.count("passed"), run.count("failed")), (2, 1));
    assert_eq!(run.rows_of("a").len(), 2);
    assert_sound(&runner, &run, "completed");
}

#[test]
fn rescore_checks_only_tests_that_it_judges() {
    let table = |a: u32, b: &str| format!("a | {ECHO} | equals = {a}\nb | {ECHO} | {b}");
    let runner = Runner::hostile(&tests(&table(2, "")));
    runner.exec(&["-j", "1", "--fail-fast", "1"]).expect(4);
    runner.write("bad.json", r#"{"type":"nonsense"}"#);
    change(&runner, &table(1, "schema = \"bad.json\""), "");
    // The other test has yet to run.
    snapshot(&runner.run(&["rescore"]).expect(4));
    runner.run(&["resume", "--fail-fast=off"]).expect(0);
    snapshot(&runner.run(&["rescore"]).expect(4));
}

#[test]
fn judgements_stay_when_a_resume_asks_graders() {
    let table =
        |value: u32| format!("a | {ECHO} | equals = {value}\nb | {ECHO} | graders = [\"nap\"]");
    // Longer than a busy machine needs to send a signal.
    let nap = grader("nap", r#"do = "sleep", ms = 3000"#) + "min_score = 0.5\n";
    let runner = Runner::hostile_in_memory("");
    change(&runner, &table(2), &nap);
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_event(|event| event["row"]["outcome"] == "ungraded");
    running.end_by(Signal::INT);
    let run = runner.only_run();
    assert_eq!((run.ending()[0].as_str(), run.count("failed")), ("incomplete", 1));
    change(&runner, &table(1), &nap);
    runner.run(&["rescore", "--no-graders"]).expect(130).says(&["1 failed → passed"]);
    assert_sound(&runner, &run, "incomplete");
    runner.run(&["resume"]).expect(1);
    assert_eq!((run.rows_of("a").len(), run.count("passed"), run.count("error")), (2, 1, 1));
    assert_sound(&runner, &run, "completed");
}

#[test]
fn explained_reasons_change_no_byte() {
    let table = format!(
        "gone | {ECHO} |\nsame | {ECHO} | equals = 1\nother | {ECHO} | equals = 2\ntraps | {{ do = \"trap\" }} |\nlarge | {{ do = \"huge-reply\", bytes = 300000 }} |"
    );
    let (runner, run) = run_of(&table, 1);
    let table = format!(
        "same | {ECHO} | equals = 1\nother | {ECHO} | equals = 1\ntraps | {{ do = \"trap\" }} | equals = 1\nlarge | {{ do = \"huge-reply\", bytes = 300000 }} | equals = 1"
    );
    change(&runner, &table, "");
    fs::remove_dir_all(run.dir.join("artifacts")).unwrap();
    assert_unchanged(&run, || {
        let ran = runner.run(&["rescore", "--explain"]).expect(0);
        snapshot(&ran);
        for (test, why) in [
            ("gone", "stays: the scenario has no such test"),
            ("same", "stays: it is judged by these"),
            ("other", "judged: its expectations"),
            ("traps", "stays: it has no output"),
            ("large", "stays: its output cannot be read"),
        ] {
            let line = ran.stdout.lines().find(|line| line.starts_with(test)).unwrap();
            assert!(line.contains(why), "{line}");
        }
        let ran = runner.run(&["rescore", "--dry-run", "--json"]).expect(0);
        let events = ran.events();
        assert_eq!((events.len(), &events[0]["judged"]), (1, &json!(true)));
    });
}

#[test]
fn dry_run_shows_new_outcomes_without_calls() {
    let mut transcript = Transcript::default();
    let table = format!("a | {ECHO} | equals = 2\nb | {ECHO} |\nc | {ECHO} |");
    let (runner, run) = run_of(&table, 1);
    let table =
        format!("a | {ECHO} | equals = 1\nb | {ECHO} | graders = [\"one\", \"two\"]\nc | {ECHO} |");
    let secret = "grants = { secrets = [\"KEY\"] }\n";
    change(&runner, &table, &(grader("one", PASSES) + secret + &grader("two", FAILS)));
    assert_unchanged(&run, || {
        transcript.run(&runner, &["rescore", "--dry-run", "--accept-access"]).expect(0);
        let events =
            runner.run(&["rescore", "--explain", "--json", "--accept-access"]).expect(0).events();
        assert_eq!(events[0]["after"], "passed");
        assert_eq!(events[1]["graders"], json!(["one", "two"]));
        assert_eq!((&events[2]["judged"], &events[2]["before"]), (&json!(false), &json!(null)));
    });
    // A kept answer needs no call.
    change(&runner, &table, &(grader("one", PASSES) + &grader("two", FAILS)));
    runner.run(&["rescore"]).expect(1);
    change(&runner, &table, &(grader("one", PASSES) + &grader("two", PASSES)));
    assert_unchanged(&run, || {
        transcript.run(&runner, &["rescore", "--dry-run"]).expect(0);
    });
    transcript.check("dry_run_shows_new_outcomes_without_calls");
}

#[test]
fn all_runs_of_a_group_are_judged() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    let write = |graders: &str, expect: &str| {
        for name in ["a", "b"] {
            let test = tests(&format!("t{name} | {ECHO} | {expect}"));
            let file = format!("{test}\n{PROVIDER}\n{graders}");
            runner.write(
                &format!("set/{name}.toml"),
                file.replace("hostile.wasm", "../hostile.wasm"),
            );
        }
    };
    fs::create_dir(runner.path("set")).unwrap();
    write("", "equals = 1");
    runner.run(&["exec", "set"]).expect(0);
    let runs = runner.runs();
    let group = runs[0].manifest()["group"]["id"].as_str().unwrap().to_owned();
    write("", "equals = 2");
    transcript.run(&runner, &["rescore", &group, "--dry-run"]).expect(0);
    let only_b = ["rescore", &group, "-E", "test(tb)"];
    let preview = runner.run(&[&only_b[..], &["--dry-run"]].concat()).expect(0);
    preview.says(&["tb@hostile#1 passed → failed"]);
    assert!(!preview.stderr.contains("matches no trial"), "{preview:?}");
    let neither = ["rescore", &group, "-E", "test(tc)"];
    snapshot(&runner.run(&neither).expect(5));
    runner.run(&[&neither[..], &["--dry-run"]].concat()).expect(5);
    assert!(runs.iter().all(|run| run.count("failed") == 0));
    runner.run(&only_b).expect(1);
    assert_eq!([runs[0].count("failed"), runs[1].count("failed")], [0, 1]);
    runner.run(&["rescore", &group]).expect(1).says(&["1 passed → failed", "group"]);
    assert!(runs.iter().all(|run| run.count("failed") == 1));
    // A stop ends the session of the first run, and the second one gets none.
    write(&grader("slow", r#"do = "sleep""#), "graders = [\"slow\"]");
    let mut running = runner.started(&["rescore", &group, "--json"]);
    running.wait_for_event(|event| event["event"] == "started");
    let finished = running.end_by(Signal::INT).0.expect(130).events().pop().unwrap();
    assert_eq!([&finished["event"], &finished["exit_code"]], [&json!("finished"), &json!(130)]);
    let sessions = |run: &Run| run.manifest()["sessions"].as_array().unwrap().len();
    assert_eq!(runs.iter().map(sessions).sum::<usize>(), 5);
    runner.run(&["verify", runs[1].id()]).expect(0);
    transcript.check("all_runs_of_a_group_are_judged");
}

#[test]
fn run_that_was_stopped_does_not_end_the_rescore_of_its_group() {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir(runner.path("set")).unwrap();
    let write = |name: &str, table: &str| {
        let provider = PROVIDER.replace("hostile.wasm", "../hostile.wasm");
        runner.write(&format!("set/{name}.toml"), format!("{}\n{provider}", tests(table)));
    };
    write("a", &format!("ta | {ECHO} | equals = 1\nslow | {{ do = \"sleep\" }} |"));
    write("b", &format!("tb | {ECHO} | equals = 1"));
    let mut running = runner.started(&["exec", "set", "-j", "1", "--json"]);
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    let runs = runner.runs();
    let (a, b) = (&runs[0], &runs[1]);
    assert_eq!(a.ending()[1], "interrupted");
    runner.run(&["resume", b.id()]).expect(0);
    write("b", &format!("tb | {ECHO} | equals = 2"));
    let group = a.manifest()["group"]["id"].as_str().unwrap().to_owned();
    runner.run(&["rescore", &group]).says(&["1 passed → failed"]);
    assert_eq!(b.count("failed"), 1);
}

#[test]
fn unusable_runs_and_scenarios_are_refused() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    let refused = |args: &[&str], code: i32, texts: &[&str]| {
        assert_unchanged(&run, || {
            runner.run(&[&["rescore"], args].concat()).expect(code).says(texts);
        });
    };
    refused(&["nothing"], 2, &["nothing"]);
    refused(&["--scenario", "none.toml"], 2, &["none.toml"]);
    let table = format!("a | {ECHO} | graders = [\"one\"]");
    change(&runner, &table, "[graders.one]\nplugin = \"none.wasm\"\n");
    refused(&[], 2, &["none.wasm", "scenario.toml:"]);
    change(&runner, &table, &(grader("one", PASSES) + "grants = { secrets = [\"KEY\"] }\n"));
    refused(&[], 2, &["KEY"]);
}

#[test]
fn stopped_rescore_finishes_with_its_exit_code() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    let table = format!("a | {ECHO} | graders = [\"one\"]\nb | {ECHO} | graders = [\"slow\"]");
    change(&runner, &table, &(grader("one", PASSES) + &grader("slow", r#"do = "sleep""#)));
    let stop = |running: &Running, how: &str| match how {
        "SIGINT" => running.process().signal(Signal::INT),
        "SIGTERM" => running.process().signal(Signal::TERM),
        "SIGHUP" => running.process().signal(Signal::HUP),
        "stop" => drop(runner.run(&["stop", "--reason", "enough"]).expect(0)),
        _ => drop(runner.run(&["cancel", "latest"]).expect(0)),
    };
    for (how, code, reason) in [
        ("SIGINT", 130, json!(["interrupted", "SIGINT"])),
        ("SIGTERM", 143, json!(["interrupted", "SIGTERM"])),
        ("SIGHUP", 129, json!(["interrupted", "SIGHUP"])),
        ("stop", 4, json!(["stopped", null])),
        ("cancel", 4, json!(["cancelled", null])),
    ] {
        let mut running = runner.started(&["rescore", "--json", "-j", "2"]);
        running.wait_for_event(|event| {
            event["event"] == "row" && event["row"]["outcome"] == "ungraded"
        });
        stop(&running, how);
        let finished = running.finish().expect(code).events().pop().unwrap();
        assert_eq!(finished["exit_code"], code, "{finished}");
        assert_eq!(json!([finished["reason"], finished["signal"]]), reason);
        let message =
            if code == 4 && reason[0] == "stopped" { json!("enough") } else { Value::Null };
        assert_eq!(finished["message"], message, "{finished}");
        // The run itself stays as it was.
        assert_eq!([&finished["status"], &finished["verdict"]], ["completed", "passed"]);
        assert_eq!(run.ending()[0], "completed");
    }
}

#[test]
fn interrupted_judging_is_finished_by_the_next() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    let table = format!("a | {ECHO} | graders = [\"one\"]\nb | {ECHO} | graders = [\"slow\"]");
    let slow =
        |ms: u32| grader("one", FAILS) + &grader("slow", &format!("do = \"sleep\", ms = {ms}"));
    change(&runner, &table, &slow(100_000));
    let mut running = runner.started(&["rescore", "--json", "-j", "2"]);
    running.wait_for_event(|event| event["event"] == "row" && event["row"]["final"] == true);
    let held = runner.run(&["rescore"]);
    held.expect(6);
    let (ran, _) = running.end_by(Signal::INT);
    let ran = ran.expect(130);
    ran.says(&["1 trial is left to judge"]);
    assert_eq!(run.ending()[0], "completed");
    assert_eq!((run.count("passed"), run.count("failed")), (1, 1));
    assert_sound(&runner, &run, "completed");
    runner.run(&["resume", "latest"]).expect(1).says(&["nothing is left to do"]);
    change(&runner, &table, &(grader("one", FAILS) + &grader("slow", PASSES)));
    runner.run(&["rescore"]).expect(1).says(&["1 trial judged: no outcome has changed"]);
    assert_unchanged(&run, || drop(runner.run(&["rescore"]).expect(1)));
}

#[test]
fn filter_selects_trials_to_judge() {
    let table = |value: u8| format!("a | {ECHO} | equals = {value}\nb | {ECHO} | equals = {value}");
    let (runner, run) = run_of(&table(2), 1);
    change(&runner, &table(1), "");
    assert_unchanged(&run, || {
        snapshot(&runner.run(&["rescore", "-E", "test(b)", "--explain"]).expect(0));
        let nothing = "the filter `test(c)` matches no trial of the run";
        runner.run(&["rescore", "-E", "test(c)"]).expect(5).says(&[nothing]);
        runner.run(&["rescore", "-E", "tset(b)"]).expect(2).says(&["tset"]);
    });
    let filters = ["rescore", "-E", "outcome(failed)", "--filter", "test(b)"];
    snapshot(&runner.run(&filters).expect(1));
    assert_eq!((run.rows_of("a").len(), run.rows_of("b").len()), (1, 2));
    assert_sound(&runner, &run, "completed");
    snapshot(&runner.run(&["rescore"]).expect(0));
}

#[test]
fn interrupted_trials_match_the_filter_again() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} | equals = 2"), 1);
    let table = format!("a | {ECHO} | graders = [\"slow\"]\nb | {ECHO} | equals = 1");
    change(&runner, &table, &grader("slow", "do = \"sleep\", ms = 100000"));
    let filter = ["rescore", "-E", "outcome(passed)", "--json"];
    let mut running = runner.started(&filter);
    running.wait_for_event(|event| event["row"]["outcome"] == "ungraded");
    let (ran, _) = running.end_by(Signal::INT);
    ran.expect(130).says(&["1 trial is left to judge", "--filter 'outcome(passed)'"]);
    change(&runner, &table, &grader("slow", PASSES));
    runner.run(&filter).expect(1).says(&["1 trial judged: no outcome has changed"]);
    assert_eq!((run.rows_of("b").len(), run.count("passed")), (1, 1));
}

#[test]
fn killed_rescores_lose_and_double_no_grade() {
    let (mut random, mut longest) = (Random::new(), Duration::from_millis(400));
    let (kills, mut done) = (times(4, 300), 0);
    let trials = 20;
    let test = |expect: &str| {
        format!(
            "[[tests]]\nid = \"a\"\nrepeat = {trials}\ninput = {ECHO}\nexpect = {{ {expect} }}\n"
        )
    };
    while done < kills {
        let runner = Runner::hostile_in_memory(&test(""));
        runner.exec(&[]).expect(0);
        let run = runner.only_run();
        let nap = r#"do = "verdict", verdict = "pass""#;
        let graders = grader("one", nap) + &grader("two", FAILS);
        let expect = "graders = [\"one\", \"two\"]";
        runner.scenario(&format!("{}\n{PROVIDER}\n{graders}", test(expect)));
        let mut acknowledged: Vec<Value> = Vec::new();
        loop {
            let running = runner.started(&["rescore", "--json", "-j", "2"]);
            let started = Instant::now();
            // The kill comes at a random moment.
            thread::sleep(random.up_to(longest));
            let ran = running.kill();
            if ran.code.is_some() {
                // It may have ended much earlier.
                longest = started.elapsed().min(longest).max(Duration::from_millis(10));
            }
            acknowledged.extend(ran.acknowledged());
            assert_kept(&run, &acknowledged);
            done += usize::from(ran.code.is_none());
            if ran.code.is_some() || random.below(4) == 0 {
                assert_sound(&runner, &run, "completed");
                break;
            }
        }
        runner.run(&["rescore"]).expect(1);
        assert_unchanged(&run, || drop(runner.run(&["rescore"]).expect(1)));
        for repeat in 1..=trials {
            let mut rows = run.rows();
            rows.retain(|row| row["repeat"] == repeat);
            let finals = rows.iter().filter(|row| row["final"] == true).count();
            assert_eq!(finals, 2, "trial {repeat}");
            for grader in 0..2 {
                // A grader that was called twice took another time.
                let grades = rows.iter().filter_map(|row| row["grades"].get(grader));
                let grades: BTreeSet<_> = grades.map(Value::to_string).collect();
                assert_eq!(grades.len(), 1, "trial {repeat}, grader {grader}: {grades:?}");
            }
        }
        assert_eq!(run.count("failed"), trials);
        assert_sound(&runner, &run, "completed");
    }
}
