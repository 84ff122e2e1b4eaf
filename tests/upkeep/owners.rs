//! Runs of other users: commands that execute, change or delete refuse them, commands that read do not.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;

use super::{ended, going_on, naps, short};
use crate::messages::outputs::snapshot;
use crate::support::{
    guests::printing,
    run::Run,
    runner::Runner,
    running::{Finished, Running, finished},
};

/// Numbers that no user of the machine has.
const COLLEAGUE: u32 = 4242;
const OTHER_COLLEAGUE: u32 = 4243;
const GROUP: u32 = 4343;

/// Only root can give files to other users.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a file or folder, with its content, to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(GROUP)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns the program with this umask.
fn masked(runner: &Runner, mask: &str, args: &[&str]) -> Command {
    let mut command = runner.shell("umask \"$1\"; shift; exec \"$runner\" \"$@\"");
    command.arg("sh").arg(mask).args(args);
    command
}

/// Creates a root that a group shares, with an interrupted run of this user. Its trials take longer than a busy machine needs to
/// send the signal.
fn shared(mask: &str) -> (Runner, Run) {
    let runner = naps(30, 200);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(text + "grants = { net = [\"http://127.0.0.1:9\"] }\n"));
    let root = runner.path("results");
    fs::create_dir(&root).unwrap();
    if is_root() {
        chown(&root, None, Some(GROUP)).unwrap();
    }
    set_mode(&root, 0o2770);
    let args = ["exec", "scenario.toml", "-j", "1", "--json"];
    let mut running = Running::start(&mut masked(&runner, mask, &args));
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    (runner, run)
}

/// Copies a run to one of a colleague, which is newer.
fn colleagues(own: &Run) -> Run {
    let name = own.id().replace(short(own), "ffffffff");
    let dir = own.dir.with_file_name(name);
    finished(Command::new("cp").arg("-a").args([&own.dir, &dir])).expect(0);
    give(&dir, COLLEAGUE);
    Run { dir }
}

