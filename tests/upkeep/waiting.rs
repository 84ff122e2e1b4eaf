//! Runs that wait for exclusive use of their results root.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use super::naps;
use crate::messages::outputs::snapshot;
use crate::support::{
    processes::Process,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::assert_consistent,
    wait::wait_until,
};

const WAITS: [&str; 3] = ["--exclusive", "--wait", "--json"];

/// Creates a short scenario, and a run of another one that holds the root until it is stopped.
fn blocked() -> (Runner, Running) {
    let runner = naps(3, 10);
    let long = block(&runner);
    (runner, long)
}

fn block(runner: &Runner) -> Running {
    runner.write(
        "long.toml",
        "[[tests]]\nid = \"long\"\ntimeout = \"1h\"\ninput = { do = \"sleep\", ms = 3000000 }\n[providers.hostile]\nplugin = \"hostile.wasm\"\n",
    );
    in_the_way(runner)
}

fn in_the_way(runner: &Runner) -> Running {
    let mut long = runner.started(&["exec", "long.toml", "--json"]);
    long.wait_until_running(runner, 1);
    long
}

/// Starts `exec` or `resume`. Returns the run once it waits.
#[track_caller]
fn waiting(runner: &Runner, args: &[&str]) -> (Running, Run) {
    let mut running = runner.started(&[args, &WAITS].concat());
    let notice = running.wait_for_event(|event| event["event"] == "notice");
    let text = notice["text"].as_str().unwrap();
    let words: Vec<_> = text.split(' ').collect();
    assert_eq!([words[0], words[2]], ["run", "waits:"], "{text}");
    let run = runner.runs().into_iter().find(|run| run.id() == words[1]);
    (running, run.unwrap())
}

/// Starts the command in the background. Returns the run.
#[track_caller]
fn detached(runner: &Runner, args: &[&str]) -> Run {
    let ran = runner.run(&[args, &["--exclusive", "--wait", "--detach"]].concat());
    let id = ran.expect(0).stdout.trim_end().to_owned();
    let run = runner.runs().into_iter().find(|run| run.id() == id);
    run.unwrap_or_else(|| panic!("there is no run `{id}`"))
}

#[track_caller]
fn assert_waits(runner: &Runner, run: &Run) {
    let shown = runner.show(run)["run"].clone();
    assert_eq!([&shown["status"], &shown["stage"]], ["running", "waiting"]);
}

/// Returns the owner of a run.
fn worked_on(run: &Run) -> Process {
    let sessions = run.manifest()["sessions"].clone();
    let last = sessions.as_array().unwrap().last().unwrap();
    Process(last["pid"].as_u64().unwrap() as u32)
}

#[test]
fn waiting_run_has_an_id_at_once() {
    let (runner, long) = blocked();
    let run = detached(&runner, &["exec", "scenario.toml"]);
    assert_waits(&runner, &run);
    assert_eq!(runner.show(&run)["run"]["worked_ms"], 0.0);
    wait_until("it has said what it waits for", || {
        let log = run.text("runner.log");
        log.contains("waits: results is in use by run")
    });
    // A waiting run does not block others.
    let (second, _) = waiting(&runner, &["exec", "scenario.toml"]);
    let text = second.events()[0]["text"].clone();
    assert!(!text.as_str().unwrap().contains(run.id()), "{text}");
    long.end_by(Signal::INT).0.expect(130);
    runner.run(&["wait", run.id()]).expect(0);
    second.finish().expect(0);
    assert_eq!(run.rows().len(), 3);
    assert_consistent(&runner);
}

#[test]
fn waiting_resume_has_an_id_at_once() {
    let (runner, long) = blocked();
    runner.exec(&["--timeout", "1ms"]).expect(4);
    let run = runner.runs().pop().unwrap();
    let resume = ["resume", run.id(), "--timeout", "1m"];
    assert_eq!(detached(&runner, &resume).id(), run.id());
    assert_waits(&runner, &run);
    runner.run(&resume).expect(6).says(&[run.id()]);
    worked_on(&run).signal(Signal::KILL);
    runner.run(&["wait", run.id()]).expect(4);
    let shown = runner.show(&run)["run"].clone();
    assert_eq!([&shown["status"], &shown["reason"]], ["incomplete", "crashed"]);
    detached(&runner, &resume);
    long.end_by(Signal::INT).0.expect(130);
    runner.run(&["wait", run.id()]).expect(0);
    assert_eq!(run.ending()[0], "completed");
    let manifest = run.manifest();
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 3);
    assert_eq!(manifest["sessions"][1]["worked_ms"], 0.0, "{manifest}");
}

#[test]
fn stopped_rescore_that_waits_leaves_the_end_of_its_run() {
    let echo = r#"{ do = "echo", value = 1 }"#;
    let tests = tests(&format!("a | {echo} | equals = 1\nb | {echo} | equals = 9"));
    let runner = Runner::hostile(&format!("[gate]\npass_rate = 0.5\n{tests}"));
    runner.exec(&[]).expect(0);
    let (run, ending) = (runner.only_run(), runner.only_run().ending());
    let gate = run.manifest()["gate"].clone();
    let file = runner.path("scenario.toml");
    let changed = fs::read_to_string(&file).unwrap().replace("equals = 1", "equals = 2");
    fs::write(file, changed).unwrap();
    let long = block(&runner);
    let (running, _) = waiting(&runner, &["rescore", run.id()]);
    let mut events = running.end_by(Signal::TERM).0.expect(143).events();
    assert_eq!(events.pop().unwrap()["event"], "finished");
    assert!(
        events.iter().any(|event| event["text"] == "the session was stopped before it started")
    );
    assert_eq!((run.ending(), &run.manifest()["gate"]), (ending, &gate));
    long.end_by(Signal::INT).0.expect(130);
    runner.run(&["rescore", run.id()]).expect(1);
    assert_eq!(run.ending()[3], "failed");
    assert_consistent(&runner);
}

