//! The lines of `index.jsonl`, each a row or damage.

use std::{io, ops::Range, path::PathBuf};

use thiserror::Error;

use super::{
    judgements::{Judged, Judgements},
    read_line::LineEnd,
    row_files::{RowFiles, RowLines},
};
use crate::record::{
    disk::layout::RunDir,
    format::{
        brief::{self, Brief},
        cells::{self, RowCells},
        judgement::{JudgementLine, is_judgement},
        mark::AttemptKey,
        row::Row,
    },
};

/// Why a line of `index.jsonl` gives no row.
#[derive(Debug, Error)]
pub enum LineError {
    /// It is damaged; the lines after it are not.
    #[error("line {line} of `{path}` is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read on.
    #[error("cannot read rows")]
    Io(#[from] io::Error),
}

/// The rows of a run, one after the other; a damaged line is an item of its own.
pub struct Rows<T> {
    dir: RunDir,
    /// `None` until the first row is asked for.
    lines: Option<RowLines>,
    /// Whether all was read, or nothing more can be.
    is_over: bool,
    decode: fn(&[u8]) -> Result<T, String>,
    line: Vec<u8>,
    /// Which line of its file that is, from 1.
    number: u64,
    /// What is wrong with the end of the last file, if that was read.
    torn: Option<String>,
    judgements: JudgedApart,
}

/// Whether judgements stand apart from their attempts.
enum JudgedApart {
    No,
    /// They do, and have yet to be found.
    Yes,
    Found(Judgements),
}

/// An undamaged line.
pub(in crate::record) enum RowsLine<T> {
    /// What is read of an attempt, as it was written.
    Attempt(T),
    /// A judgement of one.
    Judgement(Brief),
}

impl<T> Rows<T> {
    pub(in crate::record) fn new(dir: &RunDir, decode: fn(&[u8]) -> Result<T, String>) -> Self {
        Self {
            dir: dir.clone(),
            lines: None,
            is_over: false,
            decode,
            line: Vec::new(),
            number: 0,
            torn: None,
            judgements: JudgedApart::No,
        }
    }

    /// The same of rows whose judgements may stand apart from them.
    pub(in crate::record) fn judged_apart(mut self) -> Self {
        self.judgements = JudgedApart::Yes;
        self
    }

    /// Which line the item before came from, from 1.
    pub(in crate::record) fn line(&self) -> u64 {
        self.number
    }

    /// The file that it came from.
    pub(in crate::record) fn path(&self) -> PathBuf {
        let lines = self.lines.as_ref();
        lines.map_or_else(|| self.dir.index(), |lines| lines.path().to_owned())
    }

    /// What is wrong with the end of the last file, once all was read; readers pass over it.
    pub(in crate::record) fn torn(&self) -> Option<&str> {
        self.torn.as_deref()
    }

    /// Where it is in all files together, without its line end.
    pub(in crate::record) fn place(&self) -> Range<u64> {
        let begin = self.lines.as_ref().map_or(0, RowLines::begin);
        begin..begin + self.line.len() as u64
    }

    /// The files, and what was found in them of judgements that stand apart.
    pub(in crate::record) fn into_parts(self) -> io::Result<(RowFiles, Option<Judgements>)> {
        let files = match self.lines {
            Some(lines) => lines.files().clone(),
            None => RowFiles::open(&self.dir)?,
        };
        let judgements = match self.judgements {
            JudgedApart::Found(judgements) => Some(judgements),
            JudgedApart::No | JudgedApart::Yes => None,
        };
        Ok((files, judgements))
    }

    /// All of the row that the item before has a part of.
    pub(in crate::record) fn whole_row(&self) -> Result<Row<'static>, LineError> {
        let mut row = self.row_as_written()?;
        self.judge(&mut row)?;
        Ok(row)
    }

