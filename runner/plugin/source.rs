//! [`Source`]: a plugin as a folder with its source and a `plugin.toml`.
//!
//! Building is the one thing that runs a plugin author's code outside the sandbox, so nothing here builds by itself.

mod c;
mod digest;
mod doctor;
mod go;
mod javascript;
mod language;
mod need;
mod python;
mod regular;
mod rust;
mod starter;
mod tool;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::Deserialize;

use super::sniff::{Kind, sniff};
use crate::model::{Digest, chain};
use tool::Tool;

/// Bytes of a `plugin.toml`.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Bytes of what `dist/plugin.digest` may have: a digest and a line break have 65.
const MAX_DIGEST_BYTES: u64 = 1024;
/// Bytes of what is built. What a scenario accepts is less: `limits.file`.
const MAX_PLUGIN_BYTES: u64 = 1024 * 1024 * 1024;

pub use doctor::{Finding, examine};
pub use language::Language;
pub use need::Found;
pub use starter::{Starter, StarterError};

/// A folder that a plugin is built from.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    name: String,
    kind: SourceKind,
    recipe: Recipe,
}

/// What the plugin in a folder is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A component that speaks the contract.
    Component,
    /// A program with standard input and output.
    Command,
}

impl SourceKind {
    /// The word for it in `plugin.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Command => "command",
        }
    }

    /// What to do where something else was built.
    fn advice(self) -> &'static str {
        match self {
            Self::Component => {
                "a component exports `runner:provider/provider`; a program with a `main` is `kind = \"command\"`"
            }
            Self::Command => {
                "a command is a program with a `main`; what exports `runner:provider/provider` is \
                 `kind = \"component\"`"
            }
        }
    }
}

/// How a plugin is built.
#[derive(Debug, PartialEq, Eq)]
enum Recipe {
    /// As is usual in its language.
    Usual(Language),
    /// As its `plugin.toml` says: program and arguments.
    Command(Vec<String>),
}

/// What there is of a built plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// It was built from the source as it is now.
    Fresh(PathBuf),
    /// It was built from other source, or nobody knows from which.
    Stale(PathBuf),
    /// It has not been built.
    Missing,
}

/// A plugin that was just built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The plugin's file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// How long building took.
    pub took: Duration,
}

/// What goes on between a build and whoever asked for it.
pub struct Watch<'a> {
    /// Is given every line that the tools print.
    pub on_line: &'a mut dyn FnMut(&str),
    /// Is asked every 50 ms; on `true` the tools are ended, all of them.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// Why a folder is no plugin, or none could be built.
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
    /// The tools were content, and yet there is no plugin.
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
    /// Says what to do about it, where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Language { .. } | Self::NoRecipe(_) => {
                let languages = Language::ALL.map(|language| format!("`{}`", language.as_str()));
                Some(format!(
                    "`language` may be {}; any other needs `command = [\"PROGRAM\", \"ARGUMENT\", …]`, which runs in the \
                     folder and writes `dist/plugin.wasm`",
                    languages.join(", ")
                ))
            }
            Self::NoManifest(_) => Some(
                "name a `.wasm` file, or a folder whose `plugin.toml` says `name`, `language` and `kind`".to_owned(),
            ),
            Self::Start { program, .. } => rust::help_to_install(program),
            Self::Failed { command, tail, .. } => {
                rust::help_for_failure(command).or_else(|| go::help_for_failure(tail))
            }
            Self::Missing { help, .. } => Some(help.clone()),
            Self::Mismatch { kind, .. } => Some(kind.advice().to_owned()),
            Self::TooLarge { .. } => Some(
                "keep data outside of the folder, or in one that is not looked at: `target`, `dist`, `node_modules`, or \
                 one whose name begins with a dot"
                    .to_owned(),
            ),
            Self::File { .. } | Self::Manifest { .. } | Self::NoPlugin { .. } | Self::Stopped => None,
        }
    }

    fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    language: Option<String>,
    kind: SourceKind,
    command: Option<Vec<String>>,
}

/// The folder of a plugin, and those of all crates that it depends on by path: what is built is made of these.
pub fn folders(folder: &Path) -> Vec<PathBuf> {
    let found = fs::canonicalize(folder)
        .ok()
        .and_then(|folder| digest::folders(&folder).ok());
    // The folder as it is named, too: what its path leads through decides which one it is.
    let mut folders = vec![folder.to_owned()];
    folders.extend(found.into_iter().flatten());
    folders
}

