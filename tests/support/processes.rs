//! The processes that the program starts beside its own.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_until;

/// A worker of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worker(u32);

/// The workers that a runner has now.
pub(crate) fn workers(runner: u32) -> Vec<Worker> {
    let entries = fs_err::read_dir("/proc").unwrap();
    let mut workers: Vec<_> = entries
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .map(Worker)
        .filter(|worker| worker.parent() == Some(runner) && worker.is_worker())
        .collect();
    workers.sort();
    workers
}

/// The workers of a runner, once there are so many.
#[track_caller]
pub(crate) fn wait_for_workers(runner: u32, count: usize) -> Vec<Worker> {
    wait_until("there are workers", || workers(runner).len() == count);
    workers(runner)
}

impl Worker {
    /// Whether the process is there and not only waits to be reaped.
    pub(crate) fn is_alive(self) -> bool {
        self.stat().is_some_and(|(state, _)| state != 'Z')
    }

    pub(crate) fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.0.cast_signed()).unwrap();
        // It may be gone, which is what most signals are for.
        let _ = kill_process(pid, signal);
    }

    /// What the system shows of it to everybody with the same user: a file of its folder in `/proc`.
    pub(crate) fn shown(self, file: &str) -> String {
        let bytes = fs_err::read(self.folder().join(file)).unwrap();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    }

    /// The paths of the files that it has open.
    pub(crate) fn open_files(self) -> Vec<PathBuf> {
        let entries = fs_err::read_dir(self.folder().join("fd")).unwrap();
        entries
            .filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok())
            .collect()
    }

    fn folder(self) -> PathBuf {
        format!("/proc/{}", self.0).into()
    }

    fn is_worker(self) -> bool {
        let line = fs_err::read(self.folder().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"__worker")
    }

    fn parent(self) -> Option<u32> {
        Some(self.stat()?.1)
    }

    /// Its state and its parent.
    fn stat(self) -> Option<(char, u32)> {
        let stat = fs_err::read_to_string(self.folder().join("stat")).ok()?;
        let (_, behind) = stat.rsplit_once(") ")?;
        let mut fields = behind.split(' ');
        Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
    }
}
