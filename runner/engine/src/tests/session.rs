//! Whole sessions with fake workers, which are threads that behave like worker processes or misbehave.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, SystemTime},
};

use runner_model::{
    ErrorClass, Micros, Outcome, Reason, Row, RowRef, RunStatus, StopSignal, TaskId, digest,
    prepare::{Described, Problem, Ready, RefusedPart},
    protocol::{
        CallLine, FromWorker, Hello, MAX_PIECE, ReportHead, SlotWord, Task, TaskKind, ToWorker,
    },
    provider::{Description, Deterministic, InFlight, PluginKind, PreparedProvider, Reuse},
    row::Calls,
};
use runner_prepare::{ContentSource, Origin};
use runner_record::{Fold, PluginCache, ResultsRoot};
use runner_scenario::{Selection, load, resolve};

use super::{
    Ended, EngineError, Observer, Plan, PlannedSession, PreparedSession, PrestartedWorker,
};
use crate::{
    RunEvent, SessionRequest,
    clock::monotonic,
    remote::{Offer, OfferedSession, RemoteRequest, SourceSink, WorkerSource},
    run_parts::{RunParts, new_run},
    schedule::Blame,
    signals::lock,
    workers::{
        WorkerExit,
        link::{EventSink, LinkEvent, WorkerLink},
    },
};

/// Returns the behaviour of a worker by its number, from 1.
type Script = fn(u32) -> Act;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Behaves correctly.
    Work,
    /// Dies during its third task.
    Die,
    /// Reports its third task with the row of another attempt.
    Lie,
    /// Requests a file that is not part of the run.
    Foreign,
    /// Reports each task twice.
    Double,
    /// Never answers.
    Hang,
    /// Dies before it is ready.
    NeverReady,
    /// Is killed before it is ready, as by the system.
    Killed,
    /// Dies while it checks an input.
    NeverCheck,
    /// Answers a check with a long message of several lines.
    Shout,
    /// Reports a problem of the plugin.
    Refuse,
    /// Announces another version.
    Stranger,
    /// Has no schema of inputs, so none is checked, and does not end when it is killed.
    Unkillable,
    /// Records two calls in each attempt.
    Record,
    /// Dies between the two calls of its third task.
    RecordDie,
    /// Breaks a rule of journals in its third task.
    RecordLie(RecordLie),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RecordLie {
    Twice,
    NoStart,
    Continues,
    NoCalls,
    NoJson,
    Void,
    Long,
}

struct Fake {
    frames: mpsc::Sender<Option<ToWorker>>,
    slots: Arc<Mutex<Vec<SlotWord>>>,
}

impl WorkerLink for Fake {
    fn send(&self, message: ToWorker) {
        let _ = self.frames.send(Some(message));
    }

    fn kill(&self) {
        let _ = self.frames.send(None);
    }

    fn slots(&self) -> Vec<SlotWord> {
        lock(&self.slots).clone()
    }
}

fn fake(act: Act, sink: EventSink) -> Fake {
    let (frames, received) = mpsc::channel();
    let slots = Arc::new(Mutex::new(Vec::new()));
    let slots_of_worker = Arc::clone(&slots);
    let blobs = PathBuf::new();
    let worker = Worker { act, sink, slots: slots_of_worker, tasks: 0, blobs, unkept: 0 };
    thread::spawn(move || worker.run(&received));
    Fake { frames, slots }
}

struct Worker {
    act: Act,
    sink: EventSink,
    slots: Arc<Mutex<Vec<SlotWord>>>,
    tasks: u32,
    /// Folder of blobs.
    blobs: PathBuf,
    /// Entries without an answer.
    unkept: u32,
}

