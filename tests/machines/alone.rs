//! A run that nobody makes attempts of: whoever looks at it is told that it waits for workers, and since when.

use serde_json::Value;

use crate::{
    nats::{Engine, assert_whole, end, exec, has_joined, worker},
    support::{
        runner::{Runner, Signal},
        wait::{wait_for, wait_until},
    },
};

/// What is told of the live run to a program that asks; nothing as long as there is none.
fn told(runner: &Runner) -> Option<Value> {
    runner.runs().first()?;
    let document = runner.run(&["show", "--json"]).expect(0).document();
    runner.assert_valid("show", std::slice::from_ref(&document));
    let live = document["live"].clone();
    live.is_object().then_some(live)
}

/// Since when the live run is without workers, once it says so.
#[track_caller]
fn wait_until_alone(runner: &Runner) -> String {
    wait_for("it says that it waits for workers", || {
        let since = told(runner)?["without_workers_since"].clone();
        since.as_str().map(str::to_owned)
    })
}

fn shown(runner: &Runner) -> String {
    runner.run(&["show"]).expect(0).stdout
}

#[test]
fn a_live_run_says_that_it_waits_for_workers_whenever_none_is_there() {
    let engine = Engine::start();
    let runner = Runner::hostile(
        "[[tests]]\nid = \"sleeper\"\ninput = { do = \"sleep\", ms = 500 }\nrepeat = 30\n",
    );
    let mut live = exec(&runner, &engine, &[]);
    let first = wait_until_alone(&runner);
    let says = "waiting   for workers: none is there since ";
    assert!(shown(&runner).contains(says), "{}", shown(&runner));
    live.wait_for(|event| event["waits_for_workers"] == true);
    // It goes on to say the same for as long as nothing changes.
    assert_eq!(wait_until_alone(&runner), first);

    let killed = worker(&runner, &engine, "killed", &["-j2"]);
    live.wait_for(|event| event["event"] == "row");
    assert!(has_joined(&runner, "killed"));
    let joined = told(&runner).unwrap();
    assert_eq!(joined["without_workers_since"], Value::Null, "{joined}");
    assert!(!shown(&runner).contains("for workers"));
    let said = live.wait_for(|event| event["event"] == "progress");
    assert_eq!(said.get("waits_for_workers"), None, "{said}");

    killed.kill();
    let second = wait_until_alone(&runner);
    assert!(second > first, "{first}, then {second}");
    assert!(shown(&runner).contains(says), "{}", shown(&runner));
    live.wait_for(|event| event["waits_for_workers"] == true);

    let last = worker(&runner, &engine, "last", &["-j8"]);
    wait_until("it says so no more", || {
        told(&runner).is_none_or(|live| live["without_workers_since"].is_null())
    });
    live.finish().expect(0);
    assert_whole(&runner, 30);
    end(last);
}

#[test]
fn a_run_that_is_stopped_waits_for_no_workers() {
    let engine = Engine::start();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let live = exec(&runner, &engine, &[]);
    wait_until_alone(&runner);
    live.end_by(Signal::INT).0.expect(130);
    assert!(!shown(&runner).contains("for workers"));
}
