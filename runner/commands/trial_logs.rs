//! `runner logs RUN TRIAL`: what guests have said.

use globset::{Glob, GlobMatcher};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::{
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{LineError, Row, RunEntry, RunReader},
    session,
};

/// Prints what the attempts of the trials said that a glob matches: log, standard output, standard error.
pub(super) fn trials(
    run: &RunEntry,
    glob: &str,
    is_json: bool,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let wanted = matcher(glob)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let is_wanted =
        |row: &Row<'_>| wanted.is_match(row.trial.as_ref()) || wanted.is_match(row.test.as_ref());
    let warn = |error: &LineError| output.warn(&error.to_string());
    let said = session::said(run, &reader, is_wanted, warn)
        .map_err(|error| Error::storage(miette::Report::from_err(LineError::Io(error))))?;
    if said.attempts.is_empty() {
        return Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = "`runner logs RUN` prints all rows; a trial is `test@provider#repeat`, a test's id or a glob over either",
                "no attempt of `{glob}` has ended in run `{}`",
                run.id
            ),
        });
    }
    match is_json {
        true => output.document(&said),
        false => output.show(&output::said_text(&said)),
    }
    Ok(ExitStatus::Success)
}

fn matcher(glob: &str) -> Result<GlobMatcher, Error> {
    Glob::new(glob)
        .map(|glob| glob.compile_matcher())
        .into_diagnostic()
        .wrap_err("the trial is no glob")
        .map_err(Error::usage)
}
