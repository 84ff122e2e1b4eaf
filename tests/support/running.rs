//! A running program, and its end.

use std::{
    io::Read,
    iter,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use serde_json::Value;

use super::{
    processes::{Process, stop_ignoring_signals, workers},
    progress,
    runner::Runner,
    wait::{Bounds, Patience, USUAL, wait_for, wait_until},
};

/// A program in its own process group. The group is killed when a test ends before the program.
pub(crate) struct Running {
    command: String,
    child: Child,
    started: SystemTime,
    stdout: Arc<Pipe>,
    stderr: Arc<Pipe>,
    heard: Mutex<Heard>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The command line.
    pub(crate) command: String,
    /// Exit code. `None` if a signal has ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Output read from a pipe by a thread, so that the program never blocks.
#[derive(Default)]
pub(super) struct Pipe {
    read: Mutex<Output>,
    closed: Condvar,
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    is_closed: bool,
}

/// Events that were parsed, so that each is parsed once however often a test looks.
#[derive(Default)]
struct Heard {
    events: Vec<Value>,
    /// Length of their lines.
    bytes: usize,
    rows: usize,
}

/// Runs a program to its end, which has to come within the usual bounds.
#[track_caller]
pub(crate) fn finished(command: &mut Command) -> Finished {
    Running::start(command).finish()
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        stop_ignoring_signals();
        let child = command.process_group(0).spawn().unwrap();
        Self::read(command, child)
    }

    /// Starts to read the output of a program that a test has started with pipes, in a process group of its own.
    pub(crate) fn read(command: &Command, mut child: Child) -> Self {
        let started = SystemTime::now();
        let stdout = Pipe::read(child.stdout.take().unwrap());
        let stderr = Pipe::read(child.stderr.take().unwrap());
        let outputs = [&stdout, &stderr].map(Arc::downgrade);
        progress::add_program(Process(child.id()), format!("{command:?}"), outputs);
        let command = shown(command);
        Self { command, child, started, stdout, stderr, heard: Mutex::default() }
    }

    /// The process.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process().0.cast_signed()).unwrap()
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
        self.heard().events.clone()
    }

    /// Parses the events that are new.
    #[track_caller]
    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A test that fails in here may be caught, and look again.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.stdout.whole_lines(heard.bytes);
        if !new.is_empty() {
            let events = events(&String::from_utf8_lossy(&new));
            heard.bytes += new.len();
            heard.rows += events.iter().filter(|event| event["event"] == "row").count();
            heard.events.extend(events);
        }
        heard
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
            let heard = self.heard();
            let found = heard.events[seen..].iter().find(|event| is_wanted(event)).cloned();
            seen = heard.events.len();
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
        wait_until("there are rows", || {
            let is_over = !self.is_alive();
            if is_over {
                self.stdout.finish();
            }
            let are_there = self.row_count() >= count;
            assert!(are_there || !is_over, "it ended before:\n{}", self.stderr.text());
            are_there
        });
    }

    /// Returns the number of rows acknowledged so far.
    #[track_caller]
    pub(crate) fn row_count(&self) -> usize {
        self.heard().rows
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
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(USUAL)
    }

    /// Waits until the program ends by itself. After the bounds, the test fails, and the program's group is killed.
    #[track_caller]
    pub(crate) fn finish_within(mut self, bounds: Bounds) -> Finished {
        let mut patience = Patience::within(bounds);
        let rest = bounds.compare_every.min(Duration::from_secs(1)).try_into().unwrap();
        while self.is_alive() {
            // Nothing has waited for the process, so that the number is still its own.
            let process = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
            // A signal may end the call early.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&rest));
            patience.check("the program ends");
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
        // It has ended, or SIGKILL ends it.
        let status: ExitStatus = self.child.wait().unwrap();
        self.stdout.finish();
        self.stderr.finish();
        // SIGTERM is only sent by tests.
        assert!(
            matches!(status.signal(), None | Some(9 | 15)),
            "{status}:\n{}",
            self.stderr.text()
        );
        Finished {
            command: self.command.clone(),
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no process. If one of the group holds an output, the group still has its number.
        let pipes = [&self.stdout, &self.stderr];
        let is_held =
            pipes.iter().any(|pipe| pipe.read.lock().is_ok_and(|output| !output.is_closed));
        if self.is_alive() || thread::panicking() && is_held {
            let _ = kill_process_group(self.pid(), Signal::KILL);
        }
        // SIGKILL ends it soon.
        let _ = self.child.wait();
    }
}

impl Pipe {
    /// Starts to read.
    fn read(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let read = Arc::new(Self::default());
        let filled = Arc::clone(&read);
        thread::spawn(move || {
            let mut piece = [0; 16 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                filled.lock().bytes.extend_from_slice(&piece[..count]);
            }
            filled.lock().is_closed = true;
            filled.closed.notify_all();
        });
        read
    }

    /// Waits until the pipe is closed, also by processes in the background.
    #[track_caller]
    fn finish(&self) {
        let mut patience = Patience::new();
        let mut output = self.lock();
        while !output.is_closed {
            let second = Duration::from_secs(1);
            (output, _) = self.closed.wait_timeout(output, second).unwrap();
            if !output.is_closed {
                drop(output);
                patience.check("the program's output is closed");
                output = self.lock();
            }
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Returns the complete lines after this number of bytes.
    fn whole_lines(&self, start: usize) -> Vec<u8> {
        let output = self.lock();
        let new = &output.bytes[start..];
        let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        new[..end].to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.read.lock().unwrap()
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

/// Returns the command line. Arguments with spaces have quotes.
fn shown(command: &Command) -> String {
    let words = iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Parses the complete lines.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    // `parse` is compiled with optimizations, unlike a generic function of the tests' own.
    let event = |line: &str| {
        line.parse().unwrap_or_else(|error: serde_json::Error| panic!("{error}: {line}"))
    };
    whole.lines().map(event).collect()
}
