//! Granted folders: found before any guest runs, and refused if a guest could use them to reach more than was granted.
//!
//! A writable folder must not contain anything that the runner reads or writes, because the guest could replace it by a link.
//! Places are compared, not paths: links and other mounts of the same file system lead to the same folder. Hard links to files
//! outside a folder are not detected.

mod content;
mod file_systems;
mod path_trace;
mod protected;

use std::path::{Path, PathBuf};
use std::{fs, io, os::unix::fs::MetadataExt as _};

use runner_model::grants::{FsGrant, FsMode};
use runner_model::provider::{MountedFolder, PreparedProvider};
use runner_model::{prepare::RefusedPart, visible::shown_path};
use runner_scenario::ProviderProblem;

pub use self::content::FolderReader;
pub use self::protected::Protected;
use self::{file_systems::FileSystems, path_trace::PathTrace};

/// Files that every run has.
const RUN_FILES: [&str; 2] = ["benchmark.json", "index.jsonl"];
const NESTED_HELP: &str = "grant `rw` only for folders without other granted folders in them";
const KERNEL_HELP: &str = "grant folders of plain files; nothing in `/proc`, `/sys` or `/dev` can be granted, nor a folder that contains them";
const PATH_HELP: &str =
    "use a path that does not lead through the folder, or grant `rw` for another folder";
const PROTECTED_HELP: &str = "grant `rw` for a folder of its own, with nothing else in it";
const LOST_HELP: &str = "restore the folder, or grant another one";

/// A granted folder of a provider.
struct Granted<'p> {
    provider: u16,
    folder: &'p MountedFolder,
    /// Places that the granted path leads through.
    places: Vec<PathBuf>,
    /// All paths of the folder, through other mounts, too.
    paths: Vec<PathBuf>,
}

/// Finds the granted folders of providers, and sets their mounts. Paths are relative to `base`. The mounts of a stored provider
/// are looked up at their stored paths.
///
/// `protected` returns the files and folders that no guest may write to. It is called only if a folder is writable.
///
/// Returns a problem for each refused folder.
pub fn find(
    providers: &mut [PreparedProvider],
    base: &Path,
    protected: impl FnOnce() -> Vec<Protected>,
) -> Vec<ProviderProblem> {
    let (mut problems, mut places) = (Vec::new(), Vec::new());
    for (index, prepared) in (0..).zip(&mut *providers) {
        let mut stored = std::mem::take(&mut prepared.mounts).into_iter();
        for grant in &prepared.provider.grants.fs {
            let (path, is_stored, content) = match stored.next() {
                Some(stored) => (PathBuf::from(stored.host), true, stored.content),
                None => (base.join(&grant.path), false, None),
            };
            match find_folder(grant, &path, is_stored) {
                Ok(folder) => prepared.mounts.push(MountedFolder { content, ..folder }),
                Err(error) => {
                    let path = shown_path(&path);
                    let mount = &grant.mount;
                    let message = format!(
                        "the folder `{path}`, granted as `{mount}`, cannot be used: {error}"
                    );
                    problems.push(problem(index, message, LOST_HELP));
                }
            }
            places.push((
                index,
                PathTrace::follow(&path).map_or_else(|_| Vec::new(), |trace| trace.places),
            ));
        }
    }
    if !problems.is_empty() {
        // They would be taken for those of other grants.
        providers.iter_mut().for_each(|prepared| prepared.mounts.clear());
        return problems;
    }
    let folders = providers.iter().flat_map(|prepared| &prepared.mounts);
    let granted =
        folders.zip(places).map(|(folder, (provider, places))| (provider, folder, places));
    check(granted.collect(), protected).into_iter().flatten().collect()
}

fn problem(provider: u16, message: String, help: &str) -> ProviderProblem {
    ProviderProblem {
        provider,
        key: "grants.fs",
        message,
        help: Some(help.to_owned()),
        refused: RefusedPart::default(),
    }
}

/// Finds a folder. The path of a stored one must not lead through links.
fn find_folder(grant: &FsGrant, path: &Path, is_stored: bool) -> io::Result<MountedFolder> {
    let host = fs::canonicalize(path)?;
    if is_stored && host != path {
        return Err(io::Error::other("its path now leads through a symbolic link"));
    }
    // This fails if it is not a folder, or not readable.
    fs::read_dir(&host)?;
    let found = host.metadata()?;
    let text = host.into_os_string().into_string();
    Ok(MountedFolder {
        host: text.map_err(|_| io::Error::other("its path is not UTF-8"))?,
        guest: grant.mount.clone(),
        mode: grant.mode,
        device: found.dev(),
        inode: found.ino(),
        content: None,
    })
}

