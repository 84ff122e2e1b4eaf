//! [`Memos`]: how tests are read back from the file of a suite.

use std::{io, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    Attachment, Expected, ExpectedError, ProviderSet, Retries, Test,
    definition::damaged,
    expected::Schemas,
    skimmed_test::SkimmedTest,
    test_digests::{execution_digest, judgement_digest, with_reference},
    test_line::{RetriesEntry, read_files, read_repeats},
};
use crate::model::{Digest, TestId};

/// What the last line had, because the next one mostly has the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Memos {
    /// With the digest of its text.
    expect: Memo<(Arc<Expected>, Digest)>,
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
        schemas: &Arc<Schemas>,
    ) -> io::Result<Test> {
        let line = SkimmedTest::read(line)?;
        let (expect, judgement) = self.expect.get(line.expect, |text| {
            let expect = Arc::new(Expected::new(text, schemas));
            Ok((expect, judgement_digest(text)))
        })?;
        Ok(Test {
            index,
            first_ordinal,
            id: TestId::parse(line.id).map_err(io::Error::other)?,
            input: line.input.into(),
            expect,
            judgement: match line.reference {
                Some(reference) => with_reference(judgement, reference),
                None => judgement,
            },
            reference: line.reference.map(|reference| reference.into()),
            providers: self.providers.get(line.providers, |text| {
                Ok(ProviderSet(serde_json::from_str::<Vec<u32>>(text)?.into()))
            })?,
            timeout: line.timeout.map(Duration::from_nanos),
            trial_timeout: line.trial_timeout.map(Duration::from_nanos),
            retries: self.retries.get(line.retries, read_retries)?,
            repeats: read_repeats(line.repeat, line.repeats)?,
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
            execution: execution_digest([line.id, line.input, line.tags, line.files]),
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
    fn get(&mut self, raw: &str, parse: impl FnOnce(&str) -> io::Result<T>) -> io::Result<T> {
        if let Some((text, value)) = &self.last
            && **text == *raw
        {
            return Ok(value.clone());
        }
        let value = parse(raw)?;
        self.last = Some((raw.into(), value.clone()));
        Ok(value)
    }
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
