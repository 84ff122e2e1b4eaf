//! An engine that forgets, and what was put there by others: whatever it has lost or mixed up costs work, and no row.

use serde_json::json;

use crate::{
    nats::{
        Engine, assert_whole, end, exec, exec_unread, has_joined, wait_for_rows, worker, workers_of,
    },
    peer::Peer,
    support::{
        runner::{Runner, tests},
        wait::wait_until,
    },
};

/// The stream in which blobs are.
const BLOBS: &str = "OBJ_runner-blobs";

fn of_sleepers(trials: usize) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"sleeper\"\ninput = {{ do = \"sleep\", ms = 100 }}\nrepeat = {trials}\n"
    ))
}

/// Runs with one worker, does something to the engine meanwhile, and lets another one come, which has nothing yet.
fn goes_on_with_a_second_worker(mut engine: Engine, harm: impl FnOnce(&mut Engine)) {
    let runner = of_sleepers(100);
    let first = worker(&runner, &engine, "first", &["-j2"]);
    let live = exec_unread(&runner, &engine);
    wait_for_rows(&runner, 5);
    harm(&mut engine);
    let second = worker(&runner, &engine, "second", &["-j2"]);
    wait_until("the second worker makes attempts", || {
        has_joined(&runner, "second")
    });
    live.finish().expect(0);
    assert_whole(&runner, 100);
    assert_eq!(workers_of(&runner.only_run()), ["first", "second"]);
    let said = end(second);
    assert!(!said.contains("makes no attempts"), "{said}");
    end(first);
}

#[test]
fn an_engine_whose_store_is_removed_under_it_gets_again_what_is_needed() {
    goes_on_with_a_second_worker(Engine::start(), |engine| engine.wipe());
}

#[test]
fn an_engine_whose_store_goes_back_to_what_it_was_gets_again_what_is_needed() {
    let mut engine = Engine::start();
    // There is a store, and another run's blobs are in it.
    let other = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let helper = worker(&other, &engine, "helper", &[]);
    exec(&other, &engine, &[]).finish().expect(0);
    end(helper);
    engine.kill();
    engine.keep_store();
    engine.start_again();
    goes_on_with_a_second_worker(engine, |engine| {
        engine.kill();
        engine.roll_back();
        engine.start_again();
    });
}

#[test]
fn a_blob_of_which_only_the_name_is_there_is_put_there_again() {
    goes_on_with_a_second_worker(Engine::start(), |engine| {
        // What whoever puts it there leaves if nothing of it reaches the disk but the end.
        let purge = json!({ "filter": "$O.runner-blobs.C.>" });
        let purged = Peer::at(engine.port()).ask_engine(&format!("STREAM.PURGE.{BLOBS}"), &purge);
        assert_eq!(purged["success"], true, "{purged}");
    });
}

#[test]
fn a_blob_that_is_something_else_is_put_there_again() {
    goes_on_with_a_second_worker(Engine::start(), |engine| {
        let mut peer = Peer::at(engine.port());
        let asked = json!({ "subjects_filter": "$O.runner-blobs.C.>" });
        let info = peer.ask_engine(&format!("STREAM.INFO.{BLOBS}"), &asked);
        let subjects = info["state"]["subjects"].as_object().unwrap();
        assert!(!subjects.is_empty(), "{info}");
        for subject in subjects.keys() {
            // Another piece behind the last one.
            peer.say(subject, "", &json!("something else"));
        }
    });
}

#[test]
fn an_attachment_without_a_byte_reaches_a_worker() {
    let list = tests("reads | { do = \"read-file\", name = \"empty\" } | equals = \"\"");
    let runner = Runner::hostile(&format!("{list}files = {{ empty = \"empty.txt\" }}\n"));
    runner.write("empty.txt", "");
    let engine = Engine::start();
    let only = worker(&runner, &engine, "only", &[]);
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_whole(&runner, 1);
    end(only);
}
