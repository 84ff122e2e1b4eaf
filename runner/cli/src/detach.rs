//! `--detach`: starts the same program in the background, as the queue and a server do.
//!
//! A process in the background has a word and a request before its arguments, a pipe as standard input, and the lock
//! of the request as standard output. Once its run is on disk it writes one line to the pipe, leaves the terminal's session,
//! and prints into the run's `runner.log`. Until then it prints to the terminal, and a signal of the terminal ends both
//! processes.

use std::sync::{Mutex, Once, PoisonError};
use std::{env, ffi::OsString, fs::File, os::fd::OwnedFd, time::Duration};

use runner_engine::{EngineError, Observer, RunEvent};
use runner_model::{Digest, exit::Exit, visible::visible_line};
use runner_operations::launch::{DETACHED, Launch, LaunchError, launch};
use runner_record::{RequestMark, RunDir, RunHead};
use runner_report::{RunSummary, ScenarioProblem, Started, VERSION, phrases};

use crate::text::{CommandError, Out, summary};

/// The lock of the request, until the run exists.
static LOCK: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// The first process knows the id, and may have ended.
static REPORTED: Once = Once::new();

/// Returns the arguments as the user typed them, without the program.
pub fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(if is_background() { 5 } else { 1 })
}

pub fn is_background() -> bool {
    env::args_os().nth(1).is_some_and(|word| word == DETACHED)
}

/// Returns the request that this process in the background is for.
pub fn request() -> Option<RequestMark> {
    let mut words = env::args_os().skip(2).map_while(|word| word.into_string().ok());
    let id = words.next().filter(|id| is_background() && !id.is_empty())?;
    let priority = words.next()?.parse().ok()?;
    Some(RequestMark { id, priority, body: words.next().and_then(|body| Digest::parse(&body)) })
}

/// Moves the lock of the request away from standard output, so that no child gets it. Does nothing without a request.
pub fn keep_lock() {
    if request().is_some()
        && let Ok(null) = File::options().write(true).open("/dev/null")
    {
        let lock = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).ok();
        *LOCK.lock().unwrap_or_else(PoisonError::into_inner) = lock;
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// Starts the background process, and prints the id of its run or group. If the background process ends before that, returns
/// its exit code.
pub fn start(out: &Out, json: bool) -> Result<Exit, CommandError> {
    let arguments: Vec<_> = arguments().collect();
    match launch(Launch { arguments: &arguments, prints_messages: true, ..Launch::default() }) {
        Ok(started) if json => out.document(&started),
        Ok(started) => out.data(&started.id),
        Err(error @ LaunchError::Start { .. }) => return Err(CommandError::failed(error)),
        // The background process has printed the reason.
        Err(error) => return error.exit().ok_or_else(|| CommandError::failed(error)),
    }
    Ok(Exit::Success)
}

/// Writes the id to the first process and leaves the session, so that no signal of the terminal reaches this process. Later
/// calls do nothing.
pub fn report_start(id: &str, run: Option<&RunDir>) {
    REPORTED.call_once(|| {
        // This fails only for the leader of a process group, and a child of the first process does not lead one.
        let _ = rustix::process::setsid();
        let run_dir = run.map(|run| run.path().to_string_lossy().into_owned());
        let started = Started { v: VERSION, id: id.to_owned(), run_dir };
        let line = serde_json::to_vec(&started).unwrap_or_default();
        // If the first process was killed, the run continues without it.
        let _ = rustix::io::write(rustix::stdio::stdin(), &line);
        if let Ok(null) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(null);
        }
        // An empty file is a request whose run exists.
        if let Some(lock) = LOCK.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = rustix::fs::ftruncate(lock, 0);
        }
    });
}

/// Writes the problems of a scenario to the first process, which may be a server that answers with them.
pub fn report_problems(error: &EngineError) {
    if let EngineError::Scenario(problems) = error
        && !REPORTED.is_completed()
    {
        let problems: Vec<_> = ScenarioProblem::all(problems).collect();
        let line = serde_json::to_vec(&problems).unwrap_or_default();
        let _ = rustix::io::write(rustix::stdio::stdin(), &line);
    }
}

/// Observes a session in the background, and reports only its start.
pub struct Background<'a> {
    out: &'a Out,
    /// The run is on disk, with its log.
    has_run: bool,
}

impl<'a> Background<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self { out, has_run: false }
    }
}

impl Observer for Background<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Created { run, log, .. } => {
                report_start(run.id(), Some(run));
                // The message of a panic must not be lost, either.
                let _ = rustix::stdio::dup2_stderr(log);
                self.has_run = true;
            }
            RunEvent::Compiling { plugin } if !self.has_run => {
                self.out.talk(&format!("compiling {}", visible_line(plugin)));
            }
            // If nothing is left to do, there is no `Created` before.
            RunEvent::Finished { ended } => {
                if ended.ran_nothing() && !REPORTED.is_completed() {
                    let run = RunHead::from(&ended.manifest);
                    let id = ended.manifest.id.clone();
                    let run = RunSummary::new(run, id, ended.run.path());
                    let line = summary::line(&run, Duration::ZERO);
                    self.out.talk(&format!("{line}{}", phrases::NONE_RUN));
                }
                report_start(ended.run.id(), Some(&ended.run));
            }
            // Once there is a run, notices are in its `runner.log`, and the terminal may be gone.
            RunEvent::Notice(text) if !self.has_run => {
                self.out.notice("note:", text);
            }
            _ => {}
        }
    }
}
