//! [`AttemptBatches`]: the attempts of a run in batches, so that several threads can read them beside each other.

use std::{io, sync::Arc, vec};

use super::{
    judgements::{Judged as _, JudgementWindow, Judgements},
    lines::LineError,
    row_batches::{RowBatch, RowBatches},
    row_files::RowFiles,
    written::WrittenAttempt,
};
use crate::record::format::{
    brief, judgement::is_judgement, line::check_crc, plain::PlainAttempt, row::Row,
};

/// The lines of a run as they are on disk, in batches.
pub struct AttemptBatches {
    source: Arc<BatchSource>,
    batches: RowBatches,
}

/// Some lines that follow each other.
pub struct AttemptBatch {
    source: Arc<BatchSource>,
    batch: RowBatch,
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
        Ok(Self {
            source: Arc::new(BatchSource { judgements }),
            batches: RowBatches::open(files, end),
        })
    }
}

impl Iterator for AttemptBatches {
    type Item = io::Result<AttemptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(batch.map(|batch| AttemptBatch {
            source: Arc::clone(&self.source),
            batch,
        }))
    }
}

impl AttemptBatch {
    /// The attempts in it, of each of which there is as much as somebody asks for.
    pub fn lines(&self) -> impl Iterator<Item = Result<AttemptLine<'_>, LineError>> {
        self.batch.lines().filter_map(|read| {
            let line = AttemptLine {
                batch: self,
                line: read.line,
                number: read.number,
            };
            match line.check() {
                Ok(true) if read.has_newline() => Some(Ok(line)),
                // A line that lacks nothing but its newline is whole.
                Ok(true) => Row::decode(line.line).is_ok().then_some(Ok(line)),
                Ok(false) => None,
                Err(problem) => read.has_newline().then(|| Err(line.damaged(problem))),
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
            path: self.batch.batch.path.to_path_buf(),
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
