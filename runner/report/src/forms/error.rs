//! [`FormError`].

use std::{fmt, io};

use runner_record::RecordError;

/// An error of a report that is written.
#[derive(Debug)]
pub enum FormError {
    /// The run cannot be read.
    Record(RecordError),
    /// The report cannot be written.
    Io(io::Error),
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
