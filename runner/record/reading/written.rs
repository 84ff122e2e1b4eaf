//! [`WrittenAttempts`]: attempts as their lines say, beside what they mean by now.

use std::borrow::Cow;

use super::lines::{LineError, Rows, RowsLine};
use crate::record::format::{judgement::JudgementLine, row::Row};

/// An attempt as its line says, and the newest judgement that stands for that.
#[derive(Debug)]
pub struct WrittenAttempt {
    /// Its own line.
    pub row: Row<'static>,
    /// The newest judgement that stands apart, if there is one.
    pub judgement: Option<JudgementLine<'static>>,
}

/// The attempts of a run, for whoever judges them again.
pub struct WrittenAttempts(Rows<Row<'static>>);

impl WrittenAttempts {
    pub(in crate::record) fn new(rows: Rows<Row<'static>>) -> Self {
        Self(rows)
    }

    fn written(&self, row: Row<'static>) -> Result<WrittenAttempt, LineError> {
        let judgement = self.0.judgement_of(&row)?;
        Ok(WrittenAttempt { row, judgement })
    }
}

impl Iterator for WrittenAttempts {
    type Item = Result<WrittenAttempt, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next_line()? {
                Ok(RowsLine::Attempt(row)) => return Some(self.written(row)),
                Ok(RowsLine::Judgement(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl WrittenAttempt {
    /// The attempt as it is judged by now.
    pub fn judged(&self) -> Cow<'_, Row<'static>> {
        let Some(judgement) = &self.judgement else {
            return Cow::Borrowed(&self.row);
        };
        let mut row = self.row.clone();
        row.judge(judgement.clone());
        Cow::Owned(row)
    }
}
