//! [`Owner`]: who says to hold a run's lock. For people: only the lock itself decides who is alive.

use std::path::Path;

/// Who says to hold a run's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub pid: Option<u32>,
    /// Its machine.
    pub host: Option<String>,
}

impl Owner {
    /// Reads what the owner of a lock has written into it.
    pub(super) fn read(lock: &Path) -> Self {
        let text = fs_err::read_to_string(lock).unwrap_or_default();
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        Self {
            pid: value("pid").and_then(|pid| pid.parse().ok()),
            host: value("host").map(str::to_owned),
        }
    }

    /// `pid 12 on host`, as far as it is known.
    pub fn text(&self) -> Option<String> {
        match (self.pid, &self.host) {
            (Some(pid), Some(host)) => Some(format!("pid {pid} on {host}")),
            (Some(pid), None) => Some(format!("pid {pid}")),
            (None, _) => None,
        }
    }
}
