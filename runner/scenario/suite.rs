//! [`Suite`]: the selected tests of a scenario, resolved, in one file of JSON Lines.
//!
//! Memory does not grow with the tests: the file is read back in blocks, and only where a block begins is remembered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
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
    expected::Schemas,
    memos::Memos,
    skimmed_test::{SkimmedTest, TestLineEnd},
    suite_index::{SuiteIndex, TestBlock},
    test_line::read_files,
    whole_file::WholeFile,
};
use crate::model::{Digest, MOST_TRIALS, count, lines_of, plural};

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
    pub(super) schemas: Arc<Schemas>,
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

    /// Makes a reader for whoever mostly asks nothing of what tests expect: that is read when somebody does.
    pub fn reader_of_lane(&self) -> SuiteReader {
        SuiteReader {
            is_lazy: true,
            ..self.reader()
        }
    }

    fn reader_keeping(&self, most_bytes: usize) -> SuiteReader {
        SuiteReader {
            lines: TestLines::new(self, most_bytes),
            memos: Memos::default(),
            last: None,
            is_lazy: false,
        }
    }
}

/// Reads tests one after the other, or any of them.
#[derive(Clone, Debug)]
pub struct SuiteReader {
    lines: TestLines,
    memos: Memos,
    /// The test that was read last: its trials mostly follow each other.
    last: Option<Arc<Test>>,
    /// Whether what tests expect is read when somebody asks for it.
    is_lazy: bool,
}

impl SuiteReader {
    /// Reads the test at `index`, which must be less than the suite's count.
    pub fn test(&mut self, index: u64) -> io::Result<Arc<Test>> {
        if let Some(last) = &self.last
            && last.index == index
        {
            return Ok(Arc::clone(last));
        }
        let first_ordinal = self.lines.first_ordinal(index)?;
        let schemas = Arc::clone(&self.lines.suite.inner.schemas);
        let line = self.lines.line(index)?;
        let test = self.memos.read(line, index, first_ordinal, &schemas)?;
        if !self.is_lazy {
            test.expect.read()?;
        }
        Ok(Arc::clone(self.last.insert(Arc::new(test))))
    }

    /// Finds the trial with this ordinal: its test, the place of its provider in the scenario, and its repeat from 1.
    pub fn at(&mut self, ordinal: u64) -> io::Result<(Arc<Test>, usize, u32)> {
        let index = self.lines.place_of(ordinal)?;
        let test = self.test(index)?;
        let nth = ordinal - test.first_ordinal;
        let repeats = test.repeats.count();
        let provider = usize::try_from(nth / repeats)
            .ok()
            .and_then(|nth| test.providers.get(nth))
            .ok_or_else(out_of_range)?;
        let repeat = test.repeats.nth(nth % repeats).ok_or_else(out_of_range)?;
        Ok((test, provider, repeat))
    }
}

/// The lines of tests, by their places. Of a block only those are looked into that somebody asks for: each of many workers has
/// some of its tests.
#[derive(Clone, Debug)]
pub(super) struct TestLines {
    pub(super) suite: Suite,
    /// The blocks that were read lately, by their places.
    blocks: HashMap<usize, LineBlock>,
    /// Those from before, whose memory the next ones take.
    spare: Vec<LineBlock>,
    /// Bytes of the file that these are, and may be; a larger block is the only one.
    bytes: usize,
    most_bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct LineBlock {
    bytes: Vec<u8>,
    /// Where the line of each test is.
    lines: Vec<Range<usize>>,
    /// The first trial of each test, counted from the first one of the block; empty until somebody asks.
    firsts: Vec<u64>,
}

impl TestLines {
    pub(super) fn new(suite: &Suite, most_bytes: usize) -> Self {
        Self {
            suite: suite.clone(),
            blocks: HashMap::new(),
            spare: Vec::new(),
            bytes: 0,
            most_bytes,
        }
    }

    /// The line of the test at `index`.
    pub(super) fn line(&mut self, index: u64) -> io::Result<&[u8]> {
        let (number, nth) = self.find(index)?;
        self.load(number)?.line(nth)
    }

