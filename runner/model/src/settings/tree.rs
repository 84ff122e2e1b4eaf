//! [`Tree`]: the files of a workspace after its attempt, rebuilt from its base and its changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::visible::{cut, steers, visible_line};
use crate::workspace::{
    Change, ChangeKind, EntryKind, MAX_CHANGE_BYTES, MAX_CHANGES, TreeEntry, read_base,
};
use crate::{Digest, Text};

/// Bytes of a path or a target with the zero at its end. Systems accept no longer ones.
pub const MAX_PATH_BYTES: usize = 4096;
/// Characters of a path in a message.
const SHOWN_PATH: usize = 200;
/// Links on the way of a path. Linux follows no more.
const MAX_LINKS: usize = 40;
/// Maximum number of names on the way of a link. Without it, targets such as `a/../a/../…` would take minutes.
const MAX_NAMES: usize = 1000;

/// The files of a workspace after its attempt. Lists of both may be those of another user's run, so the paths are checked: each
/// stays in the workspace, and its parent is a folder of the tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// By path, so that a folder comes before its entries.
    pub entries: BTreeMap<String, LeftEntry>,
    /// Sorted by path.
    pub changes: Vec<PathChange>,
}

/// An entry of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftEntry {
    pub entry: TreeEntry<'static>,
    /// Offset of a file's content in the contents of the changes. `None` for content of the base, which is a blob.
    pub at: Option<u64>,
}

/// A path that differs from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    pub path: String,
    pub change: ChangeKind,
    /// The kind now. That of the base if it was removed.
    pub kind: EntryKind,
    /// The entry of the base. Also `None` if a secret was removed from its path.
    pub before: Option<LeftEntry>,
    pub after: Option<LeftEntry>,
}

impl Tree {
    /// Applies changes to a base. Both are lines of JSON, and empty without entries.
    ///
    /// # Errors
    ///
    /// A line that is not an entry or a change, or entries that no folder can have.
    pub fn rebuild(base: &[u8], changes: &[u8]) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut known = HashSet::new();
        for entry in read_base(base).map_err(|error| format!("the base: {error}"))? {
            let left = LeftEntry::new(entry, None)?;
            known.extend(left.entry.sha256);
            tree.entries.insert((*left.entry.path).to_owned(), left);
        }
        let lines = changes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut paths = HashSet::new();
        for line in lines.take(MAX_CHANGES) {
            let read: serde_json::Result<Change<'_>> = serde_json::from_slice(line);
            let change = read.map_err(|error| format!("the changes: {error}"))?;
            if !paths.insert(change.path.to_string()) {
                return Err(problem(&change.path, "has two changes"));
            }
            tree.apply(change, &known)?;
        }
        tree.add_folders()?;
        Ok(tree)
    }

    /// Applies a change. `known` are the contents of the base.
    fn apply(&mut self, change: Change<'_>, known: &HashSet<Digest>) -> Result<(), String> {
        let Change { path, change, kind, mode, bytes, sha256, at, target } = change;
        let key = (*path).to_owned();
        check_path(&key)?;
        let (before, after) = if change == ChangeKind::Removed {
            (self.entries.remove(&key), None)
        } else {
            let left = LeftEntry::new(TreeEntry { path, kind, mode, bytes, sha256, target }, at)?;
            if at.is_none() && left.entry.sha256.is_some_and(|sha256| !known.contains(&sha256)) {
                return Err(problem(&key, "has content that was not kept"));
            }
            (self.entries.insert(key.clone(), left.clone()), Some(left))
        };
        self.changes.push(PathChange { path: key, change, kind, before, after });
        Ok(())
    }

    /// Adds folders that have entries and are in no list. Secrets may have been removed from a part of the paths.
    fn add_folders(&mut self) -> Result<(), String> {
        let mut missing = BTreeSet::new();
        let mut bytes = 0;
        for path in self.entries.keys() {
            let mut path = &**path;
            while let Some((parent, _)) = path.rsplit_once('/') {
                match self.entries.get(parent) {
                    Some(left) if left.entry.kind == EntryKind::Folder => break,
                    Some(_) => return Err(problem(path, "is not in a folder")),
                    // So are the folders above it.
                    None if !missing.insert(parent.to_owned()) => break,
                    None => bytes += parent.len() as u64,
                }
                if bytes > MAX_CHANGE_BYTES {
                    return Err(problem(path, "is in too many folders"));
                }
                path = parent;
            }
        }
        for path in missing {
            self.entries.insert(path.clone(), LeftEntry::folder(path));
        }
        Ok(())
    }

    /// Returns whether a link leads to a place in the tree, also by way of other links.
    pub fn stays(&self, link: &str) -> bool {
        stays(link, |place| self.entries.get(place)?.entry.target.as_deref())
    }

    /// Returns the entries that decide which programs `git status` runs, each with the entry of the base that is safe in its
    /// place: changes in a folder such as `.git` or in a bare repository of the base, and the `HEAD` that makes a folder a bare
    /// repository.
    /// Unless `is_own`, the base is another user's, and its own entries of these kinds are returned, too.
    pub fn repositories(&self, is_own: bool) -> BTreeMap<&str, Option<&LeftEntry>> {
        let mut folders = BTreeMap::<&str, (u8, Vec<&str>)>::new();
        for (path, left) in &self.entries {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let part = match &*name.to_ascii_lowercase() {
                "head" if left.entry.kind != EntryKind::Folder => 0b1,
                "objects" => 0b10,
                "refs" => 0b100,
                // `commondir` names the folder that has both.
                "commondir" => 0b110,
                _ => continue,
            };
            let (parts, heads) = folders.entry(folder).or_default();
            *parts |= part;
            heads.extend((part == 0b1).then_some(&**path));
        }
        let changes = self.changes.iter().map(|change| (&*change.path, change.before.as_ref()));
        let before: HashMap<_, _> = changes.filter(|_| is_own).collect();
        let (mut own, mut heads) = (Vec::new(), HashSet::new());
        for (folder, (_, names)) in folders.into_iter().filter(|(_, (parts, _))| *parts == 0b111) {
            if is_own && names.iter().any(|name| before.get(name).is_none_or(Option::is_some)) {
                own.push(if folder.is_empty() { String::new() } else { format!("{folder}/") });
            } else {
                heads.extend(names);
            }
        }
        let decides = |path: &str| {
            path.split(['/', '\\']).any(is_repository)
                || heads.contains(path)
                || own.iter().any(|folder| path.starts_with(folder))
        };
        let paths = self.entries.keys().map(|path| (&**path, before.get(&**path)));
        let changed = paths.filter(|(_, before)| !is_own || before.is_some());
        let decisive = changed.filter(|(path, _)| decides(path));
        decisive.map(|(path, before)| (path, before.copied().flatten())).collect()
    }
}

