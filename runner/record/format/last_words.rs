//! `last-words.json`: why a process that could not write the manifest has ended.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{by::By, words};
use crate::{
    model::{Reason, StopSignal},
    record::disk::{durable, layout::RunDir, regular},
};

/// Why a session's process has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// The session.
    pub session: u32,
    /// The reason that its run gets.
    #[serde(with = "words::word")]
    pub reason: Reason,
    /// The signal, if that was the reason.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    pub signal: Option<StopSignal>,
    /// Who asked for it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// Leaves last words in a run's directory. Does not wait for the disk: whoever calls this has no time.
pub fn write(run_dir: &Path, words: &LastWords) -> io::Result<()> {
    let bytes = serde_json::to_vec(words).expect("words can be written as JSON");
    durable::replace_unsynced(&RunDir::new(run_dir).last_words(), &bytes)
}

/// Reads the last words in a run's directory; what cannot be understood is none.
pub fn read(run_dir: &Path) -> Option<LastWords> {
    let bytes = regular::read(&RunDir::new(run_dir).last_words()).ok()?;
    serde_json::from_slice(&bytes).ok()
}
