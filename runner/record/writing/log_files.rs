//! [`LogFiles`]: what is said in attempts, in few files of the run.

use std::{
    io::{self, Write as _},
    mem,
};

use fs_err::{File, OpenOptions};

use crate::{
    model::Attempt,
    record::{
        disk::{durable, layout::RunDir, lock::FilePlace, modes},
        error::RecordError,
        failpoint,
        format::{log_line::LogsLine, row::RowLogs},
    },
};

/// How long a file gets before the next one is begun.
const FULL_BYTES: u64 = 256 * 1024 * 1024;
/// How much waits in memory for the commit.
const WAITING_BYTES: usize = 1024 * 1024;

/// Writes what is said in a session's attempts, before the rows that name it. No two sessions write into one file.
pub(in crate::record) struct LogFiles {
    dir: RunDir,
    session: u32,
    /// The number of the latest file, from 1.
    number: u32,
    current: Option<LogFile>,
    full: u64,
}

struct LogFile {
    file: File,
    place: FilePlace,
    /// How long it is.
    length: u64,
    /// How much of it belongs to rows that are acknowledged.
    committed: u64,
    /// What has yet to be written into it.
    waiting: Vec<u8>,
    /// Whether it is known to have its name after a loss of power.
    is_named: bool,
}

impl LogFiles {
    pub(in crate::record) fn new(dir: RunDir, session: u32) -> Self {
        Self {
            dir,
            session,
            number: 0,
            current: None,
            full: FULL_BYTES,
        }
    }

    /// Takes what was said in an attempt, and tells where it will be once [`LogFiles::sync`] has returned.
    pub(in crate::record) fn add(
        &mut self,
        attempt: &Attempt,
    ) -> Result<Option<RowLogs>, RecordError> {
        let Some(line) = LogsLine::of(attempt) else {
            return Ok(None);
        };
        let added = self.add_line(&line);
        added
            .map(Some)
            .map_err(RecordError::io("write what was said in an attempt"))
    }

    fn add_line(&mut self, line: &LogsLine<'_>) -> io::Result<RowLogs> {
        if self
            .current
            .as_ref()
            .is_some_and(|file| file.end() >= self.full)
        {
            self.sync_current()?;
            self.current = None;
        }
        let mut file = match self.current.take() {
            Some(file) => file,
            None => self.create()?,
        };
        let start = file.waiting.len();
        let at = file.end();
        line.encode(&mut file.waiting);
        let bytes = (file.waiting.len() - start) as u64;
        let written = match file.waiting.len() >= WAITING_BYTES {
            true => file.write(),
            false => Ok(()),
        };
        self.current = Some(file);
        written.map(|()| RowLogs {
            file: self.number,
            at,
            bytes,
        })
    }

