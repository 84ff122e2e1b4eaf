//! [`RowTail`]: the rows of a run as they come.

use std::{
    collections::HashMap,
    io::{BufReader, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use fs_err::File;

use super::{
    lines::LineError,
    read_line::{LineEnd, read_line},
};
use crate::{
    model::Outcome,
    record::{
        disk::regular,
        error::RecordError,
        format::{
            judgement::{JudgementLine, is_judgement},
            row::Row,
        },
    },
};

/// The rows of a run as they come, each once; a damaged line is an item of its own.
///
/// A line counts once its newline is there. What it says may reach the disk a moment later.
pub struct RowTail {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next line begins. A repair may cut off what is there without a newline, but nothing before.
    at: u64,
    /// How many lines came before it.
    lines: u64,
    line: Vec<u8>,
    /// Where the attempts begin that have yet to be graded, by the numbers of their lines, with their lengths.
    ungraded: HashMap<u64, (u64, usize)>,
}

impl RowTail {
    pub(in crate::record) fn open(path: PathBuf) -> Result<Self, RecordError> {
        let file = regular::open(&path).map_err(RecordError::io("read rows"))?;
        Ok(Self {
            path,
            file: BufReader::with_capacity(64 * 1024, file),
            at: 0,
            lines: 0,
            line: Vec::new(),
            ungraded: HashMap::new(),
        })
    }

    /// Reads the next row; `None` if there is none yet. An attempt that is graded comes once more, as it was judged.
    pub fn next_row(&mut self) -> Option<Result<Row<'static>, LineError>> {
        loop {
            let begin = self.at;
            match self.next_line() {
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => return Some(Err(error.into())),
            }
            match self.row(begin) {
                Ok(Some(row)) => return Some(Ok(row)),
                // A judgement of what was judged before is no news of an attempt, and a part of one is none yet.
                Ok(None) => {}
                Err(problem) => {
                    return Some(Err(LineError::Damaged {
                        path: self.path.clone(),
                        line: self.lines,
                        problem,
                    }));
                }
            }
        }
    }

    /// The row of the line that begins at `begin`, or the one whose judgement it is.
    fn row(&mut self, begin: u64) -> Result<Option<Row<'static>>, String> {
        if !is_judgement(&self.line) {
            let row = Row::decode(&self.line)?;
            if row.outcome == Outcome::Ungraded {
                self.ungraded.insert(row.seq, (begin, self.line.len()));
            }
            return Ok(Some(row));
        }
        let judgement = JudgementLine::decode(&self.line)?;
        if judgement.is_part() {
            return Ok(None);
        }
        let Some((at, bytes)) = self.ungraded.remove(&judgement.of) else {
            return Ok(None);
        };
        let mut line = vec![0; bytes];
        let file = self.file.get_ref().file();
        file.read_exact_at(&mut line, at)
            .map_err(|error| error.to_string())?;
        let mut row = Row::decode(&line)?;
        row.judge(judgement);
        Ok(Some(row))
    }

    /// Reads a last line that lacks nothing but its newline. Only once nobody writes any more: until then more of it may
    /// come.
    pub fn last_row(&mut self) -> Option<Row<'static>> {
        match self.next_line().ok()? {
            true => None,
            false => self.row(self.at).ok().flatten(),
        }
    }

    /// Reads a line, if it is there whole.
    fn next_line(&mut self) -> std::io::Result<bool> {
        let read = read_line(&mut self.file, &mut self.line)?;
        match read.end {
            LineEnd::Newline => {
                self.at += read.bytes;
                self.lines += 1;
                Ok(true)
            }
            LineEnd::File => {
                self.file.seek(SeekFrom::Start(self.at))?;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::RowTail;
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            LineError, Store,
            testing::{end, entry, ignore, new_run},
        },
    };

    fn seqs(tail: &mut RowTail) -> Vec<u64> {
        std::iter::from_fn(|| tail.next_row().map(|row| row.unwrap().seq)).collect()
    }

    #[test]
    fn rows_come_once_and_only_whole_whatever_a_repair_cuts_off() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(3), ignore).unwrap();
        for ordinal in 0..3 {
            recorder.record(vec![entry(ordinal, 1, Outcome::Passed)]);
        }
        let finished = recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        let bytes = fs_err::read(finished.run_dir.join("index.jsonl")).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;

        let path = directory.path().join("piece");
        let mut file = fs_err::File::create(&path).unwrap();
        let mut tail = RowTail::open(path).unwrap();
        assert!(seqs(&mut tail).is_empty());
        file.write_all(&bytes[..second + 40]).unwrap();
        assert_eq!(seqs(&mut tail), [1]);
        assert!(seqs(&mut tail).is_empty());

        file.set_len(second as u64).unwrap();
        file.seek(SeekFrom::Start(second as u64)).unwrap();
        file.write_all(&bytes[second..]).unwrap();
        assert_eq!(seqs(&mut tail), [2, 3]);
        assert!(tail.last_row().is_none());

        file.set_len(bytes.len() as u64 - 1).unwrap();
        let mut cut = RowTail::open(file.path().to_owned()).unwrap();
        assert_eq!(seqs(&mut cut), [1, 2]);
        assert_eq!(cut.last_row().unwrap().seq, 3);
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"\n").unwrap();

        file.write_all(b"damage\n").unwrap();
        let damage = tail.next_row().unwrap();
        assert!(matches!(damage, Err(LineError::Damaged { line: 4, .. })));
        assert!(tail.next_row().is_none());
    }
}
