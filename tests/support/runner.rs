//! The real program in a temporary folder, with an environment of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::{Deref, DerefMut},
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{guests::guest, rows::expanded};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
/// Longer than any of these tests takes on a busy machine; then the program is killed and its test fails.
const LONG: Duration = Duration::from_secs(120);

/// The program and the folder that it works in.
pub(crate) struct Runner {
    folder: Arc<TempDir>,
}

/// What is done with a command once a test has put it together.
pub(crate) trait CommandExt {
    fn start(&mut self) -> Running;

    /// Runs it to its end.
    fn run(&mut self) -> Ran;
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that is running; it is killed where a test ends before it.
pub(crate) struct Running {
    child: OwnedChild,
    stdout: BufReader<ChildStdout>,
    /// What was read of standard output so far.
    read: String,
    stderr: JoinHandle<String>,
    watchdog: Sender<()>,
}

/// A run directory.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
    /// Goes when nobody asks for anything in it any more.
    _folder: Arc<TempDir>,
}

/// The text of tests: one for each line `id | input | expect`.
pub(crate) fn tests(table: &str) -> String {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let mut cell = || cells.next().unwrap_or_default();
            let (id, input, expect) = (cell(), cell(), cell());
            format!("[[tests]]\nid = \"{id}\"\ninput = {input}\nexpect = {{ {expect} }}\n")
        })
        .collect()
}

impl Runner {
    /// A new folder; each of `guests` lies in it as `NAME.wasm`.
    pub(crate) fn new(guests: &[&str]) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), guests)
    }

    /// A new folder in memory, where the system has a folder there.
    pub(crate) fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::in_folder(folder.unwrap(), &[])
    }

    fn in_folder(folder: TempDir, guests: &[&str]) -> Self {
        let runner = Self {
            folder: Arc::new(folder),
        };
        for name in guests {
            symlink(guest(name), runner.path(&format!("{name}.wasm"))).unwrap();
        }
        runner
    }

    /// A folder with the hostile guest and a scenario that has it as its only provider.
    pub(crate) fn hostile(scenario: &str) -> Self {
        let runner = Self::new(&["hostile"]);
        runner.scenario(&format!(
            "{scenario}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"
        ));
        runner
    }

    /// The same in memory, where the system has a folder there: for tests that begin hundreds of sessions, which would
    /// spend their time with waiting for a disk.
    pub(crate) fn hostile_in_memory(scenario: &str) -> Self {
        let runner = Self::in_memory();
        symlink(guest("hostile"), runner.path("hostile.wasm")).unwrap();
        runner.scenario(&format!(
            "{scenario}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"
        ));
        runner
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    /// Writes a module or component in its text form.
    pub(crate) fn wat(&self, name: &str, text: &str) {
        self.write(name, wat::parse_str(text).unwrap());
    }

    pub(crate) fn scenario(&self, text: &str) {
        self.write("scenario.toml", text);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(args);
        command
    }

    /// `sh -c`, with the program as `$runner`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = self.program("sh");
        command.args(["-c", script]).env("runner", PROGRAM);
        command
    }

    /// The program with a terminal of its own, which is its standard input.
    pub(crate) fn on_own_terminal(&self, args: &[&str]) -> Command {
        let mut command = self.program("setsid");
        command.args(["--ctty", PROGRAM]).args(args);
        command
    }

    /// A shell with a terminal of its own and with job control; the program is `$runner`.
    pub(crate) fn interactive_shell(&self) -> Command {
        let mut command = self.program("setsid");
        command.args(["--ctty", "bash", "--norc", "--noediting", "-i"]);
        command.env("runner", PROGRAM).env("PS1", "ready> ");
        command
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            // Guests are compiled once for all tests.
            .env(
                "RUNNER_CACHE",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
            )
            .env("NO_COLOR", "1")
            .env("PAGER", "cat")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).run()
    }

    /// Runs the scenario.
    pub(crate) fn exec(&self, args: &[&str]) -> Ran {
        self.run(&[&["exec", "scenario.toml"], args].concat())
    }

    /// Runs a scenario that is refused before there is a run.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], says: &[&str]) -> Ran {
        let ran = self.exec(args).expect(2);
        ran.says(says);
        assert_eq!(ran.stdout, "");
        assert!(!self.path("results").exists(), "something was created");
        ran
    }

    /// Runs the program with a failpoint armed, until whatever that leads to.
    #[cfg(debug_assertions)]
    pub(crate) fn start_failing(&self, args: &[&str], failpoint: &str) -> Running {
        let mut command = self.command(args);
        command.env("RUNNER_FAILPOINT", failpoint);
        command.start()
    }

    /// Runs the scenario, whose end the test does not wait for.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let args = [&["exec", "scenario.toml", "--json"], args].concat();
        self.command(&args).start()
    }

    /// Fails unless all of these are valid by a schema that the program publishes.
    #[track_caller]
    pub(crate) fn assert_valid(&self, schema: &str, values: &[Value]) {
        let text = self.run(&["schema", schema]).expect(0).stdout;
        let validator = jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap();
        assert!(!validator.is_valid(&json!({})), "anything is valid");
        for value in values {
            let errors: Vec<_> = validator
                .iter_errors(value)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
        }
    }

    /// The run directories, oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let Ok(entries) = fs_err::read_dir(self.path("results")) else {
            return Vec::new();
        };
        let mut dirs: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("benchmark.json").exists())
            .collect();
        dirs.sort();
        let run = |dir| Run {
            dir,
            _folder: Arc::clone(&self.folder),
        };
        dirs.into_iter().map(run).collect()
    }

    /// The run in this directory.
    pub(crate) fn run_at(&self, dir: &str) -> Run {
        Run {
            dir: self.path(dir),
            _folder: Arc::clone(&self.folder),
        }
    }

    /// The only run there is.
    #[track_caller]
    pub(crate) fn only_run(&self) -> Run {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    /// The ids of the runs, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let runs = self.runs();
        runs.iter().map(|run| run.id().to_owned()).collect()
    }

    /// What `list --json` says, newest first.
    #[track_caller]
    pub(crate) fn list(&self, args: &[&str]) -> Vec<Value> {
        let ran = self.run(&[&["list", "--json"], args].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.document()["runs"].as_array().unwrap().clone()
    }
}

