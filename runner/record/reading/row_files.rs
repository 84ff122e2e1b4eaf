//! [`RowFiles`]: the files of a run's rows, which are read as one.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err::File;

use super::read_line::{LineEnd, ReadLine, read_line};
use crate::record::disk::{layout::RunDir, regular};

/// The files of a run's rows, one behind the other. What is written goes into the last of them, and a byte keeps its place in
/// all of them together.
#[derive(Clone, Debug)]
pub struct RowFiles {
    dir: RunDir,
    files: Vec<RowFile>,
}

#[derive(Clone, Debug)]
struct RowFile {
    path: PathBuf,
    file: Arc<File>,
    /// Where its first byte is in all of them together.
    begin: u64,
}

impl RowFiles {
    /// Opens all that are there.
    pub(in crate::record) fn open(dir: &RunDir) -> io::Result<Self> {
        let mut files = Self {
            dir: dir.clone(),
            files: Vec::new(),
        };
        files.add(&dir.index())?;
        while files.open_next()? {}
        Ok(files)
    }

    /// Opens the file behind the last one, if it is there: from then on nothing more is written into the last one.
    fn open_next(&mut self) -> io::Result<bool> {
        let number = u32::try_from(self.files.len() + 1).map_err(io::Error::other)?;
        match self.add(&self.dir.row_file(number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            added => added.map(|()| true),
        }
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let file = Arc::new(regular::open(path)?);
        // Only now: until there is a next one, the last one grows.
        let begin = self.length()?;
        self.files.push(RowFile {
            path: path.to_owned(),
            file,
            begin,
        });
        Ok(())
    }

    /// How many bytes they have together now, as far as they were found.
    ///
    /// # Errors
    ///
    /// Fails if the last one cannot be looked at.
    pub fn length(&self) -> io::Result<u64> {
        match self.files.last() {
            Some(last) => Ok(last.begin + last.file.metadata()?.len()),
            None => Ok(0),
        }
    }

    /// Reads bytes that are there.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let behind = self.files.partition_point(|file| file.begin <= at);
            let file = behind.checked_sub(1).map(|place| &self.files[place]);
            let file = file.ok_or(io::ErrorKind::UnexpectedEof)?;
            let end = self.files.get(behind).map_or(u64::MAX, |next| next.begin);
            let most = usize::try_from(end - at).unwrap_or(usize::MAX);
            let (here, rest) = bytes.split_at_mut(most.min(bytes.len()));
            file.file.file().read_exact_at(here, at - file.begin)?;
            at += here.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// What there is of each file before a byte of all of them together, with the file's path.
    pub(in crate::record) fn parts_to(
        &self,
        end: u64,
    ) -> impl DoubleEndedIterator<Item = (PathBuf, io::Take<OpenRowFile>)> {
        self.files.iter().map(move |file| {
            let open = OpenRowFile {
                file: Arc::clone(&file.file),
                at: 0,
            };
            (file.path.clone(), open.take(end.saturating_sub(file.begin)))
        })
    }

    /// Reads the lines that begin before a byte and end before it or there.
    pub(in crate::record) fn lines_to(self, end: u64) -> RowLines {
        let first = OpenRowFile {
            file: Arc::clone(&self.files[0].file),
            at: 0,
        };
        RowLines {
            files: self,
            current: 0,
            reader: BufReader::with_capacity(BUFFER_BYTES, first),
            begin: 0,
            at: 0,
            number: 0,
            end,
        }
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

/// Reads the lines of a run's files of rows one after the other, and those that come behind them.
#[derive(Debug)]
pub(in crate::record) struct RowLines {
    files: RowFiles,
    /// Which file is read.
    current: usize,
    reader: BufReader<OpenRowFile>,
    /// Where the line before begins, and where the next one does.
    begin: u64,
    at: u64,
    /// Which line of its file the line before is, from 1.
    number: u64,
    end: u64,
}

impl RowLines {
    /// Opens the files of a run.
    pub(in crate::record) fn open(dir: &RunDir) -> io::Result<Self> {
        Ok(RowFiles::open(dir)?.lines_to(u64::MAX))
    }

    pub(in crate::record) fn files(&self) -> &RowFiles {
        &self.files
    }

    /// The file of the line before.
    pub(in crate::record) fn path(&self) -> &Path {
        &self.files.files[self.current].path
    }

    /// Which line of that it is, from 1.
    pub(in crate::record) fn number(&self) -> u64 {
        self.number
    }

    /// Where in all files together it begins.
    pub(in crate::record) fn begin(&self) -> u64 {
        self.begin
    }

    /// Where the next line begins. Nothing before that is ever taken back.
    pub(in crate::record) fn at(&self) -> u64 {
        self.at
    }

    /// Reads the next line; `None` if there is none yet. What has no newline at the end of the last file is read again next
    /// time, since more of it may come, or a repair cut it off.
    pub(in crate::record) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<LineEnd>> {
        loop {
            if self.at >= self.end {
                line.clear();
                return Ok(None);
            }
            let read = read_line(&mut self.reader, line)?;
            if read.end == LineEnd::Newline {
                return Ok(self.take(read, line));
            }
            let was_last = self.current + 1 == self.files.files.len();
            if was_last && !self.files.open_next()? {
                self.rewind();
                self.begin = self.at;
                let is_there = !line.is_empty() && self.at + read.bytes <= self.end;
                return Ok(is_there.then_some(LineEnd::File));
            }
            if was_last {
                // More may have been written before the next file was begun.
                self.rewind();
            } else if read.bytes > 0 {
                return Ok(self.take(read, line));
            } else {
                self.begin_next();
            }
        }
    }

    /// Takes a line behind which there is, or will be, another one.
    fn take(&mut self, read: ReadLine, line: &mut Vec<u8>) -> Option<LineEnd> {
        if self.at + read.bytes > self.end {
            self.rewind();
            line.clear();
            return None;
        }
        self.begin = self.at;
        self.at += read.bytes;
        self.number += 1;
        Some(LineEnd::Newline)
    }

    fn begin_next(&mut self) {
        self.current += 1;
        self.number = 0;
        self.reader.get_mut().file = Arc::clone(&self.files.files[self.current].file);
        self.rewind();
    }

    /// Goes back to where the next line begins.
    fn rewind(&mut self) {
        let read = self.reader.buffer().len();
        self.reader.consume(read);
        self.reader.get_mut().at = self.at - self.files.files[self.current].begin;
    }
}

/// A file from a byte on, read without its cursor: others read it, too.
#[derive(Debug)]
pub(in crate::record) struct OpenRowFile {
    file: Arc<File>,
    at: u64,
}

impl Read for OpenRowFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file().read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{LineEnd, RowFiles, RowLines};
    use crate::record::disk::layout::RunDir;

    /// Everything that is there now, with the file and the line of each.
    fn read(lines: &mut RowLines) -> Vec<(String, String, u64)> {
        let mut line = Vec::new();
        let mut read = Vec::new();
        while let Some(LineEnd::Newline) = lines.next(&mut line).unwrap() {
            let name = lines.path().file_name().unwrap().to_str().unwrap();
            let text = String::from_utf8(line.clone()).unwrap();
            read.push((text, name.to_owned(), lines.number()));
        }
        read
    }

    #[test]
    fn whoever_follows_rows_goes_on_in_the_next_file_and_misses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let dir = RunDir::new(directory.path());
        let write = |number, text: &str| {
            let mut options = fs_err::OpenOptions::new();
            let file = options.append(true).create(true).open(dir.row_file(number));
            file.unwrap().write_all(text.as_bytes()).unwrap();
        };
        let line = |text: &str, name: &str, number| (text.to_owned(), name.to_owned(), number);
        write(1, "one\ntw");
        let mut lines = RowLines::open(&dir).unwrap();
        assert_eq!(read(&mut lines), [line("one", "index.jsonl", 1)]);
        assert_eq!(lines.at(), 4);
        write(1, "o\nthree\n");
        write(2, "");
        let expected = ["two", "three"];
        let [two, three] = [2, 3].map(|n| line(expected[n - 2], "index.jsonl", n as u64));
        assert_eq!(read(&mut lines), [two, three]);
        assert!(read(&mut lines).is_empty());
        write(2, "four\n");
        write(3, "five\nsi");
        let [four, five] = ["four", "five"].map(|text| {
            let name = if text == "four" {
                "index-2.jsonl"
            } else {
                "index-3.jsonl"
            };
            line(text, name, 1)
        });
        assert_eq!(read(&mut lines), [four, five]);
        write(3, "x\n");
        assert_eq!(read(&mut lines), [line("six", "index-3.jsonl", 2)]);

        let all = "one\ntwo\nthree\nfour\nfive\nsix\n";
        let files = RowFiles::open(&dir).unwrap();
        assert_eq!(files.length().unwrap(), all.len() as u64);
        for from in 0..all.len() {
            for to in from..=all.len() {
                let mut bytes = vec![0; to - from];
                files.read_exact_at(&mut bytes, from as u64).unwrap();
                assert_eq!(bytes, &all.as_bytes()[from..to]);
            }
        }
        // Up to a byte: whole lines before it.
        for end in 0..=all.len() {
            let read = read(&mut files.clone().lines_to(end as u64));
            let whole = all[..end].matches('\n').count();
            assert_eq!(read.len(), whole, "{end}");
        }
    }
}
