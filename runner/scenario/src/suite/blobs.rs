//! [`Blobs`]: attachments, schemas and bases of tests, each read once.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use runner_files::open_regular;
use runner_model::workspace::MAX_BASE_ENTRIES;
use runner_model::{Digest, json, row::MAX_DEPTH, units::grouped, without_mark};
use serde_json::Value;

use super::base::{Base, SuiteFile, merge, read_base};
use crate::keys::files::hash_file;
use crate::project::{Project, Refusal};

const MAX_SCHEMA_BYTES: u64 = 16 << 20;
/// Bytes of a golden file. It is in its test's line, which must fit into one frame with a stored output.
pub(crate) const MAX_GOLDEN_BYTES: u64 = 4 << 20;

/// Attachments, schemas and bases of tests.
#[derive(Default)]
pub(crate) struct Blobs {
    /// Keyed by whether it is a schema, and by path.
    known: HashMap<(bool, PathBuf), Blob>,
    /// The folders that were read for bases, and the files and folders of graders (`true`). Many tests may share a large one that
    /// is invalid.
    trees: HashMap<(bool, PathBuf), Result<Tree, Refusal>>,
    /// The bases of graders' files, by their paths in a workspace and the digests of the trees there.
    merged: HashMap<Vec<(String, Digest)>, Digest>,
    bases: BTreeMap<Digest, Base>,
}

/// The digest of a file and its length.
pub(super) type Blob = (Digest, u64);
/// A file or folder as a base, and its digest.
pub(super) type Tree = (Digest, Base);

impl Blobs {
    /// Reads an attachment of a scenario in `project`.
    pub(crate) fn attachment(&mut self, project: &Project, path: PathBuf) -> Result<Blob, Refusal> {
        self.read_once(project, (false, path), |path| {
            // The plugin contract has 32 bits for a size.
            hash_file(path, u32::MAX.into()).map_err(|error| read_error(&error))
        })
    }

    /// Reads a schema of a scenario in `project`. It must be JSON.
    pub(crate) fn schema(&mut self, project: &Project, path: PathBuf) -> Result<Digest, Refusal> {
        let blob = self.read_once(project, (true, path), |path| {
            let mut text = Vec::new();
            let read = open_regular(path)
                .and_then(|file| file.take(MAX_SCHEMA_BYTES + 1).read_to_end(&mut text));
            read.map_err(|error| read_error(&error))?;
            if text.len() as u64 > MAX_SCHEMA_BYTES {
                return Err("has more than 16 MiB".to_owned());
            }
            let parsed = str::from_utf8(&text)
                .map_err(|error| error.to_string())
                .and_then(|text| json::parse(without_mark(text)));
            parsed.map_err(|error| format!("is not JSON: {error}"))?;
            Ok((runner_model::digest(&text), text.len() as u64))
        })?;
        Ok(blob.0)
    }

    /// Reads a folder that workspaces of a scenario in `project` start as.
    pub(crate) fn base(&mut self, project: &Project, folder: PathBuf) -> Result<Digest, Refusal> {
        let (digest, base) = self.tree(project, false, folder)?;
        self.bases.entry(digest).or_insert(base);
        Ok(digest)
    }

    /// Reads a file or folder that a grader of a scenario in `project` puts into workspaces.
    pub(crate) fn grader_file(
        &mut self,
        project: &Project,
        path: PathBuf,
    ) -> Result<Tree, Refusal> {
        self.tree(project, true, path)
    }

    /// Adds the base of all files of a grader, each with its path in the workspace.
    pub(crate) fn grader_files(&mut self, files: Vec<(String, Tree)>) -> Result<Digest, String> {
        let key: Vec<_> =
            files.iter().map(|(place, (digest, _))| (place.clone(), *digest)).collect();
        if let Some(known) = self.merged.get(&key) {
            return Ok(*known);
        }
        let parts: Vec<_> = files.into_iter().map(|(place, (_, base))| (place, base)).collect();
        let merged = merge(&parts, MAX_BASE_ENTRIES).map_err(|error| error.to_string())?;
        let base = merged.ok_or_else(|| {
            let most = grouped(MAX_BASE_ENTRIES as u64);
            format!("has more than {most} files, folders and links")
        })?;
        let digest = runner_model::digest(&base.lines);
        self.bases.insert(digest, base);
        self.merged.insert(key, digest);
        Ok(digest)
    }

    fn tree(
        &mut self,
        project: &Project,
        is_file_allowed: bool,
        path: PathBuf,
    ) -> Result<Tree, Refusal> {
        let key = (is_file_allowed, path);
        if let Some(known) = self.trees.get(&key) {
            return known.clone();
        }
        let read = read_base(project, &key.1, is_file_allowed, MAX_BASE_ENTRIES);
        let read = read.map(|base| (runner_model::digest(&base.lines), base));
        self.trees.entry(key).or_insert(read).clone()
    }

    /// Returns the attachments and schemas, and the bases, by digest.
    pub(crate) fn into_parts(self) -> (BTreeMap<Digest, SuiteFile>, BTreeMap<Digest, Base>) {
        let files = self.known.into_iter();
        let files = files.map(|((_, path), (digest, bytes))| (digest, SuiteFile { path, bytes }));
        (files.collect(), self.bases)
    }

    fn read_once(
        &mut self,
        project: &Project,
        key: (bool, PathBuf),
        read: impl Fn(&Path) -> Result<Blob, String>,
    ) -> Result<Blob, Refusal> {
        if let Some(blob) = self.known.get(&key) {
            return Ok(*blob);
        }
        project.check_read(&key.1)?;
        let blob = read(&key.1)?;
        self.known.insert(key, blob);
        Ok(blob)
    }
}

/// Reads the expected output of a scenario in `project`: the value of a `.json` file, or else a text. `None` without such a
/// file.
pub(crate) fn golden_file(project: &Project, path: &Path) -> Result<Option<Value>, Refusal> {
    project.check(path, false)?;
    let mut bytes = Vec::new();
    match open_regular(path)
        .and_then(|file| file.take(MAX_GOLDEN_BYTES + 1).read_to_end(&mut bytes))
    {
        // `accept` refuses the name of a folder or below a file for its test alone.
        Err(error) if path.is_dir() || is_missing(&error) => return Ok(None),
        Err(error) => return Err(read_error(&error).into()),
        Ok(_) if bytes.len() as u64 > MAX_GOLDEN_BYTES => {
            return Err("has more than 4 MiB".to_owned().into());
        }
        Ok(_) => {}
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if !is_json(path) {
        return Ok(Some(text.into()));
    }
    let value =
        json::parse(without_mark(&text)).map_err(|error| format!("is not JSON: {error}"))?;
    if is_deep(&value, MAX_DEPTH) {
        return Err(format!("has more than {MAX_DEPTH} levels").into());
    }
    Ok(Some(value))
}

/// Returns whether a golden file has JSON, by its name.
pub(crate) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json")
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("is unreadable: {error}"),
    }
}

/// Returns whether a value has more than `levels` levels.
pub(crate) fn is_deep(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deep(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deep(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
