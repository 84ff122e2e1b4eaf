//! Runs whose attempts run on workers: their rows, their ends, and the choice of workers.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::network::{
    Broker, alone, canonical, numbered, start_new_worker, start_worker, started, used_workers,
    wait_for_message, worker_command,
};
use super::support::{
    guests::{command, programs},
    http::Site,
    processes::workers,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    server::{Response, Server},
    truth::assert_whole,
    wait::{STOP_WITHIN, wait_until},
    web,
};

#[test]
fn rows_equal_those_of_one_machine() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // Long enough that also a worker that joins late has attempts.
    numbered(&runner, 100, 200);
    let expected = alone(&runner);
    let address = broker.address();
    // Both workers have the compiled plugins. Otherwise, the first one to compile them could run all attempts.
    let machines = ["a", "b"].map(|name| start_worker(&runner, &address, name, &[]));
    runner.exec(&["--broker", &address]).expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert_eq!(used_workers(&run), ["a", "b"]);
    for machine in machines {
        machine.end_by(Signal::INT).0.expect(0).says(&["joined run", "left run"]);
    }
}

#[test]
fn known_failures_have_the_verdict_of_one_machine() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    let table = r#"
        good | { do = "echo", value = 1 } | equals = 1
        bad/1 | { do = "echo", value = 1 } | equals = 2
        bad/2 | { do = "echo", value = 1 } | equals = 2
        traps | { do = "trap" } |
    "#;
    let known =
        "[known]\nfiles = [\"known.toml\"]\n[providers.hostile]\nplugin = \"hostile.wasm\"\n";
    runner.scenario(&format!("{known}{}", tests(table)));
    let entry = |tests: &str, more: &str| {
        format!("[[failures]]\ntests = [\"{tests}\"]\nreason = \"r\"\n{more}\n")
    };
    let all = entry("bad/*", "") + &entry("traps", "outcomes = [\"error\"]");
    let _worker = start_new_worker(&runner, &broker.address(), "a", "2");
    for (list, exit) in [
        (all.clone(), 0),
        (all.clone() + &entry("good", ""), 1),
        (all.clone() + &entry("good", "flaky = true"), 0),
        (entry("*", ""), 1),
        (all + &entry("bad/2", "until = 2020-02-29"), 0),
    ] {
        runner.write("known.toml", &list);
        let verdicts = [&[][..], &["--broker", &broker.address()]].map(|more| {
            runner.exec(&[&["--into", "results/run"], more].concat()).expect(exit);
            let run = Run { dir: runner.path("results/run") };
            let manifest = run.manifest();
            fs::remove_dir_all(&run.dir).unwrap();
            (manifest["verdict"].clone(), manifest["counts"].clone())
        });
        assert_eq!(verdicts[0], verdicts[1], "{list}");
    }
}

#[test]
fn attachments_logs_and_artifacts_travel() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    runner.write("note.txt", "attached");
    let large = "x".repeat(2 << 20);
    runner.link(&command(), "command.wasm");
    let files = "matrix = { source = { files = \"note.*\" } }\nfiles = { main = \"{{matrix.source.path}}\" }";
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[providers.cat]\nplugin = \"command.wasm\"\nargs = [\"cat\"]\nstdin = {{ file = \"main\" }}\n{files}\n{}{}",
        tests(&format!(
            r#"
            picture | {{ do = "picture", name = "a.png" }} |
            log | {{ do = "flood-log", count = 3 }} |
            large | {{ do = "echo", value = "{large}" }} |
            reply | {{ do = "huge-reply", bytes = 3000000 }} |
            "#
        )),
        "[[tests]]\nid = \"files\"\ninput = { do = \"artifact\", name = \"b.txt\" }\nfiles = { \"note.txt\" = \"note.txt\" }\n"
    ));
    let expected = alone(&runner);
    let _worker = start_new_worker(&runner, &broker.address(), "a", "2");
    runner.exec(&["--broker", &broker.address()]).expect(0);
    let run = assert_whole(&runner, 10);
    assert_eq!(canonical(&run), expected);
    let outputs = run.rows().into_iter().filter(|row| row["provider"] == "cat[source=note]");
    assert!(outputs.map(|row| row["output"].clone()).eq(["attached"; 5]));
    assert!(run.text("logs.jsonl").contains("xxxxxxxxxx"));
    let opened = runner.run(&["show", "latest", "files@hostile", "--open", "b.txt"]).expect(0);
    assert_eq!(opened.stdout, "one two");
}

