//! [`Project`]: the folders from which a scenario may read. Each file that it names is checked here, after all links are resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs, iter, os::unix::fs::MetadataExt as _};

use runner_files::DigestCache;
use runner_model::visible::shown_path;
use serde_json::Value;

use crate::grants_toml::toml_string;

/// The files that a scenario may read: those of its project, and those in `reads` of `[run]`.
#[derive(Debug, Default)]
pub(crate) struct Project {
    /// The scenario's folder as the user named it. Paths of the scenario are relative to it.
    pub(crate) base: PathBuf,
    /// The scenario's folder, absolute and without links.
    folder: PathBuf,
    /// The project's folder, absolute and without links.
    pub(crate) root: PathBuf,
    /// The project as a clause of messages.
    about: String,
    /// The entries of `reads` that exist, absolute and without links.
    reads: Vec<PathBuf>,
    /// Files and folders that the scenario has asked for, each with whether it reads the file, and not as a golden file only.
    checked: Mutex<BTreeMap<PathBuf, bool>>,
    /// The globs by which the scenario has searched.
    globs: Mutex<BTreeSet<String>>,
    /// The digests of files of bases that were read before.
    pub(crate) digests: Option<Arc<dyn DigestCache>>,
}

/// The reason why a file is not read.
#[derive(Clone)]
pub(crate) struct Refusal {
    /// Continues a sentence that starts with the file.
    pub(crate) reason: String,
    pub(crate) help: Option<String>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, help: None }
    }
}

impl Project {
    /// Finds the project of the scenario in folder `base`. `scenario` is its text as JSON, with values for its variables.
    pub(crate) fn new(base: &Path, scenario: &Value) -> Self {
        // The kernel shows a process as a folder of its user.
        let user = fs::metadata("/proc/self").map(|process| process.uid()).ok();
        Self::find(base, scenario, env::home_dir().as_deref(), user)
    }

    fn find(base: &Path, scenario: &Value, home: Option<&Path>, user: Option<u32>) -> Self {
        let folder = base.canonicalize().unwrap_or_else(|_| base.to_owned());
        let (root, about) = root_of(&folder, home, user);
        let reads = scenario.pointer("/run/reads").and_then(Value::as_array).into_iter().flatten();
        let reads = reads.filter_map(|entry| base.join(entry.as_str()?).canonicalize().ok());
        let (base, reads) = (base.to_owned(), reads.collect());
        Self { base, reads, folder, root, about, ..Self::default() }
    }

    /// Checks that the scenario may read a file. Its last parts need not exist: a message about a missing file names others next
    /// to it.
    pub(crate) fn check_read(&self, path: &Path) -> Result<(), Refusal> {
        self.check(path, true)
    }

    /// Checks a file, as [`Self::check_read`], or with `is_input` false a golden file or a folder to search.
    pub(crate) fn check(&self, path: &Path, is_input: bool) -> Result<(), Refusal> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        *checked.entry(path.to_owned()).or_default() |= is_input;
        drop(checked);
        let real = real_path(path);
        if iter::once(&self.root).chain(&self.reads).any(|allowed| real.starts_with(allowed)) {
            return Ok(());
        }
        let help = format!(
            "{}; to read this path, add it or a folder above it to `[run]`: reads = [{}]",
            self.about,
            self.written(&real)
        );
        let reason = format!("leads out of the project, to `{}`", shown_path(&real));
        Err(Refusal { reason, help: Some(help) })
    }

    /// Adds a glob by which the scenario searches.
    pub(crate) fn add_glob(&self, glob: &str) {
        self.globs.lock().unwrap_or_else(PoisonError::into_inner).insert(glob.to_owned());
    }

    /// Returns the globs of its test lists, known failures and matrices.
    pub(crate) fn globs(&self) -> BTreeSet<String> {
        self.globs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the files and folders that [`Self::check`] was asked for, also missing ones, each with whether it is an input.
    pub(crate) fn checked(&self) -> BTreeMap<PathBuf, bool> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks a path whose text shows where it leads: one that only a link leads out of the project is refused.
    pub(crate) fn check_link(&self, text: &str) -> Result<(), Refusal> {
        let Ok(real) = self.base.join(text).canonicalize() else { return Ok(()) };
        if real.starts_with(&self.root) || !plain(&self.folder.join(text)).starts_with(&self.root) {
            return Ok(());
        }
        let help = format!("{}; write the real path: {}", self.about, self.written(&real));
        let reason = format!("is a link out of the project, to `{}`", shown_path(&real));
        Err(Refusal { reason, help: Some(help) })
    }

    /// Returns a real path as a scenario writes it: relative, unless it only shares the root with the scenario's folder.
    fn written(&self, real: &Path) -> String {
        let is_shared = |above: &&Path| real.starts_with(above) && above.parent().is_some();
        let Some(shared) = self.folder.ancestors().find(is_shared) else {
            return toml_string(&real.to_string_lossy());
        };
        let up = self.folder.strip_prefix(shared).into_iter().flatten().map(|_| "..".as_ref());
        let path: PathBuf = up.chain(real.strip_prefix(shared).into_iter().flatten()).collect();
        toml_string(&path.to_string_lossy())
    }
}

