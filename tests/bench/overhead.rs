//! Cost of a trial, a start and a plan, each against a baseline of the same minute.
//!
//! `cargo bench --bench overhead -- [trials] [start] [memory] [tests] [bombs] [large] [files] [answers] [known] [calls] [shards] [models] [tools] [workspaces] [serve] [machines]`; all but the last twelve without a name. `machines` needs `nats-server`, which `.ci/run` installs. `--n N`
//! and `--rounds N` make it shorter or longer; `--rows N` and `--runs N` are for `large`: commands on a run of many rows and
//! a root of many runs. `serve` has `--rows N`, too. `--plugin FILE` measures `trials` with another component that answers with its input, such as one
//! in Python or JavaScript.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};
use runner_model::{Digest, digest};

mod answers;
mod bare;
mod bombs;
mod calls;
mod files;
mod known;
mod machines;
mod models;
mod server;
mod tools;
mod workspaces;

type Done<T = ()> = Result<T, Box<dyn Error>>;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

fn main() -> Done {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "__bare") {
        return bare_child(&args[1..]);
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let at = args.iter().position(|arg| arg == "--plugin");
    let plugin = at.and_then(|at| args.get(at + 1)).map(PathBuf::from);
    let (n, rounds) = (number("--n", 100_000), number("--rounds", 7));
    let parts = [
        "trials",
        "start",
        "memory",
        "tests",
        "bombs",
        "large",
        "files",
        "answers",
        "known",
        "calls",
        "shards",
        "models",
        "tools",
        "workspaces",
        "serve",
        "machines",
    ];
    let named = args.iter().any(|arg| parts.contains(&arg.as_str()));
    let is_asked = |part: &str| !named || args.iter().any(|arg| arg == part);

    if parts[..4].iter().any(|part| is_asked(part)) {
        let bench = Bench::new(n, plugin.as_deref())?;
        if is_asked("trials") {
            bench.trials(rounds)?;
        }
        if is_asked("start") {
            bench.start(number("--starts", 40))?;
        }
        if is_asked("memory") {
            bench.memory()?;
        }
        if is_asked("tests") {
            bench.tests()?;
        }
    }
    if named && is_asked("machines") {
        machines::machines(rounds)?;
    }
    if named && is_asked("bombs") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let hostile = guest(&root, "guest-hostile")?;
        guest(&root, "guest-files")?;
        guest(&root, "guest-web")?;
        let guests = hostile.parent().unwrap_or(&root);
        let cache = folder.path().join("cache");
        bombs::run(guests, &cache, folder.path())?;
        bombs::waiting(1_000, guests, &cache, folder.path())?;
    }
    if named && is_asked("files") {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        files::run(&folder.path().join("cache"), folder.path(), rounds, number("--repeats", 200))?;
    }
    if named && is_asked("large") {
        Bench::new(number("--rows", 1_000_000), None)?.large(number("--runs", 10_000))?;
    }
    if named && is_asked("answers") {
        Bench::new(number("--rows", 100_000), None)?.answers()?;
    }
    if named && is_asked("known") {
        Bench::new(n, None)?.known(rounds)?;
    }
    if named && is_asked("calls") {
        Bench::new(n, None)?.calls(rounds)?;
    }
    if named && is_asked("shards") {
        Bench::new(1, None)?.shards(number("--n", 20_000))?;
    }
    if named && is_asked("models") {
        Bench::new(1, None)?.models(number("--n", 2_000) as usize)?;
    }
    if named && is_asked("tools") {
        Bench::new(1, None)?.tools(number("--n", 20_000), rounds)?;
    }
    if named && is_asked("workspaces") {
        Bench::new(number("--n", 1_000), None)?.workspaces(rounds)?;
    }
    if named && is_asked("serve") {
        let bench = Bench::new(number("--rows", 1_000_000), None)?;
        bench.serve()?;
        bench.stops()?;
    }
    Ok(())
}

/// A folder with the scenarios, a list of tests, and its own cache.
struct Bench {
    folder: tempfile::TempDir,
    n: u64,
    guests: Vec<Guest>,
}

