//! `runner logs RUN TRIAL`: what guests have said.

use globset::{Glob, GlobMatcher};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::{
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{LineError, RunEntry, RunReader},
    view::{DocumentVersion, SpokenAttempt, SpokenAttempts},
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
    let mut said = Vec::new();
    for row in reader.rows() {
        match row {
            Ok(row)
                if wanted.is_match(row.trial.as_ref()) || wanted.is_match(row.test.as_ref()) =>
            {
                let text = |name| reader.attempt_text(&row, name);
                let (log, stdout, stderr) =
                    (text("log.jsonl"), text("stdout.txt"), text("stderr.txt"));
                said.push(SpokenAttempt::new(row, log, stdout, stderr));
            }
            Ok(_) => {}
            Err(error @ LineError::Damaged { .. }) => output.warn(&error.to_string()),
            Err(error) => return Err(Error::storage(miette::Report::from_err(error))),
        }
    }
    if said.is_empty() {
        return Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = "`runner logs RUN` prints all rows; a trial is `test@provider#repeat`, a test's id or a glob over either",
                "no attempt of `{glob}` has ended in run `{}`",
                run.id
            ),
        });
    }
    let said = SpokenAttempts {
        v: DocumentVersion,
        run: run.id.clone(),
        attempts: said,
    };
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