#[test]
fn workspaces_travel_to_two_workers() {
    let (runner, broker) = (Runner::new(&["files"]), Broker::start());
    let base = runner.path("base/src");
    fs::create_dir_all(&base).unwrap();
    for number in 0..50 {
        fs::write(base.join(number.to_string()), format!("file {number}\n")).unwrap();
    }
    let acts = json!([
        ["append", "/work/src/7", "more\n"],
        ["remove", "/work/src/8"],
        ["write", "/work/new", "new"]
    ]);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    runner.write("hidden.txt", "hidden");
    let reads = json!([
        ["read", "/work/src/7"],
        ["read", "/work/src/8"],
        ["read", "/work/new"],
        ["read", "/work/src/9"]
    ]);
    runner.scenario(&format!(
        r#"
        [defaults]
        repeat = 200
        [providers.agent]
        plugin = "files.wasm"
        workspace = {{ from = "base" }}
        [graders.look]
        plugin = "files-command.wasm"
        args = ['{reads}']
        workspace = "read"
        hidden = {{ "/work/src/9" = "hidden.txt" }}
        [[tests]]
        id = "a"
        input = {acts}
        expect = {{ graders = ["look"] }}
        "#
    ));
    let expected = alone(&runner);
    let first = start_new_worker(&runner, &broker.address(), "a", "2");
    let mut running = runner.start(&["--broker", &broker.address()]);
    running.wait_for_rows(10);
    // Otherwise, the first one to compile the plugin could run all attempts.
    first.end_by(Signal::TERM).0.expect(0);
    let _second = start_new_worker(&runner, &broker.address(), "b", "2");
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert_eq!(used_workers(&run), ["a", "b"]);
    let found =
        json!([{"ok": "file 7\nmore\n"}, {"err": "noent"}, {"ok": "new"}, {"ok": "hidden"}]);
    for row in run.rows().iter().filter(|row| row["outcome"] == "passed") {
        assert_eq!(row["grades"][0]["explanation"], found.to_string(), "{row}");
    }
    let shown = runner.run(&["show", "latest", "a@agent#200", "--diff"]).expect(0);
    for line in ["+more", "deleted file mode 100644", "+++ b/new"] {
        assert!(shown.stdout.lines().any(|one| one == line), "{}", shown.stdout);
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn agents_with_tools_lose_nothing_with_a_worker() {
    let (runner, broker) = (Runner::new(&["contract-0-1-1-everything"]), Broker::start());
    fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/a.txt", "one");
    let steps = json!([
        { "call": "writer", "input": [{ "write": "/work/a.txt", "text": "two" }, { "random": true }] },
        { "read": "/work/a.txt" },
        { "append": { "source": "agent", "message": "done" } },
        { "sleep": 20 },
    ]);
    runner.scenario(&format!(
        r#"
        [run]
        deterministic = true
        clock = 2020-01-01T00:00:00Z
        [defaults]
        repeat = 80
        [tools.writer]
        plugin = "contract-0-1-1-everything.wasm"
        [providers.agent]
        plugin = "contract-0-1-1-everything.wasm"
        workspace = {{ from = "base" }}
        grants.tools = ["writer"]
        [graders.cases]
        plugin = "bundled:cases"
        config = {{ tool = "writer" }}
        input = {{ cases = [{{ input = {{ read = "/work/a.txt" }}, output = "two" }}] }}
        workspace = "read"
        grants.tools = ["writer"]
        [[tests]]
        id = "a"
        input = {}
        expect = {{ graders = ["cases"], transcript = {{ calls = ["writer"], max_calls = 1 }} }}
        "#,
        web::toml(&steps)
    ));
    let expected = alone(&runner);
    let address = broker.address();
    let first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(5);
    // Before the other worker starts, which may take longer than all attempts.
    first.kill();
    let second = start_worker(&runner, &address, "b", &[]);
    running.finish().expect(0);
    let run = assert_whole(&runner, 80);
    // The transcript of a repeated attempt has its number.
    let rows = run.rows();
    let again: Vec<_> =
        rows.iter().filter(|row| row["attempt"] != 1).map(|row| &row["trial"]).collect();
    let first = |all: Vec<(String, Value)>| {
        all.into_iter().filter(|(trial, _)| !again.contains(&&json!(trial))).collect::<Vec<_>>()
    };
    assert_eq!(first(canonical(&run)), first(expected));
    assert_eq!(used_workers(&run), ["a", "b"]);
    let row = &rows[0];
    assert_eq!((&row["transcript"]["steps"], &row["workspace"]["changed"]), (&json!(2), &json!(1)));
    runner.run(&["verify"]).expect(0);
    drop(second);
}

#[test]
fn killed_worker_costs_no_row() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The other worker starts long before the end, also on a busy machine.
    numbered(&runner, 100, 200);
    let (address, expected) = (broker.address(), alone(&runner));
    let first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(10);
    let second = start_worker(&runner, &address, "b", &["--jobs", "16"]);
    first.kill();
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    assert_eq!(canonical(&run), expected);
    assert_eq!(used_workers(&run), ["a", "b"]);
    drop(second);
}

#[test]
fn lost_worker_is_on_the_page_of_its_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 1000, 100);
    let address = broker.address();
    let [lost, _kept] = ["lost", "kept"].map(|name| start_worker(&runner, &address, name, &[]));
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(1);
    let site = Site::start(&runner, &["--read-only"]);
    let page = || site.get("/runs/latest");
    let joined = |page: &Value, name: &str| {
        let joined = page["live"]["joined"].as_array().into_iter().flatten();
        joined.cloned().find(|one| one["worker"] == name)
    };
    let runs = |page: &Value, name: &str| {
        let mut attempts = page["live"]["in_flight"].as_array().into_iter().flatten();
        attempts.any(|attempt| attempt["worker"] == name)
    };
    wait_until("both workers run attempts", || {
        let page = page();
        ["lost", "kept"]
            .iter()
            .all(|name| joined(&page, name) == Some(json!({ "worker": name })) && runs(&page, name))
    });
    lost.kill();
    let killed = Instant::now();
    wait_until("the page has the lost worker", || {
        joined(&page(), "lost").is_some_and(|one| one["lost_at"].is_string())
    });
    // A worker that is only silent is lost after 60 s.
    assert!(killed.elapsed() < 2 * STOP_WITHIN, "{:?}", killed.elapsed());
    let page = page();
    assert!(!runs(&page, "lost") && joined(&page, "kept") == Some(json!({ "worker": "kept" })));
    wait_until("`show` has the lost worker, and the attempts of the other", || {
        let shown = runner.run(&["show"]).expect(0).stdout;
        let has = |name: &str, words: &str| {
            let mut lines = shown.lines().filter(|line| line.contains(&format!("{name}: ")));
            lines.any(|line| line.ends_with(words))
        };
        has("lost", ", lost just now") && has("kept", " in flight")
    });
    running.end_by(Signal::INT);
}