    /// The same as its own line says.
    pub(in crate::record) fn row_as_written(&self) -> Result<Row<'static>, LineError> {
        Row::decode(&self.line).map_err(|problem| self.damaged(problem))
    }

    /// What of that row a table has cells for, as its own line says.
    pub(in crate::record) fn cells(&self) -> Result<RowCells<'_>, LineError> {
        RowCells::decode(&self.line).map_err(|problem| self.damaged(problem))
    }

    /// What of that row decides state, and its trial's id, if it says nothing that not every table has a column for.
    pub(in crate::record) fn without_columns(&self) -> Option<(Brief, &str)> {
        cells::without_columns(&self.line)
    }

    /// All of the judgement that the item before has a part of.
    pub(in crate::record) fn whole_judgement(&self) -> Result<JudgementLine<'static>, LineError> {
        JudgementLine::decode(&self.line).map_err(|problem| self.damaged(problem))
    }

    /// Lets the newest judgement of an attempt stand for what its line says, if there is one.
    pub(in crate::record) fn judge(&self, row: &mut impl Judged) -> io::Result<()> {
        if let Some(by) = self.judgement_at(row.place())? {
            row.judge(by);
        }
        Ok(())
    }

    /// The newest judgement that stands apart of the attempt with this line, and whose that is, if there is one.
    pub(in crate::record) fn judgement_at(
        &self,
        place: (u64, AttemptKey),
    ) -> io::Result<Option<JudgementLine<'static>>> {
        match &self.judgements {
            JudgedApart::Found(judgements) => judgements.of(place),
            JudgedApart::No | JudgedApart::Yes => Ok(None),
        }
    }

    fn damaged(&self, problem: String) -> LineError {
        LineError::Damaged {
            path: self.path(),
            line: self.number,
            problem,
        }
    }

    fn decode(&self) -> Result<RowsLine<T>, String> {
        match is_judgement(&self.line) {
            true => brief::decode_brief(&self.line).map(RowsLine::Judgement),
            false => (self.decode)(&self.line).map(RowsLine::Attempt),
        }
    }

    fn open(&mut self) -> io::Result<RowLines> {
        let files = RowFiles::open(&self.dir)?;
        let end = match self.judgements {
            JudgedApart::No => u64::MAX,
            JudgedApart::Yes | JudgedApart::Found(_) => {
                let judgements = Judgements::find(&files)?;
                let end = judgements.end();
                self.judgements = JudgedApart::Found(judgements);
                end
            }
        };
        Ok(files.lines_to(end))
    }

    fn read_line(&mut self) -> io::Result<Option<LineEnd>> {
        if self.lines.is_none() {
            self.lines = Some(self.open()?);
        }
        let lines = self.lines.as_mut().expect("they were opened");
        let end = lines.next(&mut self.line)?;
        self.number = lines.number() + u64::from(end == Some(LineEnd::File));
        Ok(end)
    }
}

impl<T: Judged> Iterator for Rows<T> {
    type Item = Result<T, LineError>;

