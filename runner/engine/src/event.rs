//! [`RunEvent`]: reports of a running session, and [`Ended`]: its result.

use std::{sync::Arc, time::Duration};

use runner_model::{Counts, Reason, RunStatus, StopSignal, exit::Exit, known::Known, row::Actor};
use runner_record::{End, Live, Manifest, Owned, RowFacts, RunDir};

/// Receives the events of a session.
pub trait Observer {
    /// Called on the coordinator's thread for each event. Must not block for long: workers wait meanwhile.
    fn event(&mut self, event: &RunEvent<'_>);

    /// Returns whether the caller writes reports once the session has ended, by [`Ended::held`]. Until then they count as lost.
    /// `of_scenario` is whether the scenario names reports.
    fn writes_reports(&self, of_scenario: bool) -> bool {
        let _ = of_scenario;
        false
    }
}

/// Closures such as `|event: &RunEvent<'_>| …` are observers.
impl<F: FnMut(&RunEvent<'_>)> Observer for F {
    fn event(&mut self, event: &RunEvent<'_>) {
        self(event);
    }
}

/// An event of a session.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The run is on disk, this process holds it, and its configurations and tests are accepted, unless it waits or ends before
    /// that.
    Created {
        /// The manifest on disk.
        manifest: &'a Manifest,
        /// The run, for reading.
        run: &'a RunDir,
        /// The run's `runner.log`, open for appending.
        log: &'a std::fs::File,
    },
    /// All plugins are loaded, and the first tasks were sent.
    Started {
        /// The manifest on disk.
        manifest: &'a Manifest,
        /// The run, for reading.
        run: &'a RunDir,
        /// The known failures that the session judges by.
        known: &'a Arc<Known>,
        /// Trials that this session has to do.
        pending: u64,
        /// Maximum number of attempts that run at the same time on this machine.
        jobs: u32,
        /// Place at which workers on other machines find the session. `None` if the attempts run on this machine.
        broker: Option<&'a str>,
    },
    /// The cache lacks a plugin, so it is being compiled.
    Compiling {
        /// The plugin as the scenario names it, or its provider if it is a folder such as `.`.
        plugin: &'a str,
    },
    /// A plugin is compiled, or its compilation has failed.
    Compiled {
        /// The plugin as the scenario names it, or its provider if it is a folder such as `.`.
        plugin: &'a str,
        /// Duration of the compilation.
        took: Duration,
    },
    /// A row is on disk.
    Row {
        /// The trial's place in the plan.
        trial: u64,
        /// The outcome and the place of the row.
        row: RowFacts,
        /// Whether a row before this one has settled the trial: a grader only adds its grade.
        again: bool,
        /// The row as JSON, without the line break.
        line: &'a [u8],
        /// Trials by outcome, including this row if it is final.
        counts: &'a Counts,
        /// Trials of the plan.
        planned: u64,
    },
    /// Sent about every 100 ms.
    Progress {
        /// State of the session as in `live.json`.
        live: &'a Live,
        /// Trials of the plan.
        planned: u64,
        /// Running attempts, including those that wait at a worker.
        in_flight: u64,
        /// Trials whose next attempt waits for more than a few seconds.
        waits: Option<LongWait>,
    },
    /// A stop was requested. Sent once per session.
    Stopping {
        /// The first signal. `None` if no signal caused the stop.
        signal: Option<StopSignal>,
        /// Author of another process's request to stop.
        by: Option<&'a Actor>,
        /// Running attempts, which have the grace period to end.
        in_flight: u64,
    },
    /// Guests are paused.
    Paused {
        /// Author of the request. `None` after Ctrl-Z.
        by: Option<&'a Actor>,
    },
    /// A pause has ended.
    Unpaused,
    /// A message for the user.
    Notice(&'a str),
    /// The session has ended. Sent last.
    Finished {
        /// The result, which the command returns, too.
        ended: &'a Ended,
    },
}

/// Trials that wait for their next attempt, at least one of them for more than a few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LongWait {
    /// Trials that wait for the backoff before a retry, or for the time that their provider requested.
    pub retries: u64,
    /// Providers that wait for their rate.
    pub rates: u64,
    /// Graders that wait for their rate.
    pub graders: u64,
    /// Time until the next attempt.
    pub next: Duration,
}

/// The result of a session.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The final manifest.
    pub manifest: Manifest,
    /// The run, for reading. Another program may have removed it.
    pub run: RunDir,
    /// The exit code by [`exit_of`], or that of `cut_short`; [`Exit::code`] is its number.
    pub exit: Exit,
    /// End of a session of `rescore` that left trials to judge. The manifest keeps the end of the session before.
    pub cut_short: Option<End>,
    /// The reason of a stop, even if every trial was done when it took effect.
    pub stop: Option<Reason>,
    /// The signal of that stop.
    pub stop_signal: Option<StopSignal>,
    /// Ids of runs whose process had died, and that the session has ended.
    pub swept: Vec<String>,
    /// Run time of the session since the first attempt, without pauses. 0 if there was none.
    pub took: Duration,
    /// The run while its reports are written. `None` without reports, if nothing has run, and after losses.
    pub held: Option<Arc<Owned>>,
}

impl Ended {
    /// Returns whether the run was completed before, and the session has added nothing.
    pub fn ran_nothing(&self) -> bool {
        self.took.is_zero() && self.manifest.status == RunStatus::Completed
    }

    /// Returns the end of a run as its manifest has it.
    pub fn of(manifest: Manifest, run: RunDir, took: Duration) -> Self {
        Self {
            exit: exit_of(&manifest),
            cut_short: None,
            stop: manifest.reason,
            stop_signal: manifest.signal,
            swept: Vec::new(),
            took,
            held: None,
            manifest,
            run,
        }
    }

    /// Reports the end of a session to the observer.
    pub(crate) fn report(self, observer: &mut dyn Observer) -> Self {
        observer.event(&RunEvent::Finished { ended: &self });
        self
    }
}

/// Returns the exit code of a run: from its status, reason, signal, verdict and lost reports.
pub fn exit_of(manifest: &Manifest) -> Exit {
    let Manifest { status, reason, signal, verdict, lost_report, .. } = manifest;
    Exit::of_run(*status, *reason, *signal, *verdict, lost_report.is_some())
}
