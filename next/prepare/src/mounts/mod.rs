//! The folders that providers are granted: found before any guest runs, and refused if a guest could use one to get at more
//! than it was granted.
//!
//! In a folder that a guest may write to may lie nothing that the runner reads or writes, because the guest can replace what
//! is in it by a link. What is compared is where things are: through a link or at another mount of the same file system it is
//! the same folder. A file that has a second name, a hard link, in a granted folder is not found.

mod file_systems;
mod path_trace;
mod protected;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use runner_model::{
    grants::{FsGrant, FsMode},
    provider::{MountedFolder, PreparedProvider},
};
use runner_scenario::ProviderProblem;

pub use self::protected::Protected;
use self::{file_systems::FileSystems, path_trace::Way};

/// Files that every run has.
const RUN_FILES: [&str; 2] = ["benchmark.json", "index.jsonl"];
const NESTED_HELP: &str = "grant `rw` only of folders in which no other granted folder lies";
const KERNEL_HELP: &str = "grant folders of plain files; nothing in `/proc`, `/sys` or `/dev` is granted, nor a folder around them";
const WAY_HELP: &str = "name it by a path that leads past the folder, or grant `rw` of another one";
const PROTECTED_HELP: &str = "grant `rw` of a folder of its own, in which there is nothing else";
const LOST_HELP: &str = "put the folder back, or grant another one";

/// A granted folder, and whose it is.
struct Granted<'p> {
    provider: u16,
    folder: &'p MountedFolder,
    /// What its path leads through as it was written.
    places: Vec<PathBuf>,
    /// All paths at which it is.
    paths: Vec<PathBuf>,
}

