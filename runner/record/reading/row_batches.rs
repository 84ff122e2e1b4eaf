//! [`RowBatches`]: the lines of a run in batches, so that several threads can read them beside each other.

use std::{
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use super::row_files::{OpenRowFile, RowFiles};
use crate::{
    model::lines_of,
    record::format::line::{MAX_LINE_BYTES, without_return},
};

/// About how many bytes a batch has. Of a longer line it has all, and is longer then.
const BATCH_BYTES: usize = 128 * 1024;

/// The lines of a run as they are on disk, in batches.
pub(in crate::record) struct RowBatches {
    /// What is left to be read of each file, the one that is read being the last; empty once all is.
    files: Vec<(Arc<Path>, io::Take<OpenRowFile>)>,
    /// The beginning of a line whose end has yet to be read.
    begun: Vec<u8>,
    /// The number of the next line.
    line: u64,
}

/// Some lines that follow each other.
pub(in crate::record) struct RowBatch {
    /// The file that they are in.
    pub(super) path: Arc<Path>,
    pub(in crate::record) bytes: Vec<u8>,
    /// The number of the first of them.
    line: u64,
    is_in_last_file: bool,
}

/// A line of a batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct BatchLine<'a> {
    /// As it is on disk.
    written: &'a [u8],
    /// Without its line end, which may be a foreign one.
    pub(in crate::record) line: &'a [u8],
    /// Which line of its file it is, from 1.
    pub(super) number: u64,
}

impl RowBatches {
    /// The lines of these files up to a byte of all of them together.
    pub(in crate::record) fn open(files: &RowFiles, end: u64) -> Self {
        let files = files.parts_to(end).rev();
        Self {
            files: files.map(|(path, file)| (path.into(), file)).collect(),
            begun: Vec::new(),
            line: 1,
        }
    }

    /// Reads on to the end of the last file.
    fn read(&mut self) -> io::Result<Option<RowBatch>> {
        while !self.files.is_empty() {
            if let Some(batch) = self.read_file()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads on in one file; nothing at its end, behind which the next one follows.
    fn read_file(&mut self) -> io::Result<Option<RowBatch>> {
        let is_in_last_file = self.files.len() == 1;
        let Some((path, file)) = self.files.last_mut() else {
            return Ok(None);
        };
        let path = Arc::clone(path);
        let mut bytes = std::mem::take(&mut self.begun);
        let is_last = loop {
            let start = bytes.len();
            bytes.reserve(BATCH_BYTES);
            if file
                .by_ref()
                .take(BATCH_BYTES as u64)
                .read_to_end(&mut bytes)?
                == 0
            {
                break true;
            }
            if let Some(newline) = last_newline(&bytes[start..]) {
                self.begun = bytes.split_off(start + newline + 1);
                break false;
            }
            if bytes.len() > MAX_LINE_BYTES {
                // What is too long is passed over: no more is kept of it than shows that it is.
                bytes.truncate(MAX_LINE_BYTES + 1);
            }
        };
        let line = self.line;
        self.line += newlines(&bytes);
        if is_last {
            self.files.pop();
            self.line = 1;
            if bytes.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(RowBatch {
            path,
            bytes,
            line,
            is_in_last_file,
        }))
    }
}

/// How many newlines there are. Of few bytes a byte has room for the number, so that many are compared at once.
fn newlines(bytes: &[u8]) -> u64 {
    let pieces = bytes.chunks(usize::from(u8::MAX));
    let count = |piece: &[u8]| {
        piece
            .iter()
            .map(|byte| u8::from(*byte == b'\n'))
            .sum::<u8>()
    };
    pieces.map(|piece| u64::from(count(piece))).sum()
}

fn last_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

impl Iterator for RowBatches {
    type Item = io::Result<RowBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.files.clear();
        }
        read.transpose()
    }
}

impl RowBatch {
    /// All that is in it.
    pub(super) fn lines(&self) -> impl Iterator<Item = BatchLine<'_>> {
        let lines = (self.line..).zip(lines_of(&self.bytes));
        lines.map(|(number, written)| BatchLine {
            written,
            line: without_return(written.strip_suffix(b"\n").unwrap_or(written)),
            number,
        })
    }

    /// The same; of one that is too long there is no more than shows that it is.
    pub(super) fn readable_lines(&self) -> impl Iterator<Item = BatchLine<'_>> {
        self.lines().map(|line| BatchLine {
            line: &line.line[..line.line.len().min(MAX_LINE_BYTES + 1)],
            ..line
        })
    }

    /// Those of them to which nothing is added any more.
    pub(in crate::record) fn ended_lines(&self) -> impl Iterator<Item = BatchLine<'_>> {
        let lines = self.readable_lines();
        lines.filter(|line| !self.may_be_torn(line))
    }

    /// Tells whether a line may have been being written: it has no newline, and is at the end of the last file.
    pub(super) fn may_be_torn(&self, line: &BatchLine<'_>) -> bool {
        !line.has_newline() && self.is_in_last_file
    }
}

impl BatchLine<'_> {
    /// Whether a newline ends it.
    pub(super) fn has_newline(&self) -> bool {
        self.written.ends_with(b"\n")
    }

    /// Whether it is on disk as this program writes it, with nothing but a newline at its end.
    pub(in crate::record) fn ends_as_written(&self) -> bool {
        self.has_newline() && self.written.len() == self.line.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RowBatches;
    use crate::record::{
        disk::layout::RunDir,
        format::line::MAX_LINE_BYTES,
        reading::{
            read_line::LineEnd,
            row_files::{RowFiles, RowLines},
        },
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_are_those_that_are_read_one_after_the_other(
            files in prop::collection::vec(
                prop::collection::vec(
                    (
                        prop_oneof![8 => 0..300_usize, 2 => 60_000..140_000_usize, 1 => 2 * MAX_LINE_BYTES..3 * MAX_LINE_BYTES],
                        prop::sample::select(vec!["\n", "\n", "\n", "\r\n"]),
                    ),
                    0..12,
                ),
                1..4,
            ),
            are_cut in prop::collection::vec(any::<bool>(), 4),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let dir = RunDir::new(directory.path());
            for ((number, lines), is_cut) in (1..).zip(&files).zip(are_cut) {
                let mut text = String::new();
                for (place, (length, end)) in lines.iter().enumerate() {
                    text.extend([&"abcdefghijkl"[place..=place].repeat(*length), *end]);
                }
                if is_cut {
                    text += "torn";
                }
                fs_err::write(dir.row_file(number), text).unwrap();
            }
            let (mut expected, mut line) = (Vec::new(), Vec::new());
            let mut lines = RowLines::open(&dir).unwrap();
            while let Some(LineEnd::Newline) = lines.next(&mut line).unwrap() {
                expected.push((line.clone(), lines.number()));
            }
            let mut read = Vec::new();
            for batch in RowBatches::open(&RowFiles::open(&dir).unwrap(), u64::MAX) {
                let batch = batch.unwrap();
                let lines = batch.ended_lines();
                read.extend(lines.map(|line| (line.line.to_owned(), line.number)));
                let plain: Vec<_> = batch.lines().filter(|line| line.ends_as_written()).collect();
                for line in plain {
                    prop_assert_eq!(line.written, [line.line, b"\n"].concat());
                }
            }
            prop_assert!(read == expected);
        }
    }
}
