//! Stopping in order: by a signal, at any moment, whatever the guests are doing.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    runner::{CommandExt as _, Ran, Run, Runner, Signal, tests},
    truth::{acknowledged, assert_kept},
    wait::wait_until,
};

/// The design's bound is one second; a debug build on a shared machine gets more.
const BOUND: Duration = Duration::from_secs(5);

/// Says how long a stop took, for those who want to see it, and holds it against the bound.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the time itself is worth knowing")]
fn assert_soon(took: Duration) {
    println!("ended after {took:?}");
    assert!(took < BOUND, "{took:?}");
}

fn many(count: usize, what: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        r#"
        [run]
        memory = "1TiB"
        [providers.hostile]
        plugin = "hostile.wasm"
        [[tests]]
        id = "guest"
        repeat = {count}
        timeout = "10m"
        input = {what}
        "#
    ));
    // The plugin is compiled, so that a signal never comes while it is.
    runner.run(&[
        "exec",
        "scenario.toml",
        "--test",
        "guest",
        "--repeat",
        "1",
        "--limit",
        "time=1ms",
    ]);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    runner
}

/// Stops a run once `running` attempts are being executed.
fn stop(runner: &Runner, args: &[&str], running: u64, signal: Signal) -> Ran {
    let mut live = runner.start(args);
    live.wait_until_running(running);
    let (ran, took) = live.end_by(signal);
    assert_soon(took);
    ran
}

#[track_caller]
fn assert_interrupted(run: &Run, signal: &str, attempts: usize) {
    assert_eq!(run.ending(), ["incomplete", "interrupted", signal, "none"]);
    let rows = run.rows();
    let trials: HashSet<_> = rows.iter().map(|row| row["trial"].to_string()).collect();
    assert_eq!((rows.len(), trials.len()), (attempts, attempts), "{rows:?}");
    for row in &rows {
        assert_eq!(
            (&row["outcome"], &row["final"]),
            (&json!("stopped"), &json!(false))
        );
        assert_eq!(
            row["error"],
            json!({"code": "stopped", "message": format!("stopped by {signal}")})
        );
        assert!(row["duration_ms"].as_f64().unwrap() > 0.0, "{row}");
    }
    let manifest = run.manifest();
    assert_eq!(manifest["stage"], "run");
    assert_eq!(manifest["sessions"][0]["reason"], "interrupted");
    let counts = manifest["counts"].as_object().unwrap();
    assert!(
        counts
            .iter()
            .all(|(key, count)| key == "planned" || count == 0),
        "{counts:?}"
    );
}

