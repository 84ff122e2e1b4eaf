//! Attempts with tools that continue from their journals, and their replays.

use std::{fmt::Write as _, fs};

use crate::messages::outputs::snapshot;
use runner_model::digest;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::continuing::{Model, asked};
use crate::support::guests;
use crate::support::random::{Random, times};
use crate::support::run::{Run, sealed};
use crate::support::runner::Runner;
use crate::support::server::{Response, Server};
use crate::support::wait::wait_until;
use crate::support::web;

/// Turns of the agent. Each has two requests: one of the agent, and one of its tool.
const TURNS: usize = 10;

/// An agent that asks a server and calls a tool, which asks it, too, and writes into the workspace.
fn agent(keys: &str) -> (Runner, Model) {
    let server = Model::start(|request| Response::ok(format!("answer to {}", request.path)));
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    let url = |path: String| server.url(&path);
    let mut steps = Vec::new();
    for turn in 0..TURNS {
        steps.push(json!({ "get": url(format!("/own/{turn}")) }));
        let input = json!([
            { "get": url(format!("/tool/{turn}")) },
            { "random": true },
            { "write": format!("/work/{turn}"), "text": format!("turn {turn}") },
        ]);
        steps.push(json!({ "call": "worker", "input": input }));
    }
    let plugin = "plugin = \"contract-0-1-1-everything.wasm\"";
    let net = format!("grants.net = [\"{}\"]", server.origin());
    let mut scenario = String::new();
    let _ = write!(
        scenario,
        "[run]\njournal = true\nclock = 2020-01-01T00:00:00Z\n{keys}\n\
         [tools.worker]\n{plugin}\n{net}\n\
         [providers.agent]\n{plugin}\n{net}\ngrants.tools = [\"worker\"]\nworkspace = {{}}\n\
         [[tests]]\nid = \"a\"\ninput = {}\n\
         [tests.expect.transcript]\nmax_calls = {TURNS}\n",
        web::toml(&Value::from(steps))
    );
    runner.scenario(&scenario);
    (runner, server)
}

/// Returns the transcript of the run's only row.
fn transcript(runner: &Runner) -> Value {
    let folder = runner.path("saved");
    let _ = fs::remove_dir_all(&folder);
    runner.run(&["show", "latest", "a", "--save", "saved"]).expect(0);
    serde_json::from_slice(&fs::read(folder.join("artifacts/transcript.json")).unwrap()).unwrap()
}

#[test]
fn killed_attempt_with_tools_continues_and_is_replayed() {
    let (runner, server) = agent("");
    server.hold_from(13);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(13);
    let workers = running.workers();
    running.kill();
    workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
    server.open();
    runner.run(&["resume"]).expect(0).says(&["continuing 1 attempt"]);
    let run = runner.only_run();
    let row = run.rows().remove(0);
    assert_eq!((&row["continued"], &row["calls"]["count"]), (&json!(1), &json!(2 * TURNS)));
    assert_eq!(
        (&row["workspace"]["added"], &row["transcript"]["steps"]),
        (&json!(TURNS), &json!(TURNS))
    );
    let asked = asked(&server);
    assert_eq!(asked.len(), 2 * TURNS);
    assert!(asked.values().filter(|count| **count > 1).count() <= 1, "{asked:?}");
    let continued = transcript(&runner);

    runner.run(&["exec", "scenario.toml", "--replay", run.id()]).expect(0);
    assert_eq!(transcript(&runner)["steps"], continued["steps"]);
    let replay = runner.runs().into_iter().find(|other| other.id() != run.id()).unwrap();
    runner.run(&["compare", "--exact", run.id(), replay.id()]).expect(0);
    let repeated = ["plugin", "run", "--from", "latest", "--trial", "a", "--replay"];
    runner.run(&repeated).expect(0).says(&["passed"]);
    assert_eq!(server.requests().len(), asked.values().sum::<usize>());
    runner.run(&["verify"]).expect(0);

    runner.run(&["resume", run.id(), "--rerun", "all"]).expect(0);
    runner.run(&["exec", "scenario.toml", "--replay", run.id()]).expect(0);
    let is_equal = || {
        let compared = runner.run(&["compare", "--exact", run.id(), "latest"]).expect(0);
        compared.says(&["✓ 1 attempt is equal"]);
    };
    is_equal();
    // As older versions wrote it, which counted stopped and earlier attempts.
    let row = run.rows().pop().unwrap();
    let digests = |digest: &str| format!("artifacts/{}/{digest}", &digest[..2]);
    let old = row["transcript"]["sha256"].as_str().unwrap();
    let text = run.text(&digests(old)).replacen("#1 attempt 1\"", "#1 attempt 12\"", 1);
    let new = digest(text.as_bytes()).to_string();
    fs::create_dir_all(run.dir.join(digests(&new)).parent().unwrap()).unwrap();
    run.write(&digests(&new), &text);
    let size = |bytes: usize| format!("\"bytes\":{bytes}");
    let rows = run.text("index.jsonl").replace(old, &new);
    let rows = rows.replace(&size(text.len() - 1), &size(text.len()));
    let rows: Vec<_> = rows.lines().map(sealed).collect();
    run.write("index.jsonl", rows.join("\n") + "\n");
    is_equal();
}

