//! What an engine and its workers say of themselves.

use std::{collections::BTreeMap, time::Duration};

/// The longest name of a worker, in bytes.
const MOST_NAME: usize = 128;

/// A worker, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentWorker {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// The version of its runner.
    pub version: String,
    /// How many processors it has.
    pub cores: usize,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// The run whose attempts it makes.
    pub run: Option<String>,
    /// Whether it takes nothing more.
    pub is_leaving: bool,
}

/// What an engine is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// Where it is.
    pub at: String,
    /// The version of the server.
    pub version: String,
    /// The longest message that it takes, in bytes.
    pub most_bytes: usize,
    /// How long a message takes to it and back.
    pub round_trip: Duration,
    /// How many blobs it keeps, and how many bytes they are together.
    pub blobs: (usize, u64),
    /// Why it cannot keep any.
    pub keeps_nothing: Option<String>,
}

/// Removes blobs that nobody has put there again for so long.
#[derive(Clone, Copy, Debug)]
pub struct BlobCleaning {
    /// In seconds since 1970: what was put there before.
    pub before: i64,
    /// Whether it is only told what would go.
    pub is_dry: bool,
}

/// What workers are told of a run.
#[derive(Clone, Debug)]
pub struct SpreadRun {
    /// The name of its directory.
    pub run: String,
    /// The name of its scenario.
    pub scenario: String,
    /// What they must be labelled with.
    pub labels: BTreeMap<String, String>,
    /// Which process makes it, where and since when.
    pub holder: String,
}

/// Tells whether a text can be the name of a worker: it stands in rows and in logs.
pub fn is_worker_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    !text.is_empty() && text.len() <= MOST_NAME && text.bytes().all(is_of_name)
}
