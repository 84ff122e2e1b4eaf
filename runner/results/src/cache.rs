//! Keeps the tables of runs that have ended in the user's cache folder.
//!
//! An entry is a head in JSON, then the columns in little-endian order, then the CRC-32 of all before it. It is of one version of
//! the file of rows, by inode, length and times. Whatever is wrong with an entry, the rows are read again.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::{fs::File, os::unix::fs::MetadataExt as _, time::Duration};

use runner_model::{Outcome, Time, digest};
use runner_record::{FoldSums, Manifest, PluginCache, RecordError, RowsFile, RunDir, TABLE, now};
use serde::{Deserialize, Serialize};

use crate::plan;
use crate::table::{Basis, RunTable, Totals};

/// Version of entries.
const VERSION: u32 = 1;
/// Bytes of rows from which a table is kept. Fewer are read within a few milliseconds.
const MIN_BYTES: u64 = 256 << 10;
/// Age of the rows from which a table is kept. Another change within the clock's step would not show in the time.
const MIN_AGE: Duration = Duration::from_secs(1);
/// Greatest length of a head, which a damaged one may exceed.
const MAX_HEAD: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    run: String,
    file: RowsFile,
    changed: [i64; 2],
    basis: Basis,
    providers: Vec<String>,
    unplanned: Vec<u32>,
    sums: FoldSums,
    totals: Totals,
    rows: usize,
    trials: usize,
    tests: usize,
    /// Bytes of the ids of tests.
    text: usize,
    /// Entries of the columns of scores, tokens and costs.
    sparse: [usize; 3],
}

impl RunTable {
    /// Returns the table of a run, from the cache if that has it.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn open(run: &RunDir) -> Result<Self, RecordError> {
        Self::open_as(run, &run.manifest()?)
    }

    /// Returns the table of a run with this manifest, as [`Self::open`] does.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn open_as(run: &RunDir, manifest: &Manifest) -> Result<Self, RecordError> {
        let file = run.rows_file()?.filter(|file| {
            let changed = Time::from_millis(file.modified / 1_000_000);
            file.length >= MIN_BYTES
                && manifest.status.is_terminal()
                && now().since(changed) > MIN_AGE
        });
        let Some((file, cache)) = file.and_then(|file| Some((file, PluginCache::open().ok()?)))
        else {
            return Self::read_from(run, manifest);
        };
        let name = format!("{}{TABLE}", digest(format!("{} {}", run.id(), file.inode).as_bytes()));
        let basis = Basis::of(manifest);
        if let Some(entry) = cache.open_entry(&name)
            && let Ok(table) = Self::decode(run, &basis, file, entry)
        {
            return Ok(table);
        }
        let mut table = Self::read_from(run, manifest)?;
        // Without the plan, trials that it lacks would count, also once the plan can be read.
        let has_plan = !basis.has_adopted || plan::suite(run).is_some();
        if has_plan && table.file == Some(file) && run.rows_file()? == Some(file) {
            // A full or read-only disk only costs time.
            let _ = cache.draft().map(|draft| {
                if table.encode(&draft).is_ok() {
                    let _ = cache.keep_unsynced(&draft, &name);
                }
            });
        }
        Ok(table)
    }

    pub(crate) fn encode(&mut self, draft: &File) -> io::Result<()> {
        let head = Head {
            version: VERSION,
            run: self.run.id().to_owned(),
            file: self.file.ok_or(io::ErrorKind::InvalidInput)?,
            changed: changed(&self.run)?,
            basis: self.basis.clone(),
            providers: self.providers.clone(),
            unplanned: self.unplanned.iter().copied().collect(),
            sums: self.fold_sums(),
            totals: self.totals.clone(),
            rows: self.rows() as usize,
            trials: self.trials() as usize,
            tests: self.tests.len() as usize,
            text: self.tests.text.len(),
            sparse: [self.rows.score.0.len(), self.rows.tokens.0.len(), self.rows.cost_usd.0.len()],
        };
        let mut writer = Checked { inner: BufWriter::new(draft), crc: Default::default() };
        let json = serde_json::to_vec(&head)?;
        writer.write_all(&(json.len() as u64).to_le_bytes())?;
        writer.write_all(&json)?;
        writer.write_all(self.tests.text.as_bytes())?;
        self.columns(&head, &mut writer)?;
        let crc = writer.crc.clone().finalize();
        writer.inner.write_all(&crc.to_le_bytes())?;
        writer.inner.flush()
    }

    pub(crate) fn decode(
        run: &RunDir,
        basis: &Basis,
        file: RowsFile,
        entry: File,
    ) -> io::Result<Self> {
        let mut reader = Checked { inner: BufReader::new(entry), crc: Default::default() };
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let mut json = Vec::new();
        (&mut reader).take(length.min(MAX_HEAD)).read_to_end(&mut json)?;
        let head: Head = serde_json::from_slice(&json)?;
        let is_it = head.version == VERSION
            && head.changed == changed(run)?
            && (head.run.as_str(), head.file, &head.basis) == (run.id(), file, basis);
        if !is_it {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut table = Self::empty(run, head.basis.clone());
        let mut text = Vec::new();
        (&mut reader).take(head.text as u64).read_to_end(&mut text)?;
        table.tests.text = String::from_utf8(text).map_err(io::Error::other)?;
        table.columns(&head, &mut reader)?;
        let crc = reader.crc.finalize();
        let mut stored = [0; 4];
        reader.inner.read_exact(&mut stored)?;
        let trials = &table.trials;
        let is_whole = crc == u32::from_le_bytes(stored)
            && table.tests.ends.is_sorted()
            && table.tests.ends.last().is_none_or(|end| *end as usize == table.tests.text.len())
            && trials.test.iter().all(|test| (*test as usize) < head.tests)
            && trials.provider.iter().all(|index| usize::from(*index) < head.providers.len())
            && trials.newest.iter().all(|row| (*row as usize) < head.rows)
            && table.rows.trial.iter().all(|trial| (*trial as usize) < head.trials);
        if !is_whole {
            return Err(io::ErrorKind::InvalidData.into());
        }
        (table.file, table.providers) = (Some(file), head.providers);
        (table.sums, table.totals, table.adding) = (head.sums, head.totals, None);
        table.unplanned = head.unplanned.into_iter().collect();
        Ok(table)
    }

    /// Reads or writes all columns, always in the same order.
    fn columns(&mut self, head: &Head, codec: &mut impl Codec) -> io::Result<()> {
        codec.column(&mut self.tests.ends, head.tests)?;
        let trials = &mut self.trials;
        codec.column(&mut trials.test, head.trials)?;
        codec.column(&mut trials.provider, head.trials)?;
        codec.column(&mut trials.repeat, head.trials)?;
        codec.column(&mut trials.newest, head.trials)?;
        let rows = &mut self.rows;
        codec.column(&mut rows.place, head.rows)?;
        codec.column(&mut rows.trial, head.rows)?;
        codec.column(&mut rows.duration_ms, head.rows)?;
        codec.column(&mut rows.ended_ms, head.rows)?;
        codec.column(&mut rows.fingerprints, head.rows)?;
        codec.column(&mut rows.outcome, head.rows)?;
        codec.column(&mut rows.flags, head.rows)?;
        codec.column(&mut rows.score.0, head.sparse[0])?;
        codec.column(&mut rows.tokens.0, head.sparse[1])?;
        codec.column(&mut rows.cost_usd.0, head.sparse[2])
    }
}