/// A build of echo.
struct Guest {
    name: &'static str,
    file: PathBuf,
    digest: Digest,
}

impl Bench {
    fn new(n: u64, plugin: Option<&Path>) -> Done<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        // Next to the build, so on a real disk: rows are synced.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut list = BufWriter::new(File::create(folder.path().join("list.jsonl"))?);
        for number in 0..n {
            writeln!(
                list,
                r#"{{"id":"t{number}","input":{{"text":"the text of test number {number}"}}}}"#
            )?;
        }
        list.flush()?;
        let guests = match plugin {
            Some(file) => vec![Guest::new("the given plugin", file)?],
            None => vec![
                Guest::new("echo, 1 MiB stack", &guest(&root, "echo")?)?,
                Guest::new("bundled echo, 128 KiB stack", &root.join("plugins/bundled/echo.wasm"))?,
            ],
        };
        let bench = Self { folder, n, guests };
        for guest in &bench.guests {
            // The first run compiles the plugin.
            bench.exec(&bench.scenario(guest, 1)?, 1)?;
        }
        Ok(bench)
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn scenario(&self, guest: &Guest, tests: u64) -> Done<PathBuf> {
        let file = self.folder.path().join(format!("{}-{tests}.toml", guest.digest));
        let tests = if tests == 1 {
            "[[tests]]\nid = \"one\"\ninput = { text = \"one\" }\nexpect = { equals = { text = \"one\" } }\n"
        } else {
            "[[test_lists]]\nfiles = [\"list.jsonl\"]\nexpect = { equals = \"{{row.input}}\" }\n"
        };
        let text =
            format!("name = \"bench\"\n[providers.echo]\nplugin = {:?}\n{tests}", guest.file);
        fs::write(&file, text)?;
        Ok(file)
    }

    fn runner(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RUNNER);
        command
            .args(args)
            .env("RUNNER_CACHE", self.cache())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a scenario to its end.
    fn exec(&self, scenario: &Path, jobs: u32) -> Done<Cost> {
        let (scenario, results) =
            (scenario.display().to_string(), self.results().display().to_string());
        let jobs = jobs.to_string();
        let mut command =
            self.runner(&["exec", "-q", "-j", &jobs, "--results", &results, &scenario]);
        let (status, cost) = measured(|| Ok(command.status()?))?;
        if !status.success() {
            return Err(format!("exec of {scenario} ended with {status}").into());
        }
        Ok(cost)
    }

    fn trials(&self, rounds: u64) -> Done {
        for guest in &self.guests {
            let scenario = self.scenario(guest, self.n)?;
            let kinds = [
                "bare, 1 thread",
                "bare, 2 threads",
                "bare, 2 processes",
                "exec -j 1",
                "exec -j 2",
                "/bin/true",
            ];
            let mut figures: Vec<Vec<Cost>> = vec![Vec::new(); kinds.len()];
            for _ in 0..rounds {
                figures[0].push(self.bare(guest, 1, 1)?);
                figures[1].push(self.bare(guest, 2, 1)?);
                figures[2].push(self.bare(guest, 1, 2)?);
                figures[3].push(self.exec(&scenario, 1)?.each(self.n));
                figures[4].push(self.exec(&scenario, 2)?.each(self.n));
                figures[5].push(true_program()?);
                fs::remove_dir_all(self.results())?;
            }
            println!(
                "\n{}, {} trials, {rounds} rounds, µs a trial: median (least to most)",
                guest.name, self.n
            );
            let figures: Vec<Figure> = figures.iter().map(|costs| Figure::new(costs)).collect();
            for (kind, figure) in kinds.iter().zip(&figures) {
                println!("  {kind:18} {figure}");
            }
            println!("  ratios of wall time, and of CPU time");
            let ratio = |name: &str, a: usize, b: usize| {
                let (wall, cpu) =
                    (figures[a].wall / figures[b].wall, figures[a].cpu / figures[b].cpu);
                println!("  {name:30} {wall:5.2} {cpu:5.2}");
            };
            ratio("exec -j 1 / bare 1 thread", 3, 0);
            ratio("exec -j 2 / bare 1 thread", 4, 0);
            ratio("exec -j 2 / bare 2 threads", 4, 1);
            ratio("exec -j 2 / bare 2 processes", 4, 2);
            ratio("/bin/true / exec -j 2", 5, 4);
            if figures.iter().any(|figure| figure.most > 1.1 * figure.least) {
                println!(
                    "  rounds differ by over 10 %: the machine was busy, so the ratios of CPU time count"
                );
            }
        }
        Ok(())
    }

