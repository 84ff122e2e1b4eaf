//! [`AttemptBatches`]: the lines of a run in batches, so that several threads can read attempts beside each other.

use std::{
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    vec,
};

use super::{
    judgements::{Judged as _, JudgementWindow, Judgements},
    lines::LineError,
    row_files::{OpenRowFile, RowFiles},
    written::WrittenAttempt,
};
use crate::{
    model::lines_of,
    record::format::{
        brief,
        judgement::is_judgement,
        line::{MAX_LINE_BYTES, check_crc, without_return},
        plain::PlainAttempt,
        row::Row,
    },
};

/// About how many bytes a batch has. Of a longer line it has all, and is longer then.
const BATCH_BYTES: usize = 128 * 1024;

/// The lines of a run as they are on disk, in batches.
pub struct AttemptBatches {
    source: Arc<BatchSource>,
    /// What is left to be read of each file, the one that is read being the last; empty once all is.
    files: Vec<(Arc<Path>, io::Take<OpenRowFile>)>,
    /// The beginning of a line whose end has yet to be read.
    begun: Vec<u8>,
    /// The number of the next line.
    line: u64,
}

/// Some lines that follow each other.
pub struct AttemptBatch {
    source: Arc<BatchSource>,
    /// The file that they are in.
    path: Arc<Path>,
    bytes: Vec<u8>,
    /// The number of the first of them.
    line: u64,
}

struct BatchSource {
    judgements: Option<Judgements>,
}

impl AttemptBatches {
    /// The lines of these files, whose judgements may stand apart from their attempts.
    pub(in crate::record) fn open(files: &RowFiles, is_judged_apart: bool) -> io::Result<Self> {
        let judgements = is_judged_apart.then(|| Judgements::find(files));
        let judgements = judgements.transpose()?;
        let end = judgements.as_ref().map_or(u64::MAX, Judgements::end);
        let files = files.parts_to(end).rev();
        Ok(Self {
            source: Arc::new(BatchSource { judgements }),
            files: files.map(|(path, file)| (path.into(), file)).collect(),
            begun: Vec::new(),
            line: 1,
        })
    }

    /// Reads on to the end of the last file.
    fn read(&mut self) -> io::Result<Option<AttemptBatch>> {
        while !self.files.is_empty() {
            if let Some(batch) = self.read_file()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads on in one file; nothing at its end, behind which the next one follows.
    fn read_file(&mut self) -> io::Result<Option<AttemptBatch>> {
        let Some((path, file)) = self.files.last_mut() else {
            return Ok(None);
        };
        let path = Arc::clone(path);
        let mut bytes = std::mem::take(&mut self.begun);
        let is_last = loop {
            let start = bytes.len();
            bytes.reserve(BATCH_BYTES);
            if file
                .by_ref()
                .take(BATCH_BYTES as u64)
                .read_to_end(&mut bytes)?
                == 0
            {
                break true;
            }
            if let Some(newline) = last_newline(&bytes[start..]) {
                self.begun = bytes.split_off(start + newline + 1);
                break false;
            }
            if bytes.len() > MAX_LINE_BYTES {
                // What is too long is passed over: no more is kept of it than shows that it is.
                bytes.truncate(MAX_LINE_BYTES + 1);
            }
        };
        let line = self.line;
        self.line += newlines(&bytes);
        if is_last {
            self.files.pop();
            self.line = 1;
            if bytes.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(AttemptBatch {
            source: Arc::clone(&self.source),
            path,
            bytes,
            line,
        }))
    }
}

/// How many newlines there are. Of few bytes a byte has room for the number, so that many are compared at once.
fn newlines(bytes: &[u8]) -> u64 {
    let pieces = bytes.chunks(usize::from(u8::MAX));
    let count = |piece: &[u8]| {
        piece
            .iter()
            .map(|byte| u8::from(*byte == b'\n'))
            .sum::<u8>()
    };
    pieces.map(|piece| u64::from(count(piece))).sum()
}

fn last_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

impl Iterator for AttemptBatches {
    type Item = io::Result<AttemptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.files.clear();
        }
        read.transpose()
    }
}

