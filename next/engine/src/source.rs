//! [`Source`]: a plugin as a folder with its source and a `plugin.toml`.
//!
//! Building is the one thing that runs a plugin author's code outside the sandbox, so it happens only where a user asks for
//! it, and never because a scenario says so.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use runner_model::{Digest, digest, provider::PluginKind, units::show_size};
use runner_record::PluginCache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{EngineError, children, compiler};

/// Bytes of a `plugin.toml`.
const MAX_MANIFEST: u64 = 1 << 20;
/// Files that a plugin's source may have: all are read whenever a scenario names the folder.
const MAX_FILES: usize = 50_000;
/// Bytes of all of them: what is hashed must not take longer than a second or two.
const MAX_BYTES: u64 = 512 << 20;
/// How deep folders may be nested in the source.
const MAX_DEPTH: usize = 64;
/// What is built or installed, and no source.
const NO_SOURCE: [&str; 5] = ["dist", "target", "node_modules", "__pycache__", "results"];

/// A folder that a plugin is built from.
#[derive(Clone, Debug)]
pub struct Source {
    folder: PathBuf,
    manifest: SourceManifest,
}

/// What a `plugin.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceManifest {
    /// The plugin's name.
    name: String,
    /// What it becomes.
    kind: PluginKind,
    /// A line for `sh`, which is run in the folder.
    build: String,
    /// The file that the line makes, relative to the folder.
    #[serde(default = "usual_file")]
    file: PathBuf,
    /// Further folders that it is made of, relative to the folder.
    #[serde(default)]
    sources: Vec<PathBuf>,
}

fn usual_file() -> PathBuf {
    "dist/plugin.wasm".into()
}

/// What there is of a built plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It was built from the source as it is now.
    Fresh,
    /// It was built from other source, or it is not known from which.
    Stale,
    /// It was not built.
    Missing,
}

/// A plugin that was just built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The plugin's file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How long building took.
    pub took: Duration,
}

impl Source {
    /// Reads the `plugin.toml` of a folder.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence with its path.
    pub fn open(folder: &Path) -> Result<Self, String> {
        // `./.`, as a scenario beside the source has it, is shown as `.`, and `./plugin` as `plugin`.
        let parts = folder.components();
        let mut folder: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
        if folder.as_os_str().is_empty() {
            folder.push(".");
        }
        let path = folder.join("plugin.toml");
        let shown = path.display();
        // What is shown of a text that cannot be understood is not of another file.
        if path.is_symlink() {
            return Err(format!("cannot read `{shown}`: it is a symbolic link"));
        }
        let text = match read_regular(&path, MAX_MANIFEST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!(
                    "`{}` is no plugin: it has no `plugin.toml`; name a `.wasm` file, or a folder that `runner plugin new` has made",
                    folder.display()
                ));
            }
            Err(error) => return Err(format!("cannot read `{shown}`: {error}")),
        };
        let text =
            String::from_utf8(text).map_err(|error| format!("`{shown}` is no text: {error}"))?;
        let manifest: SourceManifest = toml::from_str(&text)
            .map_err(|error| format!("`{shown}` cannot be understood: {error}"))?;
        Ok(Self { folder, manifest })
    }

    /// The folder, as it was named.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// What the plugin becomes.
    pub fn kind(&self) -> PluginKind {
        self.manifest.kind
    }

    /// The file that is built.
    pub fn file(&self) -> PathBuf {
        self.folder.join(&self.manifest.file)
    }

    /// All folders that the plugin is made of.
    pub fn folders(&self) -> Vec<PathBuf> {
        let further = self.manifest.sources.iter();
        let further = further.map(|source| self.folder.join(source));
        [self.folder.clone()].into_iter().chain(further).collect()
    }

    /// What to type to build it.
    pub fn build_command(&self) -> String {
        format!("runner plugin build {}", self.typed_folder())
    }

    /// The folder, as a shell reads it.
    fn typed_folder(&self) -> String {
        let folder = self.folder.to_string_lossy();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        if folder.bytes().all(is_plain) {
            folder.into_owned()
        } else {
            format!("'{}'", folder.replace('\'', r"'\''"))
        }
    }

    /// Compares the built plugin with the source.
    ///
    /// # Errors
    ///
    /// A source that cannot be read, or has more files than a plugin's.
    pub fn state(&self) -> Result<SourceState, String> {
        if !self.file().is_file() {
            return Ok(SourceState::Missing);
        }
        let digest = read_regular(&self.digest_path(), 1024).unwrap_or_default();
        let is_fresh = digest.trim_ascii_end() == self.digest()?.to_string().as_bytes();
        Ok(if is_fresh { SourceState::Fresh } else { SourceState::Stale })
    }

    /// Builds the plugin. What the build prints goes to standard error.
    ///
    /// # Errors
    ///
    /// A build that fails, makes no file, or makes a plugin of another kind.
    pub fn build(&self) -> Result<Built, String> {
        self.build_checked(|bytes| self.check(bytes))
    }

    /// Builds the plugin, and looks at it with `check`.
    fn build_checked(
        &self,
        check: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Result<Built, String> {
        let began = Instant::now();
        let line = &self.manifest.build;
        // What changes while the build goes on makes the plugin stale.
        let digest = self.digest()?;
        let written = self.digest_path();
        let cannot = |error: io::Error| format!("cannot write `{}`: {error}", written.display());
        fs::create_dir_all(self.folder.join("dist")).map_err(cannot)?;
        // If the build fails, what is in place of the plugin then is of no known source.
        fs::write(&written, "").map_err(cannot)?;
        let status = shell(line, &self.folder)
            .stdout(Stdio::from(io::stderr()))
            .status()
            .map_err(|error| format!("cannot run `sh`: {error}"))?;
        if !status.success() {
            return Err(format!(
                "building `{}` failed ({status}): {line}\nif a tool is missing, `runner plugin doctor {}` says how it is installed",
                self.folder.display(),
                self.typed_folder()
            ));
        }
        let file = self.file();
        let bytes = read_regular(&file, u64::MAX).map_err(|error| {
            format!(
                "the build of `{}` did not make `{}`, which its `plugin.toml` names: {error}",
                self.folder.display(),
                file.display()
            )
        })?;
        check(&bytes)?;
        fs::write(&written, format!("{digest}\n")).map_err(cannot)?;
        Ok(Built { file, bytes, took: began.elapsed() })
    }

    /// Compares what was built with what `plugin.toml` says.
    fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let file = self.file();
        let file = file.display();
        let cache = PluginCache::open().map_err(|error| error.to_string())?;
        let copy = children::nameless("plugin", bytes).map_err(|error| error.to_string())?;
        let kind = match compiler::inspect(&cache, &digest(bytes), copy) {
            Ok(inspection) => inspection.kind,
            Err(EngineError::Usage(problem)) => {
                return Err(format!("`{file}` was built, and {problem}"));
            }
            Err(error) => return Err(error.to_string()),
        };
        let (wanted, advice) = match self.manifest.kind {
            kind_of_manifest if kind_of_manifest == kind => return Ok(()),
            PluginKind::Component => (
                "component",
                "a component exports `runner:provider/provider`; a program with a `main` is `kind = \"command\"`",
            ),
            PluginKind::Command => (
                "command",
                "a command is a program with a `main`; what exports `runner:provider/provider` is `kind = \"component\"`",
            ),
        };
        Err(format!(
            "`{file}` was built, and is a {kind}; its `plugin.toml` says that it is a {wanted}\n{advice}"
        ))
    }

    fn digest_path(&self) -> PathBuf {
        self.folder.join("dist/plugin.digest")
    }

    /// A hash of all files of the source, each with its place in its folder: wherever all of it is moved to, it is the same.
    fn digest(&self) -> Result<Digest, String> {
        let built = self.file();
        let (mut hasher, mut left, mut count) = (Sha256::new(), MAX_BYTES, 0);
        for folder in self.folders() {
            let mut files = Vec::new();
            collect(&folder, 1, &mut count, &mut files)?;
            files.sort();
            for file in files.iter().filter(|file| **file != built) {
                let cannot = |error| format!("cannot read `{}`: {error}", file.display());
                let place = file.strip_prefix(&folder).unwrap_or(file);
                let place = place.as_os_str().as_encoded_bytes();
                hasher.update((place.len() as u64).to_le_bytes());
                hasher.update(place);
                let bytes = fs::metadata(file).map_err(cannot)?.len();
                left = left.checked_sub(bytes).ok_or_else(|| {
                    let (folder, most) = (folder.display(), show_size(MAX_BYTES));
                    format!("the source in `{folder}` has more than {most} of files")
                })?;
                let content = read_regular(file, bytes).map_err(cannot)?;
                hasher.update(Sha256::digest(content));
            }
        }
        Ok(Digest(hasher.finalize().into()))
    }
}

