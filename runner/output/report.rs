//! [`Report`]: what a person, or a program, sees of a session while it goes on and when it is over.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use owo_colors::OwoColorize as _;
use serde_json::value::RawValue;

use super::{
    Output, awaited,
    bar::{self, Pace},
    events::{self, Line, Longest},
    failure, format,
    grants::{self, Granted},
    next,
    occasions::{Begin, Finish},
    standing::Standing,
    summary,
    tally::Tally,
};
use crate::{
    error::ExitStatus,
    model::{Counts, Outcome, ProviderId, Reason, StopMode},
    plugin::Moment,
    record::{Entry, Row, RowDenied},
    run,
};

/// How a session is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A progress bar, failures as they happen, a summary.
    Terminal,
    /// The same in plain lines.
    Plain,
    /// Only what went wrong.
    Quiet,
    /// JSON Lines on standard output, nothing else.
    Json,
}

/// How often a run that is not watched on a terminal says how far it is.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How often the event stream does.
const JSON_PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How long an attempt runs before it is named.
const WORTH_NAMING: Duration = Duration::from_secs(1);
/// How many failures are printed as they happen.
const MAX_SHOWN: u64 = 50;

/// The report of one session.
pub struct Report {
    output: Output,
    mode: Mode,
    is_verbose: bool,
    tally: Tally,
    granted: Granted,
    /// What this session's trials came to, if it is not the first.
    ran: Option<Counts>,
    bar: Option<ProgressBar>,
    /// What there is room for beside the bar.
    room: bar::Room,
    /// How fast trials end, once they can begin.
    pace: Option<Pace>,
    /// Lines of the event stream so far.
    lines: u64,
    shown: u64,
    /// The session whose failures were printed as they happened.
    told: Option<u32>,
    started: Moment,
    progress_at: Moment,
}

impl Report {
    /// Begins a report.
    pub fn new(output: Output, mode: Mode, is_verbose: bool) -> Self {
        let now = Moment::now();
        Self {
            output,
            mode,
            is_verbose,
            tally: Tally::default(),
            granted: Granted::default(),
            ran: None,
            bar: None,
            room: bar::Room::default(),
            pace: None,
            lines: 0,
            shown: 0,
            told: None,
            started: now,
            progress_at: now,
        }
    }

    /// Tells that a run was born.
    pub fn begin(&mut self, begin: &Begin<'_>) {
        self.granted = begin.grants.iter().copied().collect();
        self.started = Moment::now();
        self.progress_at = self.started + self.progress_every();
        match self.mode {
            Mode::Json => self.emit(events::Event::Started {
                run: begin.run,
                run_dir: &begin.run_dir.to_string_lossy(),
                scenario: begin.scenario,
                planned: begin.planned,
            }),
            Mode::Quiet => {}
            Mode::Plain | Mode::Terminal => {
                self.output.talk(&format!(
                    "{}: {} on {}, {} at a time",
                    format::visible_line(begin.scenario).bold(),
                    format::plural(begin.planned, "trial"),
                    format::plural(begin.providers as u64, "provider"),
                    begin.jobs
                ));
                self.output
                    .talk(&format!("results: {}", format::path(begin.run_dir)));
            }
        }
        if self.mode == Mode::Terminal {
            self.show_bar(begin.planned);
        }
    }

