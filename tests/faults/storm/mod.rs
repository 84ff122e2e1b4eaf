//! Everybody at once: eight readers and writers of every command on one results root, while runs are executed, killed,
//! stopped and gone on with.
//!
//! A few seconds of it are part of every run of the tests. `RUNNER_STORM_SECONDS=600 cargo test --test all -- storm` goes
//! on for ten minutes; `RUNNER_TEST_SEED` draws the same lots again, though not the same moments.

#![expect(clippy::print_stderr, reason = "what the storm did is worth knowing")]

mod aftermath;
mod fate;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::fate::{Done, Fate, any_fate, befall, quick_fate};
use crate::support::{
    random::{Random, seed},
    rows::{expanded, row_texts},
    runner::{CommandExt as _, Runner},
    truth::acknowledged,
};

const ACTORS: u64 = 8;
/// For how long there is a storm where nobody says so.
const SECONDS: u64 = 8;
/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Words that nobody may read who has done nothing but use the commands beside each other.
const NEVER_SAID: [&str; 8] = [
    "panicked",
    "RUST_BACKTRACE",
    "os error",
    "No such file",
    "database is locked",
    "cannot be read",
    "bug",
    "internal",
];

/// What works on runs.
const WORK: [&str; 12] = [
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2 --into results/chosen",
    "exec scenario.toml --json -j 2 --into results/picked",
    "resume --from RUN --json",
    "resume --from RUN --json",
    "resume --from RUN --json --force",
    "resume --from RUN --json --rerun failed",
    "resume --from RUN --json --rerun naps@p#1*",
    "resume --from RUN --json --accept-changes",
    "resume --from latest --json",
];

/// What asks, looks and tidies up beside it.
const BESIDE: [&str; 31] = [
    "exec scenario.toml -j 2 --detach",
    "exec scenario.toml --dry-run",
    "resume --from RUN --dry-run",
    "resume --from RUN --explain",
    "stop RUN",
    "stop RUN --json",
    "stop RUN --drain",
    "stop RUN --kill",
    "cancel RUN",
    "cancel RUN --json",
    "list",
    "list --json",
    "list --status incomplete",
    "show RUN",
    "show RUN --json",
    "show RUN --history",
    "show RUN --failed",
    "logs RUN",
    "logs RUN --json",
    "logs RUN -f --json",
    "wait RUN",
    "wait RUN --json",
    "verify RUN",
    "verify RUN --json",
    "cleanup",
    "cleanup --no-dry-run --json",
    "prune --no-dry-run --keep-last 8",
    "prune --no-dry-run RUN --json",
    "reindex",
    "pin RUN",
    "unpin RUN",
];

/// Says that it was called on standard error, and then does what its argument says: `nap`, `trap`, or nothing.
const PLUGIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "\60\00\00\00\06\00\00\00")
    (data (i32.const 96) "called")
    (data (i32.const 1616) "\01")
    (func (export "_start")
        (local $what i32)
        (drop (call $args_get (i32.const 1024) (i32.const 4096)))
        (drop (call $write (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 72)))
        (local.set $what (i32.load (i32.load (i32.const 1028))))
        (if (i32.eq (local.get $what) (i32.const 0x0070616e)) (then
            (i64.store (i32.const 1624) (i64.const 40000000))
            (drop (call $poll (i32.const 1600) (i32.const 1664) (i32.const 1) (i32.const 8)))))
        (if (i32.eq (local.get $what) (i32.const 0x70617274)) (then (unreachable)))))"#;

const SCENARIO: &str = r#"
name = "storm"
run.poison_after = 0
defaults.retries = { max = 1, on = ["trap"] }

[providers.p]
plugin = "plugin.wasm"
args = ["{{input}}"]
limits = { scratch = "64KiB" }

[[tests]]
id = "naps"
repeat = 16
input = "nap"

[[tests]]
id = "passes"
repeat = 4
input = "no"
expect = { equals = "" }

[[tests]]
id = "fails"
input = "no"
expect = { equals = "yes" }

[[tests]]
id = "traps"
input = "trap"
"#;

struct Storm {
    runner: Runner,
    until: Instant,
    /// A completed run that is pinned and that nobody touches.
    treasure: String,
    /// The rows that somebody was told of, by run.
    told: Mutex<HashMap<String, HashSet<String>>>,
    findings: Mutex<Vec<String>>,
    /// How often each command came to which exit code.
    met: Mutex<BTreeMap<(String, Option<i32>), u32>>,
}

