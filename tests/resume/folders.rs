//! Changed files in granted folders and bases, which are part of the fingerprints.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Signal;
use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    wait::wait_until,
};

/// A scenario with a folder `open` whose file holds `1`. `keys` are keys of the provider that reads it, `more` is further text.
fn scenario(keys: &str, more: &str) -> String {
    format!(
        "[providers.files]\nplugin = \"files.wasm\"\n{keys}\n[providers.echo]\nplugin = \"bundled:echo\"\n\
         [[tests]]\nid = \"reads\"\nproviders = [\"files\"]\ninput = [[\"read\", \"/data/file\"]]\nexpect = {{ equals = [{{ ok = \"1\" }}] }}\n\
         [[tests]]\nid = \"other\"\nproviders = [\"echo\"]\ninput = 1\n{more}"
    )
}

const READ_ONLY: &str = "grants.fs = [{ path = \"open\", mount = \"/data\" }]";

fn with_folder(keys: &str, more: &str) -> Runner {
    let runner = Runner::new(&["files", "hostile"]);
    fs::create_dir(runner.path("open")).unwrap();
    runner.write("open/file", "1");
    runner.scenario(&scenario(keys, more));
    runner
}

/// Returns the fingerprint of a test's newest row.
fn fingerprint(run: &Run, test: &str) -> String {
    run.rows_of(test).pop().unwrap()["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn run_folder_outside_of_the_results_root_is_refused() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!("[providers.p]\nplugin = \"bundled:echo\"\n{}", tests("a | 1")));
    let exec = |results: &str, into: &str| runner.exec(&["--results", results, "--into", into]);
    snapshot(&exec("ra", "rb/x").expect(2));
    assert!(!runner.path("ra").exists() && !runner.path("rb").exists());
    exec("rb", "rb/x").expect(0);
    exec(runner.path("rb").to_str().unwrap(), "./rb/../rb/y").expect(0);
}

