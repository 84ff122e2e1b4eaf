//! `__lie PARENT_PID`: a worker that lies, for tests of those who hear it. It takes the place of `__worker`, and stands
//! behind the same wall.
//!
//! A provider's configuration says how: `{"lie": "foreign"}`, and with `"test": "a"` only about that test; `{"lie": "*"}`
//! lies about each test as its id says. All other reports are true, those of a provider that echoes. With `{"lie":
//! "attacks", "targets": {…}}` each output is what came of `attacks`, before the wall stood and behind it.

pub mod attacks;

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileExt as _, unix::net::UnixStream},
    thread,
    time::Duration,
};

use runner_model::{
    Digest, ErrorClass, HostFault, TaskId,
    prepare::{Described, Prepare, Problem, Ready},
    protocol::{Doing, FromWorker, MAX_PIECE, ReportHead, SlotWord, Task, ToWorker},
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

/// Lies that change a true row: what is replaced, and by what.
#[rustfmt::skip]
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
    ("path-artifact", "\"usage\"", r#""artifacts":[{"name":"../../x","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#),
    ("unsent-artifact", "\"usage\"", r#""artifacts":[{"name":"x","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#),
    // These are about the attempt alone.
    ("long-time", "1.5", "9e11"),
    ("huge-metrics", "\"usage\"", r#""metrics":[{"name":"cost","value":1e308},{"name":"cost","value":1e308}],"usage""#),
    ("steering", "\"usage\"", r#""checks":[{"name":"\u001b[2J","verdict":"pass","message":"\u009b2J","expected":"\u202e"}],"metrics":[{"name":"\u001b[2J","value":1,"unit":"\u001b]0;x\u0007"}],"denied":[{"what":"\u001b[2J","grant":"\u001b[2J"},{"what":"x\ny","grant":"net = [\"http://\u001b[2J\"]"}],"usage""#),
];

/// Lies that are no frames: a report of 400 MB, a kind that nothing has, garbage, a frame that has no content.
const BYTES: &[(&str, &[u8])] = &[
    ("long-prefix", &[0, 0, 0xd7, 0x17, 71]),
    ("unknown-kind", &[1, 0, 0, 0, 200, 0]),
    ("garbage", &[0xa5; 64]),
    ("empty-frame", &[0, 0, 0, 0, 71]),
];

/// Lies until nothing more comes.
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
    outgoing.say(&hello())?;
    let Some(ToWorker::Prepare(prepare)) = incoming.next()? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let targets = prepare.providers.first();
    let targets = targets.map(|provider| &provider.provider.config["targets"]);
    let targets = Targets::new(targets, &prepare.scratch, parent);
    let before = targets.as_ref().map(attack);
    let standing = Openings::of(&prepare).close_others();
    let attacked = json!([before, targets.as_ref().map(attack)]);
    let config = prepare.providers.first().map(|it| &it.provider.config["lie"]);
    let has_problems = config.is_some_and(|lie| lie == "problems" || lie == "doubled-problems");
    let times = config.map_or(1, |lie| if lie == "doubled-problems" { 2 } else { 1 });
    let described = (0..prepare.providers.len()).map(|index| Described {
        provider: index as u16,
        description: None,
        problem: has_problems.then(|| Problem {
            class: ErrorClass::Other,
            code: "x\n".repeat(100),
            message: "\u{1b}[2J\n".repeat(1_000_000),
        }),
    });
    let described = std::iter::repeat_n(described, times).flatten();
    outgoing.say(&FromWorker::Ready(Ready { providers: described.collect(), standing }))?;
    loop {
        match incoming.next()? {
            Some(ToWorker::Tasks { tasks, body }) => {
                let mut rest = &body[..];
                for task in &tasks {
                    let line = rest.split_off(..task.body_bytes()).unwrap_or_default();
                    let began = SlotWord { task: task.id.0, began: 1 };
                    slots.write_all_at(&began.encode(), 0)?;
                    let lie = lie(&prepare, task);
                    if lie == "unseen-exit" {
                        slots.write_all_at(&SlotWord::default().encode(), 0)?;
                    }
                    let test: Test<'_> = serde_json::from_slice(line)?;
                    let output = match lie {
                        "attacks" => attacked.to_string(),
                        _ => test.input.get().to_owned(),
                    };
                    answer(lie, task, &output, &mut socket, &mut outgoing)?;
                    slots.write_all_at(&SlotWord::default().encode(), 0)?;
                }
            }
            Some(ToWorker::TakeBack { .. }) => outgoing.say(&FromWorker::Returned(Vec::new()))?,
            Some(ToWorker::Finish { .. }) => return outgoing.say(&FromWorker::Bye),
            _ => {}
        }
    }
}

/// The lie about a task; empty if there is none.
fn lie<'a>(prepare: &'a Prepare, task: &'a Task) -> &'a str {
    let provider = prepare.providers.get(usize::from(task.provider));
    let word = |key: &str| provider.and_then(|provider| provider.provider.config[key].as_str());
    match (word("lie"), word("test")) {
        (Some("*"), _) => &task.trial.test,
        (Some(lie), test) if test.is_none_or(|test| *test == *task.trial.test) => lie,
        _ => "",
    }
}

fn answer(
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
            outgoing.say(&FromWorker::Log(line))
        })?,
        "artifact-flood" => (0..400 * 4).try_for_each(|_| {
            let piece = vec![0; MAX_PIECE];
            outgoing.say(&artifact(task.id, 0, piece))
        })?,
        _ => {}
    }
    if let Some((_, bytes)) = BYTES.iter().find(|(name, _)| *name == lie) {
        socket.write_all(bytes)?;
    }
    for frame in unasked(lie, task.id) {
        outgoing.say(&frame)?;
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
        "foreign-task" => outgoing.say(&report(TaskId(task.id.0 + 1_000_000)))?,
        "doubled" => outgoing.say(&report(task.id))?,
        _ => {}
    }
    outgoing.say(&report(task.id))
}

/// Frames that nobody has asked for.
fn unasked(lie: &str, task: TaskId) -> Vec<FromWorker> {
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
            on_processor: true,
            word: "\u{1b}[2J".repeat(1000),
        }]),
        "forged-log" => FromWorker::Log("x\n2026-01-01T00:00:00.000Z \u{1b}[2J forged".into()),
        _ => return Vec::new(),
    };
    vec![frame]
}

fn artifact(task: TaskId, index: u32, bytes: Vec<u8>) -> FromWorker {
    FromWorker::Artifact { task, index, bytes }
}
