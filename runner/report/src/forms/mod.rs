//! Reports of a run as files for other programs, one per [`Form`].

mod cases;
mod csv;
mod html;
mod junit;
mod markdown;
mod trace;

use std::io;

use crate::{ChangedLines, RunDocument};

pub use self::cases::FormError;
pub use markdown::code as markdown_code;
pub use runner_model::Form;

/// Settings of a report.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormOptions {
    /// Failures are failures in JUnit's XML, although the gate passed.
    pub junit_strict: bool,
    /// The report in Markdown is of a session that ran nothing.
    pub ran_nothing: bool,
    /// Compares texts for the diffs of changed workspaces. `None` for a report without diffs.
    pub changed_lines: Option<ChangedLines>,
}

/// Writes a report of the selected trials of `document`. The same rows give the same bytes.
///
/// # Errors
///
/// The rows cannot be read, or the writer fails.
pub fn write_report(
    form: Form,
    document: &RunDocument,
    options: FormOptions,
    writer: &mut dyn io::Write,
) -> Result<(), FormError> {
    match form {
        Form::Html => html::write(document, options.changed_lines, writer),
        Form::Junit => junit::write(document, options.junit_strict, writer),
        Form::Markdown => markdown::write(document, options.ran_nothing, writer),
        Form::Csv => csv::write(document, writer),
        Form::Trace => trace::write(document, writer),
    }
}
