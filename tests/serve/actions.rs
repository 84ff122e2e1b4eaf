//! Changes over HTTP.

use std::{fs, os::unix::fs::chown, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    http::{Answer, Site},
    processes::Process,
    run::Run,
    runner::Runner,
    running::Running,
    truth::assert_consistent,
    wait::{wait_for, wait_until},
};

const FOLDER: [&str; 2] = ["--scenarios", "."];

/// Ends the processes of the runs that a test has started.
struct Started<'a>(&'a Runner);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.runs().iter().filter_map(owner).for_each(|process| process.signal(Signal::KILL));
    }
}

/// Returns the process that works on a run.
fn owner(run: &Run) -> Option<Process> {
    let manifest = run.manifest();
    let pid = manifest["sessions"].as_array()?.last()?["pid"].as_u64()?;
    (manifest["status"] == "running").then_some(Process(pid as u32))
}

/// Creates a scenario with a trial that passes and one that fails.
fn short() -> Runner {
    Runner::hostile_in_memory(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n\
         [[tests]]\nid = \"b\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n",
    )
}

/// Starts a run over HTTP. Returns it once its attempts are running.
#[track_caller]
fn started(runner: &Runner, site: &Site, attempts: usize) -> Run {
    // A machine may have fewer cores.
    let start = json!({"scenario": "scenario.toml", "jobs": attempts});
    let answer = site.post("/runs", &start).expect(201);
    let document = answer.document();
    let id = document["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(&*format!("/api/v1/runs/{id}")));
    let run = runner.runs().into_iter().find(|run| run.id() == id).unwrap();
    let since = std::time::SystemTime::UNIX_EPOCH;
    wait_until("its attempts run", || run.in_flight(since).len() == attempts);
    run
}

/// Waits until a run has ended.
#[track_caller]
fn ended(run: &Run) -> [String; 4] {
    wait_until("the run has ended", || run.manifest()["status"] != "running");
    run.ending()
}

#[test]
fn started_run_outlives_its_server() {
    let runner = Runner::endless(2, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 2);
    site.running.kill();
    assert!(owner(&run).unwrap().is_alive());
    let first = run.text("runner.log").lines().next().unwrap().to_owned();
    assert!(first.contains("runner exec"), "{first}");
    let site = Site::start(&runner, &FOLDER);
    let reason = "x".repeat(5000);
    let answer = site.post("/runs/latest/stop", &json!({"reason": reason})).expect(200).document();
    assert_eq!([&answer["result"], &answer["status"]], ["stopped", "incomplete"]);
    assert_eq!(run.ending()[..2], ["incomplete", "stopped"]);
    let by = &run.manifest()["sessions"][0]["stopped_by"]["reason"];
    assert_eq!(by.as_str().map(str::len), Some(4096), "{}", run.manifest());
    let answer = site.post("/runs/latest/stop", &json!({})).expect(200).document();
    assert_eq!(answer["result"], "already_terminal");
    assert_consistent(&runner);
}

#[test]
fn stops_in_several_places_make_one_transition() {
    let runner = Runner::endless(2, "loop", "");
    let sites = [Site::start(&runner, &FOLDER), Site::start(&runner, &FOLDER)];
    let _started = Started(&runner);
    let run = started(&runner, &sites[0], 2);
    let answers: Vec<Value> = thread::scope(|scope| {
        let stop = |site: &Site| site.post("/runs/latest/stop", &json!({})).expect(200).document();
        let asked: Vec<_> = sites.iter().map(|site| scope.spawn(move || stop(site))).collect();
        let own = runner.run(&["stop", "latest", "--json"]).expect(0).document();
        asked.into_iter().map(|asked| asked.join().unwrap()).chain([own]).collect()
    });
    assert!(answers.iter().any(|answer| answer["result"] == "stopped"), "{answers:?}");
    let changes = run.manifest()["transitions"].clone();
    let to: Vec<_> = changes.as_array().unwrap().iter().map(|change| &change["to"]).collect();
    assert_eq!(to, ["running", "incomplete"]);
}

#[test]
fn start_is_refused_while_a_run_is_active() {
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &["--scenarios", "."]);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    let start = json!({"scenario": "scenario.toml"});
    let busy = site.post("/runs", &start);
    busy.refuses(409, &["/problems/busy", run.id(), "queue"]);
    assert_eq!(busy.document()["holder"]["pid"], owner(&run).unwrap().0);
    assert_eq!(busy.document()["active"], json!([run.id()]));
    let waits = json!({"scenario": "scenario.toml", "queue": true, "priority": 5});
    let queued = site.post("/runs", &waits).expect(202).document();
    let id = queued["queued"]["request"].as_str().unwrap();
    let queue = site.get("/queue");
    assert_eq!(queue["active"][0]["run"], run.id());
    assert_eq!(
        [&queue["requests"][0]["request"], &queue["requests"][0]["priority"]],
        [&json!(id), &json!(5)]
    );
    let moved = site.post(&format!("/queue/{id}/move"), &json!({"priority": 7})).expect(200);
    assert_eq!(moved.document()["priority"], 7);
    site.post(&format!("/queue/{id}/move"), &json!({})).expect(200);
    let both = json!({"priority": 7, "before": id});
    site.post(&format!("/queue/{id}/move"), &both).refuses(400, &["exclude"]);
    let remove = || site.ask("DELETE", &format!("/queue/{id}"), Some(&json!({})));
    remove().expect(200);
    remove().refuses(404, &[id]);
    let restore = || site.post(&format!("/queue/{id}/restore"), &json!({}));
    assert_eq!(restore().expect(200).document()["priority"], 7);
    restore().refuses(404, &[id]);
    remove().expect(200);
    assert_eq!(runner.runs().len(), 1);
}

