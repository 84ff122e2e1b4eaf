//! Ctrl-C, SIGTERM and SIGHUP: the run stops cleanly and soon, and can be resumed.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    processes::Process,
    run::Run,
    runner::Runner,
    running::{Running, finished},
    truth::{assert_consistent, assert_kept, assert_whole},
    wait::{STOP_WITHIN, wait_for, wait_until},
};

/// Fails unless the signal interrupted the run and each of `attempts` is recorded as stopped.
#[track_caller]
fn assert_interrupted(run: &Run, signal: &str, attempts: usize) {
    assert_eq!(run.ending(), ["incomplete", "interrupted", signal, "none"]);
    let rows = run.rows();
    let trials: BTreeSet<_> = rows.iter().map(|row| row["trial"].to_string()).collect();
    assert_eq!((rows.len(), trials.len()), (attempts, attempts), "{rows:?}");
    for row in &rows {
        assert_eq!((&row["outcome"], &row["final"]), (&json!("stopped"), &json!(false)), "{row}");
        assert_eq!(row["error"]["code"], "stopped", "{row}");
        assert!(row["duration_ms"].as_f64().unwrap() > 0.0, "{row}");
    }
    let sessions = run.manifest()["sessions"].clone();
    assert!(sessions[0]["ended_at"].is_string(), "{sessions}");
    for outcome in ["passed", "failed", "error", "timeout", "skipped"] {
        assert_eq!(run.count(outcome), 0, "{outcome}");
    }
}

#[test]
fn signals_that_tests_ignore_reach_the_program() {
    let status = finished(Runner::new(&[]).program("cat").arg("/proc/self/status")).stdout;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    // Hangup, interrupt and quit.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 7, 0, "{ignored}");
    if env::var_os("RUNNER_TEST_IGNORES").is_none() {
        let name = "stops::signals::signals_that_tests_ignore_reach_the_program";
        let script = format!("trap '' HUP INT QUIT; exec \"$0\" --exact {name}");
        let mut again = Command::new("sh");
        again.args(["-c", &script]).arg(env::current_exe().unwrap());
        finished(again.env("RUNNER_TEST_IGNORES", "1")).expect(0);
    }
}

#[test]
fn run_under_nohup_survives_a_hangup() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"nap\"\nrepeat = 100000\ninput = { do = \"sleep\", ms = 5 }\n",
    );
    let script = "exec nohup \"$runner\" exec scenario.toml --json -j 2";
    let mut running = Running::start(&mut runner.shell(script));
    running.wait_for_rows(2);
    running.process().signal(Signal::HUP);
    let rows = running.row_count();
    running.wait_for_rows(rows + 100);
    // It still stops by others, and the hangup was not the first of two.
    let (ran, _) = running.end_by(Signal::INT);
    ran.expect(130);
    assert_eq!(runner.only_run().ending(), ["incomplete", "interrupted", "SIGINT", "none"]);
}

