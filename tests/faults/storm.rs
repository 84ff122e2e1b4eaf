//! Several processes use every command on one results root, while some are killed, interrupted and suspended.
//!
//! Every run of the tests includes a few seconds. `RUNNER_STORM_SECONDS=600 cargo test --test all storm` takes ten
//! minutes. `RUNNER_TEST_SEED` draws the same commands again, though not the same moments.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env, fs,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    processes::Process,
    random::Random,
    run::Run,
    runner::{Runner, tests},
    truth::{assert_numbered, results},
};

const ACTORS: u64 = 6;
const SECONDS: u64 = 2;
/// Time that only a stuck command exceeds.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rows that the commands of a storm print at least, also on a slow machine.
const ENOUGH: usize = 100;
/// Words that must not appear when only commands run concurrently.
const NEVER_SAID: [&str; 7] = [
    "panicked",
    "RUST_BACKTRACE",
    "os error",
    "No such file",
    "database is locked",
    "a bug",
    "internal",
];

/// Commands that work on runs.
const WORK: [&str; 11] = [
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2",
    "exec scenario.toml --json -j 2 --into results/chosen",
    "exec scenario.toml scenario.toml --json -j 2",
    "resume RUN --json",
    "resume RUN --json",
    "resume RUN --json --force",
    "resume RUN --json --rerun failed",
    "resume RUN --json --rerun nap@hostile#1*",
    "resume RUN --json --accept-changes",
];

/// Commands that request, read and clean up.
const BESIDE: [&str; 26] = [
    "exec scenario.toml -j 2 --detach",
    "exec scenario.toml -j 2 --exclusive",
    "resume RUN --dry-run",
    "resume RUN --explain",
    "stop RUN",
    "stop RUN --drain --json",
    "stop RUN --kill",
    "cancel RUN --json",
    "list",
    "list --json",
    "list --status incomplete",
    "show RUN",
    "show RUN --json",
    "show RUN --failed",
    "logs RUN",
    "logs RUN -f --json",
    "wait RUN",
    "wait RUN --json",
    "verify RUN --json",
    "cleanup",
    "cleanup --yes --json",
    "prune --yes --keep-last 12",
    "prune --yes RUN --json",
    "reindex",
    "pin RUN",
    "unpin RUN",
];

/// Interference with a process.
#[derive(Clone, Copy, Debug)]
enum Interference {
    None,
    Signal(Duration, Signal),
    /// Sends the same signal again a moment later.
    SignalTwice(Duration, Signal),
    /// Suspends the process for a moment.
    Suspend(Duration, Duration),
}

/// A process that has ended.
struct Done {
    args: String,
    interference: Interference,
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
}

struct Storm {
    runner: Runner,
    until: Instant,
    /// A completed, pinned run that no command names.
    first: String,
    /// Rows that were acknowledged, by run.
    told: Mutex<HashMap<String, Vec<Value>>>,
    findings: Mutex<Vec<String>>,
    count: AtomicU64,
}

impl Done {
    /// Returns whether this exit code is allowed, given what other processes do.
    fn may_end_so(&self) -> bool {
        let sent = match self.interference {
            Interference::Signal(_, signal) | Interference::SignalTwice(_, signal) => Some(signal),
            Interference::None | Interference::Suspend(..) => None,
        };
        let Some(code) = self.code else {
            return sent.is_some_and(|sent| self.signal == Some(sent.as_raw()));
        };
        let codes: &[i32] = match self.args.split(' ').next().unwrap() {
            // A group's exit code is that of its runs, which others may have continued and interrupted.
            "exec" if self.args.starts_with("exec scenario.toml scenario.toml") => {
                &[0, 1, 2, 4, 5, 6, 130, 143]
            }
            // Stopped or cancelled by others, or kept out by them.
            "exec" | "resume" => &[0, 1, 2, 4, 5, 6],
            "stop" | "cancel" | "prune" | "pin" | "unpin" => &[0, 2, 6],
            "list" | "reindex" | "cleanup" => &[0],
            "show" => &[0, 2],
            // A torn last row counts as damage until it is repaired.
            "verify" => &[0, 1, 2],
            _ => &[0, 1, 2, 4, 6, 130, 143],
        };
        codes.contains(&code) || sent.is_some_and(|sent| code == 128 + sent.as_raw())
    }

    fn show(&self) -> String {
        let end = self.stdout.len().saturating_sub(600);
        let stdout = self.stdout.get(end..).unwrap_or_default();
        format!(
            "runner {}\n  {:?}, exit {:?}, signal {:?}\n  stderr: {}\n  stdout: …{stdout}",
            self.args, self.interference, self.code, self.signal, self.stderr
        )
    }

