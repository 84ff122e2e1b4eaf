//! The queue: order, room, deaths at every place, hostile files, and runs that are paused for others.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    http::Site,
    processes::{Process, children},
    random::Random,
    run::Run,
    runner::Runner,
    running::{Finished, Running},
    wait::{wait_for, wait_until},
};

/// Creates the scenarios `short.toml`, `other.toml` and `long.toml`. The guest of the last one sleeps for ten minutes.
fn with_scenarios() -> Runner {
    let runner = Runner::new(&["hostile"]);
    for (name, ms) in [("short", 1), ("other", 1), ("long", 600_000)] {
        runner.write(
            &format!("{name}.toml"),
            format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"nap\"\ntimeout = \"20m\"\ninput = {{ do = \"sleep\", ms = {ms} }}\n"),
        );
    }
    runner
}

/// Adds a request. Returns its id.
#[track_caller]
fn add(runner: &Runner, args: &[&str]) -> String {
    let ran = runner.run(&[args, &["--queue", "--json"]].concat()).expect(0);
    let document = ran.document();
    assert_eq!(document["result"], "queued");
    document["request"].as_str().unwrap().to_owned()
}

/// Starts at most one request.
fn work(runner: &Runner) -> Finished {
    runner.run(&["queue", "work", "--once"])
}

/// Starts at most one request, with a fault.
fn work_with(runner: &Runner, fault: &str) -> Finished {
    Running::start(runner.command(&["queue", "work", "--once"]).env("RUNNER_FAULT", fault)).finish()
}

/// Starts the request of a group. Returns the poller, and the stopped process that is creating the second run.
fn start_of_second_run(runner: &Runner) -> (Running, Process) {
    let mut poller = runner.command(&["queue", "work", "--once"]);
    let poller = Running::start(poller.env("RUNNER_FAULT", "manifest-write:stop:2"));
    let process = wait_for("the second run is created", || {
        children(poller.process().0, "__detached").pop().filter(|process| process.is_stopped())
    });
    (poller, process)
}

#[track_caller]
fn queue(runner: &Runner) -> Value {
    runner.run(&["queue", "--json"]).expect(0).document()
}

/// Returns a key of all requests, in their order.
#[track_caller]
fn column(runner: &Runner, key: &str) -> Vec<Value> {
    let document = queue(runner);
    document["requests"].as_array().unwrap().iter().map(|request| request[key].clone()).collect()
}

/// Returns the ids of the requests that the runs were started for.
fn started_for(runner: &Runner) -> Vec<String> {
    let request = |run: Run| {
        let manifest = run.manifest();
        manifest["sessions"][0]["request"]["id"].as_str().unwrap().to_owned()
    };
    runner.runs().into_iter().map(request).collect()
}

/// Starts requests until none waits and no run is active.
#[track_caller]
fn work_off(runner: &Runner) {
    wait_until("the queue is empty", || {
        let ran = work(runner);
        assert!(matches!(ran.code, Some(0 | 6)), "{ran:?}");
        let document = queue(runner);
        document["requests"] == json!([]) && document["active"] == json!([])
    });
}

#[track_caller]
fn run_named(runner: &Runner, scenario: &str) -> Run {
    let runs = runner.runs().into_iter();
    let mut runs = runs.filter(|run| run.manifest()["scenario"] == scenario);
    runs.next().unwrap_or_else(|| panic!("no run of {scenario}"))
}

