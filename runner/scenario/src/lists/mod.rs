//! Reads test lists, and makes tests of their records.

mod csv;
mod entries;
mod records;

#[cfg(test)]
pub(crate) use entries::TOML_LIST;
pub(crate) use entries::{Chunk, Entry, visit_chunks};
pub(crate) use records::{AllTests, Origin, TestChunk};
