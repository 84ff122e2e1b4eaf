//! Workers that are not trusted, workers that trust no run, and strangers at the broker.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use super::network::{
    Broker, Cable, Client, alone, canonical, join_request, numbered, start_new_worker,
    start_worker, started, used_workers, wait_for_message, worker_command,
};
use super::support::{
    guests::{command, printing},
    processes::workers,
    random::times,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::assert_whole,
    wait::wait_until,
};

/// Returns the files and folders below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| [vec![path.clone()], below(&path)].concat()).collect()
}

/// Runs a scenario that the only worker declines for this reason.
#[track_caller]
fn declined(runner: &Runner, ceiling: &[&str], secrets: &str, why: &str) {
    let broker = Broker::start();
    runner.write("worker.env", secrets);
    let args = [ceiling, &["--secret-file", "worker.env"]].concat();
    let mut command = worker_command(runner, &broker.address(), "a", &args);
    let mut worker = started(Running::start(command.env("KEY", "from the environment")));
    let running = runner.start(&["--broker", &broker.address()]);
    wait_for_message(&mut worker, "declined run");
    // The run is offered before its folder is there.
    wait_until("the log of the run has the reason", || {
        let log = runner.runs().first().map(|run| fs::read_to_string(run.dir.join("runner.log")));
        let log = log.and_then(Result::ok).unwrap_or_default();
        log.contains("runs no attempts") && log.contains(why)
    });
    running.end_by(Signal::INT).0.expect(130);
    worker.end_by(Signal::INT).0.expect(0).says(&[why]);
    // A run that is interrupted this early may leave nothing.
    assert!(runner.runs().iter().all(|run| run.rows().is_empty()));
}

/// Returns a runner whose scenario grants its provider something.
fn granting(grants: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    let tests = tests("a | { do = \"echo\", value = 1 } |");
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[providers.hostile.grants]\n{grants}\n{tests}"
    ));
    runner
}

#[test]
fn worker_without_ceiling_gives_nothing() {
    for (grants, why) in [
        ("secrets = [\"KEY\"]", "--ceiling secret=KEY"),
        ("net = [\"https://example.com\"]", "--ceiling net=https://example.com"),
        ("fs = [{ path = \".\", mount = \"/here\" }]", "--ceiling fs=/"),
    ] {
        declined(&granting(grants), &[], "KEY=from the file", why);
    }
}

#[test]
fn templates_of_variables_need_the_ceiling_too() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.scenario(
        r#"
        [providers.command]
        plugin = "command.wasm"
        args = ["env", "A"]
        [providers.command.grants]
        env = { A = "{{secret.KEY}}" }
        [[tests]]
        id = "a"
        "#,
    );
    declined(&runner, &[], "KEY=from the file", "--ceiling secret=KEY");
    runner.run(&["prune", "latest", "--yes"]).expect(0);
    declined(&runner, &["--ceiling", "secret=OTHER"], "KEY=x\nOTHER=y", "--ceiling secret=KEY");
}

#[test]
fn larger_memory_than_the_ceiling_is_declined() {
    let runner = granting("");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(
        &text.replace("[providers.hostile.grants]\n", "limits = { memory = \"512MiB\" }\n"),
    );
    let ceiling = ["--ceiling", "memory=256MiB"];
    declined(&runner, &ceiling, "", "512 MiB of memory");

    // A run that waits no longer ends with the reason.
    let broker = Broker::start();
    let _worker = start_worker(&runner, &broker.address(), "a", &ceiling);
    let flags = ["--broker", &broker.address(), "--wait-for-workers", "5s", "--into", "ended/run"];
    let ran = runner.exec(&flags).expect(4);
    ran.says(&["512 MiB of memory", "the run had no worker for 5 s (worker a runs no attempts"]);
    assert_eq!(Run { dir: runner.path("ended/run") }.ending()[1], "workers");
}

