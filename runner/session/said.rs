//! [`said`]: what guests have said in their attempts.

use std::io;

use crate::{
    record::{LineError, Row, RunEntry, RunReader},
    view::{DocumentVersion, SpokenAttempt, SpokenAttempts},
};

/// Gathers what was said in those attempts of a run whose rows are `wanted`; `damaged` hears of lines that give none.
///
/// # Errors
///
/// Fails if the rows cannot be read on.
pub fn said(
    run: &RunEntry,
    reader: &RunReader,
    wanted: impl Fn(&Row<'_>) -> bool,
    mut damaged: impl FnMut(&LineError),
) -> Result<SpokenAttempts, io::Error> {
    let mut attempts = Vec::new();
    for row in reader.rows() {
        match row {
            Ok(row) if wanted(&row) => {
                let text = |name| reader.attempt_text(&row, name);
                let log = text("log.jsonl");
                let (stdout, stderr) = (text("stdout.txt"), text("stderr.txt"));
                attempts.push(SpokenAttempt::new(row, log, stdout, stderr));
            }
            Ok(_) => {}
            Err(error @ LineError::Damaged { .. }) => damaged(&error),
            Err(LineError::Io(error)) => return Err(error),
        }
    }
    Ok(SpokenAttempts {
        v: DocumentVersion,
        run: run.id.clone(),
        attempts,
    })
}
