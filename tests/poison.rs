//! Trials that were there whenever the process died.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    runner::{Run, Runner, Running, tests},
    truth::whole_rows,
};

/// How many deaths in a row make a trial a suspect, and how many more alone make it the culprit.
const DEATHS: usize = 3;

/// A scenario whose first trial does not end before the process does.
fn with_a_killer(run: &str) -> Runner {
    let list = tests(
        r#"
        killer | { do = "sleep" } |
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "sleep", ms = 30 } |
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    );
    Runner::hostile_in_memory(&format!("[run]\n{run}\n[defaults]\ntimeout = \"10m\"\n{list}"))
}

/// What the file of a run says is being executed: ordinals.
fn in_flight(run: &Run) -> Vec<u64> {
    let bytes = fs_err::read(run.dir.join("inflight")).unwrap_or_default();
    let slots = bytes.chunks_exact(16);
    slots
        .filter(|slot| slot.iter().any(|byte| *byte != 0))
        .map(|slot| u64::from_le_bytes(slot[..8].try_into().unwrap()))
        .collect()
}

/// Kills the program as soon as the trial with ordinal 0 is executed, as that trial would.
fn kill_with_the_killer(runner: &Runner, mut live: Running) -> Vec<u64> {
    let started = Instant::now();
    loop {
        if let [run] = runner.runs().as_slice() {
            let ordinals = in_flight(run);
            // What an earlier session has left there does not count.
            let is_of_now = run.manifest()["status"] == "running";
            if is_of_now && ordinals.contains(&0) {
                live.kill();
                return ordinals;
            }
        }
        assert!(live.is_alive(), "it ended: {:?}", live.finish());
        assert!(started.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn resume(runner: &Runner) -> Running {
    Running::spawn(runner.command(&["resume", "--from", "latest", "--json"]))
}

#[test]
fn a_trial_that_kills_the_process_runs_last_and_alone_and_is_recorded_and_named_in_the_end() {
    let runner = with_a_killer("concurrency = 2");
    kill_with_the_killer(&runner, runner.start(&[]));
    for _ in 1..DEATHS {
        kill_with_the_killer(&runner, resume(&runner));
    }
    for _ in 0..DEATHS {
        let alone = kill_with_the_killer(&runner, resume(&runner));
        assert_eq!(alone, [0], "it is not alone");
        let rows = whole_rows(&runner.only_run());
        let finals = rows.iter().filter(|row| row["final"] == true);
        assert_eq!(finals.count(), 3, "it is not the last: {rows:?}");
    }

    let ran = resume(&runner).finish().expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    let row = run.row("killer");
    assert_eq!((&row["outcome"], &row["error"]["class"]), (&json!("error"), &json!("poison")));
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains('6'), "{message}");
    for test in ["a", "b", "c"] {
        assert_eq!(run.row(test)["outcome"], "passed");
    }
    let told: Vec<Value> = ran.events();
    assert!(told.iter().any(|event| event["row"]["trial"] == "killer@hostile#1"), "{told:?}");
    let shown = runner.run(&["show", "latest", "--failed"]).expect(0).stdout;
    assert!(shown.contains("killer@hostile#1") && shown.contains("poison"), "{shown}");
    let deaths: Vec<_> = run.manifest()["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|session| session["reason"] == "crashed")
        .map(|session| session["in_flight"][0][0].clone())
        .collect();
    assert_eq!(deaths, [0; 2 * DEATHS]);
}

#[test]
fn a_suspect_that_gets_through_alone_is_a_trial_like_any_other() {
    let runner = with_a_killer("concurrency = 1");
    kill_with_the_killer(&runner, runner.start(&[]));
    for _ in 1..DEATHS {
        kill_with_the_killer(&runner, resume(&runner));
    }
    let ran = resume(&runner);
    let args = ["resume", "--from", "latest", "--json"];
    drop(ran.kill());
    // A stop ends the nap of an hour, which is as good as an answer: the process has not died.
    let mut live = Running::spawn(runner.command(&args));
    live.wait_for(|event| event["counts"]["passed"] == 3);
    live.wait_until_running(1);
    live.end_by(crate::support::runner::Signal::INT).0.expect(130);
    let run = runner.only_run();
    assert_eq!(run.ending()[..2], ["incomplete", "interrupted"]);
    assert!(run.rows().iter().all(|row| row["error"]["class"] != "poison"));
}

#[test]
fn without_the_guard_a_killer_is_never_accused() {
    let runner = with_a_killer("concurrency = 2\npoison_after = 0");
    kill_with_the_killer(&runner, runner.start(&[]));
    for _ in 0..2 * DEATHS {
        // It is begun at once, like any other.
        kill_with_the_killer(&runner, resume(&runner));
    }
    let mut live = resume(&runner);
    live.wait_until_running(1);
    live.end_by(crate::support::runner::Signal::INT).0.expect(130);
    let rows = runner.only_run().rows();
    assert!(rows.iter().all(|row| row["error"]["class"] != "poison"), "{rows:?}");
}
