//! [`Broker`]: a NATS server. [`Cable`]: a connection to it that can be cut. Workers, and the rows that must not depend on them.

use std::{
    env,
    fmt::Display,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    iter,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{
    guests::root,
    run::Run,
    runner::Runner,
    running::Running,
    truth::results,
    wait::{LONG, wait_for, wait_until},
};

/// Keys of a row that differ from run to run.
const CHANGING: &[&str] =
    &["attempt", "crc", "duration_ms", "judged", "seq", "session", "started_at", "usage", "worker"];

/// A NATS server on a free port of 127.0.0.1. It is killed, and its store removed, when a test ends before it.
pub(crate) struct Broker {
    folder: TempDir,
    pub(crate) port: u16,
    /// Environment of the server.
    variables: Vec<(String, String)>,
    server: Option<Child>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with more lines of its configuration.
    pub(crate) fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let jetstream = format!("jetstream {{ store_dir: {:?} }}", store.to_str().unwrap());
        Self::in_folder(folder, &format!("{jetstream}\n{config}\n"), &[])
    }

    /// Starts a server with a store of 1 MB.
    pub(crate) fn with_small_store() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store").to_str().unwrap().to_owned();
        let config = format!("jetstream {{ store_dir: {store:?}, max_file_store: 1MB }}\n");
        Self::in_folder(folder, &config, &[])
    }

    pub(crate) fn without_jetstream() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), "", &[])
    }

    /// Starts three servers that are one cluster, and waits until they have elected a leader.
    pub(crate) fn cluster() -> [Self; 3] {
        Self::cluster_with("")
    }

    /// Starts such a cluster with more lines of its configuration.
    pub(crate) fn cluster_with(config: &str) -> [Self; 3] {
        let (names, routes) = (["one", "two", "three"], [(); 3].map(|()| free_port()));
        let all = routes.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let mut number = 0;
        let servers = names.map(|name| {
            let folder = tempfile::tempdir().unwrap();
            let (store, route) = (folder.path().join("store"), routes[number]);
            number += 1;
            let config = format!(
                "{config}\nserver_name: {name}\njetstream {{ store_dir: {:?} }}\ncluster {{ name: c, listen: \"127.0.0.1:{route}\", routes: [{all}] }}\n",
                store.to_str().unwrap()
            );
            Self::in_folder(folder, &config, &[])
        });
        let is_leader =
            |server: &Self| server.log().contains("JetStream cluster new metadata leader");
        wait_until("the cluster has a leader", || servers.iter().any(is_leader));
        servers
    }

    /// Starts a server with the configuration of a page, in a folder with its certificates.
    pub(crate) fn of_page(folder: TempDir, config: &str, variables: &[(&str, &str)]) -> Self {
        let config = config.lines().filter(|line| !line.starts_with("listen: "));
        let config = config.collect::<Vec<_>>().join("\n");
        Self::in_folder(folder, &config, variables)
    }

    fn in_folder(folder: TempDir, config: &str, variables: &[(&str, &str)]) -> Self {
        let port = free_port();
        let config = format!("listen: \"127.0.0.1:{port}\"\n{config}");
        fs::write(folder.path().join("nats.conf"), config).unwrap();
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(variable).collect();
        let mut broker = Self { folder, port, variables, server: None };
        broker.restart();
        broker
    }

    /// Kills the server if it runs, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        command.current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        wait_until("the NATS server answers", || {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.log());
            let mut start = [0; 4];
            TcpStream::connect(("127.0.0.1", self.port))
                .and_then(|mut stream| stream.read_exact(&mut start))
                .is_ok_and(|()| &start == b"INFO")
        });
    }

    /// Kills the server, and removes everything that it has stored.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.path().join("store")).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            // SIGKILL ends it soon.
            server.wait().unwrap();
        }
    }

    /// Returns the address of the server.
    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn nats_server() -> PathBuf {
    let installed = || root().join("target/tools/nats/bin/nats-server");
    let server = env::var_os("NATS_SERVER").map_or_else(installed, PathBuf::from);
    assert!(server.exists(), "{} is missing: `.ci/run` installs it", server.display());
    server
}

/// Returns a port that no process uses. A server that is started again needs the same one, so it is below those that systems
/// give to programs that name none.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = || process::id() * 500 + NEXT.fetch_add(1, Ordering::SeqCst);
    let mut ports = iter::repeat_with(|| 10_000 + (next() % 20_000) as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A connection to a server. While it is cut, no byte passes, and no connection is closed.
pub(crate) struct Cable {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

/// Time that bytes take on a slow cable.
const DELAY: Duration = Duration::from_millis(100);

/// Bytes that a cable replaces by others of the same length, in the direction of the server.
type Forgery = Option<(&'static str, &'static str)>;

impl Cable {
    pub(crate) fn to(broker: &Broker) -> Self {
        Self::with(broker, Duration::ZERO, None)
    }

    /// Returns a connection on which every byte takes [`DELAY`].
    pub(crate) fn slow(broker: &Broker) -> Self {
        Self::with(broker, DELAY, None)
    }

    /// Returns a connection that changes the messages of its client.
    pub(crate) fn forging(broker: &Broker, forgery: Forgery) -> Self {
        Self::with(broker, Duration::ZERO, forgery)
    }

    fn with(broker: &Broker, delay: Duration, forgery: Forgery) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), broker.port);
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, cut) = (near.unwrap(), Arc::clone(&cut));
                thread::spawn(move || {
                    wait_while_cut(&cut);
                    let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
                    let (back, onward) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                    let answers = Arc::clone(&cut);
                    thread::spawn(move || pass(far, back, &answers, delay, None));
                    pass(near, onward, &cut, delay, forgery);
                });
            }
        });
        Self { port, is_cut }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

