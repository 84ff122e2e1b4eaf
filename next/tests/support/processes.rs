//! The processes that the program starts.

use std::{fs, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// A process by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process(pub(crate) u32);

/// The workers that a coordinator has now, in the order of their numbers.
pub(crate) fn workers(coordinator: u32) -> Vec<Process> {
    children(coordinator, "__worker")
}

/// The children that a process has for a hidden command now, in the order of their numbers.
pub(crate) fn children(parent: u32, command: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut children: Vec<_> = numbers.map(Process).collect();
    children.retain(|process| process.parent() == Some(parent) && process.has_command(command));
    children.sort();
    children
}

impl Process {
    /// Sends a signal, if the process is still there.
    pub(crate) fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.0.cast_signed()).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// Whether the process runs or can run again; one that waits to be reaped is gone.
    pub(crate) fn is_alive(self) -> bool {
        self.stat().is_some_and(|(state, _)| state != 'Z')
    }

    /// Whether a signal has stopped the process.
    pub(crate) fn is_stopped(self) -> bool {
        self.stat().is_some_and(|(state, _)| state == 'T')
    }

    /// The thread that has used most of the processor, once one of them has used at least this many ticks of 10 ms.
    pub(crate) fn busiest_thread(self, least: u64) -> Option<Pid> {
        let tasks = fs::read_dir(self.folder().join("task")).ok()?;
        let ticks = |entry: fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
            // The times in user and in kernel mode are the fields 14 and 15 of the line, and the state is field 3.
            let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
            Some((ticks, entry.file_name().to_str()?.parse().ok()?))
        };
        let (ticks, thread) = tasks.filter_map(|entry| ticks(entry.ok()?)).max()?;
        if ticks < least { None } else { Pid::from_raw(thread) }
    }

    /// The most memory that the process had at once until now, in bytes.
    pub(crate) fn peak_memory(self) -> u64 {
        let status = fs::read_to_string(self.folder().join("status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
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

    /// Its state and its parent.
    fn stat(self) -> Option<(char, u32)> {
        let stat = fs::read_to_string(self.folder().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
    }
}
