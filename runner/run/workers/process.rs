//! [`WorkerProcess`]: a worker, as its runner has it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};

use super::{
    beat::SILENCE,
    hearing::{Hearing, WorkerNews},
    held::HeldTrials,
    socket::{self, Socket},
    wire::{FrameBuffer, TaskKey, ToWorker},
};
use crate::{
    plugin::{Moment, clock},
    run::seam::{Assignment, ExecutorId, FromExecutors},
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
    child: Child,
    stderr: File,
    outgoing: UnboundedSender<Vec<u8>>,
    held: HeldTrials,
    tasks: [JoinHandle<()>; 2],
}

impl WorkerProcess {
    /// Starts a worker, which dies with the thread that calls this. Needs the runtime of the session around it.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be started.
    pub(super) fn start(
        program: &WorkerProgram,
        who: ExecutorId,
        dispatcher: UnboundedSender<FromExecutors>,
        news: impl Fn(WorkerNews) + Send + 'static,
    ) -> io::Result<Self> {
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
        let held = HeldTrials::default();
        let hearing = Hearing::new(who, held.clone(), dispatcher, &program.scratch_root);
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let stream = Socket::new(ours)?;
        let sending = stream.stream.clone();
        let tasks = [
            tokio::spawn(say(sending, to_send)),
            tokio::spawn(hear(stream, hearing, news)),
        ];
        Ok(Self {
            child,
            stderr,
            outgoing,
            held,
            tasks,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it has answered any of its attempts.
    pub(super) fn has_answered(&self) -> bool {
        self.held.has_answered()
    }

    /// Sends what is encoded. A worker that is gone is told of by its news.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        drop(self.outgoing.send(bytes));
    }

    /// Assigns it attempts.
    pub(super) fn assign(&self, batch: Vec<Assignment>) {
        let tasks = batch.iter().map(|assignment| TaskKey {
            ordinal: assignment.ordinal,
            number: assignment.number,
            memory: assignment.memory,
            trial_left: assignment.trial_left,
        });
        let message = ToWorker::Assign(tasks.collect());
        self.held.add(batch);
        self.send(message.encode());
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

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.kill();
    }
}

async fn say(stream: Arc<tokio::net::UnixStream>, mut to_send: UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = to_send.recv().await {
        if socket::send(&stream, &bytes).await.is_err() {
            break;
        }
    }
}

async fn hear(mut socket: Socket, mut hearing: Hearing, news: impl Fn(WorkerNews)) {
    let mut buffer = FrameBuffer::default();
    loop {
        let silence = clock::sleep_until(Moment::now() + SILENCE);
        tokio::select! {
            biased;
            more = socket.fill(&mut buffer) => match more {
                Ok(true) => {}
                Ok(false) | Err(_) => return news(WorkerNews::Gone),
            },
            () = silence => return news(WorkerNews::Silent(SILENCE)),
        }
        loop {
            match buffer.next() {
                Ok(None) => break,
                Ok(Some(frame)) => match hearing.take(frame) {
                    Ok(None) => {}
                    Ok(Some(told)) => news(told),
                    Err(_) => return news(WorkerNews::Gone),
                },
                Err(_) => return news(WorkerNews::Gone),
            }
        }
    }
}