#[test]
fn run_without_workers_is_resumable() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 5, 1);
    let expected = alone(&runner);
    let flags = ["--broker", &broker.address(), "--wait-for-workers", "500ms"];
    let ran = runner.exec(&flags).expect(4);
    ran.says(&["incomplete (workers)", "runner worker --broker", "runner resume"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "workers", "", "none"]);
    let _worker = start_worker(&runner, &broker.address(), "a", &[]);
    // Without the short wait: a worker takes a while to join.
    runner.run(&[&["resume"], &flags[..2]].concat()).expect(0);
    assert_eq!(canonical(&assert_whole(&runner, 10)), expected);
}

#[test]
fn waiting_run_names_its_lack_of_workers() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 50, 500);
    let address = broker.address();
    let mut running = runner.start(&["--broker", &address]);
    let waits = || runner.run(&["show"]).stdout.contains("running (no workers): ");
    wait_until("the run waits for a worker", waits);
    let start = format!("the run has no worker; start one: runner worker --broker {address}");
    runner.run(&["show"]).says(&["0 of 100 done", &start]);
    runner.run(&["list"]).says(&["running (no workers)"]);
    let shown = runner.show(&runner.only_run());
    assert_eq!([&shown["live"]["waits_for_workers"], &shown["run"]["message"]], [&start, &start]);
    let first = start_worker(&runner, &address, "a", &[]);
    running.wait_for_rows(4);
    wait_until("the run no longer waits", || !waits());
    first.end_by(Signal::TERM).0.expect(0);
    wait_until("the run waits again", waits);
    let _second = start_worker(&runner, &address, "b", &["--jobs", "16"]);
    running.finish().expect(0);
    let run = assert_whole(&runner, 100);
    assert_eq!(used_workers(&run), ["a", "b"]);
    let (rows, shown) = (run.rows(), runner.show(&run));
    let of = |name: &str| {
        rows.iter().filter(|row| row["worker"].as_str().unwrap().starts_with(name)).count()
    };
    for worker in shown["workers"].as_array().unwrap() {
        let name = worker["worker"].as_str().unwrap();
        assert_eq!((&worker["attempts"], &worker["errors"]), (&json!(of(name)), &json!(0)));
        runner.run(&["show"]).says(&[&format!("{name}: {} attempts", of(name))]);
    }
    assert_eq!(shown["run"]["message"], Value::Null);
}

