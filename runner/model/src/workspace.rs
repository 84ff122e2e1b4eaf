//! [`Workspace`]: the folder that an attempt gets, the base that it starts from ([`TreeEntry`]), and what the attempt changed
//! ([`Change`]).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::{is_default, text_enum};
use crate::{Digest, Text, template::Template};

/// Folder of a workspace in a guest without `mount`.
pub const WORKSPACE: &str = "/work";
/// The roots of templates in `workspace.from`.
pub const WORKSPACE_ROOTS: &[&str] = &["input"];
/// Most files, folders and links of a base.
pub const MAX_BASE_ENTRIES: usize = 100_000;
/// Most bytes of the files of a base. Each worker has a copy of them, in which sparse files take their whole length.
pub const MAX_BASE_BYTES: u64 = 64 << 30;
/// Most changes that are kept of one attempt.
pub const MAX_CHANGES: usize = 20_000;
/// Most bytes of the lines of these changes.
pub const MAX_CHANGE_BYTES: u64 = 16 << 20;
/// Name of the artifact with a line for each [`Change`], sorted by path.
pub const CHANGES: &str = "workspace.jsonl";
/// Name of the artifact with the contents of added and changed files, one after the other.
pub const CONTENTS: &str = "workspace.contents";

/// The `workspace` of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    /// The folder that it starts as, relative to the scenario. Roots: [`WORKSPACE_ROOTS`]. `None` if it starts empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Template>,
    /// The path in the guest, absolute.
    pub mount: String,
    #[serde(default)]
    pub keep: KeptChanges,
}

text_enum! {
    /// What a run keeps of a workspace after its attempt.
    #[derive(Default)]
    pub enum KeptChanges {
        /// All changes with their contents.
        #[default]
        Changes = "changes",
        /// Only their numbers.
        None = "none",
    }
}

/// The workspace that a grader gets: what the judged attempt left in its own, built again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradedWorkspace {
    pub access: GradedAccess,
    /// Files and folders that take the place of what the attempt left there: paths in the guest, which are below the `mount` of
    /// each provider, and paths relative to the scenario. Roots: [`WORKSPACE_ROOTS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hidden: BTreeMap<String, Template>,
}

text_enum! {
    /// What a grader may do with the workspace of an attempt.
    pub enum GradedAccess {
        Read = "read",
        /// Its writes are lost at its end.
        Write = "write",
    }
}

/// A file, folder or symbolic link of a base. A base is the blob of these as JSON lines, sorted by the bytes of the path. Its
/// digest is that of the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeEntry<'a> {
    /// Relative to the workspace, with `/` between names. No name is empty, `.` or `..`.
    #[serde(borrow)]
    pub path: Text<'a>,
    pub kind: EntryKind,
    /// Permission bits of a file. 0 for others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: u32,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
    /// Digest of a file's content, which is a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Target of a link.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<'a>>,
}

text_enum! {
    /// The kind of an entry of a folder.
    pub enum EntryKind {
        File = "file",
        Folder = "folder",
        Link = "link",
    }
}

/// A line of [`CHANGES`]: a file, folder or link that differs from the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change<'a> {
    /// Relative to the workspace.
    #[serde(borrow)]
    pub path: Text<'a>,
    pub change: ChangeKind,
    /// The kind now. That of the base if it was removed.
    pub kind: EntryKind,
    /// Permission bits of an added or changed file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: u32,
    /// Bytes of an added or changed file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
    /// Digest of an added or changed file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Offset of the content in [`CONTENTS`]. Absent if a file of the base has this content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Target of an added or changed link.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<'a>>,
}

text_enum! {
    /// How an entry of a workspace differs from the base.
    pub enum ChangeKind {
        Added = "added",
        Changed = "changed",
        Removed = "removed",
    }
}

/// What an attempt left in its workspace, as its row has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceResult {
    /// Digest of the base. Absent if the workspace started empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Digest of the artifact `workspace.jsonl`. Absent without changes, or with `keep = "none"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Digest>,
    /// Number of added files, folders and links.
    pub added: u32,
    /// Number of those that have another content, kind, mode or target.
    pub changed: u32,
    /// Number of those of the base that are gone.
    pub removed: u32,
    /// Whether the attempt did not end by itself, so that files may be half written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub partial: bool,
}

impl WorkspaceResult {
    /// Returns whether the run has all changes. With `keep = "none"`, it has only their numbers.
    pub fn is_kept(&self) -> bool {
        self.changes.is_some() || self.added | self.changed | self.removed == 0
    }
}

/// Writes the entries of a base, sorted by path, as the blob whose digest the base has.
pub fn base_lines(entries: &[TreeEntry<'_>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        // Writing to memory does not fail, and all keys are strings.
        let _ = serde_json::to_writer(&mut lines, entry);
        lines.push(b'\n');
    }
    lines
}

/// Returns the name of the folder in a worker's folder that has its copy of a base. The files of the copy are numbered in the
/// order of their entries, from 0.
pub fn copy_name(base: &Digest) -> String {
    format!("base-{base}")
}

/// Reads the entries of a base.
///
/// # Errors
///
/// A line that is not an entry.
pub fn read_base(lines: &[u8]) -> serde_json::Result<Vec<TreeEntry<'_>>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(serde_json::from_slice).collect()
}
