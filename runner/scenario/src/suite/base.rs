//! [`Base`]: a folder that workspaces start as.

use std::collections::HashMap;
use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::{ffi::OsStr, fs, io, sync::Arc};

use runner_files::{Content, TooLarge, TreeReader};
use runner_model::template::{Template, TemplatePiece};
use runner_model::visible::{cut, shown_path};
use runner_model::workspace::{
    EntryKind, MAX_BASE_BYTES, MAX_BASE_ENTRIES, TreeEntry, base_lines, read_base as read_lines,
};
use runner_model::{Digest, tree};
use serde_json::Value;

use crate::keys::files::{check_kind, hash_file};
use crate::project::{Project, Refusal, holds_results, real_path};

/// Characters of a path in a message.
const SHOWN_PATH: usize = 200;

/// A folder that workspaces start as, or the files that a grader puts into them, as they were read.
#[derive(Clone, Debug)]
pub struct Base {
    /// The lines of its entries, whose digest is that of the base.
    pub lines: Arc<[u8]>,
    pub files: Arc<[(Digest, SuiteFile)]>,
}

/// A file as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuiteFile {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Checks that a test chooses a folder below the one that `from` states before its first placeholder: by another one, a record of
/// a list would choose what providers see of the project. `path` is the text of `from`, the value of `key`, for the test.
pub(super) fn check_chosen(key: &str, from: &Template, path: &str) -> Result<(), Refusal> {
    if from.paths().next().is_none() {
        return Ok(());
    }
    let stated = from.pieces().iter().map_while(|piece| match piece {
        TemplatePiece::Text(text) => Some(text.len()),
        TemplatePiece::Path(_) | TemplatePiece::Expression(_) => None,
    });
    let stated = path[..stated.sum()].rfind('/').map_or(0, |slash| slash + 1);
    let (stated, chosen) = path.split_at(stated);
    let mut names = Path::new(chosen).components().peekable();
    let is_visible = |name| match name {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    if names.peek().is_some() && names.all(is_visible) {
        return Ok(());
    }
    let above = match stated {
        "" => "the scenario's folder".to_owned(),
        stated => format!("`{stated}`"),
    };
    let reason = format!("is chosen by its test, and is not a visible folder below {above}");
    let help = format!("state other folders in `{key}`, before its first placeholder");
    Err(Refusal { reason, help: Some(help) })
}

/// Reads the base in a folder of a scenario in `project`, which may have `most` entries. With `is_file_allowed`, a file gives a
/// base whose only entry has an empty path.
pub(super) fn read_base(
    project: &Project,
    folder: &Path,
    is_file_allowed: bool,
    most: usize,
) -> Result<Base, Refusal> {
    project.check_read(folder)?;
    check_kind(folder, |about| about.is_dir() || is_file_allowed && about.is_file())?;
    let real = real_path(folder);
    let is_own = |above: &&Path| **above == *real || above.starts_with(&project.root);
    let mut above = real.ancestors().take_while(is_own);
    if let Some(results) = above.find(|above| holds_results(above)) {
        return Err(format!("is in `{}`, which holds results", shown_path(results)).into());
    }
    if !folder.is_dir() {
        let file = hash_file(folder, MAX_BASE_BYTES)
            .and_then(|hashed| Ok((hashed, fs::metadata(folder)?)))
            .map_err(|error| not_copied("", &error));
        let ((sha256, bytes), about) = file?;
        let content = Content::File { sha256, bytes, mode: about.permissions().mode() };
        let entry = entry(Vec::new(), content).map_err(|error| not_copied("", &error))?;
        let files = [(sha256, SuiteFile { path: folder.to_owned(), bytes })].into();
        return Ok(Base { lines: base_lines(&[entry]).into(), files });
    }
    let reader = TreeReader {
        cache: project.digests.as_deref(),
        most_entries: most,
        most_bytes: MAX_BASE_BYTES,
    };
    let mut results = None;
    let read = reader.read(&real, |path| {
        let path = Path::new(OsStr::from_bytes(path));
        let is_left_out = holds_results(&folder.join(path));
        if is_left_out {
            results.get_or_insert(shown_path(path));
        }
        is_left_out
    });
    if let Some(results) = results {
        return Err(format!("has `{results}/`, which holds results: move them out of it").into());
    }
    let read = read.map_err(|TooLarge(bound)| format!("has {bound}"))?;
    let mut entries = read
        .into_iter()
        .map(|(path, content)| {
            let shown = cut(&shown_path(Path::new(OsStr::from_bytes(&path))), SHOWN_PATH);
            entry(path, content).map_err(|error| not_copied(&shown, &error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let files = entries.iter().filter_map(|entry| {
        Some((entry.sha256?, SuiteFile { path: folder.join(&*entry.path), bytes: entry.bytes }))
    });
    let files = files.collect();
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let links = entries.iter().filter_map(|entry| Some((&*entry.path, &**entry.target.as_ref()?)));
    let links: Vec<_> = links.collect();
    let targets: HashMap<_, _> = links.iter().copied().collect();
    let leaves = |path| !tree::stays(path, |place| targets.get(place).copied());
    if let Some((path, target)) = links.iter().find(|(path, _)| leaves(path)) {
        let reason =
            format!("has the link `{path}` to `{target}`, which leads out of it or in a circle");
        let help = "use relative links within the folder, or files in their place".to_owned();
        return Err(Refusal { reason, help: Some(help) });
    }
    Ok(Base { lines: base_lines(&entries).into(), files })
}

/// Returns the base that has each of these at a path, in place of an empty one. `None` if it has more than `most` entries.
pub(super) fn merge(parts: &[(String, Base)], most: usize) -> serde_json::Result<Option<Base>> {
    let mut entries = Vec::new();
    for (place, base) in parts {
        let inner = read_lines(&base.lines)?;
        if inner.first().is_none_or(|entry| !entry.path.is_empty()) {
            entries.push(folder_entry(place.clone()));
        }
        entries.extend(inner.into_iter().map(|entry| {
            let path = match &*entry.path {
                "" => place.clone(),
                path => format!("{place}/{path}"),
            };
            TreeEntry { path: path.into(), ..entry }
        }));
    }
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let files = parts.iter().flat_map(|(_, base)| base.files.iter().cloned()).collect();
    Ok((entries.len() <= most).then(|| Base { lines: base_lines(&entries).into(), files }))
}

/// Reads a folder as the base of a call outside a scenario.
///
/// # Errors
///
/// A message about a folder that cannot be a base.
pub fn read_folder(folder: &Path) -> Result<Base, String> {
    let project = Project::new(folder, &Value::Null);
    read_base(&project, folder, false, MAX_BASE_ENTRIES).map_err(|Refusal { reason, help }| {
        let help: String = help.iter().map(|help| format!("\n{help}")).collect();
        format!("`{}` {reason}{help}", shown_path(folder))
    })
}

fn not_copied(path: &str, error: &io::Error) -> String {
    match path {
        "" => format!("cannot be copied: {error}"),
        path => format!("has `{path}`, which cannot be copied: {error}"),
    }
}

fn entry(path: Vec<u8>, content: Content) -> io::Result<TreeEntry<'static>> {
    let utf8 = |bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::other("its name or target is not UTF-8"))
    };
    let entry = folder_entry(utf8(path)?);
    match content {
        Content::Folder => Ok(entry),
        Content::File { sha256, bytes, mode } => {
            // As git has them: the others depend on the mask of the user who made a copy of the project.
            let mode = 0o444 | mode & 0o200 | if mode & 0o100 == 0 { 0 } else { 0o111 };
            Ok(TreeEntry { kind: EntryKind::File, mode, bytes, sha256: Some(sha256), ..entry })
        }
        Content::Link(target) => {
            Ok(TreeEntry { kind: EntryKind::Link, target: Some(utf8(target)?.into()), ..entry })
        }
        Content::Special => Err(io::Error::other("it is not a regular file")),
        Content::Unreadable(error) => Err(error),
    }
}

fn folder_entry(path: String) -> TreeEntry<'static> {
    let kind = EntryKind::Folder;
    TreeEntry { path: path.into(), kind, mode: 0, bytes: 0, sha256: None, target: None }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    use runner_model::workspace::MAX_BASE_ENTRIES;
    use serde_json::Value;

    use super::{merge, read_base, read_lines};
    use crate::project::Project;

    #[test]
    fn base_is_the_same_under_any_mask() {
        let base = |masked: u32| {
            let folder = tempfile::tempdir().unwrap();
            for (name, mode) in [("file", 0o666), ("script", 0o777), ("fixed", 0o444)] {
                let mut options = OpenOptions::new();
                options.write(true).create(true).mode(0o600);
                let file = options.open(folder.path().join(name)).unwrap();
                file.set_permissions(Permissions::from_mode(mode & !masked)).unwrap();
            }
            let project = Project::new(folder.path(), &Value::Null);
            let read = read_base(&project, folder.path(), false, 3);
            let read = read.map_err(|refusal| refusal.reason).unwrap();
            let modes: Vec<_> =
                read_lines(&read.lines).unwrap().iter().map(|entry| entry.mode).collect();
            assert_eq!(modes, [0o644, 0o444, 0o755]);
        };
        [0o022, 0o077, 0o002, 0o027].into_iter().for_each(base);
    }

    #[test]
    fn bytes_of_all_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sparse");
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        let project = Project::new(folder.path(), &Value::Null);
        let read = |path| read_base(&project, path, true, 9).map_err(|error| error.reason);
        let refused = read(folder.path()).map(drop).unwrap_err();
        assert_eq!(refused, "has files of more than 64 GiB together");
        let refused = read(&file).map(drop).unwrap_err();
        assert_eq!(refused, "cannot be copied: it has more than 64 GiB");
    }

    #[test]
    fn entries_of_all_folders_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/x"), "").unwrap();
        fs::write(folder.path().join("a/b/y"), "").unwrap();
        let project = Project::new(folder.path(), &Value::Null);
        let read =
            |most| read_base(&project, folder.path(), false, most).map_err(|error| error.reason);
        assert_eq!(read(4).map(|base| base.files.len()).ok(), Some(2));
        let message = "has more than 3 files, folders and links";
        assert_eq!(read(3).map(drop), Err(message.to_owned()));
        assert!(read(MAX_BASE_ENTRIES).is_ok());
        let parts = [("t".to_owned(), read(4).unwrap()), ("u/v".to_owned(), read(4).unwrap())];
        assert!(merge(&parts, 9).unwrap().is_none());
        assert_eq!(merge(&parts, 10).unwrap().map(|base| base.files.len()), Some(4));
    }
}
