//! [`Helper`]: the runner's own program as a child process that limits itself, for work on foreign data which nothing
//! else can bound: compiling a plugin, and checking values against a plugin's schemas.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, setrlimit, umask},
};

use super::{clock::Moment, interrupt::Interrupt};

const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How much of what a child says of its end is read.
const MAX_MESSAGE_BYTES: u64 = 16 * 1024;
/// Files that a child may have open: its standard streams, and what the system asks of it for its threads.
const MAX_OPEN_FILES: u64 = 32;

/// The runner's own program.
#[derive(Clone, Debug)]
pub struct Helper {
    /// Where it is.
    pub program: PathBuf,
}

/// What a child is to do. It has no environment but `env`, works in `/`, and reads and writes files without names, so that
/// neither a full pipe nor a leftover has to be thought of.
pub struct ChildWork<'a> {
    /// Its arguments, of which the first tells `main` what it is.
    pub arguments: &'a [&'a str],
    /// Its whole environment.
    pub env: &'a [(&'a str, String)],
    /// What it reads on its standard input, from the beginning.
    pub input: File,
    /// What its standard output is.
    pub output: File,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a child has ended.
#[derive(Debug)]
pub enum ChildEnd {
    /// It has done what it was to do.
    Done,
    /// It says why it cannot.
    Failed(String),
    /// Its own limits have ended it, or a defect; with what it wrote last.
    Died(ExitStatus, String),
    /// It took too long, and was killed.
    TimedOut,
    /// It was interrupted.
    Cancelled,
}

/// What a child may use, as it limits itself before it reads anything.
#[derive(Clone, Copy, Debug)]
pub struct ChildLimits {
    /// Bytes of memory.
    pub memory: u64,
    /// Seconds of the processors' time, of all threads together.
    pub cpu_seconds: u64,
    /// Bytes of each file that it writes.
    pub file: u64,
}

impl Helper {
    /// Runs a child, which is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be run at all.
    pub async fn run(&self, work: ChildWork<'_>, cancel: &Interrupt) -> io::Result<ChildEnd> {
        let mut stderr = tempfile::tempfile()?;
        let timeout = work.timeout;
        let mut child = self.spawn(work, stderr.try_clone()?)?;
        let status = tokio::select! {
            status = child.wait(timeout) => status?,
            () = cancel.interrupted() => return Ok(ChildEnd::Cancelled),
        };
        let Some(status) = status else {
            return Ok(ChildEnd::TimedOut);
        };
        if status.success() {
            return Ok(ChildEnd::Done);
        }
        let message = read_message(&mut stderr)?;
        // The code of `ExitCode::FAILURE`; a panic has another one, and a limit is a signal.
        Ok(if status.code() == Some(1) && !message.is_empty() {
            ChildEnd::Failed(message)
        } else {
            ChildEnd::Died(status, message)
        })
    }

    // The child dies with the thread that starts it, so this must not move to a pool of short-lived threads.
    fn spawn(&self, work: ChildWork<'_>, stderr: File) -> io::Result<RunningChild> {
        let mut input = work.input;
        input.rewind()?;
        let child = Command::new(&self.program)
            .args(work.arguments)
            // Secrets are in the runner's own.
            .env_clear()
            .envs(work.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(work.output))
            .stderr(Stdio::from(stderr))
            // Ctrl-C at a terminal is the runner's to answer.
            .process_group(0)
            .spawn()?;
        Ok(RunningChild(child))
    }
}

/// A child that does not outlive its value.
struct RunningChild(Child);

impl RunningChild {
    /// `None` if it takes longer than `timeout`.
    async fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Moment::now();
        while start.elapsed() < timeout {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(None)
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        // Both fail only for a child that has been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_message(stderr: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    stderr.rewind()?;
    stderr.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Tells whether what a process wrote last is that it had no more memory.
pub(super) fn lacked_memory(message: &str) -> bool {
    [
        "memory allocation of",
        "out of memory",
        "Cannot allocate memory",
    ]
    .iter()
    .any(|said| message.contains(said))
}

impl ChildLimits {
    /// Limits the process that calls it, once and for all. A lower limit that was set from outside stays.
    ///
    /// What fails here is left: the parent's clock bounds the process in any case.
    pub fn apply(&self) {
        close_inherited_files();
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{DumpableBehavior, Signal};
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let _ = rustix::thread::set_no_new_privs(true);
            // No core file either, and nobody may look into its memory.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        umask(Mode::RWXG | Mode::RWXO);
        lower(Resource::Core, 0);
        lower(Resource::Nofile, MAX_OPEN_FILES);
        lower(Resource::Fsize, self.file);
        lower(Resource::Cpu, self.cpu_seconds);
        lower(Resource::Data, self.memory);
    }
}

/// Closes what the runner's own parent has left open in it without marking it; its own files close themselves.
fn close_inherited_files() {
    let Ok(entries) = fs_err::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for file in open.into_iter().filter(|file| *file > 2) {
        // It fails for the handle that the list itself was read through.
        let _ = nix::unistd::close(file);
    }
}

fn lower(resource: Resource, limit: u64) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let limit = maximum.map_or(limit, |maximum| maximum.min(limit));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    );
}

/// Writes what a child has come to on its standard output.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn reply(bytes: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(bytes)
}

/// Says on a child's standard error why it cannot do what it was to do.
pub fn give_up(reason: &str) -> std::process::ExitCode {
    let end = reason.floor_char_boundary(MAX_MESSAGE_BYTES as usize);
    // Nobody is left to be told if this fails.
    let _ = io::stderr().write_all(&reason.as_bytes()[..end]);
    std::process::ExitCode::FAILURE
}
