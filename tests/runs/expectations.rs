//! Checks of `expect`, and notes on tests and providers that check or use nothing.

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::command,
    runner::{Runner, tests},
};

const ECHO: &str = "[providers.echo]\nplugin = \"bundled:echo\"\n";

#[test]
fn choices_and_exclusions_decide_trials() {
    let runner = Runner::new(&[]);
    let scenario = |cells: &str| {
        let expected = tests(
            r#"
            any    | "Yes."                 | equals_any = ["yes", "Yes."], contains_any = ["no", "es"]
            none   | "maybe"                | equals_any = ["yes", "no"]
            polite | "here\nI am sorry, but" | not = { contains = ["afraid", "sorry"] }
            table  | { text = "sorry" }     | not = { contains = "sorry" }
            digits | "the year 1984"        | not = { matches = "\\d{4}" }
            case   | "HELLO World"          | equals = "Hello world", not = { equals = "x" }, CELLS
            "#,
        );
        runner.scenario(&format!("{ECHO}{}", expected.replace("CELLS", cells)));
    };
    scenario("matches = \"^hello\"");
    let ran = runner.exec(&[]).expect(1);
    ran.says(&[
        r#"equals_any: expected one of ["yes","no"], got "maybe""#,
        r#"not.contains: the output contains "sorry" at line 2, column 6: "I am sorry, but""#,
        "not.contains: the output is not a string or an array",
        r#"not.matches: the output matches `\d{4}` at line 1, column 10: "the year 1984""#,
    ]);
    let run = runner.only_run();
    let names = |test: &str| -> Vec<String> {
        let row = run.rows_of(test).pop().unwrap();
        let checks = row["checks"].as_array().unwrap().iter();
        let name = |check: &serde_json::Value| check["kind"].as_str().unwrap().to_owned();
        checks.filter(|check| check["verdict"] == "fail").map(name).collect()
    };
    assert_eq!(run.row("any")["outcome"], "passed");
    assert_eq!(names("polite"), ["not.contains"]);
    assert_eq!(names("case"), ["equals", "matches"]);
    let shown = runner.run(&["show", "latest", "any@echo#1"]).expect(0);
    shown.says(&[r#"pass equals_any ["yes","Yes."]"#, r#"pass contains_any ["no","es"]"#]);
    let shown = runner.run(&["show", "latest", "polite@echo#1"]).expect(0);
    shown.says(&[r#"pass not.contains "afraid""#, r#"{"contains":["afraid","sorry"]}"#]);

    // `ignore_case` is part of the judgement alone.
    scenario("matches = \"^hello\", ignore_case = true");
    runner.run(&["rescore", "latest"]).expect(1);
    assert_eq!(names("case"), [""; 0]);
    let rows = run.rows_of("case");
    assert_eq!(rows[1]["outcome"], "passed");
    assert_eq!(rows[0]["fingerprint"], rows[1]["fingerprint"]);
    assert_ne!(rows[0]["judgement_fingerprint"], rows[1]["judgement_fingerprint"]);
    let rows = run.rows_of("polite");
    assert_eq!(rows.len(), 1, "its expectations are the same");
}

#[test]
fn records_fill_choices_and_exclusions() {
    let runner = Runner::new(&[]);
    runner.write(
        "rows.jsonl",
        r#"{"name": "one", "said": "4", "answers": ["four", "4"], "bad": "a.c"}
{"name": "two", "said": "abc", "answers": ["x"], "bad": "a.c"}
{"name": "three", "said": "a.c", "answers": ["a.c"], "bad": "a.c"}
"#,
    );
    runner.scenario(&format!(
        "{ECHO}[[test_lists]]\nfiles = [\"rows.jsonl\"]\nid = \"{{{{row.name}}}}\"\ninput = \"{{{{row.said}}}}\"\n\
         expect = {{ equals_any = \"{{{{row.answers}}}}\", not = {{ matches = \"^{{{{row.bad}}}}$\" }} }}\n"
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let verdicts = |test: &str| {
        let row = run.row(test);
        let checks = row["checks"].as_array().unwrap().iter();
        checks.map(|check| check["verdict"] == "pass").collect::<Vec<_>>()
    };
    assert_eq!(verdicts("one"), [true, true]);
    // The inserted text is literal.
    assert_eq!(verdicts("two"), [false, true]);
    assert_eq!(verdicts("three"), [true, false]);
    // One record has no list.
    runner.write("rows.jsonl", r#"{"name": "one", "said": "4", "answers": "4", "bad": "x"}"#);
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    snapshot(&ran);
}

#[test]
fn tests_without_expectation_are_noted_once() {
    let runner = Runner::new(&["hostile"]);
    runner.link(&command(), "command.wasm");
    let scenario = |providers: &str| {
        runner.scenario(&format!(
            "{ECHO}[providers.plain]\nplugin = \"command.wasm\"\nargs = [\"say\", \"{{{{input}}}}\"]\n\
             [providers.other]\nplugin = \"command.wasm\"\nprotocol = \"json\"\n\
             [graders.judge]\nplugin = \"hostile.wasm\"\ninput = {{ do = \"verdict\", verdict = \"pass\", of = \"{{{{output}}}}\" }}\n\
             [[tests]]\nid = \"checked\"\nproviders = [\"echo\"]\nexpect = {{ equals = \"@\" }}\ninput = \"@\"\n\
             [[tests]]\nid = \"graded\"\nproviders = [\"echo\"]\nexpect = {{ graders = [\"judge\"] }}\n\
             [[tests]]\nid = \"code\"\nproviders = [\"plain\"]\ninput = \"x\"\n\
             [[tests]]\nid = \"a\"\ninput = {{ do = \"test\" }}\nproviders = {providers}\n\
             [[tests]]\nid = \"b\"\ninput = {{ do = \"test\" }}\nproviders = {providers}\nexpect = {{}}\n",
        ));
    };
    let note = "2 tests have no expectation, such as `a`: any output passes";
    for providers in ["[\"echo\"]", "[\"echo\", \"plain\"]", "[\"other\"]"] {
        scenario(providers);
        for args in [
            &["validate", "scenario.toml"][..],
            &["exec", "scenario.toml", "--dry-run"],
            &["exec", "scenario.toml"],
        ] {
            let ran = runner.run(args).expect(0);
            assert_eq!(ran.stderr.matches(note).count(), 1, "{args:?}: {}", ran.stderr);
        }
    }
    for more in [&[][..], &["--dry-run"]] {
        let ran = runner.exec(&[&["--json"][..], more].concat()).expect(0);
        assert_eq!(ran.stdout.matches(note).count(), 1, "{}", ran.stdout);
    }
    // Only the selected tests count, and those of a plain command are judged by its exit code.
    snapshot(&runner.exec(&["--test", "b"]).expect(0));
    let quiet = |args: &[&str]| {
        let ran = runner.run(args).expect(0);
        assert!(!ran.stderr.contains("no expectation"), "{}", ran.stderr);
    };
    quiet(&["exec", "scenario.toml", "--test", "checked", "--test", "graded", "--test", "code"]);
    scenario("[\"plain\"]");
    quiet(&["validate", "scenario.toml"]);
}

#[test]
fn values_that_plain_commands_never_get_are_warnings() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.write("data.txt", "x");
    let input = "provider `p` never gets the `input` of its tests: pass it, such as by `stdin = \"{{input}}\"`";
    let config = "provider `p` never gets its `config`";
    let args = "args = [\"say\", \"x\"]";
    for (keys, test, warnings) in [
        (args, "input = \"x\"", &[input][..]),
        (args, "", &[]),
        (args, "input = \"\"", &[]),
        (args, "input = \"x\"\nfiles = { \"data.txt\" = \"data.txt\" }", &[]),
        ("args = [\"say\", \"{{input}}\"]", "input = \"x\"", &[]),
        ("args = [\"cat\"]\nstdin = \"{{input.text}}\"", "input = { text = \"x\" }", &[]),
        ("args = [\"env\", \"A\"]\ngrants.env = { A = \"{{input}}\" }", "input = \"x\"", &[]),
        ("args = [\"say\", \"x\"]\nconfig = { a = 1 }", "", &[config]),
        ("args = [\"say\", \"{{config.a}}\"]\nconfig = { a = 1 }", "input = 1", &[input]),
        ("protocol = \"json\"\nconfig = { a = 1 }", "input = { do = \"test\" }", &[]),
        (
            "args = [\"say\", \"x\"]\nmatrix = { a = [1, 2] }\nconfig = { a = 1 }",
            "input = 1",
            &[input, config],
        ),
    ] {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"command.wasm\"\n{keys}\n[[tests]]\nid = \"a\"\n{test}\n"
        ));
        for args in [&["validate", "scenario.toml"][..], &["exec", "scenario.toml"]] {
            let ran = runner.run(args).expect(0);
            for warning in [input, config] {
                let count = usize::from(warnings.contains(&warning));
                assert_eq!(ran.stderr.matches(warning).count(), count, "{keys}: {}", ran.stderr);
            }
        }
    }
    let call = ["plugin", "run", "command.wasm", "--config", "{\"a\": 1}", "--input", "1"];
    let ran = runner.run(&[&call[..], &["--", "say", "x"]].concat()).expect(0);
    snapshot(&ran);
}

#[test]
fn failures_name_the_form_of_the_output() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    let provider = "plugin = \"command.wasm\"\nargs = [\"say\", \"{{input}}\"]\n";
    let expected = tests(
        r#"
        line   | "hello\n" | equals = "hello"
        number | "4"       | equals = 4
        "#,
    );
    let scenario = |key: &str, test: &str| {
        runner.scenario(&format!("[providers.p]\n{provider}{key}\n{ECHO}{expected}"));
        runner.exec(&["--test", test, "--provider", "p"])
    };
    let line =
        r#"equals: expected "hello", got "hello\n"; set the provider's `output = "trimmed"`"#;
    let number = r#"equals: expected 4, got "4"; set the provider's `output = "json"`"#;
    for (test, says, key) in
        [("line", line, "output = \"trimmed\""), ("number", number, "output = \"json\"")]
    {
        let ran = scenario("", test).expect(1);
        snapshot(&ran);
        ran.says(&[key]);
        runner.run(&["show"]).expect(0).says(&[says]);
        // The advice is right.
        scenario(key, test).expect(0);
    }
    // A component has no such key.
    let ran = runner.exec(&["--provider", "echo"]).expect(1);
    assert!(!ran.stderr.contains("set the provider's"), "{}", ran.stderr);
}
