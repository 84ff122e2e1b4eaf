//! [`Source`]: a plugin as a folder with its source and a `plugin.toml`. Nothing is built here.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use runner_model::{Digest, provider::PluginKind, units::show_size};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

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

    /// The line for `sh` that builds the plugin.
    pub fn build_line(&self) -> &str {
        &self.manifest.build
    }

    /// The folder, quoted for a shell where it has to be.
    pub fn typed_folder(&self) -> String {
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

    /// The file that holds the digest of the source that the plugin was built from.
    pub fn digest_path(&self) -> PathBuf {
        self.folder.join("dist/plugin.digest")
    }

    /// A hash of all files of the source, each with its place in its folder: wherever all of it is moved to, it is the same.
    ///
    /// # Errors
    ///
    /// A source that cannot be read, or has more files than a plugin's.
    pub fn digest(&self) -> Result<Digest, String> {
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
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
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
