//! [`Protected`]: what no guest may write to, whatever it is granted.

use std::{
    env,
    path::{Path, PathBuf},
};

use runner_record::PluginCache;
use runner_scenario::Scenario;

use crate::{children::CERTIFICATES, source::Source};

/// What no guest may write to.
#[derive(Clone, Debug)]
pub struct Protected {
    /// What it is, as in `the results root`.
    pub(super) what: &'static str,
    /// Where it is, or will be.
    pub(super) path: PathBuf,
    /// Whether what is in it may not be written to either.
    pub(super) is_whole: bool,
}

impl Protected {
    /// A file that guests may not write to, or a folder that they may not put something else in the place of.
    pub fn file(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { what, path: path.into(), is_whole: false }
    }

    /// A folder in which guests may not write anywhere.
    pub fn folder(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { is_whole: true, ..Self::file(what, path) }
    }

    /// What every command uses that calls guests: in the cache a guest could leave code for the host, and among temporary
    /// folders it could change those of other attempts.
    pub fn of_process(cache: &PluginCache) -> Vec<Self> {
        let mut all = vec![
            Self::folder("the cache of compiled plugins", cache.path()),
            Self::file("the folder for temporary files", env::temp_dir()),
        ];
        all.extend(env::current_exe().map(|program| Self::file("the runner's program", program)));
        let trusted = CERTIFICATES.iter().filter_map(env::var_os);
        let trusted = trusted.flat_map(|paths| env::split_paths(&paths).collect::<Vec<_>>());
        let trusted = trusted.filter(|path| !path.as_os_str().is_empty());
        all.extend(trusted.map(|path| Self::file("the certificates that are trusted", path)));
        all
    }

    /// What a scenario is made of: itself, its test lists and where they are looked for, plugins and their source. One that is
    /// stored with a run is made of nothing outside the results root.
    pub fn of_scenario(scenario: &Scenario, path: &Path) -> Vec<Self> {
        if scenario.folder.as_os_str().is_empty() {
            return Vec::new();
        }
        let mut all = vec![Self::file("the scenario", path)];
        let plugins = scenario.providers.iter().map(|provider| &provider.plugin);
        for plugin in plugins.filter(|plugin| !plugin.starts_with("bundled:")) {
            let path = scenario.folder.join(plugin);
            let source = path.is_dir().then(|| Source::open(&path).ok()).flatten();
            let folders = source.iter().flat_map(Source::folders);
            all.extend(folders.map(|folder| Self::folder("the source of a plugin", folder)));
            all.push(Self::file("a plugin", path));
        }
        all.extend(scenario.list_files().map(|file| Self::file("a test list", file)));
        let folders = scenario.list_folders().into_iter();
        all.extend(folders.map(|folder| Self::file("a folder of test lists", folder)));
        all
    }
}