impl LeftEntry {
    /// Checks an entry.
    fn new(entry: TreeEntry<'_>, at: Option<u64>) -> Result<Self, String> {
        let TreeEntry { path, kind, mode, bytes, sha256, target } = entry;
        check_path(&path)?;
        let is_entry = match (kind, sha256, &target) {
            (EntryKind::Folder, None, None) | (EntryKind::File, Some(_), None) => true,
            (EntryKind::Link, None, Some(target)) => !target.is_empty() && fits(target),
            _ => false,
        };
        if !is_entry {
            return Err(problem(&path, "is not an entry of a folder"));
        }
        let (path, target) = (path.into_owned(), target.map(Text::into_owned));
        let entry = TreeEntry { path, kind, mode: mode & 0o777, bytes, sha256, target };
        Ok(Self { entry, at })
    }

    fn folder(path: String) -> Self {
        let (path, kind) = (path.into(), EntryKind::Folder);
        let entry = TreeEntry { path, kind, mode: 0, bytes: 0, sha256: None, target: None };
        Self { entry, at: None }
    }
}

/// Returns whether a link leads to a place in its tree, also by way of other links. The place need not exist. `target` returns the
/// target of a link by its path.
pub fn stays<'t>(link: &'t str, target: impl Fn(&str) -> Option<&'t str>) -> bool {
    let (mut place, mut left) = (String::new(), vec![link]);
    let (mut links, mut names) = (0, 0);
    while let Some(path) = left.pop() {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        left.extend((!rest.is_empty()).then_some(rest));
        names += 1;
        let parent = place.len();
        match name {
            _ if names > MAX_NAMES => return false,
            "" | "." => continue,
            ".." if place.is_empty() => return false,
            ".." => {
                place.truncate(place.rfind('/').unwrap_or(0));
                continue;
            }
            name if place.is_empty() => place.push_str(name),
            name => place.extend(["/", name]),
        }
        if let Some(target) = target(&place) {
            links += 1;
            if target.starts_with('/') || links > MAX_LINKS {
                return false;
            }
            place.truncate(parent);
            left.push(target);
        }
    }
    true
}

