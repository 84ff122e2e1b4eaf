//! The real program on lists of echo tests, in a folder of its own.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fs_err::File;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
/// How often a running program's memory is looked at. The kernel keeps the peak, so only the very end can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A folder with test lists, a cache and results; on the disk of the build, because `/tmp` may be memory.
pub(crate) struct Lists {
    folder: TempDir,
    written: BTreeSet<u64>,
}

impl Lists {
    /// Builds the echo plugin and fills the cache.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let mut lists = Self {
            folder: folder.expect("the target folder can be written"),
            written: BTreeSet::new(),
        };
        lists.write(1);
        let mut build = lists.command(1, 1);
        build.args(["results", "--build"]);
        finish(build.spawn().expect("the program starts"));
        lists
    }

    /// The compiled echo component.
    pub(crate) fn plugin() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/echo/dist/plugin.wasm")
    }

    /// How long `runner exec` takes for a list of `tests` tests.
    pub(crate) fn time(&mut self, tests: u64, jobs: u64) -> Duration {
        let results = self.path("results");
        self.time_into(&results, tests, jobs)
    }

    /// The same with results that are kept elsewhere while it takes.
    pub(crate) fn time_into(&mut self, results: &Path, tests: u64, jobs: u64) -> Duration {
        self.write(tests);
        let took = time(self.command(tests, jobs).arg(results));
        fs_err::remove_dir_all(results).expect("results can go");
        took
    }

    /// How long a run of one trial takes where there are other runs in its results root.
    pub(crate) fn time_beside_others(&mut self) -> Duration {
        self.write(1);
        let results = self.path("results-of-others");
        if !results.exists() {
            time(self.command(1, 1).arg(&results));
        }
        time(self.command(1, 1).arg(&results))
    }

    /// How often a run of one trial waits for the disk, where others are in its results root; `None` without `strace`.
    pub(crate) fn count_syncs(&mut self) -> Option<usize> {
        self.write(1);
        let results = self.path("results");
        for _ in 0..2 {
            time(self.command(1, 1).arg(&results));
        }
        let trace = self.path("trace");
        let mut traced = Command::new("strace");
        traced.args([
            "-f",
            "-qq",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "signal=none",
            "-o",
        ]);
        let command = self.command(1, 1);
        traced.arg(&trace).arg(command.get_program());
        traced.args(command.get_args()).arg(&results);
        traced.current_dir(self.folder.path());
        traced.env("RUNNER_CACHE", self.path("cache"));
        let is_traced = traced.status().is_ok_and(|status| status.success());
        fs_err::remove_dir_all(results).expect("results can go");
        let trace = fs_err::read_to_string(trace).ok()?;
        // A call that another thread interrupts has two lines.
        let is_call = |line: &&str| line.contains("sync(") && !line.contains("resumed");
        is_traced.then(|| trace.lines().filter(is_call).count())
    }

    /// How long `runner --version` takes.
    pub(crate) fn time_version() -> Duration {
        time(Command::new(PROGRAM).arg("--version").stdout(Stdio::null()))
    }

    /// The same, and how much memory the program had at most, in bytes; `None` where the system does not tell.
    pub(crate) fn watch(&mut self, tests: u64, jobs: u64) -> (Duration, Option<u64>) {
        self.write(tests);
        let results = self.path("results");
        let mut command = self.command(tests, jobs);
        let (took, peak) = watched(command.arg(&results));
        fs_err::remove_dir_all(results).expect("results can go");
        (took, peak)
    }

    /// Lets `run` run the program on a scenario to its end.
    pub(crate) fn run_and_look<T>(
        &self,
        scenario: &str,
        jobs: u64,
        run: impl FnOnce(&mut Command) -> T,
    ) -> T {
        let results = self.path("results");
        let seen = run(self.command_of(scenario, jobs).arg(&results));
        fs_err::remove_dir_all(results).expect("results can go");
        seen
    }

    /// A file or folder in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, in the folder and with its cache.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("RUNNER_CACHE", self.path("cache"));
        command
    }

    fn command(&self, tests: u64, jobs: u64) -> Command {
        self.command_of(&format!("{tests}.toml"), jobs)
    }

    fn command_of(&self, scenario: &str, jobs: u64) -> Command {
        let jobs = jobs.to_string();
        self.program(&["exec", scenario, "--quiet", "--jobs", &jobs, "--results"])
    }

    /// Writes a scenario whose only test has so many trials, and gives its name.
    pub(crate) fn write_repeated(&self, trials: u64) -> String {
        let (name, input) = (format!("{trials}-repeated"), input(0));
        let test = format!(
            r#"{{"id":"echo","input":{input},"expect":{{"equals":{input}}},"repeat":{trials}}}"#
        );
        fs_err::write(self.path(&format!("{name}.jsonl")), test).expect("a list can be written");
        self.write_scenario(&name)
    }

    /// Writes a list of `tests` tests and the scenario `TESTS.toml`, unless they are there.
    pub(crate) fn write(&mut self, tests: u64) {
        if !self.written.insert(tests) {
            return;
        }
        let list = File::create(self.folder.path().join(format!("{tests}.jsonl")));
        let mut list = BufWriter::new(list.expect("a list can be made"));
        for number in 0..tests {
            let input = input(number);
            writeln!(
                list,
                r#"{{"id":"echo-{number:07}","input":{input},"expect":{{"equals":{input}}}}}"#
            )
            .expect("a list can be written");
        }
        list.flush().expect("a list can be written");

        self.write_scenario(&tests.to_string());
    }

    /// Writes the scenario `LIST.toml` with the tests of `LIST.jsonl`, and gives its name.
    fn write_scenario(&self, list: &str) -> String {
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/echo");
        let scenario = format!(
            "name = \"overhead\"\nproviders.echo.plugin = '{}'\ntest_lists = [{{ files = [\"{list}.jsonl\"] }}]\n",
            plugin.display()
        );
        let name = format!("{list}.toml");
        fs_err::write(self.path(&name), scenario).expect("a scenario can be written");
        name
    }
}

/// The input of a test, as JSON; each has its own.
pub(crate) fn input(number: u64) -> String {
    format!(r#"{{"number":{number},"text":"the quick brown fox jumps over the lazy dog"}}"#)
}

/// How long a program takes from its start to its end.
pub(crate) fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    finish(command.spawn().expect("the program starts"));
    started.elapsed()
}

/// The same, and how much memory it had at most, in bytes; `None` where the system does not tell.
pub(crate) fn watched(command: &mut Command) -> (Duration, Option<u64>) {
    watched_to(command, 0)
}

/// The same of a program that ends with this code.
pub(crate) fn watched_to(command: &mut Command, code: i32) -> (Duration, Option<u64>) {
    let started = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let mut peak = None;
    while matches!(child.try_wait(), Ok(None)) {
        peak = peak_of(child.id()).or(peak);
        thread::sleep(LOOK_EVERY);
    }
    let took = started.elapsed();
    finish_with(child, code);
    (took, peak)
}

fn finish(child: Child) {
    finish_with(child, 0);
}

fn finish_with(mut child: Child, code: i32) {
    let status = child.wait().expect("a child can be waited for");
    assert_eq!(status.code(), Some(code), "{status}");
}

/// How much memory a running program had at most, in bytes; `None` where the system does not tell.
pub(crate) fn peak_of(process: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
