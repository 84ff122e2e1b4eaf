//! Bad input at every door but the plugins': what is said, the exit code, and that nothing is left behind.

use serde_json::json;

use crate::support::runner::{CommandExt as _, Runner, tests};

#[test]
fn a_scenario_that_is_not_there_is_named() {
    let runner = Runner::new(&[]);
    runner.refused(&[], &["scenario.toml", "No such file"]);
    fs_err::create_dir(runner.path("scenario.toml")).unwrap();
    runner.refused(&[], &["scenario.toml"]);
}

#[test]
fn a_scenario_that_is_not_toml_is_pointed_into() {
    let runner = Runner::new(&[]);
    runner.scenario("name = \"x\"\n[providers\nplugin = = 1\n");
    runner.refused(
        &[],
        &["not valid TOML", "scenario.toml:2:", "scenario.toml:3:"],
    );
    runner.write("scenario.toml", b"name = \"\xff\"\n");
    runner.refused(&[], &["UTF-8"]);
}

#[test]
fn an_empty_scenario_is_told_what_it_needs() {
    let runner = Runner::new(&[]);
    runner.scenario("");
    runner.refused(
        &[],
        &[
            "the scenario is empty",
            "a scenario needs a provider and a test, for example",
            "[[tests]]",
        ],
    );
}

#[test]
fn all_mistakes_are_told_at_once_each_where_it_is() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
timeout_minutes = "ten"
[defaults]
timeout = "10 parsecs"
[run]
concurency = 3
[providers.p]
plugin = "hostile.wasm"
limits = { memory = "lots" }
[providers.q]
plugin = "missing.wasm"
[[tests]]
id = "a"
providers = ["nobody"]
[[tests]]
id = "a"
[[tests]]
id = "no spaces"
expect = { matches = "(" }
files = { "f" = "missing.txt" }
"#,
    );
    let ran = runner.refused(
        &[],
        &[
            "scenario.toml:2:",
            "scenario.toml:4:",
            "scenario.toml:6:",
            "scenario.toml:9:",
            "scenario.toml:11:",
            "scenario.toml:14:",
            "scenario.toml:16:",
            "scenario.toml:18:",
            "scenario.toml:19:",
            "scenario.toml:20:",
            "`concurency`",
            "`concurrency`",
            "nobody",
            "missing.wasm",
            "missing.txt",
        ],
    );
    assert!(ran.stderr.contains("problems"), "{}", ran.stderr);
    assert_eq!(
        runner.run(&["validate", "scenario.toml"]).expect(2).stdout,
        ""
    );
}

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    for args in [
        &["--frobnicate"][..],
        &["-j", "0"],
        &["-j", "many"],
        &["-j", "4097"],
        &["-j", "18446744073709551615"],
        &["--repeat", "0"],
        &["--timeout-minutes", "-1"],
        &["--timeout-minutes", "nan"],
        &["--fail-fast=-1"],
        &["--grace", "soon"],
        &["--limit", "memory"],
        &["--limit", "memory=lots"],
        &["--limit", "speed=3"],
        &["--limit", "time=0s"],
        &["--test", "["],
        &["-q", "-v"],
        &["--resume"],
    ] {
        let ran = runner.exec(args).expect(2);
        assert!(!ran.stderr.is_empty(), "{args:?}");
        assert!(!runner.path("results").exists(), "{args:?}");
    }
    runner
        .exec(&["--limit", "speed=3"])
        .says(&["there is no limit `speed`", "memory"]);
    assert_eq!(runner.run(&["frobnicate"]).code, Some(2));
    assert_eq!(runner.run(&[]).code, Some(2));
}