#[test]
fn larger_scratch_than_the_ceiling_is_declined() {
    for (limit, ceiling, why) in [
        ("scratch = \"2MiB\"", &["--ceiling", "scratch=1MiB"][..], "2 MiB of scratch"),
        // The largest size. No machine of these tests has twice as much.
        ("scratch = \"1024TiB\"", &["--ceiling", "all"], "`--ceiling scratch=SIZE`"),
        ("artifacts = \"1024TiB\"", &[], "of artifacts"),
    ] {
        let runner = granting("");
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        let limits = format!("limits = {{ {limit} }}\n");
        runner.scenario(&text.replace("[providers.hostile.grants]\n", &limits));
        declined(&runner, ceiling, "", why);
    }
}

#[test]
fn secrets_come_from_the_workers_own_file() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    let tests = tests("a | { do = \"secret\" } | equals = \"[secret KEY]\"");
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[providers.hostile.grants]\nsecrets = [\"KEY\"]\n{tests}"
    ));
    runner.write("worker.env", "KEY=hunter2 of the worker");
    let args = ["--ceiling", "secret=KEY", "--secret-file", "worker.env"];
    let worker = start_worker(&runner, &broker.address(), "a", &args);
    // The coordinator has no value, and needs none.
    runner.exec(&["--broker", &broker.address()]).expect(0);
    let run = assert_whole(&runner, 1);
    worker.end_by(Signal::INT).0.expect(0);
    let files = below(&run.dir).into_iter().filter(|path| path.is_file());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(7).any(|word| word == b"hunter2"), "{file:?}");
    }
}

#[test]
fn granted_folder_of_the_ceiling_is_used() {
    let runner = Runner::new(&["hostile"]);
    let broker = Broker::start();
    fs::create_dir(runner.path("data")).unwrap();
    runner.write("data/a.txt", "here");
    runner.scenario(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [providers.hostile.grants]
        fs = [{ path = "data", mount = "/data" }]
        [[tests]]
        id = "a"
        input = { do = "echo", value = 1 }
        "#,
    );
    let data = runner.path("data").canonicalize().unwrap();
    let ceiling = format!("fs={}", data.to_str().unwrap());
    let _worker = start_worker(&runner, &broker.address(), "a", &["--ceiling", &ceiling]);
    runner.exec(&["--broker", &broker.address()]).expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 1)), ["a"]);
}

#[test]
fn store_is_private_and_empty_after_each_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 20, 1);
    let address = broker.address();
    let mut worker = start_worker(&runner, &address, "a", &[]);
    runner.exec(&["--broker", &address]).expect(0);
    wait_for_message(&mut worker, "left run");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let secret = "plugin = \"hostile.wasm\"\ngrants = { secrets = [\"KEY\"] }";
    runner.scenario(&text.replace("plugin = \"hostile.wasm\"", secret));
    for number in 0..3 {
        let folder = format!("declined/{number}");
        let flags = ["--broker", &address, "--wait-for-workers", "300ms", "--into", &folder];
        runner.exec(&flags).expect(4);
    }
    let store = runner.path("store-a");
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    wait_until("the store is empty", || below(&store).iter().all(|path| path.is_dir()));
    worker.kill();
    // The next worker removes the leftovers of a killed one.
    let worker = start_worker(&runner, &address, "a", &[]);
    assert!(below(&store).iter().all(|path| path.is_dir()));
    drop(worker);
}

