//! [`Suite`]: the selected tests of a scenario, resolved, in one file of JSON Lines.
//!
//! Memory does not grow with the tests: the file is read back in blocks, and only where a block begins is remembered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use super::{
    Test,
    definition::read_definition,
    expect::Schema,
    skimmed_test::SkimmedTest,
    suite_index::{SuiteIndex, TestBlock},
    test_line::{Memos, read_files},
    whole_file::WholeFile,
};
use crate::model::{Digest, MOST_TRIALS, count, plural};

/// Bytes of the file that a reader keeps the tests of: of those that read them in order there may be thousands, one for each
/// provider.
const ORDERED_BYTES: usize = 64 * 1024;
/// The same of a reader for rows, of which there is one.
const SCATTERED_BYTES: usize = 4 * 1024 * 1024;

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

    /// Opens a stored suite for those who believe that its file hashes to what it is stored by.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or is none.
    pub fn open_as(file: File, digest: Digest) -> io::Result<Self> {
        let parts = SuiteParts::learn(&file)?;
        Ok(parts.finish(file, digest, false, BTreeMap::new()))
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

    /// Makes a reader for tests in their order, or nearly so.
    pub fn reader(&self) -> SuiteReader {
        self.reader_keeping(ORDERED_BYTES)
    }

    /// Makes a reader for the tests of rows: they come as workers have made them, a part of one block and then of another.
    pub fn reader_of_rows(&self) -> SuiteReader {
        self.reader_keeping(SCATTERED_BYTES)
    }

    fn reader_keeping(&self, most_bytes: usize) -> SuiteReader {
        SuiteReader {
            suite: self.clone(),
            blocks: HashMap::new(),
            bytes: 0,
            most_bytes,
            memos: Memos::default(),
            buffer: Vec::new(),
        }
    }
}

/// Reads tests one after the other, or any of them.
#[derive(Clone, Debug)]
pub struct SuiteReader {
    suite: Suite,
    /// The blocks that were read lately, by their places.
    blocks: HashMap<usize, Vec<Arc<Test>>>,
    /// Bytes of the file that these are, and may be; a larger block is the only one.
    bytes: usize,
    most_bytes: usize,
    memos: Memos,
    /// The bytes of a block that is being read.
    buffer: Vec<u8>,
}

impl SuiteReader {
    /// Reads the test at `index`, which must be less than the suite's count.
    pub fn test(&mut self, index: u64) -> io::Result<Arc<Test>> {
        let blocks = &self.suite.inner.index.blocks;
        let block = blocks.partition_point(|block| block.test <= index);
        let tests = self.load(block.checked_sub(1).ok_or_else(out_of_range)?)?;
        let first = tests.first().map_or(0, |test| test.index);
        usize::try_from(index - first)
            .ok()
            .and_then(|nth| tests.get(nth))
            .map(Arc::clone)
            .ok_or_else(out_of_range)
    }

    /// Finds the trial with this ordinal: its test, the place of its provider in the scenario, and its repeat from 1.
    pub fn at(&mut self, ordinal: u64) -> io::Result<(Arc<Test>, usize, u32)> {
        let blocks = &self.suite.inner.index.blocks;
        let block = blocks.partition_point(|block| block.ordinal <= ordinal);
        let tests = self.load(block.checked_sub(1).ok_or_else(out_of_range)?)?;

        let test = tests.partition_point(|test| test.first_ordinal <= ordinal);
        let test = Arc::clone(&tests[test - 1]);
        let nth = ordinal - test.first_ordinal;
        let repeats = test.repeats.count();
        let provider = usize::try_from(nth / repeats)
            .ok()
            .and_then(|nth| test.providers.get(nth))
            .ok_or_else(out_of_range)?;
        let repeat = test.repeats.nth(nth % repeats).ok_or_else(out_of_range)?;
        Ok((test, provider, repeat))
    }

    fn load(&mut self, number: usize) -> io::Result<&[Arc<Test>]> {
        if !self.blocks.contains_key(&number) {
            let (tests, length) = self.read(number)?;
            if self.bytes + length > self.most_bytes {
                self.blocks.clear();
                self.bytes = 0;
            }
            self.bytes += length;
            self.blocks.insert(number, tests);
        }
        Ok(&self.blocks[&number])
    }

    /// Reads a block, and says how many bytes it has.
    fn read(&mut self, number: usize) -> io::Result<(Vec<Arc<Test>>, usize)> {
        let inner = Arc::clone(&self.suite.inner);
        // One buffer for all: a large one that comes and goes makes the allocator tidy up each time.
        let block = inner.read_block(number, &mut self.buffer)?;
        let (mut index, mut ordinal) = (block.test, block.ordinal);
        let mut tests = Vec::new();
        for line in self.buffer.split(|byte| *byte == b'\n') {
            if line.is_empty() || line.starts_with(DEFINITION.as_bytes()) {
                continue;
            }
            let test = self.memos.read(line, index, ordinal, &inner.schemas)?;
            index += 1;
            ordinal += test.trial_count();
            tests.push(Arc::new(test));
        }
        Ok((tests, self.buffer.len()))
    }
}

impl SuiteData {
    /// Reads the bytes of a block, and says where it begins.
    pub(super) fn read_block(&self, number: usize, bytes: &mut Vec<u8>) -> io::Result<TestBlock> {
        let SuiteIndex {
            blocks, bytes: end, ..
        } = &self.index;
        let block = blocks[number];
        let end = blocks.get(number + 1).map_or(*end, |next| next.offset);
        let length = usize::try_from(end - block.offset).map_err(|_| out_of_range())?;
        bytes.resize(length, 0);
        self.file.read_exact_at(bytes, block.offset)?;
        Ok(block)
    }
}

/// How a line that defines a schema begins. The lines of tests begin with another key.
pub(super) const DEFINITION: &str = r#"{"define":"#;

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
        if parts.trials() > MOST_TRIALS {
            let (trials, most) = (plural(parts.trials(), "trial"), count(MOST_TRIALS));
            let problem = format!("the tests make {trials}, and a run has at most {most}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
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
        let test = SkimmedTest::read(line)?;
        if test.files != "[]" {
            let files = read_files(test.files)?;
            let digests = files.iter().map(|file| file.sha256);
            self.stored_attachments.extend(digests);
        }
        self.add(test.trials()?, line);
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

    /// How many trials the tests make so far.
    pub(super) fn trials(&self) -> u64 {
        self.index.trials
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

pub(super) fn out_of_range() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is no such test")
}
