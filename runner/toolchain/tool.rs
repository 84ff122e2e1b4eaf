//! [`Tool`]: a build tool in a process group of its own.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::{error::SourceError, watch::BuildWatch};

/// How often a tool's watcher is asked whether to stop.
const POLL: Duration = Duration::from_millis(50);

/// How long a tool may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How long the output of an ended tool is waited for: a process that it left behind may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How many lines of a tool that failed are searched for a reason that is known.
const TAIL: usize = 40;

/// What cargo sets for a program that it runs, and flags meant for the host: a build inside must not see them.
const STRIPPED: [&str; 26] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// A program, its arguments, the folder that it works in, and what is added to its environment.
pub(super) struct Tool {
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(&'static str, &'static str)>,
}

/// A line that a tool printed.
enum ToolLine {
    Stdout(String),
    Stderr(String),
}

impl Tool {
    pub(super) fn new(program: impl AsRef<Path>, folder: &Path) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            folder: folder.to_owned(),
            environment: Vec::new(),
        }
    }

    pub(super) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    pub(super) fn args(mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Runs the tool to its end and shows all that it prints.
    pub(super) fn run(&self, watch: &mut BuildWatch<'_>) -> Result<(), SourceError> {
        let mut tail = LastLines::default();
        let status = self.follow(watch, &mut |line, watch| {
            let (ToolLine::Stdout(line) | ToolLine::Stderr(line)) = line;
            (watch.on_line)(&line);
            tail.push(line);
        })?;
        self.expect_success(status, tail)
    }

    /// Runs the tool to its end, shows what it prints on stderr and answers the lines of its stdout.
    pub(super) fn read(&self, watch: &mut BuildWatch<'_>) -> Result<Vec<String>, SourceError> {
        let mut tail = LastLines::default();
        let mut stdout = Vec::new();
        let status = self.follow(watch, &mut |line, watch| match line {
            ToolLine::Stdout(line) => stdout.push(line),
            ToolLine::Stderr(line) => {
                (watch.on_line)(&line);
                tail.push(line);
            }
        })?;
        self.expect_success(status, tail)?;
        Ok(stdout)
    }

    fn expect_success(&self, status: ExitStatus, tail: LastLines) -> Result<(), SourceError> {
        if status.success() {
            return Ok(());
        }
        Err(SourceError::Failed {
            command: self.to_string(),
            status,
            folder: self.folder.clone(),
            tail: Vec::from(tail.0).join("\n"),
        })
    }

    fn follow(
        &self,
        watch: &mut BuildWatch<'_>,
        on_line: &mut dyn FnMut(ToolLine, &mut BuildWatch<'_>),
    ) -> Result<ExitStatus, SourceError> {
        let (mut child, lines) = self.spawn()?;
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            let line = lines.recv_timeout(POLL);
            if (watch.is_stopped)() {
                end_group(&mut child);
                return Err(SourceError::Stopped);
            }
            let silence = match line {
                Ok(line) => {
                    on_line(line, watch);
                    None
                }
                Err(silence) => Some(silence),
            };
            if ended.is_none() {
                let status = child.try_wait().map_err(|error| self.cannot_start(error))?;
                ended = status.map(|status| (status, Instant::now()));
            }
            match (ended, silence) {
                (Some((status, _)), Some(RecvTimeoutError::Disconnected)) => return Ok(status),
                (Some((status, at)), Some(RecvTimeoutError::Timeout))
                    if at.elapsed() > LAST_WORDS =>
                {
                    return Ok(status);
                }
                // It closed its output and works on: nothing wakes this loop, so it must not spin.
                (None, Some(RecvTimeoutError::Disconnected)) => thread::sleep(POLL),
                (_, None | Some(RecvTimeoutError::Timeout)) => {}
            }
        }
    }

    fn spawn(&self) -> Result<(Child, Receiver<ToolLine>), SourceError> {
        let mut command = Command::new(&self.program);
        for name in STRIPPED {
            command.env_remove(name);
        }
        let mut child = command
            .args(&self.arguments)
            .envs(self.environment.iter().copied())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| self.cannot_start(error))?;

        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        forward(stdout, ToolLine::Stdout, sender.clone());
        forward(stderr, ToolLine::Stderr, sender);
        Ok((child, lines))
    }

    fn cannot_start(&self, source: std::io::Error) -> SourceError {
        SourceError::Start {
            program: self.program.display().to_string(),
            source,
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(formatter, "{name}={value} ")?;
        }
        write!(formatter, "{}", self.program.display())?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(formatter, " {}", argument.to_string_lossy()))
    }
}

/// The last lines of an output.
#[derive(Default)]
struct LastLines(VecDeque<String>);

impl LastLines {
    fn push(&mut self, line: String) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }
}

/// Sends lines until the pipe ends; text that is not UTF-8 is shown as well as it goes.
fn forward(
    pipe: impl Read + Send + 'static,
    wrap: fn(String) -> ToolLine,
    sender: Sender<ToolLine>,
) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line);
            if sender
                .send(wrap(line.trim_end_matches('\r').to_owned()))
                .is_err()
            {
                return;
            }
        }
    });
}

/// Ends the whole group: TERM, and KILL for what is left after the grace.
fn end_group(child: &mut Child) {
    let group = Pid::from_child(child);
    let start = Instant::now();
    // Fails only where nothing is left to be told.
    let _ = kill_process_group(group, Signal::TERM);
    while is_alive(child, group) {
        if start.elapsed() > GRACE {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            return;
        }
        thread::sleep(POLL / 5);
    }
}

/// Reaps the leader, which would otherwise count as alive, and asks whether anyone else is left.
fn is_alive(child: &mut Child, group: Pid) -> bool {
    let leader_is_alive = matches!(child.try_wait(), Ok(None));
    leader_is_alive || test_kill_process_group(group).is_ok()
}
