//! When attempts start: rates of providers, retries, and the tail of a run.

use rustix::process::Signal;
use serde_json::Value;

use super::{began, ended, in_order, two_providers};
use crate::support::{
    runner::Runner,
    server::{Response, Server},
    truth::assert_told_truly,
    wait::{wait_for, wait_until},
};

#[test]
fn rate_spaces_starts_of_provider() {
    let runner = two_providers(
        "rate = \"20/s\"",
        r#"
        [[tests]]
        id = "a"
        input = { do = "echo", value = 1 }
        repeat = 10
        [[tests]]
        id = "late"
        providers = ["hostile"]
        input = { do = "fail-until", attempt = 2 }
        retries = { max = 1 }
        "#,
    );
    runner.exec(&["-j", "4"]).expect(0);
    let rows = in_order(runner.only_run().rows());
    let starts = |provider: &str| {
        let rows = rows.iter().filter(|row| row["provider"] == provider);
        rows.map(began).collect::<Vec<_>>()
    };
    let (paced, free) = (starts("hostile"), starts("other"));
    // Ten trials, and a late one with two attempts: eleven gaps of 50 ms.
    assert_eq!((paced.len(), free.len()), (12, 10));
    let took = paced[11] - paced[0];
    assert!((520.0..10_000.0).contains(&took), "{paced:?}");
    for gap in paced.windows(2).map(|pair| pair[1] - pair[0]) {
        assert!(gap > 20.0, "{paced:?}");
    }
    assert!(free[9] < paced[9], "{free:?} {paced:?}");
    assert_told_truly(&runner);
}

#[test]
fn retry_after_is_waited_for() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "a"
        input = { do = "error", kind = "rate-limited", retry_after = 400 }
        retries = { max = 1, backoff = "10ms" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().rows_of("a");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["error"]["retry_after_ms"], 400);
    let gap = began(&rows[1]) - ended(&rows[0]);
    assert!((390.0..10_000.0).contains(&gap), "{gap}");
}

#[test]
fn backoff_doubles_before_each_retry() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "a"
        input = { do = "fail-until", attempt = 4 }
        retries = { max = 3, backoff = "60ms" }
        "#,
    );
    runner.exec(&[]).expect(0);
    let rows = runner.only_run().rows_of("a");
    let gaps: Vec<f64> = rows.windows(2).map(|pair| began(&pair[1]) - ended(&pair[0])).collect();
    for (gap, least) in gaps.iter().zip([58.0, 118.0, 238.0]) {
        assert!(*gap > least, "{gaps:?}");
    }
    assert_eq!(gaps.len(), 3);
}

#[test]
fn only_named_errors_are_retried() {
    let runner = Runner::hostile(
        r#"
        [defaults]
        retries = { max = 1, on = ["trap", "timeout"] }
        [[tests]]
        id = "trap"
        input = { do = "trap" }
        [[tests]]
        id = "timeout"
        input = { do = "loop" }
        timeout = "50ms"
        [[tests]]
        id = "unavailable"
        input = { do = "error", kind = "unavailable" }
        [[tests]]
        id = "own"
        input = { do = "error", kind = "unavailable" }
        retries = { max = 2, on = ["unavailable"] }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, attempts) in [("trap", 2), ("timeout", 2), ("unavailable", 1), ("own", 3)] {
        assert_eq!(run.rows_of(test).len(), attempts, "{test}");
    }
}

#[test]
fn late_backoff_is_not_slept() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "a"
        input = { do = "error", kind = "unavailable" }
        retries = { max = 5, backoff = "1h" }
        trial_timeout = "10m"
        [[tests]]
        id = "b"
        input = { do = "error", kind = "unavailable", retry_after = 3600000 }
        retries = { max = 5 }
        "#,
    );
    runner.exec(&["--timeout", "30m"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("a")["attempt"], 1);
    assert_eq!(run.row("b")["attempt"], 1);
    let log = run.text("runner.log");
    for left_out in [
        "a@hostile#1 gets no retry: it would wait 60 min 0 s, beyond its `trial_timeout`",
        "b@hostile#1 gets no retry: it would wait 60 min 0 s, beyond the session's timeout",
    ] {
        assert!(log.contains(left_out), "{log}");
    }
    assert_eq!(run.ending()[0], "completed");
}

/// Returns the error of an attempt whose server is busy and sends this `Retry-After`.
fn error_of_busy_server(retry_after: &'static str) -> Value {
    let server = Server::start(move |_| Response::new(429).header("Retry-After", retry_after));
    let origin = server.origin();
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        r#"
        [providers.chat]
        plugin = "bundled:chat"
        config = {{ base_url = "{origin}/v1", model = "m", api_key_secret = "" }}
        grants = {{ net = ["{origin}"] }}
        [[tests]]
        id = "a"
        input = "hi"
        retries = {{ max = 1, on = ["rate-limited"], backoff = "1ms" }}
        "#
    ));
    runner.exec(&["--timeout", "10m"]).expect(1);
    runner.only_run().rows_of("a")[0]["error"].clone()
}

