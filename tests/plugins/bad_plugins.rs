//! Plugins that cannot be used: what is said of each, before there is a run or as the run's end.

use serde_json::json;

use crate::support::runner::{Runner, tests};

/// Runs a scenario whose plugin turns out to be unusable when it is made ready.
#[track_caller]
fn failed(runner: &Runner, says: &[&str]) {
    let ran = runner.exec(&[]).expect(3);
    ran.says(says);
    ran.says(&["failed (plugin): it could not begin", "exit code 3"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["failed", "plugin", "", "none"]);
    assert_eq!(run.manifest()["stage"], "plan");
    assert!(run.rows().is_empty());
    assert!(
        run.read("runner.log").contains(says[0]),
        "it cannot be looked up later"
    );
    assert_eq!(runner.list(&["--status", "failed"]).len(), 1);
}

/// A scenario with one provider, `p`, and one test.
fn provider(keys: &str) -> String {
    format!("[providers.p]\n{keys}\n[[tests]]\nid = \"a\"\n")
}

#[test]
fn each_file_that_is_no_plugin_is_told_what_it_is() {
    let runner = Runner::new(&["hostile"]);
    let file = |name: &str, says: &str| {
        runner.scenario(&provider(&format!("plugin = \"{name}\"")));
        runner.refused(&[], &["provider `p`", name, says]);
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
    let exporting =
        |name: &str| format!("(component (instance $i) (export \"{name}\" (instance $i)))");
    runner.wat("world.wasm", &exporting("wasi:http/handler@0.2.0"));
    file(
        "world.wasm",
        "is a component of another world: it exports neither",
    );
    runner.wat("newer.wasm", &exporting("runner:provider/provider@0.2.0"));
    file(
        "newer.wasm",
        "is built for version 0.2.0 of the contract `runner:provider`, and this runner speaks 0.1.0",
    );

    runner.scenario(&provider("plugin = \"missing.wasm\""));
    runner.refused(&[], &["missing.wasm", "scenario.toml:2:"]);
}

#[test]
fn a_plugin_that_is_too_large_or_not_the_expected_one_is_refused() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&provider(
        "plugin = \"hostile.wasm\"\nlimits = { file = \"10KiB\" }",
    ));
    runner.refused(
        &[],
        &[
            "provider `p`",
            "is larger than `limits.file`, which is 10.0 KiB",
        ],
    );
    runner.scenario(&provider("plugin = \"hostile.wasm\""));
    runner.refused(
        &["--limit", "file=10KiB"],
        &["is larger than `limits.file`"],
    );
    // The file is read once; each provider has its own limit.
    runner.scenario(&format!(
        "[providers.o]\nplugin = \"hostile.wasm\"\n{}",
        provider("plugin = \"hostile.wasm\"\nlimits = { file = \"10KiB\" }")
    ));
    runner.refused(&[], &["provider `p`", "is larger than `limits.file`"]);

    let wrong = "0".repeat(64);
    runner.scenario(&provider(&format!(
        "plugin = \"hostile.wasm\"\nsha256 = \"{wrong}\""
    )));
    runner.refused(
        &[],
        &[
            "its plugin's sha256 is",
            &wrong,
            "if the new plugin is wanted, write `sha256 = ",
        ],
    );
}

#[test]
fn every_provider_that_cannot_be_used_is_named_at_once() {
    let runner = Runner::new(&[]);
    runner.write("one.wasm", "");
    runner.write("two.wasm", "text");
    runner.scenario(&format!(
        "[providers.o]\nplugin = \"one.wasm\"\n{}",
        provider("plugin = \"two.wasm\"")
    ));
    runner.refused(
        &[],
        &["provider `o`", "is empty", "provider `p`", "is not WASM"],
    );
}

