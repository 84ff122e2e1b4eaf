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

/// Kills a session as soon as it executes the trial with ordinal 0, as that trial would.
fn kill_with_the_killer(runner: &Runner, session: u32) {
    let mut live = if session == 1 {
        runner.start(&[])
    } else {
        resume(runner)
    };
    live.wait_while_alive("it executed the killer", || {
        match runner.runs().as_slice() {
            [run] => in_flight(run, session).contains(&0),
            _ => false,
        }
    });
    live.kill();
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
        kill_with_the_killer(&runner, session);
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
    // By the manifest and not by the file: there, what has just been recorded stands until its executor has gone on.
    let sessions = run.manifest()["sessions"].clone();
    let at_deaths = sessions.as_array().unwrap()[..2 * DEATHS as usize].iter();
    for (session, there) in (1..).zip(at_deaths.map(|session| &session["in_flight"])) {
        assert_eq!(there[0][0], 0, "{sessions:#}");
        let is_alone = there.as_array().unwrap().len() == 1;
        assert!(session <= DEATHS || is_alone, "{sessions:#}");
    }
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

/// A scenario of which two graders speak; the second one of `killer` does not end before the process does.
fn with_a_killing_grader() -> Runner {
    let runner = Runner::new(&["echo", "hostile"]);
    let grader = |name: &str| {
        format!(
            "[graders.{name}]\nplugin = \"hostile.wasm\"\ntimeout = \"10m\"\ninput = \"{{{{output.{name}}}}}\"\n"
        )
    };
    let passes = "{ do = \"verdict\", verdict = \"pass\" }";
    let test = |id: &str, second: &str| {
        format!(
            "[[tests]]\nid = \"{id}\"\ninput = {{ first = {passes}, second = {second} }}\n\
             expect = {{ graders = [\"first\", \"second\"] }}\n"
        )
    };
    runner.scenario(&format!(
        "[providers.echo]\nplugin = \"echo.wasm\"\n{}{}{}{}{}",
        grader("first"),
        grader("second"),
        test("killer", "{ do = \"sleep\" }"),
        test("a", "{ do = \"sleep\", ms = 30 }"),
        test("b", passes),
    ));
    runner
}

/// What the file of a run says is being graded by a session: ordinals, each with the place of its grader.
fn in_grading(run: &Run, session: u32) -> Vec<(u64, u32)> {
    let bytes = fs_err::read(run.dir.join("inflight")).unwrap_or_default();
    let slots = bytes.chunks_exact(16);
    slots
        .filter(|slot| slot[12..] == (session | 1 << 31).to_le_bytes())
        .map(|slot| {
            let (ordinal, grader) = (slot[..8].try_into(), slot[8..12].try_into());
            (
                u64::from_le_bytes(ordinal.unwrap()),
                u32::from_le_bytes(grader.unwrap()),
            )
        })
        .collect()
}

/// Kills a process as soon as it asks the second grader of the trial with ordinal 0, as that grader would; tells what else was
/// graded.
fn kill_with_the_grader(runner: &Runner, args: &[&str], session: u32) -> Vec<(u64, u32)> {
    let mut live = runner.command(args).start();
    let mut graded = Vec::new();
    live.wait_while_alive("it asked the killer", || {
        if let [run] = runner.runs().as_slice() {
            graded = in_grading(run, session);
        }
        graded.contains(&(0, 1))
    });
    live.kill();
    graded
}

#[test]
fn a_grader_that_kills_the_process_is_asked_last_and_alone_and_is_an_error_in_the_end() {
    let runner = with_a_killing_grader();
    let exec = ["exec", "scenario.toml", "-j2"];
    let resume = ["resume", "--from", "latest"];
    for session in 1..=2 * DEATHS {
        let args = if session == 1 { &exec[..] } else { &resume };
        let graded = kill_with_the_grader(&runner, args, session);
        // In the one before, trials that were there by chance may still have gone ahead of it.
        if session > DEATHS + 2 {
            // What has answered may be noted for a moment longer, as its first grader.
            let is_alone = graded.iter().all(|(ordinal, _)| *ordinal == 0);
            assert!(is_alone, "it is not alone: {graded:?}");
        }
        if session > DEATHS + 1 {
            let counts = runner.run(&["show", "--json"]).expect(0).document();
            assert_eq!(counts["run"]["counts"]["passed"], 1, "{counts:#}");
        }
    }
    runner.run(&resume).expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    let judgements: Vec<_> = (run.lines().into_iter())
        // What a grader has answered before the next one is asked settles nothing.
        .filter(|line| line["kind"] == "judgement" && line["outcome"] != "ungraded")
        .collect();
    assert_eq!(judgements.len(), 3, "{judgements:#?}");
    let killer = judgements.iter().find(|line| line["ordinal"] == 0);
    let killer = killer.unwrap();
    let error = &killer["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("grader"), &json!("poison"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("grader `second`: "), "{message}");
    assert!(message.contains("died 6 times"), "{message}");
    // The first one has answered, and the provider has run once.
    assert_eq!(killer["grades"][0]["verdict"], "pass");
    let attempts = run.lines().into_iter();
    let attempts = attempts.filter(|line| line.get("kind").is_none());
    assert_eq!(attempts.count(), 3);
    runner.assert_valid("benchmark", &[run.manifest()]);
    runner.run(&["verify"]).expect(0);

    // Whoever judges again asks again, and is killed no more often.
    let sessions = run.manifest()["sessions"].as_array().unwrap().len();
    for session in 1..=2 * DEATHS {
        let session = u32::try_from(sessions).unwrap() + session;
        kill_with_the_grader(&runner, &["rescore"], session);
    }
    runner.run(&["rescore"]).expect(1);
    runner.run(&["verify"]).expect(0);
}
