//! [`Written`]: the entries in the journal of an attempt so far.

use std::mem;

use runner_model::{Digest, row::Calls};
use sha2::{Digest as _, Sha256};

#[derive(Default)]
pub(super) struct Written {
    /// The entry with which the journal starts. Empty once it is kept.
    start: Vec<u8>,
    /// Number of exchanges.
    exchanges: u32,
    /// Of the start, the exchanges and the ends of tools.
    hash: Sha256,
    /// Whether there is one of the latter two.
    has_entries: bool,
    /// Bytes of entries.
    bytes: u64,
}

/// How an entry counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Only towards the limit.
    AsBytes,
    /// Also in the hash.
    InHash,
    /// Also as an exchange.
    AsExchange,
}

impl Written {
    /// Creates the entries of a new attempt. `start` comes before the first of them.
    pub(super) fn new(start: Vec<u8>) -> Self {
        Self { start, ..Self::default() }
    }

    /// Creates the entries of an attempt that continues, with those that earlier guests have left.
    pub(super) fn continued(
        start: &[u8],
        exchanges: usize,
        entries: impl Iterator<Item = Vec<u8>>,
    ) -> Self {
        let mut written = Self { exchanges: exchanges as u32, ..Self::default() };
        written.hash.update(start);
        entries.for_each(|entry| written.add(&entry));
        written
    }

    /// Counts an entry that is to be written. Returns the start that comes before it, or nothing. `None` if the entry is beyond
    /// the limit.
    pub(super) fn count(&mut self, entry: &[u8], counted: Counted, limit: u64) -> Option<Vec<u8>> {
        if self.bytes + entry.len() as u64 > limit {
            return None;
        }
        let start = mem::take(&mut self.start);
        self.hash.update(&start);
        match counted {
            Counted::AsBytes => self.bytes += entry.len() as u64,
            Counted::InHash => self.add(entry),
            Counted::AsExchange => {
                self.exchanges += 1;
                self.add(entry);
            }
        }
        Some(start)
    }

    fn add(&mut self, entry: &[u8]) {
        self.has_entries = true;
        self.bytes += entry.len() as u64;
        self.hash.update(entry);
    }

    /// Returns what the row has of the entries. `None` without exchanges and ends of tools.
    pub(super) fn calls(self) -> Option<Calls> {
        let sha256 = Digest(self.hash.finalize().into());
        self.has_entries.then_some(Calls { count: self.exchanges, sha256 })
    }
}