#[test]
fn requests_start_by_priority_and_then_by_age() {
    let runner = with_scenarios();
    let first = add(&runner, &["exec", "short.toml"]);
    let second = add(&runner, &["exec", "other.toml", "--label", "a=b"]);
    let urgent = add(&runner, &["exec", "short.toml", "--priority", "5"]);
    let low = add(&runner, &["exec", "short.toml", "--priority", "-5"]);
    let ids = |ids: &[&String]| ids.iter().map(|id| json!(id)).collect::<Vec<_>>();
    assert_eq!(column(&runner, "request"), ids(&[&urgent, &first, &second, &low]));
    assert_eq!(column(&runner, "place"), [1, 2, 3, 4]);
    let moved = runner.run(&["queue", "move", &second, "--before", &first]).expect(0);
    snapshot(&moved);
    assert_eq!(column(&runner, "request"), ids(&[&urgent, &second, &first, &low]));
    runner.run(&["queue", "move", &low, "--before", &second]).expect(0);
    assert_eq!(column(&runner, "request"), ids(&[&urgent, &low, &second, &first]));
    runner.run(&["queue", "move", &urgent, "--priority", "0"]).expect(0);
    assert_eq!(column(&runner, "request"), ids(&[&low, &second, &first, &urgent]));
    runner.run(&["queue", "remove", &first]).expect(0).says(&["removed request"]);
    work_off(&runner);
    assert_eq!(started_for(&runner), [&*low, &*second, &*urgent]);
    let manifest = run_named(&runner, "other").manifest();
    let command = &manifest["sessions"][0]["command"];
    assert_eq!(
        *command,
        json!(["runner", "exec", "other.toml", "--label", "a=b", "--queue", "--json"])
    );
    let log = run_named(&runner, "other").text("runner.log");
    assert!(log.lines().next().unwrap().contains("runner exec other.toml --label a=b"), "{log}");
}

#[test]
fn request_waits_until_there_is_room() {
    let runner = with_scenarios();
    let long = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout;
    add(&runner, &["exec", "short.toml"]);
    work(&runner).expect(6);
    let document = queue(&runner);
    assert_eq!(document["active"][0]["run"], long.trim_end());
    assert_eq!(document["requests"][0]["state"], "waiting");
    runner.write("results/runner.toml", "max_active_runs = 2\n");
    work(&runner).expect(0).says(&["started", "exec short.toml"]);
    add(&runner, &["exec", "other.toml"]);
    runner.run(&["wait", run_named(&runner, "short").id()]).expect(0);
    runner.write("results/runner.toml", "max_active_runs = 1\n");
    // A poller starts it as soon as the run has ended, and the run outlives the poller.
    let poller = runner.started(&["queue", "work"]);
    runner.run(&["stop", long.trim_end()]).expect(0);
    wait_until("it is started", || poller.printed().contains("started"));
    poller.kill();
    runner.run(&["wait", run_named(&runner, "other").id()]).expect(0);
    runner.write("results/runner.toml", "max_active_run = 2\n");
    runner.run(&["queue"]).expect(2).says(&["max_active_run"]);
}

#[test]
fn pollers_start_each_request_once() {
    let runner = with_scenarios();
    let mut ids: Vec<_> = (0..6).map(|_| add(&runner, &["exec", "short.toml"])).collect();
    runner.write("results/runner.toml", "max_active_runs = 3\n");
    let pollers: Vec<_> = (0..3).map(|_| runner.started(&["queue", "work", "--json"])).collect();
    wait_until("all have ended", || {
        let document = queue(&runner);
        document["requests"] == json!([]) && document["active"] == json!([])
    });
    // A request is removed before its start is printed.
    wait_until("all starts are printed", || {
        pollers.iter().map(|poller| poller.printed().lines().count()).sum::<usize>() >= 6
    });
    let steps: usize = pollers.into_iter().map(|poller| poller.kill().stdout.lines().count()).sum();
    assert_eq!(steps, 6);
    let mut started = started_for(&runner);
    started.sort();
    ids.sort();
    assert_eq!(started, ids);
}

#[test]
fn deaths_of_pollers_neither_lose_nor_double_a_request() {
    for place in ["write", "move", "taken", "started"] {
        let runner = with_scenarios();
        let id = add(&runner, &["exec", "short.toml"]);
        let killed = work_with(&runner, &format!("queue-{place}:kill"));
        assert_eq!(killed.code, None, "{place}: {killed:?}");
        work_off(&runner);
        assert_eq!(started_for(&runner), [&*id], "{place}");
    }
}

