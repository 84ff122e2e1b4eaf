//! Golden files of a scenario that are missing, and files next to golden ones that no test uses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::keys::files::display_path;
use crate::project::real_path;
use crate::scenario::Scenario;

/// The files of a scenario whose tests are all planned.
#[derive(Debug, Default)]
pub struct GoldenFiles {
    /// Golden files that do not exist yet, as a user would write them.
    pub missing: Vec<String>,
    /// Files in the folders of golden files, with extensions of golden files there, that the scenario does not read.
    pub unused: Vec<String>,
}

impl Scenario {
    /// Compares the golden files of its tests with the files in their folders. The scenario's own folder has other files, too.
    pub fn golden_files(&self) -> GoldenFiles {
        let mut found = GoldenFiles::default();
        let searched: BTreeSet<_> =
            self.searched_folders().iter().map(|path| real_path(path)).collect();
        let mut used = BTreeSet::new();
        let mut folders = BTreeMap::<PathBuf, BTreeSet<Option<&OsStr>>>::new();
        let checked = self.project.checked();
        for (path, is_input) in &checked {
            let real = real_path(path);
            if !is_input && !real.is_dir() && !searched.contains(&real) {
                if !path.exists() {
                    found.missing.push(display_path(path).into_owned());
                }
                let folder = path.parent().unwrap_or(Path::new(""));
                folders.entry(folder.to_owned()).or_default().insert(path.extension());
            }
            used.insert(real);
        }
        let own = real_path(&self.folder);
        let is_searched = self.searched_files();
        for (folder, extensions) in folders.iter().filter(|(folder, _)| real_path(folder) != own) {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
            let paths = files.map(|entry| entry.path());
            let unused = paths.filter(|path| {
                extensions.contains(&path.extension())
                    && !path
                        .file_name()
                        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
                    && !used.contains(&real_path(path))
                    && !is_searched(path)
            });
            found.unused.extend(unused.map(|path| display_path(&path).into_owned()));
        }
        found.unused.sort();
        found
    }
}
