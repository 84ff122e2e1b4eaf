//! Repairing the tail of the last file of rows before the next row is appended.

use std::{
    fmt,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use fs_err::{File, OpenOptions};

use super::sealing;
use crate::record::{
    disk::{durable, layout::RunDir, modes, regular},
    error::RecordError,
    failpoint,
    format::{
        brief,
        line::{self, MAX_LINE_BYTES},
    },
};

const BLOCK_BYTES: usize = 64 * 1024;

/// What a repair found.
#[derive(Debug)]
pub(in crate::record) struct Repaired {
    /// The number of the last row, 0 if there is none.
    pub(in crate::record) last_seq: u64,
    /// What it moved aside.
    pub(in crate::record) moved: Option<Moved>,
}

/// Bytes that gave no row, and were moved out of the file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::record) struct Moved {
    pub(in crate::record) bytes: u64,
    /// Where they began.
    pub(in crate::record) from: u64,
    pub(in crate::record) to: PathBuf,
    /// Why the first line of them gave no row.
    pub(in crate::record) problem: String,
}

impl fmt::Display for Moved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the last {} bytes of the rows, from byte {} on, gave no row and were moved to `{}`: {}",
            self.bytes,
            self.from,
            self.to.display(),
            self.problem
        )
    }
}

/// Moves everything after the last good line aside, and gives that line its newline if it lacks it. Bad lines before it
/// stay: whoever reads rows counts them.
///
/// Once it has succeeded, all rows are on disk, and doing it again changes nothing. Rows of a newer runner are refused
/// before anything is changed.
pub(in crate::record) fn repair(dir: &RunDir, session: u32) -> Result<Repaired, RecordError> {
    let failed = || RecordError::io("repair the file of rows");
    let number = dir.last_row_file().map_err(failed())?;
    let path = dir.row_file(number);
    let mut index = open(&path, number == 1).map_err(failed())?;
    let length = index.metadata().map_err(failed())?.len();
    let mut last = last_good_line(index.file(), length).map_err(failed())?;
    if last.end == 0 {
        (last.seq, last.version) = last_of_earlier(dir, number).map_err(failed())?;
    }
    line::check_version(&path, last.version)?;
    let repaired = mend(dir, session, &mut index, length, last).map_err(failed())?;
    sealing::seal_all(dir, number).map_err(RecordError::io("seal a file of rows"))?;
    Ok(repaired)
}

/// The number and the version of the last row in the files before one.
fn last_of_earlier(dir: &RunDir, number: u32) -> io::Result<(u64, u32)> {
    for number in (1..number).rev() {
        let file = regular::open(&dir.row_file(number))?;
        let length = file.metadata()?.len();
        let last = last_good_line(file.file(), length)?;
        if last.end > 0 {
            return Ok((last.seq, last.version));
        }
    }
    Ok((0, 0))
}

fn mend(
    dir: &RunDir,
    session: u32,
    index: &mut File,
    length: u64,
    last: LastLine,
) -> io::Result<Repaired> {
    let mut moved = None;
    if last.end < length {
        failpoint::pass("repair", "begin")?;
        let to = dir.torn(session);
        move_aside(index.file(), last.end..length, &to)?;
        failpoint::pass("repair", "moved")?;
        index.set_len(last.end)?;
        failpoint::pass("repair", "truncated")?;
        moved = Some(Moved {
            bytes: length - last.end,
            from: last.end,
            to,
            problem: last.problem,
        });
    }
    if last.lacks_newline {
        failpoint::pass("repair", "newline")?;
        index.write_all(b"\n")?;
        failpoint::pass("repair", "completed")?;
    }
    // Whoever wrote these rows may have died before they were on disk, and what they say is about to be believed.
    durable::sync(index)?;
    durable::sync_directory(dir.path())?;
    failpoint::pass("repair", "synced")?;
    Ok(Repaired {
        last_seq: last.seq,
        moved,
    })
}

/// Opens for appending; the only file, which somebody has removed, is made anew.
fn open(path: &Path, is_only: bool) -> io::Result<File> {
    let open = |create| {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(create);
        regular::open_to_write(modes::set(&mut options, path), path)
    };
    match open(false) {
        Err(error) if is_only && error.kind() == io::ErrorKind::NotFound => open(true),
        opened => opened,
    }
}

