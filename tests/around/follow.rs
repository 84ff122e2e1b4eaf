//! `wait` and `logs`: commands that follow a run.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ENDLESS, SHORT, sleepers, speaking, terminal::Terminal};
use crate::messages::outputs::snapshot;
use crate::support::{
    runner::{Runner, tests},
    running::Running,
    truth::assert_consistent,
    wait::{wait_for, wait_until},
};

/// A text that controls a terminal, and imitates another trial's on a new line.
const HOSTILE: &str = "\\u001b[2J\\u202eevil\\n09:18:04.015 other@hostile#1 error  forged";

fn speakers() -> Runner {
    Runner::hostile(&tests(&format!(
        r#"
        mute  | {{ do = "echo", value = 1 }} |
        first | {{ do = "say", text = "one" }} |
        evil  | {{ do = "say", text = "{HOSTILE}" }} |
        again | {{ do = "fail-at", repeat = 1 }} |
        "#
    )))
}

#[test]
fn wait_has_the_code_of_the_run() {
    let runner = sleepers(2, SHORT);
    for (args, code) in [(&[][..], 0), (&["--timeout", "1ms"], 4)] {
        runner.exec(args).expect(code);
        runner.run(&["wait"]).expect(code);
    }
    // The exit code is the worst of several runs, also for a group by name.
    let ids: Vec<_> = runner.runs().iter().map(|run| run.id().to_owned()).collect();
    let ran = runner.run(&["wait", &ids[0], &ids[1], "--json"]).expect(4);
    let codes: Vec<_> = ran.events().iter().map(|event| event["exit_code"].clone()).collect();
    assert_eq!(codes, [json!(0), json!(4)]);
    runner.run(&["wait", "nothing"]).expect(2);
    runner.run(&["wait", &ids[0], "-q"]).expect(0);
}

#[test]
fn wait_shows_progress_and_times_out() {
    let runner = sleepers(2, ENDLESS);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let ran = runner.run(&["wait", "--json", "--timeout", "300ms"]).expect(6);
    ran.says(&["still running"]);
    let progress = &ran.events()[0];
    assert_eq!(
        (
            &progress["event"],
            &progress["n"],
            &progress["counts"]["planned"],
            &progress["in_flight"]
        ),
        (&json!("progress"), &json!(1), &json!(2), &json!(2))
    );
    assert!(running.is_alive());
    let waiting = speaking(&runner, &["wait", "--json"], "progress");
    running.end_by(Signal::INT).0.expect(130);
    waiting.finish().expect(130);
}

#[test]
fn wait_ends_when_a_run_is_killed() {
    let runner = sleepers(2, ENDLESS);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let waiting = speaking(&runner, &["wait", "--json"], "progress");
    running.kill();
    let finished = waiting.finish().expect(4).events().pop().unwrap();
    assert_eq!([&finished["status"], &finished["reason"]], ["incomplete", "crashed"]);
    assert!(runner.only_run().manifest()["status"] == "running", "only a sweep writes it down");
    assert_consistent(&runner);
}

/// Starts a command that looks for dead runs continually.
fn sweeping(runner: &Runner, args: &[&str]) -> Running {
    Running::start(runner.command(args).env("RUNNER_TEST_SWEEP_MS", "50"))
}

#[test]
#[cfg(debug_assertions)]
fn long_commands_give_dead_runs_their_end() {
    let runner = sleepers(1, ENDLESS);
    let mut living = runner.started(&["exec", "scenario.toml", "--json"]);
    living.wait_until_running(&runner, 1);
    let lives = runner.only_run();
    for args in [&["wait", lives.id()][..], &["logs", "-f", lives.id()], &["exec", "scenario.toml"]]
    {
        let mut watching = sweeping(&runner, args);
        let dying = runner.started(&["exec", "scenario.toml", "--json"]);
        let pid = dying.process().0;
        let run = wait_for("there is another run", || {
            let mut runs = runner.runs().into_iter();
            runs.find(|run| run.manifest()["sessions"][0]["pid"] == pid)
        });
        dying.kill();
        wait_until("it has its end", || run.ending()[0] == "incomplete");
        assert_eq!(run.ending()[1], "crashed");
        let change = run.manifest()["transitions"][1].clone();
        assert_eq!(change["writer"], "sweep");
        assert!(watching.is_alive());
        watching.kill();
    }
    assert!(living.is_alive());
}

#[test]
fn log_lines_name_their_source() {
    let runner = speakers();
    runner.exec(&["-j", "1"]).expect(1);
    let ran = runner.run(&["logs"]).expect(0);
    let mut head = "";
    for line in ran.stdout.lines() {
        if !line.starts_with("  ") {
            head = line;
        }
        // Each new line of a guest is below the head of its trial.
        assert!(!line.contains("forged") || head == "evil@hostile#1:", "{line:?}");
    }
    let heads: Vec<_> = ran.stdout.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(heads, ["first@hostile#1:", "evil@hostile#1:", "again@hostile#1:"]);
    assert!(ran.stdout.matches("forged").count() >= 3);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", ran.stdout);
    ran.says(&["one one=one", "stdout one", "stderr one", "stderr this is call 1", "\\u{1b}[2J"]);

    let of_one = runner.run(&["logs", "latest", "first"]).expect(0);
    assert!(!of_one.stdout.contains("evil") && of_one.stdout.contains("one"));
    snapshot(&runner.run(&["logs", "latest", "hostile"]).expect(2));
    snapshot(&runner.run(&["logs", "latest", "nobody"]).expect(2));
    // The heads of the last lines are not counted.
    let last = runner.run(&["logs", "--tail", "2"]).expect(0).stdout;
    assert!(last.starts_with("evil@hostile#1:\n  stderr "), "{last}");
    assert!(ran.stdout.ends_with(&last[last.find("  stderr").unwrap()..]), "{last}");
    runner
        .run(&["logs", "--runner"])
        .expect(0)
        .says(&["runner exec scenario.toml", "the run is completed"]);
}

