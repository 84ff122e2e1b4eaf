//! Flaky, fixed and regressed tests: one rule for `exec`, `show`, `compare`, `history`, reports and the server.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    http::Site,
    runner::{Runner, tests},
    running::Running,
    server::{Response, Server},
};

/// A scenario with a granted folder, whose test reads a file of it.
fn with_folder() -> Runner {
    let runner = Runner::new(&["files"]);
    fs::create_dir(runner.path("open")).unwrap();
    let acts = tests("acts | [[\"read\", \"/data/file\"]] | equals = [{ ok = \"1\" }]");
    runner.scenario(&format!(
        "[providers.files]\nplugin = \"files.wasm\"\ngrants.fs = [{{ path = \"open\", mount = \"/data\" }}]\n{acts}"
    ));
    runner
}

/// Returns the numbers of flaky, fixed and regressed tests, from counts of classes.
fn numbers(counts: &Value) -> Value {
    json!([counts["flaky"], counts["fixed"], counts["regressed"]])
}

#[test]
fn what_broke_again_has_regressed() {
    let runner = with_folder();
    for content in ["0", "1", "1", "1", "1", "0"] {
        runner.write("open/file", content);
        runner.exec(&[]);
    }
    snapshot(&runner.run(&["compare", "--fail-on", "regressed"]).expect(1));
    snapshot(&runner.run(&["show"]).expect(0));
    let history = runner.run(&["history", "--json"]).expect(0).document();
    assert_eq!(history["tests"][0]["flaky_runs"], 0, "{history}");
}

#[test]
fn service_that_breaks_again_has_regressed() {
    let runner = Runner::new(&[]);
    let is_up = Arc::new(AtomicBool::new(true));
    let server = Server::start({
        let is_up = is_up.clone();
        move |_| if is_up.load(Ordering::SeqCst) { Response::ok("1") } else { Response::new(500) }
    });
    let origin = server.origin();
    runner.scenario(&format!(
        "[providers.api]\nplugin = \"bundled:http\"\nconfig = {{ base_url = \"{origin}\" }}\ngrants = {{ net = [\"{origin}\"] }}\n[[tests]]\nid = \"a\"\ninput = {{ path = \"/v\" }}\nexpect = {{ json = {{ status = 200 }} }}\n"
    ));
    for up in [false, true, false, true, false] {
        is_up.store(up, Ordering::SeqCst);
        runner.exec(&[]).expect(i32::from(!up));
    }
    snapshot(&runner.run(&["compare", "--fail-on", "regressed"]).expect(1));
}

/// A command that fails in half of its calls, without any grant.
const COIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $random (i32.const 0) (i32.const 1)))
        (call $exit (i32.and (i32.load8_u (i32.const 0)) (i32.const 1)))))"#;

#[test]
fn test_that_changes_without_cause_is_flaky() {
    let runner = Runner::new(&[]);
    runner.wat("coin.wasm", COIN);
    runner.scenario("[providers.coin]\nplugin = \"coin.wasm\"\n[[tests]]\nid = \"toss\"\n");
    let (mut results, mut flaky, mut printed) = (Vec::new(), 0, String::new());
    // Until the coin has changed its side often enough.
    while flaky == 0 {
        assert!(results.len() < 100, "{results:?}");
        let ran = runner.exec(&[]);
        results.push(ran.code == Some(0));
        printed = ran.stdout;
        let recent = &results[results.len().saturating_sub(10)..];
        let changes = recent.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let expected = match recent {
            [.., true, false] if changes < 3 => json!([0, 0, 1]),
            [.., false, true] if changes < 3 => json!([0, 1, 0]),
            [.., before, now] if before != now => json!([1, 0, 0]),
            [.., false, false] => json!([0, 0, 0]),
            _ => continue,
        };
        let shown = runner.run(&["show", "--json"]).expect(0).document();
        assert_eq!(numbers(&shown["since_previous"]["counts"]), expected, "{results:?}");
        flaky = expected[0].as_u64().unwrap();
    }
    let reason = "toss@coin  unstable: 3 changes without a cause in recent runs";
    assert!(printed.contains(&format!("\n  flaky: {reason}")), "{printed}");
    let compared = runner.run(&["compare", "--fail-on", "regressed"]).expect(0);
    compared.says(&["1 flaky", "unstable: 3 changes without a cause in recent runs"]);
    let history = runner.run(&["history", "--json", "-n", "100"]).expect(0).document();
    assert_eq!(history["tests"][0]["flaky_runs"], 1, "{history}");
}