#[test]
fn each_signal_has_its_code() {
    let runner = Runner::endless(3, "loop", "");
    for (signal, name, code) in
        [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
    {
        let mut running = runner.start(&["-j", "2"]);
        running.wait_until_running(&runner, 2);
        let (ran, took) = running.end_by(signal);
        assert!(took < STOP_WITHIN, "{took:?}");
        let run = runner.runs().pop().unwrap();
        assert_interrupted(&run, name, 2);
        let finished = ran.expect(code).events().pop().unwrap();
        assert_eq!(
            (&finished["event"], &finished["exit_code"]),
            (&json!("finished"), &json!(code))
        );
        assert_eq!(
            (&finished["status"], &finished["reason"]),
            (&json!("incomplete"), &json!("interrupted"))
        );
        let listed = &runner.list()[0];
        assert_eq!(
            (&listed["run"], &listed["signal"], &listed["exit_code"]),
            (&json!(run.id()), &json!(name), &json!(code))
        );
    }
    assert_consistent(&runner);
}

#[test]
fn many_guests_stop_soon_together() {
    for (what, count) in [("loop", 16_usize), ("sleep", 16), ("fill-memory", 2)] {
        let runner = Runner::endless(40, what, "");
        let mut running = runner.start(&["-j", &count.to_string()]);
        running.wait_until_running(&runner, count);
        let (ran, took) = running.end_by(Signal::INT);
        assert!(took < STOP_WITHIN, "{what}: {took:?}");
        ran.expect(130);
        let run = runner.only_run();
        let attempts = run.rows().len();
        // A guest that waits for a processor may not have started.
        assert!((1..=count).contains(&attempts), "{what}: {attempts}");
        if what == "sleep" {
            assert_eq!(attempts, 16);
        }
        assert_interrupted(&run, "SIGINT", attempts);
    }
}

#[test]
fn resume_finishes_a_stopped_run() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 30\ninput = { do = \"sleep\", ms = 500 }\n",
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(5);
    let (ran, _) = running.end_by(Signal::INT);
    let first = ran.expect(130).acknowledged();
    assert_consistent(&runner);
    let run = runner.only_run();
    let kept = run.bytes("index.jsonl");

    let ran = runner.run(&["resume", "--json", "-j", "30"]).expect(0);
    let run_again = assert_whole(&runner, 30);
    assert!(run_again.bytes("index.jsonl").starts_with(&kept), "what was there was changed");
    assert_kept(&run_again, &first);
    assert_kept(&run_again, &ran.acknowledged());
    let manifest = run_again.manifest();
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);
    let steps: Vec<_> =
        manifest["transitions"].as_array().unwrap().iter().map(|step| step["to"].clone()).collect();
    assert_eq!(steps, ["running", "incomplete", "running", "completed"]);
    let second = run_again.rows().into_iter().filter(|row| row["session"] == 2).count();
    assert_eq!(
        second + run.rows().len().min(kept.iter().filter(|byte| **byte == b'\n').count()),
        run_again.rows().len()
    );
}

#[test]
fn stored_scenario_is_what_resumes() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 20\ninput = { do = \"sleep\", ms = 500 }\n",
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(3);
    running.end_by(Signal::TERM).0.expect(143);
    runner.scenario("this is no scenario any more");
    std::fs::remove_file(runner.path("hostile.wasm")).unwrap();
    runner.run(&["resume", "latest", "-j", "20"]).expect(0);
    assert_whole(&runner, 20);
}

#[test]
fn third_signal_exits_at_once() {
    let runner = Runner::endless(4, "loop", "grace = \"10m\"");
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let workers = running.workers();
    running.process().signal(Signal::INT);
    running.wait_for_event(|event| event["event"] == "stopping");
    running.process().signal(Signal::INT);
    let (ran, took) = running.end_by(Signal::INT);
    assert!(took < STOP_WITHIN, "{took:?}");
    ran.expect(130);
    wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
    assert_consistent(&runner);
    let mut again = runner.started(&["resume", "--json", "-j", "2"]);
    again.wait_until_running(&runner, 2);
    again.kill();
}

#[test]
fn workers_ignore_the_terminals_signals() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 20\ninput = { do = \"sleep\", ms = 20 }\n",
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(2);
    for worker in running.workers() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            worker.signal(signal);
        }
    }
    running.finish().expect(0);
    let run = assert_whole(&runner, 20);
    assert_eq!(run.rows().len(), 20, "no attempt was made twice");
}

#[test]
fn unread_output_delays_no_stop() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"large\"\nrepeat = 100000\ninput = { do = \"huge-reply\", bytes = 20000 }\n",
    );
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "2"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    // No process reads the pipe, which holds 64 KiB. The session continues, and its state is current.
    let process = Process(child.id());
    wait_until("more rows are counted than the pipe holds", || {
        let runs = runner.list();
        runs.first().is_some_and(|run| run["counts"]["passed"].as_u64() > Some(100))
    });
    process.signal(Signal::INT);
    let sent = Instant::now();
    let mut status = None;
    wait_until("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(sent.elapsed() < STOP_WITHIN, "{:?}", sent.elapsed());
    assert_eq!(status.unwrap().code(), Some(130));
    assert_consistent(&runner);
    let listed = &runner.list()[0];
    assert_eq!(
        (&listed["status"], &listed["reason"]),
        (&json!("incomplete"), &json!("interrupted"))
    );
}

