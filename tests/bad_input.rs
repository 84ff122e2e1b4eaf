//! Bad input at every door: what is said, the exit code, and that nothing is left behind.

use serde_json::json;

use crate::support::runner::{Ran, Runner, Running, tests};

/// Runs a scenario that is refused before there is a run.
#[track_caller]
fn refused(runner: &Runner, args: &[&str], says: &[&str]) -> Ran {
    let ran = runner.exec(args).expect(2);
    ran.says(says);
    assert_eq!(ran.stdout, "");
    assert!(!runner.path("results").exists(), "something was created");
    ran
}

/// Runs a scenario whose plugin turns out to be unusable when it is made ready.
#[track_caller]
fn failed(runner: &Runner, says: &[&str]) {
    let ran = runner.exec(&[]).expect(3);
    ran.says(says);
    ran.says(&["failed (plugin)", "exit code 3: the run could not begin as asked"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["failed", "plugin", "", "none"]);
    assert_eq!(run.manifest()["stage"], "plan");
    assert!(run.rows().is_empty());
    assert_eq!(runner.list(&["--status", "failed"]).len(), 1);
}

/// A scenario with one provider, `p`, and one test.
fn provider(keys: &str) -> String {
    format!("[providers.p]\n{keys}\n[[tests]]\nid = \"a\"\n")
}

#[test]
fn a_scenario_that_is_not_there_is_named() {
    let runner = Runner::new(&[]);
    refused(&runner, &[], &["scenario.toml", "No such file"]);
    fs_err::create_dir(runner.path("scenario.toml")).unwrap();
    refused(&runner, &[], &["scenario.toml"]);
}

#[test]
fn a_scenario_that_is_not_toml_is_pointed_into() {
    let runner = Runner::new(&[]);
    runner.scenario("name = \"x\"\n[providers\nplugin = = 1\n");
    refused(&runner, &[], &["not valid TOML", "scenario.toml:2:", "scenario.toml:3:"]);
    runner.write("scenario.toml", b"name = \"\xff\"\n");
    refused(&runner, &[], &["UTF-8"]);
}

#[test]
fn an_empty_scenario_is_told_what_it_needs() {
    let runner = Runner::new(&[]);
    runner.scenario("");
    refused(&runner, &[], &["`providers`", "`tests`"]);
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
    let ran = refused(
        &runner,
        &[],
        &[
            "scenario.toml:2:", "scenario.toml:4:", "scenario.toml:6:", "scenario.toml:9:", "scenario.toml:11:",
            "scenario.toml:14:", "scenario.toml:16:", "scenario.toml:18:", "scenario.toml:19:", "scenario.toml:20:",
            "`concurency`", "`concurrency`", "nobody", "missing.wasm", "missing.txt",
        ],
    );
    assert!(ran.stderr.contains("problems"), "{}", ran.stderr);
    assert_eq!(runner.run(&["validate", "scenario.toml"]).expect(2).stdout, "");
}

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    for args in [
        &["--frobnicate"][..],
        &["-j", "0"],
        &["-j", "many"],
        &["--repeat", "0"],
        &["--timeout-minutes", "-1"],
        &["--timeout-minutes", "nan"],
        &["--fail-fast=-1"],
        &["--grace", "soon"],
        &["--limit", "memory"],
        &["--limit", "memory=lots"],
        &["--limit", "speed=3"],
        &["--test", "["],
        &["-q", "-v"],
        &["--resume"],
    ] {
        let ran = runner.exec(args).expect(2);
        assert!(!ran.stderr.is_empty(), "{args:?}");
        assert!(!runner.path("results").exists(), "{args:?}");
    }
    runner.exec(&["--limit", "speed=3"]).says(&["there is no limit `speed`", "memory"]);
    assert_eq!(runner.run(&["frobnicate"]).code, Some(2));
    assert_eq!(runner.run(&[]).code, Some(2));
}

