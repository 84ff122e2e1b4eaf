//! Reading what attempts left in their workspaces: diffs, saved trees, pages and reports.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::workspaces::{agent, changes, tree};
use crate::support::runner::Runner;

/// Applies a diff to a copy of the base with git, which must accept it.
fn applied(runner: &Runner, diff: &str) -> std::path::PathBuf {
    let copy = runner.path("applied");
    let copied = Command::new("cp").arg("-a").args([runner.path("base"), copy.clone()]).status();
    assert!(copied.unwrap().success());
    let file = runner.path("changes.diff");
    fs::write(&file, diff).unwrap();
    let mut git = Command::new("git");
    git.args(["apply", "--whitespace=nowarn"]).arg(&file).current_dir(&copy);
    // Without a repository, git applies to plain files.
    git.env("GIT_CEILING_DIRECTORIES", runner.path("")).stderr(Stdio::piped());
    let output = git.output().unwrap();
    assert!(output.status.success(), "{}\n{diff}", String::from_utf8_lossy(&output.stderr));
    copy
}

/// Removes empty folders, which git does not know.
fn without_empty_folders(folder: &Path) {
    let removed = Command::new("find")
        .arg(folder)
        .args(["-mindepth", "1", "-type", "d", "-empty", "-delete"])
        .status();
    assert!(removed.unwrap().success());
}

