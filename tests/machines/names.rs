//! Workers that would have the same name: rows, lists and whoever sets a machine aside know a worker by it, so one alone has it.

use std::iter;

use serde_json::{Value, json};

use crate::{
    nats::{Engine, assert_whole, end, exec, exec_unread, log, wait_for_rows, worker, workers_of},
    peer::Peer,
    support::{
        runner::{CommandExt as _, Ran, Runner, Running, Signal},
        wait::{wait_for, wait_until},
    },
};

fn of_sleepers(trials: usize) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"sleeper\"\ninput = {{ do = \"sleep\", ms = 150 }}\nrepeat = {trials}\n"
    ))
}

/// The workers at an engine, as the program lists them.
fn listed(runner: &Runner, engine: &Engine) -> Vec<Value> {
    let listed = runner.run(&["worker", "list", "--json", &engine.url()]);
    let listed = listed.expect(0).document();
    listed["workers"].as_array().unwrap().clone()
}

#[track_caller]
fn wait_until_listed(runner: &Runner, engine: &Engine, name: &str) {
    wait_until("the worker is there", || {
        let workers = listed(runner, engine);
        workers.iter().any(|worker| worker["name"] == name)
    });
}

/// Fails unless a worker was refused because another process has its name, or claims it.
#[track_caller]
fn assert_refused(ran: Ran) -> Ran {
    let refused = ran.expect(2);
    refused.says(&[
        "a worker called `same` is at the engine at nats://",
        "already: pid ",
        ", host ",
        ", since 20",
        "another `--name`",
    ]);
    refused
}

#[test]
fn a_second_worker_of_a_name_is_refused_and_told_who_has_it() {
    let engine = Engine::start();
    let runner = of_sleepers(8);
    let first = worker(&runner, &engine, "same", &["-j2"]);
    wait_until_listed(&runner, &engine, "same");
    let second = worker(&runner, &engine, "same", &["-j2"]).finish();
    assert_refused(second).says(&[&format!("already: pid {}, host ", first.id())]);
    // A name that only begins like it is another.
    let other = worker(&runner, &engine, "same.2", &["-j2"]);
    wait_until_listed(&runner, &engine, "same.2");
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_whole(&runner, 8);
    assert_eq!(workers_of(&runner.only_run()), ["same", "same.2"]);
    // Whoever makes what it has begun is still there, and whoever has ended is not.
    end(first);
    let again = worker(&runner, &engine, "same", &["-j2"]);
    wait_until_listed(&runner, &engine, "same");
    for left in [other, again] {
        let said = end(left);
        assert!(said.contains("waits for runs"), "{said}");
    }
}

#[test]
fn of_workers_of_a_name_that_start_in_the_same_moment_one_goes_on() {
    let engine = Engine::start();
    let runner = of_sleepers(8);
    let mut started: Vec<_> = (0..6)
        .map(|_| worker(&runner, &engine, "same", &["-j2"]))
        .collect();
    wait_until("all others have ended", || {
        let alive = started.iter_mut().map(Running::is_alive);
        alive.filter(|is_alive| *is_alive).count() == 1
    });
    let at = started.iter_mut().position(Running::is_alive).unwrap();
    let only = started.remove(at);
    for refused in started {
        assert_refused(refused.finish());
    }
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_whole(&runner, 8);
    end(only);
}

#[test]
fn a_worker_that_was_killed_is_started_again_by_its_name_and_goes_on_with_the_run() {
    let engine = Engine::start();
    let runner = of_sleepers(80);
    let killed = worker(&runner, &engine, "same", &["-j2"]);
    let live = exec_unread(&runner, &engine);
    wait_for_rows(&runner, 4);
    killed.kill();
    // The run takes it, whether or not it has given up the one that was killed.
    let again = worker(&runner, &engine, "same", &["-j2"]);
    wait_until("it makes attempts again", || {
        let log = log(&runner.only_run());
        log.matches("worker same/1 makes attempts").count() == 2
    });
    live.finish().expect(0);
    assert_whole(&runner, 80);
    assert_eq!(workers_of(&runner.only_run()), ["same"]);
    end(again);
}

#[test]
fn a_worker_that_says_nothing_any_more_keeps_its_name_from_nobody() {
    let engine = Engine::start();
    let runner = of_sleepers(8);
    let stopped = worker(&runner, &engine, "same", &["-j2"]);
    wait_until_listed(&runner, &engine, "same");
    stopped.signal(Signal::STOP);
    let again = worker(&runner, &engine, "same", &["-j2"]);
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_whole(&runner, 8);
    end(again);
    stopped.signal(Signal::CONT);
    end(stopped);
}

#[test]
fn a_worker_without_a_name_makes_up_another_where_somebody_has_it() {
    let engine = Engine::start();
    let runner = of_sleepers(2);
    let mut peer = Peer::at(engine.port());
    peer.hear("runner.holding.*");
    let url = engine.url();
    let args = ["worker", "--engine", &url, "--store", "store"];
    let nameless = runner.command(&args).start();
    let first = wait_for("it claims a name", || peer.next());
    let holding = json!({ "holder": "somebody" });
    peer.say(first.reply.as_ref().unwrap(), "", &holding);
    let second = wait_for("it claims another name", || peer.next());
    assert_ne!(second.subject, first.subject);
    // Of the second name nobody says anything.
    wait_until("it is there", || listed(&runner, &engine).len() == 1);
    let more = iter::from_fn(|| peer.next());
    assert_eq!(more.count(), 0, "it has claimed a third name");
    let said = end(nameless);
    assert!(!said.contains("somebody"), "{said}");
}