    fn rows(&self) -> Vec<(String, Value)> {
        let lines = self.stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let (mut run, mut rows) = (String::new(), Vec::new());
        for mut event in events {
            match event["event"].as_str() {
                Some("started") => run = event["run"].as_str().unwrap().to_owned(),
                Some("row") => rows.push((run.clone(), event["row"].take())),
                _ => {}
            }
        }
        rows
    }
}

fn any_interference(random: &mut Random) -> Interference {
    let after = random.up_to(Duration::from_millis(1200));
    match random.below(12) {
        0..=4 => Interference::None,
        5..=7 => Interference::Signal(after, Signal::KILL),
        8 => Interference::Signal(after, Signal::INT),
        9 => Interference::Signal(after, Signal::TERM),
        10 => Interference::SignalTwice(after, Signal::INT),
        _ => Interference::Suspend(after, random.up_to(Duration::from_millis(800))),
    }
}

fn interfere(process: Process, interference: Interference) {
    match interference {
        Interference::None => {}
        Interference::Signal(after, signal) => {
            // The moment is random.
            thread::sleep(after);
            process.signal(signal);
        }
        Interference::SignalTwice(after, signal) => {
            // The moment is random.
            thread::sleep(after);
            process.signal(signal);
            // The second signal may come before or after the first one was handled.
            thread::sleep(Duration::from_millis(5));
            process.signal(signal);
        }
        Interference::Suspend(after, length) => {
            // The moment is random, and so is the length.
            thread::sleep(after);
            process.signal(Signal::STOP);
            // See above.
            thread::sleep(length);
            process.signal(Signal::CONT);
        }
    }
}

impl Storm {
    fn new(seconds: u64) -> Self {
        let more = tests(
            r#"
            passes | { do = "echo", value = 1 }         | equals = 1
            fails  | { do = "echo", value = 1 }         | equals = 2
            traps  | { do = "trap" }                    |
            says   | { do = "say", text = "something" } |
            "#,
        );
        let runner = Runner::hostile_in_memory(&format!(
            "[[tests]]\nid = \"nap\"\nrepeat = 16\ninput = {{ do = \"sleep\", ms = 40 }}\n{more}"
        ));
        fs::create_dir(runner.path("tmp")).unwrap();
        let mut storm = Self {
            runner,
            until: Instant::now() + Duration::from_secs(seconds),
            first: String::new(),
            told: Mutex::default(),
            findings: Mutex::default(),
            count: AtomicU64::new(0),
        };
        storm.run("exec scenario.toml", Interference::None);
        storm.first = storm.runner.only_run().id().to_owned();
        storm.run(&format!("pin {}", storm.first), Interference::None);
        storm
    }

    fn find(&self, finding: String) {
        self.findings.lock().unwrap().push(finding);
    }