impl Worker {
    fn run(mut self, frames: &mpsc::Receiver<Option<ToWorker>>) {
        let version = match self.act {
            Act::Stranger => "0.0.0",
            _ => env!("CARGO_PKG_VERSION"),
        };
        self.send(FromWorker::Hello(Hello {
            version: version.to_owned(),
            compile_key: "0123456789abcdef".to_owned(),
        }));
        while let Ok(message) = frames.recv() {
            let Some(message) = message else {
                if self.act == Act::Unkillable {
                    continue;
                }
                break;
            };
            match message {
                ToWorker::Prepare(_) if matches!(self.act, Act::NeverReady | Act::Killed) => {
                    return self.lost(Some(Blame::Died));
                }
                ToWorker::Prepare(prepare) => {
                    assert!(Path::new(&prepare.scratch).is_dir());
                    self.blobs = PathBuf::from(&prepare.blobs);
                    let problem = (self.act == Act::Refuse).then(|| Problem {
                        class: ErrorClass::InvalidConfig,
                        code: "bad".to_owned(),
                        message: "wants more".to_owned(),
                        refused: RefusedPart::default(),
                    });
                    self.send(FromWorker::Ready(Ready {
                        providers: vec![Described {
                            provider: 0,
                            description: Some(Description {
                                name: "p".to_owned(),
                                version: "1".to_owned(),
                                summary: String::new(),
                                config_schema: None,
                                input_schema: (self.act != Act::Unkillable).then(|| true.into()),
                                requests: Vec::new(),
                            }),
                            problem,
                        }],
                        ..Ready::default()
                    }));
                }
                ToWorker::Tasks { tasks, .. } => {
                    for task in tasks {
                        if !self.attempt(&task) {
                            return self.lost(Some(Blame::Died));
                        }
                    }
                }
                ToWorker::TakeBack { .. } => self.send(FromWorker::Returned(Vec::new())),
                ToWorker::EntryKept(_) => self.unkept -= 1,
                ToWorker::Finish { .. } => {
                    self.send(FromWorker::Log(format!("{} calls are not kept", self.unkept)));
                    self.send(FromWorker::Log("the last line".to_owned()));
                    return self.lost(None);
                }
                _ => {}
            }
        }
        self.lost(None);
    }

    /// Runs an attempt. Returns `false` if the worker must die.
    fn attempt(&mut self, task: &Task) -> bool {
        if task.kind == TaskKind::Check {
            let problem = Problem {
                class: ErrorClass::InvalidInput,
                code: "input".to_owned(),
                message: "is\nbad".repeat(10_000),
                refused: RefusedPart::default(),
            };
            match self.act {
                Act::NeverCheck => return false,
                Act::Shout => self.answer(task.id, serde_json::to_vec(&[problem]).unwrap()),
                _ => self.answer(task.id, b"[]".to_vec()),
            }
            return true;
        }
        self.tasks += 1;
        let word = SlotWord { task: task.id.0, started: monotonic() };
        *lock(&self.slots) = vec![word];
        let is_third = self.tasks == 3;
        match self.act {
            Act::Hang => return true,
            Act::Die if is_third => return false,
            Act::Record | Act::RecordDie | Act::RecordLie(_) => {
                if !self.record(task, is_third) {
                    return false;
                }
            }
            Act::Lie if is_third => {
                let mut other = task.clone();
                other.attempt += 1;
                self.report(task.id, &other);
            }
            // The worker waits for the file and never reports.
            Act::Foreign if self.tasks >= 3 => {
                self.send(FromWorker::NeedBlob(digest(b"foreign")));
                return true;
            }
            Act::Double => {
                self.report(task.id, task);
                self.report(task.id, task);
            }
            _ => self.report(task.id, task),
        }
        lock(&self.slots).clear();
        true
    }

