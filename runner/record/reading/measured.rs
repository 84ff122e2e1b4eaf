//! [`RunReader::measured`]: what all attempts of a run have measured, those of graders too.

use std::collections::HashMap;

use super::{
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
};
use crate::record::{
    error::RecordError,
    format::{
        row::Row,
        row_parts::{RowGrade, RowMetric},
    },
};

impl RunReader {
    /// Hands over what each attempt of a provider or a grader has measured, whatever it means by now, with the name of the
    /// provider or grader. Damaged lines say nothing.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn measured(&self, mut see: impl FnMut(&str, &RowMetric<'_>)) -> Result<(), RecordError> {
        let mut rows: Rows<Row<'static>> = Rows::new(self.dir(), Row::decode);
        // What graders have answered of attempts of which others had still to be asked, by the attempts' lines.
        let mut answers: HashMap<u64, Vec<RowGrade<'static>>> = HashMap::new();
        while let Some(line) = rows.next_line() {
            let judgement = match line {
                Ok(RowsLine::Attempt(row)) => {
                    for metric in &row.metrics {
                        see(&row.provider, metric);
                    }
                    continue;
                }
                Ok(RowsLine::Judgement(_)) => rows.whole_judgement(),
                Err(error) => Err(error),
            };
            let judgement = match judgement {
                Ok(judgement) => judgement,
                Err(LineError::Damaged { .. }) => continue,
                Err(LineError::Io(source)) => return Err(self.rows_failed(source)),
            };
            // What was said before was paid for once.
            let before = answers.remove(&judgement.of).unwrap_or_default();
            for grade in judgement.grades.iter().filter(|grade| !grade.is_kept) {
                let is_it =
                    |it: &RowGrade<'_>| it.grader == grade.grader && it.asked == grade.asked;
                if before.iter().any(is_it) {
                    continue;
                }
                for metric in &grade.metrics {
                    see(&grade.grader, metric);
                }
            }
            if judgement.is_part() {
                answers.insert(judgement.of, judgement.grades);
            }
        }
        Ok(())
    }
}