    /// Runs a command to its end with its interference, and checks its exit.
    fn run(&self, args: &str, interference: Interference) -> Done {
        let words: Vec<_> = args.split(' ').collect();
        let (began, number) = (Instant::now(), self.count.fetch_add(1, Ordering::Relaxed));
        // Files instead of pipes, because a process in the background would hold pipes open.
        let names = ["out", "err"].map(|name| self.runner.path(&format!("{name}-{number}")));
        let files = names.each_ref().map(|name| fs::File::create(name).unwrap());
        let mut command = self.runner.command(&words);
        command.env("TMPDIR", self.runner.path("tmp")).process_group(0);
        let [stdout, stderr] = files;
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        let mut child = child.unwrap();
        interfere(Process(child.id()), interference);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                self.find(format!("it hangs: runner {args}"));
                child.kill().unwrap();
            }
            // The poll of this wait, which ends after `PATIENCE`. It reports its findings together, so it may not fail here.
            thread::sleep(Duration::from_millis(3));
        };
        let [stdout, stderr] = names.map(|name| {
            let text = String::from_utf8_lossy(&fs::read(&name).unwrap()).into_owned();
            fs::remove_file(name).unwrap();
            text
        });
        let done = Done {
            args: args.to_owned(),
            interference,
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
        };
        if !done.may_end_so() {
            self.find(format!("an odd end: {}", done.show()));
        }
        let said = match args.contains("--json") {
            true => done.stderr.clone(),
            false => format!("{}{}", done.stderr, done.stdout),
        };
        if let Some(word) = NEVER_SAID.iter().find(|word| said.contains(**word)) {
            self.find(format!("it said `{word}`: {}", done.show()));
        }
        let mut told = self.told.lock().unwrap();
        for (run, row) in done.rows() {
            told.entry(run).or_default().push(row);
        }
        done
    }

    /// Returns a run's name, in one of its forms.
    fn target(&self, random: &mut Random) -> String {
        let runs = self.runner.runs();
        let ids: Vec<_> = runs.iter().map(Run::id).filter(|id| *id != self.first).collect();
        if ids.is_empty() {
            return "none".to_owned();
        }
        let id = ids[random.below(ids.len())];
        match random.below(3) {
            0 => id.rsplit('-').next().unwrap().to_owned(),
            1 => format!("results/{id}"),
            _ => id.to_owned(),
        }
    }

    fn act(&self, random: &mut Random) {
        let (commands, interference) = match random.below(5) {
            0 | 1 => (&WORK[..], any_interference(random)),
            _ if random.below(12) == 0 => {
                let after = random.up_to(Duration::from_millis(150));
                (&BESIDE[..], Interference::Signal(after, Signal::KILL))
            }
            _ => (&BESIDE[..], Interference::None),
        };
        let args = commands[random.below(commands.len())];
        self.run(&args.replace("RUN", &self.target(random)), interference);
    }

    /// Returns whether there is time left, or a slow machine has not printed enough rows yet.
    fn goes_on(&self) -> bool {
        let now = Instant::now();
        let told: usize = self.told.lock().unwrap().values().map(Vec::len).sum();
        now < self.until || told <= ENOUGH && now < self.until + PATIENCE
    }

    /// Resumes every run to its end, and checks the results.
    fn end(&self) {
        let began = Instant::now();
        while let Some(run) = self.runner.runs().iter().find(|run| is_held(run)) {
            self.run(&format!("stop {} --kill", run.id()), Interference::None);
            if began.elapsed() > PATIENCE {
                return self.find(format!("{} never ends", run.id()));
            }
        }
        self.run("cleanup --yes", Interference::None);
        let outcomes = |run: &Run| -> BTreeMap<String, String> {
            let results = results(run).into_iter();
            results.map(|(trial, row)| (trial, row["outcome"].to_string())).collect()
        };
        let runs = self.runner.runs();
        let first = runs.iter().find(|run| run.id() == self.first);
        let expected = outcomes(first.expect("a pinned run stays"));
        for run in &runs {
            let id = run.id();
            for _ in 0..3 {
                self.run(&format!("resume {id} --force --json -j 4"), Interference::None);
            }
            let manifest = run.manifest();
            if manifest["status"] != "completed" || outcomes(run) != expected {
                self.find(format!("{id} came to another end: {manifest}"));
            }
            if self.run(&format!("verify {id}"), Interference::None).code != Some(0) {
                self.find(format!("{id} is damaged"));
            }
            let rows = run.rows();
            assert_numbered(&rows);
            let told = self.told.lock().unwrap();
            let there: HashSet<_> = rows.iter().map(Value::to_string).collect();
            // A run may have been deleted and another created in its named folder.
            let is_own = id != "chosen";
            let mut lost = told.get(id).into_iter().flatten();
            if let Some(row) = lost.find(|row| is_own && !there.contains(&row.to_string())) {
                self.find(format!("a row of {id} is lost: {row}"));
            }
        }
        let list = self.run("list --json", Interference::None).stdout;
        self.run("reindex", Interference::None);
        if self.run("list --json", Interference::None).stdout != list {
            self.find("the list is another one after `reindex`".to_owned());
        }
    }
}

fn is_held(run: &Run) -> bool {
    let lock = fs::File::open(run.dir.join("lock"));
    lock.is_ok_and(|lock| lock.try_lock_shared().is_err())
}

#[test]
fn storm_of_commands_loses_no_row() {
    let seconds = env::var("RUNNER_STORM_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let storm = Storm::new(seconds);
    let mut random = Random::new();
    thread::scope(|scope| {
        for _ in 0..ACTORS {
            let (storm, mut random) = (&storm, random.split());
            scope.spawn(move || {
                while storm.goes_on() {
                    storm.act(&mut random);
                }
            });
        }
    });
    storm.end();
    let findings = storm.findings.into_inner().unwrap();
    assert!(findings.is_empty(), "{}", findings.join("\n=== "));
    let told: usize = storm.told.into_inner().unwrap().values().map(Vec::len).sum();
    assert!(told > ENOUGH, "only {told} rows were told of");
}
