//! Making `runner.db` anew from the run directories.

use std::path::{Path, PathBuf};

use crate::record::{
    disk::{durable, layout::RunId, stamp::Stamp},
    error::RecordError,
    format::manifest::Manifest,
    store::{
        database::{Database, DatabaseError},
        deletion,
        projection::Refused,
        root::Store,
    },
};

/// What `runner.db` knows after it was made anew.
#[derive(Debug, Default)]
pub struct Reindexed {
    /// How many runs.
    pub runs: u64,
    /// Whether the file itself was replaced, because what was there could not be understood.
    pub is_replaced: bool,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, RecordError)>,
    /// Runs whose manifests the database refuses, and why; whoever lists runs reads those manifests.
    pub refused: Vec<(RunId, String)>,
}

impl Store {
    /// Makes `runner.db` anew from the manifests of all run directories.
    pub(crate) fn reindex(&self) -> Result<Reindexed, RecordError> {
        let found = self.manifests()?;
        if !self.root.path().exists() {
            return Ok(Reindexed::default());
        }
        let manifests: Vec<(Stamp, Manifest)> = found
            .manifests
            .into_iter()
            .map(|found| (found.stamp, found.manifest))
            .collect();

        let path = self.root.database();
        let (refused, is_replaced) = match rebuild(&path, &manifests) {
            Ok(refused) => (refused, false),
            Err(error) if error.is_in_the_file() => {
                (replace(self.root.path(), &path, &manifests)?, true)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Reindexed {
            runs: (manifests.len() - refused.len()) as u64,
            is_replaced,
            unreadable: found.unreadable,
            refused: refused
                .into_iter()
                .map(|refused| (refused.run, refused.problem))
                .collect(),
        })
    }
}

/// Rebuilds in place, so that processes that have the file open see the new content, whole.
fn rebuild(path: &Path, manifests: &[(Stamp, Manifest)]) -> Result<Vec<Refused>, DatabaseError> {
    Database::open(path)?.rebuild(manifests)
}

/// Puts another file in the place of one that cannot be understood.
fn replace(
    root: &Path,
    path: &Path,
    manifests: &[(Stamp, Manifest)],
) -> Result<Vec<Refused>, RecordError> {
    let failed = || RecordError::io("replace the database");
    let file = durable::temporary(root).map_err(failed())?;
    rebuild(file.path(), manifests)?;

    // The log of the old file would be played into the new one.
    deletion::remove_database_logs(path).map_err(failed())?;
    durable::persist(file, path).map_err(failed())?;
    durable::sync_directory(root).map_err(failed())?;
    // Whoever opened the old file meanwhile may have left a log behind.
    Ok(rebuild(path, manifests)?)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use crate::record::{RecordError, Store, testing::finished_run};

    #[test]
    fn the_database_is_made_anew_whatever_is_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runner.db");
        let runs = [
            finished_run(directory.path()),
            finished_run(directory.path()),
        ];
        let store = Store::open(directory.path()).unwrap();
        let count = || -> i64 {
            let connection = Connection::open(&path).unwrap();
            connection
                .query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
                .unwrap()
        };
        assert_eq!(count(), 2);
        let good = fs_err::read(&path).unwrap();

        let mut damaged = good.clone();
        damaged[100..].fill(0xff);
        let mut newer = good;
        newer[60..64].copy_from_slice(&1000_u32.to_be_bytes());
        for content in [b"".as_slice(), b"not a database", &damaged, &newer] {
            fs_err::write(&path, content).unwrap();
            let reindexed = store.reindex().unwrap();
            assert_eq!(reindexed.runs, 2);
            assert_eq!(reindexed.is_replaced, !content.is_empty());
            assert_eq!(count(), 2);
        }

        fs_err::remove_dir_all(&runs[0].run_dir).unwrap();
        fs_err::write(runs[1].run_dir.join("benchmark.json"), "{").unwrap();
        let reindexed = store.reindex().unwrap();
        assert_eq!((reindexed.runs, count()), (0, 0));
        assert!(!reindexed.is_replaced);
        assert_eq!(reindexed.unreadable.len(), 1);

        let mut left: Vec<_> = directory
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".new-"))
            .collect();
        left.sort();
        assert_eq!(left, [""; 0]);
    }

    #[test]
    fn a_database_that_cannot_be_opened_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        fs_err::create_dir(directory.path().join("runner.db")).unwrap();
        let error = store.reindex().unwrap_err();
        assert!(matches!(error, RecordError::Database(_)), "{error}");
        assert!(directory.path().join("runner.db").is_dir());
    }
}
