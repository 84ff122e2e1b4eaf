//! The rows of a shard as rows of the merged run: several threads give them other numbers, and one puts them together in order.

use std::io;

use sha2::{Digest as _, Sha256};

use super::{
    line::{LineNumbers, NumberedLine},
    logs::MergedLogs,
    look::ShardRun,
    manifest::Offset,
    places::TrialPlaces,
    rows::MergedRows,
};
use crate::{
    model::{Digest, cores, work_in_lanes},
    record::{
        disk::layout::RunDir,
        error::RecordError,
        format::{line::check_crc, shard::ManifestSource},
        reading::{
            row_batches::{RowBatch, RowBatches},
            row_files::RowFiles,
        },
    },
};

/// More threads than this would wait for the one that writes.
const MOST_LANES: usize = 8;

/// Copies the rows of a shard and what was said in their attempts; tells what it has copied.
pub(super) fn copy_rows(
    shard: &ShardRun,
    places: &TrialPlaces,
    offset: Offset,
    dir: &RunDir,
    rows: &mut MergedRows,
) -> Result<ManifestSource, RecordError> {
    let own = shard.reader.dir();
    let renumbering = Renumbering { places, offset };
    let mut logs = MergedLogs::new(own, dir);
    let mut hashed = HashedRows::default();
    let mut copy = || {
        let batches = RowBatches::open(&RowFiles::open(own)?, u64::MAX);
        let workers = (0..cores().min(MOST_LANES))
            .map(|_| |batch: io::Result<RowBatch>| renumbering.renumber(batch?));
        work_in_lanes(batches, workers, |batch: io::Result<RenumberedBatch>| {
            let batch = batch?;
            hashed.add(&batch.undamaged);
            batch.write(&renumbering, &mut logs, rows)?;
            Ok(true)
        })?
    };
    copy().map_err(|error| shard.reader.rows_failed(error))?;
    logs.finish()
        .map_err(RecordError::io("copy what was said in attempts"))?;
    Ok(hashed.finish(shard))
}

/// What is copied of a shard.
pub(super) fn source_of(shard: &ShardRun) -> Result<ManifestSource, RecordError> {
    let mut hashed = HashedRows::default();
    let mut read = || {
        let files = RowFiles::open(shard.reader.dir())?;
        for batch in RowBatches::open(&files, u64::MAX) {
            hashed.add(&Undamaged::of(batch?, |_| Ok(()))?);
        }
        Ok(())
    };
    read().map_err(|error| shard.reader.rows_failed(error))?;
    Ok(hashed.finish(shard))
}

/// How many lines of a shard are copied, and what they hash to.
#[derive(Default)]
struct HashedRows {
    rows: u64,
    hasher: Sha256,
}

impl HashedRows {
    fn add(&mut self, lines: &Undamaged) {
        self.rows += lines.rows;
        self.hasher.update(&lines.bytes);
    }

    fn finish(self, shard: &ShardRun) -> ManifestSource {
        ManifestSource {
            run_id: shard.manifest.run_id.clone(),
            shard: shard.shard.index(),
            rows: self.rows,
            index_sha256: Digest::finish(self.hasher),
        }
    }
}

/// The whole and undamaged lines of a batch, each with a newline.
struct Undamaged {
    rows: u64,
    bytes: Vec<u8>,
}

impl Undamaged {
    /// Calls `each` with every one of them.
    fn of(batch: RowBatch, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Self> {
        let mut rows = 0;
        let mut is_all = true;
        for line in batch.ended_lines() {
            let is_whole = check_crc(line.line).is_ok();
            if is_whole {
                each(line.line)?;
                rows += 1;
            }
            is_all &= is_whole && line.ends_as_written();
        }
        // A line that has not ended is none of them.
        let bytes = match is_all && batch.bytes.ends_with(b"\n") {
            true => batch.bytes,
            false => {
                let whole = batch
                    .ended_lines()
                    .filter(|line| check_crc(line.line).is_ok());
                whole
                    .flat_map(|line| [line.line, b"\n"])
                    .flatten()
                    .copied()
                    .collect()
            }
        };
        Ok(Self { rows, bytes })
    }
}

/// The numbers that the lines of a shard get.
#[derive(Clone, Copy)]
struct Renumbering<'a> {
    places: &'a TrialPlaces,
    offset: Offset,
}

/// Lines of a shard with their numbers in the merged run.
struct RenumberedBatch {
    undamaged: Undamaged,
    lines: Vec<u8>,
    /// Those of attempts in which something was said, which moves as they are written: where each belongs in `lines`, and as
    /// it was.
    said: Vec<(usize, Vec<u8>)>,
}

impl Renumbering<'_> {
    fn renumber(&self, batch: RowBatch) -> io::Result<RenumberedBatch> {
        let mut lines = Vec::with_capacity(batch.bytes.len() + batch.bytes.len() / 16);
        let mut said = Vec::new();
        let undamaged = Undamaged::of(batch, |line| {
            let read = NumberedLine::read(line).ok_or_else(not_ours)?;
            match read.logs {
                None => read.write(self.numbers(read.numbers)?, None, &mut lines),
                Some(_) => said.push((lines.len(), line.to_owned())),
            }
            Ok(())
        })?;
        Ok(RenumberedBatch {
            undamaged,
            lines,
            said,
        })
    }

    fn numbers(&self, own: LineNumbers) -> io::Result<LineNumbers> {
        let Some(ordinal) = self.places.of(own.ordinal) else {
            return Err(io::Error::other(format!(
                "the shard has no trial {}",
                own.ordinal
            )));
        };
        let Offset { sessions, rows } = self.offset;
        Ok(LineNumbers {
            seq: own.seq.saturating_add(rows),
            session: own.session.saturating_add(sessions),
            of: own.of.map(|of| of.saturating_add(rows)),
            ordinal,
        })
    }
}

impl RenumberedBatch {
    fn write(
        &self,
        renumbering: &Renumbering<'_>,
        logs: &mut MergedLogs<'_>,
        rows: &mut MergedRows,
    ) -> io::Result<()> {
        let mut written = 0;
        let mut renumbered = Vec::new();
        for (place, line) in &self.said {
            rows.add(&self.lines[written..*place])?;
            written = *place;
            let read = NumberedLine::read(line).ok_or_else(not_ours)?;
            let numbers = renumbering.numbers(read.numbers)?;
            let session = (read.numbers.session, numbers.session);
            let said = read
                .logs
                .map(|said| logs.copy(session, said, numbers.ordinal));
            renumbered.clear();
            read.write(numbers, said.transpose()?, &mut renumbered);
            rows.add(&renumbered)?;
        }
        rows.add(&self.lines[written..])
    }
}

fn not_ours() -> io::Error {
    io::Error::other("a row was not written by this program")
}
