//! Finds the files that a scenario names.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use walkdir::{DirEntry, WalkDir};

use super::globs;

/// A data file of a test list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListFile {
    /// Relative to the scenario, as the glob writes it.
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) format: ListFormat,
}

/// How a data file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListFormat {
    JsonLines,
    Json,
    Csv,
    Toml,
}

impl ListFormat {
    /// Tells a file's format by its extension.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "jsonl" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// The folder that the paths in a scenario are relative to.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What a glob matches.
#[derive(Debug, Default)]
pub(super) struct GlobFiles {
    /// The files, sorted; their names are as the glob writes them.
    pub(super) names: BTreeSet<String>,
    /// The folders that were searched: a file that is put there may match as well.
    pub(super) folders: BTreeSet<PathBuf>,
}

/// Finds the files that match `glob`.
///
/// Hidden files and folders match only where the glob writes their dot.
pub(super) fn find(directory: &Path, glob: &str) -> io::Result<GlobFiles> {
    let mut found = GlobFiles::default();
    let first_wildcard = glob.find(['*', '?', '[', '{', '\\']);
    let Some(first_wildcard) = first_wildcard else {
        if directory.join(glob).is_file() {
            found.names.insert(glob.to_owned());
        }
        return Ok(found);
    };

    let (base, pattern) = match glob[..first_wildcard].rfind('/') {
        Some(slash) => glob.split_at(slash + 1),
        None => ("", glob),
    };
    let matcher = globs::over_files(pattern)
        .map_err(io::Error::other)?
        .compile_matcher();
    let root = directory.join(base);
    found.folders.insert(root.clone());
    if !root.is_dir() {
        return Ok(found);
    }

    let wants_hidden = pattern.split('/').any(|part| part.starts_with('.'));
    let depth = depth(pattern);
    let entries = WalkDir::new(&root)
        .min_depth(1)
        .max_depth(depth)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| wants_hidden || !is_hidden(entry));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            // A link to a folder above it, or to nothing, holds no further file.
            Err(error) if is_harmless(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        let relative = entry
            .path()
            .strip_prefix(&root)
            .expect("the walk began there");
        if entry.file_type().is_file() && matcher.is_match(relative) {
            let relative = relative.to_str().ok_or_else(|| {
                io::Error::other(format!("the name of {} is not UTF-8", relative.display()))
            })?;
            found.names.insert(format!("{base}{relative}"));
        } else if entry.file_type().is_dir() && entry.depth() < depth {
            found.folders.insert(entry.into_path());
        }
    }
    Ok(found)
}

fn depth(pattern: &str) -> usize {
    // An alternative such as `{a,b/c}` may hide a slash, so only plain patterns have a known depth.
    if pattern.contains("**") || pattern.contains('{') {
        return usize::MAX;
    }
    pattern.split('/').count()
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_harmless(error: &walkdir::Error) -> bool {
    let is_dangling = error.depth() > 0
        && error
            .io_error()
            .is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    error.loop_ancestor().is_some() || is_dangling
}

#[cfg(test)]
mod tests {
    use super::find;

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in [
            "a.jsonl",
            "b/a.jsonl",
            "b/c/d.jsonl",
            "b/.hidden.jsonl",
            ".git/x.jsonl",
            "b/note.txt",
        ] {
            let path = directory.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        directory
    }

    fn found(directory: &tempfile::TempDir, glob: &str) -> Vec<String> {
        let found = find(directory.path(), glob).unwrap();
        found.names.into_iter().collect()
    }

    #[test]
    fn the_folders_are_told_in_which_a_new_file_would_match() {
        let directory = tree();
        let root = directory.path();
        for (glob, expected) in [
            ("a.jsonl", &[][..]),
            ("*.jsonl", &["."]),
            ("*/*.jsonl", &[".", "b"]),
            ("**/*.jsonl", &[".", "b", "b/c"]),
            ("b/*.jsonl", &["b"]),
            ("none/*.jsonl", &["none"]),
            (".*/*.jsonl", &[".", ".git", "b"]),
        ] {
            let found = find(root, glob).unwrap().folders;
            let expected = expected.iter().map(|name| root.join(name)).collect();
            assert_eq!(found, expected, "{glob}");
        }
    }

    #[test]
    fn one_star_stays_in_its_folder_and_two_do_not() {
        let directory = tree();
        assert_eq!(found(&directory, "*.jsonl"), ["a.jsonl"]);
        assert_eq!(
            found(&directory, "**/*.jsonl"),
            ["a.jsonl", "b/a.jsonl", "b/c/d.jsonl"]
        );
        assert_eq!(
            found(&directory, "b/**/*.jsonl"),
            ["b/a.jsonl", "b/c/d.jsonl"]
        );
        assert_eq!(found(&directory, "b/../*/*.txt"), ["b/../b/note.txt"]);
        assert_eq!(found(&directory, "{a,b/a}.jsonl"), ["a.jsonl", "b/a.jsonl"]);
        assert_eq!(found(&directory, "b/.h*"), ["b/.hidden.jsonl"]);
        assert_eq!(found(&directory, "none/*.jsonl"), [""; 0]);
        assert_eq!(found(&directory, "b"), [""; 0]);
    }

    #[test]
    fn links_that_go_round_in_circles_do_no_harm() {
        let directory = tree();
        std::os::unix::fs::symlink("..", directory.path().join("b/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("b/lost")).unwrap();
        assert_eq!(found(&directory, "**/d.jsonl"), ["b/c/d.jsonl"]);
    }
}
