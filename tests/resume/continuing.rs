//! Attempts that continue from their journals, with real guests and servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{collections::BTreeMap, ops::Deref, path::Path, sync::Arc, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    random::{Random, times},
    run::{Run, sealed},
    runner::Runner,
    running::Finished,
    server::{Request, Response, Server},
    wait::wait_until,
    web,
};

/// Steps of an agent.
pub(super) const STEPS: usize = 40;

/// A server that can hold its answers, so that no attempt ends before the test interrupts it.
pub(super) struct Model {
    server: Server,
    /// Number of the first request that has to wait.
    held: Arc<AtomicUsize>,
}

impl Model {
    pub(super) fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let (held, count) = (Arc::new(AtomicUsize::new(usize::MAX)), AtomicUsize::new(0));
        let first = Arc::clone(&held);
        let server = Server::start(move |request| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            wait_until("the test lets the server answer", || number < first.load(Ordering::SeqCst));
            answer(request)
        });
        Self { server, held }
    }

    /// Answers no request from this number on, counted from 1.
    pub(super) fn hold_from(&self, number: usize) {
        self.held.store(number, Ordering::SeqCst);
    }

    /// Answers all requests.
    pub(super) fn open(&self) {
        self.hold_from(usize::MAX);
    }
}

impl Deref for Model {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // Ends the threads of requests that wait.
        self.open();
    }
}

/// A server whose answer is a function of the request.
pub(super) fn model(pause: Duration) -> Model {
    Model::start(move |request| {
        // A delay of the server itself.
        thread::sleep(pause);
        Response::ok(format!("answer to {} of {} bytes", request.path, request.body.len()))
    })
}

/// An agent by each interface at once, on a server, with further keys of `[run]`.
pub(super) fn agent(server: &Server, keys: &str) -> Runner {
    let request = json!({ "by": "agent", "url": server.url(""), "size": STEPS });
    let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![request]]);
    with_run(&runner, keys);
    runner
}

/// Adds `[run]` with a journal to the scenario.
pub(super) fn with_run(runner: &Runner, keys: &str) {
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let run = format!("[run]\njournal = true\nclock = 2020-01-01T00:00:00Z\n{keys}\n");
    runner.scenario(&(run + &scenario));
}

/// Returns how often each path was requested.
pub(super) fn asked(server: &Server) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in server.requests() {
        *asked.entry(request.path).or_default() += 1;
    }
    asked
}

/// Returns the exchanges in the journal.
fn exchanges(run: &Run) -> usize {
    run.text("calls.jsonl").matches("{\"exchange\":").count()
}

