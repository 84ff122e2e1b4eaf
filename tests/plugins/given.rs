//! `runner plugin run`: what a call is given, and what of it is refused before anything runs.

use serde_json::json;

use super::call;
use crate::support::{
    files::paths,
    runner::{CommandExt as _, Runner},
};

#[test]
fn a_folder_stands_for_what_was_built_in_it() {
    let runner = Runner::new(&[]);
    runner.write(
        "mine/plugin.toml",
        "name = \"mine\"\nlanguage = \"rust\"\nkind = \"command\"\n",
    );
    for command in ["inspect", "run"] {
        let ran = runner.run(&["plugin", command, "mine"]).expect(2);
        ran.says(&[
            "plugin `mine` is not built",
            "`runner plugin build mine` builds it",
        ]);
    }
    runner.wat(
        "mine/dist/plugin.wasm",
        r#"(module (func (export "_start")))"#,
    );
    let ran = runner.run(&["plugin", "run", "mine"]).expect(0);
    ran.says(&[
        "plugin `mine` was not built from what is in its folder now; `runner plugin build mine` builds it anew",
    ]);
}

#[test]
fn values_come_from_files_and_from_standard_input() {
    let runner = Runner::new(&["units", "command"]);
    runner.write("input.json", r#"{"from": "m", "to": "m", "value": 3}"#);
    let ran = call(&runner, "units.wasm", &["--input", "@input.json"]).expect(0);
    assert_eq!(ran.stdout, "{\n  \"value\": 3.0\n}\n");

    let from_stdin = |plugin: &str, args: &[&str]| {
        runner
            .command(&[&["plugin", "run", plugin], args].concat())
            .stdin(
                fs_err::File::open(runner.path("input.json"))
                    .unwrap()
                    .into_parts()
                    .0,
            )
            .run()
            .expect(0)
            .stdout
    };
    assert_eq!(from_stdin("units.wasm", &["--input", "-"]), ran.stdout);
    let text = fs_err::read_to_string(runner.path("input.json")).unwrap();
    let cat = from_stdin("command.wasm", &["--stdin", "-", "--", "cat"]);
    assert_eq!(cat, text);

    call(&runner, "units.wasm", &["--input", "-", "--config", "-"])
        .expect(2)
        .says(&["standard input can be read only once"]);
}

#[test]
fn wrong_arguments_are_refused_before_anything_runs() {
    let runner = Runner::new(&["units", "command"]);
    let refused = |plugin: &str, args: &[&str], says: &[&str]| {
        let ran = call(&runner, plugin, args).expect(2);
        ran.says(says);
        assert_eq!(ran.stdout, "");
    };
    let units = |args: &[&str], says: &[&str]| refused("units.wasm", args, says);
    units(
        &["--input", "hello"],
        &["`--input` is not valid JSON", "--input '\"hello\"'"],
    );
    units(
        &["--input", "@nowhere.json"],
        &["`--input`", "nowhere.json"],
    );
    units(&["--config", "[]"], &["`--config` is an object"]);
    let typo = r#"{"form": "km", "to": "mi", "value": 1}"#;
    units(
        &["--input", typo],
        &[
            "the input does not fit its schema",
            "'form' was unexpected",
            "runner plugin inspect",
        ],
    );
    let good = r#"{"from": "km", "to": "mi", "value": 1}"#;
    units(
        &["--input", good, "--config", r#"{"decimals": 16}"#],
        &["its `config` does not fit", "(at `/decimals`)"],
    );
    units(&["--limit", "memori=1"], &["there is no limit `memori`"]);
    units(
        &["--grant", "net=*"],
        &["`--grant net=*` is not understood", "secret=API_KEY"],
    );
    units(&["--grant", "fs=.:/work:rw"], &["`--limit scratch=16MiB`"]);
    units(
        &["--stdin", "x"],
        &["`--stdin` is for commands, and `units.wasm` is a component"],
    );
    units(&["--", "x"], &["arguments behind `--` are for commands"]);
    units(&["--timeout", "0s"], &["it cannot be zero"]);
    units(&["--protocol", "json"], &["`units.wasm` is a component"]);
    units(&["--file", "x"], &["--file NAME=PATH"]);
    refused(
        "command.wasm",
        &["--protocol", "json", "--", "x"],
        &["arguments behind `--` are for plain commands"],
    );
    refused(
        "command.wasm",
        &["--", "{{input.x}}"],
        &["there is no `input.x`"],
    );
    refused(
        "nowhere.wasm",
        &[],
        &["plugin `nowhere.wasm` does not exist"],
    );
}

#[test]
fn commands_are_called_by_either_protocol() {
    let runner = Runner::new(&["command"]);
    let args = [
        "--input",
        r#"{"text": "hi"}"#,
        "--",
        "say",
        "{{input.text}}!",
    ];
    assert_eq!(call(&runner, "command.wasm", &args).expect(0).stdout, "hi!");
    let args = ["--output", "json", "--", "say", "[1]"];
    assert_eq!(
        call(&runner, "command.wasm", &args).expect(0).stdout,
        "[\n  1\n]\n"
    );
    let ran = call(&runner, "command.wasm", &["--", "fail", "its last words"]).expect(1);
    ran.says(&[
        "✗ failed",
        "exit_code: expected exit code 0, got 1",
        "stderr its last words",
    ]);

    let args = ["--protocol", "json", "--input", r#"{"do": "log"}"#];
    let ran = call(&runner, "command.wasm", &args).expect(0);
    ran.says(&["warn careful n=1 s=x info just text", "- skipped"]);
    assert!(!ran.stderr.contains("answers to the JSON protocol"));
    let args = [&args[..], &["--json"]].concat();
    let told = call(&runner, "command.wasm", &args).expect(0).document();
    let records = told["log"].as_array().unwrap();
    let times: Vec<_> = records
        .iter()
        .filter_map(|record| record["at"].as_str())
        .collect();
    assert!(times.len() == 2 && times.is_sorted(), "{records:?}");
}

#[test]
fn a_command_that_answers_to_the_json_protocol_is_called_by_it() {
    let runner = Runner::new(&["command"]);
    let args = ["--input", r#"{"do": "test"}"#];
    let ran = call(&runner, "command.wasm", &args).expect(0);
    ran.says(&["it answers to the JSON protocol", "`--protocol plain`"]);
    let output = ran.document();
    assert_eq!(output["input"], json!({"do": "test"}));

    let ran = call(&runner, "command.wasm", &[&args[..], &["--json"]].concat()).expect(0);
    assert_eq!(ran.stderr, "");
    let document = ran.document();
    assert_eq!(document["output"], output);
}

#[test]
fn a_value_that_a_plain_call_has_no_use_for_is_refused() {
    let runner = Runner::new(&["command"]);
    runner.wat("plain.wasm", r#"(module (func (export "_start")))"#);
    call(&runner, "plain.wasm", &[]).expect(0);
    let refused = |plugin: &str, args: &[&str], flag: &str| {
        let ran = call(&runner, plugin, args).expect(2);
        let says = format!("the plain call has no use for `{flag}`");
        ran.says(&[&says, "`--protocol json`"]);
        assert_eq!(ran.stdout, "");
    };
    let input = ["--input", r#"{"text": "hi"}"#];
    refused("plain.wasm", &input, "--input");
    refused("plain.wasm", &["--config", "{}"], "--config");
    let plain = ["--protocol", "plain"];
    refused("command.wasm", &[&input[..], &plain].concat(), "--input");
    let said = ["--", "say", "{{config}}"];
    refused("command.wasm", &[&input[..], &said].concat(), "--input");

    let variable = ["--grant", "env=TEXT={{input.text}}", "--", "env", "TEXT"];
    let ran = call(&runner, "command.wasm", &[&input[..], &variable].concat());
    assert_eq!(ran.expect(0).stdout, "hi");
}

#[test]
fn grants_mean_what_they_mean_in_a_scenario() {
    let runner = Runner::new(&["command"]);
    let refused = |args: &[&str], says: &str| {
        let ran = call(&runner, "command.wasm", args).expect(2);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    };
    refused(
        &["--grant", "fs=.:/data", "--grant", "fs=.:/data"],
        "two folders are mounted at `/data`",
    );
    refused(
        &["--grant", "env=A=1", "--grant", "env=A=2"],
        "the variable `A` has a value already",
    );
    refused(&["--grant", "env=A={{row.x}}"], "begins with `row`");
    refused(&["--grant", "env=A={{secret.a.b}}"], "names no secret");
    refused(
        &["--grant", "env=A={{input.x}}"],
        "there is no `input.x`, which `env.A` needs",
    );
    let nul = r#"{"x": "a\u0000b"}"#;
    refused(
        &["--input", nul, "--grant", "env=A={{input.x}}"],
        "`env.A` cannot have a NUL in its value",
    );
    refused(
        &["--input", nul, "--", "say", "{{input.x}}"],
        "an argument cannot have a NUL in it",
    );
    let args = [
        "--input",
        r#"{"x": 1}"#,
        "--grant",
        "env=A={{input.x}}!",
        "--",
        "env",
        "A",
    ];
    assert_eq!(call(&runner, "command.wasm", &args).expect(0).stdout, "1!");

    runner.scenario(
        r#"
        providers.plain = { plugin = "command.wasm", args = ["say", "{{input.x}}"] }
        [[tests]]
        id = "nul"
        input = { x = "a\u0000b" }
        "#,
    );
    runner.refused(
        &[],
        &["test `nul` has a NUL in `input.x`, which `args[1]` of provider `plain`"],
    );
}

#[test]
fn attachments_have_names_and_types() {
    let runner = Runner::new(&["hostile"]);
    runner.write("table.csv", "a,b\n");
    let args = [
        "--input",
        r#"{"do": "names"}"#,
        "--file",
        "data.csv=table.csv",
    ];
    let ran = call(&runner, "hostile.wasm", &args).expect(0);
    let names = ran.document();
    assert_eq!(names, json!([["data.csv", "text/csv", 4]]));
}

#[test]
fn an_attachment_has_the_name_of_a_file_and_has_it_alone() {
    let runner = Runner::new(&["command"]);
    runner.write("tmp/file", "x");
    let before = paths(&runner.path(""));
    for name in [
        "../../evil",
        "../evil",
        "a/b",
        "/evil",
        "",
        ".",
        "..",
        "a\\b",
    ] {
        let file = format!("{name}=tmp/file");
        let args = ["--file", &file, "--", "say", "hi"];
        let mut command = runner.command(&[&["plugin", "run", "command.wasm"], &args[..]].concat());
        // Where a call's own files are made.
        command.env("TMPDIR", runner.path("tmp"));
        let ran = command.run().expect(2);
        ran.says(&["attachments have the names of files"]);
    }
    assert_eq!(paths(&runner.path("")), before);
    let args = [
        "--file",
        "a=tmp/file",
        "--file",
        "a=tmp/file",
        "--",
        "say",
        "hi",
    ];
    call(&runner, "command.wasm", &args)
        .expect(2)
        .says(&["two `--file` are called `a`"]);
}
