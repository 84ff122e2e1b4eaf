//! [`WrittenAttempt`]: an attempt as its line says, beside what it means by now.

use std::borrow::Cow;

use crate::record::format::{judgement::JudgementLine, row::Row, row_parts::RowGrade};

/// An attempt as its line says, and the newest judgement that stands for that.
#[derive(Debug)]
pub struct WrittenAttempt {
    /// Its own line.
    pub row: Row<'static>,
    /// The newest judgement that stands apart, if there is one.
    pub judgement: Option<JudgementLine<'static>>,
    /// What graders have answered of it since then, if others have still to be asked.
    pub answers: Vec<RowGrade<'static>>,
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
