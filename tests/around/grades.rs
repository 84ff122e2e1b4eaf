//! Grades: what `exec`, `show`, `list` and `logs` print of graders.

use rustix::process::Signal;
use serde_json::json;

use crate::messages::transcript::Transcript;
use crate::support::{guests, runner::Runner, wait::wait_for};

const GRADED: &str = r#"
[providers.writer]
plugin = "bundled:echo"

[graders.judge]
plugin = "bundled:echo"
input = { score = "{{output}}", explanation = "{{output}} is like {{reference}}" }
min_score = 0.7

[graders.meter]
plugin = "hostile.wasm"
input = { do = "measure", score = 1, tokens = 5 }
min_score = 0.5

[graders.strict]
plugin = "hostile.wasm"
input = { do = "log" }

[graders.later]
plugin = "hostile.wasm"
input = { do = "fail-until" }
retries = { max = 1, backoff = "1ms" }

[[tests]]
id = "good"
input = 0.9
reference = "one"
expect = { graders = ["judge", "meter"] }

[[tests]]
id = "bad"
input = 0.4
reference = "one"
expect = { graders = ["judge"] }

[[tests]]
id = "unread"
input = 1
expect = { graders = ["strict"] }
"#;

const RETRIED: &str = "[[tests]]\nid = \"again\"\ninput = 1\nexpect = { graders = [\"later\"] }\n";

fn graded() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(GRADED);
    runner
}

#[test]
fn exec_prints_grades_and_their_reasons() {
    let runner = graded();
    runner.scenario(&format!("{GRADED}{RETRIED}"));
    let ran = runner.exec(&["-v", "-j", "1"]).expect(1);
    ran.says(&[
        "scenario: 4 trials on 1 provider, 1 at a time",
        "passed good@writer#1 score 0.95 (judge pass 0.9, meter pass 1)",
        "failed bad@writer#1 score 0.4 (judge fail 0.4)",
        "grader judge: score 0.4 < 0.7: 0.4 is like one",
        "error unread@writer#1 (strict error)",
        "grader strict: its answer is not a JSON object",
        "ungraded again@writer#1 (later error)",
        "grader later: try again",
        "✗ failed bad@writer#1 grader judge: score 0.4 < 0.7: 0.4 is like one",
    ]);
    assert_eq!(ran.stdout.matches("ungraded").count(), 1, "{}", ran.stdout);
    let quiet = runner.exec(&[]).expect(1).stdout;
    assert!(!quiet.contains("ungraded") && !quiet.contains("retrying"), "{quiet}");
}

#[test]
fn sessions_end_with_the_cost_of_graders() {
    let runner = Runner::new(&["hostile"]);
    let second = "[providers.second]\nplugin = \"bundled:echo\"\n";
    let price = "[prices.meter]\ntokens = 100_000\n";
    runner.scenario(&format!("{GRADED}{second}{price}"));
    let ran = runner.exec(&[]).expect(1);
    ran.says(&["provider pass rate score tokens cost p50", "meter (grader) 10 $1.00 "]);
    assert!(!ran.stdout.contains("judge (grader)"), "{}", ran.stdout);
}

#[test]
fn show_sums_up_the_answers_of_graders() {
    let runner = graded();
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let shown = runner.show(&run);
    assert_eq!(shown["providers"].as_array().unwrap().len(), 1);
    // 0.9 and 1, 0.4, and none.
    assert_eq!(shown["providers"][0]["score"], 0.675);
    let graders = shown["graders"].as_array().unwrap();
    let of = |name: &str| graders.iter().find(|grader| grader["grader"] == name).unwrap();
    let judge = of("judge");
    assert_eq!(judge["plugin"], "bundled:echo");
    assert_eq!([&judge["passed"], &judge["failed"], &judge["error"]], [1, 1, 0]);
    assert_eq!(judge["score"], 0.65);
    assert_eq!(of("meter")["metrics"], json!([{"name": "tokens", "value": 5.0, "unit": "1"}]));
    assert_eq!(of("strict")["error"], 1);
    runner.run(&["show"]).expect(0).says(&[
        "judge (bundled:echo) 1 1",
        "meter (hostile.wasm) 1 1 of 1 1 5 ",
        "failed bad@writer#1 grader judge: score 0.4 < 0.7: 0.4 is like one",
    ]);
}