/// Returns name, owner and content of all files of a run.
fn look(run: &Run) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let files = fs::read_dir(&run.dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .map(|path| (path.clone(), fs::metadata(&path).unwrap().uid(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Goes through all commands, in a root with a run of this user and one of a colleague.
fn check_all_commands(mask: &str) {
    let (runner, own) = shared(mask);
    // The modes let the group write into the folder and add rows, but not change the plan.
    let manifest = fs::metadata(own.dir.join("benchmark.json")).unwrap().mode();
    assert_eq!(manifest & 0o022, 0, "{manifest:o}");
    if !is_root() {
        runner.run(&["resume", "-j", "8"]).expect(0);
        return;
    }
    let theirs = colleagues(&own);
    let before = look(&theirs);
    let id = theirs.id();
    let run = |args: &[&str]| Running::start(&mut masked(&runner, mask, args)).finish();
    for (args, code) in [
        (&["list"][..], 0),
        (&["show", id], 0),
        (&["show", id, "--history"], 0),
        (&["logs", id], 0),
        (&["verify", id], 0),
        (&["wait", id], 130),
        (&["prune", "--keep-last", "1"], 0),
    ] {
        let ran = run(args).expect(code);
        assert!(!ran.stderr.contains("RUNNER_TRUST_ROOT"), "{args:?}: {}", ran.stderr);
    }
    let owner = format!("run {id} belongs to uid {COLLEAGUE}");
    let into = format!("results/{id}");
    for (args, has_grants) in [
        (&["resume", id][..], true),
        (&["resume", &into], true),
        (&["resume", "latest", "--rerun", "all"], true),
        (&["resume", id, "--accept-changes"], true),
        (&["resume", id, "--dry-run"], true),
        (&["exec", "scenario.toml", "--into", &into], true),
        (&["plugin", "run", "--from", id, "--trial", "nap@hostile#1"], true),
        (&["pin", id], false),
        (&["cancel", id], false),
        (&["prune", id, "--yes"], false),
        (&["prune", id], false),
    ] {
        let ran = run(args).expect(2);
        ran.says(&[&owner, "RUNNER_TRUST_ROOT="]);
        if has_grants {
            ran.says(&["[providers.hostile.grants]", "net = [\"http://127.0.0.1:9\"]"]);
        }
    }
    let skipped = format!("skipped: {owner}");
    let again = run(&["exec", "scenario.toml", "--last-failed", "--dry-run"]).expect(0);
    again.says(&["30 trials", &skipped]);
    run(&["resume", "-j", "8"]).expect(0).says(&[own.id(), &skipped]);
    assert_eq!(own.ending()[0], "completed");
    for args in [&["--rerun", "nap@hostile#1"][..], &["--accept-changes"]] {
        run(&[&["resume"], args].concat()).expect(0).says(&[own.id(), &skipped]);
    }
    run(&["resume"]).expect(2).says(&["no run in results is incomplete", &skipped]);
    run(&["prune", "--keep-last", "0", "--yes"]).expect(0).says(&["deleted 1 run", "kept: run"]);
    assert!(!own.dir.exists());
    assert_eq!(look(&theirs), before, "a command has changed it");

    let mut trusting = masked(&runner, mask, &["resume", id, "-j", "8"]);
    trusting.env("RUNNER_TRUST_ROOT", runner.path("results"));
    let ran = Running::start(&mut trusting).finish().expect(0);
    ran.says(&[&owner, "net = [\"http://127.0.0.1:9\"]", "30 of 30"]);
    let mut trusting = masked(&runner, mask, &["prune", id, "--yes"]);
    trusting.env("RUNNER_TRUST_ROOT", "results");
    Running::start(&mut trusting).finish().expect(0);
    assert!(!theirs.dir.exists());
}

#[test]
fn own_runs_alone_are_used_with_umask_002() {
    check_all_commands("002");
}

#[test]
fn own_runs_alone_are_used_with_umask_007() {
    check_all_commands("007");
}

#[test]
fn own_runs_alone_are_used_with_umask_022() {
    check_all_commands("022");
}

#[test]
fn files_that_others_could_change_are_refused() {
    let (runner, run) = shared("007");
    let manifest = run.dir.join("benchmark.json");
    let digest = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    let suite = runner.path("results/store").join(&digest[..2]).join(&digest);
    let is_refused = |why: &str| {
        let ran = runner.run(&["resume", run.id(), "--dry-run"]).expect(2);
        ran.says(&[&format!("run {} {why}", run.id()), "RUNNER_TRUST_ROOT=results"]);
        runner.run(&["resume"]).expect(2).says(&[why]);
        runner.run(&["show", run.id()]).expect(0);
    };
    for mode in [0o620, 0o602] {
        set_mode(&manifest, mode);
        is_refused(
            "can be changed by other users: if you trust it as it is, run `chmod go-w results/",
        );
    }
    set_mode(&manifest, 0o600);
    if is_root() {
        // A colleague has replaced the manifest of this user's run.
        chown(&manifest, Some(COLLEAGUE), None).unwrap();
        is_refused("belongs to uid 4242");
        chown(&manifest, Some(0), None).unwrap();
        // The manifest has the digests of stored files, so their owner does not matter.
        give(&runner.path("results/store"), COLLEAGUE);
        give(&run.dir.join("scenario.toml"), COLLEAGUE);
    }
    set_mode(&suite, 0o666);
    runner.run(&["resume", run.id(), "--dry-run"]).expect(0);
    let text = fs::read(&suite).unwrap();
    fs::write(&suite, [&text[..], b"\n"].concat()).unwrap();
    let ran = runner.run(&["resume"]).expect(2);
    snapshot(&ran);
    ran.says(&[&digest]);
    fs::write(&suite, text).unwrap();
    runner.run(&["resume", "-j", "8"]).expect(0);
}

#[test]
fn dead_runs_of_others_are_left_alone() {
    if !is_root() {
        return;
    }
    let runner = naps(400, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    give(&run.dir, COLLEAGUE);
    let before = look(&run);
    let skipped = format!("skipped: run {} belongs to uid {COLLEAGUE}", run.id());
    let ran = runner.run(&["cleanup"]).expect(0);
    snapshot(&ran);
    ran.says(&[&skipped]);
    runner.run(&["cleanup", "--yes"]).expect(0).says(&[&skipped]);
    runner.run(&["resume"]).expect(2).says(&[&skipped]);
    snapshot(&runner.run(&["stop", run.id()]).expect(2));
    assert_eq!(look(&run), before);
    assert_eq!(runner.list()[0]["status"], "incomplete");
    give(&run.dir, 0);
    runner.run(&["cleanup", "--yes"]).expect(0).says(&[run.id()]);
}

#[test]
fn group_with_runs_of_others_is_refused() {
    if !is_root() {
        return;
    }
    let runner = naps(60, 100);
    fs::copy(runner.path("scenario.toml"), runner.path("other.toml")).unwrap();
    let mut group = runner.started(&["exec", "scenario.toml", "other.toml", "-j", "1", "--json"]);
    group.wait_for_rows(1);
    group.end_by(Signal::INT).0.expect(130);
    let [first, second] = runner.runs().try_into().unwrap();
    give(&second.dir, COLLEAGUE);
    let before = look(&second);
    let id = first.manifest()["group"]["id"].as_str().unwrap().to_owned();
    let owner = format!("run {} belongs to uid {COLLEAGUE}", second.id());
    runner.run(&["resume", &id]).expect(2).says(&[&owner, "RUNNER_TRUST_ROOT=results"]);
    assert_eq!(first.ending()[0], "incomplete");
    // The exit code is that of all runs of the group.
    runner.run(&["resume", "-j", "8"]).expect(130).says(&[&format!("skipped: {owner}"), &id]);
    assert_eq!(first.ending()[0], "completed");
    assert_eq!(look(&second), before);
}

/// Runs the program as a user of the group, with a home of its own.
fn as_user(runner: &Runner, user: u32, args: &[&str]) -> Command {
    let home = runner.path(&format!("home-{user}"));
    if !home.exists() {
        fs::create_dir(&home).unwrap();
        chown(&home, Some(user), Some(GROUP)).unwrap();
    }
    let script = "umask 007; user=$1; shift; exec setpriv --reuid=$user --regid=4343 --clear-groups \"$runner\" \"$@\"";
    let mut command = runner.shell(script);
    command.arg("sh").arg(user.to_string()).args(args);
    command.env("HOME", home).env_remove("RUNNER_CACHE");
    command
}

#[test]
fn colleagues_share_a_root_and_keep_their_runs() {
    if !is_root() {
        return;
    }
    let runner = Runner::new(&[]);
    runner.wat("plugin.wasm", &printing("1"));
    runner.scenario("[providers.p]\nplugin = \"plugin.wasm\"\n[[tests]]\nid = \"a\"\nrepeat = 3\n");
    set_mode(&runner.path(""), 0o755);
    let root = runner.path("results");
    fs::create_dir(&root).unwrap();
    chown(&root, Some(COLLEAGUE), Some(GROUP)).unwrap();
    set_mode(&root, 0o2770);
    let run = |user, args: &[&str]| -> Finished {
        Running::start(&mut as_user(&runner, user, args)).finish()
    };
    run(COLLEAGUE, &["exec", "scenario.toml"]).expect(0);
    run(OTHER_COLLEAGUE, &["exec", "scenario.toml"]).expect(0);
    let [first, second] = runner.runs().try_into().unwrap();
    for (user, own, other) in [(COLLEAGUE, &first, &second), (OTHER_COLLEAGUE, &second, &first)] {
        run(user, &["resume", own.id(), "--rerun", "all"]).expect(0);
        let refused = run(user, &["resume", other.id(), "--rerun", "all"]).expect(2);
        snapshot(&refused);
        run(user, &["show", other.id()]).expect(0);
        run(user, &["verify", other.id()]).expect(0);
    }
    let mut trusting = as_user(&runner, OTHER_COLLEAGUE, &["resume", first.id(), "--rerun", "all"]);
    Running::start(trusting.env("RUNNER_TRUST_ROOT", "results")).finish().expect(0);
    assert_eq!(first.manifest()["sessions"].as_array().unwrap().len(), 3);
}

#[test]
fn first_command_works_with_any_umask() {
    let runner = Runner::new(&[]);
    runner.wat("plugin.wasm", &printing("1"));
    for mask in ["002", "007", "000", "022", "277", "177", "777"] {
        let home = runner.path(&format!("home-{mask}"));
        fs::create_dir(&home).unwrap();
        set_mode(&home, 0o700);
        let mut command =
            masked(&runner, mask, &["plugin", "run", "plugin.wasm", "--protocol", "plain"]);
        command.env("HOME", &home).env_remove("RUNNER_CACHE");
        Running::start(&mut command).finish().expect(0);
        for folder in [".cache", ".cache/runner"] {
            let mode = fs::metadata(home.join(folder)).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o700, "{folder} with umask {mask}: {mode:o}");
        }
    }
}

#[test]
fn umask_does_not_unshare_a_root() {
    for mask in ["022", "077"] {
        let (runner, run) = shared(mask);
        let root = runner.path("results");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&root.join(".lock")), 0o660, "with umask {mask}");
        let entries = |folder: &Path| {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let shelves = entries(&root.join("store"));
        let contents = shelves.iter().filter(|shelf| shelf.is_dir()).flat_map(|one| entries(one));
        for entry in contents.chain(shelves.clone()).chain([root.join("store")]) {
            let expected = if entry.is_dir() { 0o2770 } else { 0o660 };
            assert_eq!(mode(&entry), expected, "{} with umask {mask}", entry.display());
        }
        // The run is the owner's alone until the owner shares it.
        assert_eq!(mode(&run.dir) & 0o777, 0o700);
        set_mode(&run.dir, 0o2770);
        Running::start(&mut masked(&runner, mask, &["resume", "-j", "8"])).finish().expect(0);
        assert_eq!(mode(&run.dir.join("benchmark.json")), 0o640, "with umask {mask}");
        assert_eq!(mode(&run.dir.join("index.jsonl")), 0o660, "with umask {mask}");
    }
}

#[test]
fn temporary_folder_of_a_colleague_stays() {
    if !is_root() {
        return;
    }
    let runner = naps(1, 1);
    ended(&runner, 1);
    let temporary = runner.path("tmp");
    let [own, other] = [1, 2].map(|number| temporary.join(format!("runner-{number:016x}")));
    for folder in [&own, &other] {
        fs::create_dir_all(folder).unwrap();
        set_mode(folder, 0o700);
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    give(&other, COLLEAGUE);
    let mut prune = runner.command(&["prune", "--yes"]);
    Running::start(prune.env("TMPDIR", &temporary)).finish().expect(0);
    assert_eq!([own.exists(), other.exists()], [false, true]);
}

#[test]
fn empty_folder_of_a_colleague_is_refused() {
    if !is_root() {
        return;
    }
    let (runner, _) = shared("007");
    let folder = runner.path("results/mine");
    fs::create_dir(&folder).unwrap();
    give(&folder, COLLEAGUE);
    runner.run(&["exec", "scenario.toml", "--into", "results/mine"]).expect(2).says(&["uid 4242"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
