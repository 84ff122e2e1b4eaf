//! [`Listener`]: hears what a guest says while it runs.

use std::{fmt, sync::Arc};

use crate::model::LogRecord;

/// Hears what a guest says while it runs; its clones are one.
///
/// It is called on the thread that the guest runs on, so it must not wait. What it hears
/// is bounded as what is kept of a guest's words is, by the limits of the log and of the standard streams, and progress by
/// those of the log once more; so whoever collects it needs no limit of their own.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(Heard<'_>) + Send + Sync>);

/// What a guest says while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A record of its log.
    Log(&'a LogRecord),
    /// A line of its standard output, where that does not become the reply.
    Stdout(&'a str),
    /// A line of its standard error.
    Stderr(&'a str),
    /// How far it says that it is.
    Progress {
        /// From 0 to 1, if it knows.
        fraction: Option<f64>,
        /// What it is at.
        message: &'a str,
    },
}

impl Listener {
    /// Lets `hear` hear.
    pub fn new(hear: impl Fn(Heard<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(super) fn hear(&self, heard: Heard<'_>) {
        (self.0)(heard);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Listener")
    }
}