/// Checks all granted folders, each with its provider and the places of its path. Returns a result for each, in order.
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
    let protected = if granted.iter().any(Granted::is_writable) { protected() } else { Vec::new() };
    let traces = protected.iter().map(|protected| PathTrace::follow(&protected.path));
    let protected: Vec<_> = protected.iter().zip(traces).collect();
    granted
        .iter()
        .map(|one| {
            let refusal = one.refuse_kernel(&systems).or_else(|| one.refuse_nested(&granted));
            if refusal.is_some() || !one.is_writable() {
                return refusal;
            }
            let mut protected = protected.iter();
            one.refuse_run().or_else(|| {
                protected.find_map(|(protected, trace)| match trace {
                    Ok(trace) => one.refuse_exposed(protected, trace, &systems),
                    // With a loop of links, the protected path could later lead anywhere.
                    Err(_) => Some(one.refuse_change(protected.what, &protected.path)),
                })
            })
        })
        .collect()
}

impl Granted<'_> {
    fn path(&self) -> &Path {
        Path::new(&self.folder.host)
    }

    fn is_writable(&self) -> bool {
        self.folder.mode == FsMode::ReadWrite
    }

    /// Returns the problem of this folder. `why` completes a sentence that starts with the folder.
    fn refuse(&self, why: &str, help: &str) -> ProviderProblem {
        let MountedFolder { host, guest, mode, .. } = self.folder;
        let message =
            format!("the folder `{host}`, granted as `{guest}` with mode `{mode}`, {why}");
        problem(self.provider, message, help)
    }

    fn refuse_change(&self, what: &str, path: &Path) -> ProviderProblem {
        let path = shown_path(path);
        self.refuse(&format!("would let a guest change {what}, `{path}`"), PROTECTED_HELP)
    }

    /// Returns whether a path is this folder or in it.
    fn contains(&self, path: &Path) -> bool {
        self.paths.iter().any(|own| path.starts_with(own))
    }

    /// Returns whether a guest that can write to this folder can replace a path.
    fn can_replace(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.contains(parent))
    }

    /// Refuses folders with file systems of the kernel.
    fn refuse_kernel(&self, systems: &FileSystems) -> Option<ProviderProblem> {
        let place = systems.kernel_mount(self.path())?;
        let is_in = self.path().starts_with(&place);
        let is = if is_in { "is in" } else { "contains" };
        let place = shown_path(&place);
        let why = format!(
            "{is} `{place}`, where the kernel shows processes, devices and its own settings, and with them the runner's environment"
        );
        Some(self.refuse(&why, KERNEL_HELP))
    }

    /// Refuses a folder that a guest could replace, because it is in a writable folder.
    fn refuse_nested(&self, all: &[Granted<'_>]) -> Option<ProviderProblem> {
        let places = self.places.iter().map(PathBuf::as_path).chain([self.path()]);
        let outer = all.iter().find(|outer| {
            outer.is_writable() && places.clone().any(|place| outer.can_replace(place))
        })?;
        let host = &outer.folder.host;
        let guest = &outer.folder.guest;
        let why = format!(
            "is in `{host}` or reached by a link in it, which is granted as `{guest}` with mode `rw`: a guest could replace it by a link to any place"
        );
        Some(self.refuse(&why, NESTED_HELP))
    }

    /// Refuses a writable folder in a run of any results root.
    fn refuse_run(&self) -> Option<ProviderProblem> {
        let run = self
            .path()
            .ancestors()
            .find(|folder| RUN_FILES.iter().all(|file| folder.join(file).is_file()))?;
        Some(self.refuse_change("a run", run))
    }

    /// Refuses a writable folder that contains a protected path or a place that it leads through.
    fn refuse_exposed(
        &self,
        protected: &Protected,
        trace: &PathTrace,
        systems: &FileSystems,
    ) -> Option<ProviderProblem> {
        let is_around =
            || systems.paths_of(&trace.end).into_iter().any(|path| self.path().starts_with(path));
        if self.contains(&trace.end) || protected.with_content && is_around() {
            return Some(self.refuse_change(protected.what, &trace.end));
        }
        let place = trace.places.iter().find(|place| self.can_replace(place))?;
        let (what, path, place) = (protected.what, shown_path(&protected.path), shown_path(place));
        let why = format!(
            "would let a guest change {what}, `{path}`, whose path leads through `{place}`: a guest could replace that by a link to any place"
        );
        Some(self.refuse(&why, PATH_HELP))
    }
}

#[cfg(test)]
mod tests;