    /// Runs an attempt with two calls, of which the journal of an interrupted one may have some.
    fn record(&mut self, task: &Task, is_third: bool) -> bool {
        let lie = match self.act {
            Act::RecordLie(lie) if is_third => Some(lie),
            _ => None,
        };
        let used = task.recorded.map_or(0, |recorded| recorded.used.0);
        assert_eq!(task.timeout.0 + used, 60_000_000);
        let recorded = task.recorded.map_or_else(String::new, |recorded| {
            fs::read_to_string(self.blobs.join(recorded.sha256.to_string())).unwrap()
        });
        let recorded = recorded.lines().map(|line| {
            let call: CallLine<'_> = serde_json::from_str(line).unwrap();
            assert_eq!((&call.trial, call.attempt), (&task.trial, task.attempt));
            call.entry.get().to_owned()
        });
        let is_hashed = |entry: &String| !entry.contains("\"continues\":true");
        let mut calls: Vec<_> = recorded.filter(is_hashed).collect();
        let continues = task.recorded.is_some() || lie == Some(RecordLie::Continues);
        let start = format!(
            r#"{{"start":{{"clock":"2026-11-20T09:18:04.015Z","timeout_us":1,"compile_key":"0123456789abcdef","continues":{continues}}}}}"#
        );
        if lie != Some(RecordLie::NoStart) {
            self.entry(task.id, &start);
        }
        if calls.is_empty() {
            calls.push(start);
        }
        for number in calls.len()..=2 {
            let number = if lie == Some(RecordLie::Twice) { 1 } else { number };
            let call = format!(
                r#"{{"exchange":{{"number":{number},"at_ns":1,"took_us":1,"used_us":{number}000,"request":{{"method":"GET","url":"http://x/"}},"response":{{"status":200}}}}}}"#
            );
            match lie {
                Some(RecordLie::NoJson) => self.entry(task.id, "{"),
                Some(RecordLie::Void) => self.entry(task.id, r#"{"void":{"reason":"x"}}"#),
                Some(RecordLie::Long) => self.entry(task.id, &"x".repeat(MAX_JOURNAL * 5 / 4)),
                _ => self.entry(task.id, &call),
            }
            calls.push(call);
            if self.act == Act::RecordDie && is_third {
                return false;
            }
        }
        let calls =
            Calls { count: calls.len() as u32 - 1, sha256: digest(calls.concat().as_bytes()) };
        let row = Row {
            calls: Some(calls).filter(|_| lie != Some(RecordLie::NoCalls)),
            continued: task.recorded.map_or(0, |recorded| recorded.continued),
            ..row(task)
        };
        self.answer(task.id, serde_json::to_vec(&row).unwrap());
        true
    }

    fn entry(&mut self, task: TaskId, entry: &str) {
        self.unkept += 1;
        let pieces = entry.as_bytes().chunks(MAX_PIECE.min(entry.len().div_ceil(2)));
        let count = pieces.len();
        for (number, piece) in (1..).zip(pieces) {
            let (is_last, bytes) = (number == count, piece.to_vec());
            self.send(FromWorker::Entry { task, is_last, bytes });
        }
    }

    fn report(&self, id: TaskId, task: &Task) {
        self.answer(id, serde_json::to_vec(&row(task)).unwrap());
    }

    fn answer(&self, id: TaskId, body: Vec<u8>) {
        let head =
            ReportHead { task: id, row_bytes: body.len() as u32, log_bytes: 0, host_fault: None };
        self.send(FromWorker::Report { head, body });
    }

    fn send(&self, message: FromWorker) {
        (self.sink)(LinkEvent::Messages(vec![message]));
    }

    fn lost(self, blame: Option<Blame>) {
        let started = lock(&self.slots).clone();
        let is_killed = self.act == Act::Killed;
        let how = if is_killed { "was ended by signal 9" } else { "died" }.to_owned();
        (self.sink)(LinkEvent::Exited(WorkerExit { started, blame, how }));
    }
}

fn row(task: &Task) -> Row<'_> {
    let (started_at, took) = (SystemTime::now().into(), Duration::from_micros(100));
    Row {
        outcome: Outcome::Passed,
        ..Row::new(&task.trial, task.attempt, started_at, took, Duration::ZERO)
    }
}

/// Counts of a session's events.
#[derive(Default)]
struct EventCounts {
    rows: u64,
    started: u32,
    signals: Vec<Option<StopSignal>>,
    finished: u32,
    /// Text of `runner.log`.
    log: String,
    /// Lines of `calls.jsonl`.
    calls: Vec<String>,
}

