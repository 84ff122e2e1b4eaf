//! `__lie PARENT_PID`: a worker that lies, for tests of those who hear it. It takes the place of `__worker`.
//!
//! A provider's configuration says how: `{"lie": "foreign"}`, and with `"test": "a"` only about that test. All other
//! reports are true, those of a provider that echoes.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileExt as _, unix::net::UnixStream},
    thread,
    time::Duration,
};

use runner_model::{
    TaskId,
    prepare::{Described, Prepare, Ready},
    protocol::{FromWorker, ReportHead, SlotWord, Task, ToWorker},
    row::VERSION,
    test::Test,
};
use rustix::process::{Signal, getpid, kill_process};

use crate::{
    exit,
    harden::harden,
    link::{Incoming, Outgoing},
    worker::hello,
};

/// Lies that change a true row: what is replaced, and by what.
const CHANGES: &[(&str, &str, &str)] = &[
    ("foreign", "\"test\":\"", "\"test\":\"x"),
    ("line-break", ",", ",\n"),
    ("tail-key", "\"outcome\"", "\"final\":true,\"outcome\""),
    ("negative-time", "1.5", "-1.5"),
    (
        "path-artifact",
        "\"usage\"",
        r#""artifacts":[{"name":"../../x","media_type":"text/plain","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":3}],"usage""#,
    ),
];

/// Lies that are no frames: a report of 400 MB, a kind that nothing has, garbage.
const BYTES: &[(&str, &[u8])] = &[
    ("long-prefix", &[0, 0, 0xd7, 0x17, 71]),
    ("unknown-kind", &[1, 0, 0, 0, 200, 0]),
    ("garbage", &[0xa5; 64]),
];

/// Lies until nothing more comes.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__lie PARENT_PID`".into());
    };
    harden(parent)?;
    serve().map_err(|error| error.to_string())
}

fn serve() -> io::Result<()> {
    let mut socket: UnixStream = io::stdin().as_fd().try_clone_to_owned()?.into();
    let slots: File = io::stdout().as_fd().try_clone_to_owned()?.into();
    let mut incoming = Incoming::new(socket.try_clone()?);
    let mut outgoing = Outgoing::new(socket.try_clone()?);
    outgoing.say(&hello())?;
    let mut prepared = None;
    loop {
        match incoming.next()? {
            Some(ToWorker::Prepare(prepare)) => {
                let described = (0..prepare.providers.len()).map(|index| Described {
                    provider: index as u16,
                    description: None,
                    problem: None,
                });
                outgoing.say(&FromWorker::Ready(Ready {
                    providers: described.collect(),
                    ..Ready::default()
                }))?;
                prepared = Some(prepare);
            }
            Some(ToWorker::Tasks { tasks, body }) => {
                let mut rest = &body[..];
                for task in &tasks {
                    let line = rest.split_off(..task.body_bytes()).unwrap_or_default();
                    let lie = prepared.as_ref().map_or("", |prepare| lie(prepare, task));
                    let began = SlotWord {
                        task: task.id.0,
                        began: 1,
                    };
                    slots.write_all_at(&began.encode(), 0)?;
                    answer(lie, task, line, &mut socket, &mut outgoing)?;
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
fn lie<'a>(prepare: &'a Prepare, task: &Task) -> &'a str {
    let provider = prepare.providers.get(usize::from(task.provider));
    let word = |key: &str| provider.and_then(|provider| provider.provider.config[key].as_str());
    match (word("lie"), word("test")) {
        (Some(lie), test) if test.is_none_or(|test| *test == *task.trial.test) => lie,
        _ => "",
    }
}

fn answer(
    lie: &str,
    task: &Task,
    line: &[u8],
    socket: &mut UnixStream,
    outgoing: &mut Outgoing,
) -> io::Result<()> {
    match lie {
        "silence" => thread::sleep(Duration::from_secs(3600)),
        "exit" => exit(Ok(())),
        "kill" => kill_process(getpid(), Signal::KILL)?,
        _ => {}
    }
    if let Some((_, bytes)) = BYTES.iter().find(|(name, _)| *name == lie) {
        socket.write_all(bytes)?;
    }
    let test: Test<'_> = serde_json::from_slice(line)?;
    let trial = &task.trial;
    let mut row = format!(
        r#"{{"v":{VERSION},"trial":"{trial}","test":"{}","provider":"{}","repeat":{},"attempt":{},"outcome":"passed","started_at":"2026-01-01T00:00:00.000Z","duration_ms":1.5,"usage":{{}},"output":{}}}"#,
        trial.test, trial.provider, trial.repeat, task.attempt, test.input
    );
    if let Some((_, old, new)) = CHANGES.iter().find(|(name, ..)| *name == lie) {
        row = row.replacen(old, new, 1);
    }
    let head = ReportHead {
        task: match lie {
            "foreign-task" => TaskId(task.id.0 + 1_000_000),
            _ => task.id,
        },
        row_bytes: row.len() as u32,
        log_bytes: 0,
        host_fault: None,
    };
    let body = row.into_bytes();
    let report = FromWorker::Report { head, body };
    outgoing.say(&report)?;
    if lie == "doubled" {
        outgoing.say(&report)?;
    }
    Ok(())
}
