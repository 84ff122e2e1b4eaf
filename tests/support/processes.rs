//! Processes that the program starts.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Once},
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::flag;

/// A process, by its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process(pub(crate) u32);

/// Lets programs that start from now on have the default action of the terminal's signals, also if the tests ignore them, as after
/// `nohup` and in the background of a script: ignored signals stay ignored in other programs, and handlers do not.
pub(crate) fn stop_ignoring_signals() {
    static STOPPED: Once = Once::new();
    STOPPED.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT].map(Signal::as_raw) {
            // Ctrl-C must still end tests that do not ignore it.
            if ignored >> (signal - 1) & 1 == 1 {
                flag::register(signal, Arc::default()).unwrap();
            }
        }
    });
}

/// Returns a coordinator's current workers, by pid.
pub(crate) fn workers(coordinator: u32) -> Vec<Process> {
    children(coordinator, "__worker")
}

/// Returns a process's current children for a hidden command, by pid.
pub(crate) fn children(parent: u32, command: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut children: Vec<_> = numbers.map(Process).collect();
    children.retain(|process| process.parent() == Some(parent) && process.has_command(command));
    children.sort();
    children
}

impl Process {
    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.0.cast_signed()).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// Returns whether the process has not ended. A zombie has.
    ///
    /// The main thread of a killed process can be a zombie while other threads still hold its files and locks.
    pub(crate) fn is_alive(self) -> bool {
        let threads = || fs::read_dir(self.folder().join("task")).map_or(0, Iterator::count);
        self.stat().is_some_and(|(state, _)| state != 'Z' || threads() > 1)
    }

    /// Returns whether the main thread waits in the kernel.
    pub(crate) fn is_asleep(self) -> bool {
        self.stat().is_some_and(|(state, _)| state == 'S')
    }

    /// Returns whether a signal has suspended the process.
    pub(crate) fn is_stopped(self) -> bool {
        self.stat().is_some_and(|(state, _)| state == 'T')
    }

    /// Returns the busiest thread, once it has used at least `least` ticks of 10 ms.
    pub(crate) fn busiest_thread(self, least: u64) -> Option<Pid> {
        let tasks = fs::read_dir(self.folder().join("task")).ok()?;
        let ticks = |entry: fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
            // Fields 14 and 15 of the line are the times in user and kernel mode. Field 3 is the state.
            let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
            Some((ticks, entry.file_name().to_str()?.parse().ok()?))
        };
        let (ticks, thread) = tasks.filter_map(|entry| ticks(entry.ok()?)).max()?;
        if ticks < least { None } else { Pid::from_raw(thread) }
    }

    /// Returns the process's peak memory in bytes.
    pub(crate) fn peak_memory(self) -> u64 {
        let status = fs::read_to_string(self.folder().join("status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Returns the bytes that the process has read from files and connections.
    pub(crate) fn read_bytes(self) -> u64 {
        let text = fs::read_to_string(self.folder().join("io")).unwrap();
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        read.unwrap().parse().unwrap()
    }

    /// Returns the process's current memory without files, in bytes. `None` if the process has ended.
    pub(crate) fn anonymous_memory(self) -> Option<u64> {
        let status = fs::read_to_string(self.folder().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024)
    }

    fn has_command(self, command: &str) -> bool {
        let line = fs::read(self.folder().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(command.as_bytes())
    }

    fn parent(self) -> Option<u32> {
        Some(self.stat()?.1)
    }

    fn folder(self) -> PathBuf {
        format!("/proc/{}", self.0).into()
    }

    /// Returns state and parent.
    fn stat(self) -> Option<(char, u32)> {
        let stat = fs::read_to_string(self.folder().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
    }
}
