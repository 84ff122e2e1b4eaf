//! The filter language: what it selects for `exec`, `resume --rerun`, `show` and `report`, and what is said of one that is wrong.

use serde_json::json;

use crate::support::runner::Runner;

/// Two providers, four tests: one of each way to end.
fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "hostile.wasm"
        [providers.b]
        plugin = "hostile.wasm"
        [[tests]]
        id = "x/passes"
        tags = ["smoke"]
        input = { do = "echo" }
        [[tests]]
        id = "x/fails"
        tags = ["smoke", "slow"]
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "y/breaks"
        input = { do = "error", kind = "internal", code = "E1", message = "it broke" }
        [[tests]]
        id = "y/sleeps"
        providers = ["b"]
        input = { do = "sleep", ms = 300 }
        "#,
    );
    runner
}

#[track_caller]
fn dry(runner: &Runner, args: &[&str]) -> String {
    let ran = runner.exec(&[&["--dry-run"], args].concat()).expect(0);
    ran.stdout.trim().replace('\n', " ").replace("#1", "")
}

/// The trials of a report's lines, or of a shown document's rows.
fn trials<'a>(rows: impl Iterator<Item = &'a serde_json::Value>) -> Vec<String> {
    rows.filter_map(|row| Some(row["trial"].as_str()?.replace("#1", "")))
        .collect()
}

#[test]
fn a_filter_selects_tests_on_providers() {
    let runner = runner();
    for (filter, selected) in [
        ("test(x/*) & provider(a)", "x/passes@a x/fails@a"),
        ("tag(slow) | test(y/s*)", "x/fails@a x/fails@b y/sleeps@b"),
        ("!tag(slow) & !(test(y/*) | provider(b))", "x/passes@a"),
        ("tag(slow, nothing)", "x/fails@a x/fails@b"),
        ("test(\"y/sleeps\")", "y/sleeps@b"),
        (
            // `&` binds before `|`.
            "provider(a) & tag(slow) | test(y/sleeps)",
            "x/fails@a y/sleeps@b",
        ),
    ] {
        assert_eq!(dry(&runner, &["-E", filter]), selected, "{filter}");
    }
    // Together with the flags, which are shorthands.
    assert_eq!(
        dry(
            &runner,
            &[
                "--tag",
                "smoke",
                "--filter",
                "test(*fails)",
                "--provider",
                "b"
            ]
        ),
        "x/fails@b"
    );
    runner
        .exec(&["-E", "test(none)"])
        .expect(5)
        .says(&["no test is selected"]);
    assert!(!runner.path("results").exists());
}

#[test]
fn what_is_wrong_with_a_filter_is_shown_at_its_place() {
    let runner = runner();
    for (filter, place, says) in [
        (
            "tets(x)",
            "there is no question `tets`",
            "did you mean `test`?",
        ),
        ("test(x", "this parenthesis is not closed", "here"),
        (
            "test(x) test(y)",
            "expected `&`, `|` or the end",
            "`a() & b()` means both",
        ),
        ("test(x) &", "test(x) &", "expected a question"),
        (
            "outcome(failed)",
            "nothing has run yet",
            "in(latest, outcome(failed))",
        ),
        ("test(x) & flaky()", "nothing has run yet", "in(latest"),
        (
            "trial(x@a#1)",
            "with all of its repeats",
            "test(GLOB) & provider(GLOB)",
        ),
        (
            "in(latest, outcome(bad))",
            "`bad` is none of these",
            "`failed`, `error`",
        ),
        (
            "in(latest)",
            "expected a comma",
            "in(latest, outcome(failed))",
        ),
        ("in(latest, slower(2))", "`2` is not a duration", "`200ms`"),
        (
            "in(latest, error(trop))",
            "`trop` is none of these",
            "`trap`",
        ),
        ("test([)", "this is no glob", "unclosed character class"),
        ("flaky", "needs its parentheses", "flaky()"),
    ] {
        runner.refused(&["-E", filter], &[place, says]);
    }
    let deep = format!("{}test(a){}", "(".repeat(100), ")".repeat(100));
    runner.refused(&["-E", &deep], &["nested 64 deep"]);
    runner.refused(
        &["-E", "in(latest, outcome(failed))"],
        &["in(latest, outcome(failed))"],
    );
    runner.refused(
        &["--failed-in", "nothing"],
        &["in(nothing, outcome(failed, error, timeout))"],
    );
}

