//! `[gate]`: runs that pass although not all trials do.

use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::runner::Runner;

/// Nine tests, of which one fails and one ends in an error. The failing one counts twice.
fn runner(gate: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    let mut tests = String::new();
    for index in 0..7 {
        tests.push_str(&format!(
            "[[tests]]\nid = \"ok{index}\"\ntags = [\"good\"]\ninput = {{ do = \"echo\", value = 1 }}\n"
        ));
    }
    tests.push_str(
        r#"
        [[tests]]
        id = "bad"
        weight = 2
        tags = ["weak"]
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "trap"
        tags = ["weak"]
        input = { do = "trap" }
        "#,
    );
    runner.scenario(&format!("{gate}\n[providers.p]\nplugin = \"hostile.wasm\"\n{tests}"));
    runner
}

#[test]
fn gate_counts_trials_that_it_leaves_out() {
    let test = |id: &str, input: &str, more: &str| {
        format!("[[tests]]\nid = \"{id}\"\ninput = {{ {input} }}\n{more}\n")
    };
    let scored = |id: &str, score: f64| {
        let input = format!("do = \"echo\", value = {{ score = {score} }}");
        test(id, &input, "expect = { graders = [\"judge\"] }")
    };
    let tests = scored("high", 0.9)
        + &scored("low", 0.8)
        + &test("skips", "do = \"verdict\", verdict = \"skip\"", "")
        + &test("silent", "do = \"echo\", value = 1", "")
        + &test("traps", "do = \"trap\"", "")
        + "[graders.judge]\nplugin = \"bundled:echo\"\ninput = \"{{output}}\"\nmin_score = 0.5\n";
    let provider = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";
    let runner = Runner::new(&["hostile"]);
    let gate = "[gate]\nmin_score = 0.8\npass_rate = 0.5\nmax_errors = 1\n";
    runner.scenario(&format!("{gate}{provider}{tests}"));
    let ran = runner.exec(&[]).expect(0);
    let score =
        "mean score 0.85 of 2, at least 0.8 (without 3 trials that have no score or were skipped)";
    let rate = "pass rate 3 of 4, at least 50 %";
    snapshot(&ran);
    ran.says(&[score, rate]);
    let run = runner.only_run();
    let conditions = run.manifest()["gate"]["conditions"].clone();
    let left_out = |index: usize| conditions[index].get("left_out").cloned();
    assert_eq!([left_out(0), left_out(1), left_out(2)], [Some(json!(1)), Some(json!(3)), None]);
    snapshot(&runner.run(&["show"]).expect(0));
    let report = runner.run(&["report", "--markdown", "-"]).expect(0);
    assert!(report.stdout.contains(score), "{}", report.stdout);
}

#[test]
fn trials_without_weight_are_counted_apart() {
    let runner = Runner::hostile(
        r#"
        [gate]
        pass_rate = 0.5
        max_errors = 0
        [[tests]]
        id = "good"
        input = { do = "echo", value = 1 }
        [[tests]]
        id = "bad"
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "trial"
        weight = 0
        input = { do = "echo", value = 1 }
        [[tests]]
        id = "skips"
        weight = 0
        input = { do = "verdict", verdict = "skip" }
        "#,
    );
    snapshot(&runner.exec(&[]).expect(0));
    let condition = runner.only_run().manifest()["gate"]["conditions"][0].clone();
    let counts = ["trials", "left_out", "weightless"].map(|key| condition[key].clone());
    assert_eq!(counts, [json!(2), json!(2), json!(1)]);
}

#[test]
fn invalid_condition_is_the_only_problem() {
    for key in ["pass_rate = 90", "max_errors = \"{{row.x}}\"", "pas_rate = 0.9", "min_score = nan"]
    {
        let ran = runner(&format!("[gate]\n{key}")).exec(&[]).expect(2);
        let errors = ran.stderr.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("no condition"), "{}", ran.stderr);
    }
    for gate in ["[gate]", "[gate.tags]", "[gate.tags.weak]"] {
        snapshot(&runner(gate).exec(&[]).expect(2));
    }
}

