//! When attempts start: rates of providers, retries, and the tail of a run.

use rustix::process::Signal;
use serde_json::Value;

use super::two_providers;
use crate::support::{
    runner::Runner,
    truth::assert_consistent,
    wait::{wait_for, wait_until},
};

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
    assert_consistent(&runner);
}
