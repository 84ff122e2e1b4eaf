//! What attempts say, read while they go on.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    processes::wait_for_workers,
    runner::{CommandExt as _, Runner, Signal},
    wait::{wait_for, wait_until},
};

/// One trial that says something and goes on for so long, in milliseconds.
fn talks_on(ms: u64) -> Runner {
    Runner::hostile_in_memory(&format!(
        r#"
        [defaults]
        timeout = "1h"
        [[tests]]
        id = "talks"
        input = {{ do = "log", ms = {ms} }}
        "#
    ))
}

/// What is said in the only trial, once there is anything.
fn said(runner: &Runner) -> Value {
    wait_for("something can be read", || {
        let ran = runner.run(&["logs", "latest", "talks", "--json"]);
        (ran.code == Some(0)).then(|| ran.document())
    })
}

fn live_files(runner: &Runner) -> Vec<String> {
    let names = fs_err::read_dir(&runner.only_run().dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("live-")).collect()
}

#[test]
fn what_an_attempt_says_is_read_while_it_goes_on_and_by_its_row_afterwards() {
    let runner = talks_on(600_000);
    let live = runner.start(&["--workers", "0"]);
    wait_until("the run is there", || runner.runs().len() == 1);
    let so_far = said(&runner);
    runner.assert_valid("logs", std::slice::from_ref(&so_far));
    let careful = json!([{ "fields": { "key": "value" }, "level": "warn", "message": "careful" }]);
    let attempt = &so_far["attempts"][0];
    assert_eq!(so_far["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(attempt["trial"], "talks@hostile#1");
    let (at, log) = timed(attempt);
    assert_eq!((&attempt["outcome"], log), (&Value::Null, careful.clone()));
    let text = runner.run(&["logs", "latest", "talks@*"]).expect(0).stdout;
    assert!(text.contains("not ended talks@hostile#1"), "{text}");
    assert!(text.contains("warn careful key=value"), "{text}");
    runner.run(&["logs", "latest", "other"]).expect(5);
    assert_eq!(live_files(&runner), ["live-0-1.jsonl"]);

    live.end_by(Signal::INT).0.expect(130);
    assert_eq!(live_files(&runner), Vec::<String>::new());
    let attempt = &said(&runner)["attempts"][0];
    let (still_at, log) = timed(attempt);
    assert_eq!((&attempt["outcome"], log), (&json!("stopped"), careful));
    assert_eq!(still_at, at);
    let row = &runner.only_run().rows()[0];
    let began: Timestamp = row["started_at"].as_str().unwrap().parse().unwrap();
    assert!(began <= at && at <= Timestamp::now(), "{began} {at}");
}

/// When the first record of an attempt's log came, and the log without that.
fn timed(attempt: &Value) -> (Timestamp, Value) {
    let mut log = attempt["log"].clone();
    let at = log[0].as_object_mut().unwrap().remove("at").unwrap();
    (at.as_str().unwrap().parse().unwrap(), log)
}

#[test]
fn what_an_attempt_says_is_followed_until_its_trial_has_ended() {
    let runner = Runner::hostile_in_memory(
        r#"
        [defaults]
        timeout = "1h"
        [[tests]]
        id = "says"
        input = { do = "log" }
        [[tests]]
        id = "talks"
        input = { do = "log", ms = 1500 }
        [[tests]]
        id = "goes-on"
        input = { do = "sleep" }
        "#,
    );
    let live = runner.start(&["-j", "1", "--workers", "0"]);
    wait_until("the run is there", || runner.runs().len() == 1);
    // It ends while the run goes on: its trials have ended.
    let followed = runner.run(&["logs", "latest", "*s", "-f"]).expect(0).stdout;
    let lines: Vec<_> = followed.lines().collect();
    let [says, first, said, talks, second, talked] = lines[..] else {
        panic!("{followed}");
    };
    assert_eq!((says, talks), ("says@hostile#1", "talks@hostile#1"));
    for line in [first, second] {
        // Behind the time of day.
        let (clock, record) = line.trim_start().split_once(' ').unwrap();
        assert!(clock.len() == "09:18:04.123".len(), "{line}");
        assert_eq!(record, "warn careful key=value");
    }
    assert!(said.starts_with("✓ passed says@hostile#1"), "{followed}");
    assert!(talked.starts_with("✓ passed talks@hostile#1"), "{followed}");
    runner
        .run(&["logs", "latest", "other", "-f"])
        .expect(5)
        .says(&["the nearest are"]);
    runner
        .run(&["logs", "latest", "says", "-f", "--json"])
        .expect(2);
    live.end_by(Signal::INT).0.expect(130);
    let ended = runner
        .run(&["logs", "latest", "goes-on", "-f"])
        .expect(0)
        .stdout;
    assert!(ended.starts_with("⊘ stopped goes-on@hostile#1"), "{ended}");
}

#[test]
fn what_is_said_in_a_worker_is_read_as_well() {
    let naps = "[[tests]]\nid = \"nap\"\nrepeat = 300\ninput = { do = \"sleep\", ms = 10 }\n";
    let talks = "[[tests]]\nid = \"talks\"\ninput = { do = \"log\", ms = 600000 }\n";
    let runner = Runner::hostile_in_memory(&format!("[defaults]\ntimeout = \"1h\"\n{naps}{talks}"));
    let mut live = runner.start(&["-j2", "--workers", "2"]);
    let with_workers = wait_for_workers(live.id(), 2);
    live.wait_for(|event| event["row"]["seq"] == 300);
    said(&runner);
    assert_eq!(live_files(&runner), ["live-300-1.jsonl"]);
    let mut open = with_workers.iter().flat_map(|worker| worker.open_files());
    assert!(open.any(|path| path.ends_with("live-300-1.jsonl")));
    live.end_by(Signal::INT).0.expect(130);
    assert_eq!(live_files(&runner), Vec::<String>::new());
}

#[test]
fn what_was_said_until_the_process_died_is_there_until_somebody_goes_on() {
    let runner = talks_on(3_000);
    let live = runner.start(&[]);
    wait_until("the run is there", || runner.runs().len() == 1);
    said(&runner);
    live.kill();
    assert_eq!(live_files(&runner), ["live-0-1.jsonl"]);
    let before = said(&runner);
    assert_eq!(before["attempts"][0]["outcome"], Value::Null);
    // Half of a line is what was being written.
    let run = runner.only_run();
    run.write(
        "live-0-1.jsonl",
        run.read("live-0-1.jsonl") + r#"{"log":{"le"#,
    );
    assert_eq!(said(&runner), before);
    run.write("live-7-1.jsonl", "no such file");
    assert_eq!(said(&runner), before);
    runner.run(&["verify"]).expect(0);

    runner.run(&["resume"]).expect(0);
    assert_eq!(live_files(&runner), Vec::<String>::new());
    let attempts = said(&runner)["attempts"].clone();
    let outcomes = attempts.as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["passed"]);
}

#[test]
fn where_there_are_secrets_nothing_is_written_before_an_attempt_has_ended() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [defaults]
        timeout = "1h"
        [providers.open]
        plugin = "hostile.wasm"
        [providers.secret]
        plugin = "hostile.wasm"
        grants = { secrets = ["KEY"] }
        [[tests]]
        id = "talks"
        input = { do = "log", ms = 600000 }
        "#,
    );
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j2"]);
    let mut live = command.env("KEY", "a secret value").start();
    live.wait_until_running(2);
    let talking = said(&runner);
    assert_eq!(talking["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(talking["attempts"][0]["trial"], "talks@open#1");
    live.end_by(Signal::INT).0.expect(130);
    assert_eq!(said(&runner)["attempts"].as_array().unwrap().len(), 2);
}