/// Adds bytes to the file of what was torn. A repair that was interrupted after this finds them there already.
fn move_aside(index: &std::fs::File, torn: std::ops::Range<u64>, path: &Path) -> io::Result<()> {
    let length = usize::try_from(torn.end - torn.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    index.read_exact_at(&mut bytes, torn.start)?;
    let mut moved = match regular::read(path) {
        Ok(moved) => moved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if moved.ends_with(&bytes) {
        return durable::sync_parent(path);
    }
    moved.extend_from_slice(&bytes);
    durable::replace(path, &moved, "repair.aside")
}

/// The last line that gives a row.
struct LastLine {
    /// Where it ends, with its newline if it has one.
    end: u64,
    lacks_newline: bool,
    seq: u64,
    /// The version of its format.
    version: u32,
    /// Why the line after it gives no row, if there is one.
    problem: String,
}

/// Looks for it from the end, in bytes: what is there may be no text at all.
fn last_good_line(index: &std::fs::File, length: u64) -> io::Result<LastLine> {
    let mut window = Window::new(index);
    let mut line = Vec::new();
    let mut end = length;
    let mut problem = String::new();
    loop {
        let start = window.line_start(end)?;
        let found = if end - start < MAX_LINE_BYTES as u64 {
            line.resize((end - start) as usize, 0);
            index.read_exact_at(&mut line, start)?;
            seq_and_version(&line)
        } else {
            Err("too long".into())
        };
        let lacks_newline = end == length;
        match found {
            Ok((seq, version)) => {
                return Ok(LastLine {
                    end: if lacks_newline { end } else { end + 1 },
                    lacks_newline,
                    seq,
                    version,
                    problem,
                });
            }
            // What comes after the last newline is no line where nothing comes.
            Err(_) if lacks_newline && start == end => {}
            Err(found) => problem = found,
        }
        if start == 0 {
            return Ok(LastLine {
                end: 0,
                lacks_newline: false,
                seq: 0,
                version: 0,
                problem,
            });
        }
        end = start - 1;
    }
}

/// The number and the version of a line's row; of a newer row that cannot be read, only the latter.
fn seq_and_version(line: &[u8]) -> Result<(u64, u32), String> {
    match brief::decode_brief(line) {
        Ok(brief) => Ok((brief.seq, brief.version)),
        Err(problem) => match line::newer_version(line) {
            Some(version) => Ok((0, version)),
            None => Err(problem),
        },
    }
}

/// A piece of a file that moves towards its beginning.
struct Window<'a> {
    file: &'a std::fs::File,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a std::fs::File) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Where the line begins whose bytes end before `end`.
    fn line_start(&mut self, mut end: u64) -> io::Result<u64> {
        while end > 0 {
            if !(self.start < end && end <= self.start + self.bytes.len() as u64) {
                self.load(end)?;
            }
            let before = &self.bytes[..(end - self.start) as usize];
            if let Some(newline) = before.iter().rposition(|byte| *byte == b'\n') {
                return Ok(self.start + newline as u64 + 1);
            }
            end = self.start;
        }
        Ok(0)
    }

    /// Loads what lies before `end`.
    fn load(&mut self, end: u64) -> io::Result<()> {
        self.start = end.saturating_sub(BLOCK_BYTES as u64);
        self.bytes.resize((end - self.start) as usize, 0);
        self.file.read_exact_at(&mut self.bytes, self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::repair;
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            RunReader, Store,
            disk::layout::RunDir,
            testing::{claim, crashed_run, end, entry, fast_directory, ignore, new_run, resume},
        },
    };

    const ROWS: u64 = 12;

    /// A run that has ended incomplete with all its rows, and their bytes.
    fn run(root: &Path) -> (RunDir, Vec<u8>) {
        let store = Store::open(root).unwrap();
        let recorder = store.begin(new_run(ROWS), ignore).unwrap();
        for ordinal in 0..ROWS {
            let mut entry = entry(ordinal, 1, Outcome::Passed);
            entry.attempt.output = Some("zwölf ✓".into());
            recorder.record(vec![entry]);
        }
        let finished = recorder.finish(&end(RunStatus::Incomplete, ROWS)).unwrap();
        let dir = RunDir::new(&finished.run_dir);
        let bytes = fs_err::read(dir.index()).unwrap();
        (dir, bytes)
    }

    /// How many rows are whole: a line that lacks nothing but its newline is.
    fn whole_rows(bytes: &[u8], length: usize) -> usize {
        let reach = &bytes[..(length + 1).min(bytes.len())];
        reach.iter().filter(|byte| **byte == b'\n').count()
    }

    fn moved_aside(dir: &RunDir) -> Vec<u8> {
        fs_err::read(dir.torn(1)).unwrap_or_default()
    }

    #[test]
    fn every_prefix_can_be_claimed_and_loses_no_whole_row() {
        let directory = fast_directory();
        let (dir, bytes) = run(directory.path());
        for length in 0..=bytes.len() {
            _ = fs_err::remove_file(dir.torn(1));
            fs_err::write(dir.index(), &bytes[..length]).unwrap();
            let history = claim(dir.path())
                .unwrap()
                .history(crate::record::NextSession::default())
                .unwrap();

            let whole = whole_rows(&bytes, length);
            let kept = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .take(whole)
                .map(<[u8]>::len)
                .sum::<usize>();
            assert_eq!(history.last_seq, whole as u64, "{length}");
            assert_eq!(history.state.counts().passed, whole as u64, "{length}");
            assert_eq!(history.damaged_lines, 0, "{length}");
            assert_eq!(fs_err::read(dir.index()).unwrap(), bytes[..kept]);
            let torn = &bytes[kept.min(length)..length];
            assert_eq!(moved_aside(&dir), torn, "{length}");
        }
    }

    #[test]
    fn a_run_cut_at_any_byte_goes_on_to_the_same_end() {
        let directory = fast_directory();
        let (dir, bytes) = run(directory.path());
        let manifest = fs_err::read(dir.manifest()).unwrap();
        // Thousands of sessions would spend their time with SQLite, which is only a projection.
        fs_err::remove_file(dir.root().database()).unwrap();
        fs_err::create_dir(dir.root().database()).unwrap();
        for length in 0..=bytes.len() {
            _ = fs_err::remove_file(dir.torn(1));
            fs_err::write(dir.index(), &bytes[..length]).unwrap();
            fs_err::write(dir.manifest(), &manifest).unwrap();
            let (recorder, mut state) = resume(claim(dir.path()).unwrap(), None);
            let mut from = 0;
            while let Some(ordinal) = state.next_pending(from) {
                let number = state.assign(ordinal);
                recorder.record(vec![entry(ordinal, number, Outcome::Passed)]);
                from = ordinal + 1;
            }
            drop(recorder);

            let reader = RunReader::open(dir.path()).unwrap();
            assert!(reader.state().unwrap().is_complete(), "{length}");
            let rows = reader
                .rows()
                .map(|row| row.map(|row| (row.ordinal, row.seq, row.attempt)));
            let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
            let expected: Vec<_> = (0..ROWS).map(|ordinal| (ordinal, ordinal + 1, 1)).collect();
            assert_eq!(rows, expected, "{length}");
        }
    }

    #[test]
    fn a_bad_line_in_the_middle_stays_and_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (dir, mut bytes) = run(directory.path());
        let fourth = bytes.split(|byte| *byte == b'\n').take(3);
        let fourth = fourth.map(|line| line.len() + 1).sum::<usize>();
        bytes[fourth + 40] ^= 1;
        fs_err::write(dir.index(), &bytes).unwrap();

        let history = claim(dir.path())
            .unwrap()
            .history(crate::record::NextSession::default())
            .unwrap();
        assert_eq!(fs_err::read(dir.index()).unwrap(), bytes);
        assert_eq!((history.damaged_lines, history.last_seq), (1, ROWS));
        assert_eq!(history.state.next_pending(0), Some(3));
        assert!(!dir.torn(1).exists());
    }

    #[test]
    fn a_large_tail_of_zeros_or_newlines_is_moved_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (dir, bytes) = run(directory.path());
        for filler in [0, b'\n', b'{'] {
            _ = fs_err::remove_file(dir.torn(1));
            let tail = vec![filler; 1_000_000];
            fs_err::write(dir.index(), [&bytes[..], &tail].concat()).unwrap();
            assert_eq!(repair(&dir, 1).unwrap().last_seq, ROWS);
            assert_eq!(fs_err::read(dir.index()).unwrap(), bytes);
            assert_eq!(moved_aside(&dir), tail);
        }
    }

    #[test]
    fn what_one_repair_moved_aside_the_next_one_keeps() {
        let directory = tempfile::tempdir().unwrap();
        let (dir, bytes) = run(directory.path());
        for tail in ["one", "two"] {
            fs_err::write(dir.index(), [&bytes[..], tail.as_bytes()].concat()).unwrap();
            repair(&dir, 1).unwrap();
        }
        assert_eq!(moved_aside(&dir), b"onetwo");

        fs_err::remove_file(dir.index()).unwrap();
        assert_eq!(repair(&dir, 1).unwrap().last_seq, 0);
        assert_eq!(fs_err::read(dir.index()).unwrap(), b"");
    }

    #[test]
    fn a_crashed_run_with_a_torn_row_is_repaired_before_it_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![entry(0, 1, Outcome::Passed), entry(1, 1, Outcome::Failed)];
        let dir = RunDir::new(&crashed_run(directory.path(), 2, entries));
        let bytes = fs_err::read(dir.index()).unwrap();
        fs_err::write(dir.index(), &bytes[..bytes.len() - 1]).unwrap();
        let claimed = claim(dir.path()).unwrap();
        assert_eq!(claimed.manifest().status, RunStatus::Completed);
        assert_eq!(fs_err::read(dir.index()).unwrap(), bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn repairing_garbage_loses_no_whole_row_and_doing_it_again_changes_nothing(
            cut in 0..6000_usize,
            garbage in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0), any::<u8>()], 0..600),
        ) {
            let directory = fast_directory();
            let (dir, bytes) = run(directory.path());
            let cut = cut.min(bytes.len());
            let length = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let damaged = [&bytes[..cut], &garbage].concat();
            fs_err::write(dir.index(), &damaged).unwrap();

            let seq = repair(&dir, 1).unwrap().last_seq;
            let repaired = fs_err::read(dir.index()).unwrap();
            prop_assert!(repaired.starts_with(&bytes[..length]));
            prop_assert!(seq >= whole_rows(&bytes[..length], length) as u64);
            // Nothing is thrown away: what is not in the file lies beside it.
            let whole = [&repaired[..], &moved_aside(&dir)].concat();
            prop_assert!(whole == damaged || whole == [&damaged[..], b"\n"].concat());

            prop_assert_eq!(repair(&dir, 1).unwrap().last_seq, seq);
            prop_assert_eq!(fs_err::read(dir.index()).unwrap(), repaired);
        }
    }
}
