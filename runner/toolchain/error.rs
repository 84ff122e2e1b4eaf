//! [`SourceError`]: why a folder is not a plugin, or could not be built.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{kind::SourceKind, language::Language};

/// Why a folder is not a plugin, or could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file of the folder cannot be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder is not one of a plugin.
    #[error("`{0}` has no `plugin.toml`, so it is not the folder of a plugin")]
    NoManifest(PathBuf),
    /// `plugin.toml` says something else than it should.
    #[error("`{path}` is not valid")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: toml::de::Error,
    },
    /// `plugin.toml` says neither in which language the plugin is written nor how it is built.
    #[error("`{0}` names neither a `language` nor a `command` that builds the plugin")]
    NoRecipe(PathBuf),
    /// `plugin.toml` names a language that nobody knows how to build.
    #[error("`{path}` names the language `{language}`, which cannot be built without a `command`")]
    Language {
        /// The file.
        path: PathBuf,
        /// The language.
        language: String,
    },
    /// A tool that the language needs is nowhere to be found.
    #[error("`{tool}` is not installed, and plugins in {} are built with it", language.name())]
    Missing {
        /// The tool.
        tool: &'static str,
        /// The language.
        language: Language,
        /// How it is installed.
        help: String,
    },
    /// What was built is something else than `plugin.toml` promises.
    #[error("`{folder}/plugin.toml` says `kind = \"{}\"`, but what was built {found}", kind.as_str())]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// What was promised.
        kind: SourceKind,
        /// What came, as the end of a sentence.
        found: String,
    },
    /// A tool is not there, or does not start.
    #[error("cannot start `{program}`")]
    Start {
        /// The tool.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A tool failed.
    #[error("`{command}` failed ({status}) in `{folder}`")]
    Failed {
        /// The tool and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Where it ran.
        folder: PathBuf,
        /// The last lines that it printed, which were shown as they came.
        tail: String,
    },
    /// The tools succeeded, and yet there is no plugin.
    #[error("`{command}` ended well in `{folder}` and wrote no {expected}")]
    NoPlugin {
        /// The tool and its arguments.
        command: String,
        /// Where it ran.
        folder: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// There is more of it than of any plugin.
    #[error("the source in `{}` has {has}, and no plugin is built from so much", folder.display())]
    TooLarge {
        /// The folder: the plugin's own, or a crate's that it names by path.
        folder: PathBuf,
        /// What there is too much of.
        has: String,
    },
    /// Whoever asked for the build stopped it.
    #[error("building was stopped")]
    Stopped,
}

impl SourceError {
    pub(super) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