#[test]
fn failure_after_retried_pass_has_regressed() {
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 1 }\n[[tests]]\nid = \"limited\"\ninput = { do = \"fail-until\" }\n",
    );
    runner.exec(&[]).expect(0);
    snapshot(&runner.exec(&["--retries", "0"]).expect(1));
    runner.run(&["compare", "--fail-on", "regressed"]).expect(1).says(&["1 regressed"]);
    // An earlier pass by a retry hides nothing either.
    snapshot(&runner.exec(&[]).expect(0));
    snapshot(&runner.run(&["compare"]).expect(0));
}

#[test]
fn partial_passes_that_end_have_regressed() {
    let runner = Runner::new(&["hostile"]);
    let write = |expected: &str| {
        runner.scenario(&format!(
            "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"part\"\nrepeat = 3\ninput = {{ do = \"fail-at\", repeat = 2 }}\nexpect = {{ matches = \"{expected}\" }}\n"
        ));
    };
    write("[123]");
    runner.exec(&[]).expect(1);
    write("9");
    runner.exec(&[]).expect(1);
    let compared = runner.run(&["compare", "--fail-on", "regressed"]).expect(1);
    snapshot(&compared);
}

/// Tests of all kinds: by three graders with weights, with repeats, retries, prices and a gate. `turn` changes their results.
fn many_kinds(turn: u8) -> String {
    let mut text = "[defaults]\nretries = { max = 1 }\n[gate]\npass_rate = 0.1\n[prices.\"*\"]\ntokens = 2_000_000\n[providers.small]\nplugin = \"hostile.wasm\"\n[providers.large]\nplugin = \"hostile.wasm\"\n".to_owned();
    for (grader, weight) in [("one", 1), ("two", 3), ("three", 0)] {
        text += &format!(
            "[graders.{grader}]\nplugin = \"hostile.wasm\"\ninput = {{ do = \"measure\", score = \"{{{{reference.{grader}}}}}\", tokens = 5 }}\nmin_score = 0.5\nweight = {weight}\n"
        );
    }
    let graders = "expect = { graders = [\"one\", \"two\", \"three\"] }";
    let echo = "input = { do = \"echo\", value = 1 }";
    let mut add = |id: String, keys: &str| text += &format!("[[tests]]\nid = \"{id}\"\n{keys}\n");
    for number in 0..12_u8 {
        // Scores that rise, fall or stay.
        let [was, is] = [number % 2, number % 3 / 2];
        let score = if turn == 0 { was } else { is };
        let weight = f64::from(number) / 2.0 + 0.5;
        add(
            format!("graded/{number}"),
            &format!(
                "weight = {weight}\n{echo}\nreference = {{ one = {score}, two = 1, three = 1 }}\n{graders}"
            ),
        );
        let repeat = number % 4 + turn;
        add(
            format!("mixed/{number}"),
            &format!("repeat = 3\ninput = {{ do = \"fail-at\", repeat = {repeat} }}"),
        );
        let attempt = if (number + turn).is_multiple_of(5) { 3 } else { number % 3 };
        add(
            format!("retried/{number}"),
            &format!("input = {{ do = \"fail-until\", attempt = {attempt} }}"),
        );
    }
    text
}