#[test]
fn password_is_in_no_arguments_and_files() {
    let password = "s3cr3t-of-the-broker";
    let broker = Broker::with(&format!("authorization {{ user: me, password: \"{password}\" }}"));
    let runner = Runner::new(&["hostile"]);
    // The run lasts while all processes are looked at, also on a busy machine.
    numbered(&runner, 20, 1_000);
    let address = format!("nats://me:{password}@127.0.0.1:{}", broker.port);
    let worker = start_worker(&runner, &address, "a", &[]);
    let id = runner.run(&["exec", "scenario.toml", "--broker", &address, "--detach"]).expect(0);
    let run = runner.only_run();
    wait_until("there are rows", || !run.rows().is_empty());
    let has = |bytes: &[u8]| bytes.windows(password.len()).any(|word| word == password.as_bytes());
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        // A process may end meanwhile.
        let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        assert!(!has(&line), "{}", String::from_utf8_lossy(&line));
        seen += usize::from(line.windows(7).any(|word| word == b"nats://"));
    }
    for process in workers(worker.process().0) {
        let variables = fs::read(format!("/proc/{}/environ", process.0)).unwrap_or_default();
        assert!(!has(&variables), "a process with guests has the password");
    }
    assert!(seen >= 2, "{seen}");
    let _large = start_worker(&runner, &address, "b", &["--jobs", "16"]);
    runner.run(&["wait", id.stdout.trim()]).expect(0);
    worker.end_by(Signal::INT).0.expect(0);
    let folders = ["results", "store-a", "store-b"].map(|folder| runner.path(folder));
    for file in folders.iter().flat_map(|folder| below(folder)).filter(|path| path.is_file()) {
        assert!(!has(&fs::read(&file).unwrap()), "{file:?}");
    }
    let command = run.manifest()["sessions"][0]["command"].to_string();
    assert!(command.contains("nats://127.0.0.1"), "{command}");
}

/// Lies of a worker's process, each for the test of its name.
const LIES: &[&str] = &[
    "foreign",
    "foreign-trial",
    "other-attempt",
    "unknown-outcome",
    "line-break",
    "tail-crc",
    "long-row",
    "path-artifact",
    "absolute-artifact",
    "unsent-artifact",
    "artifact-flood",
    "returned",
    "log-flood",
    "long-prefix",
    "garbage",
];

#[test]
fn lies_of_a_worker_are_not_written() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    let table: String = LIES.iter().map(|lie| format!("{lie} | 1 |\n")).collect();
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "hostile.wasm"
        config = {{ lie = "*" }}
        limits = {{ artifacts = "1MB", reply = "1MB" }}
        [[tests]]
        id = "honest"
        input = 2
        repeat = 20
        expect = {{ equals = 2 }}
        {}
        "#,
        tests(&table)
    ));
    let mut command = worker_command(&runner, &broker.address(), "a", &["-j2"]);
    let _worker = started(Running::start(command.env("RUNNER_TEST_WORKER", "__lie")));
    let mut running = runner.start(&["--broker", &broker.address()]);
    let (process, mut peak) = (running.process(), 0);
    wait_until("the run ends", || {
        peak = peak.max(process.anonymous_memory().unwrap_or(0));
        !running.is_alive()
    });
    running.finish().expect(1);
    assert!(peak < 100_000_000, "{peak}");
    let run = assert_whole(&runner, LIES.len() + 20);
    for lie in LIES {
        let row = run.row(lie);
        assert_eq!(row["error"]["class"], "crash", "{lie}: {row}");
    }
    assert_eq!(run.count("passed"), 20);
    let outside = ["x", "results/x", "../x", "/tmp/pwned-by-a-liar"];
    assert_eq!(outside.map(|path| runner.path(path).exists()), [false; 4]);
}

