//! Tables of results in the cache folder: in any state of the folder, each question has the same answer.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use serde_json::Value;

use super::disk::{lock, ordinary};
use crate::support::{
    http::Site,
    random::{Random, times},
    run::{Run, sealed},
    runner::{Runner, tests},
    running::{Running, finished},
};

/// Trials whose rows, of ten KiB, are long enough for a table to be kept.
const MANY: usize = 40;
const SELECT: [&str; 5] = ["exec", "scenario.toml", "--last-failed", "--dry-run", "--json"];

/// Creates a run of `count` trials that pass, and one that fails.
fn one_failed(count: usize) -> Runner {
    let runner = Runner::hostile_in_memory(&format!(
        r#"
        [[tests]]
        id = "fails"
        input = {{ do = "echo", value = 1 }}
        expect = {{ equals = 2 }}
        [[tests]]
        id = "passes"
        repeat = {count}
        input = {{ do = "echo", value = "{}" }}
        expect = {{ contains = "x" }}
        "#,
        "x".repeat(10 << 10)
    ));
    runner.exec(&["-q"]).expect(1);
    runner
}

fn cache(runner: &Runner) -> PathBuf {
    runner.path("cache")
}

fn started(runner: &Runner, args: &[&str]) -> Running {
    Running::start(runner.command(args).env("RUNNER_CACHE", cache(runner)))
}

/// Returns the kept tables.
fn tables(runner: &Runner) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache(runner)).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "table")).collect()
}

/// Sets the time of all rows back: tables of new ones are not kept.
fn make_old(runner: &Runner) {
    for run in runner.runs() {
        let rows = fs::File::options().append(true).open(run.dir.join("index.jsonl")).unwrap();
        rows.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
}

/// Asserts that these trials are selected: without, with, and with damaged tables, and with a folder that cannot be written.
fn assert_selected(runner: &Runner, trials: &[&str]) {
    let assert = |running: Running, state: &str| {
        let ran = running.finish();
        assert_eq!(ran.code, Some(if trials.is_empty() { 5 } else { 0 }), "{state}: {ran:?}");
        let plan = ran.events();
        let selected: Vec<_> = plan.iter().filter_map(|event| event["trial"].as_str()).collect();
        assert_eq!(selected, trials, "{state}");
    };
    // A plugin has to be compiled only once.
    assert(started(runner, &SELECT), "new");
    tables(runner).iter().for_each(|table| fs::remove_file(table).unwrap());
    lock(&cache(runner), true);
    let mut select = ordinary(runner, &SELECT);
    assert(Running::start(select.env("RUNNER_CACHE", cache(runner))), "read-only");
    assert_eq!(tables(runner), Vec::<PathBuf>::new());
    lock(&cache(runner), false);
    // The table of a run that has just ended is not kept.
    make_old(runner);
    assert(started(runner, &SELECT), "deleted");
    assert!(!tables(runner).is_empty(), "no table is kept");
    assert(started(runner, &SELECT), "kept");
    let mut random = Random::new();
    for table in tables(runner) {
        let mut bytes = fs::read(&table).unwrap();
        let place = random.below(bytes.len());
        bytes[place] ^= 1 << random.below(8);
        fs::write(&table, &bytes).unwrap();
        assert(started(runner, &SELECT), "changed");
        assert_ne!(
            fs::read(&table).unwrap(),
            bytes,
            "byte {place}: the damaged table was not replaced"
        );
        fs::write(&table, &bytes[..place]).unwrap();
        assert(started(runner, &SELECT), "cut");
    }
}

#[test]
fn last_failed_needs_no_kept_table() {
    let runner = one_failed(MANY);
    assert_selected(&runner, &["fails@hostile#1"]);
    // The same run judged again, and trials of it run again.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 3"));
    runner.run(&["rescore", "-q"]).expect(1);
    assert_selected(&runner, &["fails@hostile#1"]);
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["rescore", "-q"]).expect(0);
    assert_selected(&runner, &[]);
    runner.scenario(&text);
    runner.run(&["resume", "--accept-changes", "--rerun", "all", "-q"]).expect(1);
    assert_selected(&runner, &["fails@hostile#1"]);
    // A newer run passes, and goes.
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.exec(&["-q"]).expect(0);
    assert_selected(&runner, &[]);
    runner.run(&["prune", runner.runs()[1].id(), "--yes"]).expect(0);
    assert_selected(&runner, &["fails@hostile#1"]);
}