#[test]
fn changed_file_reruns_trials_that_may_read_it() {
    let runner = with_folder(READ_ONLY, "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = fingerprint(&run, "reads");
    snapshot(&runner.run(&["resume", "latest", "--accept-changes"]).expect(0));
    runner.write("open/file", "2");
    let path = runner.path("open").canonicalize().unwrap();
    let changed = format!("folder {}, `/data` of `providers.files` changed", path.display());
    let ran = runner.run(&["resume", "latest"]).expect(0);
    snapshot(&ran);
    ran.says(&[&changed]);
    let preview = runner.run(&["resume", "latest", "--accept-changes", "--dry-run"]).expect(0);
    snapshot(&preview);
    assert!(!preview.stdout.contains("other@echo#1"), "{}", preview.stdout);
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!((run.rows_of("reads").len(), run.rows_of("other").len()), (2, 1));
    assert_ne!(fingerprint(&run, "reads"), before);
    runner.run(&["verify"]).expect(0);
    // The old file has the old fingerprint, whatever the cache knows.
    runner.write("open/file", "1");
    runner.exec(&[]).expect(0);
    assert_eq!(fingerprint(&runner.runs()[1], "reads"), before);
}

#[test]
fn unfinished_run_mixes_no_contents() {
    let more = "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"waits\"\nproviders = [\"hostile\"]\ninput = { do = \"sleep\", ms = 600000 }\n";
    let runner = with_folder(READ_ONLY, more);
    let mut running = runner.start(&["-j", "3"]);
    running.wait_for_event(|event| event["row"]["test"] == "reads");
    running.end_by(Signal::INT);
    let run = runner.only_run();
    let rows = run.rows().len();
    runner.write("open/file", "2");
    let refused = runner.run(&["resume"]).expect(2);
    snapshot(&refused);
    assert_eq!(run.rows().len(), rows);
    runner.scenario(&scenario(READ_ONLY, &more.replace("600000", "1")));
    runner.run(&["resume", "--accept-changes"]).expect(1);
    assert_eq!((run.count("passed"), run.count("failed"), run.rows_of("reads").len()), (2, 1, 2));
}

#[test]
fn last_failed_selects_what_an_edit_may_have_broken() {
    let runner = with_folder(READ_ONLY, "");
    runner.exec(&[]).expect(0);
    runner.exec(&["--last-failed"]).expect(5);
    runner.write("open/file", "2");
    let ran = runner.exec(&["--last-failed"]).expect(1);
    snapshot(&ran);
    assert_eq!(runner.runs()[1].planned(), 1);
    runner.run(&["compare"]).expect(0).says(&["granted file"]);
    // A test that an edit fixes is not flaky.
    runner.write("open/file", "1");
    runner.exec(&[]).expect(0);
    let history = runner.run(&["history", "--json"]).expect(0).document();
    assert!(history["tests"].as_array().unwrap().iter().all(|test| test["flaky_runs"] == 0));
}

#[test]
fn folder_of_a_grader_is_part_of_its_judgement() {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir(runner.path("open")).unwrap();
    runner.write("open/file", "1");
    let answer = "{ do = \"echo\", value = { verdict = \"pass\" } }";
    runner.scenario(&format!(
        "{}[providers.echo]\nplugin = \"bundled:echo\"\n[graders.judge]\nplugin = \"hostile.wasm\"\ninput = {answer}\n{READ_ONLY}\n",
        tests("a | 1 | graders = [\"judge\"]")
    ));
    runner.exec(&[]).expect(0);
    snapshot(&runner.run(&["rescore"]).expect(0));
    let run = runner.only_run();
    let judged = |run: &Run| run.rows_of("a").pop().unwrap()["judgement_fingerprint"].clone();
    let (before, output) = (judged(&run), fingerprint(&run, "a"));
    runner.write("open/file", "2");
    snapshot(&runner.run(&["rescore"]).expect(0));
    snapshot(&runner.run(&["rescore"]).expect(0));
    assert_ne!(judged(&run), before);
    assert_eq!(fingerprint(&run, "a"), output);
    let mounts = run.manifest()["providers"][1]["mounts"].clone();
    assert!(mounts[0]["content"]["sha256"].is_string(), "{mounts}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn writable_and_large_folders_are_left_out() {
    let runner =
        with_folder(&READ_ONLY.replace(" }]", ", mode = \"rw\" }]\nlimits.scratch = \"1MiB\""), "");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.manifest()["providers"][1]["mounts"][0].get("content"), None);
    runner.write("open/file", "2");
    snapshot(&runner.run(&["resume", "latest", "--accept-changes"]).expect(0));

    let runner = with_folder(READ_ONLY, "");
    File::create(runner.path("open/large")).unwrap().set_len((1 << 30) + 1).unwrap();
    let ran = runner.exec(&[]).expect(0);
    snapshot(&ran);
    runner.write("open/file", "2");
    snapshot(&runner.run(&["resume", "latest", "--accept-changes"]).expect(0));
}

#[test]
fn results_in_a_granted_folder_change_no_fingerprint() {
    let runner = with_folder(&READ_ONLY.replace("\"open\"", "\".\""), "");
    // The first run creates the user's key, which is in the folder, too.
    fs::create_dir_all(runner.path(".local/state/runner")).unwrap();
    runner.write(".local/state/runner/key", [7; 32]);
    fs::set_permissions(runner.path(".local/state/runner/key"), Permissions::from_mode(0o600))
        .unwrap();
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1);
    let [first, second] = &runner.runs()[..] else { panic!("two runs") };
    assert_eq!(fingerprint(first, "reads"), fingerprint(second, "reads"));
    for run in [first, second] {
        let manifest = run.manifest();
        let files = manifest["providers"].as_array().unwrap().iter();
        let files = files.clone().find(|one| one["name"] == "files").unwrap();
        assert_eq!(files["mounts"][0]["content"]["without"], json!("results"));
    }
    runner.run(&["resume", first.id(), "--rerun", "all"]).expect(1);
}

#[test]
fn commands_do_not_read_an_unchanged_base() {
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/file", "1");
    runner.write("known.toml", "");
    let provider = "[providers.p]\nplugin = \"bundled:echo\"\nworkspace.from = \"base\"\n";
    runner.scenario(&format!("known.files = [\"known.toml\"]\n{provider}{}", tests("a | 1")));
    runner.exec(&[]).expect(0);
    let reads_base = |command: &[&str]| {
        let events = inotify::init(CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&events, runner.path("base/file"), WatchFlags::ACCESS).unwrap();
        runner.run(command).expect(0);
        rustix::io::read(&events, &mut [0; 64]).is_ok()
    };
    // A file that was just changed can change again within its time stamp.
    wait_until("the digest is kept", || !reads_base(&["validate", "scenario.toml"]));
    for command in [
        &["rescore", "latest"][..],
        &["accept", "latest"],
        &["known", "latest", "--update"],
        &["resume", "latest", "--rerun", "all"],
        &["resume", "latest", "--accept-changes"],
    ] {
        assert!(!reads_base(command), "{command:?}");
    }
}