#[test]
fn exec_runs_what_failed_in_another_run_and_goes_on_with_that() {
    let runner = runner();
    runner
        .exec(&["--repeat", "2", "--exclude", "y/sleeps"])
        .expect(1);
    let first = runner.ids().pop().unwrap();
    assert_eq!(
        dry(&runner, &["--failed-in", "latest"]),
        "x/fails@a x/fails@b y/breaks@a y/breaks@b"
    );
    assert_eq!(
        dry(
            &runner,
            &["-E", "in(latest, error(internal))", "--provider", "b"]
        ),
        "y/breaks@b"
    );
    assert_eq!(
        dry(
            &runner,
            &["-E", "!in(latest, outcome(passed)) & provider(b)"]
        ),
        "x/fails@b y/breaks@b y/sleeps@b"
    );

    runner
        .exec(&["--failed-in", "latest", "-E", "provider(a)"])
        .expect(1);
    let run = runner.runs().pop().unwrap();
    let selection = &run.manifest()["selection"];
    // The run has a name that stays.
    let stored = format!("(provider(a)) & (in({first}, outcome(failed, error, timeout)))");
    assert_eq!(*selection, json!({"filter": stored}));
    assert_eq!(run.rows().len(), 2);

    // What the scenario has now is selected in the same way, although `latest` is another run.
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("value = 1", "value = 2"));
    runner
        .run(&["resume", "--from", "latest", "--accept-changes"])
        .expect(1)
        .says(&["1 trial"]);
    let run = runner.runs().pop().unwrap();
    assert_eq!(run.rows().len(), 3);
    // A run of another root is named by its path.
    let path = format!("results/{first}");
    let args = [
        "--failed-in",
        &path,
        "--results",
        "other",
        "--provider",
        "a",
    ];
    runner.exec(&args).expect(1);
    // And it has to be there.
    fs_err::rename(runner.path("results"), runner.path("moved")).unwrap();
    runner.exec(&args).expect(2).says(&["in(results/"]);
}

#[test]
fn trials_are_run_again_by_what_they_came_to() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    let again = |filter: &str| {
        let args = ["resume", "--rerun", filter, "--dry-run"];
        let ran = runner.run(&args).expect(0);
        ran.stdout.trim().replace('\n', " ").replace("#1", "")
    };
    assert_eq!(again("outcome(failed) & provider(b)"), "x/fails@b");
    assert_eq!(again("error(internal, trap)"), "y/breaks@a y/breaks@b");
    assert_eq!(again("slower(250ms)"), "y/sleeps@b");
    assert_eq!(again("trial(x/*@a#1) & !outcome(passed)"), "x/fails@a");
    assert_eq!(
        again("tag(slow) & in(latest, outcome(failed))"),
        "x/fails@a x/fails@b"
    );

    let args = ["resume", "--rerun", "outcome(failed) & provider(b)"];
    runner.run(&args).expect(1);
    let rows = runner.only_run().rows();
    let attempts = rows.iter().filter(|row| row["attempt"] == 2);
    assert_eq!(trials(attempts), ["x/fails@b"]);
    let session = runner.only_run().manifest()["sessions"][1]["rerun"].clone();
    assert_eq!(session, "changed:3-4");
    runner
        .run(&["resume", "--rerun", "flaky()"])
        .expect(5)
        .says(&["is meant by `flaky()`"]);
    runner
        .run(&["resume", "--rerun", "flaky("])
        .expect(2)
        .says(&["is not closed"]);
}

#[test]
fn show_and_report_are_about_what_a_filter_means() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    let shown = |args: &[&str]| {
        let ran = runner.run(&[&["show", "--json"], args].concat()).expect(0);
        trials(ran.document()["rows"].as_array().unwrap().iter())
    };
    let sorted = |mut trials: Vec<String>| {
        trials.sort();
        trials
    };
    assert_eq!(
        sorted(shown(&["-E", "outcome(failed)"])),
        ["x/fails@a", "x/fails@b"]
    );
    assert_eq!(
        shown(&["--failed", "-E", "test(y/*) & provider(a)"]),
        ["y/breaks@a"]
    );
    assert_eq!(shown(&["-E", "tag(slow) & provider(b)"]), ["x/fails@b"]);
    assert_eq!(shown(&["-E", "outcome(skipped)"]), [""; 0]);
    runner.run(&["show", "-E", "outcome()"]).expect(2);

    let lines = runner
        .run(&["report", "--jsonl", "-E", "test(x/*) & provider(b)"])
        .expect(0)
        .events();
    assert_eq!(trials(lines.iter()), ["x/passes@b", "x/fails@b"]);
    let counts = &lines[0]["counts"];
    let counted = ["planned", "passed", "failed", "error"].map(|key| counts[key].as_u64().unwrap());
    assert_eq!(counted, [2, 1, 1, 0]);
    assert_eq!(lines[0]["filter"], "test(x/*) & provider(b)");
    assert_eq!(lines[0]["providers"].as_array().unwrap().len(), 1);
    let markdown = runner
        .run(&["report", "-E", "provider(b)"])
        .expect(0)
        .stdout;
    assert!(
        markdown.contains("Only trials that the filter means: provider\\(b\\)"),
        "{markdown}"
    );
}
