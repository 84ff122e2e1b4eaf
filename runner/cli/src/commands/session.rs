//! A session of `exec` or `resume`, and its output for people: failures as they happen, progress, and the summary.

use std::{sync::Arc, time::Duration};

use runner_engine::{Ended, EngineError, Observer, RunEvent};
use runner_model::known::{Known, KnownState};
use runner_model::units::{grouped, plural, show_duration};
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Outcome, RowRef, StopSignal, exit::Exit};
use runner_operations::{notify::RunNotifications, settings::Settings};
use runner_record::{Manifest, ResultsRoot, RowFacts, RunDir, RunHead};
use runner_report::{Denials, Failures, KnownResult, RunSummary, SincePrevious};
use runner_report::{phrases, run_facts, short_of, unexpected_of};

use crate::{
    args::SessionArgs,
    detach::{self, Background},
    report_files::ReportFile,
    session_end,
    text::{
        CommandError, Out,
        events::EventStream,
        grants,
        keys::{Keys, restore_terminal},
        progress::{Progress, waiting},
        style, summary,
        trials::{self, BLOCK_LINES},
    },
};

/// Failures that are printed as they happen. Later ones are only counted.
const MAX_BLOCKS: u64 = 50;
/// Time to compile from which the summary names it. The duration of the run starts with its first attempt.
const NOTABLE_COMPILING: Duration = Duration::from_secs(1);

/// Runs a session, and prints it as `args` request. `is_of_group` leaves the command that continues the run to the group.
pub fn run(
    args: &SessionArgs,
    out: &Out,
    is_of_group: bool,
    run: impl FnOnce(&mut dyn Observer) -> Result<Ended, EngineError>,
) -> Result<Exit, CommandError> {
    // Its mistakes are reported before the run, not at its end.
    let settings = Settings::read(&ResultsRoot::existing(&args.root.path())?)?;
    settings.ignored.iter().for_each(|why| out.warn(why));
    let run = |observer: &mut dyn Observer| {
        run(&mut Prepared { args, settings: &settings, out, observer })
    };
    let mut events = (args.json && !detach::is_background()).then(|| EventStream::new(out));
    let ended = if detach::is_background() {
        run(&mut Background::new(out)).inspect_err(detach::report_problems)?
    } else if let Some(events) = &mut events {
        out.start_spool();
        run(events)?
    } else {
        out.start_spool();
        let mut screen = Screen::new(out, args);
        let ended = run(&mut screen)?;
        screen.finish(&ended, is_of_group);
        ended
    };
    Ok(session_end::finish(ended, args, out, |ended, exit| {
        if let Some(events) = &mut events {
            events.finished(ended, exit);
        }
    }))
}

/// Prepares the end of a session once the run exists. Warns of receivers that cannot be notified. Empties the old files of reports,
/// which must not pass for new ones if the session is killed.
struct Prepared<'a> {
    args: &'a SessionArgs,
    settings: &'a Settings,
    out: &'a Out,
    observer: &'a mut dyn Observer,
}

impl Observer for Prepared<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        if let RunEvent::Created { manifest, run, .. } = event {
            self.args.reports().for_each(ReportFile::empty);
            let root = run.results_root();
            let notifications = RunNotifications::new(&root, self.settings, run, manifest);
            notifications.mistakes().iter().for_each(|mistake| self.out.warn(mistake));
        }
        self.observer.event(event);
    }

    fn writes_reports(&self, of_scenario: bool) -> bool {
        of_scenario || self.args.reports().next().is_some()
    }
}

struct Screen<'a> {
    out: &'a Out,
    args: &'a SessionArgs,
    progress: Option<Progress<'a>>,
    keys: Option<Keys>,
    failures: Failures,
    known: Arc<Known>,
    denials: Denials,
    took: Duration,
    /// Sum of the times that plugins took to compile, before the first attempt.
    compiled: Duration,
    is_stopping: bool,
    /// Whether the user has listed the running trials with a key.
    has_listed: bool,
}

impl<'a> Screen<'a> {
    fn new(out: &'a Out, args: &'a SessionArgs) -> Self {
        Self {
            out,
            args,
            progress: (!args.quiet).then(|| Progress::new(out)),
            keys: Keys::open(),
            failures: Failures::default(),
            known: Arc::default(),
            denials: Denials::default(),
            took: Duration::ZERO,
            compiled: Duration::ZERO,
            is_stopping: false,
            has_listed: false,
        }
    }

