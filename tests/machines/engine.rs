//! A NATS server of a test's own, and workers at it.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    rows::expanded,
    runner::{CommandExt as _, Run, Runner, Running, Signal},
    wait::wait_until,
};

/// A NATS server, which ends with this value.
pub(crate) struct Engine {
    folder: TempDir,
    port: u16,
    host: String,
    /// What is put before a program to have it started where the server is to be.
    enters: Vec<String>,
    /// How it is spoken with, where not as anybody may.
    known_as: Option<String>,
    server: Option<Child>,
}

impl Engine {
    pub(crate) fn start() -> Self {
        let engine = Self::start_on("127.0.0.1", Vec::new());
        engine.wait();
        engine
    }

    /// Starts one that listens at this address, which may be one of another network.
    pub(crate) fn start_on(host: &str, enters: Vec<String>) -> Self {
        // Freed before the server takes it: nobody else asks for it in between, but for the system's own choice.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut engine = Self {
            folder: tempfile::tempdir().unwrap(),
            port,
            host: host.to_owned(),
            enters,
            known_as: None,
            server: None,
        };
        engine.spawn();
        engine
    }

    pub(crate) fn url(&self) -> String {
        let anybody = || format!("nats://{}:{}", self.host, self.port);
        self.known_as.clone().unwrap_or_else(anybody)
    }

    /// Is spoken with at this address from now on.
    pub(crate) fn known_as(mut self, url: &str) -> Self {
        self.known_as = Some(url.to_owned());
        self
    }

    /// Starts one that has room for next to nothing.
    pub(crate) fn start_small() -> Self {
        Self::configured("max_file_store: 32KB", "")
    }

    /// Starts one with more in its configuration.
    pub(crate) fn start_with(more: &str) -> Self {
        Self::configured("", more)
    }

    /// Starts one with what the server takes from a file alone.
    fn configured(store: &str, more: &str) -> Self {
        let mut engine = Self::start();
        engine.kill();
        let text = format!(
            "jetstream {{ store_dir: \"{}\"\n {store} }}\n{more}",
            engine.store().display()
        );
        fs_err::write(engine.folder.path().join("server.conf"), text).unwrap();
        engine.start_again();
        engine
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub(crate) fn wipe(&self) {
        fs_err::remove_dir_all(self.store()).unwrap();
    }

    /// Keeps its store as it is, to come back to later; it must not run.
    pub(crate) fn keep_store(&self) {
        copy(&self.store(), &self.folder.path().join("kept"));
    }

    /// Puts the store back as it was when it was kept.
    pub(crate) fn roll_back(&self) {
        self.wipe();
        copy(&self.folder.path().join("kept"), &self.store());
    }

    pub(crate) fn start_again(&mut self) {
        self.spawn();
        self.wait();
    }

    /// The arguments that say where the server has its store, and how large that may be.
    fn kept_where(&self) -> Vec<PathBuf> {
        let config = self.folder.path().join("server.conf");
        match config.exists() {
            true => vec!["--config".into(), config],
            false => vec!["--jetstream".into(), "--store_dir".into(), self.store()],
        }
    }

    fn wait(&self) {
        let address = ("127.0.0.1", self.port);
        wait_until("the engine answers", || {
            std::net::TcpStream::connect(address).is_ok()
        });
    }

    fn spawn(&mut self) {
        let program = env::var_os("NATS_SERVER").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/nats/nats-server"),
            PathBuf::from,
        );
        let log = fs_err::File::create(self.folder.path().join("log")).unwrap();
        let enters = self.enters.iter().map(AsRef::as_ref);
        let mut whole = enters.chain([program.as_os_str()]);
        let server = Command::new(whole.next().unwrap())
            .args(whole)
            .args(["--addr", &self.host, "--port", &self.port.to_string()])
            .args(self.kept_where())
            .stdout(Stdio::null())
            .stderr(log.into_parts().0)
            .spawn();
        let server = server.unwrap_or_else(|error| {
            panic!(
                "`{}` cannot be started: {error}; `.ci/run` installs it",
                program.display()
            )
        });
        self.server = Some(server);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Starts a worker, which keeps its store in a folder of its own.
pub(crate) fn worker(runner: &Runner, engine: &Engine, name: &str, args: &[&str]) -> Running {
    worker_at(runner, &engine.url(), name, args)
}

/// The same at an address by which an engine is reached.
pub(crate) fn worker_at(runner: &Runner, url: &str, name: &str, args: &[&str]) -> Running {
    let store = format!("store-{name}");
    let own = ["worker", "--engine", url, "--name", name, "--store", &store];
    runner.command(&[&own, args].concat()).start()
}

/// Starts the scenario over an engine.
pub(crate) fn exec(runner: &Runner, engine: &Engine, args: &[&str]) -> Running {
    let url = engine.url();
    runner.start(&[&["--engine", url.as_str()], args].concat())
}

/// The same without events: what it prints need not be read for it to go on.
pub(crate) fn exec_unread(runner: &Runner, engine: &Engine) -> Running {
    exec_unread_at(runner, &engine.url())
}

/// The same at an address by which an engine is reached.
pub(crate) fn exec_unread_at(runner: &Runner, url: &str) -> Running {
    let args = ["exec", "scenario.toml", "--engine", url];
    runner.command(&args).start()
}

/// Waits until at least so many rows are on disk.
#[track_caller]
pub(crate) fn wait_for_rows(runner: &Runner, count: usize) {
    wait_until("there are rows", || {
        let runs = runner.runs();
        runs.first().is_some_and(|run| finals(run) >= count)
    });
}

/// How many trials have a final row.
pub(crate) fn finals(run: &Run) -> usize {
    let bytes = fs_err::read(run.dir.join("index.jsonl")).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// What a run has written into its log so far.
pub(crate) fn log(run: &Run) -> String {
    fs_err::read_to_string(run.dir.join("runner.log")).unwrap_or_default()
}

/// Whether this worker has been let in by a live run.
pub(crate) fn has_joined(runner: &Runner, worker: &str) -> bool {
    let runs = runner.runs();
    let said = format!("worker {worker}/1 makes attempts");
    runs.first().is_some_and(|run| log(run).contains(&said))
}

/// The workers of the rows that somebody has made, without the number of their process.
pub(crate) fn workers_of(run: &Run) -> Vec<String> {
    let rows = run.lines();
    let mut workers: Vec<_> = rows
        .iter()
        // Of one that is lost only the runner tells.
        .filter(|row| row["error"]["code"] != "lost")
        .map(|row| row["worker"].as_str().unwrap_or("here").to_owned())
        .map(|worker| worker.split('/').next().unwrap().to_owned())
        .collect();
    workers.sort();
    workers.dedup();
    workers
}

/// Fails unless every trial has exactly one final row, and no attempt has two.
#[track_caller]
pub(crate) fn assert_whole(runner: &Runner, trials: usize) {
    let run = runner.only_run();
    let rows: Vec<_> = run.lines().into_iter().map(expanded).collect();
    let key = |row: &Value| json!([row["trial"], row["attempt"]]).to_string();
    let mut keys: Vec<_> = rows.iter().map(key).collect();
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count, "an attempt has two rows");
    let finals = rows.iter().filter(|row| row["final"] == true);
    assert_eq!(finals.count(), trials);
    runner.run(&["verify"]).expect(0);
}

/// Ends a worker by a signal, as a user would, and gives what it has said.
#[track_caller]
pub(crate) fn end(worker: Running) -> String {
    let (ran, _) = worker.end_by(Signal::TERM);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stderr
}