impl AttemptBatch {
    /// The attempts in it, of each of which there is as much as somebody asks for.
    pub fn lines(&self) -> impl Iterator<Item = Result<AttemptLine<'_>, LineError>> {
        (self.line..)
            .zip(lines_of(&self.bytes))
            .filter_map(|(number, line)| {
                let whole = line.strip_suffix(b"\n");
                let line = AttemptLine {
                    batch: self,
                    line: without_return(whole.unwrap_or(line)),
                    number,
                };
                match line.check() {
                    Ok(true) if whole.is_some() => Some(Ok(line)),
                    // A line that lacks nothing but its newline is whole.
                    Ok(true) => Row::decode(line.line).is_ok().then_some(Ok(line)),
                    Ok(false) => None,
                    Err(problem) => whole.map(|_| Err(line.damaged(problem))),
                }
            })
    }

    /// The same, each as its line says, beside the newest judgement that stands for that.
    pub fn attempts(&self) -> impl Iterator<Item = Result<WrittenAttempt, LineError>> {
        self.lines().map(|line| line?.whole())
    }
}

/// An attempt whose line is undamaged.
pub struct AttemptLine<'a> {
    batch: &'a AttemptBatch,
    line: &'a [u8],
    number: u64,
}

impl<'a> AttemptLine<'a> {
    /// Tells whether the line is an attempt's, and not a judgement's; the text of the error says what is wrong with it.
    fn check(&self) -> Result<bool, String> {
        match is_judgement(self.line) {
            true => brief::decode_brief(self.line).map(|_| false),
            false => check_crc(self.line).map(|()| true),
        }
    }

    /// The attempt as it is judged by now, if there is no more to tell of it than of most.
    pub fn plain(&self, window: &mut JudgementWindow) -> Option<PlainAttempt<'a>> {
        let plain = PlainAttempt::read(self.line)?;
        let Some(judgements) = &self.batch.source.judgements else {
            return Some(plain);
        };
        match judgements.line_of(plain.seq, window).ok()? {
            Some(line) => plain.by(line),
            None => Some(plain),
        }
    }

    /// All of the attempt.
    ///
    /// # Errors
    ///
    /// Fails if its line is no row, or its judgement cannot be read.
    pub fn whole(&self) -> Result<WrittenAttempt, LineError> {
        let row = Row::decode(self.line).map_err(|problem| self.damaged(problem))?;
        let mut attempt = WrittenAttempt {
            row,
            judgement: None,
            answers: Vec::new(),
        };
        if let Some(judgements) = &self.batch.source.judgements {
            let place = attempt.row.place();
            attempt.judgement = judgements.of(place)?;
            attempt.answers = judgements.answers_of(place)?;
        }
        Ok(attempt)
    }

    fn damaged(&self, problem: String) -> LineError {
        LineError::Damaged {
            path: self.batch.path.to_path_buf(),
            line: self.number,
            problem,
        }
    }
}

/// The attempts of a run, for whoever judges them again.
pub struct WrittenAttempts {
    batches: AttemptBatches,
    /// What is left of the batch that was read last.
    read: vec::IntoIter<Result<WrittenAttempt, LineError>>,
}

impl WrittenAttempts {
    pub(in crate::record) fn new(batches: AttemptBatches) -> Self {
        Self {
            batches,
            read: Vec::new().into_iter(),
        }
    }
}

impl Iterator for WrittenAttempts {
    type Item = Result<WrittenAttempt, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(attempt) = self.read.next() {
                return Some(attempt);
            }
            match self.batches.next()? {
                Ok(batch) => self.read = batch.attempts().collect::<Vec<_>>().into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
