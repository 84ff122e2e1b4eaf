//! Outcomes of trials: every expectation, and every way in which a guest can end.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    run::Run,
    runner::{Runner, tests},
    truth::assert_consistent,
    wait::wait_until,
};

/// Runs tests on the hostile guest.
#[track_caller]
fn run(table: &str, code: i32) -> (Runner, Run) {
    let runner = Runner::hostile(&tests(table));
    runner.exec(&[]).expect(code);
    assert_consistent(&runner);
    let run = runner.only_run();
    (runner, run)
}

/// Fails unless the row is an error of this class with this text in its message or standard error.
#[track_caller]
fn assert_error(row: &Value, class: &str, message: &str) {
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!(class)),
        "{row}"
    );
    let [text, stderr] =
        ["message", "stderr"].map(|key| row["error"][key].as_str().unwrap_or_default());
    let text = text.to_owned() + stderr;
    assert!(text.contains(message), "`{message}` is not in `{text}`");
    let is_visible = |char: char| !char.is_control() || char == '\n' || char == '\t';
    assert!(text.chars().all(is_visible), "{text:?} cannot be read");
    assert!(text.len() < 2_000, "{} bytes", text.len());
}

#[test]
fn every_end_has_its_class() {
    let cases = [
        ("trap", "trap", "unreachable"),
        ("panic", "trap", "the guest's own words"),
        ("divide", "trap", "divide by zero"),
        ("recurse", "trap", "the guest trapped"),
        ("grow-memory", "out-of-memory", "256"),
        ("invalid-json", "protocol", "not JSON"),
        ("nan-score", "protocol", "score"),
        ("infinite-metric", "protocol", "m"),
        ("exit", "protocol", "exited"),
        ("say-stopped", "protocol", "stop"),
        ("unheard-of", "invalid-input", "cannot do `unheard-of`"),
    ];
    let table: String =
        cases.iter().map(|(what, ..)| format!("{what} | {{ do = \"{what}\" }} |\n")).collect();
    let (_runner, run) = run(&table, 1);
    for (what, class, message) in cases {
        let row = run.row(what);
        assert_error(&row, class, message);
        assert_eq!(row.get("output"), None, "{row}");
    }
    assert_eq!(run.count("error"), cases.len() as u64);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
}

#[test]
fn nothing_is_granted_by_default() {
    let (_runner, run) = run(
        r#"
        environment | { do = "environment" } | equals = { variables = 0, root = false }
        socket      | { do = "open-socket" } | equals = true
        file        | { do = "names" }       | equals = []
        "#,
        0,
    );
    let denied = run.row("socket")["denied"][0]["what"].to_string();
    assert!(denied.contains("a socket"), "{denied}");
}

#[test]
fn running_guests_show_their_wait() {
    let runner = Runner::hostile(&tests(
        r#"
        says  | { do = "log", ms = 3_600_000 } |
        waits | { do = "sleep" }               |
        "#,
    ));
    let running = runner.start(&["-j", "2"]);
    let mut told = Vec::new();
    wait_until("what both guests do", || {
        let live = runner.runs().pop().map(|run| run.dir.join("live.json"));
        let live = live.and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let live: Value = serde_json::from_slice(&live).unwrap_or_default();
        let in_flight = live["in_flight"].as_array().cloned().unwrap_or_default();
        assert!(in_flight.iter().all(|attempt| attempt["since"].is_string()), "{live}");
        let step = |attempt: &Value| json!([attempt["phase"], attempt["what"]]);
        told = in_flight.iter().map(step).collect();
        told.sort_by_key(Value::to_string);
        told == [json!(["waiting", "50 % half way"]), json!(["waiting", "sleep"])]
    });
    running.kill();
}
