//! Files outside of a scenario's project, and the lines about files and secrets that its text does not show.

use std::os::unix::fs::{chown, symlink};
use std::{fs, process::Command};

use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{http::Site, runner::Runner, running::Finished, running::Running};

/// Creates a repository `repo` next to the folder `outside`, and writes `repo/scenario.toml` with these keys and a test.
fn repository(keys: &str, test: &str) -> Runner {
    let runner = Runner::new(&[]);
    for folder in ["repo/.git", "outside", "results"] {
        fs::create_dir_all(runner.path(folder)).unwrap();
    }
    runner.write("outside/key", "a secret of the user");
    scenario(&runner, keys, test);
    runner
}

fn scenario(runner: &Runner, keys: &str, test: &str) {
    let provider = "[providers.p]\nplugin = \"bundled:echo\"\n";
    runner
        .write("repo/scenario.toml", format!("{provider}{keys}\n[[tests]]\nid = \"a\"\n{test}\n"));
}

fn run(command: &mut Command) -> Finished {
    Running::start(command).finish()
}

/// Returns the real path of a file or folder.
fn real(runner: &Runner, path: &str) -> String {
    runner.path(path).canonicalize().unwrap().to_str().unwrap().to_owned()
}

const SCENARIO: &str = "repo/scenario.toml";
const KEY: &str = "files = { k = \"../outside/key\" }";

#[test]
fn every_command_refuses_files_outside_of_the_project() {
    let runner = repository("", KEY);
    let (key, repo) = (real(&runner, "outside/key"), real(&runner, "repo"));
    let says = [
        &*format!("attachment `../outside/key` leads out of the project, to `{key}`"),
        &format!("the project is `{repo}`"),
        "to `[run]`: reads = [\"../outside/key\"]",
    ];
    fs::copy(runner.path(SCENARIO), runner.path("repo/other.toml")).unwrap();
    for args in [
        &["exec", SCENARIO][..],
        &["exec", SCENARIO, "--test", "a"],
        &["exec", SCENARIO, "--dry-run"],
        &["exec", SCENARIO, "--queue"],
        &["exec", "repo"],
        &["validate", "repo"],
    ] {
        runner.run(args).expect(2).says(&says);
    }
    let site = Site::start(&runner, &["--scenarios", "repo"]);
    for path in ["/plan", "/runs"] {
        let answer = site.post(path, &json!({"scenario": "scenario.toml"}));
        snapshot(answer.refuses(422, &[]));
    }
    drop(site);
    assert!(runner.runs().is_empty());

    scenario(&runner, "[run]\nreads = [\"../outside\"]", KEY);
    runner.run(&["exec", SCENARIO]).expect(0);
    scenario(&runner, "", KEY);
    // The run has a copy.
    runner.run(&["resume", "--rerun", "all"]).expect(0);
    runner.run(&["resume", "--rerun", "all", "--accept-changes"]).expect(2).says(&says);
    runner.run(&["rescore"]).expect(2).says(&says);
}