#[test]
fn gate_decides_verdict_and_exit_code() {
    for (gate, code, conditions) in [
        ("[gate]\npass_rate = 0.7", 0, "passed: ✓ pass rate 70 % (37.1–90.2) of 9, at least 70 %"),
        ("[gate]\npass_rate = 0.71", 1, "failed: ✗ pass rate 70 % (37.1–90.2) of 9, at least 71 %"),
        ("[gate]\nmax_errors = 1", 0, "passed: ✓ 1 error, at most 1"),
        ("[gate]\nmax_errors = 0", 1, "failed: ✗ 1 error, at most 0"),
        ("[gate]\nmin_score = 0.5", 1, "failed: ✗ no trial has a score"),
        ("[gate.tags.good]\npass_rate = 1.0", 0, "passed: ✓ tag good: pass rate 7 of 7"),
        ("[gate.tags.weak]\npass_rate = 0.5", 1, "failed: ✗ tag weak: pass rate 0 % (0.0–"),
        ("[gate.providers.\"*\"]\nmax_errors = 1", 0, "passed: ✓ provider *: 1 error"),
    ] {
        let runner = runner(gate);
        let ran = runner.exec(&[]).expect(code);
        assert!(ran.stdout.contains(conditions), "{gate}: {}", ran.stdout);
        let run = runner.only_run();
        let verdict = if code == 0 { "passed" } else { "failed" };
        let [status, _, _, stored] = run.ending();
        assert_eq!([&*status, &stored], ["completed", verdict], "{gate}");
        let listed = &runner.list()[0];
        assert_eq!((&listed["state"], &listed["exit_code"]), (&json!(verdict), &json!(code)));
        let words = conditions.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ");
        let failed = listed["failed_gate"].as_str();
        assert_eq!(failed.is_some_and(|failed| failed.starts_with(&words)), code == 1, "{gate}");
        let list = runner.run(&["list"]).expect(0).stdout;
        assert_eq!(list.contains("✗ failed (gate)"), code == 1, "{list}");
        runner.run(&["wait", "latest"]).expect(code);
        runner.run(&["verify"]).expect(0);
        let shown = runner.run(&["show", "latest"]).expect(0).stdout;
        assert!(shown.contains(conditions), "{shown}");
        // Without the database, the rows and the manifest say the same.
        runner.run(&["reindex"]).expect(0);
        assert_eq!(runner.list()[0]["state"], verdict);
    }
}

#[test]
fn gate_passes_no_incomplete_run() {
    let runner = runner("[gate]\npass_rate = 0.1");
    runner.exec(&["--fail-fast=1", "-j1"]).expect(4);
    assert_eq!(runner.list()[0]["state"], "incomplete");
    runner.run(&["resume", "--fail-fast=off"]).expect(0);
    assert_eq!(runner.list()[0]["state"], "passed");
    // A later session is judged by the gate, too.
    runner.run(&["resume", "latest", "--rerun", "failed"]).expect(0);
    runner.scenario(&runner_text(&runner).replace("0.1", "1.0"));
    runner.run(&["resume", "latest", "--rerun", "failed"]).expect(0);
    runner.run(&["resume", "latest", "--accept-changes", "--rerun", "failed"]).expect(1);
}

fn runner_text(runner: &Runner) -> String {
    std::fs::read_to_string(runner.path("scenario.toml")).unwrap()
}

#[test]
fn rules_for_nothing_are_refused() {
    for (gate, says) in [
        ("[gate.tags.weka]\npass_rate = 1.0", "no test has the tag `weka`"),
        ("[gate.providers.q]\npass_rate = 1.0", "no provider matches `q`"),
        ("[gate]\npass_rate = 90", "`pass_rate`"),
        ("[gate]", "`[gate]` has no condition"),
        ("[gate]\npas_rate = 0.9", "did you mean `pass_rate`?"),
    ] {
        let runner = runner(gate);
        let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        runner.exec(&[]).expect(2);
    }
    let untagged = Runner::new(&[]);
    untagged.scenario(
        "[gate.tags.a]\npass_rate = 1\n[providers.p]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"t\"\n",
    );
    snapshot(&untagged.exec(&[]).expect(2));
    // A selection does not hide the slip.
    runner("[gate.tags.weka]\npass_rate = 1.0").exec(&["--tag", "good"]).expect(2);
    // A selection may leave a rule without trials.
    let runner = runner("[gate.tags.weak]\npass_rate = 1.0");
    let ran = runner.exec(&["--test", "ok*"]).expect(0);
    assert!(ran.stdout.contains("tag weak: no trials"), "{}", ran.stdout);
}

