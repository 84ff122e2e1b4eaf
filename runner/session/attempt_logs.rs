//! [`attempt_logs`]: what guests have said in their attempts.

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::{
    error::{Error, ExitStatus},
    filter,
    record::{LineError, RunEntry, RunReader, Said},
    view::{DocumentVersion, SpokenAttempt, SpokenAttempts},
};

/// Gathers what was said in the attempts of a run whose trial's id or test's id matches `glob`; `damaged` hears of lines
/// that give no row, and of attempts of which it cannot be read any more.
///
/// # Errors
///
/// Fails if no attempt is meant, or if the run cannot be read.
pub fn attempt_logs(
    run: &RunEntry,
    glob: &str,
    mut damaged: impl FnMut(&dyn std::error::Error),
) -> Result<SpokenAttempts, Error> {
    let wanted = filter::glob(glob)
        .into_diagnostic()
        .wrap_err("the trial is not a valid glob")
        .map_err(Error::usage)?
        .compile_matcher();
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let mut attempts = Vec::new();
    for row in reader.rows() {
        match row {
            Ok(row) if wanted.is_match(&*row.trial) || wanted.is_match(&*row.test) => {
                let said = reader.said(&row).unwrap_or_else(|error| {
                    damaged(&error);
                    Said::default()
                });
                attempts.push(SpokenAttempt::new(row, said));
            }
            Ok(_) => {}
            Err(error @ LineError::Damaged { .. }) => damaged(&error),
            Err(error) => return Err(Error::storage(miette::Report::from_err(error))),
        }
    }
    if attempts.is_empty() {
        return Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = "`runner logs RUN` prints all rows; a trial is `test@provider#repeat`, a test's id or a glob over either",
                "no attempt of `{glob}` has ended in run `{}`",
                run.id
            ),
        });
    }
    Ok(SpokenAttempts {
        v: DocumentVersion,
        run: run.id.clone(),
        attempts,
    })
}