impl Observer for EventCounts {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Row { .. } => self.rows += 1,
            RunEvent::Started { .. } => self.started += 1,
            RunEvent::Stopping { signal, .. } => self.signals.push(*signal),
            RunEvent::Finished { .. } => self.finished += 1,
            _ => {}
        }
    }
}

const TRIALS: u64 = 60;
/// `limits.journal` of attempts with journals.
const MAX_JOURNAL: usize = 2 << 20;

/// Runs a session of 60 trials.
fn session(
    script: Script,
    timeout: Duration,
) -> (Result<Ended, EngineError>, EventCounts, Vec<String>) {
    session_with(script, timeout, |_, _| {})
}

/// Runs a session of 60 trials. `change` gets the plan and the file of its tests, which are also stored in another file.
fn session_with(
    script: Script,
    timeout: Duration,
    change: fn(&mut Plan, &fs::File),
) -> (Result<Ended, EngineError>, EventCounts, Vec<String>) {
    // In memory if possible: a session must end within a second, and syncs its files.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("s.toml");
    fs::write(folder.path().join("p.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let text = format!(
        "[providers.p]\nplugin = \"p.wasm\"\n[[tests]]\nid = \"a\"\nrepeat = {TRIALS}\ninput = 1\n"
    );
    fs::write(&path, text).unwrap();
    let scenario = load(&path, &Default::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false, 100)));
    let [mut file, mut planned] = [(); 2].map(|()| tempfile::tempfile().unwrap());
    resolve(&scenario, &Selection::default(), &mut file).unwrap();
    let suite = resolve(&scenario, &Selection::default(), &mut planned).unwrap();
    let plugin = b"\0asm\x0d\0\x01\0".as_slice();
    let providers = vec![PreparedProvider {
        provider: scenario.providers[0].clone(),
        digest: digest(plugin),
        kind: PluginKind::Component,
        mounts: Vec::new(),
    }];
    let plugins = ContentSource::new([(digest(plugin), Origin::Bundled(plugin))]);
    let cache = PluginCache::open_at(&folder.path().join("cache")).unwrap();
    let blobs = ContentSource::default();
    let mut plan = Plan::new(scenario, suite, providers, plugins, blobs, cache);
    (plan.settings.jobs, plan.settings.timeout) = (2, timeout);
    change(&mut plan, &planned);
    let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
    let mut new_session = plan.session("exec", &SessionRequest::default());
    new_session.waits = plan.remote_workers().is_some();
    let waits = new_session.waits;
    let parts = RunParts {
        known: None,
        root: root.clone(),
        suite: file,
        plugins: plan.plugins.clone(),
        blobs: plan.blobs.clone(),
        new: new_run(&plan, &path, new_session).unwrap(),
    };
    let work = PlannedSession {
        id: parts.new.id.clone(),
        fold: Fold::new(TRIALS),
        plan,
        session: 1,
        root,
        share: runner_record::Share::WithOthers,
    };
    let mut number = 0;
    let prestarted = PrestartedWorker::start(Box::new(move |sink| {
        number += 1;
        Ok(Box::new(fake(script(number), sink)))
    }));
    let mut counts = EventCounts::default();
    let prepared = PreparedSession::new(prestarted.unwrap(), &work, waits);
    let ended = prepared.and_then(|prepared| prepared.run(work, || parts.create(), &mut counts));
    let lines = ended.as_ref().map_or_else(
        |_| Vec::new(),
        |ended| {
            counts.log = fs::read_to_string(ended.run.path().join("runner.log")).unwrap();
            let calls = fs::read_to_string(ended.run.path().join("calls.jsonl"));
            counts.calls = calls.unwrap_or_default().lines().map(str::to_owned).collect();
            let rows = fs::read_to_string(ended.run.path().join("index.jsonl")).unwrap_or_default();
            rows.lines().map(str::to_owned).collect()
        },
    );
    (ended, counts, lines)
}