/// Returns the time of the last change to the inode of the rows, which programs cannot set.
fn changed(run: &RunDir) -> io::Result<[i64; 2]> {
    let file = run.open_rows().map_err(io::Error::other)?.metadata()?;
    Ok([file.ctime(), file.ctime_nsec()])
}

/// A file whose bytes are summed up.
struct Checked<F> {
    inner: F,
    crc: crc32fast::Hasher,
}

impl<F: Read> Read for Checked<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(bytes)?;
        self.crc.update(&bytes[..length]);
        Ok(length)
    }
}

impl<F: Write> Write for Checked<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.crc.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads a column of `length` entries, or writes it.
trait Codec {
    fn column<E: Element>(&mut self, column: &mut Vec<E>, length: usize) -> io::Result<()>;
}

/// Entries that are converted at once.
const BLOCK: usize = 4096;

impl Codec for Checked<BufReader<File>> {
    fn column<E: Element>(&mut self, column: &mut Vec<E>, length: usize) -> io::Result<()> {
        let mut block = Vec::new();
        while column.len() < length {
            block.resize((length - column.len()).min(BLOCK) * E::BYTES, 0);
            self.read_exact(&mut block)?;
            column.reserve_exact(if column.is_empty() { length.min(1 << 24) } else { 0 });
            column.extend(block.chunks_exact(E::BYTES).map(E::read));
        }
        Ok(())
    }
}

impl Codec for Checked<BufWriter<&File>> {
    fn column<E: Element>(&mut self, column: &mut Vec<E>, _: usize) -> io::Result<()> {
        let mut block = Vec::new();
        for entries in column.chunks(BLOCK) {
            block.clear();
            entries.iter().for_each(|entry| entry.write(&mut block));
            self.write_all(&block)?;
        }
        Ok(())
    }
}

/// An entry of a column.
trait Element: Copy {
    const BYTES: usize;

    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Element for $number {
            const BYTES: usize = size_of::<Self>();

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, f32, f64);

impl Element for [u32; 2] {
    const BYTES: usize = 8;

    fn read(bytes: &[u8]) -> Self {
        let both = u64::read(bytes);
        [both as u32, (both >> 32) as u32]
    }

    fn write(self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|number| number.write(bytes));
    }
}

impl Element for Outcome {
    const BYTES: usize = 1;

    fn read(bytes: &[u8]) -> Self {
        // Bytes without an outcome fail the checksum.
        Self::ALL.get(usize::from(bytes[0])).copied().unwrap_or(Self::Error)
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes
            .extend(Self::ALL.iter().position(|outcome| *outcome == self).map(|place| place as u8));
    }
}
