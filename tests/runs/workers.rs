//! Attempts in processes of their own: the same rows, and what ends one of these does not end the run.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    processes::{Worker, wait_for_workers, workers},
    runner::{CommandExt as _, Run, Runner, Running, Signal, tests},
    spans::{most_at_once, spans},
    truth::{canonical, every_kind, whole_rows},
    wait::wait_until,
};

/// Within which workers are gone whose runner was killed.
const ORPHANS: Duration = Duration::from_secs(2);

/// The bound of a stop; a debug build on a shared machine gets more than the second of the design.
const STOP: Duration = Duration::from_secs(5);

/// Trials that last so long, in milliseconds.
fn naps(count: usize, ms: u64) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[defaults]\ntimeout = \"10m\"\n[[tests]]\nid = \"nap\"\nrepeat = {count}\ninput = {{ do = \"sleep\", ms = {ms} }}\n"
    ))
}

fn spinning(count: usize) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[defaults]\ntimeout = \"10m\"\n[[tests]]\nid = \"spin\"\nrepeat = {count}\ninput = {{ do = \"loop\" }}\n"
    ))
}

/// What there is of each trial: how many final rows, and all rows that are `lost`.
#[track_caller]
fn assert_each_has_one_final_row(run: &Run, trials: usize) {
    let mut finals = BTreeMap::<u64, u32>::new();
    for row in whole_rows(run) {
        let is_final = u32::from(row["final"] == true);
        *finals.entry(row["ordinal"].as_u64().unwrap()).or_default() += is_final;
    }
    assert_eq!(finals.len(), trials);
    assert!(finals.values().all(|count| *count == 1), "{finals:?}");
}

fn lost(run: &Run) -> usize {
    let rows = whole_rows(run);
    let lost = rows.iter().filter(|row| row["error"]["code"] == "lost");
    lost.count()
}

/// The ordinals of what is being executed by the first session.
fn in_flight(run: &Run) -> HashSet<u64> {
    let bytes = fs_err::read(run.dir.join("inflight")).unwrap_or_default();
    let slots = bytes.chunks_exact(16);
    slots
        .filter(|slot| slot[12..] == 1_u32.to_le_bytes())
        .map(|slot| u64::from_le_bytes(slot[..8].try_into().unwrap()))
        .collect()
}

#[track_caller]
fn assert_gone(workers: &[Worker], within: Duration) {
    let began = Instant::now();
    wait_until("the workers are gone", || {
        !workers.iter().any(|worker| worker.is_alive())
    });
    assert!(began.elapsed() < within, "{:?}", began.elapsed());
}

/// A run with two workers that have something to do which takes long.
fn busy(runner: &Runner) -> (Running, Vec<Worker>) {
    let mut live = runner.start(&["-j2", "--workers", "2"]);
    live.wait_until_running(2);
    let workers = wait_for_workers(live.id(), 2);
    (live, workers)
}

/// A run with two workers, the first row of which is there.
fn begun(runner: &Runner) -> (Running, Vec<Worker>) {
    let mut live = runner.start(&["-j2", "--workers", "2"]);
    let workers = wait_for_workers(live.id(), 2);
    live.wait_for(|event| event["event"] == "row");
    (live, workers)
}

#[test]
fn rows_are_the_same_in_whatever_process_attempts_are_made() {
    let rows = ["0", "1", "2"].map(|count| {
        let runner = every_kind();
        runner.exec(&["-j2", "--workers", count]).expect(1);
        runner.run(&["verify", "latest"]).expect(0);
        let run = runner.only_run();
        let log = run.read("runner.log");
        let started = log.matches("makes attempts").count();
        assert_eq!(started.to_string(), count, "{log}");
        canonical(&run)
    });
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0], rows[2]);
}

#[test]
fn large_artifacts_logs_and_streams_come_from_workers_whole() {
    let list = tests(
        r#"
        files | { do = "flood-artifacts", count = 40, bytes = 100000 } |
        log | { do = "flood-log", count = 50, bytes = 1000 } |
        stderr | { do = "flood-stderr", count = 50 } |
        stdout | { do = "flood-stdout", count = 50 } |
        huge | { do = "huge-reply", bytes = 900000 } |
        "#,
    );
    let rows = ["0", "2"].map(|count| {
        let runner = Runner::hostile(&list);
        runner.exec(&["-j2", "--workers", count]).expect(0);
        runner.run(&["verify", "latest"]).expect(0);
        let run = runner.only_run();
        let first = run.row("files")["artifacts"][0].clone();
        assert_eq!(first["bytes"], 100_000, "{first}");
        canonical(&run)
    });
    assert_eq!(rows[0], rows[1]);
}

