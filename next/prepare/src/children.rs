//! Starts children of this program: workers and compilers.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::{
        fs::FileExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::{self, Child, Command, ExitStatus},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// Variables that name the certificates which workers trust; nothing else of the environment is theirs.
pub const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Bytes of what a dead child wrote last that are kept.
const LAST_WORDS: u64 = 4 << 10;

/// A command, and whom to tell that it runs.
type Order = (Command, SyncSender<io::Result<Child>>);

/// A child that is being started.
pub struct Starting(Receiver<io::Result<Child>>);

impl Starting {
    /// Waits until the child runs.
    ///
    /// # Errors
    ///
    /// The system's, if no process can be started.
    pub fn wait(self) -> io::Result<Child> {
        let no_thread = |_| Err(io::Error::other("no thread can be started"));
        self.0.recv().unwrap_or_else(no_thread)
    }
}

/// This program with a hidden command and the number of this process behind it; with an empty environment, in a process
/// group of its own. The caller adds arguments and the three descriptors.
pub fn program(command: &[&str]) -> Command {
    // Also right where the program's file was replaced since it was started.
    let mut program = Command::new("/proc/self/exe");
    program
        .arg0("runner")
        .args(command)
        .arg(process::id().to_string())
        .env_clear()
        .process_group(0);
    program
}

/// Starts a child. Its descriptors in this process are closed once it runs.
pub fn start(command: Command) -> Starting {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let (reply, started) = mpsc::sync_channel(1);
    let starter = STARTER.get_or_init(|| {
        let (orders, received) = mpsc::channel();
        let thread = thread::Builder::new().name("children".into());
        // Without a thread nothing receives orders, and who waits for a reply sees that.
        let _ = thread.spawn(move || start_children(&received));
        orders
    });
    let _ = starter.send((command, reply));
    Starting(started)
}

/// A child gets its parent-death signal when the thread ends that started it, so one thread that never ends starts all.
fn start_children(orders: &Receiver<Order>) {
    for (mut command, reply) in orders {
        let child = command.spawn();
        drop(command);
        if let Err(mpsc::SendError(Ok(mut child))) = reply.send(child) {
            // Nobody waits for it any more.
            kill(&child);
            let _ = child.wait();
        }
    }
}

/// Kills a child that was not waited for, with all that it has started.
pub fn kill(child: &Child) {
    // It may be gone already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Waits for the end of a child for so long; `None` if it still runs.
pub fn wait_for(child: &mut Child, time: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => child.try_wait(),
        Err(error) => Err(error.into()),
    }
}

/// A file without a name, in memory.
pub fn nameless(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    if !content.is_empty() {
        file.write_all(content)?;
        io::Seek::rewind(&mut file)?;
    }
    Ok(file)
}

/// The end of what a child wrote to its standard error.
pub fn last_words(stderr: &File) -> String {
    let length = stderr.metadata().map_or(0, |about| about.len());
    let from = length.saturating_sub(LAST_WORDS);
    let mut bytes = vec![0; (length - from) as usize];
    match stderr.read_exact_at(&mut bytes, from) {
        Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// How a child ended, as the rest of a sentence, with the last line that it wrote.
pub fn show_end(status: ExitStatus, stderr: &File) -> String {
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    match last_words(stderr).lines().next_back() {
        Some(line) => format!("{end}: {line}"),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use super::{kill, last_words, nameless, show_end, start, wait_for};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_dead_child_leaves_its_last_words() {
        let stderr = nameless("stderr", b"").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo last >&2; exit 3"]);
        command.stderr(Stdio::from(stderr.try_clone().unwrap()));
        let mut child = start(command).wait().unwrap();
        let status = wait_for(&mut child, LONG).unwrap().unwrap();
        assert_eq!(show_end(status, &stderr), "exited with code 3: last");
        assert_eq!(last_words(&stderr), "first\nlast");
    }

    #[test]
    fn a_child_is_killed_with_its_group() {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0);
        let mut child = start(command).wait().unwrap();
        let still = wait_for(&mut child, Duration::from_millis(1)).unwrap();
        assert_eq!(still, None);
        kill(&child);
        let status = wait_for(&mut child, LONG).unwrap().unwrap();
        let stderr = nameless("stderr", b"").unwrap();
        assert_eq!(show_end(status, &stderr), "was ended by signal 9");
        let command = Command::new("/nowhere/at/all");
        assert!(start(command).wait().is_err());
    }
}