    /// Prints the end of the session.
    fn finish(mut self, ended: &Ended, is_of_group: bool) {
        (self.progress, self.keys) = (None, None);
        let out = self.out;
        let is_quiet = self.args.quiet;
        // A green end prints the number of known failures.
        if is_quiet && ended.exit == Exit::Success && !ended.manifest.counts.has_known() {
            return;
        }
        // Another program may have removed the run.
        let stored = Some(&ended.run).filter(|run| !is_quiet && run.manifest().is_ok());
        let since = stored.and_then(|run| changes(run, ended));
        let mut run = summary_of(ended, since.is_some());
        if let Some(stored) = stored {
            run.unexpected = unexpected_of(stored, &run.head.counts.done, since.as_ref());
        }
        // The list of a group follows its last run.
        if !is_quiet && !is_of_group {
            // A single failure was printed just above.
            trials::print_notable(&self.failures, since.as_ref(), out, self.failures.trials != 1);
        }
        let denied = grants::denials(&self.denials, &ended.manifest.providers);
        if !denied.is_empty() {
            out.data(&denied);
        }
        match (run_facts::stop(&ended.manifest), &run.head.message) {
            (Some((word, by)), message) if by.reason == *message => {
                out.data(&format!("{word} by {}", phrases::actor(by)));
            }
            (_, Some(message)) => out.data(&summary::indented(message)),
            _ => {}
        }
        stored.into_iter().for_each(|run| summary::print_providers(run, &ended.manifest, out));
        let none_run = if ended.ran_nothing() { phrases::NONE_RUN } else { "" };
        let compiled = match self.compiled {
            short if short < NOTABLE_COMPILING => String::new(),
            compiled => format!(", after {} of compiling", show_duration(compiled)),
        };
        out.data(&format!("{}{compiled}{none_run}", summary::line(&run, self.took)));
        summary::print_gate(ended.manifest.gate.as_ref(), out);
        summary::print_changes(since.as_ref(), out);
        if !is_quiet && run.run_dir.is_dir() {
            out.data(&format!("results: {}", shown_path(&run.run_dir)));
            if !is_of_group {
                summary::print_comparison_step(&run, since.as_ref(), out);
                summary::print_next_steps(&run, out);
            }
        }
    }

    fn print_start(&self, manifest: &Manifest, run: &RunDir, pending: u64, place: &str) {
        if self.args.quiet {
            return;
        }
        let mut trials = plural(pending, "trial", "trials");
        if manifest.metadata.has_adaptive_repeats {
            trials = match manifest.sessions.len() {
                1 => format!("at most {} trials", grouped(manifest.metadata.planned_trial_count)),
                _ => format!("at least {trials}"),
            };
        }
        let text = if manifest.sessions.len() > 1 {
            let run = run.path();
            let planned = phrases::planned(&manifest.counts, manifest.metadata.planned_trial_count);
            let rescores = manifest.sessions.last().is_some_and(|session| session.rescores);
            let verb = if rescores { "judging" } else { "resuming" };
            format!("{verb} {}: {trials} of {planned}", visible_line(&run.to_string_lossy()))
        } else {
            let providers = grants::counted(&manifest.providers);
            let group = manifest.group.as_ref();
            let group = group.map(|group| format!(" ({}/{})", group.place, group.of));
            let shard = manifest.metadata.selection.shard;
            let shard = shard.map(|shard| format!(", shard {shard}"));
            let part = group.or(shard).unwrap_or_default();
            format!("{}{part}: {trials} on {providers}", visible_line(&manifest.scenario))
        };
        self.out.talk(&format!("{text}, {place}"));
        for warning in grants::warnings(&manifest.providers) {
            self.out.warn(&warning);
        }
    }

    /// Prints a row of the trial at this place of the plan. `done` and `planned` are numbers of trials, including the row's.
    /// Prints the row of a trial that was printed, with a grade that decides nothing.
    fn print_partial(&mut self, line: &[u8]) {
        if self.failures.trials <= MAX_BLOCKS
            && let Ok(row) = serde_json::from_slice::<RowRef<'_>>(line)
        {
            self.denials.add(&row);
            self.out.data(&trials::line(&row, None));
        }
    }

    fn print_row(&mut self, trial: u64, facts: RowFacts, line: &[u8], [done, planned]: [u64; 2]) {
        let is_failure = facts.is_final && facts.state.is_unexpected(facts.outcome);
        let is_retried = !facts.is_final && facts.outcome.is_bad();
        if !is_retried && facts.outcome != Outcome::Stopped {
            self.failures.remove_retried(trial);
        }
        let is_notable = facts.is_final && (facts.flaky || facts.outcome == Outcome::Skipped);
        let is_shown = is_failure || is_retried || is_notable || self.args.verbose;
        if !is_shown && !facts.has_denied {
            let is_known = facts.is_final && facts.state == KnownState::Known;
            self.failures.known += u64::from(is_known);
            return;
        }
        // This process has just written the line, so it is a row.
        let Ok(row) = serde_json::from_slice::<RowRef<'_>>(line) else {
            return;
        };
        let place = if self.args.verbose { format!("{done}/{planned} ") } else { String::new() };
        self.denials.add(&row);
        if facts.outcome == Outcome::Ungraded && !row.has_failed_grader() {
            return;
        }
        if facts.is_final {
            self.failures.add_result(&row, trial, &self.known);
        } else if is_retried {
            self.failures.add_retried(&row, trial);
        }
        if is_failure {
            let count = self.failures.trials;
            if count <= MAX_BLOCKS {
                let block = trials::block(&row, &self.known, BLOCK_LINES);
                self.out.data(&format!("{place}{block}"));
            } else if count == MAX_BLOCKS + 1 {
                // The end of the session prints the command that shows them.
                self.out
                    .hint(&format!("more than {MAX_BLOCKS} failures; the others are only counted"));
            }
        } else if self.args.verbose && !facts.is_final && facts.outcome != Outcome::Stopped {
            self.out.data(&format!("{place}{}", trials::retried_line(&row)));
        } else if self.args.verbose {
            let known = KnownResult::of(&self.known, &row);
            let line = trials::line(&row, known.as_ref().map(|known| known.state));
            let known = known.map(|known| format!(" {}", known.line())).unwrap_or_default();
            self.out.data(&format!("{place}{line}{}", style::yellow(&known)));
        }
    }
}