#[test]
fn pages_and_logs_name_the_graders() {
    let runner = graded();
    runner.exec(&[]).expect(1);
    let page = runner.run(&["show", "latest", "bad"]).expect(0);
    page.says(&["grades judge: fail 0.4, at least 0.7, "]);
    assert_eq!(page.stdout.matches("is like").count(), 1, "{}", page.stdout);
    assert!(!page.stdout.contains("attempts"), "{}", page.stdout);
    page.says(&["--trial bad@writer#1 --grader judge"]);
    let page = runner.run(&["show", "latest", "good"]).expect(0).stdout;
    assert!(page.ends_with("--trial good@writer#1\n"), "{page}");
    let page = runner.run(&["show", "latest", "unread"]).expect(0);
    page.says(&["strict: error, ", "error: its answer", "log: warn careful"]);
    let logs = runner.run(&["logs"]).expect(0).stdout;
    assert!(logs.contains("unread@writer#1 strict:\n  log "), "{logs}");
    assert_eq!(logs.matches("careful").count(), 1, "{logs}");
}

#[test]
fn logs_of_plain_graders_are_shown_once_by_their_reason() {
    let runner = Runner::new(&[]);
    runner.link(&guests::command(), "command.wasm");
    let test = |id: &str, log: &str, reason: &str| {
        format!(
            "[[tests]]\nid = \"{id}\"\ninput = {{ log = \"{log}\", reason = \"{reason}\" }}\n\
             expect = {{ graders = [\"hidden\"] }}\n"
        )
    };
    runner.scenario(&format!(
        "[providers.writer]\nplugin = \"bundled:echo\"\n[graders.hidden]\nplugin = \"command.wasm\"\n\
         args = [\"fail\", \"F\\nFAIL: {{{{input.output.log}}}}\\nAssertionError: {{{{input.output.reason}}}}\\n\\nFAILED (failures=1)\"]\n{}",
        test("sums", "in sums", "1 != 2")
            + &test("texts", "in texts", "no text")
            // The start of a long log is not kept.
            + &test("long", &"frame ".repeat(1000), "no text"),
    ));
    runner.exec(&[]).expect(1).says(&["texts@writer#1, long@writer#1"]);
    let page = runner.run(&["show", "latest", "sums"]).expect(0);
    page.says(&["fail: AssertionError: 1 != 2"]);
    for text in ["FAIL:", "AssertionError:", "(failures=1)"] {
        assert_eq!(page.stdout.matches(text).count(), 1, "{}", page.stdout);
    }
}

#[test]
fn previews_tell_graders_from_providers() {
    let mut transcript = Transcript::default();
    let runner = graded();
    transcript.exec(&runner, &["--dry-run"]).expect(0);
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(0);
    runner.scenario(&GRADED.replace(
        "[graders.meter]",
        "[graders.meter.grants]\nnet = [\"https://a.example\"]\n[graders.meter]",
    ));
    transcript.exec(&runner, &["--dry-run"]).expect(0);
    transcript.check("previews_tell_graders_from_providers");
}

#[test]
fn outputs_that_wait_for_graders_are_counted() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.writer]
        plugin = "bundled:echo"
        [graders.slow]
        plugin = "hostile.wasm"
        input = { do = "sleep" }
        timeout = "10m"
        [[tests]]
        id = "plain"
        input = 1
        [[tests]]
        id = "judged"
        input = 1
        expect = { graders = ["slow"] }
        "#,
    );
    let running = runner.start(&["--grace", "0s"]);
    let run = wait_for("the grader runs", || {
        let run = runner.runs().pop()?;
        let live = runner.show(&run)["live"].clone();
        let is_counted = live["counts"]["passed"] == 1 && live["counts"]["ungraded"] == 1;
        (is_counted && live["in_flight"][0]["grader"] == "slow").then_some(run)
    });
    runner.run(&["show"]).expect(0).says(&[
        "running: 2 of 2 executed, 1 graded (1 passed)",
        "1 attempt in flight",
        "judged@writer#1 judged by slow:",
    ]);
    running.end_by(Signal::INT).0.expect(130);
    let ended = "incomplete (SIGINT): 2 of 2 executed, 1 graded (1 passed)";
    runner.run(&["show"]).expect(0).says(&[ended]);
    runner.run(&["list"]).expect(0).says(&["1/2 (1 ungraded)"]);
    assert_eq!(runner.show(&run)["run"]["counts"]["ungraded"], 1);
    runner.run(&["verify", run.id()]).expect(0);
}
