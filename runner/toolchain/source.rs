//! [`Source`]: a plugin as a folder with its source and a `plugin.toml`.
//!
//! Building is the one thing that runs a plugin author's code outside the sandbox, so nothing here builds by itself. How a
//! folder is built is what its language says; what comes out is looked at, and another kind than `plugin.toml` says is an
//! error.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::Deserialize;

use super::{
    digest, error::SourceError, kind::SourceKind, language::Language, regular, tool::Tool,
    watch::BuildWatch,
};
use crate::{
    model::{Digest, bundled_name, chain, quoted},
    plugin::Kind,
};

/// Bytes of a `plugin.toml`.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Bytes of what `dist/plugin.digest` may have: a digest and a line break have 65.
const MAX_DIGEST_BYTES: u64 = 1024;
/// Bytes of what is built. What a scenario accepts is less: `limits.file`.
const MAX_PLUGIN_BYTES: u64 = 1024 * 1024 * 1024;

/// A folder that a plugin is built from.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    name: String,
    kind: SourceKind,
    recipe: BuildRecipe,
}

/// How a plugin is built.
#[derive(Debug, PartialEq, Eq)]
enum BuildRecipe {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceManifest {
    name: String,
    language: Option<String>,
    kind: SourceKind,
    command: Option<Vec<String>>,
}

impl Source {
    /// Tells whether a plugin is a folder with source, rather than a file or one that the runner carries: that one is meant
    /// wherever there is a folder of its name, too.
    pub fn is_at(plugin: &Path) -> bool {
        bundled_name(plugin).is_none() && plugin.is_dir()
    }

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
        let manifest: SourceManifest =
            toml::from_str(&text).map_err(|source| SourceError::Manifest {
                path: path.clone(),
                source,
            })?;

        let recipe = match (manifest.command, manifest.language.as_deref()) {
            (Some(command), _) if !command.is_empty() => BuildRecipe::Command(command),
            (_, Some(word)) => match Language::parse(word) {
                Some(language) => BuildRecipe::Usual(language),
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

    /// What to type to build it, as a shell takes it: whoever has named the folder is not to say more than its name.
    pub fn build_command(&self) -> String {
        let folder = self.folder.to_string_lossy();
        format!("runner plugin build {}", quoted(&folder))
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
    pub(crate) fn state(&self, is_stopped: &dyn Fn() -> bool) -> Result<SourceState, SourceError> {
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
    pub(crate) fn build(&self, watch: &mut BuildWatch<'_>) -> Result<Built, SourceError> {
        let start = Instant::now();
        // Before the tools read it: what is changed meanwhile makes the plugin stale.
        let digest = digest::of_source(&self.folder, watch.is_stopped)?;
        let path = self.plugin_path();
        let dist = self.folder.join("dist");
        fs::create_dir_all(&dist).map_err(|error| SourceError::file("create", &dist, error))?;

        let bytes = match &self.recipe {
            BuildRecipe::Usual(language) => {
                let scratch = tempfile::tempdir()
                    .map_err(|error| SourceError::file("create a folder for", &path, error))?;
                let file = language.build(&self.folder, scratch.path(), watch)?;
                let bytes = read(&file)?;
                self.check(&bytes)?;
                write_atomically(&path, &bytes)?;
                bytes
            }
            BuildRecipe::Command(command) => {
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
        let found = match (Kind::of(bytes), self.kind) {
            (Ok(Kind::Component { .. }), SourceKind::Component)
            | (Ok(Kind::Command(_)), SourceKind::Command) => return Ok(()),
            (Ok(Kind::Component { .. }), SourceKind::Command) => "is a component".to_owned(),
            (Ok(Kind::Command(_)), SourceKind::Component) => "is a command".to_owned(),
            (Err(error), _) => chain(&error),
        };
        Err(SourceError::Mismatch {
            folder: self.folder.clone(),
            kind: self.kind,
            found,
        })
    }

    fn run_command(
        &self,
        command: &[String],
        watch: &mut BuildWatch<'_>,
    ) -> Result<(), SourceError> {
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
