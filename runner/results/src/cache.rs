//! Keeps the tables of runs that have ended in the user's cache folder.
//!
//! An entry is a head in JSON, then the columns in little-endian order, each after its length, then the CRC-32 of all before it. It
//! is of one version of the file of rows, by inode, length and times. Whatever is wrong with an entry, the rows are read again.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::{collections::HashSet, fs::File, mem, os::unix::fs::MetadataExt as _, time::Duration};

use runner_model::{Outcome, Time, digest};
use runner_record::{FoldSums, Manifest, PluginCache, RecordError, RowsFile, RunDir, TABLE, now};
use serde::{Deserialize, Serialize};

use crate::columns::{RowEntry, TrialEntry};
use crate::table::{Basis, RunTable, Totals};

/// Version of entries. Raise it with each change to a key of [`Head`], to the columns or their order, and to the way in which a
/// value is computed from a row, also if that is in `record` or `model`: an older entry would give other answers.
/// `entries_change_with_the_version` finds a forgotten one.
pub(crate) const VERSION: u32 = 8;
/// Bytes of rows from which a table is kept. Fewer are read within a few milliseconds.
const MIN_BYTES: u64 = 256 << 10;
/// Age of the rows from which a table is kept. Another change within the clock's step would not show in the time.
const MIN_AGE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    run: String,
    file: RowsFile,
    changed: [i64; 2],
    basis: Basis,
    providers: Vec<String>,
    unplanned: HashSet<u32>,
    sums: FoldSums,
    totals: Totals,
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
        if !table.lacks_plan && table.file == Some(file) && run.rows_file()? == Some(file) {
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
            unplanned: self.unplanned.clone(),
            sums: self.fold_sums(),
            totals: self.totals.clone(),
        };
        let mut writer = Checked { inner: BufWriter::new(draft), crc: Default::default() };
        writer.column(&mut serde_json::to_vec(&head)?)?;
        self.columns(&mut writer)?;
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
        let mut json = Vec::new();
        reader.column(&mut json)?;
        let head: Head = serde_json::from_slice(&json)?;
        let is_it = head.version == VERSION
            && head.changed == changed(run)?
            && (head.run.as_str(), head.file, &head.basis) == (run.id(), file, basis);
        if !is_it {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut table = Self::empty(run, head.basis);
        table.columns(&mut reader)?;
        let crc = reader.crc.finalize();
        let mut stored = [0; 4];
        reader.inner.read_exact(&mut stored)?;
        if crc != u32::from_le_bytes(stored) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        (table.file, table.providers, table.unplanned) =
            (Some(file), head.providers, head.unplanned);
        (table.sums, table.totals, table.adding) = (head.sums, head.totals, None);
        Ok(table)
    }

    /// Reads or writes all columns, always in the same order.
    fn columns(&mut self, codec: &mut impl Codec) -> io::Result<()> {
        let Self { tests, trials, rows, scores, tokens, costs, states, .. } = self;
        let mut text = mem::take(&mut tests.text).into_bytes();
        codec.column(&mut text)?;
        tests.text = String::from_utf8(text).map_err(io::Error::other)?;
        codec.column(&mut tests.ends)?;
        codec.column(trials)?;
        codec.column(rows)?;
        codec.column(&mut scores.0)?;
        for column in tokens.iter_mut().chain(costs) {
            codec.column(&mut column.0)?;
        }
        codec.column(states)
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

/// Reads a column, or writes it.
trait Codec {
    fn column<E: Element>(&mut self, column: &mut Vec<E>) -> io::Result<()>;
}

/// Entries that are converted at once.
const BLOCK: usize = 4096;

impl Codec for Checked<BufReader<File>> {
    fn column<E: Element>(&mut self, column: &mut Vec<E>) -> io::Result<()> {
        let mut block = vec![0; u64::BYTES];
        self.read_exact(&mut block)?;
        let length = u64::read(&mut &*block) as usize;
        while column.len() < length {
            block.resize((length - column.len()).min(BLOCK) * E::BYTES, 0);
            self.read_exact(&mut block)?;
            // A damaged length may be any.
            column.reserve_exact(if column.is_empty() { length.min(1 << 24) } else { 0 });
            let mut entries = &*block;
            while !entries.is_empty() {
                column.push(E::read(&mut entries));
            }
        }
        Ok(())
    }
}

impl Codec for Checked<BufWriter<&File>> {
    fn column<E: Element>(&mut self, column: &mut Vec<E>) -> io::Result<()> {
        self.write_all(&(column.len() as u64).to_le_bytes())?;
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

    /// Takes an entry from the start.
    fn read(bytes: &mut &[u8]) -> Self;
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Element for $number {
            const BYTES: usize = size_of::<Self>();

            fn read(bytes: &mut &[u8]) -> Self {
                let (own, others) = bytes.split_at(Self::BYTES);
                *bytes = others;
                own.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, f32, f64);

macro_rules! entries {
    ($($entry:ident { $($key:ident: $of:ty),* })*) => {$(
        impl Element for $entry {
            const BYTES: usize = 0 $(+ <$of>::BYTES)*;

            fn read(bytes: &mut &[u8]) -> Self {
                Self { $($key: <$of>::read(bytes)),* }
            }

            fn write(self, bytes: &mut Vec<u8>) {
                $(self.$key.write(bytes);)*
            }
        }
    )*};
}

entries! {
    TrialEntry { test: u32, provider: u16, repeat: u32, newest: u32 }
    RowEntry {
        place: u64, fingerprints: [u32; 2], trial: u32, duration_ms: f32, ended_ms: u32, outcome: Outcome, flags: u8,
        worker: u16
    }
}

impl Element for [u32; 2] {
    const BYTES: usize = u64::BYTES;

    fn read(bytes: &mut &[u8]) -> Self {
        [u32::read(bytes), u32::read(bytes)]
    }

    fn write(self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|number| number.write(bytes));
    }
}

impl Element for Outcome {
    const BYTES: usize = 1;

    fn read(bytes: &mut &[u8]) -> Self {
        // Bytes without an outcome fail the checksum.
        Self::ALL.get(usize::from(u8::read(bytes))).copied().unwrap_or(Self::Error)
    }

    fn write(self, bytes: &mut Vec<u8>) {
        let place = Self::ALL.iter().position(|outcome| *outcome == self);
        bytes.extend(place.map(|place| place as u8));
    }
}
