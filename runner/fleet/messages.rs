//! What is said on the engine beside links: JSON, with the version of this language first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// The version of this language.
pub(super) const LANGUAGE: u32 = 1;

/// Where runs say that they would have workers.
pub(super) const OFFERS: &str = "runner.offers";
/// Where workers say that they are there.
pub(super) const PRESENCE: &str = "runner.workers";

/// A run would have workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) v: u32,
    /// The version of the runner that has it: whoever makes its attempts has the same.
    pub(super) version: String,
    /// What plugins run in there, with its version: whoever makes its attempts has the same.
    #[serde(default)]
    pub(super) engine: String,
    /// The name of the run's directory.
    pub(super) run: String,
    /// The name of the scenario.
    pub(super) scenario: String,
    /// Names this session of it, and no other.
    pub(super) session: String,
    /// The digest of its bundle.
    pub(super) bundle: String,
    /// What workers must be labelled with.
    pub(super) labels: BTreeMap<String, String>,
}

impl Offer {
    /// Where workers say that they take it.
    pub(super) fn replies(&self) -> String {
        format!("runner.join.{}", self.session)
    }
}

/// What a worker says to a run whose offer it has heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum JoinRequest {
    /// One of its processes would make attempts.
    Seat {
        /// What its attempts are marked with.
        name: String,
        /// The link over which it speaks.
        link: String,
        /// How many attempts it makes at once.
        slots: usize,
        /// What these may hold together, in bytes.
        memory: u64,
    },
    /// It cannot make attempts of this run.
    Declined {
        /// Which worker.
        worker: String,
        /// Why not.
        reason: String,
    },
    /// The engine does not have these blobs.
    Missing {
        /// Their digests.
        blobs: Vec<String>,
    },
}

/// What the run answers to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinReply {
    /// Whether it is done.
    pub(super) ok: bool,
    /// Why not, else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// A process would have something that one alone may have over an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameClaim {
    /// No other claim's. Of two that come in the same moment the smaller one counts.
    pub(super) id: String,
    /// Which process, where and since when.
    pub(super) holder: String,
}

/// What a process says to another that would have what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameHolding {
    /// Which process, where and since when.
    pub(super) holder: String,
}

/// Where whoever has what is named hears of others that would have it.
pub(super) fn holding_subject(named: &str) -> String {
    // A name may have what no subject has.
    format!("runner.holding.{}", Digest::of(named.as_bytes()))
}

/// A worker says that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerPresence {
    pub(super) v: u32,
    pub(super) version: String,
    /// Its name, which is no other's.
    pub(super) worker: String,
    /// Its machine.
    pub(super) host: String,
    /// How many processors it has.
    pub(super) cores: usize,
    pub(super) labels: BTreeMap<String, String>,
    /// The run whose attempts it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    /// Whether it takes nothing more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_leaving: bool,
}

/// The subjects of a link: to the worker, and from it.
pub(super) fn link_subjects(link: &str) -> [String; 2] {
    [
        format!("runner.link.{link}.down"),
        format!("runner.link.{link}.up"),
    ]
}

/// Writes a message.
pub(super) fn write<T: Serialize>(message: &T) -> bytes::Bytes {
    // Nothing in them can fail to be written.
    serde_json::to_vec(message).unwrap_or_default().into()
}

/// Reads a message; `None` if it is none.
pub(super) fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
