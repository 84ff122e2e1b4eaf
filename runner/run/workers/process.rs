//! [`WorkerProcess`]: a worker, as its runner has it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{
    conversation::Conversation,
    hearing::{Talk, WorkerNews},
};

/// What tells `main` that it is a worker.
pub const WORKER_ARGUMENT: &str = "__worker";

/// How much of what a worker says of its end is read.
const MAX_LAST_WORDS: u64 = 4 * 1024;

/// What a worker is started with.
#[derive(Clone, Debug)]
pub(super) struct WorkerProgram {
    /// The runner's own.
    pub(super) path: PathBuf,
    /// Its whole environment.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// Where files without names are made.
    pub(super) scratch_root: PathBuf,
}

/// A worker, which ends with this value.
pub(super) struct WorkerProcess {
    pub(super) talk: Conversation,
    child: WorkerChild,
}

impl WorkerProcess {
    /// Starts a worker, which dies with the thread that calls this. Needs the runtime of the session around it.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be started.
    pub(super) fn start(
        program: &WorkerProgram,
        talk: Talk,
        news: impl Fn(WorkerNews) + Send + 'static,
    ) -> io::Result<Self> {
        let (child, socket) = WorkerChild::start(program)?;
        Ok(Self {
            talk: Conversation::begin(socket, talk, news)?,
            child,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it, if it has not ended, and says how that was, with what it said last.
    pub(super) fn end(self) -> (Option<ExitStatus>, String) {
        self.child.end()
    }
}

/// The process of a worker, which ends with this value.
pub(super) struct WorkerChild {
    child: Child,
    stderr: File,
}

impl WorkerChild {
    /// Starts it, and gives the socket over which it speaks.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be started.
    pub(super) fn start(program: &WorkerProgram) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let stderr = tempfile::tempfile_in(&program.scratch_root)?;
        let child = Command::new(&program.path)
            .arg(WORKER_ARGUMENT)
            // Secrets are in the runner's own.
            .env_clear()
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(stderr.try_clone()?)
            // In the runner's own group, and it takes no notice of the keys there: the runner tells it what they mean.
            .spawn()?;
        Ok((Self { child, stderr }, ours))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, if it has not ended, and says how that was, with what it said last.
    pub(super) fn end(mut self) -> (Option<ExitStatus>, String) {
        let status = self.kill();
        let mut words = Vec::new();
        // It is told with a death, which is no matter of whether this can be read.
        let _ = self.stderr.seek(SeekFrom::Start(0));
        let _ = (&self.stderr).take(MAX_LAST_WORDS).read_to_end(&mut words);
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        (status, words)
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        // Both fail only for a child that has been reaped already.
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for WorkerChild {
    fn drop(&mut self) {
        self.kill();
    }
}
