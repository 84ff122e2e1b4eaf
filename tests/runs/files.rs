//! Files that guests receive, and files that they leave.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{
    guests::command,
    run::Run,
    runner::{Runner, tests},
};

/// Returns an artifact's content. Fails unless it matches its entry.
fn content(run: &Run, artifact: &Value) -> Vec<u8> {
    let digest = artifact["sha256"].as_str().unwrap();
    let content = run.bytes(&format!("artifacts/{}/{digest}", &digest[..2]));
    let hash = Sha256::digest(&content);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((hash.as_str(), artifact["bytes"].as_u64()), (digest, Some(content.len() as u64)));
    content
}

#[test]
fn artifacts_lie_under_their_digests() {
    let runner = Runner::hostile(&tests(
        r#"
        text  | { do = "artifact", name = "a.txt" }                    |
        same  | { do = "artifact", name = "b.txt" }                    |
        many  | { do = "flood-artifacts", count = 5, bytes = 300_000 } |
        large | { do = "flood-artifacts", count = 1, bytes = 600_000 } |
        path  | { do = "artifact", name = "../up" }                    |
        "#,
    ));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let artifacts = |test: &str| run.row(test)["artifacts"].as_array().cloned().unwrap_or_default();
    for (test, name) in [("text", "a.txt"), ("same", "b.txt")] {
        let [artifact] = &artifacts(test)[..] else { panic!("{:?}", artifacts(test)) };
        assert_eq!(
            (&artifact["name"], content(&run, artifact)),
            (&json!(name), b"one two".to_vec())
        );
    }
    let many = artifacts("many");
    let names: Vec<_> = many.iter().map(|artifact| artifact["name"].clone()).collect();
    assert_eq!(names, ["file-0", "file-1", "file-2", "file-3", "file-4"]);
    assert!(many.iter().all(|artifact| content(&run, artifact) == vec![0; 300_000]));
    assert_eq!(content(&run, &artifacts("large")[0]).len(), 600_000);
    assert!(artifacts("path").is_empty());
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn large_output_precedes_other_artifacts() {
    // The output repeats the result of each append, and is too large for the row.
    let runner =
        Runner::hostile(&tests("a | { do = \"flood-artifacts\", count = 20_000, bytes = 1 } |"));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row = run.row("a");
    let artifacts = row["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 101);
    assert_eq!(row["output"], json!({"$artifact": "output.json"}));
    assert_eq!(artifacts[0]["name"], "output.json");
    let output: Value = serde_json::from_slice(&content(&run, &artifacts[0])).unwrap();
    assert_eq!(output.as_array().unwrap().len(), 20_000);
    assert_eq!((&artifacts[1]["name"], content(&run, &artifacts[1])), (&json!("file-0"), vec![0]));
}

#[test]
fn attachments_are_kept_for_resume() {
    // The program copies the attachment to its output, and the first test fails.
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
