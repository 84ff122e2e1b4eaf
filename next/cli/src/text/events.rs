//! A session as JSON Lines: one event a line, each with `v`, its number `n` from 1, and `event`.

use runner_engine::{Observer, RunEvent};
use runner_model::{Reason, RunStatus, StopSignal, exit::Exit, status::RunVerdict};
use runner_record::Manifest;
use runner_report::{RunCounts, VERSION, json};
use serde::Serialize;
use serde_json::value::RawValue;

use super::out::Out;

/// Prints a session as events. An event `row` comes after its row is on disk.
pub struct EventStream<'a> {
    out: &'a Out,
    n: u64,
    run_dir: Option<String>,
}

#[derive(Serialize)]
struct Numbered<'a> {
    v: u8,
    n: u64,
    #[serde(flatten)]
    event: Event<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    /// The run exists, and its trials begin.
    Started {
        run: &'a str,
        run_dir: &'a str,
        scenario: &'a str,
        planned: u64,
        pending: u64,
        jobs: u32,
    },
    /// A row, as it is on disk.
    Row { row: &'a RawValue },
    /// The session stops.
    Stopping {
        signal: Option<StopSignal>,
        in_flight: u64,
    },
    /// Something that a user should know.
    Notice { text: &'a str },
    /// The session has ended.
    Finished {
        run: &'a str,
        run_dir: Option<&'a str>,
        status: RunStatus,
        reason: Option<Reason>,
        message: Option<&'a str>,
        signal: Option<StopSignal>,
        verdict: RunVerdict,
        counts: RunCounts,
        took_ms: u64,
        exit_code: u8,
    },
}

impl<'a> EventStream<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self {
            out,
            n: 0,
            run_dir: None,
        }
    }

    fn print(&mut self, event: Event<'_>) {
        self.n += 1;
        let event = Numbered {
            v: VERSION,
            n: self.n,
            event,
        };
        // An event has texts and numbers alone, which all have JSON.
        if let Ok(line) = json::one_line(&event) {
            self.out.json_line(&line);
        }
    }

    fn finished(&mut self, manifest: &Manifest, took_ms: u64) {
        let run_dir = self.run_dir.take();
        let exit = Exit::of_run(
            manifest.status,
            manifest.reason,
            manifest.signal,
            manifest.verdict,
        );
        self.print(Event::Finished {
            run: &manifest.id,
            run_dir: run_dir.as_deref(),
            status: manifest.status,
            reason: manifest.reason,
            message: manifest.message.as_deref(),
            signal: manifest.signal,
            verdict: manifest.verdict,
            counts: RunCounts {
                planned: manifest.metadata.planned_trial_count,
                done: manifest.counts,
            },
            took_ms,
            exit_code: exit.code(),
        });
    }
}

impl Observer for EventStream<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Started {
                manifest,
                directory,
                pending,
                jobs,
            } => {
                let run_dir = directory.display().to_string();
                self.print(Event::Started {
                    run: &manifest.id,
                    run_dir: &run_dir,
                    scenario: &manifest.scenario,
                    planned: manifest.metadata.planned_trial_count,
                    pending: *pending,
                    jobs: *jobs,
                });
                self.run_dir = Some(run_dir);
            }
            RunEvent::Row { line, .. } => {
                // It was read as a row, so it is JSON.
                if let Ok(row) = serde_json::from_slice(line) {
                    self.print(Event::Row { row });
                }
            }
            // How far it is follows from the rows.
            RunEvent::Compiling { .. } | RunEvent::Progress { .. } => {}
            RunEvent::Stopping { signal, in_flight } => self.print(Event::Stopping {
                signal: *signal,
                in_flight: *in_flight,
            }),
            RunEvent::Notice(text) => self.print(Event::Notice { text }),
            RunEvent::Finished { manifest, took } => {
                self.finished(manifest, took.as_millis() as u64);
            }
        }
    }
}