#[test]
fn run_continues_on_this_machine() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 5, 1);
    let flags = ["--broker", &broker.address(), "--wait-for-workers", "100ms"];
    runner.exec(&flags).expect(4);
    runner.run(&["resume"]).expect(0);
    let run = assert_whole(&runner, 10);
    assert!(run.rows().iter().all(|row| row.get("worker").is_none()));
}

#[test]
fn workers_without_the_label_are_not_used() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 10, 1);
    let address = broker.address();
    let _small = start_worker(&runner, &address, "small", &["--label", "gpu=no"]);
    let _plain = start_worker(&runner, &address, "plain", &[]);
    let _large =
        start_worker(&runner, &address, "large", &["--label", "gpu=yes", "--label", "zone=a"]);
    let label = ["--broker", &address, "--worker-label"];
    runner.exec(&[&label[..], &["gpu=yes"]].concat()).expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 20)), ["large"]);
    let other = ["gpu=maybe", "--wait-for-workers", "300ms", "--into", "other/run"];
    runner.exec(&[&label[..], &other].concat()).expect(4);
}

#[test]
fn stop_and_cancel_interrupt_attempts_elsewhere() {
    for (command, code, ending) in [
        ("stop", 4, ["incomplete", "stopped", "", "none"]),
        ("cancel", 4, ["cancelled", "cancelled", "", "none"]),
    ] {
        let (runner, broker) = (Runner::endless(4, "loop", ""), Broker::start());
        let worker = start_worker(&runner, &broker.address(), "a", &[]);
        let mut running = runner.start(&["--broker", &broker.address()]);
        running.wait_until_running(&runner, 2);
        runner.run(&[command]).expect(0);
        running.finish().expect(code);
        assert_eq!(runner.only_run().ending(), ending);
        let (ran, took) = worker.end_by(Signal::TERM);
        ran.expect(0);
        assert!(took < STOP_WITHIN, "{took:?}");
    }
}

