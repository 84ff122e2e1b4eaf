//! A running program, and its end.

use std::{
    io::Read,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    processes::{Process, workers},
    runner::Runner,
    wait::{LONG, wait_for, wait_until},
};

/// A program in its own process group. It is killed when a test ends before it.
pub(crate) struct Running {
    child: Child,
    started: SystemTime,
    stdout: Output,
    stderr: Output,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code. `None` if a signal has ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Output read from a pipe by a thread, so that the program never blocks.
struct Output {
    read: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = SystemTime::now();
        let mut child = command.process_group(0).spawn().unwrap();
        let stdout = Output::new(child.stdout.take().unwrap());
        let stderr = Output::new(child.stderr.take().unwrap());
        Self { child, started, stdout, stderr }
    }

    /// The process.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Returns the current workers.
    pub(crate) fn workers(&self) -> Vec<Process> {
        workers(self.child.id())
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns standard output so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Returns standard error so far.
    pub(crate) fn shown(&self) -> String {
        self.stderr.text()
    }

    /// Returns the events so far.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.stdout.text())
    }

    /// Waits for the first event that is wanted.
    #[track_caller]
    pub(crate) fn wait_for_event(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = 0;
        let found = wait_for("an event comes", || {
            let is_over = !self.is_alive();
            if is_over {
                self.stdout.finish();
            }
            let events = self.events();
            let found = events[seen..].iter().find(|event| is_wanted(event)).cloned();
            seen = events.len();
            if found.is_some() || is_over { Some(found) } else { None }
        });
        found.unwrap_or_else(|| {
            panic!("it ended before:\n{}\n{}", self.stdout.text(), self.stderr.text())
        })
    }

    /// Waits until exactly this number of attempts of the program's newest run are running.
    #[track_caller]
    pub(crate) fn wait_until_running(&mut self, runner: &Runner, attempts: usize) {
        wait_until("attempts run", || {
            assert!(self.is_alive(), "it ended before:\n{}", self.stderr.text());
            // Another process may run an older one.
            let mut runs = runner.runs().into_iter().rev();
            let run = runs.find(|run| run.newest_process() == Some(self.process().0));
            run.is_some_and(|run| run.in_flight(self.started).len() == attempts)
        });
    }

    /// Waits until at least this number of rows is acknowledged. The program may have ended since then.
    #[track_caller]
    pub(crate) fn wait_for_rows(&mut self, count: usize) {
        let is_row = |event: &&Value| event["event"] == "row";
        wait_until("there are rows", || {
            let is_over = !self.is_alive();
            if is_over {
                self.stdout.finish();
            }
            let are_there = self.events().iter().filter(is_row).count() >= count;
            assert!(are_there || !is_over, "it ended before:\n{}", self.stderr.text());
            are_there
        });
    }

    /// Sends a signal. Returns how the program ended, and after which time.
    #[track_caller]
    pub(crate) fn end_by(self, signal: Signal) -> (Finished, Duration) {
        let sent = Instant::now();
        self.process().signal(signal);
        let ran = self.finish();
        (ran, sent.elapsed())
    }

    /// Waits until the program ends by itself.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let began = Instant::now();
        while self.is_alive() {
            assert!(
                began.elapsed() < LONG,
                "it does not end:\n{}\n{}",
                self.stdout.text(),
                self.stderr.text()
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.ended()
    }

    /// Kills the program. The last line that it printed may be torn.
    pub(crate) fn kill(mut self) -> Finished {
        // Does nothing if it was seen to have ended: another process may have its number by now.
        self.child.kill().unwrap();
        self.ended()
    }

    fn ended(&mut self) -> Finished {
        let status: ExitStatus = self.child.wait().unwrap();
        self.stdout.finish();
        self.stderr.finish();
        // SIGTERM is only sent by tests.
        assert!(
            matches!(status.signal(), None | Some(9 | 15)),
            "{status}:\n{}",
            self.stderr.text()
        );
        Finished { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&read);
        let thread = thread::spawn(move || {
            let mut piece = [0; 16 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                filled.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { read, thread: Some(thread) }
    }

    /// Waits until the pipe is closed.
    fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read.lock().unwrap()).into_owned()
    }
}

impl Finished {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Parses standard output as one JSON document.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Parses standard output as events. If the process was killed, only complete lines count.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.stdout)
    }

    /// Returns the acknowledged rows.
    #[track_caller]
    pub(crate) fn acknowledged(&self) -> Vec<Value> {
        let events = self.events().into_iter();
        events
            .filter(|event| event["event"] == "row")
            .map(|mut event| event["row"].take())
            .collect()
    }

    /// Fails unless the output contains all of these texts, wherever its lines are broken.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) {
        let printed = format!("{}{}", self.stderr, self.stdout);
        let words: Vec<_> =
            printed.split_whitespace().filter(|word| !matches!(*word, "|" | "│")).collect();
        let unwrapped = words.join(" ");
        for text in texts {
            assert!(unwrapped.contains(text), "`{text}` is not in\n{printed}");
        }
    }
}

/// Parses the complete lines.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.lines().map(event).collect()
}