#[test]
fn mistakes_in_a_test_list_are_named_with_file_and_line() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"*.jsonl\"]\n");
    let mut list = String::from("{\"id\": \"a\"}\nnot json\n");
    (0..20).for_each(|_| list.push_str("{\"idd\": 1}\n"));
    runner.write("list.jsonl", list);
    runner.refused(
        &[],
        &[
            "the tests have 21 mistakes",
            "list.jsonl:2: is not JSON",
            "list.jsonl:11: unknown key `idd`",
            "11 more",
        ],
    );
    runner.write(
        "list.jsonl",
        "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"a\"}\n",
    );
    runner.refused(&[], &["`a`", "list.jsonl:1", "list.jsonl:3"]);
}

#[test]
fn a_list_that_is_missing_or_holds_no_test_is_told() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"*.jsonl\"]\n");
    runner.refused(&[], &["*.jsonl"]);
    runner.write("list.jsonl", "");
    runner
        .exec(&[])
        .expect(5)
        .says(&["no test is selected", "its test lists hold no test"]);
    assert!(!runner.path("results").exists());
}

#[test]
fn a_results_root_that_cannot_be_used_is_named_and_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.write("file", "");
    for (root, says) in [
        ("file", "results root `file` is not a directory"),
        ("file/under", "cannot create results root `file/under`"),
        (
            "/dev/null/results",
            "cannot create results root `/dev/null/results`",
        ),
        (
            "/proc/results",
            "cannot create results root `/proc/results`",
        ),
        ("/proc", "cannot write in results root `/proc`"),
    ] {
        let ran = runner.exec(&["--results", root]).expect(7);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    }
    // One that is missing is made, and the environment may name it.
    runner
        .command(&["exec", "scenario.toml"])
        .env("RUNNER_RESULTS", runner.path("new/results"))
        .run()
        .expect(0);
    assert!(runner.path("new/results/runner.db").exists());
}

#[test]
fn a_full_disk_ends_the_run_as_incomplete_and_keeps_the_rows_before_it() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 12000\ninput = { do = \"echo\", value = \"some output of some length\" }\n",
    );
    // What a file may grow to takes the part of the disk's end: 1.5 MiB are enough for the birth, not for all rows.
    runner.exec(&["--repeat", "1"]).expect(0);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    let limited = r#"ulimit -f 3072; exec "$runner" exec scenario.toml --json"#;
    let ran = runner.shell(limited).run().expect(7);

    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "storage", "", "none"]);
    let acknowledged = ran
        .events()
        .iter()
        .filter(|event| event["event"] == "row")
        .count();
    assert!(acknowledged > 100, "{acknowledged}");
    let end = ran.events().pop().unwrap();
    assert_eq!(
        (&end["reason"], &end["exit_code"]),
        (&json!("storage"), &json!(7))
    );
    assert_eq!(end["counts"]["passed"], acknowledged);
    let shown = runner.run(&["show", "--json"]).expect(0);
    let shown = shown.document();
    assert!(shown["rows"].as_array().unwrap().len() >= acknowledged);
    assert_eq!(shown["run"]["counts"]["passed"], acknowledged);
}

#[test]
fn an_unknown_run_is_answered_with_the_newest_ones_and_an_ambiguous_one_with_the_candidates() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner
        .run(&["show"])
        .expect(2)
        .says(&["no run `latest` in `results`"]);
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    let runs = runner.runs();
    let ids = [runs[0].id(), runs[1].id()];
    let ran = runner.run(&["show", "nothing"]).expect(2);
    ran.says(&[
        "no run `nothing` in `results`; the newest are",
        &ids[0][24..],
        &ids[1][24..],
    ]);
    runner.run(&["show", &ids[0][..4]]).expect(2).says(&[
        "may be any of several runs",
        &ids[0][24..],
        &ids[1][24..],
    ]);
    runner
        .run(&["show", "./nowhere"])
        .expect(2)
        .says(&["./nowhere"]);

    let unique = ids[1].rsplit('-').next().unwrap();
    let path = runs[1].dir.to_str().unwrap();
    for name in [ids[1], unique, path, "latest"] {
        let shown = runner.run(&["show", name]).expect(0).stdout;
        assert!(shown.starts_with(ids[1]), "{shown}");
    }
}