    /// The next attempt, as it was judged last.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line()? {
                Ok(RowsLine::Attempt(mut row)) => {
                    let judged = self.judge(&mut row);
                    return Some(judged.map(|()| row).map_err(LineError::from));
                }
                Ok(RowsLine::Judgement(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<T> Rows<T> {
    /// The next line, as it was written.
    pub(in crate::record) fn next_line(&mut self) -> Option<Result<RowsLine<T>, LineError>> {
        if self.is_over {
            return None;
        }
        let end = self.read_line();
        self.is_over = !matches!(end, Ok(Some(LineEnd::Newline)));
        match (end, self.decode()) {
            (Err(error), _) => Some(Err(error.into())),
            (Ok(None), _) => None,
            (Ok(Some(_)), Ok(row)) => Some(Ok(row)),
            // What a crash has torn, or what is being written right now.
            (Ok(Some(LineEnd::File)), Err(problem)) => {
                self.torn = Some(problem);
                None
            }
            (Ok(Some(LineEnd::Newline)), Err(problem)) => Some(Err(self.damaged(problem))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineError, Rows};
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            Finished, Row, Store,
            disk::layout::RunDir,
            reading::reader::RunReader,
            testing::{end, entry, ignore, new_run},
        },
    };

    const ROWS: u64 = 12;

    fn run(root: &std::path::Path) -> Finished {
        let recorder = Store::open(root)
            .unwrap()
            .begin(new_run(ROWS), ignore)
            .unwrap();
        for ordinal in 0..ROWS {
            let mut entry = entry(ordinal, 1, Outcome::Passed);
            entry.attempt.output = Some("zwölf ✓".into());
            recorder.record(vec![entry]);
        }
        recorder.finish(&end(RunStatus::Completed, ROWS)).unwrap()
    }

    #[test]
    fn every_prefix_reads_without_error_and_loses_no_whole_row() {
        let directory = tempfile::tempdir().unwrap();
        let index = run(directory.path()).run_dir.join("index.jsonl");
        let bytes = fs_err::read(&index).unwrap();
        let dir = RunDir::new(&directory.path().join("other"));
        fs_err::create_dir(dir.path()).unwrap();
        fs_err::write(dir.index(), &bytes).unwrap();
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).open(dir.index()).unwrap();

        for length in (0..=bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            let rows = Rows::<Row<'static>>::new(&dir, Row::decode);
            let seqs: Vec<u64> = rows.map(|row| row.unwrap().seq).collect();
            // A line that lacks nothing but its newline is whole.
            let whole = bytes[..(length + 1).min(bytes.len())]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            assert!(
                seqs.iter().copied().eq(1..=whole as u64),
                "{length}: {seqs:?}"
            );
        }
    }

    #[test]
    fn damage_in_the_middle_is_reported_with_its_line_and_the_rest_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let finished = run(directory.path());
        let index = finished.run_dir.join("index.jsonl");
        let mut bytes = fs_err::read(&index).unwrap();
        let fourth = bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(2)
            .unwrap()
            .0;
        bytes[fourth + 40] ^= 1;
        bytes.extend_from_slice(&[0; 300_000]);
        fs_err::write(&index, &bytes).unwrap();

        let reader = RunReader::open(&finished.run_dir).unwrap();
        let (rows, damage): (Vec<_>, Vec<_>) = reader.rows().partition(Result::is_ok);
        assert_eq!(rows.len(), 11);
        assert_eq!(damage.len(), 1);
        assert!(
            matches!(&damage[0], Err(LineError::Damaged { line: 4, .. })),
            "{damage:?}"
        );

        let state = reader.state().unwrap();
        assert_eq!(state.counts().passed, 11);
        assert_eq!(state.next_pending(0), Some(3));
    }

    #[test]
    fn files_are_read_one_after_the_other_and_damage_has_its_place_in_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let finished = run(directory.path());
        let dir = RunDir::new(&finished.run_dir);
        let bytes = fs_err::read(dir.index()).unwrap();
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let write = |number, lines: &[&[u8]]| {
            fs_err::write(dir.row_file(number), lines.concat()).unwrap();
        };
        write(1, &lines[..5]);
        write(2, &lines[5..6]);
        write(3, &[]);
        write(4, &lines[6..]);
        let reader = RunReader::open(dir.path()).unwrap();
        let seqs = reader.rows().map(|row| row.unwrap().seq);
        assert!(seqs.eq(1..=ROWS));

        // What is torn in a file behind which there is another one is damage.
        write(2, &[lines[5], b"{\"v\""]);
        let damaged = reader.rows().filter_map(Result::err);
        let damaged: Vec<_> = damaged.map(|error| error.to_string()).collect();
        let [damaged] = &damaged[..] else {
            panic!("{damaged:?}");
        };
        assert!(damaged.starts_with("line 2 of `"), "{damaged}");
        assert!(damaged.contains("index-2.jsonl"), "{damaged}");
    }
}
