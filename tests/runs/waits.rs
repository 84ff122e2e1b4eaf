//! What the attempts of a run are doing while it goes on, and what its trials wait for.

use serde_json::{Value, json};

use crate::support::{
    runner::{Runner, Signal},
    server::Server,
    wait::wait_until,
};

/// One of each: a guest that computes, one that sleeps, two that wait for a server that never answers, a trial that has to
/// be tried again, and one whose provider may begin few.
fn waiting_for_everything(server: &Server) -> Runner {
    let runner = Runner::new(&["hostile", "web"]);
    let (origin, url) = (server.origin(), server.url("/"));
    runner.scenario(&format!(
        r#"
        [providers]
        hostile = {{ plugin = "hostile.wasm" }}
        web = {{ plugin = "web.wasm", grants.net = ["{origin}"] }}
        slow = {{ plugin = "hostile.wasm", rate = "1/h" }}

        [[tests]]
        id = "loop"
        input = {{ do = "loop" }}
        providers = ["hostile"]
        [[tests]]
        id = "sleep"
        input = {{ do = "sleep" }}
        providers = ["hostile"]
        [[tests]]
        id = "send"
        input.requests = [{{ url = "{url}" }}]
        providers = ["web"]
        [[tests]]
        id = "wasi"
        input.requests = [{{ by = "wasi", url = "{url}" }}]
        providers = ["web"]
        [[tests]]
        id = "again"
        input = {{ do = "error", kind = "unavailable" }}
        retries = {{ max = 4, backoff = "1h", on = ["unavailable"] }}
        trial_timeout = "50h"
        providers = ["hostile"]
        [[tests]]
        id = "paced"
        input = {{ do = "echo", value = 1 }}
        repeat = 2
        providers = ["slow"]
        "#
    ));
    runner
}

fn live(runner: &Runner) -> Value {
    let document = runner.run(&["show", "--json"]).expect(0).document();
    runner.assert_valid("show", std::slice::from_ref(&document));
    document["live"].clone()
}

fn of<'a>(attempts: &'a Value, test: &str) -> &'a Value {
    let attempts = attempts.as_array().unwrap();
    let found = attempts.iter().find(|attempt| attempt["test"] == test);
    found.unwrap_or(&Value::Null)
}

#[track_caller]
fn assert_each_is_told(workers: &str) {
    let server = Server::raw(|_, wire| wire.wait_for_close());
    let runner = waiting_for_everything(&server);
    let args = ["-j", "8", "--workers", workers, "--timeout-minutes", "6000"];
    let mut running = runner.start(&args);
    running.wait_until_running(4);
    let mut seen = Value::Null;
    wait_until("all of them wait", || {
        seen = live(&runner);
        let in_flight = seen["in_flight"].as_array().unwrap();
        let waits = in_flight
            .iter()
            .filter(|attempt| attempt["what"].is_string());
        waits.count() == 3 && seen["waiting"].as_array().unwrap().len() == 2
    });
    let http = format!("http 127.0.0.1:{}", server.port());
    for (test, phase, what) in [
        ("loop", "computing", Value::Null),
        ("sleep", "host-call", json!("sleep")),
        ("send", "host-call", json!(http)),
        ("wasi", "host-call", json!(http)),
    ] {
        let attempt = of(&seen["in_flight"], test);
        assert_eq!(
            (&attempt["phase"], &attempt["what"]),
            (&json!(phase), &what)
        );
        assert_eq!(
            (&attempt["attempt"], &attempt["attempts"]),
            (&json!(1), &json!(1))
        );
        let (whole, part) = (&attempt["elapsed_ms"], &attempt["phase_elapsed_ms"]);
        assert!(
            part.as_f64().unwrap() <= whole.as_f64().unwrap(),
            "{attempt}"
        );
        assert!(attempt["since"].is_string(), "{attempt}");
    }
    let again = of(&seen["waiting"], "again");
    assert_eq!(
        (&again["why"], &again["attempt"], &again["attempts"]),
        (&json!("retry"), &json!(2), &json!(5))
    );
    let paced = of(&seen["waiting"], "paced");
    assert_eq!(
        (&paced["why"], &paced["repeat"], &paced["provider"]),
        (&json!("rate-limit"), &json!(2), &json!("slow"))
    );
    for waits in [again, paced] {
        let left = waits["left_ms"].as_f64().unwrap();
        assert!((3_000_000.0..=3_600_000.0).contains(&left), "{waits}");
    }

    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in [
        "loop@hostile#1 for ",
        ": computing\n",
        ": sleep",
        &format!(": {http}"),
        "waiting   again@hostile#1 (attempt 2 of 5): retry in ",
        "paced@slow#2: rate limit of slow in ",
    ] {
        assert!(shown.contains(text), "`{text}` is not in\n{shown}");
    }
    running.end_by(Signal::INT).0.expect(130);
    let document = runner.run(&["show", "--json"]).expect(0).document();
    assert_eq!(document["live"], Value::Null);
}

#[test]
fn what_attempts_do_and_trials_wait_for_is_told_while_a_run_goes_on() {
    assert_each_is_told("0");
}

#[test]
fn what_attempts_do_in_workers_is_told_as_well() {
    assert_each_is_told("2");
}

#[test]
fn of_a_runner_that_does_not_say_what_attempts_do_nothing_is_made_up() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "sleep"
        input = { do = "sleep" }
        "#,
    );
    let mut running = runner.start(&["-j", "1"]);
    running.wait_until_running(1);
    let path = runner.only_run().dir.join("inflight");
    let slots = fs_err::read(&path).unwrap();
    // As long as such a runner makes it.
    let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    wait_until("the phase is written and taken away", || {
        let has_phase = fs_err::read(&path).unwrap().len() > slots.len()
            || slots[128 * 1024..].iter().any(|byte| *byte != 0);
        file.set_len(128 * 1024).unwrap();
        has_phase
    });
    let attempt = &live(&runner)["in_flight"][0];
    assert_eq!(attempt["trial"], "sleep@hostile#1");
    assert_eq!(
        (&attempt["phase"], &attempt["what"]),
        (&Value::Null, &Value::Null)
    );
    running.kill();
    // What was in flight is known all the same.
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("\ndied with sleep@hostile#1\n"), "{shown}");
}