#[test]
fn cancelled_run_needs_force_to_continue() {
    let runner = Runner::endless(1, "sleep", "grace = \"50ms\"");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    let answer = site.post("/runs/latest/cancel", &json!({"reason": "wrong model"})).expect(200);
    assert_eq!(answer.document()["result"], "cancelled");
    assert_eq!(run.ending()[0], "cancelled");
    assert_eq!(run.manifest()["sessions"][0]["stopped_by"]["reason"], "wrong model");
    let again = site.post("/runs/latest/cancel", &json!({})).expect(200).document();
    assert_eq!(again["result"], "already_terminal");
    site.post("/runs/latest/resume", &json!({})).refuses(409, &["was cancelled", "force"]);
    site.post("/runs/latest/resume", &json!({"force": true})).expect(202);
    wait_until("it runs", || owner(&run).is_some());
    site.post("/runs/latest/resume", &json!({})).refuses(409, &["holder", "busy"]);
    let killed = site.post("/runs/latest/stop", &json!({"mode": "kill"})).expect(200).document();
    assert_eq!(killed["result"], "stopped");
}

#[test]
fn kill_ends_the_grace_of_a_cancel() {
    let runner = Runner::endless(1, "loop", "grace = \"1h\"");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| site.post("/runs/latest/cancel", &json!({})));
        wait_until("the run is cancelled", || run.dir.join("request-cancel.json").exists());
        site.post("/runs/latest/stop", &json!({"mode": "kill"})).expect(200);
        assert_eq!(cancelled.join().unwrap().expect(200).document()["result"], "cancelled");
    });
    assert_eq!(run.ending()[0], "cancelled");
}

#[test]
fn waiting_run_of_a_group_passes_a_stop_on() {
    let runner = Runner::endless(1, "sleep", "");
    fs::copy(runner.path("scenario.toml"), runner.path("second.toml")).unwrap();
    let group = runner.started(&["exec", "scenario.toml", "second.toml", "--json"]);
    let waits = |run: &Run| run.manifest()["stage"] == "waiting";
    let waiting = wait_for("one run works and one waits", || {
        let runs = runner.runs();
        let waiting = runs.iter().filter(|run| waits(run)).count();
        let has_work = runs.iter().any(|run| !waits(run) && run.dir.join("live.json").exists());
        let id = || runs.iter().find(|run| waits(run)).unwrap().id().to_owned();
        (runs.len() == 2 && waiting == 1 && has_work).then(id)
    });
    let site = Site::start(&runner, &FOLDER);
    let answer = site.post(&format!("/runs/{waiting}/stop"), &json!({})).expect(200).document();
    assert_eq!(answer["result"], "stopped");
    assert_ne!(answer["run"], json!(waiting));
    group.finish().expect(4);
}

