//! Starts child processes: workers and compilers.

use std::{
    env,
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::{
        fs::{FileExt, MetadataExt as _},
        process::{CommandExt, ExitStatusExt, parent_id},
    },
    path::Path,
    process::{self, Child, Command, ExitStatus},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// Environment variables with trusted certificates, the only ones that workers get.
pub const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Bytes of a child's standard error that messages can show.
const MAX_TAIL: u64 = 4 << 10;

/// A command, and the channel for its child.
type StartRequest = (Command, SyncSender<io::Result<Child>>);

/// A child that is being started.
pub struct Starting(Receiver<io::Result<Child>>);

impl Starting {
    /// Waits until the child runs.
    ///
    /// # Errors
    ///
    /// No process can be started.
    pub fn wait(self) -> io::Result<Child> {
        // Without a sender, no thread could be started.
        self.0.recv().unwrap_or_else(|_| Err(Errno::AGAIN.into()))
    }
}

/// Returns a command that runs a hidden command of this program, with the id of this process as its last argument, an empty
/// environment and a new process group. The caller adds arguments, stdin, stdout and stderr.
pub fn program(command: &[&str]) -> Command {
    // This works even if an update has replaced the program's file.
    let mut program = Command::new("/proc/self/exe");
    program
        .arg0("runner")
        .args(command)
        .arg(process::id().to_string())
        .env_clear()
        .process_group(0);
    program
}

/// Returns whether this process was started by [`program`], so that `main` should have run the hidden command.
pub fn is_child() -> bool {
    let words: Vec<_> = env::args_os().skip(1).collect();
    let is_hidden = words.first().is_some_and(|word| word.as_encoded_bytes().starts_with(b"__"));
    is_hidden && words.last().is_some_and(|word| *word == *parent_id().to_string())
}

/// Starts a child. The command's file descriptors are closed in this process once the child runs.
pub fn start(command: Command) -> Starting {
    static STARTER: OnceLock<Sender<StartRequest>> = OnceLock::new();
    let (reply, started) = mpsc::sync_channel(1);
    let starter = STARTER.get_or_init(|| {
        let (requests, received) = mpsc::channel();
        let thread = thread::Builder::new().name("children".into());
        // If this fails, the requests' reply channels are closed, which `Starting::wait` reports.
        let _ = thread.spawn(move || start_children(&received));
        requests
    });
    let _ = starter.send((command, reply));
    Starting(started)
}

/// Starts all children. The kernel sends a child its parent-death signal when the thread that started it ends, so this thread
/// never ends.
fn start_children(requests: &Receiver<StartRequest>) {
    for (mut command, reply) in requests {
        let child = command.spawn();
        drop(command);
        if let Err(mpsc::SendError(Ok(mut child))) = reply.send(child) {
            // Without a receiver the child is not needed.
            kill(&child);
            let _ = child.wait();
        }
    }
}

/// Kills a child and its process group. The child must not have been waited for, or its id could belong to another process.
pub fn kill(child: &Child) {
    // The child may have exited already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Kills the processes of this program that have `word` as their first argument and this file open. Returns whether there is one.
///
/// # Errors
///
/// The processes cannot be listed, or the file cannot be read.
pub fn kill_holders(word: &str, file: &File) -> io::Result<bool> {
    let start = format!("runner\0{word}\0");
    let file = file.metadata()?;
    let mut is_found = false;
    for entry in fs::read_dir("/proc")?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // Opened before the check, after which the number could belong to another process.
        let Some(Ok(process)) =
            number.and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        is_found |= line.starts_with(start.as_bytes())
            && has_open(&entry.path(), &file)
            && pidfd_send_signal(&process, Signal::KILL).is_ok();
    }
    Ok(is_found)
}

/// Returns whether a process, by its folder in `/proc`, has a file open.
fn has_open(process: &Path, file: &Metadata) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut open = descriptors.filter_map(|descriptor| fs::metadata(descriptor.path()).ok());
    open.any(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
}

/// Waits for a child to exit, at most for `time`. `None` if it still runs.
pub fn wait_for(child: &mut Child, time: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&time)) {
        Ok(_) | Err(Errno::INTR) => child.try_wait(),
        Err(error) => Err(error.into()),
    }
}

/// Creates a file in memory. `name` is only for debugging.
pub fn memory_file(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    if !content.is_empty() {
        file.write_all(content)?;
        io::Seek::rewind(&mut file)?;
    }
    Ok(file)
}

/// Returns the end of a child's standard error, at most 4 KiB.
pub fn stderr_tail(stderr: &File) -> String {
    tail(stderr, MAX_TAIL)
}

/// Returns the end of a file, at most `limit` bytes, without white space around it. Empty if it cannot be read.
pub fn tail(file: &File, limit: u64) -> String {
    let length = file.metadata().map_or(0, |about| about.len());
    let from = length.saturating_sub(limit);
    let mut bytes = vec![0; (length - from) as usize];
    match file.read_exact_at(&mut bytes, from) {
        Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// Describes the exit of a child, with the last line of its standard error, as the rest of a sentence.
pub fn describe_exit(status: ExitStatus, stderr: &File) -> String {
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    match stderr_tail(stderr).lines().next_back() {
        Some(line) => format!("{end}: {line}"),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{describe_exit, kill, memory_file, start, stderr_tail, wait_for};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn dead_child_leaves_its_stderr() {
        let stderr = memory_file("stderr", b"").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo last >&2; exit 3"]);
        command.stderr(Stdio::from(stderr.try_clone().unwrap()));
        let mut child = start(command).wait().unwrap();
        let status = wait_for(&mut child, LONG).unwrap().unwrap();
        assert_eq!(describe_exit(status, &stderr), "exited with code 3: last");
        assert_eq!(stderr_tail(&stderr), "first\nlast");
    }

    #[test]
    fn child_is_killed_with_its_group() {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0);
        let mut child = start(command).wait().unwrap();
        let still = wait_for(&mut child, Duration::from_millis(1)).unwrap();
        assert_eq!(still, None);
        kill(&child);
        let status = wait_for(&mut child, LONG).unwrap().unwrap();
        let stderr = memory_file("stderr", b"").unwrap();
        assert_eq!(describe_exit(status, &stderr), "was ended by signal 9");
        let command = Command::new("/nowhere/at/all");
        assert!(start(command).wait().is_err());
    }
}