/// Fails unless each trial has one final row. Returns the codes of all errors.
#[track_caller]
fn assert_whole(lines: &[String]) -> Vec<String> {
    let mut finals: HashMap<String, u32> = HashMap::new();
    let mut codes = Vec::new();
    for line in lines {
        let row: RowRef<'_> = serde_json::from_str(line).unwrap();
        if row.r#final == Some(true) {
            *finals.entry(row.trial.to_string()).or_default() += 1;
        }
        codes.extend(row.error.map(|error| error.code.to_string()));
    }
    assert_eq!(finals.len() as u64, TRIALS);
    assert!(finals.values().all(|count| *count == 1), "{finals:?}");
    codes
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn workers_that_answer_complete_a_run() {
    // The session waits for the last lines of workers that keep instances.
    let (ended, counts, lines) = session_with(
        |_| Act::Work,
        LONG,
        |plan, _| plan.providers[0].provider.reuse = Some(Reuse::Instance),
    );
    let manifest = ended.unwrap().manifest;
    assert!(counts.log.contains("worker 1: the last line"), "{}", counts.log);
    assert_eq!(manifest.status, RunStatus::Completed);
    assert_eq!(manifest.counts.passed, TRIALS);
    assert_eq!((counts.rows, counts.started, counts.finished), (TRIALS, 1, 1));
    assert!(counts.signals.is_empty());
    assert_eq!(assert_whole(&lines), [""; 0]);
    let fingerprints = lines.iter().map(|line| {
        let row: RowRef<'_> = serde_json::from_str(line).unwrap();
        (row.fingerprint.unwrap(), row.judgement_fingerprint.unwrap())
    });
    let fingerprints: std::collections::HashSet<_> = fingerprints.collect();
    assert_eq!(fingerprints.len(), 1, "repeats of a test have its fingerprint");
}

#[test]
fn bad_workers_are_replaced_and_lose_nothing() {
    for act in [Act::Die, Act::Lie, Act::Foreign, Act::Double] {
        // The first worker is bad, and so is the one after it.
        let script: Script = match act {
            Act::Die => |number| if number < 4 { Act::Die } else { Act::Work },
            Act::Lie => |number| if number < 3 { Act::Lie } else { Act::Work },
            Act::Foreign => |number| if number < 3 { Act::Foreign } else { Act::Work },
            _ => |_| Act::Double,
        };
        let (ended, counts, lines) = session(script, LONG);
        assert_eq!(ended.unwrap().manifest.status, RunStatus::Completed);
        let codes = assert_whole(&lines);
        assert_eq!(counts.rows, lines.len() as u64);
        assert_eq!(codes.is_empty(), act == Act::Double, "{codes:?}");
        assert!(codes.iter().all(|code| code == "lost"), "{codes:?}");
    }
}

/// Runs a session whose attempts have journals and a minute each.
fn session_with_journals(script: Script) -> (Result<Ended, EngineError>, EventCounts, Vec<String>) {
    session_with(script, LONG, |plan, _| {
        let provider = &mut plan.providers[0].provider;
        let journal = Some(InFlight::SendAgain);
        provider.deterministic = Some(Deterministic { clock: None, journal });
        provider.limits.time = Some(Micros(60_000_000));
        provider.limits.journal = MAX_JOURNAL as u64;
    })
}