/// Returns a path without links. Its last parts need not exist.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|part| {
        let named = if part == Path::new("") { Path::new(".") } else { part };
        Some((part, named.canonicalize().ok()?))
    });
    let Some((existing, mut real)) = existing else { return path.to_owned() };
    real.extend(path.strip_prefix(existing).into_iter().flatten());
    real
}

/// Returns whether a folder is a run or a results root, under any name. Runs have copies of scenarios and tests, which no search
/// for files of a project may find. `runner.db` does not count, because it can be deleted.
pub fn holds_results(folder: &Path) -> bool {
    is_run(folder) || folder.join(".lock").is_file()
}

/// Returns whether a folder is a run, under any name.
pub fn is_run(folder: &Path) -> bool {
    ["benchmark.json", "index.jsonl"].iter().all(|file| folder.join(file).is_file())
}

/// Returns the folder of the project that has `folder`, and a clause about it.
///
/// The project is the nearest folder with `.git`. A repository of the home folder has all files of the user, and a `.git` of another user,
/// such as one in `/tmp`, would choose what is read.
fn root_of(folder: &Path, home: Option<&Path>, user: Option<u32>) -> (PathBuf, String) {
    let shown = shown_path(folder);
    let repository = folder.ancestors().find(|above| above.join(".git").symlink_metadata().is_ok());
    let Some(repository) = repository else {
        let about = format!("the project is the scenario's folder, `{shown}`, without a `.git`");
        return (folder.to_owned(), about);
    };
    let home = home.and_then(|home| home.canonicalize().ok());
    let why = if home.is_some_and(|home| home.starts_with(repository)) {
        "has a `.git`, but is or contains the home folder"
    } else if [repository, &repository.join(".git")]
        .into_iter()
        .any(|path| path.symlink_metadata().map_or(true, |found| Some(found.uid()) != user))
    {
        "has a `.git`, but belongs to another user"
    } else {
        let about = format!("the project is `{}`", shown_path(repository));
        return (repository.to_owned(), about);
    };
    let repository = shown_path(repository);
    let about = format!("the project is the scenario's folder, `{shown}`: `{repository}` {why}");
    (folder.to_owned(), about)
}

/// Resolves `.` and `..` of an absolute path without regard to links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use serde_json::Value;

    use super::Project;

    #[test]
    fn project_is_nearest_own_repository_below_home() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let user = Some(fs::metadata(&top).unwrap().uid());
        let scenario = top.join("home/repo/tests/deep");
        fs::create_dir_all(&scenario).unwrap();
        let root = |home: &str, user| {
            let home = (!home.is_empty()).then(|| top.join(home));
            let found = Project::find(&scenario, &Value::Null, home.as_deref(), user);
            (found.root.strip_prefix(&top).unwrap().to_str().unwrap().to_owned(), found.about)
        };
        let own = "home/repo/tests/deep";
        let (found, about) = root("home", user);
        assert_eq!(found, own);
        assert!(about.ends_with("home/repo/tests/deep`, without a `.git`"), "{about}");
        // A worktree has a file.
        fs::write(top.join("home/repo/.git"), "gitdir: elsewhere").unwrap();
        fs::create_dir(top.join(".git")).unwrap();
        for (home, found) in [
            ("home", "home/repo"),
            ("none", "home/repo"),
            ("", "home/repo"),
            ("home/repo/tests", own),
            ("home/repo", own),
        ] {
            assert_eq!(root(home, user).0, found, "{home}");
        }
        let (found, about) = root("home/repo", user);
        assert!(found == own && about.ends_with("is or contains the home folder"), "{about}");
        for user in [user.map(|user| user + 1), None] {
            let (found, about) = root("home", user);
            assert!(found == own && about.ends_with("belongs to another user"), "{about}");
        }
        // The next repository above is not the project instead.
        fs::create_dir(top.join("home/repo/tests/.git")).unwrap();
        assert_eq!(root("home", user).0, "home/repo/tests");
        assert_eq!(root("home/repo/tests", user).0, own);
        fs::create_dir(scenario.join(".git")).unwrap();
        assert_eq!(root("home", user).0, own);
    }
}