    /// Returns the bare loop's cost of a call, in a separate process each, as `exec` has.
    fn bare(&self, guest: &Guest, threads: u32, processes: u64) -> Done<Cost> {
        let calls = self.n / processes;
        let (inside, cost) = measured(|| self.bare_processes(guest, threads, processes, calls))?;
        let cost = cost.each(self.n);
        // One process reports its own time, without the start. For several the wall time counts, because they overlap.
        let wall = if processes == 1 { inside / self.n as f64 } else { cost.wall };
        Ok(Cost { wall, ..cost })
    }

    /// Returns the time of the last process by its own clock, in µs.
    fn bare_processes(&self, guest: &Guest, threads: u32, processes: u64, calls: u64) -> Done<f64> {
        let mut children = Vec::new();
        for _ in 0..processes {
            let mut command = Command::new(env::current_exe()?);
            command.arg("__bare").arg(self.cache()).arg(guest.digest.to_string());
            command.args([threads.to_string(), calls.to_string()]).stdout(Stdio::piped());
            children.push(command.spawn()?);
        }
        let mut inside = 0.0;
        for child in children {
            let output = child.wait_with_output()?;
            inside = String::from_utf8(output.stdout)?.trim().parse::<f64>()?;
        }
        Ok(inside)
    }

    /// Measures one trial in a results root of 1,000 runs.
    fn start(&self, runs: u64) -> Done {
        let scenario = self.scenario(&self.guests[1], 1)?;
        for _ in 0..1_000 {
            self.exec(&scenario, 1)?;
        }
        let (mut version, mut exec, mut sync) = (Vec::new(), Vec::new(), Vec::new());
        let mut file = File::create(self.folder.path().join("sync"))?;
        for _ in 0..runs {
            let mut command = self.runner(&["--version"]);
            version.push(measured(|| Ok(command.status()?))?.1);
            exec.push(self.exec(&scenario, 1)?);
            file.write_all(b"a row of a run\n")?;
            sync.push(measured(|| Ok(file.sync_data()?))?.1);
        }
        let [version, exec, sync] = [version, exec, sync].map(|costs| {
            Figure::new(&costs.iter().map(|cost| cost.each(1_000)).collect::<Vec<_>>())
        });
        println!(
            "\nexec of one trial, plugin cached, root with 1,000 runs, {runs} runs, ms: median"
        );
        println!("  fdatasync          {sync}");
        println!("  --version          {version}");
        println!("  exec               {exec}");
        println!(
            "  exec - --version   {:.2}, CPU {:.2}",
            exec.wall - version.wall,
            exec.cpu - version.cpu
        );
        Ok(())
    }

    fn memory(&self) -> Done {
        let scenario = self.scenario(&self.guests[1], self.n)?.display().to_string();
        let results = self.results().display().to_string();
        let args = ["exec", "-q", "-j", "2", "--results", &results, &scenario];
        let (_, peak) = self.watched(&args)?;
        println!("\nmemory of the coordinator with {} trials: {peak:.1} MB", self.n);
        Ok(())
    }

    /// Measures reading a list of `n` tests and writing their suite.
    fn tests(&self) -> Done {
        let scenario = self.scenario(&self.guests[1], self.n)?;
        let mut rounds = Vec::new();
        for _ in 0..3 {
            rounds.push(self.watched(&["validate", &scenario.display().to_string()])?);
        }
        rounds.sort_by_key(|(took, _)| *took);
        let (took, peak) = rounds[1];
        println!("\nvalidate with {} tests: {:.2} s, {peak:.1} MB", self.n, took.as_secs_f64());
        Ok(())
    }