impl CommandExt for Command {
    fn start(&mut self) -> Running {
        Running::spawn(self)
    }

    fn run(&mut self) -> Ran {
        self.start().finish()
    }
}

/// A process that is killed when it is dropped; a test that fails leaves none.
struct OwnedChild(Child);

impl Deref for OwnedChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for OwnedChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // It has mostly ended, and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (watchdog, is_over) = mpsc::channel();
        let pid = pid(&child);
        std::thread::spawn(move || {
            if is_over.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            read: String::new(),
            stderr: std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            }),
            child: OwnedChild(child),
            watchdog,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits for what it does while it is alive.
    #[track_caller]
    pub(crate) fn wait_while_alive(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            assert!(self.is_alive(), "it ended before {what}");
            std::thread::yield_now();
        }
    }

    /// Waits until it has suspended itself at a failpoint.
    #[cfg(debug_assertions)]
    #[track_caller]
    pub(crate) fn wait_until_halted(&mut self) {
        let stat = format!("/proc/{}/stat", self.id());
        let is_halted = || fs_err::read_to_string(&stat).unwrap().contains(") T ");
        self.wait_while_alive("it came to the failpoint", is_halted);
    }

    /// Reads events until one satisfies `is_wanted`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, is_wanted: impl FnMut(&Value) -> bool) -> Value {
        let event = self.next_event(is_wanted);
        event.unwrap_or_else(|| panic!("it ended after {}", self.read))
    }

    /// Reads events until one satisfies `is_wanted` or there are no more.
    pub(crate) fn next_event(
        &mut self,
        mut is_wanted: impl FnMut(&Value) -> bool,
    ) -> Option<Value> {
        loop {
            let mut line = String::new();
            let bytes = self.stdout.read_line(&mut line).unwrap();
            if bytes == 0 {
                return None;
            }
            self.read.push_str(&line);
            let event = serde_json::from_str(&line);
            let event = event.unwrap_or_else(|error| panic!("{line:?} is no event: {error}"));
            if is_wanted(&event) {
                return Some(event);
            }
        }
    }

    /// Waits until this many attempts are being executed.
    #[track_caller]
    pub(crate) fn wait_until_running(&mut self, attempts: u64) {
        self.wait_for(|event| event["running"].as_u64() == Some(attempts));
    }

    /// Sends a signal and tells how long it took to end.
    #[track_caller]
    pub(crate) fn end_by(self, signal: Signal) -> (Ran, Duration) {
        let sent = Instant::now();
        self.signal(signal);
        let ran = self.finish();
        (ran, sent.elapsed())
    }

    #[track_caller]
    pub(crate) fn finish(self) -> Ran {
        let (ran, signal) = self.wait();
        assert_ne!(signal, Some(9), "it hung\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Waits for a program that kills itself; the last line of its output may be torn.
    #[cfg(debug_assertions)]
    #[track_caller]
    pub(crate) fn finish_killed(self) -> Ran {
        let started = Instant::now();
        let (ran, signal) = self.wait();
        assert!(started.elapsed() < LONG, "it hung: {ran:?}");
        assert_eq!(signal, Some(9), "it was not killed: {ran:?}");
        ran
    }

    /// What it came to, and the signal that ended it.
    pub(crate) fn wait(mut self) -> (Ran, Option<i32>) {
        self.stdout.read_to_string(&mut self.read).unwrap();
        let status = self.child.wait().unwrap();
        drop(self.watchdog);
        let ran = Ran {
            code: status.code(),
            stdout: self.read,
            stderr: self.stderr.join().unwrap(),
        };
        (ran, status.signal())
    }

    /// Ends the program without any notice, and returns what it had printed.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stdout.read_to_string(&mut self.read).unwrap();
        drop(self.watchdog);
        self.read
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one document of JSON.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        let document = serde_json::from_str(&self.stdout);
        document.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as JSON Lines.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        lines(&self.stdout)
    }

    /// Fails unless standard error has all of these in it.
    #[track_caller]
    pub(crate) fn prints(&self, text: &str) {
        assert!(
            self.stdout.contains(text),
            "`{text}` is not in\n{}",
            self.stdout
        );
    }

    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) {
        let unwrapped = unwrapped(&self.stderr);
        for text in texts {
            assert!(
                unwrapped.contains(text),
                "`{text}` is not in\n{}",
                self.stderr
            );
        }
    }
}