    /// Begins the next file, which is nobody's yet.
    fn create(&mut self) -> io::Result<LogFile> {
        loop {
            self.number += 1;
            let path = self.dir.logs(self.session, self.number);
            let mut options = OpenOptions::new();
            options.append(true).create_new(true);
            match modes::set(&mut options, &path).open(&path) {
                Ok(file) => {
                    failpoint::pass("logs", "created")?;
                    return LogFile::new(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes durable what was taken.
    pub(in crate::record) fn sync(&mut self) -> Result<(), RecordError> {
        let synced = self.sync_current();
        synced.map_err(RecordError::io("write what was said in attempts"))
    }

    fn sync_current(&mut self) -> io::Result<()> {
        match &mut self.current {
            Some(file) => file.sync(&self.dir),
            None => Ok(()),
        }
    }

    /// Says that all rows are on disk that name what was taken.
    pub(in crate::record) fn committed(&mut self) {
        if let Some(file) = &mut self.current {
            file.committed = file.length;
        }
    }

    /// Fails if somebody else has removed or replaced the file, cut it or written into it.
    pub(in crate::record) fn check(&self) -> Result<(), RecordError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        current.place.check()?;
        let metadata = current.file.metadata();
        let metadata = metadata.map_err(RecordError::io("look at what was said in attempts"))?;
        if metadata.len() == current.length {
            return Ok(());
        }
        Err(RecordError::Lost {
            path: current.file.path().to_owned(),
        })
    }

    /// Cuts off what belongs to rows that are not acknowledged: on a full disk it is in the way of the manifest.
    pub(in crate::record) fn cut_back(&mut self) -> io::Result<()> {
        match &mut self.current {
            Some(file) => {
                file.waiting.clear();
                file.file.set_len(file.committed)
            }
            None => Ok(()),
        }
    }
}

impl LogFile {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            place: FilePlace::of(&file)?,
            file,
            length: 0,
            committed: 0,
            waiting: Vec::new(),
            is_named: false,
        })
    }

    /// Where the next line begins.
    fn end(&self) -> u64 {
        self.length + self.waiting.len() as u64
    }

    fn write(&mut self) -> io::Result<()> {
        failpoint::pass("logs", "begin")?;
        let waiting = mem::take(&mut self.waiting);
        self.file.write_all(&waiting)?;
        self.length += waiting.len() as u64;
        // Its room is used again.
        self.waiting = waiting;
        self.waiting.clear();
        failpoint::pass("logs", "written")
    }

    fn sync(&mut self, dir: &RunDir) -> io::Result<()> {
        if self.end() == self.committed {
            return Ok(());
        }
        self.write()?;
        durable::sync(&self.file)?;
        if !self.is_named {
            durable::sync_directory(dir.path())?;
            self.is_named = true;
        }
        failpoint::pass("logs", "synced")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err::os::unix::fs::symlink;

    use super::LogFiles;
    use crate::{
        model::{Attempt, Outcome},
        record::{
            disk::layout::RunDir,
            format::{
                log_line::LogsLine,
                row::{Row, RowLogs, RowPlace},
            },
            reading::said::LogReader,
            testing::entry,
        },
    };

    fn attempt(ordinal: u64, stderr: &str) -> Attempt {
        let mut attempt = entry(ordinal, 1, Outcome::Passed).attempt;
        attempt.stderr = stderr.into();
        attempt
    }

    fn stderr(directory: &Path, ordinal: u64, place: RowLogs) -> std::io::Result<String> {
        let entry = entry(ordinal, 1, Outcome::Passed);
        let row = Row::new(&entry, RowPlace { seq: 1, session: 3 });
        let mut reader = LogReader::new(RunDir::new(directory));
        reader.read(&row, place).map(|said| said.stderr)
    }

    #[test]
    fn a_full_file_is_followed_by_the_next_and_nobodys_file_is_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let strange = directory.path().join("logs-3-2.jsonl");
        fs_err::write(&strange, "somebody else's").unwrap();
        symlink("nowhere", directory.path().join("logs-3-3.jsonl")).unwrap();
        let mut logs = LogFiles::new(RunDir::new(directory.path()), 3);
        logs.full = 1000;
        assert_eq!(logs.add(&attempt(0, "")).unwrap(), None);
        let mut places = Vec::new();
        for ordinal in 0..40 {
            places.push(logs.add(&attempt(ordinal, "oh no\n")).unwrap().unwrap());
            if ordinal % 3 == 0 {
                logs.sync().unwrap();
                logs.check().unwrap();
                logs.committed();
            }
        }
        logs.sync().unwrap();

        let files: Vec<_> = places.iter().map(|place| place.file).collect();
        assert!(files.starts_with(&[1, 1]) && files.is_sorted());
        assert!(!files.contains(&2) && !files.contains(&3) && files.contains(&6));
        for (ordinal, place) in (0..).zip(places) {
            assert_eq!(stderr(directory.path(), ordinal, place).unwrap(), "oh no\n");
            assert!(stderr(directory.path(), ordinal + 1, place).is_err());
        }
        assert_eq!(fs_err::read_to_string(strange).unwrap(), "somebody else's");
    }

    #[test]
    fn much_that_waits_is_written_before_its_commit_and_cut_off_if_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs-3-1.jsonl");
        let length = || fs_err::metadata(&path).unwrap().len();
        let mut logs = LogFiles::new(RunDir::new(directory.path()), 3);
        let first = logs.add(&attempt(0, "short")).unwrap().unwrap();
        assert_eq!(length(), 0);
        logs.sync().unwrap();
        logs.committed();
        assert_eq!(length(), first.bytes);

        let long = logs
            .add(&attempt(1, &"ö".repeat(600_000)))
            .unwrap()
            .unwrap();
        assert_eq!(length(), first.bytes + long.bytes);
        logs.add(&attempt(2, "lost")).unwrap();
        logs.check().unwrap();
        logs.cut_back().unwrap();
        assert_eq!(length(), first.bytes);
        assert_eq!(stderr(directory.path(), 0, first).unwrap(), "short");
    }

    #[test]
    fn a_file_that_somebody_else_has_touched_is_not_written_into() {
        let whole = |logs: &mut LogFiles| {
            logs.add(&attempt(0, "said")).unwrap();
            logs.sync().unwrap();
            logs.check()
        };
        let touches: [fn(&Path); 4] = [
            |path| fs_err::remove_file(path).unwrap(),
            |path| fs_err::write(path, "").unwrap(),
            |path| fs_err::write(path, "more".repeat(1000)).unwrap(),
            |path| {
                let bytes = fs_err::read(path).unwrap();
                fs_err::remove_file(path).unwrap();
                fs_err::write(path, bytes).unwrap();
            },
        ];
        for touch in touches {
            let directory = tempfile::tempdir().unwrap();
            let mut logs = LogFiles::new(RunDir::new(directory.path()), 3);
            whole(&mut logs).unwrap();
            touch(&directory.path().join("logs-3-1.jsonl"));
            let error = logs.check().unwrap_err();
            assert!(error.to_string().contains("logs-3-1.jsonl"), "{error}");
        }
    }

    #[test]
    fn what_a_row_names_wrongly_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut logs = LogFiles::new(RunDir::new(directory.path()), 3);
        let place = logs.add(&attempt(0, "said")).unwrap().unwrap();
        logs.sync().unwrap();
        for wrong in [
            RowLogs { file: 2, ..place },
            RowLogs { at: 1, ..place },
            RowLogs {
                at: u64::MAX,
                ..place
            },
            RowLogs { bytes: 0, ..place },
            RowLogs {
                bytes: place.bytes - 1,
                ..place
            },
            RowLogs {
                bytes: u64::MAX,
                ..place
            },
        ] {
            assert!(stderr(directory.path(), 0, wrong).is_err(), "{wrong:?}");
        }
        let mut line = Vec::new();
        LogsLine::of(&attempt(0, "said")).unwrap().encode(&mut line);
        assert_eq!(line.len() as u64, place.bytes);
    }
}