/// An agent with a tool that writes numbers to a file until its time is over. Each request of the agent has the number.
fn late(run: &str, server: &Server) -> Runner {
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    runner.link(&guests::command(), "command.wasm");
    let call = |args: &[&str]| json!({ "call": "program", "input": { "args": args } });
    let get = |path: &str| json!({ "get": server.url(path), "x-key": "@/work/n" });
    let steps = json!([
        call(&["say", "fast"]),
        get("/0"),
        call(&["count", "/work/n"]),
        get("/1"),
        call(&["count-asleep", "/work/m"]),
        { "read": "/work/n" },
    ]);
    runner.scenario(&format!(
        "[run]\nclock = 2020-01-01T00:00:00Z\n{run}\n\
         [tools.program]\nplugin = \"command.wasm\"\ndescription = \"x\"\nargs = \"{{{{input.args}}}}\"\n\
         limits.time = \"700ms\"\n\
         [providers.agent]\nplugin = \"contract-0-1-1-everything.wasm\"\nworkspace = {{}}\n\
         grants = {{ net = [\"{}\"], tools = [\"program\"] }}\n\
         [[tests]]\nid = \"a\"\ninput = {}\n",
        server.origin(),
        web::toml(&steps)
    ));
    runner
}

/// Returns the numbers of calls whose end at their time is in the journal.
fn ends(run: &Run) -> Vec<Value> {
    let text = run.text("calls.jsonl");
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ends = entries.map(|line| line["entry"]["ended"]["call"].clone());
    ends.filter(|call| !call.is_null()).collect()
}

#[test]
fn late_tool_ends_at_the_same_place_in_each_session() {
    let server = Model::start(|request| Response::ok(request.path.clone()));
    let runner = late("journal = true", &server);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(1);
    let run = runner.only_run();
    let calls = run.dir.join("calls.jsonl");
    wait_until("the tool is about to write, or writes", || {
        fs::read_to_string(&calls).is_ok_and(|text| text.contains("exchange"))
    });
    let workers = running.workers();
    running.kill();
    workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
    assert_eq!(ends(&run), Vec::<Value>::new());

    server.hold_from(2);
    let running = runner.started(&["resume"]);
    let at_tool = "the agent waits after its tool";
    wait_until(at_tool, || server.requests().iter().any(|request| request.path == "/1"));
    // It is on disk before the agent has seen it.
    assert_eq!(ends(&run), [2]);
    running.workers().into_iter().for_each(|worker| worker.signal(Signal::KILL));
    server.open();
    running.finish().expect(0);
    let row = run.row("a");
    let output = &row["output"];
    assert_eq!((&output[2]["error"], &output[4]["error"]), (&json!("timeout"), &json!("timeout")));
    assert_eq!((&row["calls"]["count"], ends(&run)), (&json!(2), vec![json!(2), json!(3)]));
    let number = output[5].as_str().unwrap();
    assert!(number > "00000000", "{output:#}");
    for request in server.requests().iter().filter(|request| request.path == "/1") {
        assert_eq!(request.header("x-key"), Some(number));
    }

    runner.run(&["exec", "scenario.toml", "--replay", run.id()]).expect(0);
    let replay = runner.runs().into_iter().find(|other| other.id() != run.id()).unwrap();
    assert_eq!(ends(&replay), [2, 3]);
    let compared = runner.run(&["compare", "--exact", run.id(), replay.id()]).expect(0);
    compared.says(&["✓ 1 attempt is equal"]);
    let repeated = ["plugin", "run", "--from", run.id(), "--trial", "a", "--replay"];
    runner.run(&repeated).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn late_tool_is_data_for_a_deterministic_caller() {
    let server = Server::start(|request| Response::ok(request.path.clone()));
    let runner = late("deterministic = true", &server);
    runner.exec(&[]).expect(0);
    let output = &runner.only_run().row("a")["output"];
    let errors = [0, 2, 4].map(|call| output[call]["error"].as_str().unwrap_or("none"));
    assert_eq!(errors, ["none", "timeout", "timeout"], "{output:#}");
    assert_eq!((&output[0]["ok"]["stdout"], &output[3]), (&json!("fast"), &json!("/1")));
}

/// The journal of an agent has the requests of its tools, and each call of a tool may make `http_requests`.
#[test]
fn many_requests_of_tools_are_no_fault_of_the_worker() {
    const CALLS: usize = 30;
    let server = Server::start(|request| Response::ok(request.path.clone()));
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    let call = |number: usize| {
        let url = server.url(&format!("/{number}"));
        json!({ "call": "own", "input": { "get": url } })
    };
    let steps = web::toml(&(0..CALLS).map(call).collect());
    let plugin = "plugin = \"contract-0-1-1-everything.wasm\"";
    runner.scenario(&format!(
        "[run]\njournal = true\nin_flight = \"stop\"\n\
         [tools.own]\n{plugin}\ngrants.net = [\"{}\"]\n\
         [providers.agent]\n{plugin}\ngrants.tools = [\"own\"]\n\
         limits = {{ http_requests = 1, journal = \"1MiB\" }}\n\
         [[tests]]\nid = \"a\"\ninput = {steps}\n",
        server.origin()
    ));
    runner.exec(&[]).expect(0);
    let row = runner.only_run().rows().remove(0);
    assert_eq!((&row["attempt"], &row["calls"]["count"]), (&json!(1), &json!(CALLS)));
    assert_eq!(server.requests().len(), CALLS);
}

#[test]
fn trial_without_its_transcript_is_not_judged_again() {
    let (runner, _server) = agent("");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row = run.rows().remove(0);
    let digest = row["transcript"]["sha256"].as_str().unwrap();
    run.write(&format!("artifacts/{}/{digest}", &digest[..2]), "damaged");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("max_calls = 10", "max_calls = 9"));
    let ran = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
    snapshot(&ran);
    // The end of the agent is in the row.
    let transcript = format!("transcript]\nmax_calls = {TURNS}");
    let ended = "transcript]\nended = [\"done\", \"turns\"]";
    runner.scenario(&scenario.replace(&transcript, ended));
    let ran = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("cannot be read"), "{}", ran.stdout);
    runner.scenario(&scenario.replace("max_calls = 10", "max_calls = 9"));
    runner.run(&["resume", "--accept-changes"]).expect(1).says(&["transcript.max_calls"]);
}