#[test]
fn paused_run_starts_no_attempt_elsewhere() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The run is paused long before its end, also on a busy machine.
    numbered(&runner, 100, 200);
    let _worker = start_worker(&runner, &broker.address(), "a", &[]);
    let mut running = runner.start(&["--broker", &broker.address()]);
    running.wait_for_rows(5);
    runner.run(&["pause"]).expect(0);
    let rows = || runner.only_run().rows().len();
    // Attempts in flight stand still, too.
    let mut before = rows();
    wait_until("the rows stand still", || {
        // No process reports that nothing happens: rows stand still for a time.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = rows();
        std::mem::replace(&mut before, now) == now
    });
    assert!(before < 200, "{before}");
    runner.run(&["unpause"]).expect(0);
    let _large = start_worker(&runner, &broker.address(), "b", &["--jobs", "16"]);
    running.finish().expect(0);
    assert_whole(&runner, 200);
}

#[test]
fn stopped_worker_gives_back_what_has_not_started() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The other worker starts long before the end, also on a busy machine.
    numbered(&runner, 50, 500);
    let address = broker.address();
    let first = start_worker(&runner, &address, "a", &[]);
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(4);
    let _second = start_worker(&runner, &address, "b", &["--jobs", "16"]);
    first.end_by(Signal::TERM).0.expect(0);
    running.finish().expect(0);
    let run = assert_whole(&runner, 100);
    // Running attempts were finished, and no attempt was lost.
    assert!(run.rows().iter().all(|row| row["final"] == true), "{:?}", run.rows());
    assert_eq!(used_workers(&run), ["a", "b"]);
}

#[test]
fn second_signal_kills_the_attempts_of_a_worker() {
    let (runner, broker) = (Runner::endless(2, "loop", ""), Broker::start());
    let mut worker = start_worker(&runner, &broker.address(), "a", &[]);
    let mut running = runner.start(&["--broker", &broker.address()]);
    running.wait_until_running(&runner, 2);
    let process = worker.process();
    process.signal(Signal::INT);
    wait_for_message(&mut worker, "again");
    assert!(worker.is_alive());
    let (_, took) = worker.end_by(Signal::INT);
    assert!(took < STOP_WITHIN, "{took:?}");
    wait_until("the processes of the worker have ended", || workers(process.0).is_empty());
    running.end_by(Signal::INT);
}

/// The test `a` kills its worker.
const DEADLY: &str = r#"
    [providers.p]
    plugin = "hostile.wasm"
    config = { lie = "kill", test = "a" }
    [[tests]]
    id = "a"
    input = 1
    [[tests]]
    id = "b"
    input = 2
    repeat = 20
    expect = { equals = 2 }
"#;

#[test]
fn suspect_of_a_death_runs_alone_elsewhere() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    runner.scenario(DEADLY);
    let mut command = worker_command(&runner, &broker.address(), "a", &["-j2"]);
    let _worker = started(Running::start(command.env("RUNNER_TEST_WORKER", "__lie")));
    runner.exec(&["--broker", &broker.address()]).expect(1);
    let run = assert_whole(&runner, 21);
    let row = run.row("a");
    assert_eq!((&row["outcome"], &row["error"]["class"]), (&json!("error"), &json!("crash")));
    assert_eq!(run.count("passed"), 20);
    assert!(run.rows_of("a").len() <= 4, "made again and again");
    runner.run(&["show"]).says(&[&format!("a: {} attempts, 1 error", run.rows().len())]);
}

