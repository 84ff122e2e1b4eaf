//! [`Unwritten`]: rows that the recorder has yet to get, or to acknowledge.

use std::mem;

use crate::record::{Entry, JudgementEntry};

/// Rows that may wait for the disk before assignment pauses.
const MAX_ROWS: usize = 4096;
/// Bytes of guests' products that may wait for the disk before assignment pauses.
const MAX_BYTES: u64 = 8 << 20;

/// Rows that are not known to be on disk.
#[derive(Default)]
pub(super) struct Unwritten {
    /// Those that the recorder gets after this turn.
    outbox: Vec<Entry>,
    /// The same of judgements.
    judgements: Vec<JudgementEntry>,
    rows: usize,
    bytes: u64,
}

impl Unwritten {
    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Tells whether the disk does not keep up.
    pub(super) fn is_too_much(&self) -> bool {
        self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.rows += 1;
        self.bytes += entry.attempt.usage.bytes_out;
        self.outbox.push(entry);
    }

    pub(super) fn judge(&mut self, judgement: JudgementEntry) {
        self.rows += 1;
        self.judgements.push(judgement);
    }

    /// Takes the judgements that the recorder has yet to get.
    pub(super) fn hand_over_judgements(&mut self) -> Vec<JudgementEntry> {
        mem::take(&mut self.judgements)
    }

    /// Notes that the recorder is done with so many judgements.
    pub(super) fn remove_judgements(&mut self, count: usize) {
        self.rows -= count;
    }

    /// Takes what the recorder has yet to get.
    pub(super) fn hand_over(&mut self) -> Vec<Entry> {
        // Entries are large: the next ones are as many, and a list that grows copies them.
        let next = Vec::with_capacity(self.outbox.len());
        mem::replace(&mut self.outbox, next)
    }

    /// Notes that the recorder is done with some.
    pub(super) fn remove(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.rows -= 1;
            self.bytes -= entry.attempt.usage.bytes_out;
        }
    }
}
