//! Files that a scenario names, one by one ([`NamedFile`]) or by globs ([`ListFiles`]).

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::{borrow::Cow, collections::BTreeSet, os::unix::fs::MetadataExt, path::Path};

use globset::GlobSet;
use runner_files::{hash, open_regular};
use runner_model::{Digest, globs, units::show_size, visible::shown_path};
use serde_json::Value;

use crate::project::{Refusal, holds_results};
use crate::reading::{At, FILE_GLOB, FileOwner, Form, Reader, TEXT, files_beside};

/// A file or folder: its noun for messages, a check of its kind, and its place. Must exist if the reader has a project.
pub(crate) struct NamedFile(
    pub(crate) &'static str,
    pub(crate) fn(&Metadata) -> bool,
    pub(crate) FilePlace,
);

/// The places at which a file may be.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum FilePlace {
    /// Any place: a plugin is a WebAssembly file, or else refused.
    Any,
    /// The place that the text states: no link may lead out of the project.
    Stated,
    /// The project and `reads` of `[run]`, since the file is read.
    Readable,
}

impl Form for NamedFile {
    type Out = String;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<String> {
        let file = TEXT.read(at, value, reader)?;
        let Some(project) = reader.project else { return Some(file) };
        let (Self(noun, is_expected, place), path) = (self, project.base.join(&file));
        let checked = match place {
            FilePlace::Any => Ok(()),
            FilePlace::Stated => project.check_link(&file),
            FilePlace::Readable => project.check_read(&path),
        };
        // A placeholder of an invalid matrix is not a name, and a bundled plugin not a file.
        let is_elsewhere =
            file.contains("{{") || *place == FilePlace::Any && file.starts_with("bundled:");
        let refusal = match checked.map(|()| check_kind(&path, is_expected)) {
            Err(refusal) => refusal,
            Ok(Err(reason)) if !is_elsewhere => {
                let near = files_beside(&path, &project.base).filter(|_| !path.exists());
                let shown = match display_path(&path) {
                    shown if shown == file => "looked in its folder".into(),
                    shown => format!("this is {shown}"),
                };
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                let help = format!("paths are relative to the scenario: {shown}{near}");
                Refusal { reason, help: Some(help) }
            }
            Ok(_) => return Some(file),
        };
        reader.refuse_file(at, &format!("{noun} `{file}`"), refusal, "here");
        Some(file)
    }

    fn schema(&self) -> Value {
        TEXT.schema()
    }
}

/// Checks the kind of a file or folder.
///
/// # Errors
///
/// The path has another kind, or is missing or unreadable, as the rest of a sentence.
pub fn check_kind(path: &Path, is_expected: impl Fn(&Metadata) -> bool) -> Result<(), String> {
    Err(match fs::metadata(path) {
        Ok(metadata) if is_expected(&metadata) => return Ok(()),
        Ok(metadata) if metadata.is_dir() => "is a folder".to_owned(),
        Ok(metadata) if metadata.is_file() => "is a file".to_owned(),
        Ok(_) => "is neither a file nor a folder".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("is unreadable: {error}"),
    })
}

/// The format of a test list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// A JSON object on each line.
    Lines,
    /// A header, and a record for each test.
    Csv,
    /// An array of objects.
    Json,
    /// Tables `[[tests]]`.
    Toml,
    /// The file is a record. Only a list with `format = "file"` has such files.
    File,
}

impl ListFormat {
    /// Returns the format by the end of a file's name. `None` if the file is not a test list.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match Path::new(name).extension()?.to_str()? {
            "jsonl" => Some(Self::Lines),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// A glob over the data files of a test list. The output is the names it matches, or `None` if the reader has no folder.
#[derive(Clone, Copy)]
pub(crate) struct ListFiles {
    /// Whether the glob may match nothing.
    pub(crate) is_optional: bool,
    /// Whether each file is a record, so that files may have any name.
    pub(crate) has_any_name: bool,
}

impl Form for ListFiles {
    type Out = BTreeSet<String>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let glob = FILE_GLOB.read(at, value, reader)?;
        let names = find_matches(&glob, "test list", at, reader)?;
        if let Some((owner, _)) = reader.missing_files.last_mut()
            && names.is_empty()
            && self.is_optional
        {
            *owner = FileOwner::Optional;
        }
        let is_refused =
            |name: &&String| !self.has_any_name && ListFormat::from_name(name).is_none();
        for name in names.iter().filter(is_refused) {
            let message = format!("`{name}` is not a test list");
            let help = "a test list ends in `.jsonl`, `.json`, `.csv` or `.toml`; with `format = \"file\"`, each file is a test".to_owned();
            reader.refuse(at, message, "matched").help = Some(help);
        }
        Some(names)
    }

    fn schema(&self) -> Value {
        FILE_GLOB.schema()
    }
}