#[test]
fn signals_in_one_moment_both_count() {
    // The second signal ends the grace.
    let runner = Runner::endless(2, "loop", "grace = \"10m\"");
    for _ in 0..5 {
        let mut running = runner.start(&["-j", "2"]);
        running.wait_until_running(&runner, 2);
        let process = running.process();
        process.signal(Signal::INT);
        let (ran, took) = running.end_by(Signal::TERM);
        assert!(took < STOP_WITHIN, "{took:?}");
        let run = runner.runs().pop().unwrap();
        let signal = match ran.code {
            Some(130) => "SIGINT",
            Some(143) => "SIGTERM",
            code => panic!("{code:?}"),
        };
        assert_eq!(run.ending(), ["incomplete", "interrupted", signal, "none"]);
    }
    assert_consistent(&runner);
}

/// Starts the program with a full pipe as standard output, which nothing reads while the reader is kept.
fn unread(runner: &Runner, args: &[&str]) -> (Child, io::PipeReader) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&[b'\n'; 64 << 10]).unwrap();
    let mut command = runner.command(args);
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    (command.process_group(0).spawn().unwrap(), reader)
}

/// Fails unless one SIGTERM ends the process soon, with one of these codes.
#[track_caller]
fn assert_ends_by_one_signal(mut child: Child, codes: &[i32]) {
    let sent = Instant::now();
    Process(child.id()).signal(Signal::TERM);
    let status = wait_for("it ends", || child.try_wait().unwrap());
    assert!(sent.elapsed() < STOP_WITHIN, "{:?}", sent.elapsed());
    assert!(codes.contains(&status.code().unwrap()), "{status}");
}

#[test]
fn group_runs_to_its_end_unread() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\" }\n");
    for mode in ["--json", "--verbose"] {
        let (child, reader) = unread(&runner, &["exec", "scenario.toml", "scenario.toml", mode]);
        wait_until("both runs have ended", || {
            let runs = runner.list();
            runs.len() == 2 && runs.iter().all(|run| run["status"] == "completed")
        });
        // The command waits for its reader, or the signal arrives just before that.
        assert_ends_by_one_signal(child, &[0, 143]);
        drop(reader);
        runner.run(&["prune", "--keep-last", "0", "--yes"]).expect(0);
    }
}

#[test]
fn unread_text_keeps_no_group_from_stopping() {
    let runner = Runner::endless(2, "loop", "");
    let short = "[providers.p]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\n";
    runner.write("short.toml", format!("{short}input = {{ do = \"echo\" }}\nrepeat = 3\n"));
    let args = ["exec", "short.toml", "scenario.toml", "short.toml", "-vj2"];
    let (started, (child, _reader)) = (SystemTime::now(), unread(&runner, &args));
    wait_until("the second run works", || {
        runner.runs().iter().any(|run| run.in_flight(started).len() == 2)
    });
    assert_ends_by_one_signal(child, &[143]);
    let mut ends: Vec<_> = runner.runs().iter().map(Run::ending).collect();
    ends.sort();
    let interrupted = ["incomplete", "interrupted", "SIGTERM", "none"];
    assert_eq!(ends[1..], [interrupted, interrupted]);
    assert_eq!(ends[0][0], "completed");
}

#[test]
fn signal_ends_an_unread_preview() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\" }\n");
    let (mut child, _reader) = unread(&runner, &["exec", "scenario.toml", "--dry-run"]);
    let mut grants = [0];
    child.stderr.as_mut().unwrap().read_exact(&mut grants).unwrap();
    wait_until("it waits", || Process(child.id()).is_asleep());
    assert_ends_by_one_signal(child, &[143]);
}
