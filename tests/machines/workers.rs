//! Workers that come and go, and an engine that forgets.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    nats::{
        Engine, assert_whole, end, exec, exec_unread, finals, log, wait_for_rows, worker,
        workers_of,
    },
    support::{
        processes::{wait_for_workers, workers},
        random::Random,
        runner::{CommandExt as _, Runner, Signal},
        truth::{self, every_kind},
    },
};

/// A scenario of so many trials that each take so long.
fn of_sleepers(trials: usize, milliseconds: u64) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"sleeper\"\ninput = {{ do = \"sleep\", ms = {milliseconds} }}\nrepeat = {trials}\n"
    ))
}

/// A scenario with trials of every kind that is the same on every machine, and with so many naps that several have a part.
pub(crate) fn of_every_kind(naps: usize) -> Runner {
    let runner = every_kind();
    let repeat = format!("repeat = {naps}");
    let text = truth::scenario("poison_after = 0").replace("repeat = 6", &repeat);
    runner.scenario(&format!(
        "{text}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"
    ));
    runner
}

/// What the only scenario comes to on one machine.
pub(crate) fn on_one_machine(runner: &Runner) -> BTreeMap<String, Value> {
    let ran = runner.exec(&["--results", "alone", "--jobs", "50"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let alone = fs_err::read_dir(runner.path("alone")).unwrap();
    let mut alone = alone.map(|entry| entry.unwrap().path());
    let alone = alone.find(|path| path.join("benchmark.json").exists());
    truth::canonical(&runner.run_at(alone.unwrap().to_str().unwrap()))
}

#[test]
fn a_run_over_two_workers_comes_to_what_it_comes_to_on_one_machine() {
    let engine = Engine::start();
    let runner = of_every_kind(200);
    let expected = on_one_machine(&runner);
    let workers = ["one", "two"].map(|name| worker(&runner, &engine, name, &["-j2"]));
    exec(&runner, &engine, &[]).finish().expect(1);
    let spread = runner.only_run();
    assert_whole(&runner, expected.len());
    truth::assert_same_end(&spread, &expected);
    let said = workers.map(end);
    assert_eq!(workers_of(&spread), ["one", "two"], "{said:#?}");
    runner.assert_valid("row", &spread.lines());
    runner.assert_valid("benchmark", &[spread.manifest()]);
    let page = runner.run(&["show", "latest", "keeps-a-file@hostile#1"]);
    let page = page.expect(0).stdout;
    for part in ["notes.txt", "by", "worker "] {
        assert!(page.contains(part), "{page}");
    }
    for said in said {
        assert!(said.contains("makes attempts of"), "{said}");
        assert!(said.contains("is done with"), "{said}");
        assert!(!said.contains("makes no attempts"), "{said}");
    }
}

/// Whoever has a part in a run is killed again and again: the process of a worker, a worker, the engine with all that it has
/// kept, and the run itself.
#[test]
fn a_fleet_of_which_everything_is_killed_comes_to_the_same() {
    const ROUNDS: usize = 12;

    let mut engine = Engine::start();
    let runner = of_every_kind(200);
    let expected = on_one_machine(&runner);
    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    let mut random = Random(14);
    let mut names = 0..;
    let mut next = |engine: &Engine| {
        let name = format!("w{}", names.next().unwrap());
        worker(&runner, engine, &name, &["-j2"])
    };
    let mut fleet = vec![next(&engine), next(&engine)];
    let mut live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 1);
    for _ in 0..ROUNDS {
        thread::sleep(Duration::from_millis(200 + random.below(600)));
        let victim = usize::try_from(random.below(2)).unwrap();
        match random.below(5) {
            0 | 1 => {
                for process in workers(fleet[victim].id()) {
                    process.signal(Signal::KILL);
                }
            }
            2 => {
                fleet.remove(victim).kill();
                fleet.push(next(&engine));
            }
            3 => {
                engine.kill();
                engine.wipe();
                engine.start_again();
            }
            _ => {
                live.kill();
                live = runner.command(&resume).start();
            }
        }
    }
    let ran = live.finish();
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    assert_whole(&runner, expected.len());
    truth::assert_same_end(&runner.only_run(), &expected);
}

#[test]
fn a_worker_that_is_killed_costs_work_and_no_row() {
    let engine = Engine::start();
    let runner = of_sleepers(60, 150);
    let killed = worker(&runner, &engine, "killed", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    let stays = worker(&runner, &engine, "stays", &["-j2"]);
    killed.kill();
    live.finish().expect(0);
    assert_whole(&runner, 60);
    assert_eq!(workers_of(&runner.only_run()), ["killed", "stays"]);
    end(stays);
}

#[test]
fn a_process_of_a_worker_that_dies_is_replaced_and_its_attempts_are_made_again() {
    let engine = Engine::start();
    let runner = of_sleepers(40, 150);
    let only = worker(&runner, &engine, "only", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    let processes = workers(only.id());
    assert!(!processes.is_empty());
    // One that dies at once is not started for ever.
    thread::sleep(Duration::from_secs(1));
    for process in &processes {
        process.signal(Signal::KILL);
    }
    live.finish().expect(0);
    assert_whole(&runner, 40);
    let said = end(only);
    assert!(said.contains("a process has ended: signal: 9"), "{said}");
}

#[test]
fn a_worker_that_is_stopped_for_a_while_is_given_up_and_what_it_says_later_is_dropped() {
    let engine = Engine::start();
    let runner = of_sleepers(60, 200);
    let stopped = worker(&runner, &engine, "stopped", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    let processes = workers(stopped.id());
    stopped.signal(Signal::STOP);
    for process in &processes {
        process.signal(Signal::STOP);
    }
    let stays = worker(&runner, &engine, "stays", &["-j2"]);
    thread::sleep(Duration::from_secs(8));
    stopped.signal(Signal::CONT);
    for process in &processes {
        process.signal(Signal::CONT);
    }
    live.finish().expect(0);
    assert_whole(&runner, 60);
    assert_eq!(workers_of(&runner.only_run()), ["stays", "stopped"]);
    end(stays);
    drop(stopped);
}

#[test]
fn a_run_that_is_stopped_for_longer_than_workers_wait_goes_on_with_them() {
    let engine = Engine::start();
    // Each so long that none lies ready with a worker: what is left when the run is stopped is made afterwards.
    let runner = of_sleepers(100, 200);
    let expected = on_one_machine(&runner);
    let fleet = ["one", "two"].map(|name| worker(&runner, &engine, name, &["-j2"]));
    let live = exec_unread(&runner, &engine);
    wait_for_rows(&runner, 5);
    live.signal(Signal::STOP);
    let before = finals(&runner.only_run());
    assert!(before < 50, "it was as good as over");
    // They wait for fifteen seconds.
    thread::sleep(Duration::from_secs(20));
    live.signal(Signal::CONT);
    let began = Instant::now();
    let ran = live.finish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    assert_whole(&runner, expected.len());
    let run = runner.only_run();
    truth::assert_same_end(&run, &expected);
    for said in fleet.map(end) {
        // It has given the run up, and come again.
        assert!(
            said.matches("makes attempts of").count() > 1,
            "{said}\n{}",
            log(&run)
        );
    }
}

#[test]
fn a_worker_that_is_asked_to_end_makes_what_it_has_begun() {
    let engine = Engine::start();
    let runner = of_sleepers(12, 1_500);
    let leaves = worker(&runner, &engine, "leaves", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_workers(leaves.id(), 2);
    wait_for_rows(&runner, 2);
    let said = end(leaves);
    assert!(said.contains("makes what it has begun"), "{said}");
    let stays = worker(&runner, &engine, "stays", &["-j6"]);
    live.finish().expect(0);
    assert_whole(&runner, 12);
    let run = runner.only_run();
    // Nothing was lost, so that no attempt was made again.
    let attempts = run.lines();
    let again = attempts.iter().filter(|row| row.get("attempt").is_some());
    assert_eq!(again.count(), 0, "{attempts:#?}");
    assert_eq!(workers_of(&run), ["leaves", "stays"]);
    end(stays);
}

#[test]
fn an_engine_that_is_killed_and_has_lost_everything_costs_no_row() {
    let mut engine = Engine::start();
    let runner = of_sleepers(80, 100);
    let first = worker(&runner, &engine, "first", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    engine.kill();
    engine.wipe();
    thread::sleep(Duration::from_secs(1));
    engine.start_again();
    // What this one needs is put there again.
    let second = worker(&runner, &engine, "second", &["-j2"]);
    live.finish().expect(0);
    assert_whole(&runner, 80);
    assert_eq!(workers_of(&runner.only_run()), ["first", "second"]);
    end(first);
    end(second);
}

#[test]
fn a_run_without_workers_waits_and_says_so() {
    let engine = Engine::start();
    let runner = of_sleepers(4, 10);
    let url = engine.url();
    let live = exec(&runner, &engine, &[]);
    thread::sleep(Duration::from_secs(5));
    let listed = runner.run(&["worker", "list", &url]).expect(0);
    listed.says(&["no worker is there", "would have workers: "]);
    let late = worker(&runner, &engine, "late", &[]);
    let ran = live.finish().expect(0);
    ran.says(&["no worker makes attempts", "runner worker --engine"]);
    assert_whole(&runner, 4);
    let listed = runner.run(&["worker", "list", "--json", &url]).expect(0);
    let listed = listed.document();
    assert_eq!(listed["workers"][0]["name"], "late");
    assert_eq!(listed["workers"][0]["run"], serde_json::Value::Null);
    end(late);
}

#[test]
fn what_is_stopped_is_gone_on_with_by_one_machine_and_by_workers_again() {
    let engine = Engine::start();
    let runner = of_sleepers(60, 100);
    let only = worker(&runner, &engine, "only", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(runner.only_run().manifest()["status"], "incomplete");

    let mut live = runner
        .command(&["resume", "--from", "latest", "--json"])
        .start();
    live.wait_for(|event| event["counts"]["passed"].as_u64() > Some(20));
    live.end_by(Signal::INT).0.expect(130);

    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    runner.run(&resume).expect(0);
    assert_whole(&runner, 60);
    assert_eq!(workers_of(&runner.only_run()), ["here", "only"]);
    end(only);
}

#[test]
fn workers_go_on_with_a_run_whose_process_was_killed() {
    let engine = Engine::start();
    let runner = of_sleepers(50, 100);
    let only = worker(&runner, &engine, "only", &["-j2"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 5);
    live.kill();
    let url = engine.url();
    let resume = ["resume", "--from", "latest", "--engine", &url];
    runner.run(&resume).expect(0);
    assert_whole(&runner, 50);
    assert_eq!(workers_of(&runner.only_run()), ["only"]);
    end(only);
}

#[test]
fn no_more_attempts_run_at_once_than_were_asked_for() {
    let engine = Engine::start();
    let runner = of_sleepers(12, 200);
    let only = worker(&runner, &engine, "only", &["-j6"]);
    let mut live = exec(&runner, &engine, &["--jobs", "2"]);
    let mut most = 0;
    while let Some(event) = live.next_event(|_| true) {
        most = most.max(event["running"].as_u64().unwrap_or(0));
    }
    live.finish().expect(0);
    assert_eq!(most, 2);
    end(only);
}
