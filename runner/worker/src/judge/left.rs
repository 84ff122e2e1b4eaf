//! [`JudgedFiles`]: the files that an attempt left in its workspace and that `expect.workspace` checks.

use std::collections::BTreeMap;
use std::io;

use runner_model::Digest;
use runner_model::test::ExpectedWorkspace;
use runner_model::tree::{LeftEntry, Tree};
use runner_model::units::show_size;
use runner_model::workspace::{Change, ChangeKind, EntryKind};

/// Bytes of the largest file that is compared.
const MAX_FILE: u64 = 8 << 20;

/// What an attempt left in its workspace.
pub struct JudgedFiles {
    /// Sorted by path.
    pub(super) changed: Vec<ChangedPath>,
    /// The expected files, by path.
    pub(super) files: BTreeMap<String, LeftFile>,
}

/// The path of a change.
pub(super) struct ChangedPath {
    /// That of a folder ends with `/`.
    pub(super) path: String,
    /// Whether it is a folder that was made or removed with what is in it.
    pub(super) is_holder: bool,
}

/// What is at the path of an expected file.
pub(super) enum LeftFile {
    Nothing,
    Text(String),
    /// Something that cannot be compared, as the rest of a sentence about the path.
    Other(String),
}

impl JudgedFiles {
    /// Returns the digests of the base's contents that [`Self::read`] reads.
    ///
    /// # Errors
    ///
    /// Lines that are not those of a workspace.
    pub fn of_base(
        expected: &ExpectedWorkspace,
        base: &[u8],
        changes: &[u8],
    ) -> io::Result<Vec<Digest>> {
        if expected.files.is_empty() {
            return Ok(Vec::new());
        }
        let tree = Tree::rebuild(base, changes).map_err(io::Error::other)?;
        let left = expected.files.keys().filter_map(|path| tree.entries.get(path));
        Ok(left.filter(|left| left.at.is_none()).filter_map(|left| left.entry.sha256).collect())
    }

    /// Reads the parts of a workspace that have expectations. `base` and `changes` are lines of JSON. `content` reads a file.
    ///
    /// # Errors
    ///
    /// Lines that are not those of a workspace, or a file that cannot be read.
    pub fn read(
        expected: &ExpectedWorkspace,
        base: &[u8],
        changes: &[u8],
        mut content: impl FnMut(&LeftEntry) -> io::Result<Vec<u8>>,
    ) -> Result<Self, String> {
        let lines = changes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut changed = Vec::new();
        for line in lines {
            let change: Change<'_> =
                serde_json::from_slice(line).map_err(|error| error.to_string())?;
            let is_replaced = change.change == ChangeKind::Changed;
            changed.push((change.path.to_string(), change.kind, is_replaced));
        }
        let has_changes = |folder: &str| {
            let inside = format!("{folder}/");
            let next = changed.partition_point(|(path, ..)| *path < inside);
            changed.get(next).is_some_and(|(path, ..)| path.starts_with(&inside))
        };
        let changed = changed.iter().map(|(path, kind, is_replaced)| ChangedPath {
            is_holder: *kind == EntryKind::Folder && !is_replaced && has_changes(path),
            path: match kind {
                EntryKind::Folder => format!("{path}/"),
                EntryKind::File | EntryKind::Link => path.clone(),
            },
        });
        let changed: Vec<_> = changed.collect();
        let mut files = BTreeMap::new();
        if !expected.files.is_empty() {
            let tree = Tree::rebuild(base, changes)?;
            for path in expected.files.keys() {
                let found = match tree.entries.get(path) {
                    None => LeftFile::Nothing,
                    Some(left) if left.entry.kind != EntryKind::File => {
                        LeftFile::Other(format!("is a {}", left.entry.kind.as_str()))
                    }
                    Some(left) if left.entry.bytes > MAX_FILE => LeftFile::Other(format!(
                        "has {}, more than can be compared",
                        show_size(left.entry.bytes)
                    )),
                    Some(left) => {
                        let content =
                            content(left).map_err(|error| format!("`{path}`: {error}"))?;
                        match String::from_utf8(content) {
                            Ok(text) => LeftFile::Text(text),
                            Err(_) => LeftFile::Other("is not text in UTF-8".to_owned()),
                        }
                    }
                };
                files.insert(path.clone(), found);
            }
        }
        Ok(Self { changed, files })
    }
}