impl Source {
    /// Reads the `plugin.toml` of a folder.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        // `./.`, as a scenario beside the source has it, is shown as `.`.
        let folder: PathBuf = folder.components().collect();
        let path = folder.join("plugin.toml");
        // A message shows the line that is wrong, which must not be one of another file.
        if fs_err::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            let error = io::Error::other("it is a symbolic link");
            return Err(SourceError::file("read", &path, error));
        }
        let text = match regular::read_text(&path, MAX_MANIFEST_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::NoManifest(folder));
            }
            Err(error) => return Err(SourceError::file("read", &path, error)),
        };
        let manifest: Manifest = toml::from_str(&text).map_err(|source| SourceError::Manifest {
            path: path.clone(),
            source,
        })?;

        let recipe = match (manifest.command, manifest.language.as_deref()) {
            (Some(command), _) if !command.is_empty() => Recipe::Command(command),
            (_, Some(word)) => match Language::parse(word) {
                Some(language) => Recipe::Usual(language),
                None => {
                    return Err(SourceError::Language {
                        path,
                        language: word.to_owned(),
                    });
                }
            },
            (_, None) => return Err(SourceError::NoRecipe(path)),
        };
        Ok(Self {
            folder,
            name: manifest.name,
            kind: manifest.kind,
            recipe,
        })
    }

    /// The folder, as it was named.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the plugin is to become.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Compares the built plugin with the source.
    ///
    /// # Errors
    ///
    /// Fails if the source cannot be read or is larger than any plugin's, or when `is_stopped` says so.
    pub fn state(&self, is_stopped: &dyn Fn() -> bool) -> Result<SourceState, SourceError> {
        let plugin = self.plugin_path();
        if !plugin.is_file() {
            return Ok(SourceState::Missing);
        }
        let built_from = regular::read_text(&self.digest_path(), MAX_DIGEST_BYTES).ok();
        let built_from = built_from.and_then(|text| Digest::parse(text.trim_end()));
        if built_from == Some(digest::of_source(&self.folder, is_stopped)?) {
            Ok(SourceState::Fresh(plugin))
        } else {
            Ok(SourceState::Stale(plugin))
        }
    }

    /// Builds the plugin. A build that fails leaves what was built before, unless `plugin.toml` has a `command`.
    pub fn build(&self, watch: &mut Watch<'_>) -> Result<Built, SourceError> {
        let start = Instant::now();
        // Before the tools read it: what is changed meanwhile makes the plugin stale.
        let digest = digest::of_source(&self.folder, watch.is_stopped)?;
        let path = self.plugin_path();
        let dist = self.folder.join("dist");
        fs::create_dir_all(&dist).map_err(|error| SourceError::file("create", &dist, error))?;

        let bytes = match &self.recipe {
            Recipe::Usual(language) => {
                let scratch = tempfile::tempdir()
                    .map_err(|error| SourceError::file("create a folder for", &path, error))?;
                let file = language.build(&self.folder, scratch.path(), watch)?;
                let bytes = read(&file)?;
                self.check(&bytes)?;
                write_atomically(&path, &bytes)?;
                bytes
            }
            Recipe::Command(command) => {
                self.run_command(command, watch)?;
                let bytes = read(&path)?;
                self.check(&bytes)?;
                bytes
            }
        };
        write_atomically(&self.digest_path(), format!("{digest}\n").as_bytes())?;

        Ok(Built {
            path,
            size: bytes.len() as u64,
            took: start.elapsed(),
        })
    }

    /// Compares what was built with what `plugin.toml` says it is.
    fn check(&self, bytes: &[u8]) -> Result<(), SourceError> {
        let found = match (sniff(bytes), self.kind) {
            (Ok((Kind::Component { .. }, _)), SourceKind::Component)
            | (Ok((Kind::Command(_), _)), SourceKind::Command) => return Ok(()),
            (Ok((Kind::Component { .. }, _)), SourceKind::Command) => "is a component".to_owned(),
            (Ok((Kind::Command(_), _)), SourceKind::Component) => "is a command".to_owned(),
            (Err(error), _) => chain(&error),
        };
        Err(SourceError::Mismatch {
            folder: self.folder.clone(),
            kind: self.kind,
            found,
        })
    }

    fn run_command(&self, command: &[String], watch: &mut Watch<'_>) -> Result<(), SourceError> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let tool = Tool::new(program, &self.folder).args(arguments);
        // The command writes in place: what is there when it fails is from nobody knows which source.
        match fs::remove_file(self.digest_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SourceError::file("remove", &self.digest_path(), error));
            }
            Ok(()) | Err(_) => {}
        }
        tool.run(watch)?;

        if self.plugin_path().is_file() {
            return Ok(());
        }
        Err(SourceError::NoPlugin {
            command: tool.to_string(),
            folder: self.folder.clone(),
            expected: "`dist/plugin.wasm`",
        })
    }

    fn plugin_path(&self) -> PathBuf {
        self.folder.join("dist/plugin.wasm")
    }

    fn digest_path(&self) -> PathBuf {
        self.folder.join("dist/plugin.digest")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let bytes = regular::read(path, MAX_PLUGIN_BYTES);
    bytes.map_err(|error| SourceError::file("read", path, error))
}

/// Puts a whole file in place: whoever reads `path` meanwhile sees the old one or the new one.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().expect("the file is inside `dist`");
        // Readable for everyone whom the umask does not shut out, like any build's result.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| SourceError::file("write", path, error))
}

#[cfg(test)]
mod tests;