/// Runs the agent without interruption in another folder, and compares its results.
#[track_caller]
fn assert_as_undisturbed(runner: &Runner, server: &Server) {
    let other = agent(server, "");
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    other.scenario(&scenario);
    other.exec(&[]).expect(0);
    let path = |run: &Run| run.dir.to_str().unwrap().to_owned();
    let runs = [path(&other.only_run()), path(&runner.only_run())];
    runner.run(&["compare", "--exact", &runs[0], &runs[1]]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn killed_agent_continues_and_pays_once() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    server.hold_from(30);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(30);
    let workers = running.workers();
    running.kill();
    workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
    server.open();
    let run = runner.only_run();
    let before = exchanges(&run);
    assert!((28..=31).contains(&before), "{before}");
    assert_eq!(run.text("index.jsonl"), "");

    let resumed = runner.run(&["resume"]).expect(0);
    resumed.says(&[&format!("continuing 1 attempt: {before} calls are in the journal")]);
    let rows = run.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["continued"], &rows[0]["attempt"]), (&json!(1), &json!(1)));
    assert_eq!(rows[0]["calls"]["count"], STEPS);
    let asked = asked(&server);
    assert_eq!(asked.len(), STEPS);
    let twice: Vec<_> = asked.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.len() <= 1 && asked.values().all(|count| *count <= 2), "{twice:?}");
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn continued_attempt_makes_the_same_changes_from_its_base() {
    let server = model(Duration::ZERO);
    let request = json!({ "by": "agent", "url": server.url(""), "size": STEPS });
    let keys = "workspace = { from = \"base\" }";
    let runner = web::scenario(keys, &web::net(&[&server.origin()]), &[vec![request]]);
    with_run(&runner, "");
    std::fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/log", "of the base\n");
    server.hold_from(20);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(20);
    running.end_by(Signal::INT).0.expect(130);
    server.open();
    // The run has a copy of the base.
    std::fs::remove_dir_all(runner.path("base")).unwrap();
    runner.run(&["resume"]).expect(0).says(&["continuing 1 attempt"]);
    let row = runner.only_run().rows().remove(0);
    assert_eq!((&row["continued"], &row["workspace"]["changed"]), (&json!(1), &json!(1)), "{row}");
    let shown = runner.run(&["show", "latest", "t0", "--diff"]).expect(0);
    let added: Vec<_> = shown.stdout.lines().filter(|line| line.contains(": answer to ")).collect();
    assert_eq!(added.len(), STEPS, "{}", shown.stdout);
    assert!(shown.stdout.contains("\n of the base\n+1: answer to"), "{}", shown.stdout);
    std::fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/log", "of the base\n");
    runner.exec(&["--into", "results/undisturbed"]).expect(0);
    let undisturbed = runner.runs().into_iter().find(|run| run.id() == "undisturbed").unwrap();
    assert_eq!(undisturbed.rows()[0]["workspace"], row["workspace"]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn stopped_agent_continues_in_the_next_session() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    for (args, requests) in [(&["exec", "scenario.toml"][..], 10), (&["resume"], 20)] {
        server.hold_from(requests);
        let running = runner.started(args);
        server.wait_for_requests(requests);
        running.end_by(Signal::INT).0.expect(130);
        assert_eq!(runner.only_run().text("index.jsonl"), "");
    }
    server.open();
    runner.run(&["resume"]).expect(0);
    assert_eq!(runner.only_run().rows()[0]["continued"], 2);
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn lost_worker_continues_in_the_same_session() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    server.hold_from(10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    for worker in running.workers() {
        worker.signal(Signal::KILL);
    }
    server.open();
    running.finish().expect(0);
    let rows = runner.only_run().rows();
    assert_eq!((rows.len(), &rows[0]["continued"]), (1, &json!(1)));
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn agent_whose_plugin_has_changed_starts_anew() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    // An empty custom section.
    let plugin = std::fs::read(runner.path("web.wasm")).unwrap();
    std::fs::remove_file(runner.path("web.wasm")).unwrap();
    runner.write("web.wasm", [&plugin[..], &[0, 2, 1, b'x']].concat());
    let resumed = runner.run(&["resume", "--accept-changes"]).expect(0);
    let starts = "1 attempt starts anew (`t0@web#1`): the journal cannot be used, because ";
    resumed.says(&[&format!("{starts}its test or provider has changed")]);
    let rows = runner.only_run().rows();
    assert_eq!((rows.len(), &rows[0]["continued"]), (1, &Value::Null));
    assert_eq!(
        (&rows[0]["outcome"], &rows[0]["calls"]["count"]),
        (&json!("passed"), &json!(STEPS))
    );
    assert!((STEPS + 9..=STEPS + 10).contains(&server.requests().len()));
    runner.run(&["verify"]).expect(0);
}

/// The disk is full before the line of a response, or within it.
#[cfg(debug_assertions)]
#[test]
fn agent_continues_after_a_full_disk() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    let mut args = &["exec", "scenario.toml"][..];
    for fault in ["calls-write:full:12", "calls-write:partial:9"] {
        let mut command = runner.command(args);
        command.env("RUNNER_FAULT", fault);
        let ended = crate::support::running::Running::start(&mut command).finish();
        assert!(![0, 1].contains(&ended.code.unwrap()), "{fault}: {}", ended.stderr);
        assert_eq!(runner.only_run().text("index.jsonl"), "");
        args = &["resume", "latest"];
    }
    runner.run(args).expect(0).says(&["continuing 1 attempt: "]);
    let row = runner.only_run().row("t0");
    assert_eq!((&row["attempt"], &row["continued"]), (&json!(1), &json!(2)));
    // One response at each end was not on disk.
    assert!((STEPS..=STEPS + 2).contains(&server.requests().len()));
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn interruptions_without_a_new_response_are_counted() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    server.hold_from(10);
    let kill = |args: &[&str], starts: usize| {
        let running = runner.started(args);
        if starts == 1 {
            server.wait_for_requests(10);
        }
        wait_until("the guest has started", || {
            let run = runner.runs().into_iter().next();
            run.is_some_and(|run| run.text("calls.jsonl").matches("{\"start\":").count() == starts)
        });
        let workers = running.workers();
        running.kill();
        workers.into_iter().for_each(|worker| worker.signal(Signal::KILL));
    };
    kill(&["exec", "scenario.toml"], 1);
    let before = exchanges(&runner.only_run());
    kill(&["resume", "latest"], 2);
    kill(&["resume", "latest"], 3);
    assert!(exchanges(&runner.only_run()) <= before + 1);
    server.open();
    runner.run(&["resume"]).expect(0);
    assert_eq!(runner.only_run().rows()[0]["continued"], 3);
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn killed_at_random_an_agent_pays_once_but_for_the_last_request() {
    let server = model(Duration::from_millis(5));
    let (steps, most) = (times(STEPS, 200), times(5, 50));
    let request = json!({ "by": "agent", "url": server.url(""), "size": steps });
    let limits = "[providers.web.limits]\nhttp_requests = 300";
    let runner = web::scenario(limits, &web::net(&[&server.origin()]), &[vec![request]]);
    with_run(&runner, "");
    let mut random = Random::new();
    let mut deaths = 0;
    loop {
        let args: &[&str] = if runner.runs().is_empty() {
            &["exec", "scenario.toml"]
        } else {
            &["resume", "latest"]
        };
        let (before, is_last) = (server.requests().len(), deaths >= most);
        // The attempt cannot end before its last session, however late the kills are.
        server.hold_from(if is_last { usize::MAX } else { before + steps / most });
        let mut running = runner.started(args);
        if is_last {
            running.finish().expect(0);
            break;
        }
        // Not earlier than the guest runs, or nothing would be interrupted.
        wait_until("a request arrives", || !running.is_alive() || server.requests().len() > before);
        // The kill comes at a random moment.
        thread::sleep(random.up_to(Duration::from_millis(30)));
        let workers = running.workers();
        let kill_workers = || workers.iter().for_each(|worker| worker.signal(Signal::KILL));
        match random.below(4) {
            0 => drop(running.kill()),
            1 => {
                running.kill();
                kill_workers();
            }
            2 => {
                kill_workers();
                running.kill();
            }
            // A session continues an attempt after the first death of its worker, and not after the second one.
            _ => {
                kill_workers();
                deaths += 1;
                let before = server.requests().len();
                let has_more = || server.requests().len() > before;
                wait_until("another request arrives", || !running.is_alive() || has_more());
                running.kill();
            }
        }
        if runner.runs().first().is_some_and(|run| !run.text("index.jsonl").is_empty()) {
            break;
        }
        deaths += 1;
    }
    let asked = asked(&server);
    let extra: usize = asked.values().map(|count| count - 1).sum();
    assert_eq!(asked.len(), steps);
    assert!(deaths >= most / 2, "{deaths} deaths until the end");
    assert!(extra <= deaths + 1, "{extra} requests twice after {deaths} deaths");
    assert_as_undisturbed(&runner, &server);
}

#[test]
fn racing_requests_and_sleeps_are_seen_in_the_same_order() {
    let server = Model::start(|request| {
        let pause = u64::from(request.path.bytes().map(u32::from).sum::<u32>() % 17);
        // A delay of the server itself, so that answers race.
        thread::sleep(Duration::from_millis(pause));
        Response::ok("raced")
    });
    let request = json!({ "by": "race", "url": server.url(""), "size": 45, "timeout": 5 });
    let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![request]]);
    with_run(&runner, "");
    server.hold_from(50);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(50);
    running.kill();
    server.open();
    let run = runner.only_run();
    let before = run.text("calls.jsonl");
    runner.run(&["resume"]).expect(0);
    // What the guest had seen is still there, in its order, and the guest has not noticed.
    assert!(run.text("calls.jsonl").starts_with(before.rsplit_once('\n').unwrap().0));
    let row = run.row("t0");
    assert_eq!((&row["continued"], &row["calls"]["count"]), (&json!(1), &json!(90)));
    // A replay of what was seen before and after the death is equal, too.
    runner.exec(&["--replay", run.id()]).expect(0);
    let replay = runner.runs().into_iter().find(|other| other.id() != run.id()).unwrap();
    runner.run(&["compare", "--exact", run.id(), replay.id()]).expect(0);
    runner.run(&["verify"]).expect(0);
}

