//! [`Validated`]: a scenario that was found to be valid, for whoever asks again and again.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use super::{Host, Observe, validate};
use crate::{error::Error, run};

/// How much a file system's clock may be behind or coarser than ours: what has changed less than so long ago may change once
/// more without a trace.
const GRAIN: SignedDuration = SignedDuration::from_secs(2);

/// A scenario that was found to be valid, and the files that this was read from.
#[derive(Debug)]
pub struct Validated {
    /// The scenario's name.
    pub name: String,
    /// How many tests it has.
    pub tests: u64,
    /// How many trials these come to.
    pub trials: u64,
    /// The names of its providers.
    pub providers: Vec<String>,
    read: Vec<(PathBuf, Option<FileStamp>)>,
    is_settled: bool,
}

/// What tells a file from what it was, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs_err::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn latest(self) -> i64 {
        self.modified.0.max(self.changed.0)
    }
}

impl Validated {
    /// Validates a scenario as [`validate`] does, and keeps what it comes to.
    ///
    /// # Errors
    ///
    /// Fails as [`validate`] does.
    pub fn new(scenario: &Path, host: &Host, observe: &mut dyn Observe) -> Result<Self, Error> {
        let began = (host.now)();
        let (scenario, suite) = validate(scenario, host, observe)?;
        let paths = run::read_for_validation(&scenario, &suite).into_iter();
        let read: Vec<_> = paths.map(|path| (FileStamp::of(&path), path)).collect();
        let settled = began.saturating_sub(GRAIN).unwrap_or(Timestamp::MIN);
        let is_old = |stamp: &FileStamp| stamp.latest() < settled.as_second();
        let providers = scenario.providers().iter();
        Ok(Self {
            name: scenario.name().to_owned(),
            tests: suite.test_count(),
            trials: suite.trial_count(),
            providers: providers.map(|provider| provider.id.to_string()).collect(),
            is_settled: read
                .iter()
                .all(|(stamp, _)| stamp.as_ref().is_none_or(is_old)),
            read: read
                .into_iter()
                .map(|(stamp, path)| (path, stamp))
                .collect(),
        })
    }

    /// Tells whether nothing has changed that it was read from, so that it is still valid and says the same.
    pub fn is_fresh(&self) -> bool {
        let is_same = |(path, stamp): &(PathBuf, _)| FileStamp::of(path) == *stamp;
        self.is_settled && self.read.iter().all(is_same)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use fs_err::File;

    use super::FileStamp;

    #[test]
    fn a_file_that_is_written_or_put_in_anothers_place_is_told_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(FileStamp::of(&path), None);
        fs_err::write(&path, "1").unwrap();
        let first = FileStamp::of(&path).unwrap();
        assert_eq!(FileStamp::of(&path), Some(first));
        fs_err::write(&path, "12").unwrap();
        assert_ne!(FileStamp::of(&path), Some(first));
        fs_err::write(&path, "1").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let later = SystemTime::now() + Duration::from_secs(10);
        file.file().set_modified(later).unwrap();
        assert_ne!(FileStamp::of(&path), Some(first));
        let second = FileStamp::of(&path).unwrap();
        fs_err::write(folder.path().join("b"), "1").unwrap();
        fs_err::rename(folder.path().join("b"), &path).unwrap();
        assert_ne!(FileStamp::of(&path), Some(second));
    }
}
