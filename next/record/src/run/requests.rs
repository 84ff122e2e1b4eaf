//! Requests: what other processes ask of the process that holds a run's lock, and how they wait for what comes of it.
//!
//! A request is a file, `request-<mode>.json`. It names the token of the lock that it was left for, so a later holder ignores
//! it. The owner removes all requests behind its last manifest. A pause lasts as long as its file is there.

use std::time::Duration;

use runner_model::{Time, row::Actor};
use serde::{Deserialize, Serialize};

use crate::disk::{beneath::Dir, lock};

/// A longer file is no request; so a reason can fill no row.
const MAX_BYTES: u64 = 8 << 10;
/// How long an owner may take behind the grace: 1 s for a stop, the rest for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of a run's owner. A stronger one takes the place of weaker ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestMode {
    /// Wait, as long as the request is there.
    Pause,
    /// Begin nothing; what runs finishes.
    Drain,
    /// Interrupt what runs, after the grace.
    Stop,
    /// As [`Self::Stop`], and never go on.
    Cancel,
    /// Interrupt what runs at once.
    Kill,
}

/// A request as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for.
    pub mode: RequestMode,
    /// The last session when it was asked, for people.
    pub session: u32,
    /// Of the lock; another holder ignores the request.
    pub(crate) token: String,
    /// Who asks, and why.
    pub by: Actor,
    /// When.
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

    /// How long an owner may take, by the grace of its session; no bound but the run's own for what may finish.
    pub(crate) fn bound(self, grace: Duration) -> Option<Duration> {
        match self {
            Self::Drain => None,
            Self::Stop | Self::Cancel => Some(grace + PATIENCE),
            Self::Pause | Self::Kill => Some(PATIENCE),
        }
    }
}

/// This user on this machine, with a reason. One that is longer than 4 KiB is cut.
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
    /// The requests that are there for this holder, the strongest last. What cannot be read is no request.
    pub fn pending(&self) -> Vec<Request> {
        let modes = RequestMode::ALL.into_iter();
        let read = modes.filter_map(|mode| read(&self.dir, mode));
        read.filter(|request| request.token == self.token).collect()
    }
}

pub(crate) fn read(dir: &Dir, mode: RequestMode) -> Option<Request> {
    let bytes = dir.read_all(mode.file(), MAX_BYTES).ok()?;
    let request: Request = serde_json::from_slice(&bytes).ok()?;
    (request.mode == mode).then_some(request)
}

/// Removes all requests. Only the holder of the lock may do that.
pub(crate) fn remove_all(dir: &Dir) {
    for mode in RequestMode::ALL {
        let _ = dir.remove(mode.file());
    }
}