#[test]
fn killed_pollers_neither_lose_nor_double_a_request() {
    let runner = with_scenarios();
    let ids: BTreeSet<_> = (0..8).map(|_| add(&runner, &["exec", "short.toml"])).collect();
    runner.write("results/runner.toml", "max_active_runs = 100\n");
    let mut random = Random::new();
    for _ in 0..24 {
        let poller = runner.started(&["queue", "work"]);
        // The kill comes at a random moment.
        thread::sleep(random.up_to(Duration::from_millis(60)));
        poller.kill();
    }
    // Processes whose poller is gone are starting runs.
    work_off(&runner);
    let started = started_for(&runner);
    assert_eq!(started.len(), 8);
    assert_eq!(started.into_iter().collect::<BTreeSet<_>>(), ids);
    assert!(runner.list().iter().all(|run| run["state"] == "passed"));
}

#[test]
fn request_whose_process_dies_is_refused_after_three_tries() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml"]);
    for _ in 0..3 {
        work_with(&runner, "manifest-write:kill").expect(6).says(&["waits again"]);
    }
    work(&runner).expect(0);
    let document = queue(&runner);
    assert_eq!(document["requests"][0]["state"], "refused");
    assert_eq!(document["requests"][0]["place"], Value::Null);
    runner.run(&["queue"]).expect(0).says(&["died 3 times", "to try one again: runner queue move"]);
    runner.run(&["queue", "move", &id, "--priority", "1"]).expect(0);
    work_off(&runner);
    assert_eq!(started_for(&runner), [id]);
}

#[test]
fn request_that_cannot_start_is_kept_with_its_reason() {
    let runner = with_scenarios();
    // Mistakes are found when the request is made.
    runner.run(&["exec", "missing.toml", "--queue"]).expect(2).says(&["missing.toml"]);
    runner.run(&["exec", "short.toml", "--queue", "--test", "none"]).expect(5);
    for flags in [&["--build"][..], &["--into", "x"], &["--detach"], &["--dry-run"]] {
        runner.run(&[&["exec", "short.toml", "--queue"], flags].concat()).expect(2);
    }
    assert!(!runner.path("results/queue").exists());
    let id = add(&runner, &["exec", "short.toml"]);
    fs::remove_file(runner.path("short.toml")).unwrap();
    work(&runner).expect(3).says(&["cannot be started: the scenario does not exist", "short.toml"]);
    work(&runner).expect(0);
    let shown = runner.run(&["queue"]).expect(0);
    shown.says(&["refused", "was refused: the scenario does not exist"]);
    snapshot(&runner.run(&["queue", "remove", "no-such"]).expect(2));
    runner.run(&["queue", "remove", id.rsplit('-').next().unwrap()]).expect(0);
    assert_eq!(column(&runner, "request"), Vec::<Value>::new());
}

/// Changes the file of a request.
fn edit(runner: &Runner, id: &str, change: impl Fn(&mut Value)) {
    let name = format!("results/queue/{id}.json");
    let mut request = serde_json::from_slice(&fs::read(runner.path(&name)).unwrap()).unwrap();
    change(&mut request);
    runner.write(&name, request.to_string());
}