    /// Tells what happens.
    pub fn observe(&mut self, event: &run::Event<'_>) {
        match event {
            run::Event::Linking { provider } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("compiling the plugin of {provider}"));
                }
            }
            run::Event::Linked { provider, took } => self.linked(provider, *took),
            run::Event::Requests {
                provider,
                requests,
                grants,
                lacks_scratch,
            } => {
                let toml = grants::requests_toml(provider, *grants, *lacks_scratch);
                self.requests(provider, requests, &toml);
            }
            run::Event::Begun { counts } => {
                self.pace = Some(Pace::begin(counts.done()));
                if let Some(bar) = &self.bar {
                    bar.set_position(counts.done());
                    bar.set_style(bar::style(self.room, self.pace));
                }
            }
            run::Event::Rows {
                entries,
                lines,
                counts,
            } => self.rows(entries, lines, *counts),
            run::Event::Progress {
                counts,
                running,
                longest,
            } => self.progress(*counts, *running, longest.as_ref()),
            run::Event::Stopping {
                mode,
                reason,
                why,
                in_flight,
            } => self.stopping(*mode, *reason, why, *in_flight),
            run::Event::Awaiting {
                mode,
                running,
                rows,
            } => self.awaiting(*mode, running, *rows),
        }
    }

    /// Tells whether there will be a summary for people.
    pub fn has_summary(&self) -> bool {
        self.mode != Mode::Json
    }

    /// Lets the end speak of what this session has run, beside the whole run.
    pub fn tell_of_session(&mut self) {
        self.ran = Some(self.tally.counts());
    }

    /// Lets the summary speak of more than this session's rows; `None` changes nothing.
    pub fn replace_tally(&mut self, tally: Option<Tally>) {
        if let Some(tally) = tally {
            self.tally = tally;
        }
    }

    /// Tells how a run ended.
    pub fn finish(mut self, finish: &Finish<'_>) {
        self.output.set_bar(None);
        match self.mode {
            Mode::Json => self.emit(
                events::End {
                    status: finish.status,
                    reason: finish.reason,
                    verdict: finish.verdict,
                    exit_code: finish.exit.code(),
                    run_dir: &finish.run_dir.to_string_lossy(),
                    counts: finish.counts,
                    ran: self.ran,
                    error: finish.error.as_deref(),
                }
                .into(),
            ),
            Mode::Quiet if finish.exit == ExitStatus::Success => {}
            Mode::Quiet | Mode::Plain | Mode::Terminal => self.summary(finish),
        }
    }

    /// Says what a first run waited for, and the next one will not.
    fn linked(&mut self, provider: &ProviderId, took: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
        }
        if took >= WORTH_NAMING && matches!(self.mode, Mode::Terminal | Mode::Plain) {
            let took = format::duration(took);
            self.output
                .talk(&format!("compiled the plugin of `{provider}` in {took}"));
        }
    }

    fn requests(&mut self, provider: &ProviderId, requests: &[&str], toml: &[String]) {
        match self.mode {
            Mode::Json => self.emit(events::Event::Requests {
                provider: provider.as_str(),
                requests,
                toml: &toml.join("\n"),
            }),
            Mode::Quiet => {}
            Mode::Plain | Mode::Terminal => {
                let text = grants::requests_text(provider, requests, toml);
                self.output.talk(&text);
            }
        }
    }

    fn rows(&mut self, entries: &[Entry], lines: &[u8], counts: Counts) {
        let lines = lines.split(|byte| *byte == b'\n');
        let mut text = Vec::new();
        let n_final = entries.iter().filter(|entry| entry.is_final).count() as u64;
        let mut done = counts.done().saturating_sub(n_final);
        for (entry, line) in entries.iter().zip(lines) {
            done += u64::from(entry.is_final);
            let attempt = &entry.attempt;
            let provider = attempt.trial.provider.as_str();
            let denied: Vec<_> = attempt.denied.iter().map(RowDenied::new).collect();
            let class = attempt.error.as_ref().and_then(|error| error.class);
            let denials = &mut self.tally.denied;
            denials.add(provider, &denied, attempt.outcome, class);
            if entry.is_final {
                self.tally
                    .count(provider, attempt.outcome, entry.is_flaky, attempt.duration);
            }
            if self.mode == Mode::Json {
                let row: &RawValue = serde_json::from_slice(line).expect("a row is valid JSON");
                self.lines += 1;
                Line::write(self.lines, events::Event::Row { row }, &mut text);
            } else if self.is_verbose || (entry.is_final && attempt.outcome.is_bad()) {
                self.tell(entry, line, (done, counts.planned));
            }
        }
        self.output.bytes(&text);
        if let Some(bar) = &self.bar {
            bar.set_position(counts.done());
            bar.set_prefix(bar::counts(counts));
        }
    }

    /// Prints a row, and keeps it if it is a failure; it is the first of two numbers of trials that is done.
    fn tell(&mut self, entry: &Entry, line: &[u8], (done, planned): (u64, u64)) {
        let row = Row::decode(line).expect("a row that was just written can be read");
        let is_bad = entry.is_final && entry.attempt.outcome.is_bad();
        if is_bad {
            self.tally.keep_failure(&row);
        }
        if self.mode == Mode::Quiet {
            // All at the end.
            return;
        }
        self.shown += 1;
        self.told = Some(row.session);
        if self.is_verbose {
            let text = match entry.attempt.outcome {
                Outcome::Passed | Outcome::Skipped => failure::head(&row),
                _ => failure::lines(&row),
            };
            let place = format!("{}/{}", format::count(done), format::count(planned));
            self.output.talk(&format!("{} {text}", place.dimmed()));
        } else if self.shown <= MAX_SHOWN {
            self.output.talk(&failure::lines(&row));
        } else if self.shown == MAX_SHOWN + 1 {
            self.output
                .talk("… more failures are not printed here; `runner show --failed` shows all");
        }
    }

    fn progress(&mut self, counts: Counts, running: usize, longest: Option<&run::Running<'_>>) {
        match self.mode {
            Mode::Json => {
                if self.is_progress_due() {
                    self.emit(events::Event::Progress {
                        counts: counts.into(),
                        running,
                        longest: longest
                            .map(|longest| Longest::new(longest.trial, longest.elapsed)),
                    });
                }
            }
            Mode::Terminal => {
                let longest = longest.filter(|longest| longest.elapsed >= WORTH_NAMING);
                self.make_room(longest.is_some());
                if let Some(bar) = &self.bar {
                    bar.set_message(longest.map(bar::longest).unwrap_or_default());
                    bar.tick();
                }
            }
            Mode::Plain => self.plain_progress(counts, longest),
            Mode::Quiet => {}
        }
    }

    fn plain_progress(&mut self, counts: Counts, longest: Option<&run::Running<'_>>) {
        if !self.is_progress_due() {
            return;
        }
        let longest = longest.map(|longest| format!(", {}", bar::longest(longest)));
        self.output.talk(&format!(
            "{} of {}: {}{}",
            format::count(counts.done()),
            format::count(counts.planned),
            format::counted(counts),
            longest.unwrap_or_default()
        ));
    }

    fn is_progress_due(&mut self) -> bool {
        let now = Moment::now();
        let is_due = now >= self.progress_at;
        if is_due {
            self.progress_at = now + self.progress_every();
        }
        is_due
    }

    fn progress_every(&self) -> Duration {
        match self.mode {
            Mode::Json => JSON_PROGRESS_EVERY,
            Mode::Terminal | Mode::Plain | Mode::Quiet => PLAIN_PROGRESS_EVERY,
        }
    }

    fn stopping(&mut self, mode: StopMode, reason: Reason, why: &str, in_flight: usize) {
        match self.mode {
            // The session's story has it.
            Mode::Plain if self.output.is_log() => {}
            Mode::Json => self.emit(events::Event::Stopping {
                mode: mode.as_str(),
                reason: reason.as_str(),
                why,
                in_flight,
            }),
            Mode::Quiet => {}
            Mode::Plain | Mode::Terminal => {
                let how = match mode {
                    StopMode::Drain => "finishing:",
                    StopMode::Stop | StopMode::Cancel => "stopping:",
                    StopMode::Kill => "stopping at once:",
                };
                self.output.talk(&format!(
                    "{} {}; {} in flight",
                    how.yellow().bold(),
                    format::visible_line(why),
                    format::plural(in_flight as u64, "attempt")
                ));
            }
        }
    }

    fn awaiting(&self, mode: StopMode, running: &[run::Running<'_>], rows: usize) {
        if matches!(self.mode, Mode::Terminal | Mode::Plain) {
            self.output.talk(&awaited::text(mode, running, rows));
        }
    }

    fn summary(&self, finish: &Finish<'_>) {
        let talk = |line: &str| self.output.talk(line);
        if !finish.is_forced {
            self.failures(finish);
            if let Some(denied) = self.tally.denied.text(&self.granted) {
                talk(&format!("\n{denied}"));
            }
            if !self.tally.providers.is_empty() {
                let table = summary::table(&self.tally, self.output.talk_columns());
                talk(&format!("\n{table}"));
            }
        }
        let error = finish.error.as_ref();
        // Where this goes into the run's log, the session has told it there.
        if let Some(error) = error.filter(|_| !self.output.is_log()) {
            // A guest may have said it, and must not begin a line.
            let error = format::visible(error).replace('\n', "\n  ");
            talk(&format!("\n{} {error}", "error:".red().bold()));
        }
        talk(&format!("\nresults: {}", format::path(finish.run_dir)));
        if let Some(resume) = &finish.resume {
            talk(&next::resume_line(resume));
        }
        if let Some(ran) = self.ran {
            talk(&summary::ran_text(ran));
        }
        talk(&self.closing(finish));
    }

    /// Tells the failures that were not printed as they happened: all of a quiet run, those of earlier sessions.
    fn failures(&self, finish: &Finish<'_>) {
        let failures = &self.tally.failures;
        let untold: Vec<_> = failures
            .iter()
            .filter(|failure| Some(failure.session) != self.told)
            .collect();
        if untold.is_empty() {
            return;
        }
        let title = match self.told {
            Some(_) => "failures of earlier sessions",
            None => "failures",
        };
        self.output.talk(&format!("\n{}", title.bold()));
        untold
            .iter()
            .for_each(|failure| self.output.talk(&failure.lines));
        let more = finish.counts.bad().saturating_sub(failures.len() as u64);
        if more > 0 {
            self.output.talk(&format!(
                "… and {more} more: `runner show --failed` shows all"
            ));
        }
    }

    /// How the run stands, the time, and the exit code, on one line.
    fn closing(&self, finish: &Finish<'_>) -> String {
        let standing = Standing {
            status: finish.status,
            reason: finish.reason,
            signal: finish.signal,
            verdict: finish.verdict,
            counts: finish.counts,
            is_not_yet_swept: false,
        };
        let took = format::duration(self.started.elapsed());
        let exit = match finish.exit {
            ExitStatus::Success => String::new(),
            exit => format!("; exit code {}", exit.code()),
        };
        format!("{} in {took}{exit}", standing.line())
    }

    fn show_bar(&mut self, planned: u64) {
        let bar =
            ProgressBar::with_draw_target(Some(planned), ProgressDrawTarget::stderr_with_hz(10));
        self.room = bar::Room::of(self.output.talk_columns(), true);
        bar.set_style(bar::style(self.room, None));
        self.output.set_bar(Some(bar.clone()));
        self.bar = Some(bar);
    }

    /// Gives what is running longest a line of its own where the bar leaves too little room beside it.
    fn make_room(&mut self, is_wanted: bool) {
        let room = bar::Room::of(self.output.talk_columns(), is_wanted);
        if let Some(bar) = &self.bar
            && room != self.room
        {
            self.room = room;
            bar.set_style(bar::style(room, self.pace));
        }
    }

    fn emit(&mut self, event: events::Event<'_>) {
        self.lines += 1;
        let mut line = Vec::new();
        Line::write(self.lines, event, &mut line);
        self.output.bytes(&line);
    }
}
