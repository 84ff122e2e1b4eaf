//! `runner label`.

use std::{fs, fs::File, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    run::Run,
    runner::Runner,
    running::Running,
    truth::assert_consistent,
    wait::{wait_for, wait_until},
};

const REQUEST: &str = "request-label.json";

/// Creates a scenario with one test that passes.
fn short() -> Runner {
    Runner::hostile_in_memory("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n")
}

/// Starts two attempts that do not end by themselves.
fn endless() -> (Runner, Running) {
    let runner = Runner::endless(2, "sleep", "");
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    (runner, running)
}

fn labels(runner: &Runner) -> Value {
    runner.only_run().manifest()["labels"].clone()
}

#[test]
fn labels_of_ended_run_are_set_and_removed() {
    let mut transcript = Transcript::default();
    let runner = short();
    runner.exec(&["--label", "team=night", "--label", "old=1"]).expect(0);
    runner.run(&["pin", "latest"]).expect(0);
    let before = runner.only_run().manifest();
    let ran = runner.run(&["label", "latest", "team=day", "empty=", "a b=c=d", "--remove", "old"]);
    snapshot(&ran.expect(0));
    let run = runner.only_run();
    let mut after = run.manifest();
    assert_eq!(after["labels"], json!({"team": "day", "empty": "", "a b": "c=d"}));
    after["labels"] = before["labels"].clone();
    assert_eq!(after, before, "only labels have changed");
    assert!(run.text("runner.log").contains(": a b=c=d, empty=, team=day, without old\n"));
    assert_eq!(runner.list()[0]["labels"]["team"], "day");
    transcript.run(&runner, &["list", "--label", "team=night"]).expect(0);
    transcript.run(&runner, &["list", "--label", "team=day"]).expect(0);
    transcript.run(&runner, &["show"]).expect(0);
    // Nothing is left to change.
    let manifest = run.bytes("benchmark.json");
    let ran = runner.run(&["label", "latest", "team=day", "--remove", "old", "--json"]).expect(0);
    assert_eq!(ran.document()["result"], "labelled");
    assert_eq!(ran.document()["labels"]["team"], "day");
    assert_eq!(run.bytes("benchmark.json"), manifest);
    let all = ["--remove", "team", "--remove", "empty", "--remove", "a b"];
    transcript.run(&runner, &[&["label", "latest"], &all[..]].concat()).expect(0);
    transcript.check("labels_of_ended_run_are_set_and_removed");
}

#[test]
fn owner_sets_labels_while_it_works() {
    let (runner, mut running) = endless();
    let run = runner.only_run();
    let ran = runner.run(&["label", "latest", "team=night", "--json"]).expect(0).document();
    assert_eq!([&ran["result"], &ran["status"]], ["labelled", "running"]);
    assert_eq!(labels(&runner), json!({"team": "night"}));
    assert_eq!(runner.list()[0]["labels"]["team"], "night");
    runner.run(&["pause", "latest"]).expect(0);
    runner.run(&["label", "latest", "paused=yes", "--remove", "team"]).expect(0);
    assert_eq!(labels(&runner), json!({"paused": "yes"}));
    assert!(running.is_alive() && !run.dir.join(REQUEST).exists());
    running.end_by(Signal::TERM).0.expect(143);
    assert_eq!(labels(&runner), json!({"paused": "yes"}));
    assert_consistent(&runner);
}

#[test]
fn waiting_run_of_a_group_is_labelled() {
    let runner = Runner::endless(1, "sleep", "");
    fs::copy(runner.path("scenario.toml"), runner.path("second.toml")).unwrap();
    let group = runner.started(&["exec", "scenario.toml", "second.toml", "--json"]);
    let waiting = wait_for("a run waits for another", || {
        let is_waiting = |run: &Run| run.manifest()["stage"] == "waiting";
        let runs = runner.runs();
        let works = runs.iter().any(|run| run.dir.join("live.json").exists());
        runs.into_iter().find(|run| works && is_waiting(run))
    });
    runner.run(&["label", waiting.id(), "team=night"]).expect(0).says(&["team=night"]);
    assert_eq!(waiting.manifest()["stage"], "waiting");
    group.end_by(Signal::TERM).0.expect(143);
    assert_eq!(waiting.manifest()["labels"], json!({"team": "night"}));
    assert_consistent(&runner);
}

#[test]
fn labels_set_at_once_are_all_kept() {
    let (runner, running) = endless();
    thread::scope(|scope| {
        for number in 0..6 {
            let (own, shared) = (format!("own{number}=x"), format!("shared={number}"));
            let runner = &runner;
            scope.spawn(move || runner.run(&["label", "latest", &own, &shared]).expect(0));
        }
    });
    let labels = labels(&runner);
    assert_eq!(labels.as_object().unwrap().len(), 7, "{labels}");
    running.kill();
}

