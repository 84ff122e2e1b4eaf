//! [`WorkerPlace`]: what a worker is on its machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use tokio::sync::watch;

use super::WorkerCeiling;
use crate::run::{MachineAllowance, WorkerHost};

/// Finds the values of secrets by their names; what has none is left out. The error says what is wrong with one.
pub type FindSecrets<'a> =
    dyn Fn(&BTreeSet<String>) -> Result<BTreeMap<String, String>, String> + 'a;

/// What a worker is on its machine.
pub struct WorkerPlace<'a> {
    /// Its name, which is no other's.
    pub name: String,
    /// Which process it is, where and since when: for another that would have its name.
    pub holder: String,
    /// The name of its machine.
    pub host_name: String,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// Where it keeps what runs need.
    pub root: PathBuf,
    /// Under which folder attempts have theirs.
    pub scratch_root: PathBuf,
    /// What its processes are started with.
    pub processes: WorkerHost,
    /// What it may use of its machine.
    pub allowed: MachineAllowance,
    /// What it lets runs touch there.
    pub ceiling: WorkerCeiling,
    /// Finds the values of secrets.
    pub secrets: &'a FindSecrets<'a>,
    /// How often it was asked to end: once, and it makes what it has begun; twice, and it ends.
    pub asked_to_end: watch::Receiver<u32>,
    /// After how long without a run it ends by itself.
    pub most_idle: Option<Duration>,
    /// Hears what it does.
    pub tell: &'a dyn Fn(WorkerTold<'_>),
}

/// What a worker does.
#[derive(Clone, Copy, Debug)]
pub enum WorkerTold<'a> {
    /// It waits for runs.
    Waits {
        /// The engine that it hears them at.
        engine: &'a str,
        /// Its own name.
        name: &'a str,
    },
    /// It makes attempts of a run.
    Begins {
        /// Which.
        run: &'a str,
        /// Its scenario.
        scenario: &'a str,
        /// In so many processes.
        processes: usize,
        /// So many at once, all together.
        slots: usize,
    },
    /// It makes none of a run.
    Declines {
        /// Which.
        run: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A process of it has ended before the run.
    Lost {
        /// How.
        words: &'a str,
    },
    /// A run lets it have nothing more: its machine lacks something.
    SetAside {
        /// Which.
        run: &'a str,
        /// What it lacks, as the run says.
        why: &'a str,
    },
    /// It is done with a run.
    Ends {
        /// Which.
        run: &'a str,
    },
    /// It was asked to end, and makes what it has begun.
    Leaves,
}
