//! Reading what attempts left in their workspaces: diffs, saved trees, pages and reports.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::workspaces::{agent, changes, tree};
use crate::messages::outputs::snapshot;
use crate::support::{
    run::{Run, sealed},
    runner::Runner,
    running::finished,
};

/// Applies a diff to a copy of the base with git, which must accept it.
fn applied(runner: &Runner, diff: &str) -> std::path::PathBuf {
    let copy = runner.path("applied");
    finished(Command::new("cp").arg("-a").args([runner.path("base"), copy.clone()])).expect(0);
    let file = runner.path("changes.diff");
    fs::write(&file, diff).unwrap();
    let mut git = Command::new("git");
    git.args(["apply", "--whitespace=nowarn"]).arg(&file).current_dir(&copy);
    // Without a repository, git applies to plain files.
    let git = finished(git.env("GIT_CEILING_DIRECTORIES", runner.path("")));
    assert_eq!(git.code, Some(0), "{}\n{diff}", git.stderr);
    copy
}

/// Removes empty folders, which git does not know.
fn without_empty_folders(folder: &Path) {
    let mut find = Command::new("find");
    find.arg(folder).args(["-mindepth", "1", "-type", "d", "-empty", "-delete"]);
    finished(&mut find).expect(0);
}

fn has_git() -> bool {
    // It ends at once, and may be missing.
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
    let report = runner.run(&["report", "latest", "--junit"]).expect(0);
    report.says(&["workspace: 1 added, partial"]);
}