#[test]
fn logs_of_sorted_rows_are_whole() {
    let runner = speakers();
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = runner.run(&["logs"]).expect(0).stdout;
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.lines().rev().map(|row| format!("{row}\n")).collect::<String>());
    let after = runner.run(&["logs"]).expect(0).stdout;
    assert_eq!(sorted(&after), sorted(&before));
}

#[test]
fn long_logs_are_short_on_a_terminal() {
    let runner = Runner::hostile(&tests("a | { do = \"flood-stdout\" } |"));
    runner.exec(&[]);
    let piped = runner.run(&["logs"]).expect(0);
    piped.says(&["KiB left out"]);
    let on_terminal = |args: &str| {
        let script = format!("exec \"$runner\" logs {args}");
        Terminal::run_script(&runner, 200, "UTC", &script).end().1
    };
    let short = on_terminal("");
    assert!(short.len() < 80 << 10, "{}", short.len());
    assert!(short.contains(" more lines: `--full` shows all"), "{short}");
    assert!(on_terminal("--full").len() > piped.stdout.len());
}

#[test]
fn logs_are_lines_of_json() {
    let runner = speakers();
    runner.exec(&["-j", "1"]).expect(1);
    let spoken = runner.run(&["logs", "latest", "evil", "--json"]).expect(0).events();
    let streams: Vec<_> = spoken.iter().map(|line| line["stream"].as_str().unwrap()).collect();
    assert_eq!(streams, ["log", "stdout", "stderr"]);
    let text = "\u{1b}[2J\u{202e}evil\n09:18:04.015 other@hostile#1 error  forged";
    for line in &spoken {
        assert_eq!(line["trial"], "evil@hostile#1");
        assert_eq!(
            (&line["v"], &line["attempt"], &line["session"]),
            (&json!(1), &json!(1), &json!(1))
        );
        assert_eq!(line["text"].as_str().unwrap().trim_end(), text);
    }
    assert_eq!(spoken[0]["level"], "warn");
    assert!(spoken[0]["at"].is_string());
    assert_eq!(spoken[1]["at"], Value::Null);
    let last = runner.run(&["logs", "--json", "--tail", "1"]).expect(0).events();
    assert_eq!(last.len(), 1);
}

/// Starts a test that logs and ends, and a test that never ends. Waits for the first.
#[track_caller]
fn spoken_once() -> (Runner, Running) {
    let runner = Runner::hostile(&tests(
        r#"
        first | { do = "say", text = "one" } |
        last  | { do = "sleep" } |
        "#,
    ));
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    (runner, running)
}

#[test]
fn followed_logs_end_with_the_run() {
    let (runner, running) = spoken_once();
    let following = speaking(&runner, &["logs", "-f"], "stderr one");
    let of_one = speaking(&runner, &["logs", "latest", "first", "-f", "--json"], "one");
    let of_none = runner.started(&["logs", "latest", "last", "-f"]);
    let of_runner = speaking(&runner, &["logs", "--runner", "-f"], "runner exec");
    running.end_by(Signal::INT).0.expect(130);
    following.finish().expect(0);
    assert_eq!(of_one.finish().expect(0).events().len(), 3);
    assert_eq!(of_none.finish().expect(0).stdout, "");
    of_runner.finish().expect(0).says(&["the run is incomplete (interrupted)"]);
}

#[test]
fn followed_logs_end_with_run_or_reader() {
    let (runner, running) = spoken_once();
    let following = speaking(&runner, &["logs", "-f"], "one");
    // `head` exits after the first line.
    let mut gone = Running::start(&mut runner.shell("\"$runner\" exec scenario.toml --test first >/dev/null; \"$runner\" logs --json | head -n 1"));
    wait_until("the reader is gone", || !gone.is_alive());
    gone.finish().expect(0);
    running.kill();
    following.finish().expect(0);
}

#[test]
fn damaged_logs_are_reported_as_lost() {
    let runner = speakers();
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.runs().pop().unwrap();
    let mut logs = run.bytes("logs.jsonl");
    let middle = logs.len() / 2;
    logs[middle] ^= 1;
    run.write("logs.jsonl", logs);
    let ran = runner.run(&["logs"]).expect(0);
    ran.says(&["warning:", "is lost"]);
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.replacen("\"outcome\"", "\"outcame\"", 1));
    let ran = runner.run(&["logs"]).expect(0);
    let verify = format!(
        "1 line of index.jsonl is damaged, and its output is left out; to list such lines: runner verify {}",
        run.id()
    );
    ran.says(&[&verify]);
    assert!(!ran.stdout.is_empty());
}