#[test]
fn completed_run_is_neither_cancelled_nor_resumed() {
    let runner = short();
    let site = Site::start(&runner, &FOLDER);
    runner.exec(&[]).expect(1);
    site.post("/runs/latest/cancel", &json!({})).refuses(409, &["is completed"]);
    snapshot(site.post("/runs/latest/resume", &json!({})).refuses(409, &[]));
    let rerun = json!({"rerun": "failed", "dry_run": true});
    let plan = site.post("/runs/latest/resume", &rerun).expect(200).document();
    assert_eq!([&plan["pending"], &plan["trials"][0]["trial"]], [&json!(1), &json!("b@hostile#1")]);
    assert!(plan["command"].as_str().unwrap().contains("--rerun=failed"), "{plan}");
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 1);
    let answer = site.post("/runs/latest/resume", &json!({"rerun": "failed"})).expect(202);
    assert_eq!(answer.document()["id"], runner.only_run().id());
    let run = runner.only_run();
    wait_until("b ran again", || run.rows_of("b").len() == 2);
    ended(&run);
    site.post("/runs/latest/resume", &json!({"rerun": "nothing"})).refuses(422, &["nothing"]);
}

#[test]
fn trials_without_a_verdict_are_left_to_resume() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n\
         [[tests]]\nid = \"b\"\ninput = { do = \"trap\" }\n",
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!((&*run.ending()[0], run.count("error")), ("completed", 1));
    let site = Site::start(&runner, &FOLDER);
    site.post("/runs/latest/resume", &json!({})).expect(202);
    wait_until("b ran again", || run.rows_of("b").len() == 2);
    ended(&run);
}

#[test]
fn drain_and_pause_do_not_wait_for_attempts() {
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    let result = |answer: Answer| answer.document()["result"].clone();
    let paused = site.post("/runs/latest/pause", &json!({"reason": "lunch"})).expect(200);
    assert_eq!(result(paused), "paused");
    assert_eq!(result(site.post("/runs/latest/pause", &json!({})).expect(200)), "already_paused");
    assert_eq!(result(site.post("/runs/latest/unpause", &json!({})).expect(200)), "unpaused");
    let drain = site.post("/runs/latest/stop", &json!({"mode": "drain"})).expect(202);
    assert_eq!(result(drain), "stopping");
    assert_eq!(run.manifest()["status"], "running");
    assert_eq!(result(site.post("/runs/latest/stop", &json!({})).expect(200)), "stopped");
}

#[test]
fn silent_process_is_named() {
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    let process = owner(&run).unwrap();
    process.signal(Signal::STOP);
    wait_until("it is suspended", || process.is_stopped());
    let answer = site.post("/runs/latest/stop", &json!({}));
    answer.refuses(504, &["/problems/no-answer", "is suspended", &format!("-CONT {}", process.0)]);
    assert_eq!(answer.document()["holder"]["pid"], process.0);
    process.signal(Signal::CONT);
    assert_eq!(ended(&run)[..2], ["incomplete", "stopped"]);
}

#[test]
fn problems_of_a_scenario_have_places() {
    let runner = short();
    runner
        .write("bad.toml", "[[tests]]\nid = 3\ninputt = 1\n[providers.a]\nplugin = \"no.wasm\"\n");
    let site = Site::start(&runner, &FOLDER);
    for path in ["/plan", "/runs"] {
        let answer = site.post(path, &json!({"scenario": "bad.toml"}));
        answer.refuses(422, &["/problems/invalid-scenario"]);
        let problem = answer.document();
        let problems = problem["problems"].as_array().unwrap();
        let known = problems.iter().find(|one| one["message"].as_str().unwrap().contains("inputt"));
        let known = known.unwrap_or_else(|| panic!("{problem}"));
        assert!(known["file"].as_str().unwrap().ends_with("bad.toml"), "{problem}");
        assert_eq!([&known["line"], &known["column"]], [3, 1], "{problem}");
        assert!(problem["shown"].as_str().unwrap().contains("bad.toml:3:1"), "{problem}");
    }
    let none = json!({"scenario": "scenario.toml", "tests": ["zzz"]});
    snapshot(site.post("/runs", &none).refuses(422, &[]));
    let wrong = json!({"scenario": "scenario.toml", "limits": {"memory": "much"}});
    site.post("/runs", &wrong).refuses(422, &["--limit"]);
    assert!(runner.runs().is_empty());
}