#[test]
fn hostile_files_in_the_queue_start_nothing() {
    let mut transcript = Transcript::default();
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml"]);
    edit(&runner, &id, |request| request["command"][1] = json!("\u{1b}[2Jx.toml"));
    let good = fs::read(runner.path(&format!("results/queue/{id}.json"))).unwrap();
    fs::set_permissions(
        runner.path(&format!("results/queue/{id}.json")),
        fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    for (name, text) in [
        ("renamed", &*good),
        ("cut", &good[..good.len() / 2]),
        ("list", b"[[[[[[[[[["),
        ("version", br#"{"format":99}"#),
        ("empty", b""),
    ] {
        runner.write(&format!("results/queue/{name}.json"), text);
    }
    fs::create_dir(runner.path("results/queue/folder.json")).unwrap();
    runner.link(&runner.path("short.toml"), "results/queue/link.json");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        runner.path("results/queue/pipe.json"),
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    work(&runner).expect(0);
    assert!(runner.runs().is_empty());
    let shown = runner.run(&["queue"]).expect(0);
    assert!(!shown.stdout.contains('\u{1b}') && !shown.stderr.contains('\u{1b}'), "{shown:?}");
    let problems =
        ["renamed.json", "cut.json", "list.json", "folder.json", "link.json", "pipe.json"];
    shown.says(&problems);
    shown.says(&["waiting for its user"]);
    transcript.run(&runner, &["queue", "move", &id, "--priority", "1"]).expect(2);
    if rustix::process::geteuid().is_root() {
        let path = runner.path(&format!("results/queue/{id}.json"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        work(&runner).expect(0);
        assert!(runner.runs().is_empty());
        transcript.run(&runner, &["queue", "remove", &id]).expect(2);
        // The greatest place of another user's request leaves room for others.
        edit(&runner, &id, |request| request["place"] = json!(u64::MAX));
        let own = add(&runner, &["exec", "other.toml"]);
        assert_eq!(column(&runner, "request"), [own, id]);
    }
    transcript.check("hostile_files_in_the_queue_start_nothing");
}

#[test]
fn huge_requests_are_not_read() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml"]);
    let site = Site::start(&runner, &["--read-only"]);
    let file = fs::File::create(runner.path(&format!("results/queue/{id}.json"))).unwrap();
    for length in [(1 << 20) + 1, 3 << 30] {
        file.set_len(length).unwrap();
        let problems = site.get("/queue")["problems"].to_string();
        assert!(problems.contains(&id) && problems.contains("larger than"), "{problems}");
    }
    let peak = site.running.process().peak_memory();
    assert!(peak < 64 << 20, "{peak}");
    let long = "x".repeat(100_000);
    let globs = ["--exclude", &long].repeat(6);
    let ran = runner.run(&[&["exec", "short.toml", "--queue"], &globs[..]].concat()).expect(2);
    snapshot(&ran);
}

#[test]
fn requests_build_nothing() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml"]);
    edit(&runner, &id, |request| request["command"] = json!(["exec", "--build", "short.toml"]));
    runner.run(&["trust", "--yes"]).expect(0);
    snapshot(&work(&runner).expect(3));
    assert!(runner.runs().is_empty());
}

#[test]
fn queued_resume_names_its_run_and_waits_once() {
    let runner = with_scenarios();
    let long = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout;
    let long = long.trim_end();
    runner.run(&["stop", "latest"]).expect(0);
    runner.run(&["exec", "short.toml"]).expect(0);
    let short = run_named(&runner, "short").id().to_owned();
    snapshot(&runner.run(&["resume", "latest", "--queue"]).expect(2));
    let again = add(&runner, &["resume", "latest", "--rerun", "all", "--grace", "1ms"]);
    add(&runner, &["resume"]);
    let commands = column(&runner, "command");
    let words = json!(["resume", short, "--rerun", "all", "--grace", "1ms", "--queue", "--json"]);
    assert_eq!(commands[0], words);
    assert_eq!(commands[1], json!(["resume", "--queue", "--json", long]));
    assert_eq!(column(&runner, "run"), [json!(short), json!(long)]);
    snapshot(&runner.run(&["resume", long, "--queue"]).expect(6));
    work(&runner).expect(0);
    runner.run(&["wait", &short]).expect(0);
    let manifest = run_named(&runner, "short").manifest();
    assert_eq!(manifest["sessions"][1]["request"]["id"], json!(again));
    work(&runner).expect(0);
    assert_eq!(queue(&runner)["active"][0]["run"], json!(long));
    runner.run(&["stop", long]).expect(0);
}

#[test]
fn several_scenarios_are_one_request() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml", "other.toml"]);
    work(&runner).expect(0).says(&["-group-"]);
    work_off(&runner);
    assert_eq!(started_for(&runner), [&*id, &*id]);
}

#[test]
fn group_that_is_cut_short_starts_as_a_whole() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml", "other.toml"]);
    work_with(&runner, "manifest-write:full:2").expect(6).says(&["waits again", "No space"]);
    assert!(runner.runs().is_empty());
    work_with(&runner, "manifest-write:kill:2").expect(6).says(&["waits again"]);
    assert!(runner.runs().is_empty());
    work_off(&runner);
    assert_eq!(started_for(&runner), [&*id, &*id]);
    // The poller dies, too. A pinned run of the group stays, and is not taken for the whole group.
    let id = add(&runner, &["exec", "short.toml", "other.toml"]);
    let (poller, process) = start_of_second_run(&runner);
    poller.process().signal(Signal::STOP);
    process.signal(Signal::KILL);
    poller.kill();
    runner.run(&["pin", runner.runs().last().unwrap().id()]).expect(0);
    assert_eq!(work_with(&runner, "queue-started:kill").code, None);
    work_off(&runner);
    assert_eq!(started_for(&runner).iter().filter(|one| **one == id).count(), 3);
}