#[test]
fn garbage_of_a_stranger_ends_no_run() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The run lasts while the garbage is sent, also on a busy machine.
    numbered(&runner, 50, 300);
    let (address, expected) = (broker.address(), alone(&runner));
    let mut stranger = Client::connect(&broker);
    stranger.subscribe("runner.>");
    let mut worker = start_worker(&runner, &address, "a", &[]);
    let forged = json!({"v": 1, "version": "9", "token": "x", "run": "r", "session": 1});
    for (key, offer) in
        [("x", "{".to_owned()), ("y", forged.to_string()), ("z", "x".repeat(900_000))]
    {
        stranger.publish(&format!("$KV.runner-offers.{key}"), offer.as_bytes());
    }
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(5);
    let mut subjects = std::collections::BTreeSet::new();
    for _ in 0..20 {
        subjects.insert(stranger.next());
    }
    assert!(subjects.iter().any(|subject| subject.starts_with("runner.link.")), "{subjects:?}");
    for subject in subjects.iter().filter(|subject| subject.starts_with("runner.")) {
        // No piece, a piece with a wrong offset, and a receipt for content that was never sent.
        let far = [[1].as_slice(), &[0xff; 24], b"far"].concat();
        let receipt = [[0].as_slice(), &[0; 8], &[0xff; 16]].concat();
        for garbage in [b"" as &[u8], b"garbage", &[0xa5; 60_000], &far, &receipt] {
            stranger.publish(subject, garbage);
        }
    }
    // Workers that do not exist: of another version, and of this one.
    let subject = subjects.iter().find(|subject| subject.starts_with("runner.join.")).unwrap();
    for number in 0..1_500 {
        let version = if number < 1_000 { "9.9.9" } else { env!("CARGO_PKG_VERSION") };
        let session = subject.split('.').nth(2).unwrap();
        stranger.publish(subject, join_request(session, number, version).as_bytes());
    }
    let (process, mut peak) = (running.process(), 0);
    wait_until("the run ends", || {
        peak = peak.max(process.anonymous_memory().unwrap_or(0));
        !running.is_alive()
    });
    assert!(peak < 200_000_000, "{peak}");
    running.finish().expect(0);
    let run = assert_whole(&runner, 100);
    assert_eq!(canonical(&run), expected);
    let log = run.text("runner.log");
    assert!(log.len() < 1 << 20 && log.contains("its version is 9.9.9"), "{log}");
    assert!(worker.is_alive());
}

#[test]
fn other_content_of_a_plugin_is_not_executed() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    let mut worker = start_new_worker(&runner, &broker.address(), "a", "2");
    runner.wat("plugin.wasm", &printing("the plugin's own words"));
    runner.scenario("[providers.p]\nplugin = \"plugin.wasm\"\n[[tests]]\nid = \"a\"\n");
    // The coordinator stores it under the digest of the true content.
    let forgery = Some(("the plugin's own words", "words of another one.."));
    let cable = Cable::forging(&broker, forgery);
    let address = cable.address();
    let flags = ["--broker", &address, "--wait-for-workers", "2s", "--timeout", "10s"];
    let ran = runner.exec(&[&flags[..], &["--into", "lies/1"]].concat());
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
    let rows = Run { dir: runner.path("lies/1") }.rows();
    assert!(!rows.iter().any(|row| row["outcome"] == "passed"), "{rows:?}");
    assert!(worker.is_alive());
    let store = runner.path("store-a");
    wait_until("the store is empty", || below(&store).iter().all(|path| path.is_dir()));
    runner.exec(&["--broker", &broker.address()]).expect(0);
}

#[test]
fn lost_content_is_stored_again() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    // The second worker joins long before the end, also on a busy machine.
    numbered(&runner, 100, 500);
    let address = broker.address();
    let _first = start_new_worker(&runner, &address, "a", "2");
    let mut running = runner.start(&["--broker", &address]);
    running.wait_for_rows(1);
    // Removes the content of the plugins and keeps their metadata.
    let mut stranger = Client::connect(&broker);
    stranger.subscribe("_INBOX.stranger");
    let purge = br#"{"filter":"$O.runner-blobs.C.>"}"#;
    stranger.publish("$JS.API.STREAM.PURGE.OBJ_runner-blobs", purge);
    stranger.next();
    let _second = start_new_worker(&runner, &address, "b", "16");
    running.finish().expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 200)), ["a", "b"]);
}

#[test]
fn forged_entry_ends_no_worker() {
    let (runner, broker) = (Runner::new(&[]), Broker::start());
    let mut worker = start_worker(&runner, &broker.address(), "a", &[]);
    let mut stranger = Client::connect(&broker);
    let forged = json!({"v": 1, "version": "9", "name": "a", "instance": "x", "host": "elsewhere",
        "pid": 1, "since": "today", "slots": 1, "memory": 1, "labels": {}, "keys": [], "runs": []});
    stranger.publish("$KV.runner-workers.a", forged.to_string().as_bytes());
    wait_for_message(&mut worker, "another process has used the name `a`, which this worker keeps");
    let list = ["worker", "list", "--json", "--broker", &broker.address()];
    wait_until("the worker has its entry", || {
        let workers = runner.run(&list).expect(0).document()["workers"].clone();
        workers[0]["pid"] == worker.process().0
    });
    worker.end_by(Signal::INT).0.expect(0);
    runner.run(&["worker", "list", "--broker", &broker.address()]).says(&["no worker"]);
}