#[test]
fn plan_shows_grants_secrets_and_command() {
    let runner = Runner::hostile_with(
        "[providers.hostile.grants]\nenv = { KEY = \"{{secret.NO_SUCH_KEY}}\" }",
        "[notify]\nwebhooks = [{ url = \"https://hooks.example/secret\", on = [\"cancelled\"] }]\n\
         [[tests]]\nid = \"a\"\nrepeat = 3\ninput = { do = \"echo\", value = 1 }\n",
    );
    let site = Site::start(&runner, &FOLDER);
    let body = json!({"scenario": "scenario.toml", "repeat": 2, "journal": true, "labels": {"team": "a b"}});
    let plan = site.post("/plan", &body).expect(200).document();
    assert_eq!(plan["plan"]["trials"], 2);
    assert_eq!(plan["plan"]["missing_secrets"], json!(["NO_SUCH_KEY"]));
    assert_eq!(plan["trials"], json!(["a@hostile#1", "a@hostile#2"]));
    let receivers = plan["plan"]["receivers"].to_string();
    assert!(receivers.contains("https://hooks.example"), "{receivers}");
    assert!(!receivers.contains("secret"), "{receivers}");
    let grants = plan["grants"].to_string();
    assert!(grants.contains("[providers.hostile.grants]"), "{grants}");
    let command = plan["command"].as_str().unwrap();
    let script = format!("NO_SUCH_KEY=1 exec $runner {}", &command["runner ".len()..]);
    Running::start(&mut runner.shell(&script)).finish().expect(0);
    let manifest = runner.only_run().manifest();
    assert_eq!(
        (&manifest["labels"]["team"], &manifest["metadata"]["selection"]["journal"]),
        (&"a b".into(), &true.into())
    );
}

#[test]
fn plan_lists_requests_beyond_the_grants() {
    let runner = Runner::new(&["leaky"]);
    runner.scenario(
        "[providers.it]\nplugin = \"leaky.wasm\"\n[[tests]]\nid = \"a\"\ninput = \"output\"\n",
    );
    let site = Site::start(&runner, &FOLDER);
    let plan = site.post("/plan", &json!({"scenario": "scenario.toml"})).expect(200).document();
    let missing = &plan["missing_grants"][0];
    let requests =
        json!(["net:https://api.example.com", "secret:API_KEY", "fs:ro:fixtures", "gpu:1"]);
    assert_eq!((&missing["name"], &missing["requests"]), (&json!("it"), &requests));
    assert_eq!(missing["table"][0], "[providers.it.grants]");
    assert!(missing["table"].to_string().contains("https://api.example.com"), "{missing}");
}

#[test]
fn only_scenarios_below_the_folders_are_started() {
    let runner = short();
    fs::create_dir_all(runner.path("inside/deep")).unwrap();
    fs::copy(runner.path("scenario.toml"), runner.path("inside/deep/own.toml")).unwrap();
    runner.link(&runner.path("scenario.toml"), "inside/link.toml");
    runner.link(&runner.path("hostile.wasm"), "inside/deep/hostile.wasm");
    runner.link(&runner.path("inside/deep"), "inside/near");
    let site = Site::start(&runner, &["--scenarios", "inside"]);
    let outside = runner.path("scenario.toml");
    let outside = outside.to_str().unwrap();
    for path in
        ["../scenario.toml", outside, "link.toml", "deep", "", "none.toml", "a\0b", "/dev/zero"]
    {
        let body = json!({"scenario": path});
        snapshot(site.post("/runs", &body).refuses(404, &[]));
        snapshot(site.post("/plan", &body).refuses(404, &[]));
    }
    site.post("/plan", &json!({"scenario": "near/own.toml"})).expect(200);
    site.post("/runs", &json!({"scenario": "deep/own.toml"})).expect(201);
    ended(&runner.only_run());
    let site = Site::start(&runner, &[]);
    site.post("/runs", &json!({"scenario": "scenario.toml"})).refuses(404, &["--scenarios"]);
}