impl Run {
    pub(crate) fn id(&self) -> &str {
        self.dir.file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.dir.join(name)).unwrap()
    }

    /// Puts another content into one of its files.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs_err::write(self.dir.join(name), content).unwrap();
    }

    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_str(&self.read("benchmark.json")).unwrap()
    }

    pub(crate) fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        self.write("benchmark.json", manifest.to_string());
    }

    /// Makes it look as if its only session had died before it wrote how it ended.
    pub(crate) fn forget_its_end(&self) {
        self.change_manifest(|manifest| {
            manifest["status"] = "running".into();
            manifest["verdict"] = "none".into();
            // Rows are counted when a session is over.
            for (name, count) in manifest["counts"].as_object_mut().unwrap() {
                if name != "planned" {
                    *count = 0.into();
                }
            }
            manifest.as_object_mut().unwrap().remove("completed_at");
            let session = manifest["sessions"][0].as_object_mut().unwrap();
            session.remove("closed_at");
            manifest["transitions"].as_array_mut().unwrap().truncate(1);
        });
    }

    /// Leaves the first `count` rows.
    pub(crate) fn keep_rows(&self, count: usize) {
        let index = self.read("index.jsonl");
        let kept: Vec<_> = index.split_inclusive('\n').take(count).collect();
        self.write("index.jsonl", kept.concat());
    }

    /// The files of rows, one behind the other.
    pub(crate) fn index(&self) -> Vec<u8> {
        let files = (1..).map(|number| match number {
            1 => self.dir.join("index.jsonl"),
            _ => self.dir.join(format!("index-{number}.jsonl")),
        });
        let files: Vec<_> = files.take_while(|path| path.exists()).collect();
        let read = files.into_iter().map(|path| fs_err::read(path).unwrap());
        read.collect::<Vec<_>>().concat()
    }

    /// The lines of all rows.
    pub(crate) fn lines(&self) -> Vec<Value> {
        lines(&String::from_utf8(self.index()).unwrap())
    }

    /// The rows with all that their lines leave out, as documents and events have them.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.lines().into_iter().map(expanded).collect()
    }

    /// The final row of a test that has one trial.
    #[track_caller]
    pub(crate) fn row(&self, test: &str) -> Value {
        let rows = self.rows();
        let mut wanted = rows
            .into_iter()
            .filter(|row| row["test"] == test && row["final"] == true);
        let row = wanted
            .next()
            .unwrap_or_else(|| panic!("no row of `{test}`"));
        assert_eq!(wanted.next(), None);
        row
    }

    /// What was said in an attempt: its `log`, with a record on each line, its `stdout` or its `stderr`.
    pub(crate) fn said(&self, row: &Value, what: &str) -> Option<String> {
        let place = row.get("logs")?;
        let name = format!("logs-{}-{}.jsonl", row["session"], place["file"]);
        let at = place["at"].as_u64().unwrap() as usize;
        let end = at + place["bytes"].as_u64().unwrap() as usize;
        let lines = lines(&self.read(&name)[at..end]);
        let [line] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(line["trial"], row["trial"]);
        assert_eq!(line["attempt"], row["attempt"]);
        match line.get(what)? {
            Value::Array(records) => {
                Some(records.iter().map(|record| format!("{record}\n")).collect())
            }
            text => Some(text.as_str().unwrap().to_owned()),
        }
    }

    /// How it ended: status, reason, signal, verdict.
    pub(crate) fn ending(&self) -> [String; 4] {
        let manifest = self.manifest();
        ["status", "reason", "signal", "verdict"]
            .map(|key| manifest[key].as_str().unwrap_or_default().to_owned())
    }
}

/// The values of JSON Lines, each of which must be whole.
#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A message without the lines and marks that it was laid out with.
fn unwrapped(text: &str) -> String {
    let words: Vec<_> = text
        .split_whitespace()
        .filter(|word| !matches!(*word, "│" | "|"))
        .collect();
    words.join(" ")
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}
