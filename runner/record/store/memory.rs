//! [`RunMemory`]: what a process that goes on for long keeps of the runs of a results root, so that a look at all of them
//! reads only what has changed. It is made of the files, and lost without harm.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use crate::{
    model::Counts,
    record::{disk::stamp::Stamp, reading::run_entry::RunEntry},
};

/// Counts the rows of a run that goes on, without reading again what it has read before.
pub(super) type CountRows = Box<dyn Fn(&Path) -> Option<Counts> + Send + Sync>;

/// What is kept of the runs of one results root.
pub struct RunMemory {
    pub(super) count_rows: CountRows,
    pub(super) kept: Mutex<KeptRuns>,
}

#[derive(Default)]
pub(super) struct KeptRuns {
    /// What manifests say, by the names of the runs.
    pub(super) manifests: HashMap<Box<str>, (Stamp, Arc<RunEntry>)>,
    /// When the latest look began, and what it has come to.
    pub(super) latest: Option<(Instant, Arc<SharedRuns>)>,
}

/// The runs of a store as they are at one moment, for many who ask.
#[derive(Debug, Default)]
pub struct SharedRuns {
    /// The runs, the newest first. One that has not changed since an earlier look is the same.
    pub runs: Vec<Arc<RunEntry>>,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl RunMemory {
    /// Nothing yet; `count_rows` counts the rows of runs that go on, where it can.
    pub fn new(count_rows: impl Fn(&Path) -> Option<Counts> + Send + Sync + 'static) -> Self {
        Self {
            count_rows: Box::new(count_rows),
            kept: Mutex::default(),
        }
    }
}