#[test]
fn each_file_that_is_no_plugin_is_told_what_it_is() {
    let runner = Runner::new(&["hostile"]);
    let file = |name: &str, says: &str| {
        runner.scenario(&provider(&format!("plugin = \"{name}\"")));
        refused(&runner, &[], &["provider `p`", name, says]);
    };
    runner.write("empty.wasm", "");
    file("empty.wasm", "is empty");
    runner.write("text.wasm", "#!/bin/sh\n");
    file("text.wasm", "is not WASM");
    let whole = fs_err::read(runner.path("hostile.wasm")).unwrap();
    runner.write("cut.wasm", &whole[..whole.len() / 2]);
    file("cut.wasm", "is damaged WASM");
    runner.wat("library.wasm", "(module (func (export \"add\")))");
    file("library.wasm", "is a module without `_start`");
    let exporting = |name: &str| format!("(component (instance $i) (export \"{name}\" (instance $i)))");
    runner.wat("world.wasm", &exporting("wasi:http/handler@0.2.0"));
    file("world.wasm", "is a component of another world: it exports neither");
    runner.wat("newer.wasm", &exporting("runner:provider/provider@0.2.0"));
    file(
        "newer.wasm",
        "is built for version 0.2.0 of the contract `runner:provider`, and this runner speaks 0.1.0",
    );

    runner.scenario(&provider("plugin = \"missing.wasm\""));
    refused(&runner, &[], &["missing.wasm", "scenario.toml:2:"]);
}

#[test]
fn a_plugin_that_is_too_large_or_not_the_expected_one_is_refused() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&provider("plugin = \"hostile.wasm\"\nlimits = { file = \"10KiB\" }"));
    refused(&runner, &[], &["provider `p`", "is larger than `limits.file`, which is 10.0 KiB"]);
    runner.scenario(&provider("plugin = \"hostile.wasm\""));
    refused(&runner, &["--limit", "file=10KiB"], &["is larger than `limits.file`"]);
    // The file is read once; each provider has its own limit.
    runner.scenario(&format!(
        "[providers.o]\nplugin = \"hostile.wasm\"\n{}",
        provider("plugin = \"hostile.wasm\"\nlimits = { file = \"10KiB\" }")
    ));
    refused(&runner, &[], &["provider `p`", "is larger than `limits.file`"]);

    let wrong = "0".repeat(64);
    runner.scenario(&provider(&format!("plugin = \"hostile.wasm\"\nsha256 = \"{wrong}\"")));
    refused(&runner, &[], &["its plugin's sha256 is", &wrong, "if the new plugin is wanted, write `sha256 = "]);
}

#[test]
fn every_provider_that_cannot_be_used_is_named_at_once() {
    let runner = Runner::new(&[]);
    runner.write("one.wasm", "");
    runner.write("two.wasm", "text");
    runner.scenario(&format!("[providers.o]\nplugin = \"one.wasm\"\n{}", provider("plugin = \"two.wasm\"")));
    refused(&runner, &[], &["provider `o`", "is empty", "provider `p`", "is not WASM"]);
}

#[test]
fn keys_for_commands_are_refused_for_components() {
    let runner = Runner::new(&["hostile"]);
    for key in ["args = [\"x\"]", "stdin = \"x\"", "output = \"json\"", "protocol = \"plain\""] {
        runner.scenario(&provider(&format!("plugin = \"hostile.wasm\"\n{key}")));
        refused(&runner, &[], &["provider `p`", "is for commands, and its plugin is a component", "remove"]);
    }
}