#[test]
fn attempts_of_dead_workers_continue_with_their_journals() {
    let script = |number| if number < 3 { Act::RecordDie } else { Act::Record };
    let (ended, counts, lines) = session_with_journals(script);
    assert_eq!(ended.unwrap().manifest.counts.passed, TRIALS);
    // An interrupted attempt has no row, and its number is used again.
    assert_eq!((assert_whole(&lines), lines.len() as u64), (vec![], TRIALS));
    let rows = lines.iter().map(|line| serde_json::from_str::<RowRef<'_>>(line).unwrap());
    let continued = rows.clone().filter(|row| row.continued == 1).count();
    // One of the two workers may have got fewer tasks.
    assert!((1..=2).contains(&continued), "{continued}");
    assert!(rows.clone().all(|row| row.attempt == 1 && row.calls.unwrap().count == 2));
    // Each call was made once.
    let calls = counts.calls.iter().filter(|line| line.contains("exchange"));
    assert_eq!(calls.count() as u64, 2 * TRIALS);
    let starts = counts.calls.iter().filter(|line| line.contains("\"start\""));
    assert_eq!(starts.count(), TRIALS as usize + continued);
    // A line of a worker that comes after the end of the session is not logged.
    let mut unkept = counts.log.lines().filter(|line| line.contains("calls are not kept"));
    assert!(unkept.all(|line| line.contains(": 0 calls")), "{}", counts.log);
}

#[test]
fn workers_that_break_rules_of_journals_are_killed() {
    for (script, fault) in [
        (
            (|number| match number {
                1 | 2 => Act::RecordLie(RecordLie::Twice),
                _ => Act::Record,
            }) as Script,
            "recorded a call that repeats a call",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::NoStart),
                _ => Act::Record,
            },
            "recorded a call before the start of its guest",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::Continues),
                _ => Act::Record,
            },
            "recorded that an attempt continues that is new",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::NoCalls),
                _ => Act::Record,
            },
            "reported other calls than it has recorded",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::NoJson),
                _ => Act::Record,
            },
            "recorded not a call",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::Void),
                _ => Act::Record,
            },
            "recorded an entry that only the coordinator writes",
        ),
        (
            |number| match number {
                1 | 2 => Act::RecordLie(RecordLie::Long),
                _ => Act::Record,
            },
            "recorded a call that is larger than `limits.journal`",
        ),
    ] {
        let (ended, counts, lines) = session_with_journals(script);
        assert_eq!(ended.unwrap().manifest.counts.passed, TRIALS, "{fault}");
        assert!(counts.log.contains(fault), "{fault}: {}", counts.log);
        assert_eq!(assert_whole(&lines), [""; 0]);
        // Nothing of such a worker continues, also in a later session.
        assert!(lines.iter().all(|line| !line.contains("\"continued\"")), "{fault}");
        let void = "{\"void\":{\"reason\":\"its worker was killed for a fault\"}}";
        let voids = counts.calls.iter().filter(|line| line.contains(void)).count();
        // These have no line that could continue.
        let has_lines = !fault.contains("before the start") && !fault.contains("that is new");
        assert!(voids <= 2 && (voids > 0) == has_lines, "{fault}: {:?}", counts.calls);
        let mut last = HashMap::new();
        for line in &counts.calls {
            let call: CallLine<'_> = serde_json::from_str(line).unwrap();
            assert_eq!(call.line, 1 + last.insert(call.trial, call.line).unwrap_or(0), "{fault}");
        }
    }
    // Without a journal, there are no calls.
    let (ended, counts, _) = session_with(
        |number| if number < 3 { Act::Record } else { Act::Work },
        LONG,
        |plan, _| plan.providers[0].provider.limits.time = Some(Micros(60_000_000)),
    );
    assert_eq!(ended.unwrap().manifest.counts.passed, TRIALS);
    assert!(counts.log.contains("recorded a call of an attempt without a journal"));
    assert_eq!(counts.calls, [""; 0]);
}

#[test]
fn unreadable_tests_end_a_session_whose_workers_stay() {
    let (ended, _, lines) =
        session_with(|_| Act::Unkillable, LONG, |_, tests| tests.set_len(0).unwrap());
    let manifest = ended.unwrap().manifest;
    assert_eq!(manifest.reason, Some(Reason::Storage));
    let message = manifest.message.unwrap_or_default();
    assert!(message.starts_with("cannot read a test: "), "{message}");
    assert_eq!(lines.len(), 0);
}

#[derive(Debug)]
struct NoBroker;

impl WorkerSource for NoBroker {
    fn offer(&self, _: OfferedSession, _: SourceSink) -> Result<Arc<dyn Offer>, String> {
        Err("the broker refuses the user".to_owned())
    }

