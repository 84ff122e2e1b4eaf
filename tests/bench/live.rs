//! A session of the real program whose events are read while it runs.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lists;

/// What the program exits with when SIGINT stopped it.
const INTERRUPTED: i32 = 130;

/// A session with `--json`.
pub(crate) struct Live {
    child: Child,
    events: BufReader<ChildStdout>,
    peak: Option<u64>,
}

impl Live {
    pub(crate) fn start(mut command: Command) -> Self {
        command.arg("--json").stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
        let events = child.stdout.take().expect("its output is a pipe");
        Self {
            child,
            events: BufReader::new(events),
            peak: None,
        }
    }

    /// Reads events until this many rows are on disk.
    pub(crate) fn wait_for_rows(&mut self, rows: u64) {
        for _ in 0..rows {
            while !is_row(&self.line()) {}
        }
    }

    /// Reads events until this many attempts are being executed.
    pub(crate) fn wait_until_running(&mut self, attempts: u64) {
        while self.event()["running"].as_u64() != Some(attempts) {}
    }

    /// How much memory it had at most until now, in bytes; `None` where the system does not tell.
    pub(crate) fn peak(&mut self) -> Option<u64> {
        self.peak = lists::peak_of(self.child.id()).or(self.peak);
        self.peak
    }

    /// Sends SIGINT and says how long the process took to go.
    pub(crate) fn interrupt(&mut self) -> Duration {
        let sent = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it is alive");
        while let Some(line) = self.next_line() {
            if !is_row(&line) {
                self.peak();
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        assert_eq!(status.code(), Some(INTERRUPTED), "{status}");
        sent.elapsed()
    }

    /// The next event that is no row.
    fn event(&mut self) -> Value {
        loop {
            let line = self.line();
            if !is_row(&line) {
                return serde_json::from_str(&line).expect("an event is JSON");
            }
        }
    }

    fn line(&mut self) -> String {
        self.next_line().expect("it goes on until it is stopped")
    }

    fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.events.read_line(&mut line).expect("it prints text");
        (bytes > 0).then_some(line)
    }
}

fn is_row(line: &str) -> bool {
    line.contains(r#""event":"row""#)
}
