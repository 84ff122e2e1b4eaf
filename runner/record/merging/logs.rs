//! [`MergedLogs`]: what was said in the attempts of shards, in the log files of the merged run.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
};

use fs_err::{File, OpenOptions};

use super::line::renumber_log;
use crate::record::{
    disk::{durable, layout::RunDir, modes, regular},
    format::row::RowLogs,
};

/// Copies lines of log files, each with its new ordinal. The files of a session keep their numbers.
pub(super) struct MergedLogs<'a> {
    from: &'a RunDir,
    to: &'a RunDir,
    /// The session that lines come from, and what it is called in the merged run.
    session: (u32, u32),
    /// By the number of the file.
    files: HashMap<u32, MergedLog>,
    line: Vec<u8>,
}

struct MergedLog {
    source: File,
    target: BufWriter<File>,
    length: u64,
}

impl<'a> MergedLogs<'a> {
    pub(super) fn new(from: &'a RunDir, to: &'a RunDir) -> Self {
        Self {
            from,
            to,
            session: (0, 0),
            files: HashMap::new(),
            line: Vec::new(),
        }
    }

    /// Copies what was said in an attempt, and tells where it is now.
    pub(super) fn copy(
        &mut self,
        session: (u32, u32),
        logs: RowLogs,
        ordinal: u64,
    ) -> io::Result<RowLogs> {
        if self.session != session {
            self.finish()?;
            self.session = session;
        }
        if !self.files.contains_key(&logs.file) {
            let file = self.open(logs.file)?;
            self.files.insert(logs.file, file);
        }
        let file = self
            .files
            .get_mut(&logs.file)
            .expect("it has just been opened");
        // Not more than is there, whatever the row says.
        let there = file.source.metadata()?.len().saturating_sub(logs.at);
        let length = usize::try_from(logs.bytes.min(there)).map_err(io::Error::other)?;
        let mut said = vec![0; length];
        file.source.file().read_exact_at(&mut said, logs.at)?;
        self.line.clear();
        let is_known = said.pop_if(|last| *last == b'\n').is_some()
            && renumber_log(&said, ordinal, &mut self.line).is_some();
        if !is_known {
            // Damaged: it stays as it is, so that whoever reads it finds that out.
            self.line.clear();
            self.line.extend(&said);
            self.line.push(b'\n');
        }
        file.target.write_all(&self.line)?;
        let at = file.length;
        file.length += self.line.len() as u64;
        Ok(RowLogs {
            file: logs.file,
            at,
            bytes: self.line.len() as u64,
        })
    }

    fn open(&self, number: u32) -> io::Result<MergedLog> {
        let path = self.to.logs(self.session.1, number);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let target = modes::set(&mut options, &path).open(&path)?;
        Ok(MergedLog {
            source: regular::open(&self.from.logs(self.session.0, number))?,
            target: BufWriter::with_capacity(1 << 16, target),
            length: 0,
        })
    }

    /// Makes durable what was copied of a session.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for (_, file) in self.files.drain() {
            let file = file
                .target
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            durable::sync(&file)?;
        }
        Ok(())
    }
}