    /// Returns a command's wall time and peak memory in MB.
    fn watched(&self, args: &[&str]) -> Done<(Duration, f64)> {
        let began = Instant::now();
        let mut child = self.runner(args).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0.0_f64;
        while child.try_wait()?.is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            peak = peak.max(kib.unwrap_or(0.0));
            thread::sleep(Duration::from_millis(10));
        }
        Ok((began.elapsed(), peak * 1024.0 / 1e6))
    }
}

impl Bench {
    /// Measures `show` of a run with a row for each of `n` tests, its resume, and a list of many runs.
    fn large(&self, runs: u64) -> Done {
        let scenario = self.scenario(&self.guests[1], self.n)?;
        self.exec(&scenario, 2)?;
        let run = newest(&self.results())?;
        let rows = run.join("index.jsonl");
        let base = plain_read(&rows)?;
        println!("\na run of {} rows, s, and times the plain reading of its rows", self.n);
        println!("  read, parse each line   {:.2}", base.as_secs_f64());
        let print = |what: &str, took: Duration| {
            let ratio = took.as_secs_f64() / base.as_secs_f64();
            println!("  {what:22}  {:.2} ({ratio:.2})", took.as_secs_f64());
        };
        for command in ["show", "verify"] {
            let mut took: Vec<_> = (0..3).map(|_| self.timed(command)).collect::<Done<_>>()?;
            took.sort();
            print(command, took[1]);
        }
        // As if the process had died before its last 1,000 rows.
        let text = fs::read(&rows)?;
        let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let left = usize::try_from(self.n)?.saturating_sub(1000);
        let end = ends.nth(left.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
        File::options().write(true).open(&rows)?.set_len(end as u64)?;
        let manifest = run.join("benchmark.json");
        let whole = fs::read(&manifest)?;
        let mut value: serde_json::Value = serde_json::from_slice(&whole)?;
        value["status"] = "running".into();
        if let Some(keys) = value.as_object_mut() {
            keys.remove("completed_at");
        }
        if let Some(session) = value["sessions"][0].as_object_mut() {
            session.remove("ended_at");
        }
        fs::write(&manifest, serde_json::to_vec_pretty(&value)?)?;
        print("list of the dead run", self.timed("list")?);
        print("resume, to a new row", self.first_row(&["resume"])?);

        let results = self.folder.path().join("many");
        for number in 0..runs {
            let copy = results.join(format!("2026-11-20_09-18-04-015-bench-{number:08x}"));
            fs::create_dir_all(&copy)?;
            fs::write(copy.join("benchmark.json"), &whole)?;
        }
        let results = results.display().to_string();
        let list = || {
            let mut command = self.runner(&["list", "--results", &results]);
            let began = Instant::now();
            command.status()?;
            Ok(micros(began.elapsed()) / 1e3)
        };
        let first = list()?;
        let mut later: Vec<f64> = (0..11).map(|_| list()).collect::<Done<_>>()?;
        later.sort_by(f64::total_cmp);
        println!("\na list of {runs} runs, ms");
        println!("  without a database      {first:.1}");
        println!("  with it, median of 11   {:.1}", median(&later));
        Ok(())
    }

    fn timed(&self, command: &str) -> Done<Duration> {
        let results = self.results().display().to_string();
        let mut command = self.runner(&[command, "--results", &results]);
        let began = Instant::now();
        let status = command.status()?;
        let took = began.elapsed();
        match status.success() {
            true => Ok(took),
            false => Err(format!("{command:?} ended with {status}").into()),
        }
    }

    /// Returns the time until the first row of a command is on disk.
    fn first_row(&self, args: &[&str]) -> Done<Duration> {
        let results = self.results().display().to_string();
        let mut command = self.runner(&[args, &["--json", "--results", &results]].concat());
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut took = None;
        for line in BufReader::new(output).lines() {
            if line?.contains("\"event\":\"row\"") {
                took.get_or_insert_with(|| began.elapsed());
            }
        }
        child.wait()?;
        took.ok_or_else(|| "it has made no row".into())
    }
}

/// Returns the newest run of a root.
fn newest(results: &Path) -> Done<PathBuf> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(results)? {
        let path = entry?.path();
        if path.join("benchmark.json").exists() {
            runs.push(path);
        }
    }
    runs.into_iter().max().ok_or_else(|| "there is no run".into())
}

