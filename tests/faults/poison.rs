//! Trials that were there whenever the process died.

use serde_json::{Value, json};

use crate::support::{
    runner::{CommandExt as _, Run, Runner, Running, Signal, tests},
    truth::whole_rows,
};

/// How many deaths in a row make a trial a suspect, and how many more alone make it the culprit.
const DEATHS: u32 = 3;

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
    Runner::hostile_in_memory(&format!(
        "[run]\n{run}\n[defaults]\ntimeout = \"10m\"\n{list}"
    ))
}

/// What the file of a run says is being executed by a session: ordinals.
fn in_flight(run: &Run, session: u32) -> Vec<u64> {
    let bytes = fs_err::read(run.dir.join("inflight")).unwrap_or_default();
    let slots = bytes.chunks_exact(16);
    slots
        .filter(|slot| slot[12..] == session.to_le_bytes())
        .map(|slot| u64::from_le_bytes(slot[..8].try_into().unwrap()))
        .collect()
}

/// Kills a session as soon as it executes the trial with ordinal 0, as that trial would; tells what else it executed.
fn kill_with_the_killer(runner: &Runner, session: u32) -> Vec<u64> {
    let mut live = if session == 1 {
        runner.start(&[])
    } else {
        resume(runner)
    };
    let mut ordinals = Vec::new();
    live.wait_while_alive("it executed the killer", || {
        if let [run] = runner.runs().as_slice() {
            ordinals = in_flight(run, session);
        }
        ordinals.contains(&0)
    });
    live.kill();
    ordinals
}

fn resume(runner: &Runner) -> Running {
    runner
        .command(&["resume", "--from", "latest", "--json"])
        .start()
}

#[test]
fn a_trial_that_kills_the_process_runs_last_and_alone_and_is_recorded_and_named_in_the_end() {
    let runner = with_a_killer("concurrency = 2");
    for session in 1..=DEATHS {
        kill_with_the_killer(&runner, session);
    }
    for session in DEATHS + 1..=2 * DEATHS {
        let alone = kill_with_the_killer(&runner, session);
        assert_eq!(alone, [0], "it is not alone");
        // Trials that were there by chance are suspects too; from the first death without them on they go before it.
        if session > DEATHS + 1 {
            let rows = whole_rows(&runner.only_run());
            let finals = rows.iter().filter(|row| row["final"] == true);
            assert_eq!(finals.count(), 3, "it is not the last: {rows:?}");
        }
    }

    let ran = resume(&runner).finish().expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    let row = run.row("killer");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("poison"))
    );
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains('6'), "{message}");
    for test in ["a", "b", "c"] {
        assert_eq!(run.row(test)["outcome"], "passed");
    }
    let told: Vec<Value> = ran.events();
    assert!(
        told.iter()
            .any(|event| event["row"]["trial"] == "killer@hostile#1"),
        "{told:?}"
    );
    let shown = runner.run(&["show", "latest", "--failed"]).expect(0).stdout;
    assert!(
        shown.contains("killer@hostile#1") && shown.contains("poison"),
        "{shown}"
    );
    let sessions = run.manifest()["sessions"].clone();
    let deaths = sessions.as_array().unwrap().iter();
    let deaths = deaths.filter(|session| session["in_flight"][0][0] == 0);
    assert_eq!(deaths.count(), 6);
}

#[test]
fn a_suspect_that_lets_the_process_live_is_a_trial_like_any_other() {
    let runner = with_a_killer("concurrency = 1");
    for session in 1..=DEATHS {
        kill_with_the_killer(&runner, session);
    }
    // It is held back until the others are done, and then it may take its time.
    let mut live = resume(&runner);
    live.wait_for(|event| event["counts"]["passed"] == 3 && event["running"] == 1);
    live.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    let rows = run.rows();
    assert_eq!(rows.last().unwrap()["outcome"], "stopped");
    assert!(
        rows.iter().all(|row| row["error"]["class"] != "poison"),
        "{rows:?}"
    );
}

#[test]
fn a_suspect_is_the_last_also_where_the_others_wait_for_their_rate() {
    let runner = with_a_killer("concurrency = 1");
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{scenario}rate = \"10/s\"\n"));
    for session in 1..=DEATHS {
        kill_with_the_killer(&runner, session);
    }
    kill_with_the_killer(&runner, DEATHS + 1);
    let rows = whole_rows(&runner.only_run());
    let finals = rows.iter().filter(|row| row["final"] == true);
    assert_eq!(finals.count(), 3, "it is not the last: {rows:?}");
}

#[test]
fn without_the_guard_a_killer_is_never_accused() {
    let runner = with_a_killer("concurrency = 2\npoison_after = 0");
    for session in 1..=2 * DEATHS + 1 {
        // It is begun at once, like any other.
        kill_with_the_killer(&runner, session);
    }
    let mut live = resume(&runner);
    live.wait_until_running(1);
    live.end_by(Signal::INT).0.expect(130);
    let rows = runner.only_run().rows();
    assert!(
        rows.iter().all(|row| row["error"]["class"] != "poison"),
        "{rows:?}"
    );
}
