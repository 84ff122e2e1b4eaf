//! Granted folders, files that guests write there, and folders that are not granted.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::runner::{Runner, tests};

/// Writes a scenario with providers, each with its grants, and one test that does `acts` to files.
fn files(providers: &[&str], acts: &Value) -> Runner {
    let runner = Runner::new(&["files"]);
    for folder in ["open", "shared"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    runner.write("open/file", "content");
    scenario(&runner, providers, acts);
    runner
}

fn scenario(runner: &Runner, providers: &[&str], acts: &Value) {
    let providers = (0..).zip(providers).map(|(index, keys)| {
        let limits = "limits = { scratch = \"1MiB\" }";
        format!("[providers.p{index}]\nplugin = \"files.wasm\"\n{limits}\n{keys}\n")
    });
    let acts = tests(&format!("acts | {acts} |"));
    runner.scenario(&format!("{}{acts}", providers.collect::<String>()));
}

fn fs_grant(path: &str, mount: &str, mode: &str) -> String {
    format!("grants.fs = [{{ path = \"{path}\", mount = \"{mount}\", mode = \"{mode}\" }}]")
}

#[test]
fn granted_folders_are_there_in_every_session() {
    let acts = json!([
        ["read", "/data/file"],
        ["write", "/data/file", "changed"],
        ["append", "/shared/log", "x"],
        ["write", "/scratch/a", "x"],
        ["list", "/scratch"],
    ]);
    let grants = "grants.fs = [{ path = \"open\", mount = \"/data\" }, { path = \"shared\", mount = \"/shared\", mode = \"rw\" }]";
    let runner = files(&[grants], &acts);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let found = json!([
        {"ok": "content"}, {"err": "perm"}, {"ok": null}, {"ok": null}, {"ok": ["a"]},
    ]);
    let row = run.row("acts");
    assert_eq!(row["output"], found, "{row}");
    assert_eq!(fs::read(runner.path("shared/log")).unwrap(), b"x");
    let mounts = &run.manifest()["providers"][0]["mounts"];
    let hosts = [&mounts[0]["host"], &mounts[1]["host"]];
    let open = fs::canonicalize(runner.path("open")).unwrap();
    assert_eq!(*hosts[0], json!(open), "{mounts}");

    // Later sessions resolve the folders as the first one did.
    let again = ["resume", run.id(), "--rerun", "all"];
    runner.run(&again).expect(0);
    assert_eq!(fs::read(runner.path("shared/log")).unwrap(), b"xx");
    fs::remove_dir_all(runner.path("open")).unwrap();
    symlink("shared", runner.path("open")).unwrap();
    let refused = runner.run(&again).expect(2);
    snapshot(&refused);
    assert_eq!(fs::read(runner.path("shared/log")).unwrap(), b"xx");
}

#[test]
fn runs_in_writable_folders_are_not_resumed() {
    let grants = fs_grant("shared", "/shared", "rw");
    let runner = files(&[&grants], &json!([["write", "/shared/a", ""]]));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    fs::rename(runner.path("results"), runner.path("shared/results")).unwrap();
    let again = ["resume", run.id(), "--results", "shared/results", "--rerun", "all"];
    let refused = runner.run(&again).expect(2);
    snapshot(&refused);
}

#[test]
fn single_calls_have_the_same_rules() {
    let runner = files(&[], &json!([]));
    let acts = json!([["read", "/data/file"]]).to_string();
    let call = |grant: &str| {
        let args = ["plugin", "run", "files.wasm", "--input", &acts, "--grant", grant];
        runner.run(&[&args[..], &["--limit", "scratch=1MiB"]].concat())
    };
    let ran = call("fs=open:/data").expect(0);
    let output: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(output, json!([{"ok": "content"}]));
    for (grant, says) in
        [("fs=.:/data:rw", "would let a guest change"), ("fs=/sys:/data", "where the kernel shows")]
    {
        let ran = call(grant).expect(2);
        snapshot(&ran);
        ran.says(&[says]);
    }
    let link = r#"[["write", "/data/a", ""]]"#;
    let into = ["plugin", "run", "files.wasm", "--input", link, "--artifacts", "shared/left"];
    let grant = ["--grant", "fs=shared:/data:rw", "--limit", "scratch=1MiB"];
    let refused = runner.run(&[&into[..], &grant].concat()).expect(2);
    snapshot(&refused);
}

#[test]
fn folders_that_let_guests_out_are_refused() {
    let runner = files(&[], &json!([]));
    fs::create_dir(runner.path("open/sub")).unwrap();
    for (providers, says) in [
        (
            vec![fs_grant(".", "/data", "rw")],
            ["with mode `rw`, would let a guest change", "granted as `/data`"],
        ),
        (
            vec![fs_grant("results", "/data", "rw")],
            ["would let a guest change the results root", "a folder of its own"],
        ),
        (
            vec![fs_grant("open", "/a", "rw"), fs_grant("open/sub", "/b", "ro")],
            ["granted as `/b` with mode `ro`, is in", "granted as `/a`"],
        ),
        (
            vec![fs_grant("/proc/self", "/data", "ro")],
            ["is in `/proc`, where the kernel shows", "folders of plain files"],
        ),
    ] {
        fs::create_dir_all(runner.path("results")).unwrap();
        let providers: Vec<_> = providers.iter().map(String::as_str).collect();
        scenario(&runner, &providers, &json!([]));
        runner.refused(&[], &says);
        runner.refused(&["--dry-run"], &says);
        // `plugin run` knows no results root.
        if !says[0].contains("results") {
            runner.run(&["validate", "scenario.toml"]).expect(2).says(&says);
        }
    }
}
