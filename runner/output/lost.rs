//! [`LostOutput`]: that standard output could not be written.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use super::Reader;

/// Why data could not be written, once that has happened. From then on none is: it would have holes.
#[derive(Clone, Default)]
pub(super) struct LostOutput(Arc<OnceLock<io::Error>>);

impl LostOutput {
    /// Writes, unless that has failed before.
    pub(super) fn write(&self, write: impl FnOnce() -> io::Result<()>) -> Reader {
        if self.error().is_some() {
            return Reader::Gone;
        }
        match write() {
            Ok(()) => Reader::Here,
            Err(error) => {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    // The first one says why.
                    drop(self.0.set(error));
                }
                Reader::Gone
            }
        }
    }

    pub(super) fn error(&self) -> Option<&io::Error> {
        self.0.get()
    }
}
