//! Finds a run by what a user calls it.

use std::path::Path;

use crate::{RecordError, ResultsRoot, RunDir, beneath::Dir, manifest::MANIFEST};

/// The name of the newest run.
pub(crate) const LATEST: &str = "latest";

impl ResultsRoot {
    /// Finds a run by its id, a unique part of it, a path, or `latest`.
    pub fn find(&self, name: &str) -> Result<RunDir, RecordError> {
        let unknown = || RecordError::Unknown(name.into());
        if name.contains('/') || name == "." || name == ".." {
            return of_path(Path::new(name)).map_err(|error| error.unwrap_or_else(unknown));
        }
        match self.pick(name)? {
            Some(run) => Ok(run),
            // As a last resort, a folder here.
            None => of_path(Path::new(name)).map_err(|_| unknown()),
        }
    }

    fn pick(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        let Some(root) = self.dir() else {
            return Ok(None);
        };
        if name == LATEST {
            return self.latest();
        }
        if is_run_name(name) {
            match RunDir::open(root, name) {
                Ok(Some(run)) => return Ok(Some(run)),
                Ok(None) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        let mut runs = self.names()?;
        runs.retain(|run| !name.is_empty() && run.contains(name));
        let mut runs = runs
            .into_iter()
            .filter_map(|run| RunDir::open(root, &run).ok()?);
        let found = runs.next();
        let others: Vec<_> = runs.collect();
        if others.is_empty() {
            return Ok(found);
        }
        let mut candidates: Vec<_> = found.into_iter().chain(others).map(|run| run.id).collect();
        candidates.sort();
        Err(RecordError::Ambiguous {
            name: name.into(),
            candidates,
        })
    }

    /// The names in the root that may be runs, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, RecordError> {
        let names = self.dir().map_or(Ok(Vec::new()), Dir::folders)?;
        Ok(names.into_iter().filter(|name| is_run_name(name)).collect())
    }
}

impl RunDir {
    /// Opens a run of a root; none if the folder has no manifest. An empty manifest is of a birth that a loss of power cut
    /// short: it was no run yet.
    pub(crate) fn open(root: &Dir, name: &str) -> Result<Option<Self>, RecordError> {
        let dir = root.dir(name)?;
        let is_run = dir
            .stat(MANIFEST)?
            .is_some_and(|found| !found.is_file || found.length > 0);
        Ok(is_run.then(|| Self {
            root: root.clone(),
            dir,
            id: name.into(),
        }))
    }
}

/// A run by its path, which may have links: the run belongs to the root where it really is.
fn of_path(path: &Path) -> Result<RunDir, Option<RecordError>> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => None,
        _ => Some(RecordError::Io {
            what: "open the folder",
            path: path.to_owned(),
            source,
        }),
    };
    let real = path.canonicalize().map_err(failed)?;
    let (Some(root), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(None);
    };
    let Some(name) = name.to_str() else {
        return Err(None);
    };
    let root = Dir::open(root)?;
    RunDir::open(&root, name)?.ok_or(None)
}

/// Tells whether a folder of a root can be a run.
pub(crate) fn is_run_name(name: &str) -> bool {
    let others = ["", ".", "..", LATEST, "queue", "store", "lost+found"];
    !others.contains(&name)
        && !name.starts_with("runner.")
        && !name.contains('/')
        && !name.contains(char::is_control)
}

#[cfg(test)]
#[path = "tests/find.rs"]
mod tests;
