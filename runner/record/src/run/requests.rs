//! Requests of other processes to the process that holds a run's lock.
//!
//! A request is the file `request-<mode>.json` with the token of that lock, so a later holder ignores it. The owner
//! removes all requests after its last manifest. A pause lasts as long as its file exists.

use std::time::Duration;

use runner_model::{Time, row::Actor};
use serde::{Deserialize, Serialize};

use crate::disk::{beneath::Dir, lock};

/// A request to change labels; see `labels.rs`.
pub(crate) const LABELS: &str = "request-label.json";
/// The reason in a request must fit into a row.
const MAX_BYTES: u64 = 8 << 10;
/// Time for an owner after the grace: 1 s for the stop, the rest for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Kinds of requests. A stronger one replaces weaker ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestMode {
    /// Pause while the file exists.
    Pause,
    /// Start nothing. Running attempts finish.
    Drain,
    /// Interrupt running attempts after the grace.
    Stop,
    /// [`Self::Stop`] for good.
    Cancel,
    /// Interrupt running attempts immediately.
    Kill,
}

/// A request as in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub mode: RequestMode,
    /// The last session at that time, for people.
    pub session: u32,
    /// Token of the lock. Other holders ignore the request.
    pub(crate) token: String,
    /// The user, with a reason.
    pub by: Actor,
    pub at: Time,
}

impl RequestMode {
    const ALL: [Self; 5] = [Self::Pause, Self::Drain, Self::Stop, Self::Cancel, Self::Kill];

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Pause => "request-pause.json",
            Self::Drain => "request-drain.json",
            Self::Stop => "request-stop.json",
            Self::Cancel => "request-cancel.json",
            Self::Kill => "request-kill.json",
        }
    }

    /// Returns the time that an owner may take. `None` for a drain, which waits for running attempts.
    pub(crate) fn bound(self, grace: Duration) -> Option<Duration> {
        match self {
            Self::Drain => None,
            Self::Stop | Self::Cancel => Some(grace + PATIENCE),
            Self::Pause | Self::Kill => Some(PATIENCE),
        }
    }
}

/// Returns this user on this machine, with a reason of at most 4 KiB.
pub fn actor(reason: Option<String>) -> Actor {
    let reason = reason.map(|mut reason| {
        reason.truncate(reason.floor_char_boundary(4 << 10));
        reason
    });
    Actor { user: lock::user(), host: lock::host(), reason }
}

/// Reads requests for the holder of a lock.
#[derive(Debug)]
pub struct Requests {
    pub(crate) dir: Dir,
    pub(crate) token: String,
}

impl Requests {
    /// Returns the requests for this holder, the strongest last. Ignores files that cannot be read.
    pub fn pending(&self) -> Vec<Request> {
        let requests = RequestMode::ALL.into_iter().filter_map(|mode| read(&self.dir, mode));
        requests.filter(|request| request.token == self.token).collect()
    }
}

pub(crate) fn read(dir: &Dir, mode: RequestMode) -> Option<Request> {
    let bytes = dir.read_all(mode.file(), MAX_BYTES).ok()?;
    let request: Request = serde_json::from_slice(&bytes).ok()?;
    (request.mode == mode).then_some(request)
}

/// Removes all requests. Only the holder of the lock may call it.
pub(crate) fn remove_all(dir: &Dir) {
    for name in RequestMode::ALL.map(RequestMode::file).iter().chain([&LABELS]) {
        let _ = dir.remove(name);
    }
}