#[test]
fn waiting_run_can_be_stopped() {
    let (runner, mut long) = blocked();
    for (how, code, ending) in [
        ("INT", 130, ["incomplete", "interrupted", "SIGINT", "none"]),
        ("stop", 4, ["incomplete", "stopped", "", "none"]),
        ("cancel", 4, ["cancelled", "cancelled", "", "none"]),
    ] {
        let (running, run) = waiting(&runner, &["exec", "scenario.toml"]);
        let ran = match how {
            "INT" => running.end_by(Signal::INT).0,
            _ => {
                runner.run(&[how, run.id(), "--reason", "later"]).expect(0);
                running.finish()
            }
        };
        let finished = ran.expect(code).events().pop().unwrap();
        assert_eq!(finished["event"], "finished");
        assert_eq!(run.ending(), ending);
        assert!(run.manifest()["completed_at"].is_string());
        assert!(how == "INT" || run.manifest()["message"] == "later");
        assert!(run.rows().is_empty());
        let resume: &[&str] = match how {
            "cancel" => &["resume", run.id(), "--force"],
            _ => &["resume", run.id()],
        };
        runner.run(resume).expect(0);
        assert_eq!(run.rows().len(), 3);
    }
    assert!(long.is_alive());
}

#[test]
fn waiting_run_can_be_paused() {
    let (runner, long) = blocked();
    let (mut running, run) = waiting(&runner, &["exec", "scenario.toml"]);
    running.process().signal(Signal::TSTP);
    wait_until("it is stopped", || running.process().is_stopped());
    assert!(run.manifest()["sessions"][0]["pauses"][0]["to"].is_null());
    running.process().signal(Signal::CONT);
    running.wait_for_event(|event| event["event"] == "unpaused");
    runner.run(&["pause", run.id()]).expect(0);
    long.end_by(Signal::INT).0.expect(130);
    assert_waits(&runner, &run);
    assert!(runner.show(&run)["run"]["paused"]["by"].is_object());
    runner.run(&["unpause", run.id()]).expect(0);
    running.finish().expect(0);
    let pauses = run.manifest()["sessions"][0]["pauses"].clone();
    let pauses = pauses.as_array().unwrap();
    assert!(pauses.len() == 2 && pauses.iter().all(|pause| pause["to"].is_string()));
    assert_eq!(run.rows().len(), 3);
}

#[test]
fn waiting_run_continues_however_soon_sigcont_comes() {
    let (runner, long) = blocked();
    let (running, run) = waiting(&runner, &["exec", "scenario.toml"]);
    for gap in [0, 1, 5, 10, 19, 30, 60] {
        running.process().signal(Signal::TSTP);
        // The time between both signals is what the test varies.
        thread::sleep(Duration::from_millis(gap));
        running.process().signal(Signal::CONT);
        // A frozen process answers neither.
        wait_until("it answers", || runner.run(&["pause", run.id()]).code == Some(0));
        wait_until("it answers again", || runner.run(&["unpause", run.id()]).code == Some(0));
    }
    long.end_by(Signal::INT).0.expect(130);
    running.finish().expect(0);
    assert_eq!(run.rows().len(), 3);
}

#[test]
fn waiting_group_ends_as_a_whole() {
    let (runner, long) = blocked();
    let group = ["exec", "scenario.toml", "scenario.toml"];
    let (running, _) = waiting(&runner, &group);
    let runs = runner.runs();
    for run in &runs[1..] {
        assert_waits(&runner, run);
    }
    running.end_by(Signal::TERM).0.expect(143);
    for run in &runs[1..] {
        assert_eq!(run.ending()[..2], ["incomplete", "interrupted"]);
    }
    let id = runs[1].manifest()["group"]["id"].clone();
    let resume = ["resume", id.as_str().unwrap()];
    let (running, run) = waiting(&runner, &resume);
    assert_eq!(run.id(), runs[1].id());
    long.end_by(Signal::INT).0.expect(130);
    let events = running.finish().expect(0).events();
    let finished = |event: &&Value| event["event"] == "finished";
    assert_eq!(events.iter().filter(finished).count(), 2);
    assert_consistent(&runner);
}

#[test]
fn one_run_has_the_root_alone() {
    let (runner, long) = blocked();
    let waiting: Vec<_> = (0..3).map(|_| waiting(&runner, &["exec", "scenario.toml"])).collect();
    long.end_by(Signal::INT).0.expect(130);
    let mut spans = Vec::new();
    for (running, run) in waiting {
        running.finish().expect(0);
        let session = run.manifest()["sessions"][0].clone();
        let time = |key: &str| session[key].as_str().unwrap().to_owned();
        spans.push((time("started_at"), time("ended_at")));
    }
    spans.sort();
    assert!(spans.is_sorted_by(|one, next| one.1 <= next.0), "{spans:?}");
}

#[test]
fn wait_for_a_deleted_run_ends() {
    let runner = Runner::endless(1, "loop", "");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    let run = runner.only_run();
    let mut waits = runner.started(&["wait", "--json"]);
    waits.wait_for_event(|event| event["event"] == "progress");
    // The run writes `live.json` meanwhile.
    wait_until("the run is gone", || std::fs::remove_dir_all(&run.dir).is_ok());
    snapshot(&waits.finish().expect(2));
    running.end_by(Signal::INT).0.expect(7).says(&["removed the run"]);
    assert!(!run.dir.exists());
}