#[test]
fn request_that_hangs_is_removed_with_its_process() {
    let runner = with_scenarios();
    let text = fs::read_to_string(runner.path("short.toml")).unwrap();
    let grants = "[providers.hostile.grants]\nsecrets = [\"KEY\"]\n";
    runner.write("secret.toml", format!("{text}{grants}"));
    runner.write("keys", "KEY=long enough\n");
    let id = add(&runner, &["exec", "secret.toml", "--secret-file", "keys"]);
    add(&runner, &["exec", "short.toml"]);
    // The process waits for a writer.
    fs::remove_file(runner.path("keys")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, runner.path("keys"), mode).unwrap();
    let poller = runner.started(&["queue", "work"]);
    let process = wait_for("its process hangs", || {
        let own = children(poller.process().0, "__detached").pop()?;
        own.is_asleep().then_some(own)
    });
    assert_eq!(column(&runner, "state"), ["starting", "waiting"]);
    runner.run(&["queue", "move", &id, "--priority", "1"]).expect(6).says(&["queue remove"]);
    // A run for a request with the same id, in another results root.
    let other = with_scenarios();
    let site = Site::start(&other, &["--scenarios", "."]);
    site.post("/runs", &json!({"scenario": "long.toml", "request": id})).expect(201);
    runner.run(&["queue", "remove", &id]).expect(0).says(&["removed request"]);
    wait_until("its process is gone", || !process.is_alive());
    other.run(&["list", "--json"]).expect(0).says(&["\"running\""]);
    other.run(&["stop"]).expect(0);
    wait_until("the next request is started", || poller.printed().contains("started"));
    assert!(poller.shown().contains("it was removed from the queue"), "{}", poller.shown());
    poller.kill();
    runner.run(&["wait", runner.only_run().id()]).expect(0);
}

#[test]
fn removed_start_of_a_group_leaves_no_run() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml", "other.toml"]);
    let (poller, _) = start_of_second_run(&runner);
    assert_eq!(runner.runs().len(), 1);
    runner.run(&["queue", "remove", &id]).expect(0);
    snapshot(&poller.finish());
    assert!(runner.runs().is_empty());
}

#[test]
fn completions_offer_requests() {
    let runner = with_scenarios();
    let id = add(&runner, &["exec", "short.toml"]);
    let short = id.rsplit('-').next().unwrap();
    for words in [&["queue", "remove", ""][..], &["queue", "move", "x", "--before", ""]] {
        let found = runner.run(&[&["__complete", "--"], words].concat()).expect(0).stdout;
        assert_eq!(found, format!("{short}\texec short.toml --queue --json\n"), "{words:?}");
    }
}