impl Storm {
    fn new(seconds: u64) -> Self {
        let runner = Runner::in_memory();
        runner.wat("plugin.wasm", PLUGIN);
        runner.scenario(SCENARIO);
        fs_err::create_dir(runner.path("tmp")).unwrap();
        let mut storm = Self {
            runner,
            until: Instant::now() + Duration::from_secs(seconds),
            treasure: String::new(),
            told: Mutex::default(),
            findings: Mutex::default(),
            met: Mutex::default(),
        };
        storm.run(&["exec", "scenario.toml"], Fate::Ends);
        storm.treasure = storm.runner.only_run().id().to_owned();
        let id = storm.treasure.clone();
        storm.run(&["pin", &id, "--reason", "a treasure"], Fate::Ends);
        storm
    }

    fn find(&self, finding: String) {
        self.findings.lock().unwrap().push(finding);
    }

    /// Runs a command to its end, or to the end that is its fate, and looks at how it ended.
    fn run(&self, args: &[&str], fate: Fate) -> Done {
        let mut command = self.runner.command(args);
        command
            .env("TMPDIR", self.runner.path("tmp"))
            .env("RUNNER_CACHE", self.runner.path("cache"));
        let began = Instant::now();
        let live = command.start();
        befall(&live, fate);
        let (ran, signal) = live.wait();
        let done = Done {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            fate,
            ran,
            signal,
        };
        if began.elapsed() > PATIENCE {
            self.find(format!("it hung: {done}"));
        }
        *self
            .met
            .lock()
            .unwrap()
            .entry((args[0].to_owned(), done.ran.code))
            .or_default() += 1;
        self.judge(&done);
        self.remember(&done);
        done
    }

    /// Finds exit codes that are not in the table, and words that are about nothing.
    fn judge(&self, done: &Done) {
        if !done.may_exit() {
            self.find(format!("an odd end: {done}"));
        }
        let said = format!(
            "{}{}",
            done.ran.stderr,
            if done.is_json() { "" } else { &done.ran.stdout }
        );
        if let Some(word) = NEVER_SAID.iter().find(|word| said.contains(**word)) {
            self.find(format!("it said `{word}`: {done}"));
        }
        if !done.may_warn() && done.ran.stderr.contains("warning:") {
            self.find(format!("it warned: {done}"));
        }
    }

    /// Keeps the rows that were told of, all of which are on disk by then.
    fn remember(&self, done: &Done) {
        if !done.is_json() || !matches!(done.args[0].as_str(), "exec" | "resume") {
            return;
        }
        let first = done.ran.stdout.lines().next();
        let started: Value = first
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_default();
        let Some(run) = started["run"].as_str() else {
            return;
        };
        let rows = acknowledged(&done.ran.stdout);
        self.look_for_rows(run, &rows);
        let mut told = self.told.lock().unwrap();
        told.entry(run.to_owned()).or_default().extend(rows);
    }

    /// Finds rows that are lost; those of a run that is gone altogether were pruned, perhaps before another one was born in
    /// the same place.
    fn look_for_rows(&self, run: &str, rows: &HashSet<String>) {
        let read = |name| fs_err::read(self.dir(run).join(name)).ok();
        let (Some(manifest), Some(index)) = (read("benchmark.json"), read("index.jsonl")) else {
            return;
        };
        let born = time(&serde_json::from_slice(&manifest).unwrap(), "created_at");
        let there = row_texts(&index);
        let is_lost = |row: &&String| {
            let is_its_own = time(&serde_json::from_str(row).unwrap(), "started_at") >= born;
            is_its_own && !there.contains(*row)
        };
        if let Some(row) = rows.iter().find(is_lost) {
            self.find(format!("a row of {run} is lost: {row}"));
        }
    }

    fn dir(&self, run: &str) -> PathBuf {
        self.runner.path("results").join(run)
    }

    /// A run that may be touched, by one of the names that it has.
    fn target(&self, random: &mut Random) -> String {
        let runs = self.runner.runs();
        let ids: Vec<_> = runs
            .iter()
            .map(|run| run.id())
            .filter(|id| *id != self.treasure)
            .collect();
        if ids.is_empty() {
            return "none".to_owned();
        }
        let id = *random.one_of(&ids);
        match random.below(3) {
            0 => id[id.len() - id.len().min(8)..].to_owned(),
            1 => format!("results/{id}"),
            _ => id.to_owned(),
        }
    }

