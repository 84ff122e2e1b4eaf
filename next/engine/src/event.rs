//! [`RunEvent`]: what a session reports while it runs, and how it ended.

use std::{path::PathBuf, time::Duration};

use runner_model::{Counts, StopSignal, exit::Exit, row::Actor};
use runner_record::{Manifest, RowFacts};

/// What a session tells while it goes on. Called on the coordinator's thread; must not block for long.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &RunEvent<'_>);
}

/// What a session tells.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The run is on disk, and this process holds it.
    Created {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// Its `runner.log`, open for appending.
        log: &'a std::fs::File,
    },
    /// The run exists; plugins are prepared.
    Started {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// Trials that this session has to do.
        pending: u64,
        /// How many attempts run at once.
        jobs: u32,
    },
    /// A plugin is being compiled.
    Compiling {
        /// The plugin as the scenario names it.
        plugin: &'a str,
    },
    /// A row is on disk.
    Row {
        /// What it says in short.
        row: RowFacts,
        /// Its line, without the line break.
        line: &'a [u8],
        /// By final rows, this one included.
        counts: &'a Counts,
        /// Trials of the plan.
        planned: u64,
    },
    /// About every 100 ms.
    Progress {
        /// By final rows.
        counts: &'a Counts,
        /// Trials of the plan.
        planned: u64,
        /// Attempts in flight.
        in_flight: u64,
        /// Whether more would run if there were memory for them.
        waits_for_memory: bool,
    },
    /// The session stops.
    Stopping {
        /// The signal that asked for it.
        signal: Option<StopSignal>,
        /// Who asked for it from another process.
        by: Option<&'a Actor>,
        /// Attempts that are waited for.
        in_flight: u64,
    },
    /// The session is paused.
    Paused {
        /// Who asked for it; none: Ctrl-Z did.
        by: Option<&'a Actor>,
    },
    /// The session goes on after a pause.
    Unpaused,
    /// Something that a user should know.
    Notice(&'a str),
    /// The session has ended.
    Finished {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// How long the session took.
        took: Duration,
    },
}

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    /// As it is on disk.
    pub manifest: Manifest,
    /// The run's directory.
    pub directory: PathBuf,
    /// By [`Exit::of_run`].
    pub exit: Exit,
}

/// Tells how a session ended that took so long.
pub(crate) fn ended(
    manifest: Manifest,
    directory: PathBuf,
    took: Duration,
    observer: &mut dyn Observer,
) -> Ended {
    observer.event(&RunEvent::Finished { manifest: &manifest, directory: &directory, took });
    Ended { exit: exit_of(&manifest), manifest, directory }
}

/// The exit code of a run.
pub fn exit_of(manifest: &Manifest) -> Exit {
    Exit::of_run(manifest.status, manifest.reason, manifest.signal, manifest.verdict)
}
