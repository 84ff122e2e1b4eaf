//! `__lie PARENT_PID`: a worker that lies, for tests of supervisors. It replaces `__worker`, and is in the same sandbox.
//!
//! A provider's configuration selects the lie: `{"lie": "foreign"}`, with `"test": "a"` only for that test. With
//! `{"lie": "*"}` the lie is the test's id. All other reports are true, those of a provider that echoes. With `{"lie":
//! "attacks", "targets": {…}}` each output has the results of `attacks`, before and after it is in the sandbox.

pub mod attacks;

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileExt as _, unix::net::UnixStream},
    thread,
    time::Duration,
};

use runner_model::{
    Digest, ErrorClass, GuestPhase, HostFault, TaskId,
    prepare::{Described, Prepare, Problem, Ready, RefusedPart},
    protocol::{Doing, FromWorker, MAX_PIECE, ReportHead, SlotWord, Task, ToWorker},
    recent_output::RecentOutput,
    row::VERSION,
    test::Test,
};
use serde_json::json;

use self::attacks::{Targets, attack};
use crate::{
    exit,
    harden::{Openings, harden},
    link::{Incoming, Outgoing},
    worker::hello,
};

/// Lies that change a true row: name, replaced text, new text.
const CHANGES: &[(&str, &str, &str)] = &[
    ("foreign", "\"test\":\"", "\"test\":\"x"),
    ("foreign-trial", "@", "x@"),
    ("other-attempt", "\"attempt\":", "\"attempt\":1"),
    ("other-version", "\"v\":", "\"v\":1"),
    ("line-break", ",", ",\n"),
    ("open", "}}", "}"),
    ("two-rows", "}}", "}}{}"),
    ("doubled-key", "\"outcome\"", "\"outcome\":\"failed\",\"outcome\""),
    ("unknown-key", "\"outcome\"", "\"outcom\":1,\"outcome\""),
    ("tail-key", "\"outcome\"", "\"final\":true,\"outcome\""),
    ("tail-judged", "\"outcome\"", "\"judged\":1,\"outcome\""),
    ("tail-crc", "\"outcome\"", "\"crc\":\"00000000\",\"outcome\""),
    ("unknown-outcome", "passed", "perfect"),
    ("crash", "\"passed\"", r#""error","error":{"class":"crash","code":"x","message":"x"}"#),
    ("stopped", "\"passed\"", r#""stopped","error":{"code":"x","message":"it was not to be"}"#),
    ("no-memory", "\"passed\"", r#""stopped","error":{"code":"x","message":"it was not to be"}"#),
    ("ungraded", "passed", "ungraded"),
    ("negative-time", "1.5", "-1.5"),
    ("huge-time", "1.5", "1e300"),
    ("huge-number", "1.5", "1e400"),
    ("not-a-number", "1.5", "NaN"),
    ("no-time", "2026-01-01T", "2026-13-01T"),
    ("far-time", "2026-01-01T", "9999-12-31T"),
    (
        "path-artifact",
        "\"usage\"",
        r#""artifacts":[{"name":"../../x","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#,
    ),
    (
        "absolute-artifact",
        "\"usage\"",
        r#""artifacts":[{"name":"/tmp/pwned-by-a-liar","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#,
    ),
    (
        "unsent-artifact",
        "\"usage\"",
        r#""artifacts":[{"name":"x","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#,
    ),
    // Valid rows with extreme values.
    ("long-time", "1.5", "9e11"),
    (
        "huge-metrics",
        "\"usage\"",
        r#""metrics":[{"name":"cost","value":1e308},{"name":"cost","value":1e308}],"usage""#,
    ),
    (
        "steering",
        "\"usage\"",
        r#""checks":[{"name":"\u001b[2J","verdict":"pass","message":"\u009b2J","expected":"\u202e"}],"metrics":[{"name":"\u001b[2J","value":1,"unit":"\u001b]0;x\u0007"}],"denied":[{"what":"\u001b[2J","grant":"\u001b[2J"},{"what":"x\ny","grant":"net = [\"http://\u001b[2J\"]"}],"usage""#,
    ),
];

/// Bytes that are not valid frames: a report of 400 MB, an unknown kind, garbage, an empty report.
const BYTES: &[(&str, &[u8])] = &[
    ("long-prefix", &[0, 0, 0xd7, 0x17, 71]),
    ("unknown-kind", &[1, 0, 0, 0, 200, 0]),
    ("garbage", &[0xa5; 64]),
    ("empty-frame", &[0, 0, 0, 0, 71]),
];

/// Runs the liar until the socket ends.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__lie PARENT_PID`".into());
    };
    harden(parent)?;
    serve(parent).map_err(|error| error.to_string())
}

fn serve(parent: &str) -> io::Result<()> {
    let mut socket: UnixStream = io::stdin().as_fd().try_clone_to_owned()?.into();
    let slots: File = io::stdout().as_fd().try_clone_to_owned()?.into();
    let mut incoming = Incoming::new(socket.try_clone()?);
    let mut outgoing = Outgoing::new(socket.try_clone()?);
    outgoing.send(&hello())?;
    let Some(ToWorker::Prepare(prepare)) = incoming.next()? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let config = prepare.providers.first().map(|provider| &provider.provider.config);
    let targets = config.map(|config| &config["targets"]);
    let targets = Targets::new(targets, &prepare, parent);
    let before = targets.as_ref().map(attack);
    let wall = Openings::for_worker(&prepare).close_others();
    let attacked = json!([before, targets.as_ref().map(attack)]);
    let lie = config.map_or("", |config| config["lie"].as_str().unwrap_or_default());
    let has_problems = matches!(lie, "problems" | "doubled-problems");
    let times = if lie == "doubled-problems" { 2 } else { 1 };
    let described = (0..prepare.providers.len()).map(|index| Described {
        provider: index as u16,
        description: None,
        problem: has_problems.then(|| Problem {
            class: ErrorClass::Other,
            code: "x\n".repeat(100),
            message: "\u{1b}[2J\n".repeat(1_000_000),
            refused: RefusedPart::default(),
        }),
    });
    let described = std::iter::repeat_n(described, times).flatten();
    outgoing.send(&FromWorker::Ready(Ready { providers: described.collect(), wall }))?;
    loop {
        match incoming.next()? {
            Some(ToWorker::Tasks { tasks, body }) => {
                let mut rest = &body[..];
                for task in &tasks {
                    let line = rest.split_off(..task.body_bytes()).unwrap_or_default();
                    let word = SlotWord { task: task.id.0, started: 1 };
                    slots.write_all_at(&word.encode(), 0)?;
                    let lie = lie_about(&prepare, task);
                    if lie == "unseen-exit" {
                        slots.write_all_at(&SlotWord::default().encode(), 0)?;
                    }
                    let test: Test<'_> = serde_json::from_slice(line)?;
                    let output = match lie {
                        "attacks" => attacked.to_string(),
                        _ => test.input.get().to_owned(),
                    };
                    if let Some(frame) = flood(lie, task.id, &test) {
                        send_often(&frame, &mut socket)?;
                    }
                    if lie == "draft-flood" {
                        for task in &tasks {
                            let pieces =
                                (0..100).map(|index| artifact(task.id, index, b"x".to_vec()));
                            pieces.into_iter().try_for_each(|piece| outgoing.send(&piece))?;
                        }
                    }
                    report(lie, task, &output, &mut socket, &mut outgoing)?;
                    slots.write_all_at(&SlotWord::default().encode(), 0)?;
                }
            }
            Some(ToWorker::TakeBack { .. }) => outgoing.send(&FromWorker::Returned(Vec::new()))?,
            Some(ToWorker::Finish { .. }) => return outgoing.send(&FromWorker::Bye),
            _ => {}
        }
    }
}

/// Returns the lie about a task. Empty for a true report.
fn lie_about<'a>(prepare: &'a Prepare, task: &'a Task) -> &'a str {
    let provider = prepare.providers.get(usize::from(task.provider));
    let text = |key: &str| provider.and_then(|provider| provider.provider.config[key].as_str());
    match (text("lie"), text("test")) {
        (Some("*"), _) => &task.trial.test,
        (Some(lie), test) if test.is_none_or(|test| *test == *task.trial.test) => lie,
        _ => "",
    }
}

fn report(
    lie: &str,
    task: &Task,
    output: &str,
    socket: &mut UnixStream,
    outgoing: &mut Outgoing,
) -> io::Result<()> {
    match lie {
        "silence" => thread::sleep(Duration::from_secs(3600)),
        "exit" | "unseen-exit" => exit(Ok(())),
        "kill" => {
            io::stderr().write_all(b"\x1b[2J\rlast words")?;
            std::process::abort()
        }
        "log-flood" => (0..10_000).try_for_each(|_| {
            let line = "all is well ".repeat(5_000);
            outgoing.send(&FromWorker::Log(line))
        })?,
        "artifact-flood" => (0..400 * 4).try_for_each(|_| {
            let piece = vec![0; MAX_PIECE];
            outgoing.send(&artifact(task.id, 0, piece))
        })?,
        _ => {}
    }
    if let Some((_, bytes)) = BYTES.iter().find(|(name, _)| *name == lie) {
        socket.write_all(bytes)?;
    }
    for frame in unrequested(lie, task.id) {
        outgoing.send(&frame)?;
    }
    let trial = &task.trial;
    let mut row = format!(
        r#"{{"v":{VERSION},"trial":"{trial}","test":"{}","provider":"{}","repeat":{},"attempt":{},"outcome":"passed","started_at":"2026-01-01T00:00:00.000Z","duration_ms":1.5,"output":{output},"usage":{{}}}}"#,
        trial.test, trial.provider, trial.repeat, task.attempt
    );
    if let Some((_, old, new)) = CHANGES.iter().find(|(name, ..)| *name == lie) {
        row = row.replacen(old, new, 1);
    }
    let (mut row, mut said) = (row.into_bytes(), &b""[..]);
    match lie {
        "not-utf-8" => row[10] = 0xff,
        "long-row" => row.resize(1 << 20, b' '),
        "said-garbage" => said = b"[]",
        "said-lines" => said = b"{\"stderr\":\"x\"}\n{\"v\":2}",
        _ => {}
    }
    let host_fault = matches!(lie, "passed-and-faulted" | "no-memory");
    let head = ReportHead {
        task: task.id,
        row_bytes: row.len() as u32,
        log_bytes: said.len() as u32,
        host_fault: host_fault.then_some(HostFault::Memory),
    };
    row.extend_from_slice(said);
    let report = |task| FromWorker::Report { head: ReportHead { task, ..head }, body: row.clone() };
    match lie {
        "foreign-task" => outgoing.send(&report(TaskId(task.id.0 + 1_000_000)))?,
        "doubled" => outgoing.send(&report(task.id))?,
        _ => {}
    }
    outgoing.send(&report(task.id))
}

/// Returns the frame that a lie repeats.
fn flood(lie: &str, task: TaskId, test: &Test<'_>) -> Option<FromWorker> {
    let foreign = TaskId(task.0 + 1_000_000);
    Some(match lie {
        "hello-flood" => hello(),
        "ready-flood" => FromWorker::Ready(Ready::default()),
        "plugin-flood" => FromWorker::NeedPlugin(Digest([7; 32])),
        // A file of the run.
        "blob-flood" => FromWorker::NeedBlob(test.files.first()?.sha256),
        "return-flood" => FromWorker::Returned(Vec::new()),
        "piece-flood" => artifact(task, 0, Vec::new()),
        "index-flood" => artifact(foreign, 0, Vec::new()),
        "report-flood" => {
            let head = ReportHead { task: foreign, row_bytes: 0, log_bytes: 0, host_fault: None };
            FromWorker::Report { head, body: Vec::new() }
        }
        "doing-flood" => FromWorker::Doing(Vec::new()),
        "line-flood" => FromWorker::Log(String::new()),
        "bye-flood" => FromWorker::Bye,
        _ => return None,
    })
}

/// Sends a frame two million times.
fn send_often(frame: &FromWorker, socket: &mut UnixStream) -> io::Result<()> {
    let mut frames = Vec::new();
    (0..20_000).for_each(|_| frame.encode(&mut frames));
    (0..100).try_for_each(|_| socket.write_all(&frames))
}

/// Returns frames that the supervisor has not requested.
fn unrequested(lie: &str, task: TaskId) -> Vec<FromWorker> {
    let foreign = TaskId(task.0 + 1_000_000);
    let digest = Digest([7; 32]);
    let frame = match lie {
        "hello-again" => hello(),
        "ready-again" => FromWorker::Ready(Ready::default()),
        "need-plugin" => FromWorker::NeedPlugin(digest),
        "need-blob" => FromWorker::NeedBlob(digest),
        "foreign-artifact" => artifact(foreign, 0, b"x".to_vec()),
        "unlisted-artifact" => artifact(task, 0, b"x".to_vec()),
        "far-artifact" => artifact(task, u32::MAX, b"x".to_vec()),
        "returned" => FromWorker::Returned(vec![task]),
        "foreign-doing" => FromWorker::Doing(vec![Doing {
            task: foreign,
            phase: GuestPhase::Computing,
            word: "\u{1b}[2J".repeat(1000),
            output: Some(RecentOutput { bytes: u64::MAX, text: "forged\u{1b}".repeat(20_000) }),
        }]),
        "forged-log" => FromWorker::Log("x\n2026-01-01T00:00:00.000Z \u{1b}[2J forged".into()),
        _ => return Vec::new(),
    };
    vec![frame]
}

fn artifact(task: TaskId, index: u32, bytes: Vec<u8>) -> FromWorker {
    FromWorker::Artifact { task, index, bytes }
}
