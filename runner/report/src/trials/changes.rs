//! [`ChangesDocument`]: what an attempt changed in its workspace. [`write_diff`] formats it as `git diff` does.

use std::{collections::HashSet, ops::Range};

use runner_model::tree::{LeftEntry, PathChange};
use runner_model::workspace::{ChangeKind, EntryKind, WorkspaceResult};
use runner_model::{Digest, TrialId, units::show_size};
use runner_record::{LeftFiles, RecordError, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{TrialDocument, VERSION};

/// Bytes of a file whose lines are compared.
pub(crate) const MAX_TEXT: u64 = 1 << 20;
/// Bytes at the start of a file that make it binary if one is 0, as for git.
const BINARY_START: usize = 8000;
/// Digits of a digest in a diff.
const SHORT_DIGEST: usize = 7;
/// Lines around a change.
const CONTEXT: u32 = 3;
/// End of a line about a file or folder that the diff only names.
const SAVED: &str = "; runner show RUN TRIAL --save DIR writes it";

/// Returns the places of lines that only one of two texts has, from 0. The crate that compares texts is the worker's.
pub type ChangedLines = fn(&[u8], &[u8]) -> Vec<[Range<u32>; 2]>;
/// Reads the content of a file.
pub type ReadLeft<'a> = &'a dyn Fn(&LeftEntry) -> Result<Vec<u8>, RecordError>;

/// `runner show RUN TRIAL --diff`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangesDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    pub trial: TrialId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The numbers of changes, as in the row.
    pub workspace: WorkspaceResult,
    /// Number of changes that were kept.
    pub total: u64,
    /// Sorted by the bytes of their paths.
    pub changes: Vec<ChangedPath>,
}

/// A file, folder or link that differs from the base. A guest may have written its path and its target.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangedPath {
    /// Relative to the workspace.
    pub path: String,
    /// Whether it was added, changed or removed.
    pub change: ChangeKind,
    /// The kind now, or before if it was removed.
    pub kind: EntryKind,
    /// The entry of the base. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<PathState>,
    /// What the attempt left. Absent if that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<PathState>,
}

/// A file, folder or link, before or after an attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PathState {
    /// The kind of the entry.
    pub kind: EntryKind,
    /// Permission bits of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Size of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Digest of a file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Target of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The role of a line in a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffTone {
    Header,
    /// A file without lines or a folder, which programs that apply the diff leave as it is.
    Named,
    Hunk,
    Context,
    Old,
    New,
}

impl TrialDocument {
    /// Reads the workspace of the shown attempt.
    ///
    /// # Errors
    ///
    /// The changes or their base are missing or damaged. `None` without a workspace, or if its changes were not kept.
    pub fn workspace(
        &self,
        run: &RunDir,
    ) -> Result<Option<(WorkspaceResult, LeftFiles)>, RecordError> {
        let Some((row, found)) = self.row().and_then(|row| Some((row.workspace?, row))) else {
            return Ok(None);
        };
        if row.is_kept() { Ok(Some((row, run.workspace(&found)?))) } else { Ok(None) }
    }

    /// Reads changes of the shown attempt. `place` selects them by their order. `None` as for [`Self::workspace`].
    ///
    /// # Errors
    ///
    /// As [`Self::workspace`].
    pub fn changes(
        &self,
        run: &RunDir,
        place: Range<usize>,
    ) -> Result<Option<ChangesDocument>, RecordError> {
        let found = self.workspace(run)?;
        Ok(found.map(|(workspace, files)| self.changes_of(workspace, &files, place)))
    }

    /// Returns changes of the shown attempt, whose workspace was read.
    pub(crate) fn changes_of(
        &self,
        workspace: WorkspaceResult,
        LeftFiles { tree, .. }: &LeftFiles,
        place: Range<usize>,
    ) -> ChangesDocument {
        let shown = tree.changes.iter().skip(place.start).take(place.len());
        ChangesDocument {
            v: VERSION,
            run: self.run.clone(),
            trial: self.trial.clone(),
            attempt: self.row().map_or(1, |row| row.attempt),
            workspace,
            total: tree.changes.len() as u64,
            changes: shown.map(ChangedPath::new).collect(),
        }
    }
}