#[test]
fn repositories_of_the_home_folder_and_others_are_no_project() {
    let runner = repository("", "files = { k = \"../shared/key\" }");
    for folder in ["repo/shared", "repo/deep"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    runner.write("repo/shared/key", "text");
    fs::rename(runner.path(SCENARIO), runner.path("repo/deep/scenario.toml")).unwrap();
    let validate = |home: &str| {
        let mut command = runner.command(&["validate", "repo/deep/scenario.toml"]);
        run(command.env("HOME", runner.path(home)))
    };
    let refused = "leads out of the project";
    for home in ["repo", "repo/deep"] {
        let ran = validate(home).expect(2);
        snapshot(&ran);
        ran.says(&[refused]);
    }
    validate("").expect(0);
    if rustix::process::geteuid().is_root() {
        for foreign in ["repo/.git", "repo"] {
            chown(runner.path(foreign), Some(1234), None).unwrap();
            let ran = validate("").expect(2);
            snapshot(&ran);
            ran.says(&[refused]);
            chown(runner.path(foreign), Some(0), None).unwrap();
        }
    }
    fs::remove_dir(runner.path("repo/.git")).unwrap();
    let ran = validate("").expect(2);
    snapshot(&ran);
    ran.says(&[refused]);
}

#[test]
fn environment_without_a_cache_is_wrong_usage() {
    let runner = repository("", "input = 1");
    let mut command = runner.command(&["exec", SCENARIO]);
    let ran = run(command.env_remove("HOME").env_remove("RUNNER_CACHE"));
    snapshot(&ran.expect(2));
    assert!(runner.runs().is_empty());
}

#[test]
fn links_out_of_the_project_are_neither_listed_nor_granted() {
    let runner = repository("", "input = 1");
    runner.write("outside/passwords.csv", "id,input\nroot,hunter2\n");
    symlink("../outside", runner.path("repo/tour")).unwrap();
    let outside = real(&runner, "outside");
    for (keys, says) in [
        (
            "[[test_lists]]\nfiles = [\"tour/**/*.csv\"]",
            format!("test list `tour/**/*.csv` leads out of the project, to `{outside}`"),
        ),
        (
            "[[test_lists]]\nfiles = [\"*/*.csv\"]",
            format!("test list `tour/passwords.csv` leads out of the project, to `{outside}"),
        ),
        (
            "[providers.p.grants]\nfs = [{ path = \"tour\", mount = \"/h\" }]",
            format!("folder `tour` is a link out of the project, to `{outside}`"),
        ),
    ] {
        scenario(&runner, keys, "input = 1");
        let ran = runner.run(&["exec", SCENARIO, "--dry-run"]).expect(2);
        ran.says(&[&says]);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn real_folders_reads_and_signatures_are_printed() {
    let keys = |path: &str| {
        format!(
            "[providers.p.grants]\nfs = [{{ path = \"{path}\", mount = \"/m\" }}]\nsecrets = [\"HOOK\"]\n\
             [run]\nreads = [\"../outside/key\"]\n\
             [[notify.webhooks]]\nurl = \"https://h.example\"\nsecret = {{ env = \"HOOK\" }}\non = [\"cancelled\"]\n"
        )
    };
    let runner = repository(&keys("../outside"), KEY);
    let access = [
        format!("provider `p` reads the folder `{}` as `/m`", real(&runner, "outside")),
        format!("the scenario reads `{}`", real(&runner, "outside/key")),
        "a webhook posts to `https://h.example`, signed with the secret `HOOK`".to_owned(),
    ];
    let start = |args: &[&str]| {
        let mut command = runner.command(&[&["exec", SCENARIO], args].concat());
        run(command.env("HOOK", "the value of a secret")).expect(0)
    };
    let lines: Vec<_> = access.iter().map(String::as_str).collect();
    start(&["--dry-run"]).says(&lines);
    assert_eq!(start(&["--dry-run", "--json"]).events()[0]["access"], json!(access));
    let site = Site::start(&runner, &["--scenarios", "repo"]);
    let plan = site.post("/plan", &json!({"scenario": "scenario.toml"})).expect(200).document();
    assert_eq!(plan["access"], json!(access));
    drop(site);

    // The run with the same access is another user's.
    let notes: Vec<_> = access.iter().map(|line| format!("note: {line}")).collect();
    start(&[]).says(&notes.iter().map(String::as_str).collect::<Vec<_>>());
    let again = start(&[]).stderr;
    assert!(access.iter().all(|line| !again.contains(line)), "{again}");
    for run in runner.runs() {
        for line in &access {
            assert_eq!(run.text("runner.log").matches(line).count(), 1, "{line}");
            let shown = runner.run(&["show", run.id()]).expect(0).stdout;
            assert!(shown.contains(line), "{shown}");
        }
    }
    fs::create_dir(runner.path("other")).unwrap();
    scenario(&runner, &keys("../other"), KEY);
    let changed = start(&[]).stderr;
    assert!(changed.contains(&format!("`{}` as `/m`", real(&runner, "other"))), "{changed}");
    assert!(!changed.contains("the scenario reads"), "{changed}");
}