#[test]
fn binary_and_large_files_are_named() {
    let acts = json!([
        ["append", "/work/src/app.py", "v = 2\n"],
        ["write", "/work/binary", "a\u{0}b"],
        ["append", "/work/large", "more"],
        ["remove", "/work/old"],
        ["write", "/work/zero", ""],
        ["mkdir", "/work/new"],
        ["mkdir", "/work/full"],
        ["write", "/work/full/file", ""],
        ["rmdir", "/work/empty"],
        ["symlink", "src", "/work/to src"]
    ]);
    let runner = agent("", &[("a", acts)]);
    fs::write(runner.path("base/large"), vec![b'x'; 2 << 20]).unwrap();
    runner.write("base/old", [0, 1]);
    runner.exec(&[]).expect(0);
    let shown = runner.run(&["show", "latest", "a@agent#1", "--diff"]).expect(0);
    snapshot(&shown);
    let text = shown.stdout;
    let saved = "; runner show RUN TRIAL --save DIR writes it";
    for line in [
        &format!("binary: binary{saved}"),
        &format!("large: larger than 1 MiB{saved}"),
        "old: binary, removed",
        &format!("new: new folder{saved}"),
        "empty: removed folder",
    ] {
        assert!(text.contains(&format!("only named: {line}\n")), "{line}\n{text}");
    }
    assert!(text.contains("+++ b/to src") && text.len() < 1500, "{text}");
    // The other files are applied.
    if has_git() {
        let applied = applied(&runner, &text);
        assert_eq!(fs::read_to_string(applied.join("src/app.py")).unwrap(), "v = 1\nv = 2\n");
        assert!(applied.join("zero").exists() && !applied.join("binary").exists());
    }
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
    snapshot(&save("saved").expect(0));
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

/// The base has a repository of the user. The agent changes it, and plants two others.
#[test]
fn saved_workspace_runs_no_program_of_the_agent_in_git() {
    let config =
        "[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = \"touch ../../../ran; false\"\n";
    let mut acts = vec![json!(["write", "/work/.git/config", config])];
    acts.push(json!(["write", "/work/.git/added", "x"]));
    for folder in ["/work/bare", "/work/sub", "/work/sub/.GIT", "/work/sub/.git"] {
        acts.push(json!(["mkdir", folder]));
        for part in ["objects", "refs"] {
            acts.push(json!(["mkdir", format!("{folder}/{part}")]));
        }
        acts.push(json!(["write", format!("{folder}/HEAD"), "ref: refs/heads/main\n"]));
        acts.push(json!(["write", format!("{folder}/config"), config]));
    }
    let runner = agent("", &[("a", json!(acts))]);
    for folder in ["objects", "refs"] {
        fs::create_dir_all(runner.path("base/.git").join(folder)).unwrap();
    }
    let own = "[core]\n\tbare = false\n";
    runner.write("base/.git/HEAD", "ref: refs/heads/main\n");
    runner.write("base/.git/config", own);
    runner.exec(&[]).expect(0);
    let saved = runner.run(&["show", "latest", "a@agent#1", "--save", "saved"]).expect(0);
    let warning = "left out, because they decide which programs version control runs: \
                   `.git/added`, `.git/config`, `bare/HEAD`, `sub/.GIT`, `sub/.GIT/HEAD` and ";
    saved.says(&[warning]);
    assert_eq!(saved.stderr.matches("warning").count(), 1, "{}", saved.stderr);
    let workspace = runner.path("saved/workspace");
    assert_eq!(fs::read_to_string(workspace.join(".git/config")).unwrap(), own);
    let left_out = [".git/added", "bare/HEAD", "sub/HEAD", "sub/.GIT", "sub/.git"];
    assert!(left_out.iter().all(|path| !workspace.join(path).exists()));
    assert!(workspace.join("bare/config").exists() && workspace.join(".git/HEAD").exists());
    for folder in ["", "bare", "bare/refs", "sub"] {
        let mut git = Command::new("git");
        finished(git.arg("status").current_dir(workspace.join(folder)));
    }
    for folder in ["", "saved", "saved/workspace"] {
        assert!(!runner.path(folder).join("ran").exists());
    }
    // Without the user's key, nothing of the base is the user's own.
    fs::remove_dir_all(runner.path(".local/state/runner")).unwrap();
    let saved = runner.run(&["show", "latest", "a@agent#1", "--save", "foreign"]).expect(0);
    snapshot(&saved);
    assert!(!runner.path("foreign/workspace/.git").exists());
}

#[test]
fn refused_links_have_one_warning() {
    let link = |number: usize| json!(["symlink", "../..", format!("/work/{number}")]);
    let runner = agent("", &[("a", (10..18).map(link).collect())]);
    runner.exec(&[]).expect(0);
    let saved = runner.run(&["show", "latest", "a@agent#1", "--save", "saved"]).expect(0);
    let warning = "lead out of the workspace: `10`, `11`, `12`, `13`, `14` and 3 others";
    saved.says(&[warning]);
    assert_eq!(saved.stderr.matches("warning").count(), 1, "{}", saved.stderr);
}

/// Gives the attempt of a test another list of changes, as another program could.
pub(super) fn replace_list(run: &Run, test: &str, list: &str) {
    let old = run.rows_of(test)[0]["workspace"]["changes"].as_str().unwrap().to_owned();
    let new: String = Sha256::digest(list).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(run.dir.join("artifacts").join(&new[..2])).unwrap();
    run.write(&format!("artifacts/{}/{new}", &new[..2]), list);
    let lines = run.text("index.jsonl");
    let lines = lines.lines().map(|line| match line.contains(&old) {
        true => sealed(&line.replace(&old, &new)) + "\n",
        false => format!("{line}\n"),
    });
    run.write("index.jsonl", lines.collect::<String>());
}

/// Returns the line of an added file with these bytes, whose content is `x` and at `at`.
pub(super) fn added(path: &str, bytes: u64, at: u64) -> String {
    let sha256: String = Sha256::digest("x").iter().map(|byte| format!("{byte:02x}")).collect();
    let line = json!({
        "path": path, "change": "added", "kind": "file", "mode": 420, "bytes": bytes, "sha256": sha256, "at": at,
    });
    format!("{line}\n")
}

#[test]
fn unreadable_list_is_skipped_by_filters() {
    let acts = |text| json!([["write", "/work/x", text]]);
    let runner = agent("", &[("bad", acts("x")), ("good", acts("y")), ("other", json!([]))]);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    replace_list(&run, "bad", &added("../../evil", 1, 0));
    let selected = |filter: &str| {
        let shown = runner.run(&["show", "-E", filter, "--json"]).expect(0);
        let skipped = "warning: the filter skips `bad@agent#1`, attempt 1: ";
        assert_eq!(shown.stderr.matches(skipped).count(), 1, "{}", shown.stderr);
        assert!(shown.stderr.contains("`../../evil` is not a path in a workspace"));
        let rows = shown.document()["rows"].take();
        let tests =
            rows.as_array().unwrap().iter().map(|row| row["test"].as_str().unwrap().to_owned());
        tests.collect::<Vec<_>>()
    };
    assert_eq!(selected("changed(x)"), ["good"]);
    assert_eq!(selected("!changed(x)"), ["other"]);
    assert_eq!(selected("changed(x) | test(bad)").len(), 2);
    for form in ["--csv", "--junit"] {
        let report = runner.run(&["report", form, "-E", "changed(x)"]).expect(0);
        assert!(report.stdout.contains("good"), "{}", report.stdout);
        report.says(&["the filter skips `bad@agent#1`"]);
    }
}

#[test]
fn bad_lists_are_refused_and_found_by_verify() {
    let acts = json!([["write", "/work/x", "x"]]);
    let runner = agent("", &[("a", acts)]);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = run.bytes("index.jsonl");
    let wrong = added("x", 1, 0).replace("\"sha256\":\"2d7", "\"sha256\":\"000");
    let removed = "{\"path\":\"../x\",\"change\":\"removed\",\"kind\":\"file\"}\n";
    for (list, problem) in [
        (added("../../evil", 1, 0), "`../../evil` is not a path in a workspace"),
        (removed.to_owned(), "`../x` is not a path in a workspace"),
        (added("x", 1, 0).repeat(2), "`x` has two changes"),
        (added("x", 1 << 50, 0), "the content of `x`: "),
        (added("x", 1, u64::MAX), "the content of `x`: "),
        // With shared bytes, a list of 20,000 contents could be read for days.
        (
            added("x", 1, 0) + &added("y", 2, 0),
            "the content of `y`: it shares bytes with another one",
        ),
        (wrong, "the content of `x`: "),
        ("{\"path\":\n".to_owned(), "the changes: "),
    ] {
        run.write("index.jsonl", &rows);
        runner.run(&["verify"]).expect(0);
        replace_list(&run, "a", &list);
        runner.run(&["verify"]).expect(1).says(&["its changes are lost: ", problem, "1 fault"]);
        let exit = if problem.starts_with("the content") { 7 } else { 2 };
        runner.run(&["show", "latest", "a@agent#1", "--save", "saved"]).expect(exit);
        let _ = fs::remove_dir_all(runner.path("saved"));
    }
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
        snapshot(&shown.expect(7));
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
    snapshot(&called);
    assert_eq!(tree(&runner.path("base")), before);
    symlink("/etc", runner.path("base/out")).unwrap();
    snapshot(
        &runner
            .run(&["plugin", "run", "files.wasm", "--workspace", "base", "--input", "[]"])
            .expect(2),
    );
}
