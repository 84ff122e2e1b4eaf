//! The page of a trial: everything that is known of it, and its parts for other programs.

use std::process::Command;

use serde_json::{Value, json};

use super::show;
use crate::support::runner::{CommandExt as _, Runner, tests};

/// A trial whose output is not what was expected, one that says something, one that is tried again, one that leaves files.
const TESTS: &str = r#"
differs | { do = "echo", value = "one\ntwo\n\u001b[2J✓ passed" } | equals = "one\n2\n"
says    | { do = "log" } |
again   | { do = "fail-until", attempt = 3 } | equals = 3
files   | { do = "artifact", name = "log" } |
counts  | { do = "measure", tokens = 7 } |
denied  | { do = "http" } |
long    | { do = "echo", value = "LONG" } |
"#;

fn finished() -> Runner {
    let lines: Vec<String> = (1..=100).map(|line| format!("line {line}")).collect();
    let text = tests(TESTS).replace("LONG", &lines.join("\\n"));
    let runner = Runner::hostile(&format!(
        "[defaults]\nretries = {{ max = 2, backoff = \"1ms\", on = [\"unavailable\"] }}\n{}",
        text.replace(
            "id = \"says\"",
            "id = \"says\"\ntags = [\"slow\", \"chatty\"]"
        )
    ));
    runner.exec(&[]).expect(1);
    runner
}

fn page(runner: &Runner, trial: &str) -> String {
    runner.run(&["show", "latest", trial]).expect(0).stdout
}

fn document(runner: &Runner, args: &[&str]) -> Value {
    let ran = runner.run(&[&["show", "latest"], args, &["--json"]].concat());
    let document = ran.expect(0).document();
    runner.assert_valid("trial", std::slice::from_ref(&document));
    document
}

#[test]
fn a_page_has_input_expectation_output_and_difference() {
    let runner = finished();
    let text = page(&runner, "differs@hostile#1");
    for part in [
        "✗ failed differs@hostile#1",
        "\ninput\n",
        "\nexpected: equals\n  one\n  2\n",
        "\noutput\n  one\n  two\n  \\u{1b}[2J✓ passed\n",
        "✗ equals: the output is not what was expected",
        "-2",
        "+two",
        "\nmake such an attempt again\n  runner plugin run ",
    ] {
        assert!(text.contains(part), "{part:?}\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let text = page(&runner, "says");
    assert!(text.contains("tags      chatty, slow"), "{text}");
    let (_, log) = text.split_once("\nlog\n  ").unwrap();
    let (clock, record) = log.lines().next().unwrap().split_once(' ').unwrap();
    let colons = clock.split(':').map(str::len);
    assert!(colons.eq([2, 2, "04.123".len()]), "{text}");
    assert_eq!(record, "warn careful key=value");
    assert!(page(&runner, "counts").contains("\nmetrics\n"));
    let denied = page(&runner, "denied");
    assert!(denied.contains("\nnot granted\n  denied: "), "{denied}");
}

#[test]
fn attempts_stand_side_by_side_and_any_of_them_is_shown() {
    let runner = finished();
    let text = page(&runner, "again");
    assert!(
        text.contains("✓ passed again@hostile#1 (attempt 3)"),
        "{text}"
    );
    let table: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "attempts")
        .collect();
    let words: Vec<Vec<_>> = table[1..3]
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["attempt", "1", "attempt", "2", "attempt", "3"]);
    assert_eq!(words[1], ["outcome", "error", "error", "passed"]);
    let first = runner.run(&["show", "latest", "again", "--attempt", "1"]);
    first
        .expect(0)
        .prints("✗ error again@hostile#1 (attempt 1, not final)");
    let none = runner.run(&["show", "latest", "again", "--attempt", "4"]);
    none.expect(5)
        .says(&["has no attempt 4", "there is 1, 2, 3"]);

    let document = document(&runner, &["again"]);
    let outcomes = document["attempts"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|attempt| &attempt["row"]["outcome"]).collect();
    assert_eq!(outcomes, ["error", "error", "passed"]);
    assert_eq!(document["shown"], 3);
    assert_eq!(document["planned"]["expect"], json!({ "equals": 3 }));
}

#[test]
fn a_name_means_one_trial_or_says_which_there_are() {
    let runner = finished();
    assert!(page(&runner, "ffer").contains("differs@hostile#1"));
    let none = runner.run(&["show", "latest", "difers"]).expect(5);
    none.says(&["has no trial `difers`", "the nearest are `differs`"]);
    let many = runner.run(&["show", "latest", "hostile"]).expect(2);
    many.says(&["`hostile` means 7 trials", "says@hostile#1"]);
    runner
        .run(&["show", "latest", "says", "--failed"])
        .expect(2);
    runner.run(&["show", "latest", "--full"]).expect(2);
}

#[test]
fn long_texts_are_cut_unless_all_is_asked_for() {
    let runner = finished();
    let cut = page(&runner, "long");
    assert!(
        cut.contains("line 40\n") && !cut.contains("line 41\n"),
        "{cut}"
    );
    assert!(cut.contains("… 60 more lines"), "{cut}");
    assert!(cut.ends_with("`--full` shows what is cut here\n"), "{cut}");
    let full = runner.run(&["show", "latest", "long", "--full"]).expect(0);
    assert!(full.stdout.contains("line 100\n") && !full.stdout.contains("--full"));
}