#[test]
fn preempting_request_pauses_a_lower_run() {
    let runner = with_scenarios();
    let long = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout;
    let low = add(&runner, &["exec", "other.toml", "--preempt"]);
    // A run of the same priority is not paused.
    work(&runner).expect(6);
    runner.run(&["queue", "remove", &low]).expect(0);
    add(&runner, &["exec", "short.toml", "--priority", "3", "--preempt"]);
    // The next process continues the work of one that was killed after the pause.
    let killed = work_with(&runner, "queue-move:kill");
    assert_eq!(killed.code, None);
    let paused = |run: &Run| {
        let manifest = run.manifest();
        let session = manifest["sessions"].as_array().unwrap().last().unwrap().clone();
        let pause = session["pauses"].as_array().and_then(|pauses| pauses.last().cloned());
        pause.filter(|pause| pause["to"] == Value::Null)
    };
    let run = run_named(&runner, "long");
    let reason = paused(&run).unwrap()["by"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("comes first"), "{reason}");
    assert_eq!(queue(&runner)["active"][0]["preempted"], json!(true));
    work(&runner).expect(0).says(&["started", "short.toml"]);
    let short = run_named(&runner, "short");
    assert_eq!(short.manifest()["sessions"][0]["request"]["priority"], 3);
    runner.run(&["wait", short.id()]).expect(0);
    work(&runner).expect(0);
    assert_eq!(paused(&run), None);
    // A run that a person paused neither makes room nor continues.
    runner.run(&["pause", long.trim_end(), "--reason", "lunch"]).expect(0);
    add(&runner, &["exec", "other.toml", "--priority", "3", "--preempt"]);
    work(&runner).expect(6);
    assert_eq!(paused(&run).unwrap()["by"]["reason"], "lunch");
    runner.run(&["stop", long.trim_end()]).expect(0);
}

#[test]
fn preempted_run_continues_without_the_queue() {
    let runner = with_scenarios();
    runner.run(&["exec", "long.toml", "--detach"]).expect(0);
    let low = run_named(&runner, "long");
    let is_paused = || queue(&runner)["active"][0]["preempted"] == json!(true);
    add(&runner, &["exec", "short.toml", "--priority", "3", "--preempt"]);
    work(&runner).expect(0).says(&["started", "short.toml"]);
    runner.run(&["wait", run_named(&runner, "short").id()]).expect(0);
    wait_until("the end of the other continues it", || !is_paused());
    // A killed one continues nothing.
    fs::rename(runner.path("long.toml"), runner.path("high.toml")).unwrap();
    add(&runner, &["exec", "high.toml", "--priority", "3", "--preempt"]);
    work(&runner).expect(0).says(&["started", "high.toml"]);
    let high = run_named(&runner, "high");
    let process = Process(high.manifest()["sessions"][0]["pid"].as_u64().unwrap() as u32);
    process.signal(Signal::KILL);
    wait_until("it is killed", || !process.is_alive());
    assert!(is_paused());
    runner.run(&["cleanup", "--yes"]).expect(0).says(&[high.id()]);
    assert!(!is_paused());
    runner.run(&["unpause", low.id()]).expect(0).says(&["is not paused"]);
    runner.run(&["stop", low.id()]).expect(0);
}

#[test]
fn waiting_for_a_paused_run_shows_the_pause() {
    let runner = with_scenarios();
    runner.run(&["exec", "long.toml", "--detach"]).expect(0);
    let run = run_named(&runner, "long");
    wait_until("it runs", || runner.show(&run)["live"]["in_flight"][0] != Value::Null);
    runner.run(&["pause", run.id()]).expect(0);
    let waiting = runner.started(&["wait", run.id()]);
    wait_until("the progress is shown", || waiting.shown().contains(" done"));
    let shown = waiting.shown();
    assert!(shown.contains("0 of 1 done; 0 running; the run is paused"), "{shown}");
    runner.run(&["stop", run.id()]).expect(0);
    waiting.finish().expect(4);
}

#[test]
fn pause_of_a_person_outlasts_that_of_the_queue() {
    let runner = with_scenarios();
    let long = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout;
    let id = add(&runner, &["exec", "short.toml", "--priority", "3", "--preempt"]);
    work_with(&runner, "queue-move:kill");
    runner.run(&["pause", long.trim_end()]).expect(0).says(&["already paused"]);
    runner.run(&["queue", "remove", &id]).expect(0);
    work(&runner).expect(0);
    runner.run(&["unpause", long.trim_end()]).expect(0).says(&["continued"]);
    runner.run(&["stop", long.trim_end()]).expect(0);
}

