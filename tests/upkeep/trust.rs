//! Runs, requests and settings that another key made: commands that would execute a part of them refuse them, commands that read
//! do not. A test becomes another user by deleting its state folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, os::unix::fs::PermissionsExt as _};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{going_on, held, naps};
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::http::Site;
use crate::support::run::Run;
use crate::support::runner::Runner;
use crate::support::running::{Finished, Running, finished};

const STATE: &str = ".local/state/runner";
const ALLOW: &str = "runner trust";
const SETTINGS: &str = "max_active_runs = 9\n[retention]\nkeep_last = 1\n\
    [[notify.commands]]\ncommand = [\"touch\", \"started\"]\n";

/// Deletes the user's key: all runs, requests and settings are another user's from then on.
fn forget(runner: &Runner) {
    fs::remove_dir_all(runner.path(STATE)).unwrap();
}

/// Creates a root with an ended run, an interrupted one and a request, of another key.
fn foreign() -> (Runner, Run, Run) {
    let runner = naps(20, 200);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let keys = "limits = { scratch = \"1MiB\" }\n\
                grants = { fs = [{ path = \"data\", mount = \"/data\", mode = \"rw\" }] }\n";
    runner.scenario(&(text + keys));
    fs::create_dir(runner.path("data")).unwrap();
    // As many jobs as the other run has: runs with other settings are listed apart.
    runner.exec(&["-q", "-j", "2", "--repeat", "2"]).expect(0);
    going_on(&runner).end_by(Signal::INT).0.expect(130);
    runner.exec(&["--queue", "--repeat", "2"]).expect(0);
    forget(&runner);
    let [ended, cut] = runner.runs().try_into().unwrap();
    (runner, ended, cut)
}

fn with(runner: &Runner, args: &[&str], name: &str, value: impl AsRef<Path>) -> Finished {
    Running::start(runner.command(args).env(name, value.as_ref())).finish()
}

fn rows(run: &Run) -> Vec<u8> {
    fs::read(run.dir.join("index.jsonl")).unwrap()
}

#[test]
fn foreign_runs_are_read_and_not_executed() {
    let (runner, ended, cut) = foreign();
    fs::write(runner.path("results/runner.toml"), SETTINGS).unwrap();
    let (id, cut_id) = (ended.id(), cut.id());
    let before = (rows(&ended), rows(&cut));
    for (args, code) in [
        (&["list"][..], 0),
        (&["show", id], 0),
        (&["show", id, "nap@hostile#1"], 0),
        (&["report", id, "--junit"], 0),
        (&["compare", id, cut_id], 0),
        (&["history", "scenario.toml"], 0),
        (&["logs", id], 0),
        (&["verify", id], 0),
        (&["wait", cut_id], 130),
        (&["queue"], 0),
        (&["prune", "--keep-last", "9"], 0),
        (&["cleanup"], 0),
        (&["pin", id], 0),
        (&["unpin", id], 0),
        (&["label", id, "a=b"], 0),
        (&["reindex"], 0),
    ] {
        runner.run(args).expect(code);
    }
    runner.run(&["show", cut_id]).says(&["your key", ALLOW]);
    let into = format!("results/{cut_id}");
    for args in [
        &["resume", cut_id][..],
        &["resume", &into],
        &["resume", cut_id, "--dry-run"],
        &["resume", id, "--rerun", "all"],
        &["resume", cut_id, "--accept-changes"],
        &["rescore", id],
        &["exec", "scenario.toml", "--into", &into],
        &["plugin", "run", "--from", id, "--trial", "nap@hostile#1"],
        &["notify", id],
    ] {
        let ran = runner.run(args).expect(2);
        ran.says(&["your key", ALLOW]);
        let data = runner.path("data").canonicalize().unwrap();
        if args[0] != "notify" {
            ran.says(&["[providers.hostile.grants]", "reads and writes", data.to_str().unwrap()]);
        }
    }
    runner.run(&["resume"]).expect(2).says(&["your key"]);
    let again = runner.run(&["exec", "scenario.toml", "--last-failed", "--dry-run"]);
    again.says(&["your key"]);
    let request = runner.run(&["queue", "--json"]).document()["requests"][0].clone();
    assert!(request["foreign"].as_str().unwrap().contains("your key"), "{request}");
    let worked = runner.run(&["queue", "work", "--once"]).expect(3);
    worked.says(&["1 waiting request was not made with your key", ALLOW]);
    let table = runner.run(&["queue"]).stdout;
    assert!(table.contains(" foreign "), "{table}");
    let moved = ["queue", "move", request["request"].as_str().unwrap(), "--priority", "1"];
    runner.run(&moved).expect(2).says(&["your key"]);
    assert_eq!((rows(&ended), rows(&cut)), before);
    assert_eq!(runner.runs().len(), 2);
    // A new run is the user's own. The programs and the retention of the settings do not count.
    let own = runner.exec(&["-q", "-j", "20"]).expect(0);
    own.says(&["runner.toml is ignored", "not confirmed"]);
    assert_eq!(runner.runs().len(), 3);
    assert!(!runner.path("results/started").exists());
    // Confirmed settings delete no run of others.
    runner.write("results/runner.toml", "[retention]\nkeep_last = 1\n");
    runner.run(&["queue", "work", "--once"]).expect(3);
    assert!(ended.dir.exists() && cut.dir.exists());
    for args in
        [&["queue", "remove", request["request"].as_str().unwrap()][..], &["prune", id, "--yes"]]
    {
        runner.run(args).expect(0);
    }
    assert!(!ended.dir.exists() && cut.dir.exists());
}

