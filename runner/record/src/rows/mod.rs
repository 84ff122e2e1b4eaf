//! The rows of a run: writer, reader, repair and fold.

pub(crate) mod fold;
pub(crate) mod line_reader;
pub(crate) mod ordered;
pub(crate) mod repair;
pub(crate) mod rerun;
pub(crate) mod run_files;
pub(crate) mod settling;
pub(crate) mod writer;