/// Reads a file and parses each line as JSON, without keeping anything.
fn plain_read(path: &Path) -> Done<Duration> {
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        for line in fs::read(path)?.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                serde_json::from_slice::<serde::de::IgnoredAny>(line)?;
            }
        }
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[1])
}

impl Guest {
    fn new(name: &'static str, file: &Path) -> Done<Self> {
        let file = file.canonicalize()?;
        let digest = digest(&fs::read(&file)?);
        Ok(Self { name, file, digest })
    }
}

/// Builds a package as cargo links it without options, with a stack of 1 MiB.
fn guest(root: &Path, package: &str) -> Done<PathBuf> {
    let guests = root.join("target/guests");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args([
        "build",
        "--quiet",
        "--target",
        "wasm32-wasip2",
        "--profile",
        "plugin",
        "-p",
        package,
    ]);
    cargo.arg("--target-dir").arg(&guests);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_") && name != "CARGO_HOME" || name == "RUSTFLAGS"
        }) {
            cargo.env_remove(name);
        }
    }
    if !cargo.status()?.success() {
        return Err(format!("cannot build {package}").into());
    }
    Ok(guests.join(format!("wasm32-wasip2/plugin/{}.wasm", package.replace('-', "_"))))
}

/// `__bare CACHE DIGEST THREADS CALLS` prints the loop's wall time in µs.
fn bare_child(args: &[String]) -> Done {
    let [cache, digest, threads, calls] = args else {
        return Err("__bare CACHE DIGEST THREADS CALLS".into());
    };
    let digest = Digest::parse(digest).ok_or("a digest")?;
    let took = bare::run(Path::new(cache), &digest, threads.parse()?, calls.parse()?)?;
    println!("{}", micros(took));
    Ok(())
}

/// The cost of starting and waiting for `/bin/true`, mean of 200.
fn true_program() -> Done<Cost> {
    let run = || {
        for _ in 0..200 {
            Command::new("/bin/true").stdin(Stdio::null()).status()?;
        }
        Ok(())
    };
    Ok(measured(run)?.1.each(200))
}

/// Wall time, and CPU time (user and system) of all processes that were waited for, in µs.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

impl Cost {
    fn each(self, count: u64) -> Self {
        Self { wall: self.wall / count as f64, cpu: self.cpu / count as f64 }
    }
}

/// The medians of several costs, and the least and most wall time.
struct Figure {
    wall: f64,
    cpu: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn new(costs: &[Cost]) -> Self {
        let sorted = |part: fn(&Cost) -> f64| {
            let mut all: Vec<f64> = costs.iter().map(part).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let (wall, cpu) = (sorted(|cost| cost.wall), sorted(|cost| cost.cpu));
        Self { wall: median(&wall), cpu: median(&cpu), least: wall[0], most: wall[wall.len() - 1] }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wall, cpu, least, most } = self;
        write!(formatter, "{wall:7.2} ({least:.2} to {most:.2}), CPU {cpu:.2}")
    }
}

/// Runs `work` and returns its result and its cost.
fn measured<T>(work: impl FnOnce() -> Done<T>) -> Done<(T, Cost)> {
    let cpu = || -> Done<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = |time: TimeVal| time.num_microseconds() as f64;
        Ok(micros(usage.user_time()) + micros(usage.system_time()))
    };
    let (before, began) = (cpu()?, Instant::now());
    let result = work()?;
    let wall = micros(began.elapsed());
    Ok((result, Cost { wall, cpu: cpu()? - before }))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
