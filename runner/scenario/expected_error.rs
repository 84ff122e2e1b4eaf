//! [`ExpectedError`]: a way in which an attempt can come to no verdict.

use crate::model::ErrorClass;

/// A way in which an attempt can come to no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedError {
    /// An error of this class.
    Class(ErrorClass),
    /// A deadline.
    Timeout,
}

impl ExpectedError {
    /// The word for it in scenarios and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Timeout => "timeout",
        }
    }

    /// Reads [`ExpectedError::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        if word == "timeout" {
            return Some(Self::Timeout);
        }
        ErrorClass::parse(word).map(Self::Class)
    }
}
