//! [`RunReader::measured`]: what all attempts of a run have measured, those of graders too.

use super::{
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
};
use crate::record::{
    error::RecordError,
    format::{row::Row, row_parts::RowMetric},
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
            for grade in judgement.grades.iter().filter(|grade| !grade.is_kept) {
                for metric in &grade.metrics {
                    see(&grade.grader, metric);
                }
            }
        }
        Ok(())
    }
}