#[test]
fn a_worker_that_is_killed_costs_its_attempts_and_not_the_run() {
    let runner = naps(60, 50);
    let (mut live, first) = begun(&runner);
    for _ in 0..2 {
        live.wait_for(|event| event["event"] == "row");
        workers(live.id())[0].signal(Signal::KILL);
    }
    let ran = live.finish().expect(0);
    ran.says(&["worker process", "signal: 9"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    assert_each_has_one_final_row(&run, 60);
    assert!((1..=2).contains(&lost(&run)), "{}", lost(&run));
    runner.run(&["verify", "latest"]).expect(0);
    assert_gone(&first, STOP);
}

#[test]
fn a_worker_that_is_stopped_is_noticed_and_what_it_has_is_made_elsewhere() {
    let runner = naps(60, 50);
    let (mut live, first) = begun(&runner);
    live.wait_for(|event| event["event"] == "row");
    first[0].signal(Signal::STOP);
    let ran = live.finish().expect(0);
    ran.says(&["worker process", "has said nothing for 10s", "signal: 9"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    assert_each_has_one_final_row(&run, 60);
    assert_eq!(lost(&run), 1);
    // A second one took its place.
    let log = run.read("runner.log");
    assert_eq!(log.matches("makes attempts").count(), 3, "{log}");
    runner.run(&["verify", "latest"]).expect(0);
    assert_gone(&first, STOP);
}

#[test]
fn a_run_ends_well_whose_workers_are_killed_all_the_time() {
    let runner = naps(40, 40);
    let mut live = runner.start(&["-j2", "--workers", "2"]);
    let mut killed = 0;
    while live.is_alive() && killed < 20 {
        for worker in workers(live.id()) {
            worker.signal(Signal::KILL);
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let code = live.finish().code;
    let run = runner.only_run();
    assert_each_has_one_final_row(&run, 40);
    // Whoever was there at six deaths is the culprit as far as anybody can tell.
    assert!(code == Some(0) || code == Some(1), "{code:?}");
    assert_eq!(run.manifest()["status"], "completed");
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn a_trial_that_kills_its_workers_is_poison_and_the_run_goes_on() {
    let list = tests(
        r#"
        killer | { do = "sleep" } |
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "sleep", ms = 30 } |
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    );
    let runner = Runner::hostile_in_memory(&format!("[defaults]\ntimeout = \"10m\"\n{list}"));
    let mut live = runner.start(&["-j1", "--workers", "1"]);
    for _ in 0..6 {
        live.wait_while_alive(
            "its killer was executed",
            || matches!(runner.runs().as_slice(), [run] if in_flight(run).contains(&0)),
        );
        let [worker] = workers(live.id())[..] else {
            panic!("there is one worker");
        };
        worker.signal(Signal::KILL);
        wait_until("its note is taken", || {
            !worker.is_alive() && !in_flight(&runner.only_run()).contains(&0) || !live.is_alive()
        });
    }
    live.finish().expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_each_has_one_final_row(&run, 4);
    assert_eq!(lost(&run), 6);
    let row = run.row("killer");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("poison"))
    );
    for test in ["a", "b", "c"] {
        assert_eq!(run.row(test)["outcome"], "passed");
    }
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn no_worker_outlives_a_runner_that_is_killed_and_none_holds_its_lock() {
    let runner = spinning(4);
    let (live, workers) = busy(&runner);
    for worker in &workers {
        let files = worker.open_files();
        let is_lock = |path: &&std::path::PathBuf| path.ends_with("lock");
        assert_eq!(files.iter().find(is_lock), None, "{files:?}");
    }
    let run = runner.only_run();
    assert_eq!(in_flight(&run).len(), 2);
    live.kill();
    let killed = Instant::now();
    let mut live = runner
        .command(&["resume", "--from", "latest", "--json", "--workers", "2"])
        .start();
    assert_gone(&workers, ORPHANS.saturating_sub(killed.elapsed()));
    live.wait_until_running(2);
    live.end_by(Signal::INT).0.expect(130);
    let deaths = run.manifest()["sessions"][0]["in_flight"].clone();
    assert_eq!(deaths.as_array().unwrap().len(), 2, "{deaths}");
}

#[test]
fn guests_that_spin_in_workers_are_stopped_in_time() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let runner = spinning(20);
        let (live, workers) = busy(&runner);
        let (ran, took) = live.end_by(signal);
        ran.expect(code);
        assert!(took < STOP, "{took:?}");
        assert_gone(&workers, STOP);
        let rows = runner.only_run().rows();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows.iter().all(|row| row["outcome"] == "stopped"));
        assert!(
            rows.iter().all(|row| row["error"]["code"] == "stopped"),
            "{rows:?}"
        );
    }
}

#[test]
fn what_a_worker_does_may_be_drained_and_what_it_had_not_begun_is_left() {
    let runner = naps(20, 400);
    let (live, workers) = begun(&runner);
    runner.run(&["stop", "latest", "--drain"]);
    live.finish();
    assert_gone(&workers, STOP);
    let rows = runner.only_run().rows();
    assert!((2..20).contains(&rows.len()), "{rows:?}");
    assert!(
        rows.iter().all(|row| row["outcome"] == "passed"),
        "{rows:?}"
    );
    runner.run(&["resume", "--from", "latest"]).expect(0);
    assert_each_has_one_final_row(&runner.only_run(), 20);
}

#[test]
fn signals_that_are_the_runners_to_answer_end_no_worker() {
    let runner = naps(40, 50);
    let (mut live, workers) = begun(&runner);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        workers.iter().for_each(|worker| worker.signal(signal));
        live.wait_for(|event| event["event"] == "row");
    }
    live.finish().expect(0);
    assert_eq!(lost(&runner.only_run()), 0);
}

#[test]
fn secrets_reach_workers_by_nothing_that_others_can_see() {
    const SECRET: &str = "correct-horse-battery-staple";
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [providers.hostile.grants]
        secrets = ["KEY"]
        [defaults]
        timeout = "10m"
        [[tests]]
        id = "secret"
        input = { do = "secret" }
        [[tests]]
        id = "sleeps"
        input = { do = "sleep", ms = 3000 }
        "#,
    );
    let args = ["exec", "scenario.toml", "--json", "-j2", "--workers", "2"];
    let mut live = runner.command(&args).env("KEY", SECRET).start();
    let workers = wait_for_workers(live.id(), 2);
    live.wait_for(|event| event["event"] == "row");
    for worker in workers {
        for file in ["environ", "cmdline"] {
            let shown = worker.shown(file);
            assert!(!shown.contains(SECRET) && !shown.contains("KEY"), "{shown}");
        }
    }
    let ran = live.finish().expect(0);
    assert!(!ran.stdout.contains(SECRET), "{}", ran.stdout);
    let run = runner.only_run();
    assert!(!run.read("index.jsonl").contains(SECRET));
    let output = &run.row("secret")["output"];
    assert!(output.as_str().unwrap().contains("KEY"), "{output}");
}

