//! [`Form`]: a report of a run as a file for another program.

mod cases;
mod csv;
mod error;
mod failed;
mod html;
mod junit;
mod markdown;

use std::{io, path::Path};

use crate::RunDocument;

pub use error::FormError;
pub use failed::{FailedGroup, FailedGroups};
pub use markdown::code as markdown_code;

/// A format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Html,
    Junit,
    Markdown,
    Csv,
}

/// Settings of a report.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormOptions {
    /// Failures are failures in JUnit's XML, although the gate holds.
    pub junit_strict: bool,
}

impl Form {
    /// Returns the form that the extension of a file names.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match &*path.extension()?.to_str()?.to_ascii_lowercase() {
            "html" | "htm" => Some(Self::Html),
            "xml" => Some(Self::Junit),
            "md" | "markdown" => Some(Self::Markdown),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Writes a report of the selected trials of `document`. The same rows give the same bytes.
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or the writer fails.
    pub fn write(
        self,
        document: &RunDocument,
        options: FormOptions,
        writer: &mut dyn io::Write,
    ) -> Result<(), FormError> {
        match self {
            Self::Html => html::write(document, writer),
            Self::Junit => junit::write(document, options.junit_strict, writer),
            Self::Markdown => markdown::write(document, writer),
            Self::Csv => csv::write(document, writer),
        }
    }
}
