//! [`Suite`]: the selected tests of a scenario, resolved, in one file of JSON Lines.
//!
//! Memory does not grow with the tests: the file is read back in blocks, and only where a block begins is remembered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Attachment, Expect, ExpectedError, ProviderSet, Retries, Test,
    definition::{damaged, read_definition},
    expect::Schema,
    suite_index::SuiteIndex,
    test_digests::{execution_digest, judgement_digest, with_reference},
    whole_file::WholeFile,
};
use crate::model::{Digest, TestId};

/// The selected tests of a scenario, resolved and in order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Suite {
    pub(super) inner: Arc<SuiteData>,
}

#[derive(Debug)]
pub(super) struct SuiteData {
    pub(super) file: Arc<File>,
    /// Whether it has no name yet, because nobody has stored it.
    pub(super) is_new: bool,
    pub(super) digest: Digest,
    pub(super) index: SuiteIndex,
    pub(super) schemas: BTreeMap<Digest, Arc<Schema>>,
    pub(super) stored_attachments: BTreeSet<Digest>,
    pub(super) attachments: BTreeMap<Digest, PathBuf>,
    pub(super) named: BTreeSet<(&'static str, PathBuf)>,
}

impl Suite {
    /// Opens a stored suite. Its attachments are wherever the caller has put them.
    pub fn open(file: File) -> io::Result<Self> {
        thread::scope(|scope| {
            // Of a million tests either of them takes a good part of a second.
            let hash = || Digest::of_reader(WholeFile::new(&file));
            let hashing = thread::Builder::new().spawn_scoped(scope, hash);
            let learnt = SuiteParts::learn(&file);
            let digest = match hashing {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => hash(),
            };
            Ok((learnt?, digest?))
        })
        .map(|(parts, digest)| parts.finish(file, digest, false, BTreeMap::new()))
    }

    /// The file itself, to be read without its cursor.
    pub fn file(&self) -> &Arc<File> {
        &self.inner.file
    }

    /// Tells whether its file has no name, and is gone with this value.
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// What the file hashes to.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// How many tests were selected.
    pub fn test_count(&self) -> u64 {
        self.inner.index.tests
    }

    /// How many trials they make.
    pub fn trial_count(&self) -> u64 {
        self.inner.index.trials
    }

    /// The files that tests hand over, each once.
    pub fn attachments(&self) -> impl Iterator<Item = (Digest, &Path)> {
        self.inner
            .attachments
            .iter()
            .map(|(digest, path)| (*digest, path.as_path()))
    }

    /// Every file that a test of the scenario names, selected or not, with what it is. Known of a new suite alone, and
    /// where a provider may write to a folder.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let named = self.inner.named.iter();
        named.map(|(what, path)| (*what, path.as_path()))
    }

    /// The digests of the files that the tests of a stored suite hand over, each once.
    pub fn attachment_digests(&self) -> impl Iterator<Item = Digest> {
        self.inner.stored_attachments.iter().copied()
    }

    /// Makes a reader with a place of its own.
    pub fn reader(&self) -> SuiteReader {
        SuiteReader {
            suite: self.clone(),
            block: None,
            tests: Vec::new(),
            memos: Memos::default(),
        }
    }
}

/// Reads tests one after the other, or any of them.
#[derive(Debug)]
pub struct SuiteReader {
    suite: Suite,
    block: Option<usize>,
    tests: Vec<Arc<Test>>,
    memos: Memos,
}

impl SuiteReader {
    /// Reads the test at `index`, which must be less than the suite's count.
    pub fn test(&mut self, index: u64) -> io::Result<Arc<Test>> {
        let blocks = &self.suite.inner.index.blocks;
        let block = blocks.partition_point(|block| block.test <= index);
        self.load(block.checked_sub(1).ok_or_else(out_of_range)?)?;
        let first = self.tests.first().map_or(0, |test| test.index);
        usize::try_from(index - first)
            .ok()
            .and_then(|nth| self.tests.get(nth))
            .map(Arc::clone)
            .ok_or_else(out_of_range)
    }

    /// Finds the trial with this ordinal: its test, the place of its provider in the scenario, and its repeat from 1.
    pub fn at(&mut self, ordinal: u64) -> io::Result<(Arc<Test>, usize, u32)> {
        let blocks = &self.suite.inner.index.blocks;
        let block = blocks.partition_point(|block| block.ordinal <= ordinal);
        self.load(block.checked_sub(1).ok_or_else(out_of_range)?)?;

        let test = self
            .tests
            .partition_point(|test| test.first_ordinal <= ordinal);
        let test = Arc::clone(&self.tests[test - 1]);
        let nth = ordinal - test.first_ordinal;
        let repeat = nth % u64::from(test.repeat);
        let provider = usize::try_from(nth / u64::from(test.repeat))
            .ok()
            .and_then(|nth| test.providers.get(nth))
            .ok_or_else(out_of_range)?;
        let repeat = u32::try_from(repeat).expect("a remainder is less than its divisor");
        Ok((test, provider, repeat + 1))
    }