/// Drops are kept like responses: no later guest sends the request again, and each sees the same.
#[test]
fn dropped_requests_are_not_sent_again() {
    // About half of the answers come later than the guest waits. These times are long enough for a slow machine.
    let server = Server::start(|request| {
        let pause = u64::from(request.path.bytes().map(u32::from).sum::<u32>() % 17);
        // A delay of the server itself, which the guest does not always wait for.
        thread::sleep(Duration::from_millis(18 * pause));
        Response::ok("answer")
    });
    let request = json!({ "by": "drop", "url": server.url(""), "size": 60, "timeout": 150 });
    let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![request]]);
    with_run(&runner, "");
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(30);
    running.kill();
    let run = runner.only_run();
    let dropped = || run.text("calls.jsonl").matches("the guest dropped the request").count();
    let calls = run.text("calls.jsonl");
    let drops = calls.lines().filter(|line| line.contains("the guest dropped the request"));
    let paths: Vec<_> = drops
        .map(|line| line.split_once(&server.origin()).unwrap().1.split_once('"').unwrap().0)
        .collect();
    assert!(!paths.is_empty(), "{calls}");
    runner.run(&["resume"]).expect(0);
    let row = run.row("t0");
    assert_eq!(row["continued"], 1);
    // On a slow machine the guest drops some before they are sent.
    let count = row["calls"]["count"].as_u64().unwrap();
    assert!((30..=60).contains(&count), "{count}");
    let steps = row["output"][0]["steps"].as_array().unwrap();
    // Some responses were complete when they were dropped.
    assert!(steps.iter().filter(|status| status.is_null()).count() >= dropped());
    // Others may have been sent twice: at the death they were in flight, or on their way to the disk.
    let sent = asked(&server);
    let again: Vec<_> = paths.iter().filter(|path| sent.get(**path) > Some(&1)).collect();
    assert!(again.is_empty(), "{again:?} in {sent:?}");
    let requests = server.requests().len();
    runner.exec(&["--replay", run.id()]).expect(0);
    let replay = runner.runs().into_iter().find(|other| other.id() != run.id()).unwrap();
    runner.run(&["compare", "--exact", run.id(), replay.id()]).expect(0);
    runner.run(&["verify"]).expect(0);
    assert_eq!(server.requests().len(), requests);
}

