//! What guests say reaches a terminal as text: nothing of it colours, moves or hides what the runner prints.

use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::support::runner::{CommandExt as _, Ran, Runner};

/// Sets the window's title, clears the screen, colours, and begins lines of its own; with control characters of eight
/// bits, and one that turns the direction.
const HOSTILE: &str = "\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}[31mred\rover\u{9b}2J\u{202e}\u{7f}";
/// The same where it can be seen.
const VISIBLE: &str = r"\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}[31mred\rover\u{9b}2J\u{202e}\u{7f}";
/// What would look like the runner's own verdict.
const FORGED: &str = "✓ passed in 1 ms";

/// Calls the program as if all that it prints went to a terminal with colours.
fn coloured(runner: &Runner, args: &[&str], code: i32) -> Ran {
    let mut command: Command = runner.command(args);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let ran = command.run().expect(code);
    for text in [&ran.stdout, &ran.stderr] {
        assert_harmless(text);
    }
    ran
}

/// Fails if anything but colours of the runner's own steers the terminal, or a guest has begun a line.
#[track_caller]
fn assert_harmless(text: &str) {
    let colours = Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    let plain = colours.replace_all(text, "");
    let steers = Regex::new(r"[\p{Cc}\u{202a}-\u{202e}\u{2066}-\u{2069}&&[^\n\t]]").unwrap();
    assert!(!steers.is_match(&plain), "{text:?}");
    assert!(!text.contains("\u{1b}[31mred"), "{text:?}");
    let is_forged = |line: &str| line.starts_with(FORGED);
    assert!(!plain.lines().any(is_forged), "{text}");
}

/// A guest's text with a line that looks like the runner's.
fn hostile() -> String {
    format!("{HOSTILE}\n{FORGED}")
}

#[test]
fn what_a_guest_says_cannot_steer_a_terminal_under_plugin_run() {
    let runner = Runner::new(&["hostile", "command"]);
    let ran = coloured(
        &runner,
        &["plugin", "run", "command.wasm", "--", "fail", HOSTILE],
        1,
    );
    ran.says(&[VISIBLE]);

    for input in [
        json!({"do": "say", "text": hostile()}),
        json!({"do": "error", "kind": "internal", "code": hostile(), "message": hostile()}),
        json!({"do": "judge", "text": hostile()}),
    ] {
        let input = input.to_string();
        let args = ["plugin", "run", "hostile.wasm", "--input", &input];
        let code = if input.contains("\"say\"") { 0 } else { 1 };
        let ran = coloured(&runner, &args, code);
        ran.says(&[VISIBLE]);
        // Documents have the same text, escaped as JSON is.
        let ran = coloured(&runner, &[&args[..], &["--json"]].concat(), code);
        let document = ran.document();
        assert!(has(&document, HOSTILE), "{document:#}");
    }
}

#[test]
fn what_a_guest_says_cannot_steer_a_terminal_in_a_run_and_afterwards() {
    let runner = Runner::new(&["hostile", "command"]);
    // TOML has no raw DEL.
    let quoted = |text: &str| json!(text).to_string().replace('\u{7f}', r"\u007f");
    let (text, forged) = (quoted(HOSTILE), quoted(&hostile()));
    runner.scenario(&format!(
        r#"
        providers.hostile.plugin = "hostile.wasm"
        providers.plain = {{ plugin = "command.wasm", args = ["fail", "{{{{input.text}}}}"] }}

        [[tests]]
        id = "judge"
        input = {{ do = "judge", text = {forged} }}
        expect = {{ equals = {text} }}
        [[tests]]
        id = "error"
        input = {{ do = "error", kind = "internal", code = {forged}, message = {forged}, text = {text} }}
        expect = {{ equals = "a\nb" }}
        [[tests]]
        id = "echo"
        input = {{ do = "echo", value = {forged}, text = {text} }}
        expect = {{ equals = "a\nb" }}
        "#
    ));
    let ran = coloured(&runner, &["exec", "scenario.toml"], 1);
    ran.says(&[VISIBLE]);
    for args in [
        &["show", "--failed"][..],
        &["show", "--trial", "error@hostile*"],
        &["logs"],
    ] {
        let ran = coloured(&runner, args, 0);
        assert!(ran.stdout.contains(VISIBLE), "{}", ran.stdout);
    }
    coloured(&runner, &["list"], 0);
}

#[test]
fn what_a_plugin_says_of_itself_cannot_steer_a_terminal() {
    let runner = Runner::new(&[]);
    let name = HOSTILE
        .escape_default()
        .to_string()
        .replace("\\u{7}", "\\07");
    runner.wat(
        "needy.wasm",
        &format!(r#"(module (import "{name}" "x" (func)) (func (export "_start")))"#),
    );
    let ran = coloured(&runner, &["plugin", "inspect", "needy.wasm"], 2);
    assert!(ran.stdout.contains(VISIBLE), "{}", ran.stdout);
    ran.says(&[VISIBLE]);
    coloured(&runner, &["plugin", "run", "needy.wasm"], 2).says(&[VISIBLE]);
    runner.scenario("providers.needy.plugin = \"needy.wasm\"\n[[tests]]\nid = \"a\"\ninput = 1\n");
    coloured(&runner, &["exec", "scenario.toml"], 3).says(&[VISIBLE]);
    let ran = coloured(&runner, &["show"], 0);
    assert!(ran.stdout.contains(VISIBLE), "{}", ran.stdout);
}

#[test]
fn a_text_that_is_replied_reaches_a_program_byte_by_byte() {
    let runner = Runner::new(&["command"]);
    for text in [HOSTILE, "no line break", "", "two\r\nlines\n"] {
        let args = ["plugin", "run", "command.wasm", "--", "say", text];
        let mut command = runner.command(&args);
        assert_eq!(runner.run(&args).expect(0).stdout, text);
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
        assert_eq!(command.run().expect(0).stdout, text);
    }
}

/// Tells whether any text of a document has this in it.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(values) => values.iter().any(|value| has(value, text)),
        Value::Object(object) => object.values().any(|value| has(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