#[test]
fn a_component_that_imports_what_the_host_does_not_offer_fails_the_run_by_name() {
    let runner = Runner::new(&[]);
    runner.wat(
        "foreign.wasm",
        r#"(component
             (import "acme:database/query@1.0.0" (instance (export "ask" (func))))
             (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#,
    );
    runner.scenario(&provider("plugin = \"foreign.wasm\""));
    failed(&runner, &["provider `p` cannot be used", "acme:database/query@1.0.0"]);
}

#[test]
fn a_module_that_imports_what_the_host_does_not_offer_fails_the_run_by_name() {
    let runner = Runner::new(&[]);
    runner.wat(
        "foreign.wasm",
        r#"(module (import "env" "launch" (func)) (func (export "_start")))"#,
    );
    runner.scenario(&provider("plugin = \"foreign.wasm\""));
    failed(&runner, &["provider `p` cannot be used", "env", "launch"]);
}

#[test]
fn a_component_that_lacks_a_function_of_the_contract_fails_the_run_by_name() {
    let runner = Runner::new(&[]);
    runner.wat(
        "hollow.wasm",
        r#"(component (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#,
    );
    runner.scenario(&provider("plugin = \"hollow.wasm\""));
    failed(&runner, &["provider `p` cannot be used", "describe"]);
}

#[test]
fn a_module_that_is_not_valid_fails_the_run() {
    let runner = Runner::new(&[]);
    // It leaves a number on the stack.
    runner.wat("invalid.wasm", r#"(module (func (export "_start") i32.const 1))"#);
    runner.scenario(&provider("plugin = \"invalid.wasm\""));
    failed(&runner, &["provider `p` cannot be used"]);
}

#[test]
fn a_provider_that_loops_in_describe_fails_the_run() {
    let runner = Runner::new(&["stuck"]);
    runner.scenario(&provider("plugin = \"stuck.wasm\""));
    failed(&runner, &["provider `p` cannot be used: its `describe` failed", "5"]);
}

#[test]
fn a_component_that_loops_in_its_start_function_fails_the_run() {
    let runner = Runner::new(&[]);
    runner.wat("spin.wasm", &with_start("(loop (br 0))"));
    runner.scenario(&provider("plugin = \"spin.wasm\""));
    failed(&runner, &["provider `p` cannot be used"]);
}

#[test]
fn a_component_that_traps_in_its_start_function_fails_the_run() {
    let runner = Runner::new(&[]);
    runner.wat("trap.wasm", &with_start("unreachable"));
    runner.scenario(&provider("plugin = \"trap.wasm\""));
    failed(&runner, &["provider `p` cannot be used", "unreachable"]);
}

#[test]
fn a_command_that_loops_in_its_start_function_times_out() {
    let runner = Runner::new(&[]);
    runner.wat("spin.wasm", "(module (func $spin (loop (br 0))) (start $spin) (func (export \"_start\")))");
    runner.scenario("[providers.p]\nplugin = \"spin.wasm\"\n[[tests]]\nid = \"a\"\ntimeout = \"100ms\"\n");
    runner.exec(&[]).expect(1);
    let row = runner.only_run().row("a");
    assert_eq!((&row["outcome"], &row["error"]["code"]), (&json!("timeout"), &json!("timeout")));
}

/// A component of the contract whose core module runs `code` when it is instantiated.
fn with_start(code: &str) -> String {
    format!(
        r#"(component
             (core module $module
               (func $begin {code}) (start $begin)
               (func (export "describe")) (func (export "run")))
             (core instance $core (instantiate $module))
             (func $describe (canon lift (core func $core "describe")))
             (func $run (canon lift (core func $core "run")))
             (instance $provider (export "describe" (func $describe)) (export "run" (func $run)))
             (export "runner:provider/provider@0.1.0" (instance $provider)))"#
    )
}

#[test]
fn a_configuration_or_input_that_the_plugin_refuses_fails_the_run_before_any_trial() {
    let runner = Runner::new(&["units"]);
    runner.scenario(&provider("plugin = \"units.wasm\"\nconfig = { decimals = \"two\" }"));
    failed(&runner, &["provider `p` cannot be used: its `config` does not fit", "decimals"]);

    let runner = Runner::new(&["units"]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"units.wasm\"\n{}",
        tests(
            r#"
            good | { from = "km", to = "mi", value = 1 } |
            bad  | { from = "km", to = "mi", value = "one" } |
            "#
        )
    ));
    failed(&runner, &["the input of 1 test does not fit its schema: `bad`", "one"]);
}