#[test]
fn every_command_counts_the_same_changes() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&many_kinds(0));
    runner.exec(&[]);
    runner.scenario(&many_kinds(1));
    let ran = runner.exec(&["--report", "junit.xml"]);
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    let counts = shown["since_previous"]["counts"].clone();
    let found = numbers(&counts);
    assert!(found.as_array().unwrap().iter().all(|number| number.as_u64() > Some(1)), "{counts}");
    let line = format!(
        "{} newly failing, {} fixed, {} still failing, {} flaky",
        counts["regressed"], counts["fixed"], counts["still_failing"], counts["flaky"]
    );
    ran.says(&[&line]);
    runner.run(&["show"]).says(&[&line]);
    let compared = runner.run(&["compare", "--json"]).expect(0).document();
    assert_eq!(compared["counts"], counts);
    runner.run(&["compare"]).expect(0).says(&[&line.replace("newly failing", "regressed")]);
    let of_class = |class: &str| -> BTreeSet<String> {
        let changes = compared["changes"].as_array().unwrap().iter();
        let changes = changes.filter(|change| change["class"] == class);
        let name = |key: &Value| key.as_str().unwrap().to_owned();
        changes.map(|one| format!("{}@{}", name(&one["test"]), name(&one["provider"]))).collect()
    };
    for class in ["regressed", "fixed", "flaky"] {
        assert_eq!(json!(of_class(class).len()), counts[class], "{class}");
    }

    // `history` counts a flaky test in its run, without that of the run before.
    let flaky = |limit: &str| -> Vec<(String, u64)> {
        let history = runner.run(&["history", "--json", "-n", limit]).expect(0).document();
        let tests = history["tests"].as_array().unwrap().clone();
        let name = |test: &Value, key: &str| test[key].as_str().unwrap().to_owned();
        let runs = |test: &Value| test["flaky_runs"].as_u64().unwrap();
        tests
            .iter()
            .map(|test| {
                let marks = test["marks"].as_array().unwrap();
                let was = u64::from(marks.len() == 2 && marks[0] == "flaky");
                (format!("{}@{}", name(test, "test"), name(test, "provider")), runs(test) - was)
            })
            .collect()
    };
    let by_history = flaky("2").into_iter().filter(|(_, runs)| *runs > 0).map(|(name, _)| name);
    assert_eq!(by_history.collect::<BTreeSet<_>>(), of_class("flaky"));

    // JUnit has the attempts and repeats of the newer run alone: tests with both results are flaky there, or have regressed.
    let junit = fs::read_to_string(runner.path("junit.xml")).unwrap();
    let again: BTreeSet<_> = junit
        .split("<testcase name=\"")
        .skip(1)
        .filter(|case| case.contains("<flaky"))
        .map(|case| case.split('#').next().unwrap().to_owned())
        .collect();
    assert!(!again.is_empty() && again.is_subset(&of_class("flaky")), "{again:?}");

    let site = Site::start(&runner, &[]);
    let runs = runner.runs();
    let page = site.get(&format!("/runs/{}", runs[1].id()));
    assert_eq!(page["since_previous"]["counts"], counts, "{page}");
    let path = format!("/compare?base={}&new={}", runs[0].id(), runs[1].id());
    assert_eq!(site.get(&path)["counts"], counts);
}

#[test]
fn failure_after_skip_passes_no_check() {
    let runner = Runner::new(&[]);
    let judge = |verdict: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:echo\"\n[graders.g]\nplugin = \"bundled:echo\"\ninput = {{ verdict = \"{verdict}\" }}\n[[tests]]\nid = \"t\"\ninput = 1\nexpect = {{ graders = [\"g\"] }}\n"
        ));
    };
    judge("skip");
    runner.exec(&[]).expect(0);
    judge("fail");
    runner.exec(&[]).expect(1);
    snapshot(&runner.run(&["compare", "--fail-on", "regressed"]).expect(1));
}