    fn load(&mut self, number: usize) -> io::Result<()> {
        if self.block == Some(number) {
            return Ok(());
        }
        self.block = None;
        self.tests.clear();

        let inner = Arc::clone(&self.suite.inner);
        let block = inner.index.blocks[number];
        let end = inner
            .index
            .blocks
            .get(number + 1)
            .map_or(inner.index.bytes, |next| next.offset);
        let length = usize::try_from(end - block.offset).map_err(|_| out_of_range())?;
        let mut bytes = vec![0; length];
        inner.file.read_exact_at(&mut bytes, block.offset)?;

        let (mut index, mut ordinal) = (block.test, block.ordinal);
        for line in bytes.split(|byte| *byte == b'\n') {
            if line.is_empty() || line.starts_with(DEFINITION.as_bytes()) {
                continue;
            }
            let test = self.memos.read(line, index, ordinal, &inner.schemas)?;
            index += 1;
            ordinal += test.trial_count();
            self.tests.push(Arc::new(test));
        }
        self.block = Some(number);
        Ok(())
    }
}

/// How a line that defines a schema begins. The lines of tests begin with another key.
const DEFINITION: &str = r#"{"define":"#;

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

/// What is learnt of a suite while its lines pass by, in whichever direction.
#[derive(Default)]
pub(super) struct SuiteParts {
    index: SuiteIndex,
    schemas: BTreeMap<Digest, Arc<Schema>>,
    /// Digests of the files that tests hand over; learnt of stored suites only.
    stored_attachments: BTreeSet<Digest>,
    /// The files that tests name, with what they are, if somebody will ask for them.
    named: Option<BTreeSet<(&'static str, PathBuf)>>,
}

impl<'a> TestLine<'a> {
    fn read(line: &'a [u8]) -> io::Result<Self> {
        // All at once it is found out much sooner that it is text than string by string.
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        Ok(serde_json::from_str(text)?)
    }
}

impl SuiteParts {
    /// Learns what the lines of a file say.
    fn learn(file: &File) -> io::Result<Self> {
        let mut parts = Self::default();
        let mut reader = BufReader::with_capacity(1 << 16, WholeFile::new(file));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            parts.take(&line)?;
            line.clear();
        }
        Ok(parts)
    }

    /// Takes one line, with its newline.
    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        if line.starts_with(DEFINITION.as_bytes()) {
            let (digest, schema) = read_definition(line)?;
            self.define(digest, schema, line);
            return Ok(());
        }
        let TestLine {
            providers,
            repeat,
            files,
            ..
        } = TestLine::read(line)?;
        if files.get() != "[]" {
            let files = read_files(files.get())?;
            let digests = files.iter().map(|file| file.sha256);
            self.stored_attachments.extend(digests);
        }
        let providers: Vec<u32> = serde_json::from_str(providers.get())?;
        self.add(providers.len() as u64 * u64::from(repeat), line);
        Ok(())
    }

    /// For a suite of which somebody will ask which files its tests name, or not.
    pub(super) fn new(names_files: bool) -> Self {
        Self {
            named: names_files.then(BTreeSet::new),
            ..Self::default()
        }
    }

    /// Takes a file that a test names.
    pub(super) fn name(&mut self, what: &'static str, path: &Path) {
        if let Some(named) = &mut self.named {
            named.insert((what, path.to_owned()));
        }
    }

    /// Takes the line of a test that makes `trials`.
    pub(super) fn add(&mut self, trials: u64, line: &[u8]) {
        self.index.add(trials);
        self.pass(line);
    }

    /// Takes the line that defines `schema`.
    pub(super) fn define(&mut self, digest: Digest, schema: Arc<Schema>, line: &[u8]) {
        self.schemas.insert(digest, schema);
        self.index.define(line.len() as u64);
        self.pass(line);
    }

    fn pass(&mut self, line: &[u8]) {
        self.index.bytes += line.len() as u64;
    }

    pub(super) fn finish(
        self,
        file: File,
        digest: Digest,
        is_new: bool,
        attachments: BTreeMap<Digest, PathBuf>,
    ) -> Suite {
        let inner = SuiteData {
            file: Arc::new(file),
            is_new,
            digest,
            index: self.index,
            schemas: self.schemas,
            stored_attachments: self.stored_attachments,
            attachments,
            named: self.named.unwrap_or_default(),
        };
        Suite {
            inner: Arc::new(inner),
        }
    }
}

/// What the last line had, because the next one mostly has the same.
#[derive(Debug, Default)]
struct Memos {
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
    fn read(
        &mut self,
        line: &[u8],
        index: u64,
        first_ordinal: u64,
        schemas: &BTreeMap<Digest, Arc<Schema>>,
    ) -> io::Result<Test> {
        let line = TestLine::read(line)?;
        let (expect, judgement) = self.expect.get(line.expect, |text| {
            Ok((read_expect(text, schemas)?, judgement_digest(text)))
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
            repeat: line.repeat,
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

#[derive(Debug)]
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

fn read_expect(text: &str, schemas: &BTreeMap<Digest, Arc<Schema>>) -> io::Result<Arc<Expect>> {
    let map: Map<String, Value> = serde_json::from_str(text)?;
    Expect::read(map, schemas)
        .map(Arc::new)
        .ok_or_else(|| damaged("an expectation"))
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

fn read_files(text: &str) -> io::Result<Arc<[Attachment]>> {
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

pub(super) fn out_of_range() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is no such test")
}
