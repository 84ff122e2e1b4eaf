//! Output of running attempts, and `runner.log`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    guests,
    runner::{Runner, tests},
    running::Running,
    wait::{wait_for, wait_until},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns a scenario line of a test that takes these steps, then waits for a stop.
fn recital(id: &str, steps: &Value) -> String {
    let steps = steps.as_array().unwrap().iter().map(|step| format!("[{}, {}]", step[0], step[1]));
    let steps: Vec<_> = steps.chain(["[\"stop\", 0]".to_owned()]).collect();
    format!("{id} | {{ do = \"recite\", steps = [{}] }} |", steps.join(", "))
}

/// Returns the attempts in `live.json` of the newest run.
fn in_flight(runner: &Runner) -> Vec<Value> {
    let live = runner.runs().pop().map(|run| std::fs::read(run.dir.join("live.json")));
    let live = live.and_then(Result::ok).unwrap_or_default();
    let live: Value = serde_json::from_slice(&live).unwrap_or_default();
    live["in_flight"].as_array().cloned().unwrap_or_default()
}

/// Returns the output of the oldest running attempt. Empty if there is no output yet.
fn output(runner: &Runner) -> String {
    let text = in_flight(runner).first().map(|one| one["output"]["text"].clone());
    text.unwrap_or_default().as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_for_print(running: &Running, text: &str) {
    wait_until(&format!("it prints {text:?}"), || running.printed().contains(text));
}

#[test]
fn running_attempts_show_their_output() {
    let steps = json!([
        ["log", "reading"],
        ["out", "step 1\n"],
        ["err", "step \u{1b}[2J2\u{202e}\n"],
        ["out", "half"],
    ]);
    let runner = Runner::hostile(&tests(&recital("agent", &steps)));
    let running = runner.start(&[]);
    let all = "info: reading n=1\nstep 1\nstep \u{1b}[2J2\u{202e}\nhalf";
    wait_until("there is output", || output(&runner) == all);
    let following = runner.started(&["logs", "-f"]);

    runner.run(&["show"]).expect(0).says(&["agent@hostile#1", " for ", "half"]);
    let shown = runner.run(&["show", "latest", "agent"]).expect(0);
    shown.says(&["running:", "info: reading n=1 step 1 step \\u{1b}[2J2\\u{202e} half reproduce:"]);
    let document = runner.run(&["show", "latest", "agent", "--json"]).expect(0).document();
    assert_eq!(document["running"]["output"], json!({"bytes": all.len(), "text": all}));
    wait_for_print(&following, "step \\u{1b}[2J2");

    running.end_by(Signal::INT).0.expect(130);
    let followed = following.finish().expect(0);
    followed.says(&["agent@hostile#1: live info: reading n=1 live step 1 live step \\u{1b}"]);
    // The whole log has only one more line.
    for line in ["reading", "step 1", "[2J2", "half"] {
        assert_eq!(followed.stdout.matches(line).count(), 1, "{}", followed.stdout);
    }
    assert!(!followed.stdout.contains(['\u{1b}', '\u{202e}']));
    // Programs get each line once, with its source.
    let logs = runner.run(&["logs", "--json"]).expect(0).events();
    assert_eq!(logs.len(), 3, "{logs:?}");
}

#[test]
fn run_in_its_grace_period_is_shown_as_stopping() {
    let runner = Runner::endless(1, "loop", "grace = \"1h\"");
    let running = runner.start(&[]);
    wait_until("it runs", || in_flight(&runner).len() == 1);
    runner.run(&["show"]).expect(0).says(&["now 1 attempt in flight"]);
    running.process().signal(Signal::INT);
    wait_until("it stops", || {
        runner.run(&["show"]).stdout.contains("stopping, 1 attempt in flight")
    });
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn output_stays_in_the_session_of_a_dead_process() {
    let runner = Runner::hostile(&tests(&recital("agent", &json!([["out", "the last words\n"]]))));
    let running = runner.start(&[]);
    wait_until("there is output", || output(&runner) == "the last words\n");
    running.kill();
    let run = runner.show(&runner.only_run());
    let attempt = &run["manifest"]["sessions"][0]["in_flight"][0];
    assert_eq!(attempt["output"]["text"], "the last words\n");
}

#[test]
fn shown_output_has_no_part_of_a_secret() {
    const KEY: &str = "qzxjvkwypf-0123456789";
    let more = "m".repeat(1_100);
    let whole = json!([["start-of-key", 9], ["err", "between\n"], ["end-of-key", 9]]);
    let cut = json!([["start-of-key", 9], ["end-of-key", 9], ["out", more[..1_010]]]);
    let lists = [
        // The rest of the secret is not written yet.
        recital("start", &json!([["log", "first"], ["start-of-key", 9], ["err", "between\n"]])),
        recital("whole", &whole),
        // The first byte that is shown would be in the secret.
        recital("cut", &cut),
        recital("end", &json!([["start-of-key", 21], ["out", more]])),
    ];
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[providers.p.grants]\nsecrets = [\"KEY\"]\n{}",
        tests(&lists.join("\n"))
    ));
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "4"]);
    let running = Running::start(command.env("KEY", KEY));
    let marked = "[secret KEY]".to_owned() + &more[..1_010];
    let expected =
        [&*marked, "between\n[secret KEY]", "info: first n=1\nbetween\n", &more[..1_024]];
    wait_until("all have their output", || {
        let attempts = in_flight(&runner);
        let text = |one: &Value| one["output"]["text"].as_str().map(str::to_owned);
        let mut outputs: Vec<_> = attempts.iter().filter_map(text).collect();
        for text in &outputs {
            for part in KEY.as_bytes().windows(3) {
                let part = str::from_utf8(part).unwrap();
                assert!(!text.contains(part), "{part} in {text}");
            }
        }
        outputs.sort();
        outputs == expected
    });
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn flood_of_output_is_cut_as_json() {
    let runner = Runner::new(&[]);
    runner.link(&guests::command(), "command.wasm");
    runner.scenario(
        "[providers.c]\nplugin = \"command.wasm\"\nargs = [\"flood-forever\"]\nlimits = { reply = \"4GB\", memory = \"64MB\" }\n[[tests]]\nid = \"x\"\ninput = 1\n",
    );
    let mut running = runner.start(&[]);
    let bytes = |runner: &Runner| in_flight(runner).first().map(|one| one["output"].clone());
    let is_flood = |output: &Value| output["bytes"].as_u64() > Some(1 << 20);
    let flood = wait_for("there is much output", || bytes(&runner).filter(is_flood));
    assert_eq!(flood["text"], "x".repeat(1_024));
    assert!(running.is_alive(), "{flood}");
    running.end_by(Signal::INT).0.expect(130);

    let line = "\u{1b}".repeat(400);
    let runner = Runner::hostile(&tests(&recital("agent", &json!([["out", line]]))));
    let running = runner.start(&[]);
    wait_until("there is output", || output(&runner) == line[..1_024 / 6]);
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn oldest_hundred_attempts_show_output() {
    let runner = Runner::hostile_with(
        "limits = { memory = \"8MB\" }",
        &tests(&recital("agent", &json!([["out", "here"]])))
            .replace("[[tests]]", "[[tests]]\nrepeat = 300"),
    );
    let mut running = runner.start(&["-j", "300"]);
    running.wait_until_running(&runner, 300);
    let has_output = |one: &Value| one["output"]["text"] == "here";
    let attempts = wait_for("the oldest have output", || {
        let attempts = in_flight(&runner);
        (attempts.iter().filter(|one| has_output(one)).count() >= 100).then_some(attempts)
    });
    assert_eq!(attempts.iter().position(|one| !has_output(one)), Some(100));
    assert!(!attempts[100..].iter().any(has_output));
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn runner_log_has_plan_and_end_of_each_session() {
    let runner = Runner::hostile_with(
        "[providers.hostile.grants]\nnet = [\"https://example.com\"]",
        &tests("agent | { do = \"wait-for-stop\" } |\ndone | { do = \"echo\", value = 1 } |"),
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    running.wait_until_running(&runner, 1);
    let log = || runner.only_run().text("runner.log");
    running.workers().iter().for_each(|worker| worker.signal(Signal::KILL));
    wait_until("the death is logged", || log().contains(" while it ran agent@hostile#1\n"));
    running.end_by(Signal::INT).0.expect(130);
    let resumed = runner.started(&["resume", "latest", "--json"]);
    wait_until("the run is resumed", || log().contains(" session 2 of runner "));
    resumed.end_by(Signal::INT).0.expect(130);

    let log = log();
    let manifest = runner.only_run().manifest();
    let digest = manifest["providers"][0]["digest"].as_str().unwrap();
    for line in [
        &format!("session 1 of runner {VERSION}: 2 trials, 2 left to run, 2 at a time"),
        &format!(
            "provider `hostile`: hostile.wasm, sha256 {digest}, granted: net = [\"https://example.com\"]"
        ),
        "stopped by SIGINT",
        "the run is incomplete (interrupted); 1 passed of 2 trials; exit code 130",
        &format!("session 2 of runner {VERSION}: 2 trials, 1 left to run, 2 at a time"),
    ] {
        assert!(log.contains(&format!("Z {line}\n")), "{line} in:\n{log}");
    }
}
