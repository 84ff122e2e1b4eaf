//! The lines of `index.jsonl`, each a row or damage.

use std::{
    io::{self, BufRead, BufReader, Read as _},
    path::PathBuf,
    vec,
};

use fs_err::File;
use thiserror::Error;

use crate::record::{
    disk::regular,
    format::{
        line::{self, MAX_LINE_BYTES},
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

/// The rows of some files, one after the other; a damaged line is an item of its own.
pub struct Rows<T> {
    pieces: vec::IntoIter<PathBuf>,
    current: Option<RowsFile>,
    decode: fn(&[u8]) -> Result<T, String>,
    line: Vec<u8>,
    /// Which line of its piece that is, from 1.
    number: u64,
    /// What is wrong with the end of the last piece that was read.
    torn: Option<String>,
}

struct RowsFile {
    path: PathBuf,
    file: BufReader<File>,
    line: u64,
}

impl<T> Rows<T> {
    pub(in crate::record) fn new(
        pieces: Vec<PathBuf>,
        decode: fn(&[u8]) -> Result<T, String>,
    ) -> Self {
        Self {
            pieces: pieces.into_iter(),
            current: None,
            decode,
            line: Vec::new(),
            number: 0,
            torn: None,
        }
    }

    /// Which line the item before came from, from 1.
    pub(in crate::record) fn line(&self) -> u64 {
        self.number
    }

    /// What is wrong with the end of the last piece, once all was read; readers pass over it.
    pub(in crate::record) fn torn(&self) -> Option<&str> {
        self.torn.as_deref()
    }

    /// All of the row that the item before has a part of.
    pub(in crate::record) fn whole_row(&self) -> Result<Row<'static>, LineError> {
        Row::decode(&self.line).map_err(|problem| LineError::Damaged {
            path: self
                .current
                .as_ref()
                .map(|piece| piece.path.clone())
                .unwrap_or_default(),
            line: self.number,
            problem,
        })
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let Some(path) = self.pieces.next() else {
            return Ok(false);
        };
        let file = BufReader::with_capacity(64 * 1024, regular::open(&path)?);
        self.current = Some(RowsFile {
            path,
            file,
            line: 0,
        });
        Ok(true)
    }
}

impl<T> Iterator for Rows<T> {
    type Item = Result<T, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(piece) = &mut self.current else {
                match self.open_next() {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error.into())),
                }
            };
            let end = match read_line(&mut piece.file, &mut self.line) {
                Ok(read) => read.end,
                Err(error) => {
                    self.current = None;
                    return Some(Err(error.into()));
                }
            };

            piece.line += 1;
            self.number = piece.line;
            match ((self.decode)(&self.line), end) {
                (Ok(row), _) => return Some(Ok(row)),
                // What a crash has torn, or what is being written right now.
                (Err(problem), LineEnd::File) => {
                    self.torn = (!self.line.is_empty()).then_some(problem);
                    self.current = None;
                }
                (Err(problem), LineEnd::Newline) => {
                    return Some(Err(LineError::Damaged {
                        path: piece.path.clone(),
                        line: piece.line,
                        problem,
                    }));
                }
            }
        }
    }
}

/// A line that was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct ReadLine {
    pub(in crate::record) end: LineEnd,
    /// How many bytes of the file it is, with its line end.
    pub(in crate::record) bytes: u64,
}

/// What a line ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum LineEnd {
    Newline,
    File,
}

/// Reads a line without its line end, which may be a foreign one; of one that is too long, no more than shows that it is.
pub(in crate::record) fn read_line(
    file: &mut impl BufRead,
    line: &mut Vec<u8>,
) -> io::Result<ReadLine> {
    line.clear();
    let read = read_to_newline(file, line)?;
    line.truncate(line::without_return(line).len());
    Ok(read)
}

fn read_to_newline(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<ReadLine> {
    const MOST: u64 = MAX_LINE_BYTES as u64 + 1;
    let mut piece = file.by_ref().take(MOST).read_until(b'\n', line)? as u64;
    let mut bytes = piece;
    let mut is_whole = line.pop_if(|last| *last == b'\n').is_some();
    // What is too long is passed over in pieces.
    while !is_whole && piece == MOST {
        let mut more = Vec::new();
        piece = file.by_ref().take(MOST).read_until(b'\n', &mut more)? as u64;
        bytes += piece;
        is_whole = more.ends_with(b"\n");
    }
    let end = match is_whole {
        true => LineEnd::Newline,
        false => LineEnd::File,
    };
    Ok(ReadLine { end, bytes })
}

#[cfg(test)]
mod tests {
    use super::{LineError, Rows};
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            Finished, Row, Store,
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
        let piece = directory.path().join("piece");
        fs_err::write(&piece, &bytes).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(&piece).unwrap();

        for length in (0..=bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            let rows = Rows::<Row<'static>>::new(vec![piece.clone()], Row::decode);
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
    fn pieces_are_read_one_after_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let index = run(directory.path()).run_dir.join("index.jsonl");
        let rows = Rows::<Row<'static>>::new(vec![index.clone(), index], Row::decode);
        assert_eq!(rows.map(Result::unwrap).count(), 24);
    }
}