/// Returns whether version control reads a configuration from an entry of this name, which may name programs. A file system may
/// ignore case, invisible characters and the end of a name, as git does.
pub fn is_repository(name: &str) -> bool {
    let is_ignored = |letter: &char| steers(*letter) || matches!(letter, '\u{200c}' | '\u{200d}');
    let name: String = name.chars().filter(|letter| !is_ignored(letter)).collect();
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    matches!(&*name.to_ascii_lowercase(), ".git" | "git~1" | ".hg" | ".jj")
}

fn fits(text: &str) -> bool {
    text.len() < MAX_PATH_BYTES && !text.contains('\0')
}

/// Checks that a path leads to a place below its folder.
///
/// # Errors
///
/// A message with the path, whose characters are visible.
pub fn check_path(path: &str) -> Result<(), String> {
    let is_name = |name| !matches!(name, "" | "." | "..");
    let is_path = fits(path) && path.split('/').all(is_name);
    if is_path { Ok(()) } else { Err(problem(path, "is not a path in a workspace")) }
}

fn problem(path: &str, problem: &str) -> String {
    format!("`{}` {problem}", visible_line(&cut(path, SHOWN_PATH)))
}

#[cfg(test)]
mod tests {
    use super::Tree;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn base() -> String {
        format!(
            r#"{{"path":"a","kind":"folder"}}
{{"path":"a/f","kind":"file","mode":420,"bytes":1,"sha256":"{ONE}"}}
{{"path":"a/l","kind":"link","target":"../g"}}
{{"path":"g","kind":"file","mode":493,"sha256":"{ONE}"}}
"#
        )
    }

    fn change(path: &str, keys: &str) -> String {
        format!("{{\"path\":\"{path}\",{keys}}}\n")
    }