#[test]
fn weights_of_nearly_nothing_pass_no_run() {
    for (weight, says) in [
        ("0", "failed: ✗ no trial has a weight; 1 trial is left out"),
        ("1e-200", "failed: ✗ pass rate 0 % of 1, at least 50 %"),
    ] {
        let runner = Runner::new(&["hostile"]);
        runner.scenario(&format!(
            r#"
            [gate]
            pass_rate = 0.5
            [providers.p]
            plugin = "hostile.wasm"
            [[tests]]
            id = "bad"
            weight = {weight}
            input = {{ do = "echo", value = 1 }}
            expect = {{ equals = 2 }}
            "#
        ));
        let ran = runner.exec(&[]).expect(1);
        assert!(ran.stdout.contains(says), "{}", ran.stdout);
        let shown = runner.run(&["show", "latest"]).expect(0).stdout;
        assert!(shown.contains(says), "{shown}");
    }
}

#[test]
fn rescore_keeps_the_gate_of_the_run() {
    let runner = runner("[gate.tags.weak]\npass_rate = 1.0");
    runner.exec(&[]).expect(1);
    let text = runner_text(&runner).replace("tags.weak", "tags.weka");
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    let ran = runner.run(&["rescore"]).expect(1);
    assert!(ran.stdout.contains("tag weak: pass rate 66.7 % (14.7–95.9) of 2"), "{}", ran.stdout);
}

#[test]
#[cfg(debug_assertions)]
fn death_before_a_gate_leaves_no_verdict() {
    use crate::support::running::Running;

    let runner = Runner::new(&["hostile"]);
    let scenario = r#"
        [gate]
        min_score = 0.9
        [providers.p]
        plugin = "hostile.wasm"
        [[tests]]
        id = "scored"
        input = { do = "measure", score = 0.5 }
        expect = { min_score = 0.1 }
        "#;
    runner.scenario(scenario);
    for args in [&["exec", "scenario.toml"][..], &["rescore"]] {
        let mut command = runner.command(args);
        command.env("RUNNER_FAULT", "manifest-write:kill:2");
        assert_eq!(Running::start(&mut command).finish().code, None, "{args:?}");
        assert_eq!(runner.list()[0]["state"], "incomplete", "{args:?}");
        runner.run(&["wait", "latest"]).expect(4);
        runner.run(&["resume"]).expect(1);
        assert_eq!(runner.list()[0]["state"], "failed", "{args:?}");
        runner.scenario(&scenario.replace("0.1", "0.2"));
    }
}

/// A test on a provider that echoes, judged by graders that answer with their inputs.
fn judged(gate: &str, graders: &[&str]) -> Runner {
    let runner = Runner::new(&[]);
    let tables: String = (0..)
        .zip(graders)
        .map(|(index, input)| {
            format!(
                "[graders.g{index}]\nplugin = \"bundled:echo\"\ninput = {input}\nmin_score = 0.0\n"
            )
        })
        .collect();
    let names: Vec<_> = (0..graders.len()).map(|index| format!("g{index}")).collect();
    runner.scenario(&format!(
        "{gate}\n[providers.p]\nplugin = \"bundled:echo\"\n{tables}[[tests]]\nid = \"t\"\ninput = 1\nexpect = {{ graders = {names:?} }}\n"
    ));
    runner
}

#[test]
fn trial_with_grader_error_has_no_score() {
    let runner = judged("[gate]\nmin_score = 0.8", &["{ score = 0.9 }", "\"no answer\""]);
    let says = "gate failed: ✗ no trial has a score; 1 trial is left out";
    runner.exec(&[]).expect(1).says(&[says]);
}

#[test]
fn skipped_trials_hold_no_gate() {
    for gate in ["pass_rate = 0.5", "min_score = 0.5"] {
        let runner = judged(&format!("[gate]\n{gate}"), &["{ verdict = \"skip\" }"]);
        let ran = runner.exec(&[]).expect(1);
        assert!(ran.stdout.contains("gate failed: ✗"), "{}", ran.stdout);
    }
}

#[test]
fn junit_has_failure_for_broken_gate() {
    let runner = judged("[gate]\nmin_score = 0.8", &["{ score = 0.1 }"]);
    runner.exec(&["--junit", "tests.xml"]).expect(1);
    let xml = std::fs::read_to_string(runner.path("tests.xml")).unwrap();
    assert!(xml.contains(r#"tests="2" failures="1" errors="0""#), "{xml}");
    assert!(xml.contains(r#"<testcase name="gate""#), "{xml}");
    assert!(xml.contains("mean score 0.1 of 1, at least 0.8"), "{xml}");
}