/// A line for `sh` in a folder. Programs are found in the folder first, where the package managers of Python and Node.js put
/// them.
pub fn shell(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", line]).current_dir(folder).stdin(Stdio::null());
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let own = [".venv/bin", "node_modules/.bin"].map(|name| folder.join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    // A folder with a `:` in its name cannot be searched.
    if let Ok(path) = env::join_paths(own.into_iter().chain(env::split_paths(&path))) {
        command.env("PATH", path);
    }
    command
}

/// Collects the files of a source: not what was built or installed, nor what is hidden, nor lock files, which a build writes;
/// and not scenarios, which stand beside the source that they use. `count` is that of all folders: the same one may be named a
/// thousand times.
fn collect(
    folder: &Path,
    depth: usize,
    count: &mut usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let cannot = |error| format!("cannot read the folder `{}`: {error}", folder.display());
    if depth > MAX_DEPTH {
        return Err(format!(
            "`{}` is nested more than {MAX_DEPTH} folders deep in the source of a plugin",
            folder.display()
        ));
    }
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(cannot)?);
        let name = name.to_string_lossy();
        let is_left_out = name.starts_with('.') || NO_SOURCE.contains(&&*name);
        let is_lock = ["Cargo.lock", "package-lock.json"].contains(&&*name);
        let is_scenario = name.starts_with("scenario") && name.ends_with(".toml");
        if is_left_out || is_lock || is_scenario {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), depth + 1, count, files)?;
        } else if kind.is_file() {
            *count += 1;
            files.push(entry.path());
        }
        if *count > MAX_FILES {
            return Err(format!(
                "`{}` has more than {MAX_FILES} files, too many for the source of a plugin",
                folder.display()
            ));
        }
    }
    Ok(())
}

/// Reads a regular file of at most `most` bytes. Opening a pipe would wait for its other end.
fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if !about.is_file() || about.len() > most {
        return Err(io::Error::other("it is no regular file, or too large"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whether a plugin of a scenario is named by a folder.
pub fn is_folder(plugin: &str, folder: &Path) -> bool {
    !plugin.starts_with("bundled:") && folder.join(plugin).is_dir()
}

#[cfg(test)]
#[path = "tests/source.rs"]
mod tests;