/// The file of a run decides what it executes, so it is adopted only from the folders.
#[test]
fn changed_scenario_outside_is_not_adopted() {
    let runner = short();
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &[]);
    let adopt = json!({"rerun": "all", "accept_changes": true});
    snapshot(site.post("/runs/latest/resume", &adopt).refuses(422, &[]));
    snapshot(site.post("/runs/latest/rescore", &json!({"dry_run": true})).refuses(422, &[]));
    let scenario = json!({"scenario": "scenario.toml"});
    site.post("/runs/latest/rescore", &scenario).refuses(404, &["--scenarios"]);
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn rescore_previews_changes() {
    let runner = short();
    runner.exec(&[]).expect(1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    let site = Site::start(&runner, &FOLDER);
    let plan = site.post("/runs/latest/rescore", &json!({"dry_run": true})).expect(200).document();
    assert_eq!([&plan["judged"], &plan["changed"]], [1, 1], "{plan}");
    let filtered = json!({"dry_run": true, "filter": "test(a)"});
    let filtered = site.post("/runs/latest/rescore", &filtered).expect(200).document();
    assert_eq!(filtered["judged"], 0, "{filtered}");
    site.post("/runs/latest/rescore", &json!({"filter": "tset(a)"})).refuses(422, &["tset"]);
    assert_eq!(plan["outcomes"][0], json!({"before": "failed", "after": "passed", "trials": 1}));
    assert_eq!(runner.only_run().ending()[3], "failed");
    site.post("/runs/latest/rescore", &json!({"filter": "test(b)"})).expect(202);
    let run = runner.only_run();
    wait_until("it is judged again", || run.ending()[3] == "passed");
}

#[test]
fn starts_are_bounded_by_the_machine() {
    let runner = short();
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &FOLDER);
    let start = |key: &str, value: Value| {
        let mut body = json!({"scenario": "scenario.toml"});
        body[key] = value;
        site.post("/plan", &body)
    };
    start("tests", json!(vec!["a*"; 40_000])).refuses(422, &["values"]);
    start("tests", json!(["a{b,c}".repeat(20_000)])).refuses(422, &["bytes"]);
    snapshot(start("jobs", json!(4096)).refuses(422, &[]));
    for (key, value, says) in [
        ("jobs", json!(4097), "`jobs` must be a whole number from 1 to 4096"),
        ("jobs", json!(0), "`jobs` must be"),
        ("repeat", json!(1_000_001), "`repeat` must be a whole number from 1 to 1000000"),
        ("repeat", json!(1e30), "`repeat` must be"),
        ("repeat", json!(1.5), "`repeat` must be"),
        ("repeat", json!("many"), "`repeat` must be"),
        ("retries", json!(1001), "`retries` must be a whole number from 0 to 1000"),
        ("seed", json!(1_u64 << 32), "`seed` must be a whole number from 0 to 4294967295"),
        (
            "timeout_minutes",
            json!(1e9),
            "`timeout_minutes` must be a number above 0, and at most 527040",
        ),
        ("timeout_minutes", json!(0), "`timeout_minutes` must be"),
        ("fail_fast", json!(1e30), "`fail_fast` must be a number from 0 to 9007199254740992"),
        ("fail_fast", json!(-1), "`fail_fast` must be"),
    ] {
        start(key, value).refuses(400, &[says]);
    }
    for (key, value) in [("repeat", json!(1)), ("retries", json!(1000)), ("seed", json!(0))] {
        start(key, value).expect(200);
    }
    snapshot(start("priority", json!(1e30)).refuses(400, &[]));
    // Too large to be parsed.
    let resume = |body: &str| {
        let headers =
            [&*format!("Authorization: Bearer {}", site.token), "Content-Type: application/json"];
        site.send("POST", "/api/v1/runs/latest/resume", &headers, body)
    };
    snapshot(resume(r#"{"budget": {"tokens": 1e999}}"#).refuses(400, &[]));
    snapshot(resume(r#"{"budget": {"tokens": 0}}"#).refuses(400, &[]));
    start("tags", json!(["a\0b"])).refuses(422, &["U+0000"]);
    start("set", json!({"a=b": "c"})).refuses(422, &["a=b"]);
    snapshot(start("build", json!(true)).refuses(400, &[]));
    start("filter", json!("in(latest, outcome(failed))")).expect(200);
    let run = runner.only_run().dir.to_string_lossy().into_owned();
    snapshot(start("filter", json!(format!("in({run}, outcome(failed))"))).refuses(404, &[]));
    let rerun = json!({"rerun": format!("in({run}, outcome(failed))"), "dry_run": true});
    snapshot(site.post("/runs/latest/resume", &rerun).refuses(404, &[]));
    snapshot(start("tests", json!(["--build"])).refuses(422, &[]));
}

#[test]
fn repeated_starts_make_one_run() {
    let runner = short();
    let sites = [Site::start(&runner, &FOLDER), Site::start(&runner, &FOLDER)];
    let body = json!({"scenario": "scenario.toml", "request": "click-1"});
    let ask = |site: &Site| site.post("/runs", &body);
    let statuses = thread::scope(|scope| {
        let ask = &ask;
        let asked: Vec<_> =
            sites.iter().chain(&sites).map(|site| scope.spawn(move || ask(site).status)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    let run = runner.only_run();
    ended(&run);
    let again = ask(&sites[1]).expect(200).document();
    assert_eq!(again["id"], run.id());
    runner.only_run();
    let path = json!({"scenario": "scenario.toml", "request": "../x"});
    sites[0].post("/runs", &path).refuses(422, &["request"]);
}

#[test]
fn repeated_request_with_another_body_is_refused() {
    let runner = short();
    let body = json!({"scenario": "scenario.toml", "request": "click-3"});
    let others = [
        json!({"scenario": "scenario.toml", "request": "click-3", "tests": ["a"]}),
        json!({"scenario": "scenario.toml", "request": "click-3", "queue": true, "priority": 1}),
    ];
    let says = ["request click-3 was sent before, with another body", "choose another id"];
    let site = Site::start(&runner, &FOLDER);
    site.post("/runs", &body).expect(201);
    let run = runner.only_run();
    ended(&run);
    for other in &others {
        site.post("/runs", other).refuses(409, &says);
    }
    let resume = json!({"rerun": "all", "request": "click-3"});
    site.post("/runs/latest/resume", &resume).refuses(409, &says);
    drop(site);
    let site = Site::start(&runner, &FOLDER);
    for other in &others {
        site.post("/runs", other).refuses(409, &says);
    }
    assert_eq!(site.post("/runs", &body).expect(200).document()["id"], run.id());
    runner.only_run();
    // The same body for another run is another request.
    runner.exec(&[]).expect(1);
    let resume = json!({"rerun": "all", "request": "click-4"});
    site.post(&format!("/runs/{}/resume", run.id()), &resume).expect(202);
    ended(&run);
    snapshot(site.post("/runs/latest/resume", &resume).refuses(409, &[]));
}

#[test]
fn options_of_the_queue_need_it() {
    let runner = short();
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &FOLDER);
    for (key, value) in [("priority", json!(0)), ("preempt", json!(true))] {
        for (path, mut body) in [
            ("/runs", json!({"scenario": "scenario.toml"})),
            ("/plan", json!({"scenario": "scenario.toml"})),
            ("/runs/latest/resume", json!({"rerun": "all"})),
            ("/runs/latest/rescore", json!({"dry_run": true})),
        ] {
            body[key] = value.clone();
            let says = format!("`{key}` needs `queue`");
            site.post(path, &body).refuses(400, &[&says, "\\\"queue\\\": true"]);
        }
    }
    runner.only_run();
    for args in [["--priority", "1"].as_slice(), &["--preempt"]] {
        for command in [["exec", "scenario.toml"], ["resume", "latest"]] {
            runner.run(&[&command, args].concat()).expect(2).says(&["--queue"]);
        }
    }
}

#[test]
fn repeated_requests_of_the_queue_make_one_run() {
    let runner = short();
    let site = Site::start(&runner, &FOLDER);
    let body = json!({"scenario": "scenario.toml", "request": "click-2", "queue": true});
    let queued = site.post("/runs", &body).expect(202).document();
    assert_eq!(
        [&queued["queued"]["request"], &queued["queued"]["place"]],
        [&json!("click-2"), &json!(1)]
    );
    let other = json!({"scenario": "scenario.toml", "request": "click-2"});
    snapshot(site.post("/runs", &other).refuses(409, &[]));
    wait_until("it is started", || runner.runs().len() == 1);
    let run = runner.only_run();
    ended(&run);
    // The request is removed once the run exists.
    wait_until("the queue is empty", || site.get("/queue")["requests"] == json!([]));
    assert_eq!(site.post("/runs", &body).expect(200).document()["id"], run.id());
}

#[test]
fn runs_of_other_users_are_not_changed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    site.post("/runs/latest/stop", &json!({})).expect(200);
    for path in [run.dir.clone(), run.dir.join("benchmark.json")] {
        chown(path, Some(4242), None).unwrap();
    }
    let before = run.bytes("benchmark.json");
    let other = ["/problems/other-user", "belongs to uid 4242"];
    for call in ["resume", "rescore", "cancel", "pin", "unpin"] {
        site.post(&format!("/runs/latest/{call}"), &json!({})).refuses(403, &other);
    }
    site.post("/runs/latest/labels", &json!({"set": {"a": "b"}})).refuses(403, &other);
    let path = format!("/runs/{}", run.id());
    site.ask("DELETE", &path, Some(&json!({}))).refuses(403, &other);
    assert_eq!(run.bytes("benchmark.json"), before);
    site.get("/runs/latest");
}

#[test]
fn foreign_runs_are_shown_with_a_mark_and_not_changed() {
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    site.post("/runs/latest/stop", &json!({})).expect(200);
    let path = format!("/runs/{}", run.id());
    let marks = || [site.get(&path), site.get("/runs")["runs"][0].clone()];
    for page in marks() {
        assert!(
            page["foreign"].is_null() && page["actions"]["delete"]["allowed"] == true,
            "{page}"
        );
    }
    let whole = run.bytes("benchmark.json");
    let mut manifest: Value = serde_json::from_slice(&whole).unwrap();
    manifest.as_object_mut().unwrap().remove("signature");
    fs::write(run.dir.join("benchmark.json"), manifest.to_string()).unwrap();
    let before = run.bytes("benchmark.json");
    for page in marks() {
        assert!(page["foreign"].as_str().unwrap().contains("your key"), "{page}");
        for (name, action) in page["actions"].as_object().unwrap() {
            assert!(action["allowed"] == false, "{name}: {action}");
        }
    }
    let foreign = ["/problems/other-user", "your key"];
    for call in ["resume", "rescore", "stop", "cancel", "pause", "unpause", "pin", "unpin"] {
        site.post(&format!("{path}/{call}"), &json!({})).refuses(403, &foreign);
    }
    site.post(&format!("{path}/labels"), &json!({"set": {"a": "b"}})).refuses(403, &foreign);
    site.ask("DELETE", &path, Some(&json!({}))).refuses(403, &foreign);
    assert_eq!(run.bytes("benchmark.json"), before);
}

#[test]
fn pinned_and_running_runs_are_not_deleted() {
    let runner = Runner::endless(1, "sleep", "");
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let run = started(&runner, &site, 1);
    let path = format!("/runs/{}", run.id());
    let delete = || site.ask("DELETE", &path, Some(&json!({})));
    let held = delete();
    held.refuses(409, &["/problems/busy"]);
    assert_eq!(held.document()["holder"]["pid"], owner(&run).unwrap().0);
    site.post(&format!("{path}/pin"), &json!({})).refuses(409, &["/problems/busy"]);
    site.post(&format!("{path}/stop"), &json!({})).expect(200);
    let pinned = site.post(&format!("{path}/pin"), &json!({"reason": "release"})).expect(200);
    assert_eq!(pinned.document()["pinned"]["by"]["reason"], "release");
    assert_eq!(pinned.document()["changed"], true);
    delete().refuses(409, &["pinned"]);
    site.post(&format!("{path}/unpin"), &json!({})).expect(200);
    let deleted = delete().expect(200).document();
    assert_eq!(deleted["runs"][0]["run"], run.id());
    delete().refuses(404, &[run.id()]);
}

#[test]
fn labels_are_set_and_removed() {
    let runner = short();
    runner.exec(&["--label", "old=1"]).expect(1);
    let site = Site::start(&runner, &FOLDER);
    let change = json!({"set": {"team": "day"}, "remove": ["old"]});
    let answer = site.post("/runs/latest/labels", &change).expect(200).document();
    assert_eq!(
        [&answer["result"], &answer["labels"]],
        [&json!("labelled"), &json!({"team": "day"})]
    );
    let wrong = json!({"set": {"a=b": "c"}});
    site.post("/runs/latest/labels", &wrong).refuses(422, &["a=b"]);
    let long = json!({"set": {"a": "x".repeat(100_000)}});
    site.post("/runs/latest/labels", &long).refuses(422, &["labels"]);
}

#[test]
fn ambiguous_names_have_candidates() {
    let runner = short();
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &FOLDER);
    let answer = site.post("/runs/20/stop", &json!({}));
    answer.refuses(409, &["type more"]);
    assert_eq!(answer.document()["candidates"].as_array().unwrap().len(), 2);
    let run = runner.runs()[0].dir.to_string_lossy().replace('/', "%2F");
    snapshot(site.post(&format!("/runs/{run}/stop"), &json!({})).refuses(404, &[]));
    snapshot(site.post("/runs/latest/stop", &json!({"mod": "kill"})).refuses(400, &[]));
}

#[test]
fn start_takes_a_folder_and_a_number_of_tests() {
    let runner = short();
    let site = Site::start(&runner, &FOLDER);
    let _started = Started(&runner);
    let start = json!({"scenario": "scenario.toml", "first": 1, "into": "night"});
    // A second start continues the run, which has nothing left.
    for _ in 0..2 {
        let document = site.post("/runs", &start).expect(201).document();
        assert_eq!(document["id"], "night");
        assert_eq!(ended(&runner.runs()[0])[0], "completed");
        let trials = site.get("/runs/night/trials")["trials"].clone();
        assert_eq!(
            (trials.as_array().unwrap().len(), &trials[0]["outcome"]),
            (1, &json!("passed"))
        );
    }
    let mut other = start;
    other["first"] = json!(2);
    snapshot(site.post("/runs", &other).refuses(422, &[]));
    runner.write("bad.toml", "[[tests]]\nid = 3\n");
    other["scenario"] = json!("bad.toml");
    let answer = site.post("/runs", &other);
    answer.refuses(422, &["/problems/invalid-scenario"]);
    let problems = answer.document()["problems"].clone();
    assert!(problems.as_array().unwrap().iter().any(|one| one["line"] == 2), "{problems}");
    let sample = json!({"scenario": "scenario.toml", "sample": 1});
    assert_eq!(site.post("/plan", &sample).expect(200).document()["plan"]["trials"], 1);
    for (key, value, status, says) in [
        ("into", json!("../night"), 400, &["`../night`", "`into`", "without `/`"][..]),
        ("into", json!(".."), 400, &["`..`"]),
        ("into", json!(""), 400, &["`into`"]),
        ("first", json!(0), 400, &["`first`", "from 1"]),
        ("first", json!(1), 422, &["--first", "--sample"]),
    ] {
        let mut body = sample.clone();
        body[key] = value;
        site.post("/plan", &body).refuses(status, says);
    }
}

#[test]
fn id_with_parentheses_is_run_again() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"f(x)\"\ninput = { do = \"echo\", value = 1 }\n\
         [[tests]]\nid = \"b\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &FOLDER);
    let rerun = json!({"rerun": "f(x)@hostile#1", "dry_run": true});
    let plan = site.post("/runs/latest/resume", &rerun).expect(200).document();
    assert_eq!(plan["trials"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(plan["trials"][0]["trial"], "f(x)@hostile#1", "{plan}");
}