/// Returns the files that a glob matches, relative to the scenario. Reports a glob without a match. `noun` is for messages. `None`
/// if the reader has no project, or if the search fails or leads out of the project.
pub(super) fn find_matches(
    glob: &str,
    noun: &str,
    at: &At<'_>,
    reader: &mut Reader<'_>,
) -> Option<BTreeSet<String>> {
    let project = reader.project?;
    project.add_glob(glob);
    let folder = &*project.base;
    // Before the search: its messages would show names in folders outside of the project.
    let searched = folder.join(searched(glob));
    if let Err(refusal) = project.check(&searched, false) {
        reader.refuse_file(at, &format!("{noun} `{glob}`"), refusal, "this glob");
        return None;
    }
    // As with brackets, a folder stands for all below it.
    let is_folder = !glob.contains(is_wildcard) && folder.join(glob).is_dir();
    let all_below = is_folder.then(|| format!("{}/**", glob.trim_end_matches('/')));
    if let Some(glob) = &all_below {
        project.add_glob(glob);
    }
    let glob = all_below.as_deref().unwrap_or(glob);
    let names = match find(folder, glob) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("the search for `{glob}` failed: {error}");
            reader.refuse(at, message, "this glob");
            return None;
        }
    };
    let refused =
        names.iter().find_map(|name| Some((name, project.check_read(&folder.join(name)).err()?)));
    if let Some((name, refusal)) = refused {
        reader.refuse_file(at, &format!("{noun} `{name}`"), refusal, "matched");
        return None;
    }
    if names.is_empty() {
        let near = files_beside(&folder.join(glob), folder)
            .filter(|_| !glob.contains(is_wildcard) && !folder.join(glob).exists());
        let help = near.unwrap_or_else(|| {
            let searched = if glob.contains(is_wildcard) { &*searched } else { folder };
            let searched = shown_path(Path::new(&*display_path(searched)));
            format!("globs are relative to the scenario; the search was in `{searched}`")
        });
        let message = match fs::metadata(folder.join(glob)) {
            Ok(metadata) if metadata.is_file() => format!(
                "no file matches `{glob}`; for the file of this name, write `\\\\` for each `\\`"
            ),
            _ => format!("no file matches `{glob}`"),
        };
        reader.refuse(at, message, "no match").help = Some(help);
        reader.defer_missing_file(at);
    }
    Some(names)
}

/// Returns the part of a glob that is a path: the folder in which [`find`] searches, or the file.
pub(crate) fn searched(glob: &str) -> &str {
    let Some(first_wildcard) = glob.find(is_wildcard) else { return glob };
    glob[..first_wildcard].rfind('/').map_or("", |slash| &glob[..=slash])
}

/// Returns a path as the user would write it, without `./`.
pub(crate) fn display_path(path: &Path) -> Cow<'_, str> {
    match path.strip_prefix(".") {
        Ok(rest) if rest != Path::new("") => rest.to_string_lossy(),
        _ => path.to_string_lossy(),
    }
}

/// Finds the regular files that match `glob`, sorted. Names start as the glob does.
///
/// Hidden files and folders match only if a name in the glob has a dot at its start. Folders with results are not searched
/// unless the glob starts with their path. Follows links, except those to a folder above them.
///
/// # Errors
///
/// A folder that may have matches is unreadable, or a match is a broken link or has a name that is not UTF-8.
fn find(folder: &Path, glob: &str) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if !glob.contains(is_wildcard) {
        let path = folder.join(glob);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                names.insert(glob.to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
            Err(error) => return Err(error),
        }
        return Ok(names);
    }
    let (base, pattern) = glob.split_at(searched(glob).len());
    let root = folder.join(base);
    if !root.is_dir() {
        return Ok(names);
    }
    // An alternative such as `{a,b/c}` may contain a slash, and so may a set, so only the parts before it are names.
    let is_name = |part: &&str| {
        !part.contains("**") && !part.contains('{') && part.contains('[') == part.contains(']')
    };
    let parts = pattern.split('/').take_while(is_name);
    let levels: Vec<_> = parts.map_while(|part| globs::over_files(&[part]).ok()).collect();
    // A path without wildcards has all files below it, too.
    let is_plain = levels.len() == pattern.split('/').count() && pattern.contains(['*', '?']);
    let mut search = Search {
        matcher: globs::over_files(&[pattern]).map_err(io::Error::other)?,
        includes_hidden: pattern.split('/').any(|part| part.starts_with('.')),
        depth: if is_plain { levels.len() } else { usize::MAX },
        levels,
        names,
        base,
    };
    search.folder(&root, Path::new(""), &[identity(&root)?])?;
    Ok(search.names)
}

/// Returns whether a character has a special meaning in globs.
pub(crate) fn is_wildcard(character: char) -> bool {
    ['*', '?', '[', '{', '\\'].contains(&character)
}

struct Search<'g> {
    matcher: GlobSet,
    includes_hidden: bool,
    /// The greatest number of names in a matching path.
    depth: usize,
    /// Patterns of the first names in a matching path.
    levels: Vec<GlobSet>,
    /// The part of the glob before the pattern.
    base: &'g str,
    names: BTreeSet<String>,
}

