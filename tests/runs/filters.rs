//! `-E`: the filter language on the command line.

use std::collections::BTreeSet;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{runner::Runner, truth::results};

/// Tests that pass, fail and trap.
fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.good]
        plugin = "hostile.wasm"
        [providers.other]
        plugin = "bundled:echo"
        [[tests]]
        id = "math/add"
        providers = ["good"]
        tags = ["fast"]
        input = { do = "echo", value = "Four" }
        expect = { json = "Four" }
        [[tests]]
        id = "math/divide"
        meta = { topic = "numbers" }
        input = { do = "echo", value = "One" }
        expect = { json = "Two" }
        [[tests]]
        id = "text/trap"
        providers = ["good"]
        input = { do = "trap" }
        "#,
    );
    runner
}

fn selected(runner: &Runner, args: &[&str]) -> Vec<String> {
    let ran = runner.run(&[&["exec", "scenario.toml", "--dry-run"][..], args].concat()).expect(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn filter_selects_tests_and_providers() {
    let runner = runner();
    for (args, expected) in [
        (
            &["-E", "test(math/*) & provider(good)"][..],
            &["math/add@good#1", "math/divide@good#1"][..],
        ),
        (&["-E", "tag(fast)"], &["math/add@good#1"]),
        (&["-E", "meta(topic=num*) !provider(good)"], &["math/divide@other#1"]),
        (
            &["-E", "divide | trap", "--provider", "good"],
            &["math/divide@good#1", "text/trap@good#1"],
        ),
        (&["-E", "math/*", "-E", "!divide", "--exclude", "text/*"], &["math/add@good#1"]),
        (&["-E", "trap@good"], &["text/trap@good#1"]),
    ] {
        assert_eq!(selected(&runner, args), expected, "{args:?}");
    }
}

#[test]
fn results_of_another_run_select_tests() {
    let runner = runner();
    let ran = runner.exec(&[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let first = runner.only_run().id().to_owned();
    let bad = ["math/divide@good#1", "math/divide@other#1", "text/trap@good#1"];
    for args in [
        &["--failed-in", "latest"][..],
        &["--failed-in", &first],
        &["-E", "in(latest, outcome(failed, error, timeout))"],
        &["-E", "in(latest, !outcome(passed))"],
    ] {
        assert_eq!(selected(&runner, args), bad, "{args:?}");
    }
    for (filter, expected) in [
        ("in(latest, error(trap))", &["text/trap@good#1"][..]),
        ("in(latest, output(four)) & provider(good)", &["math/add@good#1"]),
        ("in(latest, output(\"ONE\")) & provider(other)", &["math/divide@other#1"]),
        ("in(latest, tag(fast) | provider(other))", &["math/add@good#1", "math/divide@other#1"]),
        ("in(latest, meta(topic)) & !provider(good)", &["math/divide@other#1"]),
    ] {
        assert_eq!(selected(&runner, &["-E", filter]), expected, "{filter}");
    }
    // The run keeps the id in place of `latest`, and `--accept-changes` asks again.
    runner.exec(&["-E", "in(latest, error(trap))"]);
    let second = runner.runs().pop().unwrap();
    let filter = second.manifest()["metadata"]["selection"]["filter"].clone();
    assert_eq!(filter, format!("in({first}, error(trap))"));
    runner.run(&["resume", "latest", "--accept-changes", "--rerun", "all"]);
    assert_eq!(results(&second).into_keys().collect::<Vec<_>>(), ["text/trap@good#1"]);
}

#[test]
fn filter_selects_trials_to_run_again() {
    let runner = runner();
    runner.exec(&[]);
    let run = runner.only_run();
    let rerun = |filter: &str| {
        let before = run.rows().len();
        let args = ["resume", "latest", "--rerun", filter];
        let preview = runner.run(&[&args[..], &["--dry-run"]].concat()).expect(0).stdout;
        let ran = runner.run(&args);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let again = run.rows().split_off(before);
        let again: BTreeSet<_> = again.iter().map(|row| row["trial"].as_str().unwrap()).collect();
        assert_eq!(again, preview.lines().collect());
        again.iter().map(|trial| (*trial).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rerun("error(trap) | output(four)"), ["math/add@good#1", "text/trap@good#1"]);
    assert_eq!(
        rerun("!outcome(passed) & test(math/*)"),
        ["math/divide@good#1", "math/divide@other#1"]
    );
    assert_eq!(rerun("trial(*@other#1)"), ["math/divide@other#1"]);
    runner.run(&["verify"]).expect(0);
    let refused = runner.run(&["resume", "latest", "--rerun", "slower(1h)"]).expect(5);
    assert!(refused.stderr.contains("`slower(1h)` matches no trial"), "{}", refused.stderr);
    snapshot(&runner.run(&["resume", "latest", "--rerun", "outcome(faild)"]).expect(2));
    // What a session selected does not change afterwards.
    runner.run(&["prune", "--keep-last", "1", "--yes"]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn show_prints_only_matching_trials() {
    let mut transcript = Transcript::default();
    let runner = runner();
    runner.exec(&[]);
    for (args, expected) in [
        (&["-E", "provider(good) math"][..], &["math/add@good#1", "math/divide@good#1"][..]),
        (&["-E", "error(trap)"], &["text/trap@good#1"]),
        (&["-E", "math/*", "--failed"], &["math/divide@good#1", "math/divide@other#1"]),
        (&["-E", "tag(fast) | meta(topic=x)"], &["math/add@good#1"]),
        (&["-E", "in(latest, outcome(failed)) & log(x)"], &[]),
    ] {
        let args = [&["show", "latest"][..], args].concat();
        let document = runner.run(&[&args[..], &["--json"]].concat()).expect(0).document();
        let rows = document["rows"].as_array().unwrap();
        let trials: BTreeSet<_> = rows.iter().map(|row| row["trial"].as_str().unwrap()).collect();
        assert_eq!(trials, expected.iter().copied().collect(), "{args:?}");
        let shown = runner.run(&args).expect(0).stdout;
        for trial in ["math/add@good#1", "math/divide@other#1", "text/trap@good#1"] {
            assert_eq!(shown.contains(trial), trials.contains(trial), "{args:?}: {shown}");
        }
    }
    transcript.run(&runner, &["show", "-E", "outcome(faild)"]).expect(2);
    transcript.run(&runner, &["show", "latest", "-E", "math fast !x"]).expect(0);
    let shown = transcript.run(&runner, &["show", "latest", "-E", "timeout"]).expect(0);
    assert!(!shown.stderr.contains("`math`") && !shown.stderr.contains("`x`"), "{}", shown.stderr);
    transcript.check("show_prints_only_matching_trials");
}

#[test]
fn logs_are_searched() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\ninput = { do = \"log\" }\n[[tests]]\nid = \"b\"\ninput = { do = \"echo\" }\n",
    );
    runner.exec(&[]).expect(0);
    let shown = runner.run(&["show", "-E", "log(CAREFUL)"]).expect(0).stdout;
    assert!(shown.contains("a@p#1") && !shown.contains("b@p#1"), "{shown}");
}

#[test]
fn lost_results_of_another_run_are_refused() {
    let runner = runner();
    runner.exec(&[]);
    let run = runner.only_run();
    let rows = run.text("index.jsonl");
    let kept = rows.lines().filter(|row| !row.contains("\"failed\""));
    run.write("index.jsonl", kept.map(|row| format!("{row}\n")).collect::<String>());
    for args in [&["--failed-in", "latest"][..], &["-E", "!in(latest, outcome(passed))"]] {
        runner.exec(args).expect(2).says(&["is damaged", "runner verify"]);
    }
}
