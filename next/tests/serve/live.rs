//! Output of running attempts, and `runner.log`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    guests,
    runner::{Runner, tests},
    running::Running,
    wait::{wait_for, wait_until},
};

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
    let following = runner.started(&["logs", "-f"]);
    let all = "info: reading n=1\nstep 1\nstep \u{1b}[2J2\u{202e}\nhalf";
    wait_until("there is output", || output(&runner) == all);

    runner.run(&["show"]).expect(0).says(&["agent@hostile#1", "for", "\n half"]);
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
    // The first write ends in the secret, another source comes between, and the cut would be in it.
    let steps = json!([
        ["log", "start"],
        ["start-of-key", 9],
        ["err", "between\n"],
        ["sleep", 1_300],
        ["end-of-key", 9],
        ["out", more[..1_010]],
        ["sleep", 1_000],
        ["out", more[..1_100]],
    ]);
    let runner = Runner::new(&["hostile"]);
    let list = tests(&recital("agent", &steps));
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[providers.p.grants]\nsecrets = [\"KEY\"]\n{list}"
    ));
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    let running = Running::start(command.env("KEY", KEY));
    let mut seen = Vec::new();
    wait_until("all is shown", || {
        let text = output(&runner);
        for part in KEY.as_bytes().windows(3) {
            let part = str::from_utf8(part).unwrap();
            assert!(!text.contains(part), "{part} in {text}");
        }
        let is_all = text == "m".repeat(1_024);
        if seen.last() != Some(&text) {
            seen.push(text);
        }
        is_all
    });
    assert!(seen.contains(&"info: start n=1\nbetween\n".to_owned()), "{seen:?}");
    let marked = format!("cret KEY]{}", &more[..1_010]);
    assert!(seen.iter().any(|text| text.ends_with(&marked[..])), "{seen:?}");
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
    let first = wait_for("there is output", || bytes(&runner).filter(Value::is_object));
    assert_eq!(first["text"], "x".repeat(1_024));
    assert!(running.is_alive() && first["bytes"].as_u64().unwrap() > 1 << 20, "{first}");
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
            .replace("[[tests]]", "[[tests]]\nrepeat = 1000"),
    );
    let mut running = runner.start(&["-j", "1000"]);
    running.wait_until_running(&runner, 1_000);
    let has_output = |one: &Value| one["output"]["text"] == "here";
    let attempts = wait_for("the oldest have output", || {
        let attempts = in_flight(&runner);
        (attempts.iter().filter(|one| has_output(one)).count() >= 100).then_some(attempts)
    });
    assert_eq!(attempts.iter().position(|one| !has_output(one)), Some(100));
    assert!(!attempts[100..].iter().any(has_output));
    running.end_by(Signal::INT).0.expect(130);
}