#[test]
fn deleted_state_folder_changes_no_result() {
    let (runner, ended, cut) = foreign();
    let answers = || {
        let run = |args: &[&str]| runner.run(args).stdout;
        let id = ended.id();
        [
            run(&["show", id, "--json"]),
            run(&["show", cut.id(), "--json"]),
            run(&["report", id, "--csv"]),
            run(&["compare", id, cut.id(), "--json"]),
            run(&["history", "scenario.toml", "--json"]),
            run(&["verify", id, "--json"]),
        ]
    };
    let before = answers();
    runner.run(&["trust", "--yes"]).expect(0);
    let trusted = answers();
    forget(&runner);
    assert_eq!(answers(), trusted);
    // The signature is in the manifest.
    assert_eq!(before[2..], trusted[2..]);
}

#[test]
fn trusted_runs_requests_and_settings_are_ones_own() {
    let mut transcript = Transcript::default();
    let (runner, ended, cut) = foreign();
    let settings = SETTINGS.replace("keep_last = 1", "keep_last = 9");
    fs::write(runner.path("results/runner.toml"), &settings).unwrap();
    // Without a terminal, nothing is allowed.
    let asked = transcript.run(&runner, &["trust"]).expect(2);
    for part in [
        "starts touch started",
        "deletes old runs by `[retention]`",
        "sets `max_active_runs` to 9",
        "runner exec scenario.toml --queue --repeat 2",
        "reads and writes the folder",
        "[providers.hostile.grants]",
        "2 runs, such as",
    ] {
        assert!(asked.stdout.contains(part), "{part}: {}", asked.stdout);
    }
    runner.run(&["resume", cut.id()]).expect(2);
    // One run.
    let named = runner.run(&["trust", ended.id(), "--yes"]).expect(0);
    assert!(named.stdout.contains("[providers.hostile.grants]"), "{}", named.stdout);
    runner.run(&["rescore", ended.id()]).expect(0);
    runner.run(&["resume", cut.id()]).expect(2);
    // The root, by its folder.
    transcript.run(&runner, &["trust", "results", "--yes"]).expect(0);
    transcript.run(&runner, &["trust", "--yes"]).expect(0);
    runner.run(&["resume", cut.id(), "-j", "20"]).expect(0);
    runner.run(&["queue", "work", "--once"]).expect(0);
    runner.run(&["wait", "latest"]).expect(0);
    assert_eq!(runner.runs().len(), 3);
    assert!(runner.path("results/started").exists());
    // Another text of the settings needs another confirmation.
    fs::write(runner.path("results/runner.toml"), format!("{settings}# more\n")).unwrap();
    snapshot(&runner.exec(&["-q", "-j", "20"]).expect(0));
    fs::write(runner.path("results/runner.toml"), "max_active = 2\n").unwrap();
    let refused = runner.run(&["trust", "--yes"]).expect(2);
    assert!(refused.stderr.starts_with("error: unknown key `max_active`\n"), "{}", refused.stderr);
    transcript.check("trusted_runs_requests_and_settings_are_ones_own");
}

