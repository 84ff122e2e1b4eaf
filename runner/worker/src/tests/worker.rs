//! The worker's loop over a socket pair, with the bundled echo and a module that spins.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::FileExt as _, net::UnixStream},
    path::Path,
    sync::{
        OnceLock,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use runner_model::{
    Digest, GuestPhase, Limits, Micros, ProviderName, TaskId, TrialId,
    cache::CodeForm,
    digest,
    prepare::{Described, Prepare, Problem, Ready},
    protocol::{
        FromWorker, Line, Message as _, PREFIX, Sender, SlotWord, Task, TaskKind, ToWorker,
        read_prefix,
    },
    provider::{
        Arguments, OutputForm, PluginKind, PreparedProvider, Protocol, Provider, Reuse, Stdin,
    },
    row::{RowRef, check_row},
    template::Template,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::serve;

const ECHO: &[u8] = include_bytes!("../../../../plugins/bundled/echo.wasm");
/// A module whose `_start` loops forever.
const SPIN: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\x07\x13\x02\x06memory\x02\0\
    \x06_start\0\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

/// Time without a frame after which a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The supervisor's end of a worker.
struct Supervisor {
    folder: TempDir,
    socket: UnixStream,
    /// The worker's result.
    result: Receiver<io::Result<()>>,
    compile_key: String,
}

impl Supervisor {
    /// Starts a worker and receives its first frame.
    fn start() -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        fs::create_dir(folder.path().join("blobs")).unwrap();
        let slots = File::create_new(folder.path().join("slots")).unwrap();
        let (sender, result) = mpsc::channel();
        thread::spawn(move || {
            let leave = sender.clone();
            // The first result counts.
            let served = serve(other, slots, move |served| drop(leave.send(served)));
            sender.send(served)
        });
        let mut supervisor = Self { folder, socket, result, compile_key: String::new() };
        let FromWorker::Hello(hello) = supervisor.next() else { panic!("no hello") };
        assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
        supervisor.compile_key = hello.compile_key;
        supervisor
    }

    /// Starts a worker with echo as provider 0 and spin as provider 1.
    fn start_ready(slots: u32) -> Self {
        let mut supervisor = Self::start();
        supervisor.compile(ECHO);
        supervisor.compile(SPIN);
        assert_eq!(supervisor.prepare(slots).len(), 2);
        supervisor
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Adds a plugin to the cache. Each is compiled once for all tests.
    fn compile(&self, plugin: &[u8]) {
        static ENTRIES: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
        let entry = &ENTRIES[usize::from(plugin == SPIN)];
        let entry =
            entry.get_or_init(|| runner_sandbox::compile(plugin, CodeForm::Optimized).unwrap());
        let name = CodeForm::Optimized.entry_name(&digest(plugin), &self.compile_key);
        // Under a new name: a worker may have loaded the entry, and reads from its file.
        fs::write(self.path("part"), entry).unwrap();
        fs::rename(self.path("part"), Path::new(&self.path("cache")).join(name)).unwrap();
    }

    /// Sends `Prepare` and returns the descriptions in `Ready`.
    fn prepare(&mut self, slots: u32) -> Vec<Described> {
        self.send_prepare(slots);
        match self.next() {
            FromWorker::Ready(ready) => ready.providers,
            other => panic!("{other:?}"),
        }
    }

    fn send_prepare(&mut self, slots: u32) {
        self.send_changed_prepare(slots, |_| {});
    }

    fn send_changed_prepare(&mut self, slots: u32, change: impl FnOnce(&mut Prepare)) {
        let mut prepare = Prepare {
            grader_slots: 0,
            run: "run".into(),
            session: 1,
            cache: self.path("cache"),
            blobs: self.path("blobs"),
            scratch: self.path("scratch"),
            slots,
            memory: 1 << 30,
            grace: Micros(0),
            describe: true,
            quick: false,
            secrets: Default::default(),
            providers: vec![
                provider("echo", ECHO, PluginKind::Component),
                provider("spin", SPIN, PluginKind::Command),
            ],
        };
        change(&mut prepare);
        self.send(&ToWorker::Prepare(Box::new(prepare)));
    }

    fn send(&mut self, message: &ToWorker) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    /// Sends tasks with these ids to a provider. A task's input holds its id.
    fn send_tasks(&mut self, provider: u16, timeout: u64, numbers: impl Iterator<Item = u64>) {
        let (mut tasks, mut body) = (Vec::new(), Vec::new());
        for number in numbers {
            let line = line(number);
            tasks.push(task(number, provider, timeout, Line::Bytes(line.len() as u32)));
            body.extend(line.bytes());
        }
        self.send(&ToWorker::Tasks { tasks, body });
    }

    /// Receives the next frame that is not a heartbeat.
    fn next(&mut self) -> FromWorker {
        loop {
            match self.receive().unwrap() {
                FromWorker::Doing(_) => {}
                message => return message,
            }
        }
    }

    fn receive(&mut self) -> io::Result<FromWorker> {
        let mut prefix = [0; PREFIX];
        self.socket.read_exact(&mut prefix)?;
        let (kind, length) = read_prefix(prefix, Sender::Worker).unwrap();
        let mut content = vec![0; length];
        self.socket.read_exact(&mut content)?;
        Ok(FromWorker::decode(kind, &content).unwrap())
    }

    /// Receives a report. Returns its task and row.
    fn report(&mut self) -> (u64, Value) {
        let FromWorker::Report { head, body } = self.next() else { panic!("no report") };
        let row = &body[..head.row_bytes as usize];
        (head.task.0, serde_json::from_slice(row).unwrap())
    }

    /// Adds a blob.
    fn write_blob(&self, content: &[u8]) -> Digest {
        let name = digest(content);
        fs::write(Path::new(&self.path("blobs")).join(name.to_string()), content).unwrap();
        name
    }

    /// Sends one task with this line.
    fn send_line(&mut self, provider: u16, kind: TaskKind, line: &str) {
        let task = task(1, provider, MINUTE, Line::Bytes(line.len() as u32));
        self.send(&ToWorker::Tasks {
            tasks: vec![Task { kind, ..task }],
            body: line.as_bytes().to_vec(),
        });
    }

    /// Waits until the worker reports that a task's guest is on the processor.
    fn wait_for_doing(&mut self, task: u64) {
        loop {
            if let FromWorker::Doing(doing) = self.receive().unwrap()
                && doing
                    .iter()
                    .any(|doing| doing.task.0 == task && doing.phase == GuestPhase::Computing)
            {
                return;
            }
        }
    }

    /// Waits until the worker reports this number of running tasks.
    fn wait_for_running(&mut self, count: usize) {
        loop {
            if let FromWorker::Doing(doing) = self.receive().unwrap()
                && doing.len() == count
            {
                return;
            }
        }
    }

    /// Pauses the worker, and waits until it has. It has no queued task.
    fn pause(&mut self) {
        self.send(&ToWorker::Pause(true));
        self.send(&ToWorker::TakeBack { keep: 0 });
        assert_eq!(self.next(), FromWorker::Returned(Vec::new()));
    }

    fn slot(&self, slot: usize) -> SlotWord {
        let mut bytes = [0; SlotWord::LENGTH];
        let slots = File::open(self.path("slots")).unwrap();
        slots.read_exact_at(&mut bytes, (slot * SlotWord::LENGTH) as u64).unwrap();
        SlotWord::decode(bytes)
    }

    /// Waits for the worker's result.
    fn join(self) -> io::Result<()> {
        self.result.recv_timeout(PATIENCE).unwrap()
    }

    fn finish(mut self) {
        self.send(&ToWorker::Finish { teardown: false });
        assert_eq!(self.next(), FromWorker::Bye);
        self.join().unwrap();
    }
}

fn provider(name: &str, plugin: &[u8], kind: PluginKind) -> PreparedProvider {
    PreparedProvider {
        provider: Provider {
            grading: None,
            tool: None,
            name: ProviderName::parse(name).unwrap(),
            plugin: format!("bundled:{name}"),
            config: json!({}),
            args: Arguments::default(),
            stdin: None,
            output: OutputForm::Text,
            protocol: Protocol::Plain,
            sha256: None,
            reuse: None,
            grants: Default::default(),
            limits: Limits::default(),
            concurrency: None,
            rate: None,
            budget: Default::default(),
            prices: Default::default(),
            records: None,
            deterministic: None,
            workspace: None,
            files: Vec::new(),
        },
        digest: digest(plugin),
        kind,
        mounts: Vec::new(),
    }
}

fn line(number: u64) -> String {
    format!(
        r#"{{"id":"t{number}","input":{{"n":{number}}},"providers":[0],"timeout":1,"expect":{{"equals":{{"n":{number}}}}}}}"#
    )
}

fn task(number: u64, provider: u16, timeout: u64, line: Line) -> Task {
    let name = if provider == 0 { "echo" } else { "spin" };
    let trial = TrialId::parse(&format!("t{number}@{name}#1")).unwrap();
    Task { provider, line, ..Task::new(TaskId(number), trial, Micros(timeout), 0) }
}

const MINUTE: u64 = 60_000_000;

#[test]
fn reported_rows_pass_the_supervisor_check() {
    let mut supervisor = Supervisor::start_ready(2);
    supervisor.send_tasks(0, MINUTE, 1..=500);
    let mut reported = Vec::new();
    for _ in 0..500 {
        let FromWorker::Report { head, body } = supervisor.next() else { panic!("no report") };
        let row = &body[..head.row_bytes as usize];
        let number = head.task.0;
        let task = task(number, 0, MINUTE, Line::Bytes(0));
        let row: RowRef<'_> = check_row(row, &task, &Limits::default()).unwrap();
        assert_eq!(row.outcome.as_str(), "passed");
        assert_eq!(row.output.unwrap().get(), format!("{{\"n\":{number}}}"));
        assert!(body.len() <= 450, "{} bytes", body.len());
        reported.push(number);
    }
    reported.sort_unstable();
    assert!(reported.into_iter().eq(1..=500));
    // Slots are cleared only after their reports are sent.
    while (0..2).any(|slot| supervisor.slot(slot) != SlotWord::default()) {
        thread::yield_now();
    }
    supervisor.finish();
}

#[test]
fn plugins_describe_themselves_once_they_are_compiled() {
    let mut supervisor = Supervisor::start();
    supervisor.send_prepare(1);
    let requests = [supervisor.next(), supervisor.next()];
    for plugin in [ECHO, SPIN] {
        assert!(requests.contains(&FromWorker::NeedPlugin(digest(plugin))));
    }
    for plugin in [ECHO, SPIN] {
        supervisor.compile(plugin);
        supervisor.send(&ToWorker::PluginReady(digest(plugin)));
    }
    let FromWorker::Ready(Ready { providers: described, .. }) = supervisor.next() else {
        panic!("not ready")
    };
    let [echo, spin] = &described[..] else { panic!("{described:?}") };
    assert_eq!((echo.provider, spin.provider), (0, 1));
    assert_eq!(echo.description.as_ref().unwrap().name, "echo");
    assert_eq!((&spin.description, &spin.problem), (&None, &None));
    supervisor.finish();
}

#[test]
fn missing_plugin_is_a_problem() {
    let mut supervisor = Supervisor::start();
    supervisor.compile(ECHO);
    supervisor.send_prepare(1);
    assert_eq!(supervisor.next(), FromWorker::NeedPlugin(digest(SPIN)));
    supervisor.send(&ToWorker::PluginReady(digest(SPIN)));
    let FromWorker::Ready(Ready { providers: described, .. }) = supervisor.next() else {
        panic!("not ready")
    };
    assert_eq!(described[0].problem, None);
    assert_eq!(described[1].problem.as_ref().unwrap().code, "cache");
    supervisor.finish();
}

#[test]
fn a_guest_that_spins_ends_at_its_timeout() {
    let mut supervisor = Supervisor::start_ready(1);
    supervisor.send_tasks(1, 30_000, 1..=1);
    let (task, row) = supervisor.report();
    assert_eq!((task, &row["outcome"]), (1, &json!("timeout")));
    assert_eq!(row["error"]["code"], "timeout");
    supervisor.finish();
}

#[test]
fn stop_returns_queued_tasks_and_ends_running() {
    for kill in [true, false] {
        let mut supervisor = Supervisor::start_ready(2);
        supervisor.send_tasks(1, MINUTE, 1..=6);
        // The first task runs a while before the second one.
        supervisor.wait_for_running(2);
        let words = [supervisor.slot(0), supervisor.slot(1)];
        assert!(words.iter().any(|word| word.task == 1 && word.started > 0), "{words:?}");
        supervisor.send(&ToWorker::TakeBack { keep: 1 });
        let returned =
            |tasks: &[u64]| FromWorker::Returned(tasks.iter().copied().map(TaskId).collect());
        assert_eq!(supervisor.next(), returned(&[4, 5, 6]));
        let grace = Micros(if kill { MINUTE } else { 20_000 });
        supervisor.send(&ToWorker::Stop { grace, kill });
        assert_eq!(supervisor.next(), returned(&[3]));
        let FromWorker::Doing(doing) = supervisor.receive().unwrap() else { panic!("no tasks") };
        assert_eq!(doing.len(), 2);
        for _ in 0..2 {
            let (_, row) = supervisor.report();
            assert_eq!(row["outcome"], "stopped");
        }
        supervisor.send_tasks(1, MINUTE, 7..=7);
        assert_eq!(supervisor.next(), returned(&[7]));
        supervisor.finish();
    }
}

#[test]
fn long_line_is_read_from_a_blob() {
    let mut supervisor = Supervisor::start_ready(1);
    let line = line(1);
    let name: Digest = digest(line.as_bytes());
    let tasks = vec![task(1, 0, MINUTE, Line::Digest(name))];
    supervisor.send(&ToWorker::Tasks { tasks, body: Vec::new() });
    assert_eq!(supervisor.next(), FromWorker::NeedBlob(name));
    // Its silence would look like its death.
    assert_eq!(supervisor.receive().unwrap(), FromWorker::Doing(Vec::new()));
    let path = Path::new(&supervisor.path("blobs")).join(name.to_string());
    fs::write(path, line).unwrap();
    supervisor.send(&ToWorker::BlobReady(name));
    assert_eq!(supervisor.report().1["outcome"], "passed");
    supervisor.finish();
}

#[test]
fn large_output_is_sent_before_its_report() {
    let mut supervisor = Supervisor::start_ready(1);
    let text = "x".repeat(900_000);
    let line = format!(r#"{{"id":"t1","input":"{text}","providers":[0],"timeout":1}}"#);
    supervisor.send(&ToWorker::Tasks {
        tasks: vec![task(1, 0, MINUTE, Line::Bytes(line.len() as u32))],
        body: line.into_bytes(),
    });
    let mut content = Vec::new();
    let row = loop {
        match supervisor.next() {
            FromWorker::Artifact { bytes, .. } => content.extend(bytes),
            FromWorker::Report { body, .. } => {
                break serde_json::from_slice::<Value>(&body).unwrap();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(row["artifacts"][0]["sha256"], digest(&content).to_string());
    assert_eq!(content, format!("\"{text}\"").into_bytes());
    supervisor.finish();
}

#[test]
fn pause_holds_tasks_and_call_time() {
    const PAUSE: Duration = Duration::from_millis(400);
    let mut supervisor = Supervisor::start_ready(2);
    supervisor.send_tasks(1, 3_000_000, 1..=1);
    supervisor.wait_for_doing(1);
    supervisor.pause();
    // A slot is free, but the pause holds the task back.
    supervisor.send_tasks(0, MINUTE, 2..=2);
    std::thread::sleep(PAUSE);
    supervisor.send(&ToWorker::TakeBack { keep: 0 });
    assert_eq!(supervisor.next(), FromWorker::Returned(vec![TaskId(2)]));
    supervisor.send(&ToWorker::Pause(false));
    let (task, row) = supervisor.report();
    assert_eq!((task, &row["outcome"]), (1, &json!("timeout")));
    let [took, suspended] = ["duration_ms", "suspended_ms"].map(|key| row[key].as_f64().unwrap());
    assert!(took >= 3_000.0 && suspended >= 200.0, "{row}");

    // The start time in the slot's word moves, too.
    supervisor.send_tasks(1, MINUTE, 3..=3);
    supervisor.wait_for_doing(3);
    let word = |supervisor: &Supervisor| {
        let words = [supervisor.slot(0), supervisor.slot(1)];
        words.into_iter().find(|word| word.task == 3).unwrap()
    };
    let before = word(&supervisor);
    supervisor.pause();
    std::thread::sleep(PAUSE);
    supervisor.send(&ToWorker::Pause(false));
    supervisor.send(&ToWorker::TakeBack { keep: 0 });
    assert_eq!(supervisor.next(), FromWorker::Returned(Vec::new()));
    assert!(word(&supervisor).started >= before.started + 200_000);
}

#[test]
fn a_worker_ends_with_its_supervisor() {
    let mut supervisor = Supervisor::start_ready(1);
    supervisor.send_tasks(1, MINUTE, 1..=1);
    supervisor.wait_for_doing(1);
    supervisor.socket.shutdown(Shutdown::Both).unwrap();
    let error = supervisor.join().unwrap_err();
    // It may notice the end while it sends a heartbeat.
    let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!(super::exit_result(Err(error)), Ok(()));
}

#[test]
fn bad_frames_end_the_worker() {
    let error = |bytes: &[u8]| {
        let mut supervisor = Supervisor::start_ready(1);
        supervisor.socket.write_all(bytes).unwrap();
        supervisor.join().unwrap_err().to_string()
    };
    assert_eq!(error(&[1, 0, 0, 0, 99]), "a frame of unknown kind 99");
    let mut supervisor = Supervisor::start_ready(1);
    let line = line(1);
    supervisor.send(&ToWorker::Tasks {
        tasks: vec![task(1, 9, MINUTE, Line::Bytes(line.len() as u32))],
        body: line.into_bytes(),
    });
    let error = supervisor.join().unwrap_err().to_string();
    assert!(error.contains("a task of a provider that cannot be used"), "{error}");
}

#[test]
fn a_test_is_checked_without_a_call() {
    let mut supervisor = Supervisor::start();
    supervisor.compile(ECHO);
    supervisor.compile(SPIN);
    supervisor.send_changed_prepare(1, |prepare| {
        let spin = &mut prepare.providers[1].provider;
        spin.args = Arguments::Each(vec![Template::parse("{{input.x}}").unwrap()]);
        spin.grants.env = vec![("E".into(), Template::parse("{{input.e}}").unwrap())];
        spin.stdin = Some(Stdin::File { file: "in".into() });
    });
    assert!(matches!(supervisor.next(), FromWorker::Ready(_)));
    let (schema, file) = (supervisor.write_blob(b"{\"type\":1}"), digest(b"content"));
    let line = |input: &str, files: &str| {
        format!(
            r#"{{"id":"t1","input":{input},"providers":[1],{files}"timeout":1,"expect":{{"schema":"{schema}"}}}}"#
        )
    };
    let codes = |supervisor: &mut Supervisor| -> Vec<String> {
        let FromWorker::Report { head, body } = supervisor.next() else { panic!("no report") };
        assert_eq!((head.row_bytes as usize, head.task), (body.len(), TaskId(1)));
        let problems: Vec<Problem> = serde_json::from_slice(&body).unwrap();
        problems.into_iter().map(|problem| problem.code).collect()
    };
    supervisor.send_line(1, TaskKind::Check, &line("{}", ""));
    assert_eq!(codes(&mut supervisor), ["template", "schema"]);
    supervisor.send_line(1, TaskKind::Check, &line(r#"{"x":1,"e":1}"#, ""));
    assert_eq!(codes(&mut supervisor), ["attachment", "schema"]);
    let files = format!(r#""files":[{{"name":"in","sha256":"{file}","bytes":7}}],"#);
    supervisor.send_line(1, TaskKind::Check, &line(r#"{"x":1,"e":"\u0000"}"#, &files));
    // The attachment's content is not requested.
    assert_eq!(codes(&mut supervisor), ["template", "schema"]);
    supervisor.send_line(
        0,
        TaskKind::Check,
        r#"{"id":"t1","input":1,"providers":[0],"timeout":1}"#,
    );
    assert_eq!(codes(&mut supervisor), [""; 0]);
    supervisor.finish();
}

#[test]
fn a_kept_instance_is_torn_down_at_the_end() {
    let mut supervisor = Supervisor::start();
    supervisor.compile(ECHO);
    supervisor.compile(SPIN);
    supervisor.send_changed_prepare(2, |prepare| {
        prepare.providers[0].provider.reuse = Some(Reuse::Instance);
    });
    assert!(matches!(supervisor.next(), FromWorker::Ready(_)));
    supervisor.send_tasks(0, MINUTE, 1..=50);
    for _ in 0..50 {
        assert_eq!(supervisor.report().1["outcome"], "passed");
    }
    // A slot that hangs must not delay the teardown of others.
    supervisor.send_tasks(1, MINUTE, 51..=51);
    supervisor.wait_for_doing(51);
    let grace = Micros(0);
    supervisor.send(&ToWorker::Stop { grace, kill: true });
    assert_eq!(supervisor.next(), FromWorker::Returned(Vec::new()));
    assert_eq!(supervisor.report().1["outcome"], "stopped");
    supervisor.send(&ToWorker::Finish { teardown: true });
    assert_eq!(supervisor.next(), FromWorker::Bye);
    supervisor.join().unwrap();
}
