//! [`TestLine`]: a test as it stands in the file of a suite, and how it is read back.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Attachment, Expect, ExpectedError, ProviderSet, Repeats, Retries, Test,
    definition::damaged,
    expect::Schema,
    test_digests::{execution_digest, judgement_digest, with_reference},
};
use crate::model::{Digest, TestId};

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

/// What the last line had, because the next one mostly has the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Memos {
    /// With the digest of its text.
    expect: Memo<(Arc<Expect>, Digest)>,
    files: Memo<Arc<[Attachment]>>,
    providers: Memo<ProviderSet>,
    retries: Memo<Arc<Retries>>,
    tags: Memo<Arc<[String]>>,
    meta: Memo<Arc<Map<String, Value>>>,
    no_meta: Arc<Map<String, Value>>,
}

impl Memos {
    /// Reads the line of the test with this place, whose first trial has this ordinal.
    pub(super) fn read(
        &mut self,
        line: &[u8],
        index: u64,
        first_ordinal: u64,
        schemas: &BTreeMap<Digest, Arc<Schema>>,
    ) -> io::Result<Test> {
        let line = TestLine::read(line)?;
        let (expect, judgement) = self.expect.get(line.expect, |text| {
            let expect = Arc::new(read_expect(text, schemas)?);
            Ok((expect, judgement_digest(text)))
        })?;
        Ok(Test {
            index,
            first_ordinal,
            id: TestId::parse(line.id).map_err(io::Error::other)?,
            input: line.input.get().into(),
            expect,
            judgement: match line.reference {
                Some(reference) => with_reference(judgement, reference.get()),
                None => judgement,
            },
            reference: line.reference.map(|reference| reference.get().into()),
            providers: self.providers.get(line.providers, |text| {
                Ok(ProviderSet(serde_json::from_str::<Vec<u32>>(text)?.into()))
            })?,
            timeout: line.timeout.map(Duration::from_nanos),
            trial_timeout: line.trial_timeout.map(Duration::from_nanos),
            retries: self.retries.get(line.retries, read_retries)?,
            repeats: read_repeats(line.repeat, line.repeats.map(RawValue::get))?,
            tags: self.tags.get(line.tags, |text| {
                Ok(serde_json::from_str::<Vec<String>>(text)?.into())
            })?,
            meta: match line.meta {
                None => Arc::clone(&self.no_meta),
                Some(meta) => self
                    .meta
                    .get(meta, |text| Ok(Arc::new(serde_json::from_str(text)?)))?,
            },
            files: self.files.get(line.files, read_files)?,
            execution: execution_digest([
                line.id,
                line.input.get(),
                line.tags.get(),
                line.files.get(),
            ]),
        })
    }
}

#[derive(Clone, Debug)]
struct Memo<T> {
    last: Option<(Box<str>, T)>,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<T: Clone> Memo<T> {
    fn get(&mut self, raw: &RawValue, parse: impl FnOnce(&str) -> io::Result<T>) -> io::Result<T> {
        if let Some((text, value)) = &self.last
            && **text == *raw.get()
        {
            return Ok(value.clone());
        }
        let value = parse(raw.get())?;
        self.last = Some((raw.get().into(), value.clone()));
        Ok(value)
    }
}

/// Reads an expectation, of which a schema is one of these.
pub(super) fn read_expect(
    text: &str,
    schemas: &BTreeMap<Digest, Arc<Schema>>,
) -> io::Result<Expect> {
    let map: Map<String, Value> = serde_json::from_str(text)?;
    Expect::read(map, schemas).ok_or_else(|| damaged("an expectation"))
}

fn read_retries(text: &str) -> io::Result<Arc<Retries>> {
    let entry: RetriesEntry = serde_json::from_str(text)?;
    let on = entry.on.iter().map(|word| ExpectedError::parse(word));
    Ok(Arc::new(Retries {
        max: entry.max,
        backoff: Duration::from_nanos(entry.backoff),
        on: on
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("an error class"))?,
    }))
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