    fn address(&self) -> String {
        "nats://broker".to_owned()
    }

    fn worker_command(&self) -> String {
        "runner worker".to_owned()
    }
}

/// A run that waited for its results root exists when its session is offered.
#[test]
fn failed_offer_names_workers_as_the_reason() {
    let (ended, _, lines) = session_with(
        |_| Act::Work,
        LONG,
        |plan, _| {
            let remote = RemoteRequest { source: Arc::new(NoBroker), patience: LONG };
            let request = SessionRequest { remote: Some(remote), ..SessionRequest::default() };
            plan.override_by(&request).unwrap();
        },
    );
    let manifest = ended.unwrap().manifest;
    assert_eq!(manifest.reason, Some(Reason::Workers));
    assert_eq!(manifest.message.as_deref(), Some("the broker refuses the user"));
    assert_eq!(lines.len(), 0);
}

#[test]
fn workers_that_hang_do_not_hold_the_end() {
    // On a busy machine, 300 ms may be too short for a start.
    let sessions = [300, 3_000, 30_000].map(Duration::from_millis).into_iter();
    let mut sessions = sessions.map(|timeout| session(|_| Act::Hang, timeout));
    let (ended, counts, lines) = sessions.find(|(.., lines)| !lines.is_empty()).unwrap();
    let ended = ended.unwrap();
    let manifest = &ended.manifest;
    assert_eq!(manifest.status, RunStatus::Incomplete);
    assert_eq!(manifest.reason, Some(Reason::Timeout));
    assert_eq!(ended.exit.code(), 4);
    assert_eq!(counts.signals, [None]);
    for line in &lines {
        let row: RowRef<'_> = serde_json::from_str(line).unwrap();
        assert_eq!((row.outcome, row.r#final), (Outcome::Stopped, Some(false)));
        assert!(row.duration_ms > 0.0);
    }
}

#[test]
fn inputs_are_checked_again_where_the_checker_dies() {
    let script = |number| match number {
        1 | 3 => Act::NeverCheck,
        _ => Act::Work,
    };
    let (ended, counts, lines) = session(script, LONG);
    assert_eq!(ended.unwrap().manifest.counts.passed, TRIALS);
    assert_eq!(counts.started, 1);
    assert_whole(&lines);
}

#[test]
fn sessions_that_cannot_start_report_why() {
    let cases: [(Script, Reason, &str, u8); 4] = [
        (|_| Act::NeverCheck, Reason::Plugin, "3 workers in a row", 3),
        (|_| Act::NeverReady, Reason::Plugin, "3 workers in a row", 3),
        (|_| Act::Killed, Reason::Machine, "as by a system that is short of memory", 3),
        (|_| Act::Stranger, Reason::Internal, "version 0.0.0", 70),
    ];
    for (script, reason, expected, code) in cases {
        let (ended, counts, lines) = session(script, LONG);
        let ended = ended.unwrap();
        let manifest = &ended.manifest;
        assert_eq!(manifest.status, RunStatus::Failed, "{expected}");
        assert_eq!(manifest.reason, Some(reason));
        assert_eq!(ended.exit.code(), code);
        let message = manifest.message.as_deref().unwrap_or_default();
        assert!(message.contains(expected), "{message}");
        assert!(message.len() < 10_000);
        assert_eq!((counts.started, lines.len()), (0, 0));
    }
}

#[test]
fn refusals_of_workers_are_one_line_each() {
    let cases: [(Script, &str); 2] = [
        (|_| Act::Shout, "provider `p` is\\nbad"),
        (|_| Act::Refuse, "plugin `p.wasm` wants more"),
    ];
    for (script, expected) in cases {
        let Err(EngineError::Scenario(problems)) = session(script, LONG).0 else { panic!() };
        let text = problems.render(false, 100);
        let (first, places) = text.split_once('\n').unwrap();
        assert!(first.contains(expected) && first.len() < 10_000, "{first}");
        assert!(places.lines().count() < 10, "{places}");
    }
}