#[test]
fn unanswered_offers_leave_room_for_runs() {
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 10, 1);
    let _worker = start_worker(&runner, &broker.address(), "a", &[]);
    let mut stranger = Client::connect(&broker);
    // The stranger receives the requests to join, and does not answer.
    stranger.subscribe("runner.join.>");
    let mut renew = || {
        for number in 0..64 {
            let token = format!("{number:016x}");
            let offer = json!({"v": 1, "version": env!("CARGO_PKG_VERSION"), "token": token,
                "run": "r", "labels": {}, "host": "h", "is_over": false});
            let offer = json!({"document": offer.to_string(), "signature": null});
            let subject = format!("$KV.runner-offers.{token}");
            stranger.publish(&subject, offer.to_string().as_bytes());
        }
        Instant::now()
    };
    let mut renewed = renew();
    let flags = ["--broker", &broker.address(), "--wait-for-workers", "30s"];
    let mut running = runner.start(&flags);
    wait_until("the run ends", || {
        if renewed.elapsed() > Duration::from_secs(1) {
            renewed = renew();
        }
        !running.is_alive()
    });
    running.finish().expect(0);
}

#[test]
fn full_session_is_joined_once_it_has_room() {
    // 4,096 links keep a debug build busy for a minute.
    if times(0, 1) == 0 {
        return;
    }
    let (runner, broker) = (Runner::new(&["hostile"]), Broker::start());
    numbered(&runner, 10, 1);
    let address = broker.address();
    let mut stranger = Client::connect(&broker);
    stranger.subscribe("$KV.runner-offers.*");
    let running = runner.start(&["--broker", &address, "--wait-for-workers", "60s"]);
    // The first entry tests the credentials, and is removed again.
    let mut offers = std::collections::BTreeMap::<String, u32>::new();
    let token = loop {
        let token = stranger.next().rsplit('.').next().unwrap().to_owned();
        let seen = offers.entry(token.clone()).or_default();
        *seen += 1;
        if *seen == 1 && offers.len() == 2 {
            break token;
        }
    };
    let mut join = |number: u32| {
        let join = join_request(&token, number, env!("CARGO_PKG_VERSION"));
        // A user can have 1,024 processes.
        let subject = format!("runner.join.{token}.user-{}", number % 8);
        stranger.publish(&subject, join.as_bytes());
    };
    (0..4_096).for_each(&mut join);
    let mut number = 4_096;
    wait_until("the session is full", || {
        join(number);
        number += 1;
        // The log may not exist yet, because the session is offered before.
        let log = runner.runs().pop().map(|run| fs::read_to_string(run.dir.join("runner.log")));
        log.is_some_and(|log| log.is_ok_and(|log| log.contains("others wait")))
    });
    let worker = start_worker(&runner, &address, "a", &[]);
    running.finish().expect(0);
    assert_eq!(used_workers(&assert_whole(&runner, 20)), ["a"]);
    let (ran, _) = worker.end_by(Signal::INT);
    assert!(!ran.stderr.contains("declined"), "{}", ran.stderr);
}

#[test]
fn credentials_of_workers_offer_no_runs() {
    let deny = r#"permissions: { publish: { deny: ["$KV.runner-offers.>", "$O.>"] } }"#;
    let broker =
        Broker::with(&format!("authorization {{ users: [{{ user: w, password: p, {deny} }}] }}"));
    let runner = Runner::new(&["hostile"]);
    numbered(&runner, 1, 1);
    let address = format!("nats://w:p@127.0.0.1:{}", broker.port);
    let ran = runner.exec(&["--broker", &address]).expect(3);
    ran.says(&["do not allow runs", "$KV.runner-offers", "role `runs`", "runner broker check"]);
    assert!(runner.runs().is_empty());
}