    /// Does one thing.
    fn act(&self, random: &mut Random) {
        let (commands, fate) = match random.below(5) {
            0 | 1 => (&WORK[..], any_fate(random)),
            _ => (&BESIDE[..], quick_fate(random)),
        };
        let target = self.target(random);
        let args: Vec<_> = random
            .one_of(commands)
            .split(' ')
            .map(|word| if word == "RUN" { target.as_str() } else { word })
            .collect();
        self.run(&args, fate);
        if random.below(6) == 0 {
            self.look();
        }
    }

    /// Looks at what must hold at any moment.
    fn look(&self) {
        let before: HashMap<_, _> = self
            .runner
            .runs()
            .iter()
            .filter_map(|run| {
                let manifest = fs_err::read(run.dir.join("benchmark.json")).ok()?;
                is_free(&run.dir).then(|| (run.id().to_owned(), manifest))
            })
            .collect();
        let ran = self.run(&["list", "--json"], Fate::Ends).ran;
        let listed: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        for shown in listed["runs"].as_array().into_iter().flatten() {
            let id = shown["run"].as_str().unwrap();
            let Some(manifest) = before.get(id).filter(|_| shown["status"] == "running") else {
                continue;
            };
            // Nobody has worked on it before, nobody does now, and nobody has meanwhile.
            let now = fs_err::read(self.dir(id).join("benchmark.json")).ok();
            if now.as_ref() == Some(manifest) && is_free(&self.dir(id)) {
                self.find(format!("it is said to be running and is not: {shown}"));
            }
        }
        for run in self.runner.runs() {
            self.look_at(run.id());
        }
    }

    /// Looks at one run, which may be gone at any time.
    fn look_at(&self, run: &str) {
        let read = |name| fs_err::read(self.dir(run).join(name)).ok();
        let manifest =
            read("benchmark.json").and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let (Some(manifest), Some(index)) = (manifest, read("index.jsonl")) else {
            return;
        };
        let rows = index
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let rows: Vec<Value> = rows.map(expanded).collect();
        let finals: HashSet<_> = rows
            .iter()
            .filter(|row| row["final"] == true)
            .map(|row| row["trial"].to_string())
            .collect();
        let planned = manifest["metadata"]["planned_test_count"].as_u64().unwrap();
        if manifest["status"] == "completed" && finals.len() as u64 != planned {
            self.find(format!(
                "{run} is completed with {} results of {planned}",
                finals.len()
            ));
        }
        let attempts: HashSet<_> = rows
            .iter()
            .map(|row| (row["trial"].to_string(), row["attempt"].to_string()))
            .collect();
        if attempts.len() != rows.len() {
            self.find(format!("an attempt of {run} has two rows"));
        }
        if !rows.is_sorted_by(|one, next| one["seq"].as_u64() < next["seq"].as_u64()) {
            self.find(format!("rows of {run} are out of order"));
        }
    }
}

fn time(value: &Value, key: &str) -> jiff::Timestamp {
    value[key].as_str().unwrap().parse().unwrap()
}

/// Tells whether nobody holds a run's lock.
fn is_free(dir: &Path) -> bool {
    let lock = std::fs::File::open(dir.join("lock"));
    lock.is_ok_and(|lock| lock.try_lock_shared().is_ok())
}

#[test]
fn a_storm_of_commands_loses_doubles_and_leaves_nothing() {
    let seconds =
        std::env::var("RUNNER_STORM_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let seed = seed();
    let storm = Storm::new(seconds);
    std::thread::scope(|scope| {
        for actor in 0..ACTORS {
            let storm = &storm;
            scope.spawn(move || {
                let mut random = Random(seed ^ (actor << 48));
                while Instant::now() < storm.until {
                    storm.act(&mut random);
                }
            });
        }
    });
    storm.abate();
    let told: usize = storm.told.lock().unwrap().values().map(HashSet::len).sum();
    eprintln!("{told} rows were told of");
    for ((command, code), times) in storm.met.lock().unwrap().iter() {
        eprintln!("{command} exited {times} times with {code:?}");
    }
    let findings = storm.findings.into_inner().unwrap();
    for finding in &findings {
        eprintln!("\n=== {finding}");
    }
    assert!(
        findings.is_empty(),
        "{} findings with RUNNER_TEST_SEED={seed}",
        findings.len()
    );
}
