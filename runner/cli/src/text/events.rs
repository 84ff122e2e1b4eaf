//! A session as JSON Lines: one event on each line, with `v`, its number `n` from 1, and `event`.

use runner_engine::{Ended, Observer, RunEvent};
use runner_model::exit::Exit;
use runner_record::{Live, Manifest};
use runner_report::{Event, NumberedEvent, VERSION};

use super::out::Out;

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
            run_dir: &ended.directory.to_string_lossy(),
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
            RunEvent::Started { manifest, directory, pending, jobs, .. } => {
                let run_dir = directory.to_string_lossy();
                self.print(Event::Started {
                    run: &manifest.id,
                    run_dir: &run_dir,
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
