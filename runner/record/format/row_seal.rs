//! [`RowSeal`]: what a file of rows was when it was full.

use serde::{Deserialize, Serialize};

use super::words;
use crate::model::Digest;

/// The version that is written.
const VERSION: u32 = 1;

/// What a file of rows was when it was full: from then on it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::record) struct RowSeal {
    v: u32,
    /// How many lines it has.
    pub(in crate::record) lines: u64,
    pub(in crate::record) bytes: u64,
    #[serde(with = "words::digest")]
    pub(in crate::record) sha256: Digest,
}

impl RowSeal {
    pub(in crate::record) fn new(lines: u64, bytes: u64, sha256: Digest) -> Self {
        Self {
            v: VERSION,
            lines,
            bytes,
            sha256,
        }
    }

    pub(in crate::record) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("a seal can be written as JSON");
        text.push(b'\n');
        text
    }

    pub(in crate::record) fn decode(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }
}
