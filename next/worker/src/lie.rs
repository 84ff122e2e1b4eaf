//! `__lie PARENT_PID`: a worker that lies, for tests of those who hear it. Takes the place of `__worker`.
//!
//! A provider's configuration says how: `{"lie": "foreign"}`, and with `"test": "a"` only about that test. Otherwise its
//! reports are true, those of a provider that echoes.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileExt as _, unix::net::UnixStream},
    process, thread,
    time::{Duration, SystemTime},
};

use runner_model::{
    TaskId,
    prepare::{Described, Prepare},
    protocol::{FromWorker, ReportHead, SlotWord, Task, ToWorker},
    row::{Raw, Usage},
    test::Test,
};
use runner_sandbox::{Ended, Ending, Reply};
use rustix::process::{Signal, getpid, kill_process};

use crate::{
    attempt::Attempt,
    harden::harden,
    judge::Judge,
    link::{Incoming, Outgoing},
    worker::hello,
};

/// Lies until nothing more comes.
pub fn main(arguments: &[&str]) -> Result<(), String> {
    let [parent] = arguments else {
        return Err("expected `__lie PARENT_PID`".into());
    };
    harden(parent)?;
    let lied = Liar::new().and_then(|mut liar| liar.serve());
    lied.map_err(|error| error.to_string())
}

struct Liar {
    socket: UnixStream,
    slots: File,
    outgoing: Outgoing,
    incoming: Incoming,
    prepare: Option<Prepare>,
}

impl Liar {
    fn new() -> io::Result<Self> {
        let socket: UnixStream = io::stdin().as_fd().try_clone_to_owned()?.into();
        Ok(Self {
            slots: io::stdout().as_fd().try_clone_to_owned()?.into(),
            outgoing: Outgoing::new(socket.try_clone()?),
            incoming: Incoming::new(socket.try_clone()?),
            socket,
            prepare: None,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        self.outgoing.say(&hello())?;
        loop {
            match self.incoming.next()? {
                Some(ToWorker::Prepare(prepare)) => {
                    let described = (0..prepare.providers.len()).map(|index| Described {
                        provider: index as u16,
                        description: None,
                        problem: None,
                    });
                    self.outgoing.say(&FromWorker::Ready(described.collect()))?;
                    self.prepare = Some(*prepare);
                }
                Some(ToWorker::Tasks { tasks, body }) => {
                    let mut rest = &body[..];
                    for task in &tasks {
                        let line = rest.split_off(..task.body_bytes()).unwrap_or_default();
                        self.answer(task, line)?;
                    }
                }
                Some(ToWorker::TakeBack { .. }) => {
                    self.outgoing.say(&FromWorker::Returned(Vec::new()))?;
                }
                Some(ToWorker::Finish { .. }) => return self.outgoing.say(&FromWorker::Bye),
                _ => {}
            }
        }
    }

    fn answer(&mut self, task: &Task, line: &[u8]) -> io::Result<()> {
        let test: Test<'_> = serde_json::from_slice(line)?;
        let lie = self.lie(task);
        let word = SlotWord {
            task: task.id.0,
            began: 1,
        };
        self.slots.write_all_at(&word.encode(), 0)?;
        let mut row = honest(task, &test)?;
        let mut replace = |old: &str, new: &str| row = row.replacen(old, new, 1);
        let mut id = task.id;
        match lie.as_str() {
            "foreign" => replace("\"test\":\"", "\"test\":\"x"),
            "foreign-trial" => replace("\"trial\":\"", "\"trial\":\"x"),
            "foreign-attempt" => replace("\"attempt\":", "\"attempt\":7"),
            "foreign-task" => id = TaskId(id.0 + 1_000_000),
            "line-break" => replace(",", ",\n"),
            "tail-key" => replace("\"outcome\"", "\"final\":true,\"outcome\""),
            "unknown-key" => replace("\"outcome\"", "\"winner\":true,\"outcome\""),
            "negative-time" => replace("\"duration_ms\":", "\"duration_ms\":-"),
            "path-artifact" => {
                let digest = "0".repeat(64);
                let artifact = format!(
                    r#","artifacts":[{{"name":"../../../tmp/x","media_type":"text/plain","sha256":"{digest}","bytes":0}}]}}"#
                );
                row.pop();
                row.push_str(&artifact);
            }
            "long-prefix" => self.raw(&[0, 0, 0xd7, 0x17, 71])?,
            "long-row" => row.push_str(&" ".repeat(1 << 20)),
            "unknown-kind" => self.raw(&[1, 0, 0, 0, 200, 0])?,
            "garbage" => self.raw(&[0xa5; 4096])?,
            "artifact" => self.outgoing.say(&FromWorker::Artifact {
                task: id,
                index: 9,
                bytes: vec![0; 1000],
            })?,
            "silence" => thread::sleep(Duration::from_secs(3600)),
            "exit" => process::exit(0),
            "exit-code" => process::exit(3),
            "kill" => kill_process(getpid(), Signal::KILL)?,
            _ => {}
        }
        let report = FromWorker::Report {
            head: ReportHead {
                task: id,
                row_bytes: row.len() as u32,
                log_bytes: 0,
                host_fault: None,
            },
            body: row.into_bytes(),
        };
        self.outgoing.say(&report)?;
        if lie == "doubled" {
            self.outgoing.say(&report)?;
        }
        self.slots.write_all_at(&SlotWord::default().encode(), 0)
    }

    /// The lie about a task; empty if there is none.
    fn lie(&self, task: &Task) -> String {
        let providers = self.prepare.iter().flat_map(|prepare| &prepare.providers);
        let mut configs = providers.map(|provider| &provider.provider.config);
        let config = configs.nth(usize::from(task.provider));
        let word = |key: &str| config.and_then(|config| config[key].as_str());
        match (word("lie"), word("test")) {
            (Some(lie), None) => lie.to_owned(),
            (Some(lie), Some(test)) if *test == *task.trial.test => lie.to_owned(),
            _ => String::new(),
        }
    }

    fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)
    }
}

/// The row of a provider that echoes.
fn honest(task: &Task, test: &Test<'_>) -> io::Result<String> {
    let judge = Judge::default();
    let attempt = Attempt {
        task,
        test,
        judge: &judge,
    };
    let reply = Reply {
        output: Raw::from_string(test.input.get().to_owned())?,
        verdict: None,
        score: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        exit_code: None,
    };
    let ended = Ended {
        ending: Ending::Reply(Box::new(reply)),
        duration: Duration::from_millis(1),
        usage: Usage::default(),
        denied: Vec::new(),
        said: Default::default(),
        host_fault: None,
    };
    let report = attempt.report(SystemTime::now().into(), ended);
    String::from_utf8(report.row).map_err(io::Error::other)
}