/// Finds the folders that providers are granted, relative to `base`, and notes which folders they are. Folders that were
/// found when a run began are looked for where they were then, and a guest that runs later gets the folder that is there now.
///
/// `protected` names what no guest may write to; it is asked only if one may write to a folder.
///
/// Returns what is wrong, with the providers' indices.
pub fn find(
    providers: &mut [PreparedProvider],
    base: &Path,
    protected: impl FnOnce() -> Vec<Protected>,
) -> Vec<ProviderProblem> {
    let (mut problems, mut places) = (Vec::new(), Vec::new());
    for (index, prepared) in (0..).zip(&mut *providers) {
        let mut stored = std::mem::take(&mut prepared.mounts).into_iter();
        for grant in &prepared.provider.grants.fs {
            let (path, is_stored) = match stored.next() {
                Some(stored) => (PathBuf::from(stored.host), true),
                None => (base.join(&grant.path), false),
            };
            match look(grant, &path, is_stored) {
                Ok(folder) => prepared.mounts.push(folder),
                Err(error) => {
                    let (path, mount) = (path.display(), &grant.mount);
                    let message = format!(
                        "the folder `{path}`, granted as `{mount}`, cannot be used: {error}"
                    );
                    problems.push(problem(index, message, LOST_HELP));
                }
            }
            places.push((index, Way::of(&path).map_or_else(|_| Vec::new(), |way| way.places)));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let folders = providers.iter().flat_map(|prepared| &prepared.mounts);
    let granted =
        folders.zip(places).map(|(folder, (provider, places))| (provider, folder, places));
    check(granted.collect(), protected).into_iter().flatten().collect()
}

fn problem(provider: u16, message: String, help: &str) -> ProviderProblem {
    ProviderProblem { provider, key: "grants.fs", message, help: Some(help.to_owned()) }
}

/// Finds a folder; where it was found before, its path must lead there still.
fn look(grant: &FsGrant, path: &Path, is_stored: bool) -> io::Result<MountedFolder> {
    let host = fs::canonicalize(path)?;
    if is_stored && host != path {
        return Err(io::Error::other("it is behind a symbolic link by now"));
    }
    // Reading it shows that it is a folder, and may be read.
    fs::read_dir(&host)?;
    let found = host.metadata()?;
    let text = host.into_os_string().into_string();
    Ok(MountedFolder {
        host: text.map_err(|_| io::Error::other("its path is not UTF-8"))?,
        guest: grant.mount.clone(),
        mode: grant.mode,
        device: found.dev(),
        inode: found.ino(),
    })
}

/// Checks the folders that are granted at the same time, each with its provider and what its path leads through; what is
/// returned has their order.
fn check(
    folders: Vec<(u16, &MountedFolder, Vec<PathBuf>)>,
    protected: impl FnOnce() -> Vec<Protected>,
) -> Vec<Option<ProviderProblem>> {
    let systems = FileSystems::mounted();
    let granted = folders.into_iter().map(|(provider, folder, places)| Granted {
        provider,
        folder,
        places,
        paths: systems.paths_of(Path::new(&folder.host)),
    });
    let granted: Vec<_> = granted.collect();
    let protected = match granted.iter().any(Granted::is_writable) {
        true => protected(),
        false => Vec::new(),
    };
    let ways = protected.iter().map(|protected| Way::of(&protected.path));
    let protected: Vec<_> = protected.iter().zip(ways).collect();
    let refused = |one: &Granted<'_>| {
        let refusal = one.of_kernel(&systems).or_else(|| one.nested(&granted));
        if refusal.is_some() || !one.is_writable() {
            return refusal;
        }
        let mut protected = protected.iter();
        one.in_run().or_else(|| {
            protected.find_map(|(protected, way)| match way {
                Ok(way) => one.exposes(protected, way, &systems),
                // Nobody knows where it will be.
                Err(_) => Some(one.changes(protected.what, &protected.path)),
            })
        })
    };
    granted.iter().map(refused).collect()
}

impl Granted<'_> {
    fn path(&self) -> &Path {
        Path::new(&self.folder.host)
    }

    fn is_writable(&self) -> bool {
        self.folder.mode == FsMode::ReadWrite
    }

    /// `why` completes a sentence that begins with the folder.
    fn refuse(&self, why: &str, help: &str) -> ProviderProblem {
        let MountedFolder { host, guest, mode, .. } = self.folder;
        let message =
            format!("the folder `{host}`, granted as `{guest}` with mode `{mode}`, {why}");
        problem(self.provider, message, help)
    }

    fn changes(&self, what: &str, path: &Path) -> ProviderProblem {
        let path = path.display();
        self.refuse(&format!("would let a guest change {what}, `{path}`"), PROTECTED_HELP)
    }

    /// Whether a path is this folder or somewhere in it.
    fn has(&self, path: &Path) -> bool {
        self.paths.iter().any(|own| path.starts_with(own))
    }

    /// Whether a guest that may write to this folder can put something else in the place of a path.
    fn can_replace(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.has(parent))
    }

    /// Refuses what the kernel shows as files.
    fn of_kernel(&self, systems: &FileSystems) -> Option<ProviderProblem> {
        let place = systems.kernels(self.path())?;
        let is_in = self.path().starts_with(&place);
        let is = if is_in { "is in" } else { "contains" };
        let place = place.display();
        let why = format!(
            "{is} `{place}`, where the kernel shows processes, devices and its own settings, and with them the runner's environment"
        );
        Some(self.refuse(&why, KERNEL_HELP))
    }

    /// Refuses a folder that a guest could put another one in the place of.
    fn nested(&self, all: &[Granted<'_>]) -> Option<ProviderProblem> {
        let places = || self.places.iter().map(PathBuf::as_path).chain([self.path()]);
        let outer = all
            .iter()
            .find(|outer| outer.is_writable() && places().any(|place| outer.can_replace(place)))?;
        let (host, guest) = (&outer.folder.host, &outer.folder.guest);
        let why = format!(
            "lies or is linked to in `{host}`, granted as `{guest}` with mode `rw`: a guest could put a link in its place that leads anywhere"
        );
        Some(self.refuse(&why, NESTED_HELP))
    }

    /// Refuses to let a guest write to a run, of whichever results root.
    fn in_run(&self) -> Option<ProviderProblem> {
        let is_run = |folder: &&Path| RUN_FILES.iter().all(|file| folder.join(file).is_file());
        let run = self.path().ancestors().find(is_run)?;
        Some(self.changes("a run", run))
    }

    /// Refuses a folder in which something protected is, or through which its path leads.
    fn exposes(
        &self,
        protected: &Protected,
        way: &Way,
        systems: &FileSystems,
    ) -> Option<ProviderProblem> {
        let is_in = |path: PathBuf| self.path().starts_with(path);
        let is_around = || systems.paths_of(&way.end).into_iter().any(is_in);
        if self.has(&way.end) || protected.is_whole && is_around() {
            return Some(self.changes(protected.what, &way.end));
        }
        let place = way.places.iter().find(|place| self.can_replace(place))?;
        let (what, path, place) = (protected.what, protected.path.display(), place.display());
        let why = format!(
            "would let a guest change {what}, `{path}`, whose path leads through `{place}`: a guest could put a link there that leads anywhere"
        );
        Some(self.refuse(&why, WAY_HELP))
    }
}

#[cfg(test)]
mod tests;