impl Observer for Screen<'_> {
    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Started { manifest, run, known, pending, jobs, broker } => {
                self.known = Arc::clone(known);
                let place = match broker {
                    Some(address) => format!("on the workers at {address}"),
                    None => format!("{jobs} at a time"),
                };
                self.print_start(manifest, run, *pending, &place);
                if let Some(progress) = &mut self.progress {
                    progress.start(manifest, *pending);
                }
            }
            RunEvent::Created { .. } => {}
            RunEvent::Compiling { plugin } => {
                if let Some(progress) = &mut self.progress {
                    progress.compiling(plugin);
                }
            }
            RunEvent::Compiled { plugin, took } => {
                self.compiled += *took;
                if !self.args.quiet {
                    let plugin = visible_line(plugin);
                    let took = show_duration(*took);
                    self.out.talk(&format!("compiled {plugin} in {took}"));
                }
            }
            RunEvent::Row { trial, row, again, line, counts, planned } => {
                if let Some(progress) = &mut self.progress {
                    progress.settled += u64::from(row.is_final && !again);
                }
                if *again {
                    self.print_partial(line);
                } else {
                    self.print_row(*trial, *row, line, [counts.done(), counts.needed_of(*planned)]);
                }
            }
            RunEvent::Progress { live, planned, in_flight, waits } => {
                let keys = self.keys.as_ref().filter(|_| !self.is_stopping);
                if keys.is_some_and(|keys| keys.pressed().contains(&b't')) {
                    self.has_listed = true;
                    self.out.talk(&run_facts::doing(live));
                }
                let has_keys = keys.is_some() && !self.has_listed;
                if let Some(progress) = &mut self.progress {
                    progress.retried = self.failures.retried().1;
                    let waiting = waiting(live.waits_for_memory, waits.as_ref());
                    progress.update(live, *planned, *in_flight, &waiting, has_keys);
                }
            }
            RunEvent::Stopping { signal, by, in_flight } => {
                // The echo stays off until the end or the second signal, after which the process may end at any moment.
                self.is_stopping = true;
                let attempts = plural(*in_flight, "attempt", "attempts");
                let by = match (by, signal) {
                    (Some(by), _) => format!(" (requested by {})", phrases::actor(by)),
                    (None, Some(signal)) => format!(" ({})", phrases::signal(*signal)),
                    // If a run stops by itself, the summary has the reason.
                    (None, None) if *in_flight == 0 => return,
                    (None, None) => String::new(),
                };
                let again = match signal {
                    Some(StopSignal::Interrupt) if *in_flight > 0 => "; Ctrl-C again kills them",
                    _ => "",
                };
                self.out.talk(&format!("stopping{by}: {attempts} in flight{again}"));
            }
            RunEvent::Paused { by } => {
                if by.is_none() {
                    // After Ctrl-Z the process stops, and the shell uses the terminal.
                    restore_terminal();
                    self.progress.iter().for_each(Progress::hide);
                }
                self.out.talk(&format!("paused by {}", phrases::pauser(*by)));
            }
            RunEvent::Unpaused => self.out.talk("the run continues"),
            RunEvent::Notice(text) => self.out.notice("note:", text),
            RunEvent::Finished { ended } => self.took = ended.took,
        }
    }
}

/// Returns the changes since the previous run, if they can be read: the end of a session does not fail because of another run.
fn changes(run: &RunDir, ended: &Ended) -> Option<SincePrevious> {
    SincePrevious::read(&run.results_root(), run, &ended.manifest).ok()?
}

/// Returns the summary of a session's run.
fn summary_of(ended: &Ended, has_changes: bool) -> RunSummary {
    let id = &ended.manifest.id;
    // Only the next steps name the run, and a short id must be unique in the root.
    let has_steps =
        has_changes || ended.exit != Exit::Success || ended.manifest.counts.unexpected() > 0;
    let short = if has_steps { short_of(&ended.run.results_root(), id) } else { id.clone() };
    let run = RunSummary::new(RunHead::from(&ended.manifest), short, ended.run.path());
    // An interrupted `rescore` leaves a run completed.
    RunSummary { exit_code: Some(ended.exit.code()), ..run }
}