#[test]
fn every_retry_after_is_obeyed_or_reported() {
    for (retry_after, ms) in [
        ("Thu, 01 Jan 2026 00:00:00 GMT", Some(0)),
        // The retry is left out, because the run ends earlier.
        ("Fri, 01 Jan 2999 00:00:00 GMT", Some(u32::MAX)),
        ("99999999999999999999", Some(u32::MAX)),
        ("soon", None),
        ("-5", None),
    ] {
        let error = error_of_busy_server(retry_after);
        assert_eq!(error["class"], "rate-limited", "{error}");
        match ms {
            Some(ms) => assert_eq!(error["retry_after_ms"], ms, "{retry_after}: {error}"),
            None => {
                let message = error["message"].as_str().unwrap();
                let ignored = format!("`Retry-After: {retry_after}` is ignored");
                assert!(message.contains(&ignored), "{error}");
            }
        }
    }
}

#[test]
fn long_waits_are_shown_with_their_reason() {
    for (provider, repeat, input, shown) in [
        (
            "rate = \"1/h\"",
            2,
            "{ do = \"echo\", value = 1 }",
            "1 provider waits for the rate limit",
        ),
        ("", 1, "{ do = \"error\", kind = \"unavailable\" }", "1 trial waits for a retry"),
    ] {
        let test = format!(
            "[[tests]]\nid = \"a\"\nrepeat = {repeat}\ninput = {input}\nretries = {{ max = 1, backoff = \"1h\" }}\n"
        );
        let runner = Runner::hostile_with(provider, &test);
        let mut running = runner.started(&["exec", "scenario.toml", "--timeout", "9h", "-j", "1"]);
        wait_until("the wait is shown", || {
            assert!(running.is_alive());
            running.shown().contains(&format!("; {shown}, next start in "))
        });
        running.end_by(Signal::INT).0.expect(130);
    }
}

#[test]
fn network_providers_get_more_jobs() {
    let jobs = |grants: &str, more: &[&str]| {
        let runner = Runner::new(&[]);
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:echo\"\nlimits = {{ memory = \"16MiB\" }}\n{grants}\n[[tests]]\nid = \"a\"\n"
        ));
        runner.exec(more).expect(0);
        runner.only_run().manifest()["sessions"][0]["jobs"].as_u64().unwrap()
    };
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let net = "grants = { net = [\"http://127.0.0.1:1\"] }";
    assert_eq!(jobs("", &[]), cores);
    assert_eq!(jobs(net, &[]), cores.max(16));
    assert_eq!(jobs(net, &["-j", "3"]), 3);
    // Not more than fit the memory.
    assert_eq!(jobs(&format!("{net}\n[run]\nmemory = \"64MiB\""), &[]), cores.max(4));
}

#[test]
fn show_lists_waiting_trials() {
    let runner = two_providers(
        "rate = \"1/h\"",
        r#"
        [[tests]]
        id = "a"
        providers = ["hostile"]
        input = { do = "echo", value = 1 }
        repeat = 3
        [[tests]]
        id = "b"
        providers = ["other"]
        input = { do = "error", kind = "unavailable" }
        retries = { max = 1, backoff = "10m" }
        "#,
    );
    let mut running = runner.start(&[]);
    running.wait_for_rows(2);
    let run = runner.only_run();
    let waiting = wait_for("trials wait", || {
        let waiting = runner.show(&run)["live"]["waiting"].clone();
        (waiting.as_array().is_some_and(|waiting| waiting.len() == 2)).then_some(waiting)
    });
    let told: Vec<_> = waiting
        .as_array()
        .unwrap()
        .iter()
        .map(|one: &Value| (one["trial"].as_str().unwrap(), one["why"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("b@other#1", "retry"), ("a@hostile#2", "rate-limit")]);
    let text = runner.run(&["show", run.id()]).expect(0).stdout;
    for line in ["b@other#1 waits for a retry", "a@hostile#2 waits for the rate of hostile"] {
        assert!(text.contains(line), "{text}");
    }
    let (ran, _) = running.end_by(Signal::INT);
    ran.expect(130);
    assert_told_truly(&runner);
}

#[test]
fn slow_trial_holds_no_other_back() {
    let runner = Runner::hostile(
        r#"
        [defaults]
        repeat = 300
        [[tests]]
        id = "before"
        input = { do = "echo", value = 1 }
        [[tests]]
        id = "slow"
        input = { do = "sleep", ms = 3000 }
        repeat = 1
        [[tests]]
        id = "behind"
        input = { do = "echo", value = 1 }
        "#,
    );
    runner.exec(&["-j", "2"]).expect(0);
    let run = runner.only_run();
    let slow = run.row("slow");
    let behind = run.rows_of("behind");
    assert_eq!(behind.len(), 300);
    let last = behind.iter().map(began).fold(0.0, f64::max);
    assert!(last < ended(&slow) - 500.0, "{last} {slow}");
}
