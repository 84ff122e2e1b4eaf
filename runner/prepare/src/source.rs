//! [`Source`]: a folder with a plugin's source and `plugin.toml`. The `cli` crate builds it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use runner_files::open_regular;
use runner_model::visible::{quoted_path, shown_path};
use runner_model::{Digest, digest, provider::PluginKind, units::show_size, without_mark};
use runner_scenario::{gone, holds_results, similar};
use serde::Deserialize;

use crate::development;

/// Bytes of a `plugin.toml`.
const MAX_MANIFEST: u64 = 1 << 20;
/// Files of a plugin's source. Each use of the folder in a scenario reads all of them.
const MAX_FILES: usize = 50_000;
/// Bytes of all source files. Hashing them must not take longer than a second or two.
const MAX_BYTES: u64 = 512 << 20;
/// Bytes of the file with the digests of all source files.
const MAX_LISTING: u64 = 64 << 20;
/// Depth of nested folders in the source.
const MAX_DEPTH: usize = 64;
/// Names of build results or installed packages.
const IGNORED_NAMES: [&str; 2] = ["node_modules", "__pycache__"];
/// Names of them in the folder itself: below, they may be packages and modules of the source.
const IGNORED_AT_TOP: [&str; 3] = ["dist", "target", "results"];

/// A folder with the source of a plugin.
#[derive(Clone, Debug)]
pub struct Source {
    folder: PathBuf,
    manifest: SourceManifest,
}

/// The content of `plugin.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceManifest {
    name: String,
    kind: PluginKind,
    /// Command line for `sh`, run in the folder.
    build: String,
    /// File that the command creates, relative to the folder.
    #[serde(default = "default_file")]
    file: PathBuf,
    /// Further folders with source, relative to the folder.
    #[serde(default)]
    sources: Vec<PathBuf>,
    /// `None` if the language has no development form.
    dev: Option<DevelopmentBuild>,
}

/// `[dev]` of a `plugin.toml`: the way to build the development form of a component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentBuild {
    /// Command line for `sh` that creates [`Source::loader`], run in the folder.
    pub loader: String,
    /// Files and folders that the loader is built from, relative to the folder. A change of another file needs no new loader.
    pub from: Vec<PathBuf>,
    /// Command line for `sh` that writes [`Source::text`], which the loader reads.
    pub source: String,
}

fn default_file() -> PathBuf {
    "dist/plugin.wasm".into()
}

/// State of the built plugin of a [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Built from the current source.
    Fresh,
    /// Built from other or unknown source. The reason is a clause.
    Stale(String),
    /// Not built.
    Missing,
}

