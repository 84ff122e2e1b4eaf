//! [`RowTail`]: the rows of a run as they come.

use std::collections::HashMap;

use super::{lines::LineError, read_line::LineEnd, row_files::RowLines};
use crate::{
    model::Outcome,
    record::{
        disk::layout::RunDir,
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
    lines: RowLines,
    line: Vec<u8>,
    /// Where the attempts begin that have yet to be graded, by the numbers of their lines, with their lengths.
    ungraded: HashMap<u64, (u64, usize)>,
}

impl RowTail {
    pub(in crate::record) fn open(dir: &RunDir) -> Result<Self, RecordError> {
        let lines = RowLines::open(dir).map_err(RecordError::io("read rows"))?;
        Ok(Self {
            lines,
            line: Vec::new(),
            ungraded: HashMap::new(),
        })
    }

    /// Reads the next row; `None` if there is none yet. An attempt that is graded comes once more, as it was judged.
    pub fn next_row(&mut self) -> Option<Result<Row<'static>, LineError>> {
        loop {
            match self.lines.next(&mut self.line) {
                Ok(None | Some(LineEnd::File)) => return None,
                Ok(Some(LineEnd::Newline)) => {}
                Err(error) => return Some(Err(error.into())),
            }
            match self.row() {
                Ok(Some(row)) => return Some(Ok(row)),
                // A judgement of what was judged before is no news of an attempt, and a part of one is none yet.
                Ok(None) => {}
                Err(problem) => {
                    return Some(Err(LineError::Damaged {
                        path: self.lines.path().to_owned(),
                        line: self.lines.number(),
                        problem,
                    }));
                }
            }
        }
    }

    /// The row of the line that was read, or the one whose judgement it is.
    fn row(&mut self) -> Result<Option<Row<'static>>, String> {
        if !is_judgement(&self.line) {
            let row = Row::decode(&self.line)?;
            if row.outcome == Outcome::Ungraded {
                let place = (self.lines.begin(), self.line.len());
                self.ungraded.insert(row.seq, place);
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
        let read = self.lines.files().read_exact_at(&mut line, at);
        read.map_err(|error| error.to_string())?;
        let mut row = Row::decode(&line)?;
        row.judge(judgement);
        Ok(Some(row))
    }

    /// Reads a last line that lacks nothing but its newline. Only once nobody writes any more: until then more of it may
    /// come.
    pub fn last_row(&mut self) -> Option<Row<'static>> {
        match self.lines.next(&mut self.line).ok()?? {
            LineEnd::Newline => None,
            LineEnd::File => self.row().ok().flatten(),
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
            disk::layout::RunDir,
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

        let dir = RunDir::new(&directory.path().join("other"));
        fs_err::create_dir(dir.path()).unwrap();
        let mut file = fs_err::File::create(dir.index()).unwrap();
        let mut tail = RowTail::open(&dir).unwrap();
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
        let mut cut = RowTail::open(&dir).unwrap();
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