    /// The place of the test of the trial with this ordinal.
    pub(super) fn place_of(&mut self, ordinal: u64) -> io::Result<u64> {
        let index = &self.suite.inner.index;
        let number = index
            .blocks
            .partition_point(|block| block.ordinal <= ordinal);
        let number = number.checked_sub(1).ok_or_else(out_of_range)?;
        if ordinal >= index.trials {
            return Err(out_of_range());
        }
        let block = index.blocks[number];
        if index.has_one_trial_each(number) {
            return Ok(block.test + (ordinal - block.ordinal));
        }
        let behind = self.load(number)?.behind(ordinal - block.ordinal)?;
        Ok(block.test + behind - 1)
    }

    /// The ordinal of the first trial of the test at `index`.
    fn first_ordinal(&mut self, index: u64) -> io::Result<u64> {
        let (number, nth) = self.find(index)?;
        let suite = &self.suite.inner.index;
        let block = suite.blocks[number];
        if suite.has_one_trial_each(number) {
            return Ok(block.ordinal + (index - block.test));
        }
        let firsts = self.load(number)?.firsts()?;
        Ok(block.ordinal + firsts.get(nth).ok_or_else(out_of_range)?)
    }

    /// In which block a test is, and which of that it is.
    fn find(&self, index: u64) -> io::Result<(usize, usize)> {
        let blocks = &self.suite.inner.index.blocks;
        let number = blocks.partition_point(|block| block.test <= index);
        let number = number.checked_sub(1).ok_or_else(out_of_range)?;
        let nth = usize::try_from(index - blocks[number].test);
        Ok((number, nth.map_err(|_| out_of_range())?))
    }

    fn load(&mut self, number: usize) -> io::Result<&mut LineBlock> {
        if !self.blocks.contains_key(&number) {
            let mut block = self.spare.pop().unwrap_or_default();
            self.suite.inner.read_block(number, &mut block.bytes)?;
            block.find_lines();
            if self.bytes + block.bytes.len() > self.most_bytes {
                self.spare = self.blocks.drain().map(|(_, block)| block).collect();
                self.bytes = 0;
            }
            self.bytes += block.bytes.len();
            self.blocks.insert(number, block);
        }
        self.blocks.get_mut(&number).ok_or_else(out_of_range)
    }
}

impl LineBlock {
    /// Finds where the lines are of the bytes that were read.
    fn find_lines(&mut self) {
        self.lines.clear();
        self.firsts.clear();
        let mut start = 0;
        for line in lines_of(&self.bytes) {
            let range = start..start + line.len();
            start = range.end;
            if !line.starts_with(DEFINITION.as_bytes()) {
                self.lines.push(range);
            }
        }
    }

    fn line(&self, nth: usize) -> io::Result<&[u8]> {
        let range = self.lines.get(nth).ok_or_else(out_of_range)?;
        Ok(&self.bytes[range.clone()])
    }

    /// The first trial of each test.
    fn firsts(&mut self) -> io::Result<&[u64]> {
        if self.firsts.is_empty() {
            let mut first = 0;
            for range in &self.lines {
                self.firsts.push(first);
                first += SkimmedTest::read(&self.bytes[range.clone()])?.trials()?;
            }
        }
        Ok(&self.firsts)
    }

    /// How many tests begin at a trial of the block or before it.
    fn behind(&mut self, trial: u64) -> io::Result<u64> {
        Ok(self.firsts()?.partition_point(|first| *first <= trial) as u64)
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
    schemas: Schemas,
    /// Digests of the files that tests hand over; learnt of stored suites only.
    stored_attachments: BTreeSet<Digest>,
    /// How the last line ends of which all was read.
    last_end: TestLineEnd,
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
        if let Some(trials) = self.last_end.trials(line) {
            self.add(trials, line);
            return Ok(());
        }
        let test = SkimmedTest::read(line)?;
        if test.files != "[]" {
            let files = read_files(test.files)?;
            let digests = files.iter().map(|file| file.sha256);
            self.stored_attachments.extend(digests);
        }
        self.last_end = TestLineEnd::of(line);
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
            schemas: Arc::new(self.schemas),
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