    #[test]
    fn changes_apply_to_the_base() {
        let lines = [
            change("a", r#""change":"changed","kind":"link","target":"g""#),
            change("a/f", r#""change":"removed","kind":"file""#),
            change("a/l", r#""change":"removed","kind":"link""#),
            change(
                "new",
                &format!(r#""change":"added","kind":"file","mode":2541,"sha256":"{TWO}","at":0"#),
            ),
            change("old", &format!(r#""change":"added","kind":"file","sha256":"{ONE}""#)),
        ];
        let tree = Tree::rebuild(base().as_bytes(), lines.concat().as_bytes()).unwrap();
        let paths: Vec<_> = tree.entries.keys().collect();
        assert_eq!(paths, ["a", "g", "new", "old"]);
        assert_eq!(tree.entries["new"].entry.mode, 0o755);
        let sides = tree.changes.iter().map(|one| (one.before.is_some(), one.after.is_some()));
        let sides: Vec<_> = sides.collect();
        assert_eq!(
            sides,
            [(true, true), (true, false), (true, false), (false, true), (false, true)]
        );
    }

    #[test]
    fn folders_of_redacted_paths_are_added() {
        let lines =
            change("x/y/***", &format!(r#""change":"added","kind":"file","sha256":"{ONE}""#));
        let tree = Tree::rebuild(base().as_bytes(), lines.as_bytes()).unwrap();
        assert!(tree.entries.contains_key("x") && tree.entries.contains_key("x/y"));
    }

    #[test]
    fn paths_and_contents_out_of_the_tree_are_refused() {
        let file = format!(r#""change":"added","kind":"file","sha256":"{ONE}""#);
        for (line, problem) in [
            (change("../x", &file), "`../x` is not a path in a workspace"),
            (change("/x", &file), "`/x` is not a path in a workspace"),
            (change("a//x", &file), "`a//x` is not a path in a workspace"),
            (change("a/./x", &file), "`a/./x` is not a path in a workspace"),
            (
                change("../x", r#""change":"removed","kind":"file""#),
                "`../x` is not a path in a workspace",
            ),
            (change("x", &file).repeat(2), "`x` has two changes"),
            (change("a/f/x", &file), "`a/f/x` is not in a folder"),
            (change("a/l/x", &file), "`a/l/x` is not in a folder"),
            (change("x", &file.replace(ONE, TWO)), "`x` has content that was not kept"),
            (change("x", &file.replace("file", "link")), "`x` is not an entry of a folder"),
            (change("x", r#""change":"added","kind":"file""#), "`x` is not an entry of a folder"),
        ] {
            let rebuilt = Tree::rebuild(base().as_bytes(), line.as_bytes());
            assert_eq!(rebuilt.unwrap_err(), problem);
        }
    }

    #[test]
    fn links_that_leave_are_found() {
        let link = |path: &str, target: &str| {
            change(path, &format!(r#""change":"added","kind":"link","target":"{target}""#))
        };
        let lines = [
            link("in", "a/f"),
            link("up", "a/../a/l"),
            link("out", "../x"),
            link("root", "/etc/passwd"),
            link("self", "self"),
            link("top", "a/.."),
            link("by", "top/../x"),
            link("gone", "missing"),
        ];
        let tree = Tree::rebuild(base().as_bytes(), lines.concat().as_bytes()).unwrap();
        let links = ["a/l", "in", "up", "top", "gone", "out", "root", "self", "by"];
        let stays = links.map(|link| tree.stays(link));
        assert_eq!(stays, [true, true, true, true, true, false, false, false, false]);
    }

    #[test]
    fn names_on_the_way_of_a_link_have_a_bound() {
        let link = |path: &str, target: &str| {
            change(path, &format!(r#""change":"added","kind":"link","target":"{target}""#))
        };
        let lines = [link("near", &("a/../".repeat(400) + "g")), link("far", &"a/../".repeat(600))];
        let mut lines = lines.concat();
        for number in 0..500 {
            let next = format!("{}{}", "a/../".repeat(800), number + 1);
            lines += &link(&number.to_string(), &next);
        }
        let tree = Tree::rebuild(base().as_bytes(), lines.as_bytes()).unwrap();
        assert!(tree.stays("near") && !tree.stays("far"));
        // Each would take 40 times 1,600 names.
        assert!((0..500).all(|number| !tree.stays(&number.to_string())));
    }

    #[test]
    fn missing_folders_of_deep_paths_have_a_bound() {
        let deep = |folders: usize, number: usize| {
            let path = format!("{number}/{}f", "a/".repeat(folders));
            change(&path, &format!(r#""change":"added","kind":"file","sha256":"{ONE}""#))
        };
        let rebuilt = |lines: String| Tree::rebuild(base().as_bytes(), lines.as_bytes());
        let tree = rebuilt(deep(2000, 0)).unwrap();
        assert_eq!(tree.entries.len(), 4 + 2002);
        // The paths have 36 KB, and their folders 36 MB.
        let refused = rebuilt((0..9).map(|number| deep(2000, number)).collect()).unwrap_err();
        assert!(refused.ends_with("is in too many folders"), "{refused}");
    }

    #[test]
    fn changes_to_repositories_are_found() {
        let file = format!(r#""kind":"file","sha256":"{ONE}""#);
        let folder = r#""kind":"folder""#;
        let line = |path: &str, keys: &str| change(path, keys);
        let base: String = [
            line(".git", folder),
            line(".git/config", &file),
            line(".git/index", &file),
            line("bare", folder),
            line("bare/HEAD", &file),
            line("bare/config", &file),
            line("bare/objects", folder),
            line("bare/refs", folder),
            line("notes", folder),
            line("notes/HEAD", &file),
        ]
        .concat();
        let new = |path: &str, keys: &str| line(path, &format!(r#""change":"added",{keys}"#));
        let lines = [
            new(".git/config", &file),
            new(".git/hook", &file),
            new("bare/config", &file),
            new("bare/new", &file),
            new("notes/config", &file),
            new("HEAD", &file),
            new("objects", folder),
            new("refs", folder),
            new("config", &file),
            new("a", folder),
            new("a/head", &file),
            new("a/commondir", &file),
            new("a/GIT~1", &file),
            new("a/.Git. .", r#""kind":"link","target":"b""#),
            new(r"a/.g\u200cit::$INDEX", &file),
            new("a/.gitignore", &file),
            new("a/.github", folder),
        ];
        let tree = Tree::rebuild(base.as_bytes(), lines.concat().as_bytes()).unwrap();
        let found = |is_own| {
            let found = tree.repositories(is_own).into_iter();
            found.map(|(path, base)| (path, base.is_some())).collect::<Vec<_>>()
        };
        let changed = [
            (".git/config", true),
            (".git/hook", false),
            ("HEAD", false),
            ("a/.Git. .", false),
            ("a/.g\u{200c}it::$INDEX", false),
            ("a/GIT~1", false),
            ("a/head", false),
            ("bare/config", true),
            ("bare/new", false),
        ];
        assert_eq!(found(true), changed);
        // No entry of a foreign base is safe.
        let foreign = found(false);
        for path in [".git", ".git/config", ".git/index", "bare/HEAD", "HEAD", "a/head"] {
            assert!(foreign.contains(&(path, false)), "{path}: {foreign:?}");
        }
    }
}