impl Source {
    /// Reads the `plugin.toml` of a folder.
    ///
    /// # Errors
    ///
    /// A missing or invalid `plugin.toml`, as a message with its path.
    pub fn open(folder: &Path) -> Result<Self, String> {
        // A scenario in the folder of the source yields `./.`, which is shown as `.`, and `./plugin` is shown as `plugin`.
        let parts = folder.components();
        let mut folder: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
        if folder.as_os_str().is_empty() {
            folder.push(".");
        }
        let path = folder.join("plugin.toml");
        let shown = shown_path(&path);
        // A parse error quotes the text, and a link could make it quote a file that the user did not name.
        if path.is_symlink() {
            return Err(format!("cannot read `{shown}`: it is a symbolic link"));
        }
        let text = match read_regular(&path, MAX_MANIFEST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!(
                    "`{}` is not a plugin: it has no `plugin.toml`; name a `.wasm` file, or a folder that `runner plugin new` has created",
                    shown_path(&folder)
                ));
            }
            Err(error) => return Err(format!("cannot read `{shown}`: {error}")),
        };
        let text =
            String::from_utf8(text).map_err(|error| format!("`{shown}` is not text: {error}"))?;
        let text = without_mark(&text);
        let manifest: SourceManifest =
            toml::from_str(text).map_err(|error| invalid(&shown, text, &error))?;
        if manifest.dev.is_some() && manifest.kind == PluginKind::Command {
            return Err(format!(
                "`{shown}`: only a component can have a development form, `[dev]`"
            ));
        }
        Ok(Self { folder, manifest })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Returns the folder for messages, or the plugin's name if that is the working folder.
    pub fn shown(&self) -> String {
        if self.folder == Path::new(".") {
            return self.manifest.name.clone();
        }
        shown_path(&self.folder)
    }

    pub fn kind(&self) -> PluginKind {
        self.manifest.kind
    }

    /// Returns the path of the built plugin.
    pub fn file(&self) -> PathBuf {
        self.folder.join(&self.manifest.file)
    }

    /// Returns all folders with source.
    pub fn folders(&self) -> Vec<PathBuf> {
        let further = self.manifest.sources.iter().map(|source| self.folder.join(source));
        [self.folder.clone()].into_iter().chain(further).collect()
    }

    /// Returns the command that a user can type to build the plugin.
    pub fn build_command(&self) -> String {
        format!("runner plugin build {}", quoted_path(&self.folder))
    }

    /// Returns whether the built plugin is a development form.
    pub fn is_built_as_development(&self) -> bool {
        File::open(self.file()).is_ok_and(|built| development::is_form(&built))
    }

    /// Returns the command that builds the form that was built last.
    pub fn rebuild_command(&self) -> String {
        if self.is_built_as_development() {
            return format!("runner plugin build --dev {}", quoted_path(&self.folder));
        }
        self.build_command()
    }

    /// Returns the line for `sh` that builds the plugin.
    pub fn build_line(&self) -> &str {
        &self.manifest.build
    }

    /// Returns the way to build the development form. `None` if the language lacks that form.
    pub fn development(&self) -> Option<&DevelopmentBuild> {
        self.manifest.dev.as_ref()
    }

    /// Returns the path of the loader of the development form.
    pub fn loader(&self) -> PathBuf {
        self.folder.join("dist/loader.wasm")
    }

    /// Returns the path of the source for the loader.
    pub fn text(&self) -> PathBuf {
        self.folder.join("dist/source")
    }

    /// Returns a hash of everything that the loader is built from.
    ///
    /// # Errors
    ///
    /// A file is missing, or cannot be read.
    pub fn loader_origin(&self, build: &DevelopmentBuild) -> Result<Digest, String> {
        let (mut files, mut count) = (Vec::new(), 0);
        for path in build.from.iter().map(|path| self.folder.join(path)) {
            if path.is_dir() {
                collect(&path, 1, &mut count, &mut files, &|_, _| false)?;
            } else {
                files.push(path);
            }
        }
        files.sort();
        let mut origin = format!("{}\n", build.loader);
        self.add_digests(&files, &mut { MAX_BYTES }, &mut origin)?;
        Ok(digest(origin.as_bytes()))
    }

    /// Takes the folder for a build, until the file is dropped. `None` while another process builds in it.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let folder = File::open(&self.folder)?;
        let is_taken = matches!(folder.try_lock(), Err(TryLockError::WouldBlock));
        // NFS cannot lock folders: builds there do not wait.
        Ok((!is_taken).then_some(folder))
    }

    /// Compares the built plugin with the source.
    ///
    /// # Errors
    ///
    /// The source cannot be read or is too large.
    pub fn state(&self) -> Result<SourceState, String> {
        if !self.file().is_file() {
            return Ok(SourceState::Missing);
        }
        let now = self.digests()?;
        let Ok(built) = read_regular(&self.digest_path(), MAX_LISTING) else {
            let why = "it is not known which source it was built from";
            return Ok(SourceState::Stale(why.to_owned()));
        };
        let change = first_change(&String::from_utf8_lossy(&built), &now);
        Ok(change.map_or(SourceState::Fresh, SourceState::Stale))
    }

    /// Returns the path of the file with the digests of the source that the plugin was built from.
    pub fn digest_path(&self) -> PathBuf {
        self.folder.join("dist/plugin.digest")
    }

    /// Returns all source files.
    ///
    /// # Errors
    ///
    /// A folder cannot be read, or there are too many files.
    pub fn files(&self) -> Result<Vec<PathBuf>, String> {
        let (mut files, mut count) = (Vec::new(), 0);
        for folder in self.folders() {
            collect(&folder, 1, &mut count, &mut files, &is_no_source)?;
        }
        Ok(files)
    }

    /// Returns a line `DIGEST  PATH` for each source file. Paths are relative to the plugin's folder, so moving the source does not
    /// change them.
    ///
    /// # Errors
    ///
    /// The source cannot be read or is too large.
    pub fn digests(&self) -> Result<String, String> {
        let built = self.file();
        let (mut lines, mut left, mut count) = (String::new(), MAX_BYTES, 0);
        for folder in self.folders() {
            let mut files = Vec::new();
            collect(&folder, 1, &mut count, &mut files, &is_no_source)?;
            files.sort();
            files.retain(|file| *file != built);
            self.add_digests(&files, &mut left, &mut lines)?;
        }
        Ok(lines)
    }

    /// Adds a line for each file, of at most `left` bytes together.
    fn add_digests(
        &self,
        files: &[PathBuf],
        left: &mut u64,
        lines: &mut String,
    ) -> Result<(), String> {
        for file in files {
            let cannot = |error| format!("cannot read `{}`: {error}", shown_path(file));
            let bytes = fs::metadata(file).map_err(cannot)?.len();
            *left = left.checked_sub(bytes).ok_or_else(|| {
                let folder = shown_path(&self.folder);
                let most = show_size(MAX_BYTES);
                format!("the source in `{folder}` has more than {most} of files")
            })?;
            let content = read_regular(file, bytes).map_err(cannot)?;
            let place = file.strip_prefix(&self.folder).unwrap_or(file);
            *lines += &format!("{}  {}\n", digest(&content), shown_path(place));
        }
        Ok(())
    }
}

