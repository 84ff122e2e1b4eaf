//! The program in a temporary folder, with its own environment.

use std::{
    env, fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};

use runner_model::digest;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    guests::component,
    processes::stop_ignoring_signals,
    progress,
    random::is_full,
    run::Run,
    running::{Finished, Running, finished},
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A file system in memory. A session syncs a dozen files, and on a disk that takes longer than the session's work, above
/// all if four tests do it at once.
const MEMORY: &str = "/dev/shm";
/// Least free bytes in [`MEMORY`] for folders of tests. Containers often have 64 MiB in all.
const ROOM: u64 = 2 << 30;

/// The program and its working folder.
pub(crate) struct Runner {
    folder: TempDir,
}

/// Returns the TOML of tests, one for each line `id | input | expect`.
pub(crate) fn tests(table: &str) -> String {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let test = |line: &str| {
        let mut cells = line.split('|').map(str::trim);
        let mut cell = || cells.next().unwrap_or_default();
        let (id, input, expect) = (cell(), cell(), cell());
        format!("[[tests]]\nid = \"{id}\"\ninput = {input}\nexpect = {{ {expect} }}\n")
    };
    lines.map(test).collect()
}

/// Returns whether a folder is in a file system with [`ROOM`].
fn has_room(folder: &str) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|system| system.f_bavail * system.f_frsize >= ROOM)
}

impl Runner {
    /// Creates a folder with the components as `NAME.wasm`. It is in memory if there is room, and in full tests on disk.
    pub(crate) fn new(components: &[&str]) -> Self {
        let folder = if is_full() || !has_room(MEMORY) {
            // As long as the name of one in memory: sizes of runs depend on it.
            tempfile::Builder::new().rand_bytes(10).tempdir()
        } else {
            tempfile::tempdir_in(MEMORY)
        };
        Self::in_folder(folder.unwrap(), components)
    }

    /// Creates a folder with the hostile guest, and a scenario that has it as its only provider.
    pub(crate) fn hostile(scenario: &str) -> Self {
        Self::hostile_with("", scenario)
    }

    /// Like [`Runner::hostile`], with more keys of the provider.
    pub(crate) fn hostile_with(keys: &str, scenario: &str) -> Self {
        Self::new(&["hostile"]).with_hostile(keys, scenario)
    }

    /// Like [`Runner::hostile`], in memory also in full tests and without much room, for tests with hundreds of sessions:
    /// syncing a disk would take most of their time.
    pub(crate) fn hostile_in_memory(scenario: &str) -> Self {
        let folder = tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir());
        Self::in_folder(folder.unwrap(), &["hostile"]).with_hostile("", scenario)
    }

    /// Creates `count` trials of the hostile guest that do not end before they are stopped. `run` has keys of `[run]`.
    pub(crate) fn endless(count: usize, input: &str, run: &str) -> Self {
        // In memory: if a busy disk does not sync in time, the watchdog ends a stopped session without its rows.
        Self::hostile_in_memory(&format!(
            "[run]\n{run}\n[[tests]]\nid = \"guest\"\nrepeat = {count}\ntimeout = \"10m\"\ninput = {{ do = \"{input}\" }}\n"
        ))
    }

    fn with_hostile(self, keys: &str, scenario: &str) -> Self {
        let provider = format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{keys}\n");
        self.scenario(&format!("{scenario}\n{provider}"));
        self
    }

    fn in_folder(folder: TempDir, components: &[&str]) -> Self {
        progress::add_folder(folder.path());
        let runner = Self { folder };
        for name in components {
            runner.link(&component(name), &format!("{name}.wasm"));
        }
        runner
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn link(&self, to: &Path, name: &str) {
        symlink(to, self.path(name)).unwrap();
    }

    /// Creates a named pipe.
    pub(crate) fn pipe(&self, name: &str) {
        finished(Command::new("mkfifo").arg(self.path(name))).expect(0);
    }

    /// Writes a file. Settings of a results root are confirmed, as by `runner trust`.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        if name.ends_with("/runner.toml") {
            let confirmed = self.path(".local/state/runner/settings");
            fs::create_dir_all(&confirmed).unwrap();
            let folder = self.path(name).parent().unwrap().canonicalize().unwrap();
            let text = [folder.as_os_str().as_bytes(), b"\0", content.as_ref()].concat();
            fs::write(confirmed.join(digest(&text).to_string()), "").unwrap();
        }
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes a module or component given in text form.
    pub(crate) fn wat(&self, name: &str, text: &str) {
        self.write(name, wat::parse_str(text).unwrap());
    }

    pub(crate) fn scenario(&self, text: &str) {
        self.write("scenario.toml", text);
    }

    /// Returns the program with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(args);
        command
    }

    /// Returns `sh -c SCRIPT`, with the program as `$runner`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = self.program("sh");
        command.args(["-c", script]).env("runner", PROGRAM);
        command
    }

    pub(crate) fn program(&self, program: &str) -> Command {
        stop_ignoring_signals();
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_clear();
        command.env("PATH", env::var_os("PATH").unwrap());
        command.env("HOME", self.folder.path());
        command.env("NO_COLOR", "1");
        command.env("TZ", "UTC");
        // Links between the folder and those of workers need one file system.
        command.env("TMPDIR", self.folder.path().parent().unwrap());
        // All tests share a cache, so that each guest is compiled once.
        command.env("RUNNER_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        finished(&mut self.command(args))
    }

    /// Runs the scenario to its end.
    pub(crate) fn exec(&self, args: &[&str]) -> Finished {
        self.run(&[&["exec", "scenario.toml"], args].concat())
    }

    /// Starts the scenario with a stream of events.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.started(&[&["exec", "scenario.toml", "--json"], args].concat())
    }

    pub(crate) fn started(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Runs a scenario that is refused before there is a run.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], texts: &[&str]) -> Finished {
        let ran = self.exec(args).expect(2);
        ran.says(texts);
        assert_eq!(ran.stdout, "");
        assert!(self.runs().is_empty(), "there is a run");
        ran
    }

    /// Returns the runs in `results`, oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        Run::all(&self.path("results"))
    }

    /// Returns the only run.
    #[track_caller]
    pub(crate) fn only_run(&self) -> Run {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }

    /// Returns the runs of `list --json`, newest first.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        let listed = self.run(&["list", "--json"]).expect(0).document();
        listed["runs"].as_array().unwrap().clone()
    }

    /// Returns the document of `show --json`.
    #[track_caller]
    pub(crate) fn show(&self, run: &Run) -> Value {
        self.run(&["show", run.id(), "--json"]).expect(0).document()
    }
}