#[test]
fn moved_and_restored_runs_stay_ones_own() {
    let runner = held(2);
    going_on(&runner).end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let paths = [runner.path("results"), runner.path("moved")];
    finished(Command::new("cp").arg("-r").args(paths)).expect(0);
    fs::remove_dir_all(runner.path("results")).unwrap();
    fs::rename(runner.path("moved").join(run.id()), runner.path("moved/other")).unwrap();
    runner.run(&["resume", "other", "--results", "moved", "-j", "20"]).expect(0);
    runner.run(&["rescore", "other", "--results", "moved"]).expect(0);
}

#[test]
fn changed_plans_are_foreign_and_other_changes_are_not() {
    let runner = naps(2, 1);
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    let file = run.dir.join("benchmark.json");
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let digest = json!("00".repeat(32));
    for (pointer, value, is_own) in [
        ("/labels", json!({ "a": "b" }), true),
        ("/message", json!("text"), true),
        ("/lost_report", json!("text"), true),
        ("/pinned", json!({ "at": whole["started_at"], "by": { "user": "a", "host": "b" } }), true),
        ("/status", json!("failed"), false),
        ("/group", json!({ "id": "g", "place": 1, "of": 2 }), false),
        ("/sessions/0/request", json!({ "id": "nightly" }), false),
        ("/providers/0/description", Value::Null, true),
        ("/later_key", json!(1), true),
        ("/scenario_path", json!("/tmp/other.toml"), false),
        ("/metadata/suite", digest.clone(), false),
        ("/metadata/later_key", json!(1), false),
        ("/providers/0/digest", digest.clone(), false),
        ("/sessions/0/suite", digest.clone(), false),
        ("/sessions/0/jobs", json!(4000), false),
        ("/sessions/0/budgets", json!({ "cost_usd": 1000 }), false),
        ("/sessions/0/pid", json!(1), true),
        ("/signature", digest, false),
        ("/signature", Value::Null, false),
    ] {
        let mut changed = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = value;
        fs::write(&file, changed.to_string()).unwrap();
        let ran = runner.run(&["notify", run.id(), "--dry-run"]);
        assert_eq!(ran.stderr.contains("your key"), !is_own, "{pointer}: {}", ran.stderr);
    }
}

#[test]
fn foreign_run_claims_no_request() {
    let runner = naps(1, 1);
    let start = json!({"scenario": "scenario.toml", "request": "nightly"});
    let site = Site::start(&runner, &["--scenarios", "."]);
    site.post("/runs", &start).expect(201);
    let stranger = runner.only_run();
    runner.run(&["wait", stranger.id()]).expect(0);
    drop(site);
    forget(&runner);
    let site = Site::start(&runner, &["--scenarios", "."]);
    let own = site.post("/runs", &start).expect(201).document()["id"].clone();
    runner.run(&["wait", own.as_str().unwrap()]).expect(0);
    // The run is this user's, so the same call starts nothing.
    assert_eq!(site.post("/runs", &start).expect(200).document()["id"], own);
    // As a part of a group, the run would be removed as a start that was cut short.
    let id = runner.exec(&["--queue"]).expect(0).stdout;
    let mut manifest = stranger.manifest();
    manifest["sessions"][0]["request"] = json!({ "id": id.trim() });
    manifest["group"] = json!({ "id": "group", "place": 1, "of": 2 });
    stranger.write("benchmark.json", manifest.to_string());
    runner.run(&["queue", "work", "--once"]).expect(0).says(&["started"]);
    runner.run(&["wait", "latest"]).expect(0);
    assert_eq!(runner.runs().len(), 3);
    assert!(stranger.dir.exists());
}

