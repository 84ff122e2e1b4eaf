//! [`Protected`]: files and folders that no guest may write to.

use std::env;
use std::path::{Path, PathBuf};

use runner_record::{PluginCache, key_files};
use runner_scenario::Scenario;

use crate::{children::CERTIFICATES, source::Source};

/// A file or folder that no guest may write to.
#[derive(Clone, Debug)]
pub struct Protected {
    /// Name for messages, such as `the results root`.
    pub(super) what: &'static str,
    /// The path, which need not exist yet.
    pub(super) path: PathBuf,
    /// Whether everything in the folder is protected, too.
    pub(super) with_content: bool,
}

impl Protected {
    /// Protects a file from writes, or a folder from being replaced.
    pub fn file(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { what, path: path.into(), with_content: false }
    }

    /// Protects a folder and everything in it from writes.
    pub fn folder(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { with_content: true, ..Self::file(what, path) }
    }

    /// Protects the files of every command that calls guests. In the cache a guest could place code for the host, with the
    /// user's key it could sign runs, and in the folder for temporary files it could change files of other attempts.
    pub fn for_process(cache: &PluginCache) -> Vec<Self> {
        let mut all = vec![
            Self::folder("the cache of compiled plugins", cache.path()),
            Self::file("the folder for temporary files", env::temp_dir()),
        ];
        all.extend(key_files().into_iter().map(|path| Self::folder("your key", path)));
        all.extend(env::current_exe().map(|program| Self::file("the runner's program", program)));
        let trusted = CERTIFICATES.iter().filter_map(env::var_os);
        let trusted = trusted.flat_map(|paths| env::split_paths(&paths).collect::<Vec<_>>());
        let trusted = trusted.filter(|path| !path.as_os_str().is_empty());
        all.extend(trusted.map(|path| Self::file("the certificates that are trusted", path)));
        all
    }

    /// Protects the files of a scenario: itself, its test lists and their folders, plugins and their source. A scenario that is
    /// stored with a run has no files outside the results root.
    pub fn for_scenario(scenario: &Scenario, path: &Path) -> Vec<Self> {
        if scenario.folder.as_os_str().is_empty() {
            return Vec::new();
        }
        let mut all = vec![Self::file("the scenario", path)];
        for plugin in scenario.plugins().filter(|plugin| !plugin.starts_with("bundled:")) {
            let path = scenario.folder.join(plugin);
            let source = path.is_dir().then(|| Source::open(&path).ok()).flatten();
            let folders = source.iter().flat_map(Source::folders);
            all.extend(folders.map(|folder| Self::folder("the source of a plugin", folder)));
            all.push(Self::file("a plugin", path));
        }
        all.extend(scenario.list_files().map(|file| Self::file("a test list", file)));
        all.extend(scenario.matrix_files().map(|file| Self::file("a file of a matrix", file)));
        let known = scenario.known_files();
        all.extend(known.map(|(_, file)| Self::file("a list of known failures", file)));
        let folders = scenario.searched_folders().into_iter();
        all.extend(folders.map(|folder| Self::file("a folder that globs search", folder)));
        all
    }
}
