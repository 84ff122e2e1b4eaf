//! How often and how long a trial is attempted: retries, backoff and deadlines.
//!
//! Of time only lower bounds are asserted: a busy machine may take as long as it likes.

use serde_json::{Value, json};

use crate::support::{
    runner::{Run, Runner},
    spans::spans,
};

fn attempts(run: &Run, test: &str) -> Vec<Value> {
    let mut rows = run.rows();
    rows.retain(|row| row["test"] == test);
    rows.sort_by_key(|row| row["attempt"].as_u64());
    rows
}

#[test]
fn a_trial_that_passes_after_a_retry_is_flaky_and_each_attempt_has_its_row() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "flaky"
        input = { do = "fail-until", attempt = 3 }
        retries = { max = 5, backoff = "60ms" }
        "#,
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = attempts(&run, "flaky");
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                &row["attempt"],
                &row["final"],
                &row["outcome"],
                &row["flaky"],
            ]
        })
        .collect();
    assert_eq!(
        json!(told),
        json!([
            [1, false, "error", null],
            [2, false, "error", null],
            [3, true, "passed", true]
        ])
    );
    assert_eq!(run.manifest()["counts"]["flaky"], 1);
    assert_eq!(run.manifest()["counts"]["error"], 0);

    // The backoff doubles; starts are known to a millisecond.
    let spans = spans(&rows);
    assert!(spans[1].start - spans[0].start >= 59.0);
    assert!(spans[2].start - spans[1].start >= 119.0);
}

#[test]
fn only_the_classes_that_are_listed_are_retried() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "denied"
        input = { do = "error", kind = "denied" }
        retries = { max = 2 }
        [[tests]]
        id = "unavailable"
        input = { do = "error", kind = "unavailable" }
        retries = { max = 2 }
        [[tests]]
        id = "trap"
        input = { do = "trap" }
        retries = { max = 1, on = ["trap"] }
        [[tests]]
        id = "timeout"
        input = { do = "loop" }
        timeout = "50ms"
        retries = { max = 1, on = ["timeout"] }
        [[tests]]
        id = "failed"
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        retries = { max = 2, on = ["trap", "timeout", "other"] }
        [[tests]]
        id = "expected"
        input = { do = "trap" }
        expect = { error = "trap" }
        retries = { max = 2, on = ["trap"] }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, number, outcome) in [
        ("denied", 1, "error"),
        ("unavailable", 3, "error"),
        ("trap", 2, "error"),
        ("timeout", 2, "timeout"),
        ("failed", 1, "failed"),
        ("expected", 1, "passed"),
    ] {
        let rows = attempts(&run, test);
        assert_eq!(rows.len(), number, "{test}");
        let finals: Vec<_> = rows
            .iter()
            .map(|row| row["final"].as_bool().unwrap())
            .collect();
        assert_eq!(
            finals.iter().filter(|is_final| **is_final).count(),
            1,
            "{test}"
        );
        let last = rows.last().unwrap();
        assert_eq!(
            (&last["final"], &last["outcome"]),
            (&json!(true), &json!(outcome)),
            "{test}"
        );
    }
}

#[test]
fn a_guest_that_says_when_to_come_back_is_not_asked_before() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "limited"
        input = { do = "error", kind = "rate-limited", retry_after = 200 }
        retries = { max = 1, backoff = "1ms" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let spans = spans(&attempts(&runner.only_run(), "limited"));
    assert_eq!(spans.len(), 2);
    assert!(spans[1].start - spans[0].start >= 199.0);
}

#[test]
fn each_deadline_that_fires_is_named() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.free]
        plugin = "hostile.wasm"
        [providers.capped]
        plugin = "hostile.wasm"
        limits = { time = "80ms" }
        [[tests]]
        id = "attempt"
        input = { do = "loop" }
        timeout = "60ms"
        [[tests]]
        id = "provider"
        input = { do = "loop" }
        timeout = "5s"
        providers = ["capped"]
        [[tests]]
        id = "trial"
        input = { do = "sleep" }
        trial_timeout = "50ms"
        "#,
    );
    runner.exec(&["--provider", "capped"]).expect(1);
    let codes = |run: &Run| -> Value {
        ["attempt", "provider", "trial"]
            .map(|test| run.row(test)["error"]["code"].clone())
            .into()
    };
    let run = runner.only_run();
    assert_eq!(
        codes(&run),
        json!(["timeout", "limits.time", "trial_timeout"])
    );
    let message = run.row("provider")["error"]["message"].clone();
    assert_eq!(
        message,
        "no reply within 80ms, set by the provider's `limits.time = \"80ms\"`"
    );

    runner
        .exec(&["--provider", "capped", "--limit", "time=20ms"])
        .expect(1);
    assert_eq!(
        codes(&runner.runs()[1]),
        json!(["limit-time", "limit-time", "limit-time"])
    );
}

#[test]
fn a_trial_timeout_bounds_all_attempts_and_no_backoff_crosses_it() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "together"
        input = { do = "loop" }
        timeout = "100ms"
        trial_timeout = "150ms"
        retries = { max = 9, on = ["timeout"] }
        [[tests]]
        id = "backoff"
        input = { do = "error", kind = "unavailable" }
        trial_timeout = "2s"
        retries = { max = 9, backoff = "1h" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let rows = attempts(&run, "together");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["error"]["code"], "timeout");
    assert_eq!(rows[1]["error"]["code"], "trial_timeout");
    assert_eq!(rows[1]["final"], true);
    assert_eq!(attempts(&run, "backoff").len(), 1);
    assert_eq!(run.row("backoff")["outcome"], "error");
}

#[test]
fn a_backoff_that_would_cross_the_runs_deadline_is_not_slept() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"error\", kind = \"unavailable\" }\nretries = { max = 3, backoff = \"10m\" }\n",
    );
    runner.exec(&["--timeout-minutes", "5"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_eq!(run.rows().len(), 1);
}

#[test]
fn the_runs_timeout_really_stops_and_records_what_was_begun() {
    let runner = Runner::hostile(
        "[run]\nmemory = \"1TiB\"\n[[tests]]\nid = \"endless\"\nrepeat = 9\ninput = { do = \"loop\" }\n",
    );
    let ran = runner
        .exec(&["-j", "3", "--timeout-minutes", "0.02"])
        .expect(4);
    ran.says(&[
        "the run's time is up",
        "incomplete (timeout)",
        "exit code 4",
    ]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    let rows = run.rows();
    assert_eq!(rows.len(), 3, "the others were never begun");
    assert!(
        rows.iter()
            .all(|row| row["outcome"] == "stopped" && row["final"] == false)
    );
    let counts = &run.manifest()["counts"];
    assert_eq!(
        (&counts["planned"], &counts["timeout"]),
        (&json!(9), &json!(0))
    );
}