#[test]
fn dead_run_is_ended_and_labelled() {
    let (runner, running) = endless();
    running.kill();
    let run = runner.only_run();
    // A request that the dead process has not read.
    let left = json!({"id": "1", "token": "2", "change": {"set": {"lost": "x"}, "remove": []}, "by": {"user": "u", "host": "h"}});
    run.write(REQUEST, left.to_string());
    runner.run(&["label", "latest", "team=night"]).expect(0);
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
    assert_eq!(labels(&runner), json!({"team": "night"}));
    assert!(!run.dir.join(REQUEST).exists());
    // The next owner ignores and removes it, too, and files that are not requests.
    for left in [left.to_string().as_bytes(), b"\xff{"] {
        run.write(REQUEST, left);
        let mut resumed = runner.started(&["resume", "latest", "--json"]);
        resumed.wait_until_running(&runner, 2);
        runner.run(&["label", "latest", "team=day"]).expect(0);
        assert_eq!(labels(&runner), json!({"team": "day"}));
        resumed.kill();
        runner.run(&["label", "latest", "team=night"]).expect(0);
    }
}

#[test]
fn owner_without_answer_changes_no_label() {
    let (runner, running) = endless();
    let run = runner.only_run();
    running.process().signal(Signal::STOP);
    wait_until("it is suspended", || running.process().is_stopped());
    let ran = runner.run(&["label", "latest", "team=night"]).expect(6);
    ran.says(&["is suspended by Ctrl-Z; no label was changed", "kill -CONT"]);
    assert!(!run.dir.join(REQUEST).exists());
    running.process().signal(Signal::CONT);
    runner.run(&["label", "latest", "team=day"]).expect(0);
    assert_eq!(labels(&runner), json!({"team": "day"}));
    running.kill();
    runner.run(&["cleanup", "--yes"]).expect(0);
    // Another program holds the lock, and the request outlives its sender.
    let lock = File::open(run.dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let asking = runner.started(&["label", "latest", "lost=x"]);
    wait_until("there is a request", || run.dir.join(REQUEST).exists());
    asking.kill();
    lock.unlock().unwrap();
    runner.run(&["label", "latest", "team=night"]).expect(0);
    assert_eq!(labels(&runner), json!({"team": "night"}));
    assert!(!run.dir.join(REQUEST).exists());
}

#[test]
fn label_reaches_runs_that_are_ending() {
    let runner = short();
    for number in 0..8 {
        let name = format!("run{number}");
        let into = format!("results/{name}");
        let mut running = runner.start(&["--into", &into]);
        running.wait_for_event(|event| event["event"] == "started");
        runner.run(&["label", &name, "team=night"]).expect(0);
        running.finish().expect(0);
    }
    for run in runner.runs() {
        assert_eq!(run.manifest()["labels"], json!({"team": "night"}));
        assert!(!run.dir.join(REQUEST).exists());
    }
    assert_consistent(&runner);
}

#[test]
fn wrong_labels_and_runs_are_refused() {
    let runner = short();
    runner.exec(&["--label", "team=night"]).expect(0);
    let run = runner.only_run();
    let before = run.bytes("benchmark.json");
    let long = format!("long={}", "x".repeat(70_000));
    for (args, says) in [
        (&["latest", "team"][..], "expected a label such as team=night"),
        (&["latest", "=night"], "expected a label such as team=night"),
        (&["latest"], "<KEY=VALUE>"),
        (&["other", "a=b"], "no run matches `other`"),
    ] {
        runner.run(&[&["label"], args].concat()).expect(2).says(&[says]);
    }
    let ran = runner.run(&["label", "latest", &long]);
    ran.says(&["labels, variables, message and other texts", "use at most 65536"]);
    assert_eq!(run.bytes("benchmark.json"), before);
    // A run whose rows are lost stays damaged.
    let rows = run.bytes("index.jsonl");
    run.write("index.jsonl", "");
    assert_eq!(runner.list()[0]["verdict"], "damaged");
    runner.run(&["label", "latest", "team=day"]).expect(0);
    assert_eq!(runner.list()[0]["verdict"], "damaged");
    run.write("index.jsonl", rows);
    run.write("benchmark.json", &before[..before.len() / 2]);
    runner.run(&["label", "latest", "team=day"]).says(&["it is damaged"]);
    assert_eq!(run.bytes("benchmark.json"), before[..before.len() / 2]);
}