#[test]
fn killed_readers_leave_a_whole_table() {
    let runner = one_failed(times(100, 2_000));
    let mut random = Random::new();
    for _ in 0..times(15, 300) {
        tables(&runner).iter().for_each(|table| fs::remove_file(table).unwrap());
        let running = started(&runner, &SELECT);
        // The kill comes at a random moment.
        thread::sleep(random.up_to(Duration::from_millis(60)));
        running.kill();
        let ran = started(&runner, &SELECT).finish().expect(0);
        let plan = ran.events();
        let selected: Vec<_> = plan.iter().filter_map(|event| event["trial"].as_str()).collect();
        assert_eq!(selected, ["fails@hostile#1"]);
    }
}

/// Returns the counts of the only run, once its table is kept.
fn counts(runner: &Runner) -> Value {
    let show = || started(runner, &["show", "--json"]).finish().expect(0).document();
    make_old(runner);
    show();
    assert!(!tables(runner).is_empty(), "no table is kept");
    show()["run"]["counts"].clone()
}

/// Changes the outcome of a run's rows in place.
fn replace_outcome(run: &Run, from: &str, to: &str) {
    let path = run.dir.join("index.jsonl");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let text = run.text("index.jsonl");
    let line = |line: &str| sealed(&line.replace(&format!("{from:?}"), &format!("{to:?}"))) + "\n";
    fs::write(&path, text.lines().map(line).collect::<String>()).unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn kept_table_is_of_rows_whose_time_was_set_back() {
    let runner = one_failed(MANY);
    assert_eq!(counts(&runner)["failed"], 1);
    replace_outcome(&runner.only_run(), "failed", "passed");
    assert_eq!(counts(&runner)["failed"], 0);
}

#[test]
fn table_without_the_plan_is_not_kept() {
    let runner = one_failed(MANY);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("id = \"fails\"", "id = \"new\""));
    runner.run(&["resume", "--accept-changes", "-q"]).expect(1);
    let planned = counts(&runner);
    tables(&runner).iter().for_each(|table| fs::remove_file(table).unwrap());
    // As a copy of the run without the folder next to it.
    let [store, copy] = ["results/store", "store"].map(|name| runner.path(name));
    fs::rename(&store, &copy).unwrap();
    started(&runner, &["show"]).finish();
    fs::rename(&copy, &store).unwrap();
    assert_eq!(counts(&runner), planned);
}

#[test]
fn server_follows_rows_that_were_replaced() {
    let runner = one_failed(1);
    let run = runner.only_run();
    let site = Site::start(&runner, &[]);
    let failures = || site.get(&format!("/runs/{}/failures", run.id()))["trials"].clone();
    assert_eq!(failures(), 1);
    replace_outcome(&run, "failed", "skipped");
    assert_eq!(failures(), 0);
    // Another folder with the id of the run.
    let [copy, old] = ["copy", "old"].map(|name| runner.path(name));
    finished(runner.program("cp").arg("-r").args([&run.dir, &copy])).expect(0);
    fs::rename(&run.dir, old).unwrap();
    fs::rename(copy, &run.dir).unwrap();
    replace_outcome(&run, "skipped", "failed");
    assert_eq!(failures(), 1);
}

#[test]
fn failures_have_their_change_once_the_run_has_ended() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 1"));
    runner.exec(&["-q"]).expect(0);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let waits = tests("z | { do = \"wait-for-stop\" } |");
    runner.scenario(&(text.replace("equals = 1", "equals = 2") + &waits));
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    let site = Site::start(&runner, &[]);
    let change = || site.get("/runs/latest/failures")["kinds"][0]["groups"][0]["change"].clone();
    assert_eq!(change(), Value::Null);
    // Its last row is that of the answer before.
    running.kill();
    assert_eq!(change(), "new");
}
