//! Files that tests pass to providers, and schemas of expected outputs.

use std::fs;

use crate::support::{
    guests::command,
    runner::{Runner, tests},
};

/// A scenario with a program that copies the attachment `text` to its output, in two tests of which the first fails.
fn attached() -> Runner {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.write("a.txt", "as planned");
    let test = |id: &str, expect: &str| {
        format!(
            "[[tests]]\nid = \"{id}\"\nfiles = {{ text = \"a.txt\" }}\nexpect = {{ equals = \"{expect}\" }}\n"
        )
    };
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"cat\"]\nstdin = {{ file = \"text\" }}\n{}{}",
        test("a", ""),
        test("b", "as planned")
    ));
    runner
}

#[test]
fn attachments_are_kept_for_resume() {
    let runner = attached();
    runner.exec(&["--fail-fast", "-j1"]);
    assert_eq!(runner.only_run().ending()[0], "incomplete");
    fs::remove_file(runner.path("a.txt")).unwrap();
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "--fail-fast=off"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("b")["outcome"], "passed");

    // The attachment is in the store, and cannot be replaced unnoticed.
    let shelves = fs::read_dir(runner.path("results/store")).unwrap();
    let files = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
    let attachment = files
        .map(|file| file.unwrap().path())
        .find(|file| fs::read(file).unwrap() == b"as planned");
    fs::write(attachment.unwrap(), "replaced").unwrap();
    runner.run(&["verify"]).expect(1);
}

#[test]
fn changed_attachments_are_reported() {
    let runner = attached();
    runner.exec(&["--fail-fast", "-j1"]);
    runner.write("a.txt", "changed");
    let ran = runner.run(&["resume", "--fail-fast=off"]).expect(1);
    ran.says(&["the scenario has changed", "tests changed"]);
    assert_eq!(runner.only_run().row("b")["outcome"], "passed");
    let ran = runner.run(&["resume", "--accept-changes"]).expect(1);
    assert!(!ran.stderr.contains("the scenario has changed"), "{}", ran.stderr);
    let rows = runner.only_run().rows_of("b");
    assert_eq!(rows.last().unwrap()["output"], "changed");
}

#[test]
fn schemas_are_kept_for_resume() {
    let runner = Runner::new(&["hostile"]);
    runner.write("number.json", "{\"type\": \"number\"}");
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n{}",
        tests(
            "a | { do = \"echo\", value = \"x\" } | schema = \"number.json\"\n\
             b | { do = \"echo\", value = 1 } | schema = \"number.json\""
        )
    ));
    runner.exec(&["--fail-fast", "-j1"]);
    fs::remove_file(runner.path("number.json")).unwrap();
    runner.run(&["resume", "--fail-fast=off"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("a")["outcome"], "failed");
    assert_eq!(run.row("b")["outcome"], "passed");
}
