//! Whether a run is in a directory, and whether its manifest has changed, without reading it.

use std::{ffi::OsStr, fs::Metadata, io, os::fd::AsFd, path::Path, time::UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, statat};

use super::layout::RunDir;
use crate::record::error::{RecordError, is_missing};

/// What tells one version of a manifest from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct Stamp {
    /// Nanoseconds since 1970.
    pub(in crate::record) modified: i64,
    pub(in crate::record) bytes: i64,
}

impl Stamp {
    /// Looks at a manifest; `None` if there is none.
    pub(in crate::record) fn of(dir: &RunDir) -> io::Result<Option<Self>> {
        let metadata = match std::fs::metadata(dir.manifest()) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Opening a pipe would wait for ever.
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        Self::of_metadata(&metadata).map(Some)
    }

    /// The stamp of what was looked at already.
    pub(in crate::record) fn of_metadata(metadata: &Metadata) -> io::Result<Self> {
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            modified: modified.as_nanos().try_into().unwrap_or(i64::MAX),
            bytes: metadata.len().try_into().unwrap_or(i64::MAX),
        })
    }
}

impl Stamp {
    /// The same of the directory with this name in an open results root, whose own path is not walked again for each of
    /// many.
    pub(in crate::record) fn within(root: impl AsFd, name: &OsStr) -> io::Result<Option<Self>> {
        let manifest = RunDir::new(Path::new(name)).manifest();
        let found = match statat(root, &manifest, AtFlags::empty()).map_err(io::Error::from) {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !FileType::from_raw_mode(found.st_mode).is_file() {
            return Err(not_a_file());
        }
        let seconds = i128::from(found.st_mtime);
        let modified = seconds * 1_000_000_000 + i128::from(found.st_mtime_nsec);
        Ok(Some(Self {
            modified: modified.max(0).try_into().unwrap_or(i64::MAX),
            bytes: found.st_size,
        }))
    }
}

fn not_a_file() -> io::Error {
    io::Error::other("its manifest is not a file")
}

/// Tells whether a directory holds no run, or does so no more.
pub(in crate::record) fn is_gone(dir: &RunDir) -> bool {
    matches!(Stamp::of(dir), Ok(None))
}

impl RecordError {
    /// What a failure to work on a run means where the run itself is missing.
    pub(in crate::record) fn or_gone(self, run: &RunDir) -> Self {
        match self {
            Self::Io { source, .. } if is_missing(&source) && !run.manifest().exists() => {
                Self::Gone {
                    run: run.path().to_owned(),
                }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        fs::{File, FileTimes},
        time::{Duration, SystemTime},
    };

    use super::{RunDir, Stamp};

    #[test]
    fn a_stamp_is_the_same_by_its_path_and_within_its_root() {
        let root = tempfile::tempdir().unwrap();
        let opened = File::open(root.path()).unwrap();
        let stamps = |name: &str| {
            let by_path = Stamp::of(&RunDir::new(&root.path().join(name)));
            let within = Stamp::within(&opened, OsStr::new(name));
            let text = |result: std::io::Result<_>| result.map_err(|error| error.to_string());
            assert_eq!(
                text(within),
                text(
                    by_path
                        .as_ref()
                        .copied()
                        .map_err(|error| std::io::Error::other(error.to_string()))
                )
            );
            by_path
        };
        assert_eq!(stamps("missing").unwrap(), None);
        fs_err::create_dir(root.path().join("run")).unwrap();
        assert_eq!(stamps("run").unwrap(), None);
        let manifest = root.path().join("run/benchmark.json");
        fs_err::write(&manifest, "{}").unwrap();
        let moments = [
            SystemTime::now(),
            SystemTime::UNIX_EPOCH - Duration::from_millis(1500),
            SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001),
        ];
        for moment in moments {
            let times = FileTimes::new().set_modified(moment);
            File::options()
                .write(true)
                .open(&manifest)
                .unwrap()
                .set_times(times)
                .unwrap();
            assert_eq!(stamps("run").unwrap().unwrap().bytes, 2);
        }
        std::os::unix::fs::symlink("run", root.path().join("linked")).unwrap();
        assert_eq!(stamps("linked").unwrap(), stamps("run").unwrap());
        fs_err::create_dir_all(root.path().join("odd/benchmark.json")).unwrap();
        assert!(stamps("odd").is_err());
        fs_err::write(root.path().join("file"), "").unwrap();
        assert_eq!(stamps("file").unwrap(), None);
    }
}