#[test]
fn graders_judge_on_the_machine_of_the_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    runner.scenario(
        r#"
        [providers.echo]
        plugin = "bundled:echo"
        [graders.judge]
        plugin = "bundled:echo"
        input = { verdict = "pass", score = 0.5, explanation = "like {{output}}" }
        [graders.secret]
        plugin = "hostile.wasm"
        grants = { secrets = ["KEY"] }
        input = { do = "measure", score = 1, tokens = 5 }
        min_score = 0.5
        [[tests]]
        id = "graded"
        repeat = 20
        input = "words"
        expect = { graders = ["judge", "secret"] }
        "#,
    );
    runner.write("key.env", "KEY=hunter2-of-the-run");
    let run = |args: &[&str]| {
        runner.exec(&[&["--secret-file", "key.env"], args].concat()).expect(0);
    };
    run(&["--into", "alone/run"]);
    let expected = canonical(&Run { dir: runner.path("alone/run") });
    // The worker has no ceiling, and needs none for graders.
    let _worker = start_worker(&runner, &broker.address(), "a", &[]);
    run(&["--broker", &broker.address()]);
    assert_eq!(canonical(&assert_whole(&runner, 20)), expected);
    runner.run(&["show"]).says(&["a: 20 attempts"]);
}

#[test]
fn replay_on_several_workers_is_equal() {
    let server = Server::start(|request| {
        // A delay of the server itself.
        thread::sleep(Duration::from_millis(5));
        Response::ok(format!("answer to {}", request.path))
    });
    let agents: Vec<_> = (0..12)
        .map(|agent| {
            vec![json!({ "by": "agent", "url": server.url(&format!("/{agent}")), "size": 10 })]
        })
        .collect();
    let runner = web::scenario("", &web::net(&[&server.origin()]), &agents);
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("[run]\njournal = true\n{scenario}"));
    let broker = Broker::start();
    let address = broker.address();
    let ceiling = format!("net={}", server.origin());
    let _workers =
        ["a", "b"].map(|name| start_worker(&runner, &address, name, &["--ceiling", &ceiling]));
    runner.exec(&["--broker", &address]).expect(0);
    let first = assert_whole(&runner, 12);
    let replay = |args: &[&str]| {
        runner.exec(&[&["--replay", first.id()], args].concat()).expect(0);
        let replay = runner.runs().pop().unwrap();
        runner.run(&["compare", "--exact", first.id(), replay.id()]).expect(0);
        replay
    };
    // A replay is short, and a worker that joins late has no attempt.
    wait_until("both workers replay", || {
        used_workers(&replay(&["--broker", &address])) == ["a", "b"]
    });
    replay(&["-j", "2"]);
    assert_eq!(server.requests().len(), 120);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn concurrency_holds_for_all_workers() {
    for (keys, flags) in [("concurrency = 1", &[][..]), ("", &["--jobs", "1"])] {
        let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
        runner.scenario(&format!(
            "[providers.hostile]\nplugin = \"hostile.wasm\"\n{keys}\n[[tests]]\nid = \"a\"\nrepeat = 20\ninput = {{ do = \"sleep\", ms = 20 }}\n"
        ));
        let address = broker.address();
        let _workers = ["a", "b"].map(|name| start_worker(&runner, &address, name, &[]));
        runner.exec(&[&["--broker", &address], flags].concat()).expect(0);
        let mut spans: Vec<_> = assert_whole(&runner, 20).rows().iter().map(span).collect();
        spans.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        // Times of rows have whole milliseconds.
        let overlaps = spans.windows(2).any(|pair| pair[1].0 + 2.0 < pair[0].1);
        assert!(!overlaps, "{spans:?}");
    }
}

/// Returns start and end of an attempt, in milliseconds of its hour.
fn span(row: &Value) -> (f64, f64) {
    let started = row["started_at"].as_str().unwrap();
    let (minutes, seconds) = (&started[14..16], &started[17..23]);
    let start = minutes.parse::<f64>().unwrap() * 60_000.0 + seconds.parse::<f64>().unwrap() * 1e3;
    (start, start + row["duration_ms"].as_f64().unwrap())
}