/// Interrupts an agent at its tenth request, which has no answer.
#[track_caller]
pub(super) fn interrupt(runner: &Runner, server: &Model) -> Finished {
    server.hold_from(10);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    let ended = running.end_by(Signal::INT).0;
    server.open();
    ended
}

#[test]
fn request_in_flight_is_not_sent_again_if_it_must_not_be() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "in_flight = \"stop\"");
    // No retry sends it, whatever it is for.
    let retried = "[defaults]\nretries = { max = 2, backoff = \"1ms\", on = [\"internal\"] }\n";
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(scenario + retried));
    interrupt(&runner, &server);
    runner.run(&["resume"]).expect(1);
    let row = runner.only_run().row("t0");
    assert_eq!(
        (&row["outcome"], &row["error"]["code"]),
        (&json!("error"), &json!("interrupted-call"))
    );
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains("request 10, `POST ") && message.contains("/10`"), "{message}");
    assert!(asked(&server).values().all(|count| *count == 1));
}

#[test]
fn nothing_is_sent_again_with_a_void_journal_if_it_must_not_be() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "in_flight = \"stop\"");
    interrupt(&runner, &server);
    let run = runner.only_run();
    run.write("calls.jsonl", run.text("calls.jsonl").replacen("answer", "Answer", 1));
    let resumed = runner.run(&["resume"]).expect(1);
    let ends = "1 attempt ends with an error (`t0@web#1`): the journal cannot be used, because ";
    resumed.says(&[ends]);
    assert!(!resumed.stderr.contains("continuing"), "{}", resumed.stderr);
    let error = &run.row("t0")["error"];
    assert_eq!(error["code"], "interrupted-call");
    assert!(error["message"].as_str().unwrap().contains("of calls.jsonl is damaged"), "{error}");
    assert!(asked(&server).values().all(|count| *count == 1));
}