#[test]
fn newly_skipped_tests_pass_no_check() {
    let runner = Runner::new(&[]);
    let judge = |verdict: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:echo\"\n[graders.g]\nplugin = \"bundled:echo\"\ninput = {{ verdict = \"{verdict}\" }}\n[[tests]]\nid = \"t\"\ninput = 1\nexpect = {{ graders = [\"g\"] }}\n[[tests]]\nid = \"kept\"\ninput = 1\n"
        ));
    };
    let compare = |kind: &str| runner.run(&["compare", "latest~1", "latest", "--fail-on", kind]);
    judge("pass");
    runner.exec(&[]).expect(0);
    judge("skip");
    let named = "): 1 newly skipped newly skipped: t@p";
    runner.exec(&[]).expect(0).says(&[named]);
    runner.run(&["show"]).expect(0).says(&[named]);
    for kind in ["regressed", "significant", "slower"] {
        snapshot(&compare(kind).expect(1));
    }
    // A test that is skipped again, or not selected, does not count as a change.
    let ran = runner.exec(&[]).expect(0);
    assert!(!ran.stdout.contains("since "), "{}", ran.stdout);
    assert!(!ran.stderr.contains("compare"), "{}", ran.stderr);
    compare("regressed").expect(0);
    judge("pass");
    runner.exec(&[]).expect(0);
    runner.exec(&["--test", "kept"]).expect(0);
    compare("regressed").expect(0);
    judge("skip");
    runner.exec(&[]).expect(0);
    judge("fail");
    snapshot(&runner.exec(&[]).expect(1));
}

#[test]
fn each_failed_check_is_on_every_face() {
    // The second check of most trials is the one that matters.
    let runner = Runner::hostile(&tests(
        "a | { do = \"echo\", value = \"x\" } | equals = \"y\", not.contains = \"x\"
        b | { do = \"echo\", value = \"x\" } | equals = \"y\"
        c | { do = \"echo\", value = \"z\" } | equals = \"y\", contains = \"x\", not.contains = \"z\"
        d | { do = \"error\", kind = \"internal\" } |",
    ));
    let extent = "4 trials, 6 failed checks, by kind: 3 × equals, 2 × not.contains, 1 × contains, 1 × internal";
    let run = runner.exec(&[]).expect(1);
    let both = "equals (+1 more check): expected \"y\", got \"x\"";
    run.says(&[
        &format!("failed: {extent}"),
        "not.contains (+1 more check): ",
        "equals (+2 more checks): ",
    ]);
    runner.run(&["show"]).expect(0).says(&[extent]);
    let shown = runner.run(&["show", "--failed", "-E", "check(not.*)"]).expect(0).stdout;
    assert!(shown.contains("a@hostile#1") && shown.contains("c@hostile#1"), "{shown}");
    assert!(!shown.contains("b@hostile#1") && shown.contains("not.contains: "), "{shown}");
    for (form, part) in [
        ("--markdown", extent),
        ("--html", extent),
        (
            "--junit",
            "message=\"equals (+1 more check): expected &quot;y&quot;, got &quot;x&quot;\"",
        ),
        ("--csv", "equals (+1 more check): expected \"\"y\"\", got \"\"x\"\""),
        ("--trace", "equals (+1 more check): expected \\\"y\\\", got \\\"x\\\""),
    ] {
        let text = runner.run(&["report", form]).expect(0).stdout;
        assert!(text.contains(part), "{form}: {text}");
    }
    let site = Site::start(&runner, &[]);
    let trials = site.get("/runs/latest/trials?filter=check(not.contains)");
    let lines = trials["trials"].as_array().unwrap().iter().map(|trial| &trial["headline"]);
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [both, "equals (+2 more checks): expected \"y\", got \"z\""]
    );
    runner.exec(&["--test", "a"]).expect(1);
    runner.run(&["compare", "latest~1", "latest"]).expect(0).says(&[both]);
    // In a job, a trial is in the annotation of each reason, and the sums are said.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    let job = Running::start(command.env("GITHUB_ACTIONS", "true")).finish().expect(1);
    job.says(&["::notice::", extent]);
}
