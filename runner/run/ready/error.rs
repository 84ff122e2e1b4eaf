//! [`ReadyError`]: why the plugins of a plan cannot be run.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use miette::Diagnostic;
use thiserror::Error;

use crate::scenario::Provider;

/// How many things that are wrong with plugins are reported at once.
const MAX_PROBLEMS: usize = 10;

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
    pub(super) fn add(&mut self, provider: &Provider, problem: &dyn fmt::Display) {
        if self.lines.len() < MAX_PROBLEMS {
            // What a plugin says may have several lines, none of which may look like the next problem.
            let problem = problem.to_string().replace('\n', "\n    ");
            self.lines.push(format!(
                "{} `{}` cannot be used: {problem}",
                provider.role, provider.id
            ));
        } else {
            self.more += 1;
        }
    }

    /// Adds what a plugin refuses; its schemas say what it does not.
    pub(super) fn add_refused(
        &mut self,
        provider: &Provider,
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
