//! [`Report`]: what a person sees of a session while it goes on and when it is over.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget};
use owo_colors::OwoColorize as _;

use super::{
    Output, awaited,
    bar::{self, TrialPace},
    denials, failure, fleet, format,
    grants::{self, Granted},
    next, notices,
    overview::{self, OverviewRoom},
    runs,
    standing::Standing,
    summary,
};
use crate::{
    error::ExitStatus,
    model::{Counts, Outcome, ProviderId, StopMode},
    plugin::Moment,
    record::{Conclusion, Entry, Row, RunReader, Tally},
    run,
    session::{self, Begin, NothingLeft, Notice, Observe},
    view::ProviderSummary,
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
}

/// How often a run that is not watched on a terminal says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How long an attempt runs before it is named.
const WORTH_NAMING: Duration = Duration::from_secs(1);
/// The most trials that a summary tells more of than their counts: their rows are read once more.
const MAX_OVERVIEW: u64 = 2_000;
/// How many failures are printed as they happen.
const MAX_SHOWN: u64 = 50;

/// The report of one session.
pub struct Report {
    output: Output,
    mode: Mode,
    is_verbose: bool,
    tally: Tally,
    granted: Granted,
    /// The results root that a command need not name.
    default_root: PathBuf,
    bar: Option<ProgressBar>,
    /// What there is room for beside the bar.
    room: bar::BarRoom,
    /// How fast trials end, once they can begin.
    pace: Option<TrialPace>,
    shown: u64,
    /// The session whose failures were printed as they happened.
    told: Option<u32>,
    started: Moment,
    /// How many trials have yet to be graded, as far as was told.
    ungraded: u64,
    progress_at: Moment,
}

