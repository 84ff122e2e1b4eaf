//! Why there is no plan.

use std::{io, path::PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::{
    model::{PluginRole, ProviderId, chain},
    plugin::{Kind, PluginFileError},
    run::grants::FolderError,
    scenario::ScenarioError,
};

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
    /// A `--budget` is of a provider that there is not.
    #[error("`--budget {budget}=…` is of a provider `{provider}`, and there is none")]
    #[diagnostic(help(
        "`--budget METRIC=VALUE` is of all providers, `--budget PROVIDER:METRIC=VALUE` of one"
    ))]
    Budget {
        /// What it is of.
        budget: String,
        /// The provider.
        provider: String,
    },
    /// The tests could not be read back.
    #[error("cannot read the normalised tests")]
    Suite(#[from] io::Error),
}

/// What is wrong with a provider's or a grader's plugin or with how the scenario uses it.
#[derive(Debug, Error, Diagnostic)]
#[error("{role} `{provider}`: {problem}")]
pub struct ProviderError {
    /// Whether it is a provider or a grader.
    pub role: PluginRole,
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
            role: PluginRole::Provider,
            provider: provider.clone(),
            problem: problem.into(),
            help: None,
        }
    }

    pub(super) fn of(self, role: PluginRole) -> Self {
        Self { role, ..self }
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
