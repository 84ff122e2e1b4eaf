//! Why a plan or a run could not go on.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use miette::Diagnostic;
use thiserror::Error;

use super::folders::FolderError;
use crate::{
    model::{ProviderId, chain},
    plugin::{Kind, PluginFileError},
    scenario::ScenarioError,
};

/// How many things that are wrong with plugins are told at once.
const MAX_PROBLEMS: usize = 10;

/// Why there is no plan. Nothing has been created.
#[derive(Debug, Error, Diagnostic)]
pub enum PlanError {
    /// A test list, an attachment or the selection is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scenario(#[from] ScenarioError),
    /// No test was selected.
    #[error("no test is selected in `{}`", scenario.display())]
    #[diagnostic(help("{help}"))]
    NothingSelected {
        /// The scenario's file.
        scenario: PathBuf,
        /// What to look at.
        help: String,
    },
    /// Plugins cannot be used.
    #[error("{} of the scenario's providers cannot be used", problems.len())]
    Providers {
        /// What is wrong with each.
        #[related]
        problems: Vec<ProviderError>,
    },
    /// A `--limit` is wrong.
    #[error("`--limit {text}` is not understood: {reason}")]
    #[diagnostic(help("limits are written as `--limit memory=64MiB` or `--limit time=2s`"))]
    Limit {
        /// As typed.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tests could not be read back.
    #[error("cannot read the normalised tests")]
    Suite(#[from] io::Error),
}

/// What is wrong with a provider's plugin or with how the scenario uses it.
#[derive(Debug, Error, Diagnostic)]
#[error("provider `{provider}`: {problem}")]
pub struct ProviderError {
    /// The provider.
    pub provider: ProviderId,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    #[help]
    pub help: Option<String>,
}

impl ProviderError {
    pub(super) fn new(provider: &ProviderId, problem: impl Into<String>) -> Self {
        Self {
            provider: provider.clone(),
            problem: problem.into(),
            help: None,
        }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    pub(super) fn file(provider: &ProviderId, error: &PluginFileError) -> Self {
        Self::new(provider, chain(error))
    }

    pub(super) fn digest(provider: &ProviderId, expected: &str, actual: &str) -> Self {
        let problem = format!("its plugin's sha256 is `{actual}`, the scenario says `{expected}`");
        Self::new(provider, problem).with_help(format!(
            "if the new plugin is wanted, write `sha256 = \"{actual}\"`"
        ))
    }

    pub(super) fn folder(provider: &ProviderId, error: &FolderError) -> Self {
        let help = error.help().map(|help| help.to_string());
        Self {
            help,
            ..Self::new(provider, error.to_string())
        }
    }

    /// A key that is for plugins of the other kind.
    pub(super) fn misplaced(provider: &ProviderId, key: &str, kinds: &str, kind: Kind) -> Self {
        let problem = format!(
            "`{key}` is for {kinds}, and its plugin is a {}",
            kind.as_str()
        );
        Self::new(provider, problem).with_help(format!("remove `{key}`"))
    }
}

/// Why plugins that are there cannot be run; the run is `failed (plugin)`.
#[derive(Debug, Error, Diagnostic)]
pub enum ReadyError {
    /// Plugins cannot be compiled, linked or described, or refuse their configurations or inputs.
    #[error("{0}")]
    Plugins(Problems),
    /// A stop or the run's deadline came first.
    #[error("stopped while plugins were made ready")]
    Stopped,
    /// The tests could not be read back.
    #[error("cannot read the normalised tests")]
    Suite(#[from] io::Error),
}

/// What is wrong with plugins, one line each, and a line that helps.
#[derive(Debug, Default)]
pub struct Problems {
    lines: Vec<String>,
    more: usize,
    /// A plugin whose schema was not kept to.
    refused_by: Option<PathBuf>,
}

impl Problems {
    /// Adds what is wrong with a provider's plugin.
    pub(super) fn add(&mut self, provider: &ProviderId, problem: &dyn fmt::Display) {
        if self.lines.len() < MAX_PROBLEMS {
            // What a plugin says may have several lines, none of which may look like the next problem.
            let problem = problem.to_string().replace('\n', "\n    ");
            self.lines
                .push(format!("provider `{provider}` cannot be used: {problem}"));
        } else {
            self.more += 1;
        }
    }

    /// Adds what a plugin refuses; its schemas say what it does not.
    pub(super) fn add_refused(
        &mut self,
        provider: &ProviderId,
        plugin: &Path,
        problem: &dyn fmt::Display,
    ) {
        self.add(provider, problem);
        self.refused_by.get_or_insert_with(|| plugin.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines.join("\n"))?;
        if self.more > 0 {
            write!(formatter, "\nand {} more", self.more)?;
        }
        if let Some(plugin) = &self.refused_by {
            let plugin = plugin.display();
            write!(
                formatter,
                "\nhelp: `runner plugin inspect {plugin}` shows the schemas of its configuration and input"
            )?;
        }
        Ok(())
    }
}