fn has_git() -> bool {
    Command::new("git").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn diff(runner: &Runner, trial: &str) -> String {
    runner.run(&["show", "latest", trial, "--diff"]).expect(0).stdout
}

#[test]
fn diff_turns_the_base_into_what_the_attempt_left() {
    let lines: String = (0..40).map(|line| format!("{line}\n")).collect();
    let acts = json!([
        ["write", "/work/many", lines.replace("\n20\n", "\ntwenty\n").replace("\n3\n", "\n")],
        ["append", "/work/many", "no end"],
        ["append", "/work/src/app.py", "v = 2\r\n\u{1b}[31m\n"],
        ["remove", "/work/README"],
        ["rename", "/work/src/lib.py", "/work/tab\t\"name\" é"],
        ["symlink", "many", "/work/to many"],
        ["mkdir", "/work/deep"],
        ["write", "/work/deep/file", ""],
        ["remove", "/work/tool"],
        ["symlink", "many", "/work/tool"]
    ]);
    let runner = agent("", &[("a", acts), ("b", changes())]);
    fs::write(runner.path("base/many"), &lines).unwrap();
    fs::write(runner.path("base/tool"), "#!/bin/sh").unwrap();
    fs::set_permissions(runner.path("base/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    runner.exec(&[]).expect(0);
    let text = diff(&runner, "a@agent#1");
    for line in [
        "diff --git a/README b/README",
        "deleted file mode 100644",
        "--- a/README",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-read me",
        "@@ -1,7 +1,6 @@",
        "+no end",
        "\\ No newline at end of file",
        "+v = 2\r",
        "+\u{1b}[31m",
        "diff --git \"a/tab\\011\\\"name\\\" \\303\\251\" \"b/tab\\011\\\"name\\\" \\303\\251\"",
        "new file mode 100644",
        "new file mode 120000",
        "deleted file mode 100755",
        "diff --git a/to many b/to many",
        "+++ b/to many\t",
    ] {
        assert!(text.split('\n').any(|one| one == line), "{line}\n{text}");
    }
    let saved = runner.path("saved");
    runner.run(&["show", "latest", "a@agent#1", "--save", "saved"]).expect(0);
    if has_git() {
        let applied = applied(&runner, &text);
        let left = saved.join("workspace");
        for folder in [&applied, &left] {
            without_empty_folders(folder);
        }
        assert_eq!(tree(&applied), tree(&left));
    }
}

#[test]
fn show_counts_changes_and_names_the_command_of_their_diff() {
    let acts = |end: Value| json!([["write", "/work/half", "x"], end]);
    let runner =
        agent("", &[("a", changes()), ("trap", acts(json!(["panic"]))), ("no", json!([]))]);
    runner.exec(&[]).expect(1);
    let id = runner.only_run().id().to_owned();
    runner
        .run(&["show", "latest", "a@agent#1"])
        .expect(0)
        .says(&["workspace: 3 added, 1 changed, 3 removed; to see them: ", "--diff"]);
    runner
        .run(&["show", "latest", "trap@agent#1"])
        .expect(0)
        .says(&["workspace: 1 added, partial"]);
    runner.run(&["show", "latest", "no@agent#1"]).expect(0).says(&["workspace: no changes"]);
    assert_eq!(diff(&runner, "no@agent#1"), "");
    let document =
        runner.run(&["show", "latest", "a@agent#1", "--diff", "--json"]).expect(0).document();
    assert_eq!((&document["run"], &document["total"]), (&json!(id), &json!(7)));
    let app =
        document["changes"].as_array().unwrap().iter().find(|one| one["path"] == "src/app.py");
    let app = app.unwrap();
    assert_eq!([&app["before"]["bytes"], &app["after"]["bytes"]], [6, 12]);
    let report = runner.run(&["report", "latest", "--markdown"]).expect(0);
    report.says(&["workspace: 1 added, partial"]);
}

#[test]
fn binary_and_large_files_are_named() {
    let acts = json!([["write", "/work/binary", "a\u{0}b"], ["append", "/work/large", "more"]]);
    let runner = agent("", &[("a", acts)]);
    fs::write(runner.path("base/large"), vec![b'x'; 2 << 20]).unwrap();
    runner.exec(&[]).expect(0);
    let text = diff(&runner, "a@agent#1");
    assert!(text.contains("\nBinary files /dev/null and b/binary differ\n"), "{text}");
    assert!(text.contains("\nlarger than 1 MiB; --save DIR writes it\n"), "{text}");
    assert!(text.len() < 1000);
}

#[test]
fn saved_workspace_replaces_nothing_and_stays_in_its_folder() {
    let acts = json!([
        ["symlink", "../../outside", "/work/out"],
        ["symlink", "src", "/work/in"],
        ["write", "/work/new.txt", "new"]
    ]);
    let runner = agent("", &[("a", acts)]);
    runner.exec(&[]).expect(0);
    let save = |folder: &str| runner.run(&["show", "latest", "a@agent#1", "--save", folder]);
    save("saved").expect(0).says(&[
        "the link `out` leads out of the workspace",
        "of the workspace in saved/workspace",
    ]);
    let saved = tree(&runner.path("saved/workspace"));
    let mut expected = tree(&runner.path("base"));
    expected.extend([
        ("in l src".to_owned(), String::new()),
        ("new.txt f 644 ".to_owned(), "new".to_owned()),
    ]);
    let names = |tree: &std::collections::BTreeMap<String, String>| {
        tree.keys().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&saved), names(&expected));
    assert!(saved.iter().any(|(line, text)| line.starts_with("new.txt") && text == "new"));
    // A second copy, and a link in place of the folder.
    save("saved").expect(2);
    fs::create_dir(runner.path("linked")).unwrap();
    symlink(runner.path("base"), runner.path("linked/workspace")).unwrap();
    let before = tree(&runner.path("base"));
    save("linked").expect(2).says(&["linked/workspace exists"]);
    assert_eq!(tree(&runner.path("base")), before);
}

#[test]
fn changes_of_a_foreign_run_write_nothing_outside() {
    let runner = agent("", &[("a", json!([["write", "/work/x", "x"]]))]);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let digest = run.row("a")["workspace"]["changes"].as_str().unwrap().to_owned();
    let list = run.bytes(&format!("artifacts/{}/{digest}", &digest[..2]));
    let list = String::from_utf8(list).unwrap().replace("\"x\"", "\"../x\"");
    // Another list under the digest is refused as damaged.
    run.write(&format!("artifacts/{}/{digest}", &digest[..2]), list);
    for flags in [&["--diff"][..], &["--save", "saved"]] {
        let shown = runner.run(&[&["show", "latest", "a@agent#1"], flags].concat());
        shown.expect(7).says(&["its bytes do not match its name"]);
    }
    assert!(!runner.path("x").exists() && !runner.path("saved/x").exists());
}

#[test]
fn single_call_works_on_a_copy_of_a_folder() {
    let runner = agent("", &[]);
    let before = tree(&runner.path("base"));
    let input = changes().to_string();
    let called =
        runner.run(&["plugin", "run", "files.wasm", "--workspace", "base", "--input", &input]);
    let called = called.expect(0);
    for line in ["-read me", "+v = 2", "diff --git a/new.txt b/new.txt", "new file mode 100644"] {
        assert!(called.stdout.lines().any(|one| one == line), "{line}\n{}", called.stdout);
    }
    called.says(&["3 added, 1 changed, 3 removed"]);
    assert_eq!(tree(&runner.path("base")), before);
    symlink("/etc", runner.path("base/out")).unwrap();
    runner
        .run(&["plugin", "run", "files.wasm", "--workspace", "base", "--input", "[]"])
        .expect(2)
        .says(&["has the link `out` to `/etc`, which leads out of it"]);
}