#[test]
fn a_folder_is_a_plugin_only_with_its_plugin_toml_and_a_build() {
    let runner = Runner::new(&[]);
    fs_err::create_dir(runner.path("folder")).unwrap();
    runner.scenario(&provider("plugin = \"folder\""));
    refused(&runner, &[], &["plugin.toml"]);

    runner.write("folder/plugin.toml", "name = \"mine\"\nlanguage = \"rust\"\n");
    refused(&runner, &[], &["plugin `mine` of provider `p` is not built", "dist/plugin.wasm", "`--build`"]);
    runner.write("folder/plugin.toml", "nonsense");
    refused(&runner, &[], &["plugin.toml"]);
}

#[test]
fn mistakes_in_a_test_list_are_named_with_file_and_line() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"*.jsonl\"]\n");
    let mut list = String::from("{\"id\": \"a\"}\nnot json\n{\"id\": \"a\"}\n");
    (0..20).for_each(|_| list.push_str("{\"idd\": 1}\n"));
    runner.write("list.jsonl", list);
    refused(&runner, &[], &["list.jsonl", ":2", ":3", "`idd`"]);
}

#[test]
fn a_list_that_is_missing_or_holds_no_test_is_told() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"*.jsonl\"]\n");
    refused(&runner, &[], &["*.jsonl"]);
    runner.write("list.jsonl", "");
    runner.exec(&[]).expect(5).says(&["no test is selected", "its test lists hold no test"]);
    assert!(!runner.path("results").exists());
}

#[test]
fn a_results_root_that_cannot_be_used_is_named_and_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.write("file", "");
    for (root, says) in [
        ("file", "results root `file` is not a directory"),
        ("file/under", "cannot create results root `file/under`"),
        ("/dev/null/results", "cannot create results root `/dev/null/results`"),
        ("/proc/results", "cannot create results root `/proc/results`"),
        ("/proc", "cannot write in results root `/proc`"),
    ] {
        let ran = runner.exec(&["--results", root]).expect(7);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    }
    // One that is missing is made, and the environment may name it.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("RUNNER_RESULTS", runner.path("new/root"));
    Running::spawn(command).finish().expect(0);
    assert!(runner.path("new/root/runner.db").exists());
}

#[test]
fn a_full_disk_ends_the_run_as_incomplete_and_keeps_the_rows_before_it() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 2000\ninput = { do = \"echo\", value = \"some output of some length\" }\n",
    );
    // What a file may grow to takes the part of the disk's end: 256 KiB are enough for the birth, not for all rows.
    runner.exec(&["--repeat", "1"]).expect(0);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    let limited = runner.shell(r#"ulimit -f 512; exec "$runner" exec scenario.toml --json"#);
    let ran = Running::spawn(limited).finish().expect(7);

    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "storage", "", "none"]);
    let acknowledged = ran.events().iter().filter(|event| event["event"] == "row").count();
    assert!(acknowledged > 100, "{acknowledged}");
    let end = ran.events().pop().unwrap();
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("storage"), &json!(7)));
    assert_eq!(end["counts"]["passed"], acknowledged);
    let shown = runner.run(&["show", "--json"]).expect(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(shown["rows"].as_array().unwrap().len() >= acknowledged);
    assert_eq!(shown["run"]["counts"]["passed"], acknowledged);
}

#[test]
fn an_unknown_run_is_answered_with_the_newest_ones_and_an_ambiguous_one_with_the_candidates() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.run(&["show"]).expect(2).says(&["no run `latest` in `results`"]);
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    let runs = runner.runs();
    let ids = [runs[0].id(), runs[1].id()];
    let ran = runner.run(&["show", "nothing"]).expect(2);
    ran.says(&["no run `nothing` in `results`; the newest are", ids[0], ids[1]]);
    runner.run(&["show", &ids[0][..4]]).expect(2).says(&["may be any of several runs", ids[0], ids[1]]);
    runner.run(&["show", "./nowhere"]).expect(2).says(&["./nowhere"]);

    let unique = ids[1].rsplit('-').next().unwrap();
    let path = runs[1].dir.to_str().unwrap();
    for name in [ids[1], unique, path, "latest"] {
        let shown = runner.run(&["show", name]).expect(0).stdout;
        assert!(shown.starts_with(ids[1]), "{shown}");
    }
}