#[test]
fn lost_calls_are_reported() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "in_flight = \"stop\"");
    interrupt(&runner, &server);
    let run = runner.only_run();
    let (calls, path) = (run.text("calls.jsonl"), run.dir.join("calls.jsonl"));
    let lost = "calls.jsonl has lost the calls of session 1";
    for is_removed in [true, false] {
        if is_removed {
            std::fs::remove_file(&path).unwrap();
        } else {
            run.write("calls.jsonl", "");
        }
        let resumed = runner.run(&["resume"]).expect(2);
        snapshot(&resumed);
        resumed.says(&[lost]);
        assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);
        runner.run(&["verify"]).expect(1).says(&["it has lost the calls of session 1"]);
        run.write("calls.jsonl", &calls);
        runner.run(&["verify"]).expect(0);
    }
    let before = asked(&server);
    assert!(before.values().all(|count| *count == 1));
    run.write("calls.jsonl", "");
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("\"stop\"", "\"send-again\""));
    let resumed = runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    resumed.says(&[lost, "start anew", "paid again"]);
    assert_eq!(asked(&server).values().filter(|count| **count == 2).count(), before.len());
    runner.run(&["verify"]).expect(1).says(&["it has lost the calls of session 1"]);
}

/// A line that was never on disk is not reported as lost, and no request is sent before the manifest has that there are lines.
#[cfg(debug_assertions)]
#[test]
fn first_line_is_lost_only_if_it_was_written() {
    for fault in ["calls-write:kill:1", "calls-write:partial:1", "manifest-write:kill:2"] {
        let server = model(Duration::ZERO);
        let runner = agent(&server, "in_flight = \"stop\"");
        let mut command = runner.command(&["exec", "scenario.toml"]);
        command.env("RUNNER_FAULT", fault);
        crate::support::running::Running::start(&mut command).finish();
        assert_eq!(server.requests().len(), 0, "{fault}");
        runner.run(&["verify"]).expect(0);
        // The last one may have had its request in a line.
        let code = runner.run(&["resume", "latest"]).code;
        assert!(code == Some(0) || code == Some(1) && fault.starts_with("manifest"), "{fault}");
        assert!(asked(&server).values().all(|count| *count == 1));
    }
}

/// Without `stop`, no line says that a request was sent.
#[test]
fn requests_of_another_rule_are_not_sent_again() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("[run]\n", "[run]\nin_flight = \"stop\"\n"));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    let error = &runner.only_run().row("t0")["error"];
    assert_eq!(error["code"], "interrupted-call");
    assert!(error["message"].as_str().unwrap().contains("`in_flight = \"send-again\"`"), "{error}");
    assert!(asked(&server).values().all(|count| *count == 1));
}

