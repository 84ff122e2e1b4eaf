//! [`EventStream`]: a session as JSON Lines on standard output.

use std::time::Duration;

use super::{Output, events, grants};
use crate::{
    model::Counts,
    plugin::Moment,
    record::{Conclusion, Entry, Row},
    run,
    session::{Begin, NothingLeft, Notice, Observe},
    view::{EventLine, Longest, StreamEvent},
};

/// How often the stream says how far the run is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Tells a session as JSON Lines, and nothing else.
pub struct EventStream {
    output: Output,
    /// Lines so far.
    lines: u64,
    /// What this session's trials came to.
    ran: Counts,
    progress_at: Moment,
}

impl EventStream {
    /// Begins to tell.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            lines: 0,
            ran: Counts::default(),
            progress_at: Moment::now() + PROGRESS_EVERY,
        }
    }

    fn rows(&mut self, entries: &[Entry], lines: &[u8]) {
        let mut text = Vec::new();
        let lines = lines.split(|byte| *byte == b'\n');
        for (entry, line) in entries.iter().zip(lines) {
            if entry.is_final {
                self.ran.add(entry.attempt.outcome, entry.is_flaky);
            }
            let row = Row::decode(line).expect("a row that was just written can be read");
            self.lines += 1;
            EventLine::write(self.lines, StreamEvent::Row { row: &row }, &mut text);
        }
        self.output.bytes(&text);
    }

    /// Tells rows again, as graders have judged them.
    fn judged(&mut self, trials: &[run::JudgedTrial]) {
        for run::JudgedTrial { row } in trials {
            if row.is_final {
                self.ran.add(row.outcome, row.is_flaky);
            }
            self.emit(StreamEvent::Row { row });
        }
    }

    fn progress(&mut self, progress: StreamEvent<'_>) {
        let now = Moment::now();
        if now < self.progress_at {
            return;
        }
        self.progress_at = now + PROGRESS_EVERY;
        self.emit(progress);
    }

    fn emit(&mut self, event: StreamEvent<'_>) {
        self.lines += 1;
        let mut line = Vec::new();
        EventLine::write(self.lines, event, &mut line);
        self.output.bytes(&line);
    }
}

impl Observe for EventStream {
    /// What is not an event is said beside the stream.
    fn notice(&mut self, _: &Notice<'_>) {}

    fn begin(&mut self, begin: &Begin<'_>) {
        self.progress_at = Moment::now() + PROGRESS_EVERY;
        self.emit(StreamEvent::Started {
            run: begin.run.as_str(),
            run_dir: &begin.run_dir.to_string_lossy(),
            scenario: begin.scenario,
            planned: begin.planned,
        });
    }

    fn event(&mut self, event: &run::Event<'_>) {
        match event {
            run::Event::Requests {
                provider,
                requests,
                grants,
                lacks_scratch,
            } => {
                let toml = grants::requests_toml(provider, *grants, *lacks_scratch);
                self.emit(StreamEvent::Requests {
                    provider: provider.as_str(),
                    requests,
                    toml: &toml.join("\n"),
                });
            }
            run::Event::Rows { entries, lines, .. } => self.rows(entries, lines),
            run::Event::Judged { trials, .. } => self.judged(trials),
            run::Event::Progress {
                counts,
                running,
                ungraded,
                longest,
                shortage,
            } => self.progress(StreamEvent::Progress {
                counts: (*counts).into(),
                running: *running,
                ungraded: *ungraded,
                longest: longest
                    .as_ref()
                    .map(|longest| Longest::new(longest.trial, longest.elapsed)),
                waits_for_memory: *shortage == Some(run::Shortage::Memory),
                waits_for_workers: *shortage == Some(run::Shortage::Workers),
            }),
            run::Event::Stopping {
                mode,
                reason,
                why,
                in_flight,
            } => self.emit(StreamEvent::Stopping {
                mode: mode.as_str(),
                reason: reason.as_str(),
                why,
                in_flight: *in_flight,
            }),
            run::Event::Paused { by } => self.emit(StreamEvent::Paused { by }),
            run::Event::Unpaused => self.emit(StreamEvent::Unpaused),
            run::Event::Linking { .. }
            | run::Event::Linked { .. }
            | run::Event::Begun { .. }
            | run::Event::Awaiting { .. } => {}
        }
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        let conclusion = Conclusion::from(left.run);
        let run_dir = conclusion.run_dir.to_string_lossy();
        self.emit(events::finished(&conclusion, &run_dir, None));
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        let mut ran = self.ran;
        ran.planned = ran.done();
        let ran = (conclusion.session > 1).then_some(ran);
        let run_dir = conclusion.run_dir.to_string_lossy();
        self.emit(events::finished(conclusion, &run_dir, ran));
    }
}