impl ChangedPath {
    fn new(change: &PathChange) -> Self {
        let state = |left: &LeftEntry| {
            let entry = &left.entry;
            let is_file = entry.kind == EntryKind::File;
            PathState {
                kind: entry.kind,
                mode: is_file.then_some(entry.mode),
                bytes: is_file.then_some(entry.bytes),
                sha256: entry.sha256,
                target: entry.target.as_ref().map(|target| target.to_string()),
            }
        };
        Self {
            path: change.path.clone(),
            change: change.change,
            kind: change.kind,
            before: change.before.as_ref().map(state),
            after: change.after.as_ref().map(state),
        }
    }
}

/// Formats changes as `git diff` does, and calls `each` with the lines. Digests are those of contents, because those of git need
/// SHA-1, without which no program applies changes of a binary file. Folders without changed entries are named. Renamed files
/// are removed and added.
///
/// # Errors
///
/// A content is missing or damaged.
pub fn write_diff(
    changes: &[PathChange],
    read: ReadLeft<'_>,
    changed_lines: ChangedLines,
    each: &mut dyn FnMut(DiffTone, &[u8]),
) -> Result<(), RecordError> {
    let mut diff = DiffWriter { read, changed_lines, each };
    let paths = changes.iter().flat_map(|change| change.path.rsplit_once('/'));
    let parents: HashSet<_> = paths.map(|(parent, _)| parent).collect();
    for PathChange { path, before, after, .. } in changes {
        let is_folder = |left: &LeftEntry| left.entry.kind == EntryKind::Folder;
        let folders = [before, after].map(|left| left.as_ref().is_some_and(is_folder));
        // Git knows no folders. The files in one imply it, and so does a file that is in its place.
        let of_git = |left: &Option<LeftEntry>| left.clone().filter(|left| !is_folder(left));
        match (of_git(before), of_git(after)) {
            (before, None) if folders[0] != folders[1] && !parents.contains(&**path) => {
                if before.is_some() {
                    diff.entry(path, [before.as_ref(), None])?;
                }
                let [what, end] = if folders[1] { ["new", SAVED] } else { ["removed", ""] };
                diff.named(path, &format!("{what} folder{end}"));
            }
            (None, None) => {}
            (Some(before), Some(after)) if before.entry.kind != after.entry.kind => {
                diff.entry(path, [Some(&before), None])?;
                diff.entry(path, [None, Some(&after)])?;
            }
            (before, after) => diff.entry(path, [before.as_ref(), after.as_ref()])?,
        }
    }
    Ok(())
}

struct DiffWriter<'a> {
    read: ReadLeft<'a>,
    changed_lines: ChangedLines,
    each: &'a mut dyn FnMut(DiffTone, &[u8]),
}