#[test]
fn folders_of_a_forged_manifest_are_shown_as_they_are_mounted() {
    let (runner, _, cut) = foreign();
    fs::create_dir_all(runner.path("home/secrets")).unwrap();
    let secrets = runner.path("home/secrets").canonicalize().unwrap();
    let file = cut.dir.join("benchmark.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    manifest["providers"][0]["mounts"][0]["host"] = json!(secrets);
    fs::write(&file, manifest.to_string()).unwrap();
    // Its status does not hide the access of a run.
    manifest["status"] = json!("completed");
    fs::write(&file, manifest.to_string()).unwrap();
    let all = runner.run(&["trust"]).expect(2);
    assert!(all.stdout.contains(secrets.to_str().unwrap()), "{}", all.stdout);
    let shown = format!("reads and writes the folder `{}`", secrets.display());
    let ran = runner.run(&["trust", cut.id()]).expect(2);
    assert!(ran.stdout.contains(&shown), "{}", ran.stdout);
    runner.run(&["resume", cut.id()]).expect(2).says(&[&shown]);
    // Without a stored folder, the one at its path in the working directory would be mounted.
    manifest["providers"][0]["mounts"] = json!([]);
    manifest["status"] = json!("incomplete");
    fs::write(&file, manifest.to_string()).unwrap();
    runner.run(&["trust", cut.id(), "--yes"]).expect(0);
    snapshot(&runner.run(&["resume", cut.id()]).expect(2));
}

#[test]
fn settings_count_only_in_the_root_where_they_were_confirmed() {
    let runner = naps(1, 1);
    runner.exec(&["-q"]).expect(0);
    let text = "[[notify.commands]]\ncommand = [\"touch\", \"started\"]\n";
    fs::write(runner.path("results/runner.toml"), text).unwrap();
    runner.run(&["trust", "--yes"]).expect(0);
    fs::create_dir(runner.path("clone")).unwrap();
    fs::write(runner.path("clone/runner.toml"), text).unwrap();
    runner.exec(&["-q", "--results", "clone"]).expect(0).says(&["is ignored"]);
    assert!(!runner.path("clone/started").exists());
    // A file that others can change is not allowed.
    let file = runner.path("results/runner.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    snapshot(&runner.run(&["trust", "--yes"]).expect(2));
}

#[test]
fn copied_request_starts_no_second_run() {
    let runner = naps(1, 1);
    let id = runner.exec(&["--queue"]).expect(0).stdout;
    let file = runner.path(&format!("results/queue/{}.json", id.trim()));
    let request = fs::read(&file).unwrap();
    runner.run(&["queue", "work", "--once"]).expect(0);
    runner.run(&["wait", "latest"]).expect(0);
    fs::write(&file, request).unwrap();
    runner.run(&["queue", "work", "--once"]).expect(0);
    assert!(!file.exists());
    assert_eq!(runner.runs().len(), 1);
}

#[test]
fn named_folder_is_trusted_with_all_below() {
    let (runner, _, cut) = foreign();
    fs::write(runner.path("results/runner.toml"), "max_active_runs = 9\n").unwrap();
    let resume = ["resume", cut.id(), "-j", "20"];
    with(&runner, &resume, "RUNNER_TRUST_ROOT", runner.path("data")).expect(2);
    let ran = with(&runner, &resume, "RUNNER_TRUST_ROOT", runner.path("")).expect(0);
    ran.says(&["your key", "started it", "reads and writes the folder"]);
    assert!(!ran.stderr.contains("is ignored"), "{}", ran.stderr);
    with(&runner, &["queue", "work", "--once"], "RUNNER_TRUST_ROOT", ".").expect(0);
    runner.run(&["wait", "latest"]).expect(0);
    assert_eq!(runner.runs().len(), 3);
    // Its signature is that of the other user still.
    snapshot(&runner.run(&["rescore", cut.id()]).expect(2));
}

#[test]
fn key_file_makes_machines_one_user() {
    let mut transcript = Transcript::default();
    let runner = naps(20, 200);
    let key = runner.path("key");
    fs::write(&key, "a secret of the CI system\n").unwrap();
    let mut command = runner.command(&["exec", "scenario.toml", "-j", "2", "--json"]);
    let mut running = Running::start(command.env("RUNNER_TRUST_KEY", &key));
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    assert!(!runner.path(STATE).exists());
    let run = runner.only_run();
    transcript.run(&runner, &["resume", run.id()]).expect(2);
    // Kubernetes mounts secrets as links.
    std::os::unix::fs::symlink("key", runner.path("link")).unwrap();
    let link = runner.path("link");
    with(&runner, &["resume", run.id()], "RUNNER_TRUST_KEY", link).expect(0);
    let rescore = ["rescore", run.id()];
    for bad in ["", "short"] {
        fs::write(&key, bad).unwrap();
        transcript.add(
            "with RUNNER_TRUST_KEY",
            &with(&runner, &rescore, "RUNNER_TRUST_KEY", &key).expect(2),
        );
    }
    fs::write(&key, "a secret of the CI system\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = with(&runner, &rescore, "RUNNER_TRUST_KEY", &key).expect(2);
    snapshot(&ran);
    transcript.check("key_file_makes_machines_one_user");
}

#[test]
fn run_without_a_key_warns_and_is_foreign_later() {
    let runner = naps(2, 1);
    let no_folder = runner.path("file/none");
    fs::write(runner.path("file"), "").unwrap();
    let cases: [(&str, PathBuf, &str); 2] =
        [("HOME", PathBuf::new(), "set HOME"), ("XDG_STATE_HOME", no_folder, "cannot be used")];
    for (name, value, why) in cases {
        let exec = with(&runner, &["exec", "scenario.toml", "-q"], name, &value).expect(0);
        exec.says(&["another user's", why]);
        assert_eq!(exec.stderr.matches("another user's").count(), 1, "{}", exec.stderr);
        let group = ["exec", "scenario.toml", "scenario.toml", "-q"];
        let group = with(&runner, &group, name, &value).expect(0);
        assert_eq!(group.stderr.matches("another user's").count(), 1, "{}", group.stderr);
        with(&runner, &["rescore", "latest"], name, &value).expect(2).says(&[why]);
        let queue = ["exec", "scenario.toml", "--queue"];
        let ran = with(&runner, &queue, name, &value).expect(2);
        snapshot(&ran);
        ran.says(&[why]);
        with(&runner, &["trust", "--yes"], name, &value).expect(2).says(&[why]);
        let trusted = runner.path("");
        let mut command = runner.command(&["rescore", "latest"]);
        command.env(name, &value).env("RUNNER_TRUST_ROOT", trusted);
        Running::start(&mut command).finish().expect(0);
    }
}

#[test]
fn state_folder_of_others_has_no_key() {
    let mut transcript = Transcript::default();
    let runner = naps(2, 1);
    runner.exec(&["-q"]).expect(0);
    let state = runner.path(STATE);
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(state.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    transcript.run(&runner, &["rescore", "latest"]).expect(2);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    runner.run(&["rescore", "latest"]).expect(0);
    fs::set_permissions(state.join("key"), fs::Permissions::from_mode(0o640)).unwrap();
    transcript.run(&runner, &["rescore", "latest"]).expect(2);
    fs::set_permissions(state.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(state.join("key"), "short").unwrap();
    transcript.run(&runner, &["rescore", "latest"]).expect(2);
    transcript.check("state_folder_of_others_has_no_key");
}

#[test]
fn request_is_a_session_and_nothing_else() {
    let (runner, ..) = foreign();
    let folder = runner.path("results/queue");
    let is_request = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let file = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).find(is_request);
    let file = file.unwrap();
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for command in [&["prune", "--keep-last", "0", "--yes"][..], &["plugin", "build", "x"], &[]] {
        let mut request = whole.clone();
        request["command"] = json!(command);
        fs::write(&file, request.to_string()).unwrap();
        runner.run(&["trust", "--yes"]).expect(0);
        let worked = runner.run(&["queue", "work", "--once"]);
        snapshot(&worked);
        assert_eq!(runner.runs().len(), 2);
    }
}

#[test]
fn merged_run_of_foreign_shards_is_foreign() {
    let runner = naps(4, 1);
    for shard in ["1/2", "2/2"] {
        runner.exec(&["-q", "--shard", shard, "--results", &shard.replace('/', "-")]).expect(0);
    }
    forget(&runner);
    let merge = |into: &str| {
        let shards = ["1-2", "2-2"].map(|root| Run::all(&runner.path(root))[0].dir.clone());
        let shards = shards.each_ref().map(|dir| dir.to_str().unwrap());
        ["merge", shards[0], shards[1], "--into", into].map(str::to_owned)
    };
    let args = merge("results/all");
    let args = args.each_ref().map(String::as_str);
    runner.run(&args).expect(0);
    runner.run(&args).expect(0).says(&["merged before"]);
    snapshot(&runner.run(&["rescore", "all"]).expect(2));
    runner.run(&["trust", "all", "--yes"]).expect(0);
    runner.run(&["rescore", "all"]).expect(0);
    for root in ["1-2", "2-2"] {
        runner.run(&["trust", root, "--yes"]).expect(0);
    }
    let args = merge("results/own");
    runner.run(&args.each_ref().map(String::as_str)).expect(0);
    runner.run(&["rescore", "own"]).expect(0);
}
