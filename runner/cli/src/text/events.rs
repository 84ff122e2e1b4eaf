//! A session as JSON Lines: one event on each line, with `v`, its number `n` from 1, and `event`.

use runner_engine::{Ended, Observer, RunEvent};
use runner_model::{Reason, RunStatus, StopSignal, exit::Exit, row::Actor, status::RunVerdict};
use runner_record::{Live, Manifest, RunCounts};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{StoredRow, VERSION};
use serde::Serialize;
use serde_json::value::RawValue;

use super::out::Out;

/// An event with its number.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NumberedEvent<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// Number in the stream, from 1.
    pub n: u64,
    #[serde(flatten)]
    pub event: Event<'a>,
}

/// An event of a session.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The run exists, and its trials start.
    Started {
        /// The run's id.
        run: &'a str,
        /// The directory as a user would type it.
        run_dir: &'a str,
        /// The scenario's name.
        scenario: &'a str,
        /// Trials of the plan.
        planned: u64,
        /// Trials that this session has to run.
        pending: u64,
        /// Attempts that may run at once.
        jobs: u32,
    },
    /// A row as on disk.
    Row {
        /// The row as on disk.
        #[schemars(with = "StoredRow")]
        row: &'a RawValue,
    },
    /// The session stops.
    Stopping {
        /// The signal that stops it.
        signal: Option<StopSignal>,
        /// The user whose request stops it.
        by: Option<&'a Actor>,
        /// Attempts that run.
        in_flight: u64,
    },
    /// The session is paused.
    Paused {
        /// The user who requested it. `null` for Ctrl-Z.
        by: Option<&'a Actor>,
    },
    /// The session continues after a pause.
    Unpaused,
    /// Progress of a run that another process works on.
    Progress {
        /// The run's id.
        run: &'a str,
        /// Results so far.
        counts: RunCounts,
        /// Attempts that run.
        in_flight: u64,
        /// More attempts would run if there were memory for them.
        waits_for_memory: bool,
    },
    /// A message for people.
    Notice {
        /// One or several lines.
        text: &'a str,
    },
    /// The session has ended.
    Finished {
        /// The run's id.
        run: &'a str,
        /// The directory as a user would type it.
        run_dir: &'a str,
        /// The run's status.
        status: RunStatus,
        /// Reason of the status, or of a `rescore` that was cut short, if there is one.
        reason: Option<Reason>,
        /// Details of the reason, for people.
        message: Option<&'a str>,
        /// The signal that stopped the session.
        signal: Option<StopSignal>,
        /// The result of the trials. `none` until the run is completed.
        verdict: RunVerdict,
        /// Results of all sessions.
        counts: RunCounts,
        /// Duration of the session without pauses, in milliseconds.
        took_ms: f64,
        /// Exit code of the command.
        exit_code: u8,
    },
}

/// Prints a session as events. The event `row` is printed after the row is on disk.
pub struct EventStream<'a> {
    out: &'a Out,
    n: u64,
}

impl<'a> EventStream<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self { out, n: 0 }
    }

    fn print(&mut self, event: Event<'_>) {
        self.n += 1;
        self.out.json_line(&NumberedEvent { v: VERSION, n: self.n, event });
    }

    /// Prints the progress of a run.
    pub fn progress(&mut self, manifest: &Manifest, live: &Live) {
        self.print(Event::Progress {
            run: &manifest.id,
            counts: manifest.into(),
            in_flight: live.in_flight.len() as u64,
            waits_for_memory: live.waits_for_memory,
        });
    }

    /// Prints the end of a run or of a session, with its exit code.
    pub fn finished(&mut self, ended: &Ended, exit: Exit) {
        let manifest = &ended.manifest;
        let (reason, message, signal) = match &ended.cut_short {
            Some(end) => (end.reason, end.message.as_deref(), end.signal),
            None => (manifest.reason, manifest.message.as_deref(), manifest.signal),
        };
        self.print(Event::Finished {
            run: &manifest.id,
            run_dir: &ended.run.path().to_string_lossy(),
            status: manifest.status,
            reason,
            message,
            signal,
            verdict: manifest.verdict,
            counts: manifest.into(),
            took_ms: ended.took.as_micros() as f64 / 1e3,
            exit_code: exit.code(),
        });
    }
}

impl Observer for EventStream<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Started { manifest, run, pending, jobs, .. } => {
                let run_dir = run.path();
                self.print(Event::Started {
                    run: &manifest.id,
                    run_dir: &run_dir.to_string_lossy(),
                    scenario: &manifest.scenario,
                    planned: manifest.metadata.planned_trial_count,
                    pending: *pending,
                    jobs: *jobs,
                });
            }
            RunEvent::Row { line, .. } => {
                // The line was read as a row, so it is JSON.
                if let Ok(row) = serde_json::from_slice(line) {
                    self.print(Event::Row { row });
                }
            }
            // Readers can count the rows. The end has its exit code only once the reports are written.
            RunEvent::Created { .. }
            | RunEvent::Compiling { .. }
            | RunEvent::Compiled { .. }
            | RunEvent::Progress { .. }
            | RunEvent::Finished { .. } => {}
            RunEvent::Stopping { signal, by, in_flight } => {
                self.print(Event::Stopping { signal: *signal, by: *by, in_flight: *in_flight });
            }
            RunEvent::Paused { by } => self.print(Event::Paused { by: *by }),
            RunEvent::Unpaused => self.print(Event::Unpaused),
            RunEvent::Notice(text) => self.print(Event::Notice { text }),
        }
    }
}