impl Report {
    /// Begins a report.
    pub fn new(output: Output, mode: Mode, is_verbose: bool, default_root: PathBuf) -> Self {
        let now = Moment::now();
        Self {
            output,
            mode,
            is_verbose,
            tally: Tally::default(),
            granted: Granted::default(),
            default_root,
            bar: None,
            room: bar::BarRoom::default(),
            pace: None,
            shown: 0,
            told: None,
            started: now,
            progress_at: now,
            ungraded: 0,
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

    fn requests(&self, provider: &ProviderId, requests: &[&str], toml: &[String]) {
        if self.mode != Mode::Quiet {
            let text = grants::requests_text(provider, requests, toml);
            self.output.talk(&text);
        }
    }

    fn rows(&mut self, entries: &[Entry], lines: &[u8], counts: Counts) {
        let lines = lines.split(|byte| *byte == b'\n');
        let n_final = entries.iter().filter(|entry| entry.is_final).count() as u64;
        let mut done = counts.done().saturating_sub(n_final);
        for (entry, line) in entries.iter().zip(lines) {
            done += u64::from(entry.is_final);
            // No session runs a trial again that it has settled.
            self.tally.add(&entry.into(), entry.is_final);
            let outcome = entry.attempt.outcome;
            if self.is_verbose || (entry.is_final && outcome.is_bad()) {
                let row = Row::decode(line).expect("a row that was just written can be read");
                self.tell(&row, (done, counts.planned));
            }
        }
        self.move_bar(counts);
    }

    fn judged(&mut self, trials: &[run::JudgedTrial], counts: Counts) {
        let first = 1 + counts.done().saturating_sub(trials.len() as u64);
        self.ungraded = self.ungraded.saturating_sub(trials.len() as u64);
        for (done, run::JudgedTrial { row }) in (first..).zip(trials) {
            self.tally.settle_by(row);
            if self.is_verbose || row.outcome.is_bad() {
                self.tell(row, (done, counts.planned));
            }
        }
        self.move_bar(counts);
    }

    fn move_bar(&self, counts: Counts) {
        if let Some(bar) = &self.bar {
            bar.set_position(counts.done());
            bar.set_prefix(bar::counts(counts, self.ungraded));
        }
    }

    /// Prints a row, and keeps it if it is a failure; it is the first of two numbers of trials that is done.
    fn tell(&mut self, row: &Row<'static>, (done, planned): (u64, u64)) {
        if row.is_final && row.outcome.is_bad() {
            self.tally.keep_failure(row);
        }
        if self.mode == Mode::Quiet {
            // All at the end.
            return;
        }
        self.shown += 1;
        self.told = Some(row.session);
        if self.is_verbose {
            let text = match row.outcome {
                Outcome::Passed | Outcome::Skipped | Outcome::Ungraded => failure::head(row),
                _ => failure::lines(row),
            };
            let place = format!("{}/{}", format::count(done), format::count(planned));
            self.output.talk(&format!("{} {text}", place.dimmed()));
        } else if self.shown <= MAX_SHOWN {
            self.output.talk(&failure::lines(row));
        } else if self.shown == MAX_SHOWN + 1 {
            self.output
                .talk("… more failures are not printed here; `runner show --failed` shows all");
        }
    }

    fn progress(
        &mut self,
        counts: Counts,
        longest: Option<&run::Running<'_>>,
        shortage: Option<run::Shortage>,
    ) {
        match self.mode {
            Mode::Terminal => {
                let longest = longest.filter(|longest| longest.elapsed >= WORTH_NAMING);
                self.make_room(longest.is_some() || shortage.is_some());
                if let Some(bar) = &self.bar {
                    if self.ungraded > 0 {
                        bar.set_prefix(bar::counts(counts, self.ungraded));
                    }
                    let message = bar::message(longest, shortage);
                    let hint = bar::key_hint(&message, self.output.has_keys());
                    bar.set_message(message + hint);
                    bar.tick();
                }
            }
            Mode::Plain => self.plain_progress(counts, longest, shortage),
            Mode::Quiet => {}
        }
    }

    fn plain_progress(
        &mut self,
        counts: Counts,
        longest: Option<&run::Running<'_>>,
        shortage: Option<run::Shortage>,
    ) {
        if !self.is_progress_due() {
            return;
        }
        let message = bar::message(longest, shortage);
        let comma = if message.is_empty() { "" } else { ", " };
        let place = bar::place(counts, self.ungraded);
        let counted = format::counted(counts);
        self.output
            .talk(&format!("{place}: {counted}{comma}{message}"));
    }

    fn is_progress_due(&mut self) -> bool {
        let now = Moment::now();
        let is_due = now >= self.progress_at;
        if is_due {
            self.progress_at = now + PROGRESS_EVERY;
        }
        is_due
    }

    fn stopping(&self, mode: StopMode, why: &str, in_flight: usize) {
        // Into a log the session has written it already.
        let is_told = self.mode == Mode::Plain && self.output.is_log();
        if !is_told && self.mode != Mode::Quiet {
            self.output.talk(&awaited::stopping(mode, why, in_flight));
        }
    }

    fn paused(&self, message: &'static str, line: Option<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(message);
        }
        if let Some(line) = line.filter(|_| self.mode != Mode::Quiet) {
            self.output.talk(&line);
        }
    }

    fn awaiting(&self, mode: StopMode, running: &[run::Running<'_>], rows: usize) {
        if matches!(self.mode, Mode::Terminal | Mode::Plain) {
            self.output.talk(&awaited::text(mode, running, rows));
        }
    }

    fn summary(&self, conclusion: &Conclusion, ran: Option<Counts>) {
        let talk = |line: &str| self.output.talk(line);
        if !conclusion.is_forced {
            self.failures(conclusion);
            if let Some(denied) = denials::text(&self.tally.denials, &self.granted) {
                talk(&format!("\n{denied}"));
            }
            let providers = ProviderSummary::all(&self.tally);
            if !providers.is_empty() {
                let table = summary::table(&providers, self.output.talk_columns());
                talk(&format!("\n{table}"));
            }
            if let Some(overview) = self.overview(conclusion) {
                talk(&format!("\n{overview}"));
            }
        }
        let error = conclusion.error.as_ref();
        // Where this goes into the run's log, the session has told it there.
        if let Some(error) = error.filter(|_| !self.output.is_log()) {
            // A guest may have said it, and must not begin a line.
            let error = format::visible(error).replace('\n', "\n  ");
            talk(&format!("\n{} {error}", "error:".red().bold()));
        }
        talk(&format!("\nresults: {}", format::path(&conclusion.run_dir)));
        let (dir, run) = (&conclusion.run_dir, &conclusion.run);
        let ended = (conclusion.status, conclusion.reason);
        if let Some(resume) = next::resume_command(dir, run, ended, &self.default_root) {
            talk(&next::resume_line(&resume));
        }
        if let Some(ran) = ran {
            talk(&summary::ran_text(ran));
        }
        talk(&self.closing(conclusion));
    }

    /// What the trials come to together, where they are few enough to be told on a screen.
    fn overview(&self, conclusion: &Conclusion) -> Option<String> {
        if self.mode == Mode::Quiet || !(2..=MAX_OVERVIEW).contains(&conclusion.counts.planned) {
            return None;
        }
        // What cannot be read is told by whoever is asked for more than a summary.
        let report = session::report(&conclusion.run_dir, None, |_| {}).ok()?;
        let width = self.output.talk_columns();
        let text = overview::overview_text(&report, OverviewRoom::SUMMARY, width);
        (!text.is_empty()).then_some(text)
    }

    /// Tells in a line what became of a run of several; what failed was told as it happened.
    pub(super) fn conclude_briefly(&mut self, conclusion: &Conclusion) {
        self.output.set_bar(None);
        let is_good = ExitStatus::of(conclusion) == ExitStatus::Success;
        if self.mode == Mode::Quiet && is_good {
            return;
        }
        if !conclusion.is_forced && conclusion.session == 1 {
            self.failures(conclusion);
        }
        if let Some(error) = &conclusion.error {
            let error = format::visible(error).replace('\n', "\n  ");
            self.output
                .talk(&format!("{} {error}", "error:".red().bold()));
        }
        let took = format::duration(self.started.elapsed());
        let line = Standing::after(conclusion).line();
        self.output.talk(&format!("{line} in {took}"));
    }

    /// Tells the failures that were not printed as they happened: all of a quiet run, those of earlier sessions.
    fn failures(&self, conclusion: &Conclusion) {
        let failures = &self.tally.failures;
        let untold: Vec<_> = failures
            .iter()
            .filter(|row| Some(row.session) != self.told)
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
            .for_each(|row| self.output.talk(&failure::lines(row)));
        let more = conclusion
            .counts
            .bad()
            .saturating_sub(failures.len() as u64);
        if more > 0 {
            self.output.talk(&format!(
                "… and {more} more: `runner show --failed` shows all"
            ));
        }
    }

    /// How the run stands, the time, and the exit code, on one line.
    fn closing(&self, conclusion: &Conclusion) -> String {
        let took = format::duration(self.started.elapsed());
        let exit = match ExitStatus::of(conclusion) {
            ExitStatus::Success => String::new(),
            exit => format!("; exit code {}", exit.code()),
        };
        format!("{} in {took}{exit}", Standing::after(conclusion).line())
    }

    fn show_bar(&mut self, planned: u64) {
        let bar =
            ProgressBar::with_draw_target(Some(planned), ProgressDrawTarget::stderr_with_hz(10));
        self.room = bar::BarRoom::of(self.output.talk_columns(), true);
        bar.set_style(bar::style(self.room, None));
        self.output.set_bar(Some(bar.clone()));
        self.bar = Some(bar);
    }

    /// Gives what is running longest a line of its own where the bar leaves too little room beside it.
    fn make_room(&mut self, is_wanted: bool) {
        let room = bar::BarRoom::of(self.output.talk_columns(), is_wanted);
        if let Some(bar) = &self.bar
            && room != self.room
        {
            self.room = room;
            bar.set_style(bar::style(room, self.pace));
        }
    }
}

impl Observe for Report {
    /// What is not of the session itself is said beside the report.
    fn notice(&mut self, _: &Notice<'_>) {}

    fn begin(&mut self, begin: &Begin<'_>) {
        self.granted = begin.grants.iter().copied().collect();
        self.started = Moment::now();
        self.progress_at = self.started + PROGRESS_EVERY;
        if self.mode == Mode::Quiet {
            return;
        }
        self.output.talk(&format!(
            "{}: {} on {}, {}",
            format::visible_line(begin.scenario).bold(),
            format::plural(begin.planned, "trial"),
            format::plural(begin.providers as u64, "provider"),
            fleet::how_many(begin)
        ));
        self.output
            .talk(&format!("results: {}", format::path(begin.run_dir)));
        if self.mode == Mode::Terminal {
            self.show_bar(begin.planned);
        }
    }

    fn event(&mut self, event: &run::Event<'_>) {
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
                self.pace = Some(TrialPace::begin(counts.done()));
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
            run::Event::Judged { trials, counts } => self.judged(trials, *counts),
            run::Event::Progress {
                counts,
                ungraded,
                longest,
                shortage,
                ..
            } => {
                self.ungraded = *ungraded;
                self.progress(*counts, longest.as_ref(), *shortage);
            }
            run::Event::Stopping {
                mode,
                why,
                in_flight,
                ..
            } => self.stopping(*mode, why, *in_flight),
            run::Event::Paused { by } => self.paused("paused", awaited::paused(by)),
            run::Event::Unpaused => self.paused("", Some("the run goes on".into())),
            run::Event::Awaiting {
                mode,
                running,
                rows,
            } => self.awaiting(*mode, running, *rows),
        }
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        let warn = |error: &dyn std::error::Error| self.output.warn(&error.to_string());
        let request = session::Show::default();
        match session::show(&left.run.dir, &request, warn, run::wall_clock()) {
            Ok((shown, _)) => {
                let text = runs::show_text(&shown, None, self.output.columns());
                self.output.show(&text);
            }
            Err(error) => self.output.warn(&error.to_string()),
        }
        self.output.talk("nothing is left to run");
        if left.unjudged > 0 {
            notices::unjudged(left.unjudged, &self.output);
        }
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        // A resumed run reports every trial, and not only the new ones.
        let is_resumed = conclusion.session > 1;
        let ran = is_resumed.then(|| self.tally.counts());
        if is_resumed && let Some(tally) = tally_of(&conclusion.run_dir) {
            self.tally = tally;
        }
        self.output.set_bar(None);
        if self.mode != Mode::Quiet || ExitStatus::of(conclusion) != ExitStatus::Success {
            self.summary(conclusion, ran);
        }
    }
}

/// Reads all sessions' rows, once. The rows of earlier sessions were read when this one began, but only as far as they
/// decide what is left; and which of them still count is known when no trial runs again any more.
fn tally_of(run_dir: &Path) -> Option<Tally> {
    let reader = RunReader::open(run_dir).ok()?;
    // Damaged lines were told when the run was opened.
    Tally::of_run(&reader, |_| {}).ok()
}
