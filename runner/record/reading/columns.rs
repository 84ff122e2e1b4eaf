//! [`RunColumns`]: a few bytes of each line of a run, by which pages of its trials are found without reading it anew.

use std::{collections::HashMap, io, num::NonZeroU32};

use super::{read_line::LineEnd, reader::RunReader, row_files::RowLines, trial_pages::TrialPages};
use crate::{
    model::{Counts, ErrorClass, Outcome},
    record::{
        disk::layout::RunDir,
        error::RecordError,
        format::{
            glance::RowGlance,
            judgement::{JudgementLine, is_judgement},
            row::Row,
        },
    },
};

/// What lists need of the lines of a run, and where each of them is. It follows the files as they grow.
///
/// Lines are only added, and whole ones never move: so the first `rev` of them are a state of the run that never changes.
pub struct RunColumns {
    dir: RunDir,
    rows: RowLines,
    lines: Vec<LineColumn>,
    settled: SettledLines,
    /// The lines of the attempts that may still be judged, by their numbers in the run.
    numbers: HashMap<u64, u32>,
    counts: Counts,
    /// The names of the providers, as they have come.
    providers: Vec<String>,
}

/// By ordinal: the line that settles the trial.
#[derive(Default)]
struct SettledLines(TrialPages<Option<NonZeroU32>>);

impl SettledLines {
    /// Notes a line, and tells which one settled the trial before.
    fn insert(&mut self, ordinal: u32, line: u32) -> Option<u32> {
        // They are counted from 1 in it, so that a place takes no more than a number does.
        let counted = NonZeroU32::MIN.saturating_add(line);
        let before = self.0.slot(ordinal.into()).replace(counted);
        before.map(|before| before.get() - 1)
    }

    fn get(&self, ordinal: u64) -> Option<u32> {
        let counted = (*self.0.get(ordinal)?)?;
        Some(counted.get() - 1)
    }

    /// In the order of the plan.
    fn lines(&self) -> impl Iterator<Item = u32> {
        let places = self.0.iter();
        places.filter_map(|(_, counted)| Some((*counted)?.get() - 1))
    }

    fn memory(&self) -> usize {
        self.0.made() * size_of::<Option<NonZeroU32>>()
    }
}

/// What is kept of a line.
#[derive(Clone, Copy, Debug)]
pub struct LineColumn {
    at: u64,
    bytes: u32,
    /// The line of the attempt that a judgement judges; the line itself otherwise.
    of: u32,
    /// The trial's place in the plan; `None` of a damaged line.
    pub ordinal: Option<u32>,
    /// Which provider it is of, by its place in [`RunColumns::providers`].
    pub provider: u16,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: f32,
    /// What the attempt came to.
    pub outcome: Outcome,
    /// Why it is an error.
    pub class: Option<ErrorClass>,
    is_final: bool,
    /// Whether the trial passed only after an attempt that did not.
    pub is_flaky: bool,
}

impl RunColumns {
    /// Reads the lines that a run has now.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or if the run has too many trials for that.
    pub fn of(reader: &RunReader) -> Result<Self, RecordError> {
        reader.check_size()?;
        let dir = reader.dir().clone();
        let rows = RowLines::open(&dir).map_err(RecordError::io("read rows"));
        let rows = rows.map_err(|error| error.or_gone(&dir))?;
        let planned = reader.manifest().metadata.planned_test_count;
        let mut columns = Self {
            dir,
            rows,
            lines: Vec::new(),
            settled: SettledLines::default(),
            numbers: HashMap::new(),
            counts: Counts {
                planned,
                ..Counts::default()
            },
            providers: Vec::new(),
        };
        columns.follow()?;
        Ok(columns)
    }

    /// Reads the lines that have come since; tells whether there are any.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or if the file has become shorter: a loss of power may take rows that a reader has seen.
    pub fn follow(&mut self) -> Result<bool, RecordError> {
        let failed = RecordError::io("read rows");
        match self.read_on() {
            Ok(is_news) => Ok(is_news),
            Err(error) => Err(failed(error).or_gone(&self.dir)),
        }
    }

    fn read_on(&mut self) -> io::Result<bool> {
        if self.rows.files().length()? < self.rows.at() {
            return Err(io::Error::other("rows have been lost"));
        }
        let before = self.lines.len();
        let mut line = Vec::new();
        while let Some(LineEnd::Newline) = self.rows.next(&mut line)? {
            self.take(&line);
        }
        Ok(self.lines.len() > before)
    }

    /// Takes the line that was read.
    fn take(&mut self, line: &[u8]) {
        let here = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let mut column = LineColumn {
            at: self.rows.begin(),
            bytes: u32::try_from(line.len()).unwrap_or(u32::MAX),
            of: here,
            ordinal: None,
            provider: 0,
            duration_ms: 0.0,
            outcome: Outcome::Stopped,
            class: None,
            is_final: false,
            is_flaky: false,
        };
        match is_judgement(line) {
            true => self.decode_judgement(line, &mut column),
            false => self.decode_attempt(line, here, &mut column),
        }
        self.lines.push(column);
        let Some(ordinal) = column.ordinal.filter(|_| column.is_final) else {
            return;
        };
        if let Some(before) = self.settled.insert(ordinal, here) {
            let before = &self.lines[before as usize];
            self.counts.remove(before.outcome, before.is_flaky);
        }
        self.counts.add(column.outcome, column.is_flaky);
    }