#[test]
fn parts_are_handed_out_byte_by_byte_and_saved_over_nothing() {
    let runner = finished();
    let open = |trial: &str, part: &str| runner.run(&["show", "latest", trial, "--open", part]);
    let output = open("differs", "output").expect(0).stdout;
    assert_eq!(output, "\"one\\ntwo\\n\\u001b[2J✓ passed\"\n");
    let names = document(&runner, &["files"])["attempts"][0]["artifacts"].clone();
    let file = &names[0];
    let name = file["name"].as_str().unwrap();
    let stored = fs_err::read_to_string(runner.path(file["path"].as_str().unwrap())).unwrap();
    assert_eq!(open("files", name).expect(0).stdout, stored);
    open("differs", "log")
        .expect(5)
        .says(&["has no `log`", "there is `input`, `output`"]);

    let save = ["show", "latest", "says", "--save", "parts"];
    runner.run(&save).expect(0).prints("parts/log.jsonl");
    let log = fs_err::read_to_string(runner.path("parts/log.jsonl")).unwrap();
    assert!(log.contains("careful"), "{log}");
    runner.run(&save).expect(7).says(&["cannot write"]);
}

#[test]
fn the_command_on_a_page_makes_the_same_attempt_again() {
    let runner = finished();
    for (trial, code, says) in [
        ("differs", 0, "two"),
        ("long", 0, "line 100"),
        ("denied", 0, "denied"),
    ] {
        let document = document(&runner, &[trial]);
        let command = document["command"].as_str().unwrap();
        let command = command
            .replace("runner show", "$runner show")
            .replace("runner plugin", "$runner plugin");
        let mut shell: Command = runner.shell(&command);
        let ran = shell.run().expect(code);
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains(says),
            "{ran:?}"
        );
    }
}

#[test]
fn a_trial_that_goes_on_or_has_not_begun_has_a_page() {
    let runner = Runner::hostile(&tests(
        r#"
        talks | { do = "log", ms = 600000 } |
        waits | { do = "echo", value = 1 } |
        "#,
    ));
    let live = runner.start(&["-j", "1", "--workers", "0"]);
    crate::support::wait::wait_until("something is said", || {
        let ran = runner.run(&["show", "latest", "talks"]);
        ran.stdout.contains("careful")
    });
    assert!(page(&runner, "talks").starts_with("not ended talks@hostile#1"));
    let text = page(&runner, "waits");
    assert!(text.starts_with("not begun waits@hostile#1"), "{text}");
    assert_eq!(document(&runner, &["waits"])["shown"], Value::Null);
    live.kill();
}

#[test]
fn the_command_has_what_steers_a_terminal_as_json_has_it() {
    let runner = Runner::hostile(&tests(
        r#"steers | { do = "echo", value = "it's \u202e a value" } | contains = "no""#,
    ));
    runner.exec(&[]).expect(1);
    let text = page(&runner, "steers");
    let (_, command) = text.split_once("make such an attempt again").unwrap();
    assert!(command.contains(r"\u202e"), "{command}");
    let command = command.replace("runner plugin", "$runner plugin");
    let ran = runner.shell(&command).run().expect(0);
    assert!(ran.stdout.contains("a value"), "{ran:?}");
}

#[test]
fn a_page_fits_where_it_is_shown() {
    let runner = finished();
    for columns in [60, 80, 200] {
        for trial in ["differs", "says", "again", "counts", "long"] {
            let screen = show(&runner, columns, &["show", "latest", trial]).expect(0);
            // The command is one word after the other, of which the input is one.
            let (page, _) = screen.text.split_once("make such").unwrap();
            let widest = page.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(usize::from(columns)), "{page}");
        }
    }
}

#[test]
fn the_matrix_has_a_line_for_each_test_with_its_repeats_in_one_cell() {
    let text = tests(
        r#"
        fine  | { do = "echo", value = 1 } | equals = 1
        fails | { do = "echo", value = 1 } | equals = 2
        again | { do = "fail-until", attempt = 2 } |
        "#,
    );
    let runner = Runner::hostile(&format!(
        "[providers.other]\nplugin = \"hostile.wasm\"\n[defaults]\nretries = {{ max = 1, on = [\"unavailable\"] }}\n{}",
        text.replace("id = \"fine\"", "id = \"fine\"\nrepeat = 4")
            .replace(
                "id = \"again\"",
                "id = \"again\"\nproviders = [\"hostile\"]"
            )
    ));
    let summary = runner.exec(&[]).expect(1).stderr;
    let matrix = "\
test   other     hostile
fine   4/4       4/4
fails  ✗ failed  ✗ failed
again            ✓ flaky
";
    assert!(summary.contains(&format!("tests\n{matrix}")), "{summary}");
    assert!(
        summary.contains("flaky\nagain@hostile#1, passed after 2 attempts"),
        "{summary}"
    );
    let shown = runner.run(&["show", "--matrix"]).expect(0).stdout;
    assert!(shown.ends_with(&format!("\n{matrix}")), "{shown}");
    for part in ["\nwhat to expect\n", "pass@k", "\nslowest\n"] {
        runner.run(&["show"]).expect(0).prints(part);
    }
    for columns in [60, 80, 200] {
        show(&runner, columns, &["show", "--matrix"])
            .expect(0)
            .fits();
        show(&runner, columns, &["show"]).expect(0).fits();
    }
    let quiet = runner.exec(&["--quiet"]).expect(1).stderr;
    assert!(!quiet.contains(matrix), "{quiet}");
}