impl Search<'_> {
    /// Searches a folder. `inside` is its path below the root; `above` identifies it and the folders it was reached through.
    fn folder(&mut self, folder: &Path, inside: &Path, above: &[(u64, u64)]) -> io::Result<()> {
        let unreadable = |path: &Path, error: &io::Error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", display_path(path)))
        };
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let name = entry.map_err(|error| unreadable(folder, &error))?.file_name();
            if name.as_encoded_bytes().starts_with(b".") && !self.includes_hidden {
                continue;
            }
            let path = folder.join(&name);
            let relative = inside.join(&name);
            let is_match = self.matcher.is_match(&relative);
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if is_match => return Err(unreadable(&path, &error)),
                Err(_) => continue,
            };
            if metadata.is_file() && is_match {
                let relative = relative.to_str().ok_or_else(|| {
                    io::Error::other(format!("the name of `{}` is not UTF-8", display_path(&path)))
                })?;
                self.names.insert(format!("{}{relative}", self.base));
            } else if metadata.is_dir() && above.len() < self.depth && !holds_results(&path) {
                let level = self.levels.get(above.len() - 1);
                let identity = (metadata.dev(), metadata.ino());
                // A link to a folder above would be followed for ever.
                if level.is_none_or(|level| level.is_match(&name)) && !above.contains(&identity) {
                    self.folder(&path, &relative, &[above, &[identity]].concat())?;
                }
            }
        }
        Ok(())
    }
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Returns the digest and the length of a file. Fails if it has more than `most` bytes.
pub(crate) fn hash_file(path: &Path, most: u64) -> io::Result<(Digest, u64)> {
    let too_large = || io::Error::other(format!("it has more than {}", show_size(most)));
    let file = open_regular(path)?;
    // A sparse file may have a length that takes days to read.
    if file.metadata()?.len() > most {
        return Err(too_large());
    }
    // Others grow while they are read, or have no length, as in some file systems.
    let (digest, bytes) = hash(file.take(most.saturating_add(1)), io::sink())?;
    if bytes > most { Err(too_large()) } else { Ok((digest, bytes)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    use std::{ffi::OsStr, fs};

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
            "[b]/x.jsonl",
            "[[...b]]/x.jsonl",
        ] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    fn found(directory: &tempfile::TempDir, glob: &str) -> Vec<String> {
        find(directory.path(), glob).unwrap().into_iter().collect()
    }

    #[test]
    fn one_star_stays_in_its_folder() {
        let directory = tree();
        for (glob, names) in [
            ("*.jsonl", &["a.jsonl"][..]),
            (
                "**/*.jsonl",
                &["[[...b]]/x.jsonl", "[b]/x.jsonl", "a.jsonl", "b/a.jsonl", "b/c/d.jsonl"],
            ),
            ("b/**/*.jsonl", &["b/a.jsonl", "b/c/d.jsonl"]),
            ("b/../*/*.txt", &["b/../b/note.txt"]),
            ("{a,b/a}.jsonl", &["a.jsonl", "b/a.jsonl"]),
            ("b/.h*", &["b/.hidden.jsonl"]),
            ("none/*.jsonl", &[]),
            ("b", &[]),
            ("b/a.jsonl", &["b/a.jsonl"]),
            ("[b]/*.jsonl", &["[b]/x.jsonl", "b/a.jsonl"]),
            ("[[...b]]/*.jsonl", &["[[...b]]/x.jsonl"]),
            ("[b]", &["[b]/x.jsonl", "b/a.jsonl", "b/c/d.jsonl", "b/note.txt"]),
            ("{none,b/c}", &["b/c/d.jsonl"]),
        ] {
            assert_eq!(found(&directory, glob), names, "{glob}");
        }
    }

    #[test]
    fn circular_links_are_followed_once() {
        let directory = tree();
        symlink("..", directory.path().join("b/up")).unwrap();
        symlink("c", directory.path().join("b/again")).unwrap();
        assert_eq!(found(&directory, "**/d.jsonl"), ["b/again/d.jsonl", "b/c/d.jsonl"]);
    }

    #[test]
    fn only_possible_matches_are_errors() {
        let directory = tree();
        let error = |glob: &str| find(directory.path(), glob).err().map(|error| error.to_string());
        symlink("nowhere", directory.path().join("b/lost.csv")).unwrap();
        // A name longer than any file system allows, which makes it unreadable for every user.
        symlink("x".repeat(300), directory.path().join("b/long.csv")).unwrap();
        fs::write(directory.path().join(OsStr::from_bytes(b"\xff.toml")), "").unwrap();
        fs::create_dir(directory.path().join(OsStr::from_bytes(b"\xff"))).unwrap();
        for glob in ["*.jsonl", "**/*.jsonl", "b/l*.jsonl", "c*/*.csv", "?.jsonl"] {
            assert_eq!(error(glob), None, "{glob}");
        }
        for (glob, says) in [
            ("b/lost*", "lost.csv"),
            ("**/long*", "long.csv"),
            ("*.toml", "not UTF-8"),
            ("**/*.toml", "not UTF-8"),
        ] {
            assert!(error(glob).unwrap().contains(says), "{glob}");
        }
    }
}