    fn decode_attempt(&mut self, line: &[u8], here: u32, column: &mut LineColumn) {
        let Ok(glance) = RowGlance::decode(line) else {
            return;
        };
        // A place that the plan does not have is damage, and no trial.
        let ordinal = Some(glance.ordinal).filter(|ordinal| *ordinal < self.counts.planned);
        column.ordinal = ordinal.and_then(|ordinal| u32::try_from(ordinal).ok());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seven digits are enough for a list"
        )]
        {
            column.duration_ms = glance.duration_ms as f32;
        }
        column.outcome = glance.outcome;
        column.class = glance.class();
        column.provider = self.provider(glance.provider());
        column.is_final = glance.is_final;
        column.is_flaky = glance.is_flaky;
        // Where the numbers are those of the lines, as they are without damage, they need no place of their own.
        if glance.seq != u64::from(here) + 1 {
            self.numbers.insert(glance.seq, here);
        }
    }

    fn decode_judgement(&self, line: &[u8], column: &mut LineColumn) {
        let Ok(judgement) = JudgementLine::decode(line) else {
            return;
        };
        // Others have still to be asked: it is of no trial yet.
        if judgement.is_part() {
            return;
        }
        let Some(of) = self.line_of(judgement.of) else {
            return;
        };
        let attempt = &self.lines[of as usize];
        // What names another attempt than the line's is damage, and means nothing.
        if attempt.ordinal.map(u64::from) != Some(judgement.ordinal) || attempt.of != of {
            return;
        }
        *column = LineColumn {
            at: column.at,
            bytes: column.bytes,
            of,
            ordinal: attempt.ordinal,
            provider: attempt.provider,
            duration_ms: attempt.duration_ms,
            outcome: judgement.outcome,
            class: judgement.error.as_ref().and_then(|error| error.class),
            is_final: judgement.is_final,
            is_flaky: judgement.is_flaky,
        };
    }

    fn provider(&mut self, name: &str) -> u16 {
        let known = self.providers.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.providers.push(name.to_owned());
            self.providers.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    fn line_of(&self, seq: u64) -> Option<u32> {
        if let Some(line) = self.numbers.get(&seq) {
            return Some(*line);
        }
        let line = u32::try_from(seq.checked_sub(1)?).ok()?;
        ((line as usize) < self.lines.len()).then_some(line)
    }

    /// How many lines there are: the number of the newest state.
    pub fn rev(&self) -> u64 {
        self.lines.len() as u64
    }

    /// How many bytes of the files these lines are.
    pub fn bytes(&self) -> u64 {
        self.rows.at()
    }

    /// What the trials have come to.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What a trial came to, if it is settled.
    pub fn outcome(&self, ordinal: u64) -> Option<Outcome> {
        let line = self.settled.get(ordinal)?;
        Some(self.line(line).outcome)
    }

    /// The names of the providers that have rows.
    pub fn providers(&self) -> &[String] {
        &self.providers
    }

    /// A line.
    pub fn line(&self, line: u32) -> &LineColumn {
        &self.lines[line as usize]
    }

    /// The first line that ends behind a byte of the file.
    pub fn first_after(&self, byte: u64) -> usize {
        self.lines.partition_point(|line| line.at < byte)
    }

    /// Where a line ends, its line end included.
    pub fn end_of(&self, line: usize) -> u64 {
        self.lines
            .get(line + 1)
            .map_or(self.rows.at(), |next| next.at)
    }

    /// The lines that settle trials once the first `rev` lines are there, in the plan's order.
    pub fn settled(&self, rev: u64) -> Vec<u32> {
        let rev = usize::try_from(rev).unwrap_or(usize::MAX);
        if rev >= self.lines.len() {
            return self.settled.lines().collect();
        }
        let mut settled = SettledLines::default();
        for (line, column) in (0_u32..).zip(&self.lines[..rev]) {
            if let Some(ordinal) = column.ordinal.filter(|_| column.is_final) {
                settled.insert(ordinal, line);
            }
        }
        settled.lines().collect()
    }

    /// Reads what a line says: an attempt, as this line has judged it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or is damaged.
    pub fn row(&self, line: u32) -> io::Result<Row<'static>> {
        let column = self.line(line);
        let mut row = Row::decode(&self.text(column.of)?).map_err(io::Error::other)?;
        if column.of != line {
            let judged = row.judge_by(&self.text(line)?);
            judged.map_err(io::Error::other)?;
        }
        Ok(row)
    }

    fn text(&self, line: u32) -> io::Result<Vec<u8>> {
        let column = self.line(line);
        let mut text = vec![0; column.bytes as usize];
        let files = self.rows.files();
        files.read_exact_at(&mut text, column.at)?;
        Ok(text)
    }

    /// About how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.lines.capacity() * size_of::<LineColumn>()
            + self.settled.memory()
            + self.numbers.capacity() * size_of::<(u64, u32)>()
    }
}
