//! [`FilterError`]: what is wrong with a filter, and where.

use std::{ops::Range, sync::Arc};

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

/// What is wrong with a filter, and where.
#[derive(Debug, Error, Diagnostic)]
#[error("{message}")]
pub struct FilterError {
    message: String,
    #[source_code]
    text: Arc<NamedSource<String>>,
    #[label("{label}")]
    at: SourceSpan,
    label: &'static str,
    #[help]
    help: Option<String>,
}

impl FilterError {
    /// Something is wrong at a place of a filter's `text`.
    pub fn new(text: &str, at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            text: Arc::new(NamedSource::new("the filter", text.to_owned())),
            at: at.into(),
            label: "here",
            help: None,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