#[test]
fn kept_instances_are_as_many_in_workers_and_their_teardown_is_heard() {
    let runner = Runner::new(&["counter"]);
    runner.scenario(
        "[providers.counter]\nplugin = \"counter.wasm\"\nreuse = \"instance\"\nconfig = { teardown = \"\" }\n\
         [[tests]]\nid = \"a\"\nrepeat = 20\ninput = {}\n",
    );
    runner.exec(&["-j2", "--workers", "2"]).expect(0);
    let run = runner.only_run();
    let instances: HashSet<_> = run
        .rows()
        .iter()
        .map(|row| row["output"]["instance"].to_string())
        .collect();
    assert!((1..=2).contains(&instances.len()), "{instances:?}");
    let log = run.read("runner.log");
    let teardowns = log
        .matches("teardown of provider `counter`: info: ")
        .count();
    assert_eq!(teardowns, instances.len(), "{log}");
}

#[test]
fn a_run_gets_workers_when_it_has_enough_to_do_and_not_before() {
    let few = naps(3, 1);
    few.exec(&["-j2"]).expect(0);
    assert!(!few.only_run().read("runner.log").contains("makes attempts"));

    let many = naps(200, 20);
    let mut live = many.start(&["-j2"]);
    let cores = std::thread::available_parallelism().unwrap().get().min(2);
    if cores > 1 {
        wait_for_workers(live.id(), cores);
    }
    live.wait_for(|event| event["event"] == "row");
    live.finish().expect(0);
    let run = many.only_run();
    assert_each_has_one_final_row(&run, 200);
    assert_eq!((lost(&run), run.rows().len()), (0, 200));
    assert!(most_at_once(&spans(&run.rows())) <= 2);

    // Who wants none has none.
    let own = naps(60, 20);
    let mut live = own.start(&["-j2", "--workers", "0"]);
    while live.next_event(|event| event["event"] == "row").is_some() {
        assert_eq!(workers(live.id()), []);
    }
    live.finish().expect(0);
}
