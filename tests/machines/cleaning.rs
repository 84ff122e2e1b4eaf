//! What is left on an engine when runs have ended, in whichever way.

use crate::{
    nats::{Engine, end, exec, exec_unread, has_joined, wait_for_rows, worker},
    peer::Peer,
    support::{
        runner::{Runner, Running, Signal},
        wait::wait_until,
    },
};

fn of_sleepers(trials: usize, name: &str) -> Runner {
    Runner::hostile(&format!(
        "name = \"{name}\"\n[[tests]]\nid = \"{name}\"\ninput = {{ do = \"sleep\", ms = 100 }}\nrepeat = {trials}\n"
    ))
}

/// Removes what may go once it is so much, and fails if it never is.
fn clean(runner: &Runner, engine: &Engine, files: usize) {
    let url = engine.url();
    let clean = ["engine", "clean", "--older-than", "0s", &url];
    // It is known in seconds when something was put there.
    wait_until("all is old enough", || {
        let told = runner.run(&clean).expect(0).stdout;
        told.contains(&format!("would remove {files} file"))
    });
    let told = runner.run(&[&clean[..], &["--no-dry-run"]].concat());
    told.expect(0).prints(&format!("removed {files} file"));
}

/// Fails unless the engine has nothing left but empty streams that nobody reads.
#[track_caller]
fn assert_empty(engine: &Engine) {
    let mut peer = Peer::at(engine.port());
    let mut streams = Vec::new();
    wait_until("nobody reads any more", || {
        streams = peer.streams();
        streams.iter().all(|(_, _, consumers)| *consumers == 0)
    });
    assert!(streams.len() <= 1, "{streams:?}");
    assert!(
        streams.iter().all(|(_, messages, _)| *messages == 0),
        "{streams:?}"
    );
}

#[test]
fn whatever_ended_however_leaves_nothing_on_the_engine_once_it_is_cleaned() {
    let engine = Engine::start();
    let url = engine.url();
    type Ends = fn(&Runner, Running);
    let endings: [(&str, Ends); 4] = [
        ("completed", |_, live| drop(live.finish().expect(0))),
        ("interrupted", |runner, live| {
            wait_for_rows(runner, 2);
            live.end_by(Signal::INT).0.expect(130);
        }),
        ("killed", |runner, live| {
            wait_for_rows(runner, 2);
            live.kill();
        }),
        ("cancelled", |runner, live| {
            wait_for_rows(runner, 2);
            runner.run(&["stop", "latest"]).expect(0);
            live.finish();
        }),
    ];
    for (name, ends) in endings {
        let runner = of_sleepers(30, name);
        let only = worker(&runner, &engine, "only", &["-j2"]);
        let live = exec_unread(&runner, &engine);
        ends(&runner, live);
        // One that dies cannot tell.
        only.kill();
        if name == "killed" {
            // It is gone on with elsewhere, so that nothing needs what it has put there.
            runner
                .run(&["resume", "--from", "latest", "-j30"])
                .expect(0);
        }
    }
    // One plugin for all of them, and for each its tests and what it has stored of itself.
    let runner = of_sleepers(1, "cleans");
    clean(&runner, &engine, 9);
    assert_empty(&engine);
    let checked = runner.run(&["engine", "check", "--json", &url]).expect(0);
    assert_eq!(checked.document()["blobs"], 0);
}

#[test]
fn what_a_live_run_needs_stays_while_what_others_needed_goes() {
    let engine = Engine::start();
    let ended = of_sleepers(2, "ended");
    let only = worker(&ended, &engine, "only", &["-j2"]);
    exec(&ended, &engine, &[]).finish().expect(0);
    end(only);

    // As long as it is looked at.
    let alive = of_sleepers(5_000, "alive");
    let first = worker(&alive, &engine, "first", &["-j2"]);
    let live = exec_unread(&alive, &engine);
    wait_for_rows(&alive, 2);
    // The plugin is both runs'.
    clean(&ended, &engine, 2);
    let checked = alive.run(&["engine", "check", "--json", &engine.url()]);
    assert_eq!(checked.expect(0).document()["blobs"], 3);
    let second = worker(&alive, &engine, "second", &["-j2"]);
    wait_until("both make attempts", || {
        has_joined(&alive, "first") && has_joined(&alive, "second")
    });
    live.end_by(Signal::INT).0.expect(130);
    end(first);
    end(second);
}
