//! What can be wrong with a scenario or its lists.

use std::{fmt, io, path::PathBuf, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use thiserror::Error;

use crate::model::{MOST_TRIALS, plural};

/// Why a scenario cannot be used.
#[derive(Debug, Error, Diagnostic)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is no text.
    #[error("scenario {path} is not UTF-8: line {line} has other bytes")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: usize,
    },
    /// The file says something that is not valid. All problems are there.
    #[error("scenario {path} has {}", count(problems.len(), "problem"))]
    Invalid {
        /// The file.
        path: String,
        /// Its text.
        #[source_code]
        text: NamedSource<Arc<str>>,
        /// What is wrong, by place.
        #[related]
        problems: Vec<Problem>,
    },
    /// Tests, or the lists that they come from, say something that is not valid.
    #[error("the tests have {}", count(*total, "mistake"))]
    Tests {
        /// The first of them.
        #[related]
        mistakes: Vec<Mistake>,
        /// How many there are.
        total: usize,
        /// How many are not shown.
        #[help]
        more: Option<String>,
    },
    /// What was selected on the command line cannot be understood.
    #[error("`{glob}` is not a glob")]
    Selection {
        /// As it was typed.
        glob: String,
        /// Why not.
        #[source]
        source: globset::Error,
    },
    /// The tests make more trials than a run may have.
    #[error(
        "the tests make {}, and a run has at most {}",
        plural(*trials, "trial"),
        crate::model::count(MOST_TRIALS)
    )]
    #[diagnostic(help(
        "choose some of them with `--test` or `--provider`, write a smaller `repeat`, or make several scenarios of them"
    ))]
    TooMany {
        /// How many they make.
        trials: u64,
    },
    /// The resolved tests cannot be kept.
    #[error("cannot store the tests of the scenario in a temporary file")]
    Store(#[source] io::Error),
}

/// Why the settings of a results root cannot be used.
#[derive(Debug, Error, Diagnostic)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read settings {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is no text.
    #[error("settings {path} are not UTF-8: line {line} has other bytes")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: usize,
    },
    /// The file says something that is not valid. All problems are there.
    #[error("settings {path} have {}", count(problems.len(), "problem"))]
    Invalid {
        /// The file.
        path: String,
        /// Its text.
        #[source_code]
        text: NamedSource<Arc<str>>,
        /// What is wrong, by place.
        #[related]
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong in a scenario, or in settings.
#[derive(Debug, Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    message: String,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>, label: &str, span: SourceSpan) -> Self {
        let label = (!label.is_empty()).then(|| label.to_owned());
        Self {
            message: message.into(),
            labels: vec![LabeledSpan::new_primary_with_span(label, span)],
            help: None,
        }
    }

    /// A problem of the file as a whole.
    pub(super) fn general(message: &str, help: &str) -> Self {
        Self {
            message: message.to_owned(),
            labels: Vec::new(),
            help: Some(help.to_owned()),
        }
    }

    pub(super) fn and_label(mut self, label: &str, span: SourceSpan) -> Self {
        self.labels
            .push(LabeledSpan::new_with_span(Some(label.to_owned()), span));
        self
    }

    pub(super) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    pub(super) fn offset(&self) -> usize {
        self.labels.first().map_or(0, LabeledSpan::offset)
    }
}

/// One thing that is wrong with a test.
#[derive(Debug, Error, Diagnostic)]
#[error("{place}: {message}")]
pub struct Mistake {
    pub(super) place: RecordPlace,
    pub(super) message: String,
    #[help]
    pub(super) help: Option<String>,
}

/// Where in a scenario or a test list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordPlace {
    /// The file, relative to the scenario.
    pub(super) file: Arc<str>,
    /// From 1; absent where the whole file is meant.
    pub(super) line: Option<u64>,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}", self.file),
            None => formatter.write_str(&self.file),
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