#[test]
fn attempts_whose_journal_was_given_up_start_anew_with_a_message() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("journal = true", "deterministic = true"));
    let resumed = runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    resumed.says(&["1 attempt starts anew (`t0@web#1`)", "the scenario has no `journal` any more"]);
}

#[test]
fn guest_that_does_something_else_starts_anew() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    let run = runner.only_run();
    let calls = run.text("calls.jsonl");
    let changed = calls.lines().map(|line| match line.contains("\"number\":5,") {
        true => sealed(&line.replace("\\\"step\\\":5", "\\\"step\\\":6")) + "\n",
        false => format!("{line}\n"),
    });
    run.write("calls.jsonl", changed.collect::<String>());
    runner.run(&["resume"]).expect(0);
    let rows = run.rows();
    let [diverged, passed] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(
        (&diverged["outcome"], &diverged["error"]["code"]),
        (&json!("stopped"), &json!("diverged"))
    );
    let message = diverged["error"]["message"].as_str().unwrap();
    assert!(message.contains("the body of request 5 differs"), "{message}");
    assert_eq!((&passed["outcome"], &passed["attempt"]), (&json!("passed"), &json!(2)));
    assert_eq!((&passed["continued"], &passed["calls"]["count"]), (&Value::Null, &json!(STEPS)));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn journal_of_another_compiler_continues_nothing() {
    let server = model(Duration::ZERO);
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    let run = runner.only_run();
    let calls = run.text("calls.jsonl");
    let (start, others) = calls.split_once('\n').unwrap();
    let key = regex::Regex::new("\"compile_key\":\"[0-9a-f]+\"").unwrap();
    let start = sealed(&key.replace(start, "\"compile_key\":\"0123456789abcdef\""));
    run.write("calls.jsonl", format!("{start}\n{others}"));
    runner.run(&["resume"]).expect(0);
    let rows = run.rows();
    let [diverged, passed] = &rows[..] else { panic!("{rows:?}") };
    let error = &diverged["error"];
    assert_eq!((&diverged["outcome"], &error["code"]), (&json!("stopped"), &json!("diverged")));
    assert!(error["message"].as_str().unwrap().contains("another kind of machine"), "{error}");
    assert_eq!((&passed["outcome"], &passed["attempt"]), (&json!("passed"), &json!(2)));
    assert_eq!((&passed["continued"], &passed["calls"]["count"]), (&Value::Null, &json!(STEPS)));
}

/// Another program has changed a time, with a right checksum.
#[test]
fn impossible_times_continue_and_replay_nothing() {
    const MOST: u64 = u64::MAX;
    let server = || model(Duration::ZERO);
    for (key, time) in
        [("took_us", MOST), ("took_us", 900_000_000), ("used_us", MOST), ("at_ns", MOST)]
    {
        let server = server();
        let runner = agent(&server, "");
        interrupt(&runner, &server);
        let run = runner.only_run();
        set_times(&run, key, |_| time);
        let resumed = runner.run(&["resume"]).expect(0);
        resumed.says(&[
            "1 attempt starts anew",
            "line 2 of calls.jsonl has a call with an impossible time",
        ]);
        assert_eq!(run.rows()[0]["continued"], Value::Null);
        set_times(&run, key, |_| time);
        runner.exec(&["--replay", run.id()]).expect(1);
        let replay = runner.runs().pop().unwrap();
        let error = &replay.row("t0")["error"];
        assert_eq!(error["class"], "replay");
        assert!(error["message"].as_str().unwrap().contains("an impossible time"), "{error}");
    }
    // Times that go back change nothing that the guest sees, or are a difference.
    let server = server();
    let runner = agent(&server, "");
    interrupt(&runner, &server);
    let run = runner.only_run();
    set_times(&run, "at_ns", |number| 1_000_000_000 - number);
    runner
        .run(&["resume"])
        .expect(0)
        .says(&["starts anew: the attempt cannot continue", "differs"]);
    let rows = run.rows();
    assert_eq!(
        (&rows[0]["error"]["code"], &rows[1]["outcome"]),
        (&json!("diverged"), &json!("passed"))
    );
    runner.run(&["verify"]).expect(0);
}

