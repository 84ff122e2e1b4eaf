//! [`TestLine`]: a test as it stands in the file of a suite.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Attachment, Repeats, definition::damaged};
use crate::model::Digest;

/// A test as it stands in the file. The fields are sorted, so that equal tests are equal bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TestLine<'a> {
    #[serde(borrow)]
    pub(super) expect: &'a RawValue,
    #[serde(borrow)]
    pub(super) files: &'a RawValue,
    pub(super) id: &'a str,
    #[serde(borrow)]
    pub(super) input: &'a RawValue,
    /// Absent in a test that says nothing of itself.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) providers: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<&'a RawValue>,
    pub(super) repeat: u32,
    /// Which of the repeats there are; absent where all are.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) repeats: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) retries: &'a RawValue,
    #[serde(borrow)]
    pub(super) tags: &'a RawValue,
    /// Nanoseconds, as the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trial_timeout: Option<u64>,
}

/// An attachment as it stands in the file.
#[derive(Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) bytes: u64,
    pub(super) media_type: String,
    pub(super) name: String,
    pub(super) sha256: String,
}

/// Retries as they stand in the file.
#[derive(Serialize, Deserialize)]
pub(super) struct RetriesEntry {
    /// Nanoseconds.
    pub(super) backoff: u64,
    pub(super) max: u32,
    pub(super) on: Vec<String>,
}

impl<'a> TestLine<'a> {
    pub(super) fn read(line: &'a [u8]) -> io::Result<Self> {
        // All at once it is found out much sooner that it is text than string by string.
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        Ok(serde_json::from_str(text)?)
    }
}

pub(super) fn read_repeats(count: u32, some: Option<&str>) -> io::Result<Repeats> {
    let repeats = match some {
        None => Repeats::All(count),
        Some(some) => Repeats::Some(serde_json::from_str::<Vec<u32>>(some)?.into()),
    };
    match repeats.count() {
        0 => Err(damaged("the repeats of a test")),
        _ => Ok(repeats),
    }
}

pub(super) fn read_files(text: &str) -> io::Result<Arc<[Attachment]>> {
    let entries: Vec<FileEntry> = serde_json::from_str(text)?;
    entries
        .into_iter()
        .map(|entry| {
            Ok(Attachment {
                name: entry.name,
                media_type: entry.media_type,
                sha256: Digest::parse(&entry.sha256).ok_or_else(|| damaged("a digest"))?,
                bytes: entry.bytes,
            })
        })
        .collect()
}