#[test]
fn each_signal_stops_the_run_with_its_own_exit_code() {
    let runner = many(3, r#"{ do = "loop" }"#);
    for (signal, name, code) in [
        (Signal::INT, "SIGINT", 130),
        (Signal::TERM, "SIGTERM", 143),
        (Signal::HUP, "SIGHUP", 129),
    ] {
        let ran = stop(&runner, &["-j", "2"], 2, signal).expect(code);
        let run = runner.runs().pop().unwrap();
        assert_interrupted(&run, name, 2);

        let events = ran.events();
        runner.assert_valid("events", &events);
        runner.assert_valid("row", &run.lines());
        runner.assert_valid("benchmark", &[run.manifest()]);
        let stopping = events
            .iter()
            .find(|event| event["event"] == "stopping")
            .unwrap();
        assert_eq!(
            (&stopping["reason"], &stopping["in_flight"]),
            (&json!("interrupted"), &json!(2))
        );
        let end = events.last().unwrap();
        assert_eq!(
            (&end["event"], &end["exit_code"]),
            (&json!("finished"), &json!(code))
        );
        assert_eq!(
            (&end["status"], &end["reason"]),
            (&json!("incomplete"), &json!("interrupted"))
        );
        let listed = &runner.list(&[])[0];
        assert_eq!(
            (&listed["run"], &listed["signal"]),
            (&json!(run.id()), &json!(name))
        );
    }
    assert_eq!(runner.runs().len(), 3);
}

#[test]
fn sixteen_endless_loops_stop_within_the_bound_and_every_attempt_is_recorded() {
    let runner = many(40, r#"{ do = "loop" }"#);
    stop(&runner, &["-j", "16"], 16, Signal::INT).expect(130);
    assert_interrupted(&runner.only_run(), "SIGINT", 16);
}

#[test]
fn sixteen_sleepers_stop_within_the_bound_and_every_attempt_is_recorded() {
    let runner = many(40, r#"{ do = "sleep" }"#);
    stop(&runner, &["-j", "16"], 16, Signal::INT).expect(130);
    assert_interrupted(&runner.only_run(), "SIGINT", 16);
}

#[test]
fn guests_inside_one_long_instruction_are_recorded_without_their_answer() {
    let runner = many(40, r#"{ do = "fill-memory" }"#);
    let mut live = runner.start(&["-j", "16"]);
    // Each guest keeps a thread to itself, so as many as there are cores have begun, or a few more that were let in.
    live.wait_for(|event| event["running"].as_u64() > Some(0));
    let (ran, took) = live.end_by(Signal::INT);
    assert_soon(took);
    ran.expect(130);
    let run = runner.only_run();
    let rows = run.rows().len();
    assert!((1..=16).contains(&rows), "{rows}");
    assert_interrupted(&run, "SIGINT", rows);
}

#[test]
fn trials_that_ended_before_the_stop_keep_their_rows() {
    let runner = Runner::hostile(&format!(
        "{}[[tests]]\nid = \"endless\"\nrepeat = 3\ninput = {{ do = \"loop\" }}\n",
        tests(
            r#"
            one | { do = "echo", value = 1 } |
            two | { do = "trap" } |
            "#
        )
    ));
    stop(&runner, &["-j", "2"], 2, Signal::TERM).expect(143);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGTERM", "none"]
    );
    assert_eq!(run.row("one")["outcome"], "passed");
    assert_eq!(run.row("two")["outcome"], "error");
    assert_eq!(run.rows().len(), 4);
    let counts = &run.manifest()["counts"];
    assert_eq!(
        [&counts["passed"], &counts["error"], &counts["planned"]],
        [1, 1, 5]
    );
}

#[test]
fn a_guest_that_sees_the_stop_ends_by_itself_within_the_grace() {
    let runner = many(2, r#"{ do = "wait-for-stop" }"#);
    let ran = stop(&runner, &["-j", "2", "--grace", "60s"], 2, Signal::INT).expect(130);
    let run = runner.only_run();
    let rows = run.rows();
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().all(|row| row["outcome"] == "stopped"),
        "{rows:?}"
    );
    assert_eq!(ran.events().last().unwrap()["status"], "incomplete");
}

#[test]
fn a_guest_that_finishes_within_the_grace_has_its_own_outcome() {
    let runner = many(3, r#"{ do = "sleep", ms = 2500 }"#);
    stop(&runner, &["-j", "2", "--grace", "60s"], 2, Signal::INT).expect(130);
    let run = runner.only_run();
    let rows = run.rows();
    assert_eq!(rows.len(), 2, "the third was never begun");
    assert!(
        rows.iter()
            .all(|row| row["outcome"] == "passed" && row["final"] == true),
        "{rows:?}"
    );
    assert_eq!(run.manifest()["counts"]["passed"], 2);
}

#[test]
fn the_grace_is_waited_for_and_no_longer() {
    let runner = many(1, r#"{ do = "loop" }"#);
    let mut live = runner.start(&["--grace", "700ms"]);
    live.wait_until_running(1);
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert!(took >= Duration::from_millis(700), "{took:?}");
    assert_soon(took);
    assert_interrupted(&runner.only_run(), "SIGINT", 1);
}

#[test]
fn a_stop_before_the_first_trial_leaves_a_run_without_rows() {
    // Guests that loop in their start function keep the run in its first stage.
    let runner = Runner::new(&["stuck"]);
    runner.scenario("[providers.stuck]\nplugin = \"stuck.wasm\"\n[[tests]]\nid = \"a\"\n");
    let mut live = runner.start(&[]);
    live.wait_for(|event| event["event"] == "started");
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert_soon(took);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    assert_eq!(run.manifest()["stage"], "plan");
    assert!(run.rows().is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_stop_while_a_plugin_is_compiled_ends_the_compiler_too() {
    let runner = Runner::new(&[]);
    runner.wat("slow.wasm", &slow_to_compile());
    runner.scenario("[providers.slow]\nplugin = \"slow.wasm\"\n[[tests]]\nid = \"a\"\n");
    let mut live = runner
        .command(&["exec", "scenario.toml", "--json"])
        .env("RUNNER_CACHE", runner.path("cache"))
        .start();
    live.wait_for(|event| event["event"] == "started");
    let id = live.id();
    live.wait_while_alive("it began to compile", || !compilers_of(id).is_empty());
    let compiler = compilers_of(id).pop().unwrap();
    let (ran, took) = live.end_by(Signal::TERM);
    ran.expect(143);
    assert_soon(took);
    assert!(!std::path::Path::new(&format!("/proc/{compiler}")).exists());
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGTERM", "none"]
    );
    assert_eq!(run.manifest()["stage"], "plan");
    let cached = walkdir::WalkDir::new(runner.path("cache")).into_iter();
    let cached: Vec<_> = cached
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .collect();
    assert!(cached.is_empty(), "{cached:?}");
}

/// A module whose one function takes a compiler minutes.
#[cfg(target_os = "linux")]
fn slow_to_compile() -> String {
    let step = "local.get 0 local.get 1 i64.mul local.get 2 i64.xor local.tee 1 local.get 0 i64.rotl local.set 0\n";
    format!(
        "(module (func (export \"_start\") (local i64 i64 i64)\n{}))",
        step.repeat(400_000)
    )
}

/// The ids of the compilers that a runner has started.
#[cfg(target_os = "linux")]
fn compilers_of(runner: u32) -> Vec<String> {
    let threads = fs_err::read_dir(format!("/proc/{runner}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let children = threads
        .map(|thread| fs_err::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children: Vec<_> = children.collect();
    children
        .iter()
        .flat_map(|ids| ids.split_whitespace())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_stop_does_not_wait_for_a_backoff() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"error\", kind = \"unavailable\" }\nretries = { max = 3, backoff = \"10m\" }\n",
    );
    let mut live = runner.start(&[]);
    live.wait_for(|event| event["event"] == "row");
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert_soon(took);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    let rows = run.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["outcome"], &rows[0]["final"]),
        (&json!("error"), &json!(false))
    );
    assert_eq!(run.manifest()["counts"]["error"], 0);
}

#[test]
fn a_second_signal_while_stopping_changes_nothing_of_the_order() {
    let runner = many(2, r#"{ do = "loop" }"#);
    let mut live = runner.start(&["-j", "2", "--grace", "1s"]);
    live.wait_until_running(2);
    live.signal(Signal::TERM);
    live.wait_for(|event| event["event"] == "stopping");
    let (ran, _) = live.end_by(Signal::INT);
    ran.expect(143);
    assert_interrupted(&runner.only_run(), "SIGTERM", 2);
}

#[test]
fn a_stop_in_the_middle_of_a_long_list_records_what_had_begun_and_nothing_else() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"list.jsonl\"]\n");
    let list: String = (0..50_000)
        .map(|number| {
            format!(
                "{{\"id\": \"t{number}\", \"input\": {{\"do\": \"echo\", \"value\": {number}}}}}\n"
            )
        })
        .collect();
    runner.write("list.jsonl", list);
    let mut live = runner.start(&["-j", "2"]);
    live.wait_for(|event| event["event"] == "row");
    let (ran, took) = live.end_by(Signal::INT);
    ran.expect(130);
    assert_soon(took);
    let run = runner.only_run();
    assert_eq!(run.ending()[..3], ["incomplete", "interrupted", "SIGINT"]);
    let rows = run.rows();
    assert_eq!(run.manifest()["counts"]["planned"], 50_000);
    let finals = rows.iter().filter(|row| row["final"] == true).count();
    assert_eq!(run.manifest()["counts"]["passed"], finals);
    // Only what had begun is there, and each trial once.
    let ordinals: HashSet<_> = rows.iter().map(|row| row["ordinal"].as_u64()).collect();
    assert_eq!(ordinals.len(), rows.len());
    assert!(
        rows.len() - finals <= 2,
        "{} were begun and not ended",
        rows.len() - finals
    );
}

#[test]
fn after_sigkill_every_row_that_was_acknowledged_is_on_disk() {
    let runner = many(100_000, r#"{ do = "echo", value = "x" }"#);
    let mut live = runner.start(&["-j", "4"]);
    let mut rows = 0;
    live.wait_for(|event| {
        rows += u64::from(event["event"] == "row");
        rows == 500
    });
    let printed = live.kill();

    let run = runner.only_run();
    let acknowledged = acknowledged(&printed);
    assert_kept(&run, &acknowledged);
    let count = acknowledged.len() as u64;
    assert!(count >= 500);
    assert_eq!(run.manifest()["status"], "running");

    let listed = &runner.list(&[])[0];
    assert_eq!(
        (&listed["status"], &listed["reason"]),
        (&json!("incomplete"), &json!("crashed"))
    );
    assert_eq!(listed["is_not_yet_swept"], true);
    assert!(listed["counts"]["passed"].as_u64().unwrap() >= count);
    let table = runner.run(&["list"]).expect(0).stdout;
    assert!(
        table.contains("incomplete (crashed), not yet swept"),
        "{table}"
    );
    assert_eq!(
        runner.list(&["--status", "running"]),
        Vec::<serde_json::Value>::new()
    );
}

/// The only attempt sleeps, and a stop would wait for it for a minute.
fn patient() -> Runner {
    many(1, r#"{ do = "sleep" }"#)
}

#[test]
fn two_signals_in_a_row_are_two_or_a_third_makes_up_for_it() {
    let runner = patient();
    for _ in 0..6 {
        let mut live = runner.start(&["--grace", "60s"]);
        live.wait_until_running(1);
        live.signal(Signal::INT);
        live.signal(Signal::INT);
        let sent = Instant::now();
        while live.is_alive() && sent.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The kernel itself may have made one of them.
        if live.is_alive() {
            live.signal(Signal::INT);
        }
        live.finish().expect(130);
        assert_soon(sent.elapsed());
        assert_interrupted(&runner.runs().pop().unwrap(), "SIGINT", 1);
    }
}

#[test]
fn a_stop_that_takes_long_says_what_it_waits_for() {
    let runner = patient();
    let args = ["exec", "scenario.toml", "--grace", "60s"];
    let live = runner.command(&args).start();
    let is_running = || {
        let run = runner.runs().pop();
        let slots = run.and_then(|run| fs_err::read(run.dir.join("inflight")).ok());
        // Behind them is what their attempts are doing.
        slots.is_some_and(|slots| slots.iter().take(128 * 1024).any(|byte| *byte != 0))
    };
    wait_until("it begins", is_running);
    live.signal(Signal::INT);
    // It is said after two seconds of waiting.
    std::thread::sleep(Duration::from_secs(4));
    let (ran, took) = live.end_by(Signal::INT);
    assert_soon(took);
    ran.expect(130).says(&[
        "stopping: asked by SIGINT; 1 attempt in flight",
        "waiting for 1 attempt (guest@hostile#1 for",
        "a second Ctrl-C, or `runner stop --kill`, does not wait for them",
        "stopping at once",
    ]);
}