/// Returns the message of an invalid `plugin.toml`, in one line with its place.
fn invalid(path: &str, text: &str, error: &toml::de::Error) -> String {
    let before = &text[..error.span().map_or(0, |span| span.start)];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    let message = format!("`{path}:{line}:{column}`: {}", error.message());
    match unknown_key_advice(error.message()) {
        Some(advice) => format!("{message}; {advice}"),
        None => message,
    }
}

/// Returns the advice about the first word in a message of `toml`, an unknown key. The other words are the known keys.
fn unknown_key_advice(message: &str) -> Option<String> {
    let mut words = message.split('`').skip(1).step_by(2);
    let key = words.next()?;
    let advice = gone("plugin.toml", key).map(str::to_owned);
    advice.or_else(|| similar(key, words).map(|near| format!("did you mean `{near}`?")))
}

/// Returns the first difference of two lists of digests. `None` if they are equal. An added file counts only if the source had
/// files of its type: others are notes and outputs more often than source.
fn first_change(built: &str, now: &str) -> Option<String> {
    let [built, now] = [built, now].map(|text| {
        let lines = text.lines().filter_map(|line| line.split_once("  "));
        lines.map(|(digest, file)| (file, digest)).collect::<BTreeMap<_, _>>()
    });
    if built.is_empty() {
        return Some("its last build failed".to_owned());
    }
    let change = now.iter().find_map(|(file, digest)| match built.get(file) {
        Some(before) if before == digest => None,
        Some(_) => Some(format!("`{file}` has changed since it was built")),
        None => built
            .keys()
            .any(|other| Path::new(other).extension() == Path::new(file).extension())
            .then(|| format!("`{file}` was added after it was built")),
    });
    change.or_else(|| {
        let removed = built.keys().find(|file| !now.contains_key(*file))?;
        Some(format!("`{removed}` was removed after it was built"))
    })
}

/// Collects the files of a folder, also by links, which builds follow. `is_left_out` gets a path and its depth. `count` counts
/// the files of all folders, because a manifest may name the same folder a thousand times.
fn collect(
    folder: &Path,
    depth: usize,
    count: &mut usize,
    files: &mut Vec<PathBuf>,
    is_left_out: &dyn Fn(&Path, usize) -> bool,
) -> Result<(), String> {
    let cannot = |error| format!("cannot read the folder `{}`: {error}", shown_path(folder));
    if depth > MAX_DEPTH {
        return Err(format!(
            "`{}` is nested more than {MAX_DEPTH} folders deep in the source of a plugin",
            shown_path(folder)
        ));
    }
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        // Of a link, what it leads to. A build cannot read one that leads nowhere.
        let Ok(about) = fs::metadata(&path) else { continue };
        if is_left_out(&path, depth) || about.is_dir() && is_cycle(&path) {
            continue;
        }
        if about.is_dir() {
            collect(&path, depth + 1, count, files, is_left_out)?;
        } else if about.is_file() {
            *count += 1;
            files.push(path);
        }
        if *count > MAX_FILES {
            return Err(format!(
                "`{}` has more than {MAX_FILES} files, too many for the source of a plugin",
                shown_path(folder)
            ));
        }
    }
    Ok(())
}

/// Returns whether a link leads to a folder that it is in.
fn is_cycle(path: &Path) -> bool {
    let folder = path.parent().map(Path::canonicalize);
    let is_in =
        |target| folder.is_some_and(|folder| folder.is_ok_and(|one| one.starts_with(target)));
    path.is_symlink() && path.canonicalize().is_ok_and(is_in)
}

/// Returns whether a path in a source folder is not source: hidden files, build results, virtual environments of Python, lock
/// files (builds write them), scenarios (they are often next to the source), results, logs and Markdown.
fn is_no_source(path: &Path, depth: usize) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_lock = ["Cargo.lock", "package-lock.json"].contains(&&*name);
    let is_scenario =
        || name.ends_with(".toml") && (name.starts_with("scenario") || has_tests(path));
    let is_text = name.ends_with(".log") || name.ends_with(".md");
    name.starts_with('.')
        || IGNORED_NAMES.contains(&&*name)
        || depth == 1 && IGNORED_AT_TOP.contains(&&*name)
        || is_lock
        || is_text
        || is_scenario()
        // Tools mark their folders of build results.
        || ["pyvenv.cfg", "CACHEDIR.TAG"].iter().any(|mark| path.join(mark).is_file())
        || path.is_dir() && holds_results(path)
}

/// Returns whether a TOML file is a scenario or a test list.
fn has_tests(path: &Path) -> bool {
    let bytes = read_regular(path, MAX_MANIFEST).unwrap_or_default();
    let table: toml::Table = String::from_utf8_lossy(&bytes).parse().unwrap_or_default();
    table.contains_key("tests") || table.contains_key("test_lists")
}

/// Reads a regular file of at most `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    if file.metadata()?.len() > most {
        return Err(io::Error::other("it is too large"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether a scenario names a plugin by its source folder.
pub fn is_folder(plugin: &str, folder: &Path) -> bool {
    !plugin.starts_with("bundled:") && folder.join(plugin).is_dir()
}

#[cfg(test)]
#[path = "tests/source.rs"]
mod tests;