impl DiffWriter<'_> {
    fn header(&mut self, text: &str) {
        (self.each)(DiffTone::Header, text.as_bytes());
    }

    fn named(&mut self, path: &str, why: &str) {
        let line = format!("only named: {}: {why}", quoted("", path));
        (self.each)(DiffTone::Named, line.as_bytes());
    }

    fn entry(&mut self, path: &str, sides: [Option<&LeftEntry>; 2]) -> Result<(), RecordError> {
        let content = |left: &LeftEntry| (left.entry.sha256, left.entry.target.clone());
        let modes = sides.map(|left| left.map(git_mode));
        let is_same = sides[0].map(content) == sides[1].map(content);
        if is_same && modes[0] == modes[1] {
            return Ok(());
        }
        let mut texts = None;
        if !is_same {
            texts = match self.texts(sides)? {
                Ok(texts) => Some(texts),
                Err(why) => {
                    // Not as a file of the diff: `git apply` would refuse all of them.
                    let end = if sides[1].is_none() { ", removed" } else { SAVED };
                    self.named(path, &format!("{why}{end}"));
                    return Ok(());
                }
            };
        }
        let mut names = ["a/", "b/"].map(|start| quoted(start, path));
        self.header(&format!("diff --git {} {}", names[0], names[1]));
        match modes {
            [None, Some(mode)] => self.header(&format!("new file mode {mode}")),
            [Some(mode), None] => self.header(&format!("deleted file mode {mode}")),
            [Some(old), Some(new)] if old != new => {
                self.header(&format!("old mode {old}"));
                self.header(&format!("new mode {new}"));
            }
            _ => {}
        }
        let Some(texts) = texts else { return Ok(()) };
        let [old, new] = sides.map(content_id);
        let mode = modes[0].filter(|_| modes[0] == modes[1]);
        let mode = mode.map(|mode| format!(" {mode}")).unwrap_or_default();
        self.header(&format!("index {old}..{new}{mode}"));
        for (name, _) in names.iter_mut().zip(sides).filter(|(_, left)| left.is_none()) {
            "/dev/null".clone_into(name);
        }
        self.hunks(&names, &texts);
        Ok(())
    }

    /// Reads the texts of both sides, or returns the reason why their lines are not compared.
    fn texts(
        &self,
        sides: [Option<&LeftEntry>; 2],
    ) -> Result<Result<[Vec<u8>; 2], String>, RecordError> {
        if sides.iter().flatten().any(|left| left.entry.bytes > MAX_TEXT) {
            return Ok(Err(format!("larger than {}", show_size(MAX_TEXT))));
        }
        let [old, new] = sides.map(|left| match left {
            None => Ok(Vec::new()),
            Some(LeftEntry { entry, .. }) if entry.target.is_some() => {
                Ok(entry.target.as_deref().unwrap_or_default().into())
            }
            Some(left) => (self.read)(left),
        });
        let texts = [old?, new?];
        let is_binary =
            texts.iter().any(|text| text.iter().take(BINARY_START).any(|byte| *byte == 0));
        Ok(if is_binary { Err("binary".to_owned()) } else { Ok(texts) })
    }

    fn hunks(&mut self, names: &[String; 2], texts: &[Vec<u8>; 2]) {
        let changes = (self.changed_lines)(&texts[0], &texts[1]);
        for (sign, name) in ["---", "+++"].iter().zip(names).filter(|_| !changes.is_empty()) {
            // `patch` reads a name up to a tab.
            let tab = if name.contains(' ') { "\t" } else { "" };
            self.header(&format!("{sign} {name}{tab}"));
        }
        let [old, new]: [Vec<&[u8]>; 2] =
            [0, 1].map(|side: usize| texts[side].split_inclusive(|byte| *byte == b'\n').collect());
        let is_near = |left: &[Range<u32>; 2], right: &[Range<u32>; 2]| {
            right[0].start - left[0].end <= 2 * CONTEXT
        };
        for group in changes.chunk_by(is_near) {
            let ([first, ..], [.., last]) = (group, group) else { continue };
            let mut at = first[0].start.saturating_sub(CONTEXT);
            let end = (last[0].end + CONTEXT).min(old.len() as u32);
            let (lead, tail) = (first[0].start - at, end - last[0].end);
            let ranges = [at..end, first[1].start - lead..last[1].end + tail].map(hunk_range);
            let head = format!("@@ -{} +{} @@", ranges[0], ranges[1]);
            (self.each)(DiffTone::Hunk, head.as_bytes());
            for [before, after] in group {
                self.lines(DiffTone::Context, &old, at..before.start);
                self.lines(DiffTone::Old, &old, before.clone());
                self.lines(DiffTone::New, &new, after.clone());
                at = before.end;
            }
            self.lines(DiffTone::Context, &old, at..end);
        }
    }

    fn lines(&mut self, tone: DiffTone, lines: &[&[u8]], range: Range<u32>) {
        let sign = match tone {
            DiffTone::Old => b'-',
            DiffTone::New => b'+',
            _ => b' ',
        };
        for line in &lines[range.start as usize..range.end as usize] {
            let end = line.strip_suffix(b"\n");
            (self.each)(tone, &[&[sign], end.unwrap_or(line)].concat());
            if end.is_none() {
                (self.each)(DiffTone::Context, b"\\ No newline at end of file");
            }
        }
    }
}

fn hunk_range(Range { start, end }: Range<u32>) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        count => format!("{},{count}", start + 1),
    }
}

/// Returns the mode that git has for a file or link.
fn git_mode(left: &LeftEntry) -> &'static str {
    match left.entry.kind {
        EntryKind::File if left.entry.mode & 0o100 != 0 => "100755",
        EntryKind::File => "100644",
        _ => "120000",
    }
}

fn content_id(left: Option<&LeftEntry>) -> String {
    let digest = left.map(|left| {
        let target = left.entry.target.as_deref().unwrap_or_default();
        left.entry.sha256.unwrap_or_else(|| runner_model::digest(target.as_bytes()))
    });
    let mut id = digest.map_or_else(|| "0".repeat(SHORT_DIGEST), |digest| digest.to_string());
    id.truncate(SHORT_DIGEST);
    id
}

/// Quotes a path as git does.
fn quoted(start: &str, path: &str) -> String {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if path.as_bytes().iter().all(is_plain) {
        return format!("{start}{path}");
    }
    let quote = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        byte if is_plain(&byte) => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    format!("\"{start}{}\"", path.bytes().map(quote).collect::<String>())
}