fn wait_while_cut(cut: &AtomicBool) {
    while cut.load(Ordering::SeqCst) {
        // The poll of a wait that ends with the cut, or with the test.
        thread::sleep(Duration::from_millis(5));
    }
}

/// Forwards bytes until an end is closed.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    cut: &AtomicBool,
    delay: Duration,
    forgery: Forgery,
) {
    let (late, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
    let end = to.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for (at, bytes) in arriving {
            // The delay of the network that this imitates.
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
    });
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        wait_while_cut(cut);
        if let Some((true_words, false_words)) = forgery {
            assert_eq!(true_words.len(), false_words.len());
            for at in 0..count {
                if piece[at..count].starts_with(true_words.as_bytes()) {
                    piece[at..at + false_words.len()].copy_from_slice(false_words.as_bytes());
                }
            }
        }
        if late.send((Instant::now() + delay, piece[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(late);
    let _ = writer.join();
    let _ = end.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// Returns the command of a worker with this name and a store of its own.
pub(crate) fn worker_command(runner: &Runner, address: &str, name: &str, args: &[&str]) -> Command {
    let store = format!("store-{name}");
    let all = ["worker", "--broker", address, "--name", name, "--store", &store];
    runner.command(&[&all, args].concat())
}

/// Starts a worker with two slots, if `args` have no `--jobs`, and waits until it is connected.
#[track_caller]
pub(crate) fn start_worker(runner: &Runner, address: &str, name: &str, args: &[&str]) -> Running {
    let jobs: &[_] = if args.contains(&"--jobs") { &[] } else { &["--jobs", "2"] };
    let args = [jobs, args].concat();
    started(Running::start(&mut worker_command(runner, address, name, &args)))
}

/// Like [`start_worker`], on a machine that has not compiled any plugin.
#[track_caller]
pub(crate) fn start_new_worker(runner: &Runner, address: &str, name: &str, jobs: &str) -> Running {
    let mut command = worker_command(runner, address, name, &["--jobs", jobs]);
    command.env("RUNNER_CACHE", runner.path(&format!("cache-{name}")));
    started(Running::start(&mut command))
}

/// Waits until a worker is connected.
#[track_caller]
pub(crate) fn started(mut worker: Running) -> Running {
    wait_until("the worker is connected", || {
        assert!(worker.is_alive(), "it ended:\n{}", worker.shown());
        worker.shown().contains(" at a time in ")
    });
    worker
}

/// Writes a scenario of trials that each take `ms` milliseconds and have outputs of their own.
pub(crate) fn numbered(runner: &Runner, trials: usize, ms: u64) {
    let rows: String = (0..trials).map(|number| format!("{{\"n\": {number}}}\n")).collect();
    runner.write("numbers.jsonl", rows);
    runner.scenario(&format!(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [providers.echo]
        plugin = "bundled:echo"
        [[test_lists]]
        files = ["numbers.jsonl"]
        id = "n/{{{{row.n}}}}"
        input = {{ do = "sleep", ms = {ms}, n = "{{{{row.n}}}}" }}
        "#
    ));
}

/// Returns the results of a run by trial, without the keys that differ from run to run.
#[track_caller]
pub(crate) fn canonical(run: &Run) -> Vec<(String, Value)> {
    let without = |(trial, mut row): (String, Value)| {
        let without = |row: &mut Value| {
            CHANGING.iter().for_each(|key| drop(row.as_object_mut().unwrap().remove(*key)));
        };
        without(&mut row);
        row["grades"].as_array_mut().into_iter().flatten().for_each(without);
        (trial, row)
    };
    results(run).into_iter().map(without).collect()
}

/// Returns the canonical results of the scenario on this machine.
#[track_caller]
pub(crate) fn alone(runner: &Runner) -> Vec<(String, Value)> {
    runner.run(&["exec", "scenario.toml", "--jobs", "16", "--into", "alone/run"]).expect(0);
    canonical(&Run { dir: runner.path("alone/run") })
}

/// Returns the names of the workers that ran the attempts of a run, without the numbers of their processes.
#[track_caller]
pub(crate) fn used_workers(run: &Run) -> Vec<String> {
    let name = |row: Value| {
        let name = row["worker"].as_str().unwrap_or_else(|| panic!("no worker: {row}")).to_owned();
        name.rsplit_once('/').unwrap().0.to_owned()
    };
    let mut names: Vec<_> = run.rows().into_iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// Waits until a process has printed a message.
#[track_caller]
pub(crate) fn wait_for_message(running: &mut Running, words: &str) {
    wait_for(&format!("it prints `{words}`"), || {
        let shown = running.shown();
        assert!(running.is_alive() || shown.contains(words), "it ended:\n{shown}");
        shown.contains(words).then_some(())
    });
}

/// Returns the request of a process that does not exist to join a session.
pub(crate) fn join_request(session: &str, number: u32, version: &str) -> String {
    let key: Vec<u8> =
        number.to_le_bytes().into_iter().cycle().map(|byte| byte ^ 9).take(32).collect();
    let join = json!({"v": 1, "version": version, "name": format!("nobody-{number}/1"), "session": session,
        "key": key, "slots": 1, "memory": 1 << 30, "is_spare": true});
    join.to_string()
}

/// A message of a NATS server.
#[derive(Clone, Debug)]
pub(crate) struct RawMessage {
    pub(crate) subject: String,
    /// Subject for the answer. Empty if no answer is requested.
    pub(crate) reply: String,
    /// The lines of the headers, with the version. Empty if there are none.
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl RawMessage {
    pub(crate) fn new(subject: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        let (reply, headers) = (String::new(), Vec::new());
        Self { subject: subject.into(), reply, headers, payload: payload.into() }
    }
}

/// A client of a NATS server that sends and receives messages as they are.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        client.line();
        client.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n");
        client
    }

    pub(crate) fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\nPING\r\n").as_bytes());
        while self.line() != "PONG" {}
    }

    /// Sends a message, and ignores the answer.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        let head = format!("PUB {subject} _INBOX.stranger {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat());
    }

    /// Returns the subject of the next message.
    pub(crate) fn next(&mut self) -> String {
        loop {
            let line = self.line();
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["MSG" | "HMSG", subject, ..] => {
                    let length: usize = words.last().unwrap().parse().unwrap();
                    let mut payload = vec![0; length + 2];
                    self.stream.read_exact(&mut payload).unwrap();
                    return subject.to_owned();
                }
                ["PING"] => self.send(b"PONG\r\n"),
                _ => {}
            }
        }
    }

    /// Connects as a user whose password is `p`. The client receives none of its own messages.
    pub(crate) fn login(broker: &Broker, user: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        client.line();
        let options = json!({"verbose": false, "pedantic": false, "headers": true, "echo": false,
            "no_responders": true, "user": user, "pass": "p"});
        client.send(format!("CONNECT {options}\r\n").as_bytes());
        client
    }

    /// Sends a message with its headers.
    pub(crate) fn put(&mut self, message: &RawMessage) {
        let RawMessage { subject, reply, headers, payload } = message;
        let (head, total) = (headers.len(), headers.len() + payload.len());
        let line = match head {
            0 => format!("PUB {subject} {reply} {total}\r\n"),
            _ => format!("HPUB {subject} {reply} {head} {total}\r\n"),
        };
        self.send(&[line.as_bytes(), headers, payload, b"\r\n"].concat());
    }

    /// Returns the next message. `None` once the server has closed the connection, or if no message arrives for long.
    pub(crate) fn receive(&mut self) -> Option<RawMessage> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            let (lengths, words) = match words[..] {
                ["MSG", ..] => (1, words),
                ["HMSG", ..] => (2, words),
                ["PING"] => {
                    self.stream.get_mut().write_all(b"PONG\r\n").ok()?;
                    continue;
                }
                _ => continue,
            };
            let (names, numbers) = words.split_at(words.len() - lengths);
            let numbers: Vec<usize> = numbers.iter().map(|text| text.parse().unwrap()).collect();
            let mut headers = vec![0; *numbers.last().unwrap()];
            self.stream.read_exact(&mut headers).ok()?;
            let payload = headers.split_off(if lengths == 2 { numbers[0] } else { 0 });
            let reply = names.get(3).map(|reply| (*reply).to_owned()).unwrap_or_default();
            return Some(RawMessage { subject: names[1].to_owned(), reply, headers, payload });
        }
    }

    /// Sends a request, and returns the response. The client must have no subscription.
    pub(crate) fn request(&mut self, subject: &str, request: &dyn Display) -> Value {
        let inbox = format!("_INBOX.port-{}", self.stream.get_ref().local_addr().unwrap().port());
        self.subscribe(&inbox);
        let request = RawMessage::new(subject, request.to_string());
        self.put(&RawMessage { reply: inbox, ..request });
        let response = self.receive().unwrap();
        self.send(b"UNSUB 1\r\n");
        serde_json::from_slice(&response.payload)
            .unwrap_or_else(|error| panic!("{subject}: {error}: {response:?}"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the server has closed the connection");
        line.trim_end().to_owned()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }
}