#[test]
fn changed_tool_starts_its_callers_anew() {
    let (runner, server) = agent("");
    server.hold_from(7);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(7);
    running.end_by(Signal::INT).0.expect(130);
    server.open();
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(
        &scenario.replace("[tools.worker]\n", "[tools.worker]\nlimits.memory = \"32MiB\"\n"),
    );
    runner.run(&["resume", "--accept-changes"]).expect(0);
    let row = runner.only_run().rows().remove(0);
    assert_eq!(row["continued"], Value::Null);
    assert!(asked(&server)["/own/0"] == 2, "{:?}", asked(&server));
}

/// Returns the calls of an attempt, as the inputs of its tool.
fn calls(runner: &Runner, test: &str) -> Vec<Value> {
    let folder = runner.path("saved");
    let _ = fs::remove_dir_all(&folder);
    runner.run(&["show", "latest", test, "--save", "saved"]).expect(0);
    let text = fs::read(folder.join("artifacts/transcript.json")).unwrap();
    let transcript: Value = serde_json::from_slice(&text).unwrap();
    let steps = transcript["steps"].as_array().unwrap().iter();
    steps.map(|step| step["tool_calls"][0]["arguments"]["input"].clone()).collect()
}

/// `RUNNER_TESTS=full` has 32 agents with 1,000 calls each.
#[test]
fn killed_runs_double_no_call() {
    let (agents, turns) = (times(6, 32), times(40, 1000));
    let server = Server::start(|request| Response::ok(request.path.clone()));
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    let plugin = "plugin = \"contract-0-1-1-everything.wasm\"";
    let mut scenario = format!(
        "[run]\njournal = true\n[tools.own]\n{plugin}\n\
         [providers.agent]\n{plugin}\ngrants = {{ tools = [\"own\"], net = [\"{}\"] }}\n\
         limits = {{ http_requests = 2000 }}\n",
        server.origin()
    );
    for agent in 0..agents {
        let steps = (0..turns).flat_map(|turn| {
            let url = server.url(&format!("/{agent}/{turn}"));
            [json!({ "call": "own", "input": turn }), json!({ "get": url })]
        });
        let steps = web::toml(&steps.collect());
        let _ = write!(scenario, "[[tests]]\nid = \"t{agent}\"\ninput = {steps}\n");
    }
    runner.scenario(&scenario);
    let mut random = Random::new();
    let mut deaths = 0;
    loop {
        let args = if deaths == 0 { &["exec", "scenario.toml"][..] } else { &["resume"] };
        let running = runner.started(args);
        let all = agents * turns;
        let seen = server.requests().len();
        if deaths == 4 || seen + all / 8 >= all {
            running.finish().expect(0);
            break;
        }
        server.wait_for_requests(seen + 1 + random.below(all / 8));
        let workers = running.workers();
        running.kill();
        if random.below(2) == 0 {
            workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
        }
        deaths += 1;
    }
    for agent in 0..agents {
        let expected: Vec<_> = (0..turns).map(Value::from).collect();
        assert_eq!(calls(&runner, &format!("t{agent}")), expected);
    }
    assert_eq!(runner.only_run().rows().len(), agents);
}