#[test]
fn keys_for_commands_are_refused_for_components() {
    let runner = Runner::new(&["hostile"]);
    for key in [
        "args = [\"x\"]",
        "stdin = \"x\"",
        "output = \"json\"",
        "protocol = \"plain\"",
    ] {
        runner.scenario(&provider(&format!("plugin = \"hostile.wasm\"\n{key}")));
        runner.refused(
            &[],
            &[
                "provider `p`",
                "is for commands, and its plugin is a component",
                "remove",
            ],
        );
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
    failed(
        &runner,
        &["provider `p` cannot be used", "acme:database/query@1.0.0"],
    );
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
fn a_lifecycle_that_lacks_a_function_fails_the_run_by_name() {
    let runner = Runner::new(&[]);
    runner.wat(
        "half.wasm",
        r#"(component
             (instance $i)
             (export "runner:provider/provider@0.1.0" (instance $i))
             (export "runner:provider/lifecycle@0.1.0" (instance $i)))"#,
    );
    runner.scenario(&provider("plugin = \"half.wasm\""));
    failed(
        &runner,
        &[
            "provider `p` cannot be used",
            "its `runner:provider/lifecycle@0.1.0` has no `setup`",
        ],
    );
}

#[test]
fn a_run_that_fails_says_why_in_its_event_stream() {
    let runner = Runner::new(&[]);
    runner.wat("trap.wasm", &with_start("unreachable"));
    runner.scenario(&provider("plugin = \"trap.wasm\""));
    let ran = runner.exec(&["--json"]).expect(3);
    assert_eq!(ran.stderr, "");
    let events = ran.events();
    runner.assert_valid("events", &events);
    runner.assert_valid("benchmark", &[runner.only_run().manifest()]);
    let end = events.last().unwrap();
    assert_eq!(
        [
            &end["event"],
            &end["status"],
            &end["reason"],
            &end["exit_code"]
        ],
        [
            &json!("finished"),
            &json!("failed"),
            &json!("plugin"),
            &json!(3)
        ]
    );
    let error = end["error"].as_str().unwrap();
    assert!(error.starts_with("provider `p` cannot be used"), "{error}");
}

#[test]
fn the_runs_timeout_bounds_what_comes_before_its_first_trial_too() {
    let runner = Runner::new(&["stuck"]);
    runner.scenario(&provider("plugin = \"stuck.wasm\""));
    runner.exec(&["--timeout-minutes", "0.02"]).expect(4);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    assert_eq!(run.manifest()["stage"], "plan");
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
    runner.wat(
        "invalid.wasm",
        r#"(module (func (export "_start") i32.const 1))"#,
    );
    runner.scenario(&provider("plugin = \"invalid.wasm\""));
    failed(&runner, &["provider `p` cannot be used"]);
}

#[test]
fn a_provider_that_loops_in_describe_fails_the_run() {
    let runner = Runner::new(&["stuck"]);
    runner.scenario(&provider("plugin = \"stuck.wasm\""));
    failed(
        &runner,
        &["provider `p` cannot be used: its `describe` gave no answer within 5s"],
    );
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
    runner.wat(
        "spin.wasm",
        "(module (func $spin (loop (br 0))) (start $spin) (func (export \"_start\")))",
    );
    runner.scenario(
        "[providers.p]\nplugin = \"spin.wasm\"\n[[tests]]\nid = \"a\"\ntimeout = \"100ms\"\n",
    );
    runner.exec(&[]).expect(1);
    let row = runner.only_run().row("a");
    assert_eq!(
        (&row["outcome"], &row["error"]["code"]),
        (&json!("timeout"), &json!("timeout"))
    );
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
    runner.scenario(&provider(
        "plugin = \"units.wasm\"\nconfig = { decimals = \"two\" }",
    ));
    failed(
        &runner,
        &[
            "provider `p` cannot be used: its `config` does not fit",
            "decimals",
        ],
    );

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
    failed(
        &runner,
        &["the input of 1 test does not fit its schema: `bad`", "one"],
    );
}

#[test]
fn configurations_and_inputs_that_plugins_refuse_are_told_together() {
    let runner = Runner::new(&["units"]);
    let table = r#"
        good | { from = "km", to = "mi", value = 1 } |
        bad  | { from = "km", to = "mi", vallue = 1 } |
        "#;
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"units.wasm\"\nconfig = {{ decimal = 2 }}\n\
         [providers.q]\nplugin = \"units.wasm\"\n{}",
        tests(table)
    ));
    failed(
        &runner,
        &[
            "provider `p` cannot be used: its `config` does not fit",
            "decimal",
            "provider `p` cannot be used: the input of 1 test does not fit its schema: `bad`",
            "provider `q` cannot be used: the input of 1 test does not fit its schema: `bad`",
            "vallue",
            "help: `runner plugin inspect ",
        ],
    );
}

#[test]
fn a_folder_is_a_plugin_only_with_its_plugin_toml_and_a_build() {
    let runner = Runner::new(&[]);
    fs_err::create_dir(runner.path("folder")).unwrap();
    runner.scenario(&provider("plugin = \"folder\""));
    runner.refused(&[], &["plugin.toml"]);

    runner.write(
        "folder/plugin.toml",
        "name = \"mine\"\nlanguage = \"rust\"\nkind = \"command\"\n",
    );
    runner.refused(
        &[],
        &[
            "plugin `mine` of provider `p` is not built",
            "dist/plugin.wasm",
            "`--build`",
        ],
    );
    // What is to be typed names the folder, and does nothing that its name says.
    let name = "folder; touch 'owned'";
    runner.write(
        &format!("{name}/plugin.toml"),
        "name = \"mine\"\nlanguage = \"rust\"\nkind = \"command\"\n",
    );
    let command = r"`runner plugin build 'folder; touch '\''owned'\'''`";
    runner.scenario(&provider(&format!("plugin = \"{name}\"")));
    let refused = runner.run(&["exec", "scenario.toml"]).expect(2);
    let given = runner.run(&["plugin", "inspect", name]).expect(2);
    for ran in [refused, given] {
        let words: Vec<_> = ran.stderr.split_whitespace().collect();
        assert!(words.join(" ").contains(command), "{ran:?}");
    }
    // However the folder is written, its path is as short as it can be.
    for (folder, shown) in [("./folder/.", "`folder`"), (".", "`.`")] {
        runner.write(
            "plugin.toml",
            "name = \"here\"\nlanguage = \"rust\"\nkind = \"command\"\n",
        );
        runner.scenario(&provider(&format!("plugin = \"{folder}\"")));
        runner.refused(&[], &[&format!("is not built: {shown} has no")]);
    }
    runner.scenario(&provider("plugin = \"folder\""));
    runner.write("folder/plugin.toml", "nonsense");
    runner.refused(&[], &["plugin.toml"]);
}