#[test]
fn request_of_an_active_run_lets_others_pass() {
    let runner = with_scenarios();
    let run = stopped_run(&runner);
    runner.write("results/runner.toml", "max_active_runs = 2\n");
    let waiting = add(&runner, &["resume", &run]);
    runner.run(&["resume", &run, "--detach"]).expect(0);
    add(&runner, &["exec", "short.toml"]);
    work(&runner).expect(0).says(&["started", "short.toml"]);
    assert_eq!(column(&runner, "request"), [waiting]);
    runner.run(&["stop", &run]).expect(0);
}

#[test]
fn retention_keeps_runs_that_wait() {
    let runner = with_scenarios();
    let run = stopped_run(&runner);
    let id = add(&runner, &["resume", &run]);
    let prune = ["prune", "--keep-last", "0", "--yes"];
    let remove = format!("runner queue remove {id}");
    let ran = runner.run(&prune).expect(0);
    snapshot(&ran);
    ran.says(&[&remove]);
    assert_eq!(runner.only_run().id(), run);
    runner.run(&["queue", "remove", &id]).expect(0);
    runner.run(&prune).expect(0);
    assert!(runner.runs().is_empty());
}

#[test]
fn advice_about_a_request_names_its_root() {
    let runner = with_scenarios();
    let run = stopped_run(&runner);
    fs::rename(runner.path("results"), runner.path("other")).unwrap();
    let resume = ["resume", &run, "--results", "other"];
    let id = add(&runner, &resume);
    let remove = format!("runner queue remove {id} --results other");
    runner.run(&[&resume[..], &["--queue"]].concat()).expect(6).says(&[&remove]);
}

/// Creates an incomplete run. Returns its id.
fn stopped_run(runner: &Runner) -> String {
    let run = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout.trim().to_owned();
    runner.run(&["stop", &run]).expect(0);
    run
}

#[test]
fn pause_ends_with_a_request_that_is_removed() {
    let runner = with_scenarios();
    let long = runner.run(&["exec", "long.toml", "--detach"]).expect(0).stdout;
    let id = add(&runner, &["exec", "short.toml", "--priority", "3", "--preempt"]);
    work_with(&runner, "queue-move:kill");
    runner.run(&["queue", "remove", &id]).expect(0);
    work(&runner).expect(0);
    runner.run(&["unpause", long.trim_end()]).expect(0).says(&["is not paused"]);
    assert!(fs::read_dir(runner.path("results/queue/preempted")).unwrap().next().is_none());
    runner.run(&["stop", long.trim_end()]).expect(0);
}

#[test]
fn full_disk_loses_no_request() {
    let runner = with_scenarios();
    let full = |args: &[&str]| {
        Running::start(runner.command(args).env("RUNNER_FAULT", "queue-write:full")).finish()
    };
    snapshot(&full(&["exec", "short.toml", "--queue"]).expect(7));
    assert_eq!(column(&runner, "request"), Vec::<Value>::new());
    let id = add(&runner, &["exec", "short.toml"]);
    snapshot(&full(&["queue", "work", "--once"]).expect(7));
    full(&["queue", "move", &id, "--priority", "2"]).expect(7);
    assert_eq!(column(&runner, "state"), ["waiting"]);
    work_off(&runner);
    assert_eq!(started_for(&runner), [id]);
}

#[test]
fn poller_ends_runs_whose_process_died() {
    let runner = with_scenarios();
    runner.run(&["exec", "long.toml", "--detach"]).expect(0);
    let run = runner.only_run();
    let pid = run.manifest()["sessions"][0]["pid"].as_u64().unwrap() as u32;
    Process(pid).signal(Signal::KILL);
    wait_until("it is gone", || !Process(pid).is_alive());
    let poller = runner.started(&["queue", "work"]);
    wait_until("its end is written", || run.ending()[..2] == ["incomplete", "crashed"]);
    wait_for("it is printed", || {
        poller.shown().contains("became incomplete (crashed)").then_some(())
    });
    poller.kill();
}
