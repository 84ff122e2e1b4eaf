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
        finish(build.arg("--build").spawn().expect("the program starts"));
        lists
    }

    /// The compiled echo component.
    pub(crate) fn plugin() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/echo/dist/plugin.wasm")
    }

    /// How long `runner exec` takes for a list of `tests` tests.
    pub(crate) fn time(&mut self, tests: u64, jobs: u64) -> Duration {
        self.write(tests);
        let mut command = self.command(tests, jobs);
        let took = time(&mut command);
        self.forget_results();
        took
    }

    /// How long `runner --version` takes.
    pub(crate) fn time_version() -> Duration {
        time(Command::new(PROGRAM).arg("--version").stdout(Stdio::null()))
    }

    /// The same, and how much memory the program had at most, in bytes; `None` where the system does not tell.
    pub(crate) fn watch(&mut self, tests: u64, jobs: u64) -> (Duration, Option<u64>) {
        self.write(tests);
        let started = Instant::now();
        let mut command = self.command(tests, jobs);
        let mut child = command.spawn().expect("the program starts");
        let status = format!("/proc/{}/status", child.id());
        let mut peak = None;
        while matches!(child.try_wait(), Ok(None)) {
            peak = peak_in(&status).or(peak);
            thread::sleep(LOOK_EVERY);
        }
        let took = started.elapsed();
        finish(child);
        self.forget_results();
        (took, peak)
    }

    fn command(&self, tests: u64, jobs: u64) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(PROGRAM);
        command
            .arg("exec")
            .arg(folder.join(format!("{tests}.toml")))
            .args(["--quiet", "--jobs", &jobs.to_string(), "--results"])
            .arg(folder.join("results"))
            .env("RUNNER_CACHE", folder.join("cache"));
        command
    }

    fn write(&mut self, tests: u64) {
        if !self.written.insert(tests) {
            return;
        }
        let list = File::create(self.folder.path().join(format!("{tests}.jsonl")));
        let mut list = BufWriter::new(list.expect("a list can be made"));
        for number in 0..tests {
            let input = super::input(number);
            writeln!(
                list,
                r#"{{"id":"echo-{number:07}","input":{input},"expect":{{"equals":{input}}}}}"#
            )
            .expect("a list can be written");
        }
        list.flush().expect("a list can be written");

        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/echo");
        let scenario = format!(
            "name = \"overhead\"\nproviders.echo.plugin = '{}'\ntest_lists = [{{ files = [\"{tests}.jsonl\"] }}]\n",
            plugin.display()
        );
        let path = self.folder.path().join(format!("{tests}.toml"));
        fs_err::write(path, scenario).expect("a scenario can be written");
    }

    fn forget_results(&self) {
        fs_err::remove_dir_all(self.folder.path().join("results")).expect("results can go");
    }
}

/// How long a program takes from its start to its end.
pub(crate) fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    finish(command.spawn().expect("the program starts"));
    started.elapsed()
}

fn finish(mut child: Child) {
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{status}");
}

fn peak_in(status: &str) -> Option<u64> {
    let status = fs_err::read_to_string(status).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
