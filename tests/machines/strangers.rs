//! Runs and workers of other versions, which are played by the test.

use std::{iter, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    nats::{Engine, assert_whole, end, exec, log, worker},
    peer::Peer,
    support::{
        runner::{CommandExt as _, Runner, Running},
        wait::wait_until,
    },
};

/// Begins a run that would have workers, and hears how it says so.
fn offered(runner: &Runner, engine: &Engine, peer: &mut Peer) -> (Running, Value) {
    peer.hear("runner.offers");
    let live = exec(runner, engine, &[]);
    let mut offer = None;
    wait_until("it would have workers", || {
        offer = peer.next().map(|heard| heard.document());
        offer.is_some()
    });
    (live, offer.unwrap())
}

#[test]
fn a_worker_makes_no_attempts_of_a_run_of_another_version_and_both_are_told() {
    let engine = Engine::start();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let mut peer = Peer::at(engine.port());
    // What a run of this version says is made of what one has said.
    let (live, offer) = offered(&runner, &engine, &mut peer);
    live.kill();
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    let only = worker(&runner, &engine, "only", &[]);
    peer.hear("runner.join.*");
    for (key, other, says) in [
        ("version", json!("9.8.7"), "version 9.8.7 of the runner"),
        ("engine", json!("wasmtime 1.2.3"), "wasmtime 1.2.3"),
        ("v", json!(99), "version 99 of the language"),
    ] {
        let mut offer = offer.clone();
        assert_ne!(offer[key], Value::Null, "{offer}");
        offer[key] = other;
        offer["run"] = "steers\u{1b}[31m\nnews".into();
        offer["session"] = format!("0123456789abcdef0123456789abcde{}", says.len() % 10).into();
        let joins = format!("runner.join.{}", offer["session"].as_str().unwrap());
        let heard = peer.say_until("runner.offers", &offer, |heard| heard.subject == joins);
        let declined = heard.document();
        assert_eq!(
            (&declined["kind"], &declined["worker"]),
            (&json!("declined"), &json!("only"))
        );
        let reason = declined["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{reason}");
        peer.say(&heard.reply.unwrap(), "", &json!({ "ok": true }));
    }
    // It is there for whoever is of its version.
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_whole(&runner, 1);
    let said = end(only);
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(!said.contains("\nnews"), "{said}");
    for says in ["9.8.7", "wasmtime 1.2.3", "version 99"] {
        assert!(said.contains(says), "`{says}` is not in {said}");
    }
}

/// A process of a worker of this name, which would make attempts.
fn seat(name: &str) -> Value {
    let link = "0123456789abcdef0123456789abcdef";
    json!({ "kind": "seat", "name": name, "link": link, "slots": 1, "memory": 1 << 30 })
}

/// What is said before anybody hears it is lost, and said again only after half a second.
#[test]
fn a_worker_hears_before_it_asks_for_a_seat_and_a_run_before_it_grants_one() {
    let engine = Engine::start();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let mut peer = Peer::at(engine.port());
    // Here the test is a worker.
    let (live, offer) = offered(&runner, &engine, &mut peer);
    let joins = format!("runner.join.{}", offer["session"].as_str().unwrap());
    let seat = seat("peer/1");
    let link = |seat: &Value| format!("runner.link.{}", seat["link"].as_str().unwrap());
    assert!(!peer.is_heard(&format!("{}.up", link(&seat))));
    peer.hear("peer.answers");
    peer.say(&joins, "peer.answers", &seat);
    wait_until("it is answered", || {
        let answer = peer.next().filter(|heard| heard.subject == "peer.answers");
        answer.is_some_and(|answer| answer.document()["ok"] == true)
    });
    assert!(peer.is_heard(&format!("{}.up", link(&seat))));
    live.kill();
    // And here it is a run, which has put there what a worker needs before it was killed.
    let only = worker(&runner, &engine, "only", &[]);
    peer.hear(&joins);
    let asked = peer.say_until("runner.offers", &offer, |heard| {
        heard.subject == joins && heard.document()["kind"] == "seat"
    });
    assert!(peer.is_heard(&format!("{}.down", link(&asked.document()))));
    end(only);
}

/// The list of workers while somebody says to be one who is none.
fn said_by_a_stranger(runner: &Runner, engine: &Engine, peer: &mut Peer) -> String {
    let presence = json!({
        "v": 1, "version": "9.8.7", "worker": "stranger\u{1b}[31m\nnews", "host": "\u{1b}[2J\nnews", "cores": 1,
        "labels": { "\nnews": "\u{1b}[0m" }, "run": "\u{1b}[31m\nnews",
    });
    let url = engine.url();
    let mut list = runner.command(&["worker", "list", &url]).start();
    while list.is_alive() {
        peer.say("runner.workers", "", &presence);
        thread::sleep(Duration::from_millis(200));
    }
    list.finish().expect(0).stdout
}

#[test]
fn a_run_says_which_worker_is_of_another_version_and_waits_for_others() {
    let engine = Engine::start();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let mut peer = Peer::at(engine.port());
    let (live, offer) = offered(&runner, &engine, &mut peer);
    let joins = format!("runner.join.{}", offer["session"].as_str().unwrap());
    peer.hear("peer.answers");
    let reason = "the run is made by version 0.1.0 of the runner, and this is version 9.8.7";
    for body in [
        json!({ "kind": "declined", "worker": "newer", "reason": reason }),
        // What is said by nobody who could be a worker, or by a worker of some other time, is in nobody's way.
        json!({ "kind": "declined", "worker": "bad\u{1b}[31mname", "reason": "\u{1b}[2J" }),
        json!({ "kind": "seat", "name": "bad name", "link": "x", "slots": 0, "memory": 0 }),
        seat("bad\u{1b}[31m/1"),
        seat("bad\n/1"),
        seat("/1"),
        seat(""),
        seat("bad/1/1"),
        seat("bad"),
        seat(&format!("{}/1", "n".repeat(129))),
        json!({ "kind": "something-new" }),
        json!("nonsense"),
    ] {
        peer.say(&joins, "peer.answers", &body);
    }
    wait_until("it is told", || {
        runner
            .runs()
            .first()
            .is_some_and(|run| log(run).contains("newer"))
    });
    let answers = iter::from_fn(|| peer.next());
    let answers = answers.filter(|heard| heard.subject == "peer.answers");
    // Those that are messages at all, and what has no reason to be let in.
    let let_in = answers.filter(|answer| answer.document()["ok"] == true);
    assert_eq!(let_in.count(), 2);
    let listed = said_by_a_stranger(&runner, &engine, &mut peer);
    assert!(listed.contains("stranger"), "{listed}");
    assert!(!listed.contains('\u{1b}'), "{listed}");
    assert!(!listed.contains("\nnews"), "{listed}");
    let only = worker(&runner, &engine, "only", &[]);
    let ran = live.finish().expect(0);
    ran.says(&["worker newer cannot make attempts", "version 9.8.7"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    let log = log(&runner.only_run());
    assert!(!log.contains("worker bad"), "{log}");
    assert_whole(&runner, 1);
    end(only);
}