/// Replaces a time of each exchange by a function of its number.
fn set_times(run: &Run, key: &str, time: impl Fn(u64) -> u64) {
    let pattern = regex::Regex::new(&format!("\"{key}\":[0-9]+")).unwrap();
    let number = regex::Regex::new("\"number\":([0-9]+)").unwrap();
    let calls = run.text("calls.jsonl");
    let changed = calls.lines().map(|line| {
        let changed = number.captures(line).map(|number| {
            let time = format!("\"{key}\":{}", time(number[1].parse().unwrap()));
            sealed(&pattern.replace(line, time))
        });
        changed.unwrap_or_else(|| line.to_owned()) + "\n"
    });
    run.write("calls.jsonl", changed.collect::<String>());
}

#[test]
fn journal_has_a_limit() {
    for way in ["agent", "race"] {
        let server = Server::start(|_| Response::ok("x".repeat(50_000)));
        let request = json!({ "by": way, "url": server.url(""), "size": 40, "timeout": 5 });
        let keys = "[providers.web.limits]\njournal = \"1MiB\"";
        let runner = web::scenario(keys, &web::net(&[&server.origin()]), &[vec![request]]);
        with_run(&runner, "");
        runner.exec(&[]).expect(1);
        let error = &runner.only_run().row("t0")["error"];
        assert_eq!((&error["class"], &error["code"]), (&json!("limit"), &json!("journal")));
        let requests = server.requests().len();
        assert!((18..=40).contains(&requests), "{requests}");
    }
}

#[test]
fn secrets_are_in_no_journal() {
    const SECRET: &str = "correct-horse-battery-staple";
    let server = Model::start(|request| {
        let seen = request.header("authorization").unwrap_or_default().to_owned();
        Response::ok(format!("you sent {seen}"))
    });
    server.hold_from(10);
    let request = json!({
        "by": "agent", "url": server.url(""), "size": STEPS,
        "headers": [["authorization", "Bearer {{secret.KEY}}"]],
    });
    let origin = server.origin();
    let grants = format!("{}\nsecrets = [\"KEY\"]", web::net(&[&origin]));
    let runner = web::scenario("", &grants, &[vec![request]]);
    with_run(&runner, "");
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("KEY", SECRET);
    let running = crate::support::running::Running::start(&mut command);
    server.wait_for_requests(10);
    running.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    assert!(server.requests()[0].header("authorization").unwrap().contains(SECRET));
    let calls = run.text("calls.jsonl");
    assert!(calls.contains("Bearer {{secret.KEY}}") && !calls.contains(SECRET), "{calls}");
    assert!(!contains(&run.dir, SECRET));
}

#[test]
fn another_value_of_a_secret_voids_nothing() {
    let server = model(Duration::ZERO);
    let request = json!({
        "by": "agent", "url": server.url(""), "size": STEPS,
        "headers": [["authorization", "Bearer {{secret.KEY}}"]],
    });
    let grants = format!("{}\nsecrets = [\"KEY\"]", web::net(&[&server.origin()]));
    let runner = web::scenario("", &grants, &[vec![request]]);
    with_run(&runner, "");
    let start = |args: &[&str], value: &str| {
        crate::support::running::Running::start(runner.command(args).env("KEY", value))
    };
    server.hold_from(10);
    let running = start(&["exec", "scenario.toml"], "correct-horse-battery-staple");
    server.wait_for_requests(10);
    running.end_by(Signal::INT).0.expect(130);
    server.open();
    let resumed = start(&["resume"], "another-horse-battery-staple").finish().expect(0);
    resumed.says(&["continuing 1 attempt: "]);
    assert_eq!(runner.only_run().row("t0")["continued"], 1);
    let last = server.requests().pop().unwrap();
    assert!(last.header("authorization").unwrap().contains("another-horse"), "{last:?}");
}

/// Returns whether a file below a folder contains a text.
fn contains(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}
