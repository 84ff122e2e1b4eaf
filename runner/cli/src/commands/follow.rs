//! `runner wait` and `runner logs`: follow runs of other processes.

use std::time::{Duration, Instant};
use std::{collections::VecDeque, path::PathBuf, thread};

use runner_engine::{Ended, LongWait, exit_of};
use runner_model::{
    Counts, TrialId, exit::Exit, row::duration, units::plural, visible::visible_line,
};
use runner_operations::queue;
use runner_record::{InFlight, Live, Manifest, ResultsRoot, RunDir, RunHead, now, sweep_every};
use runner_report::{
    FoundTrials, LiveLines, LogEntry, Reading, RunSummary, Stream, find_trial, json, phrases,
    short_of,
};

use super::results::calls;
use super::target::{self, Target};
use crate::{
    args::{RootArgs, RunArg, any_duration, number},
    text::{
        CommandError, Lines, Out, events::EventStream, progress, style, summary, trials::PAGE_BYTES,
    },
};

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Shortest time between two `progress` events of a run.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Time until the start of a waiting trial that is shown.
const LONG_WAIT: Duration = Duration::from_secs(3);

/// Wait until runs have ended, and exit with their exit code
#[derive(clap::Args)]
pub struct WaitArgs {
    /// Ids or parts of them, paths, groups, or `latest` [env: RUNNER_RUN]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Stop waiting after this time; `0s` checks once
    #[arg(long, value_name = "DURATION", value_parser = any_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    root: RootArgs,
    /// Print events as JSON Lines
    #[arg(long)]
    json: bool,
    /// Print nothing, or the results of runs with known failures
    #[arg(short, long)]
    quiet: bool,
}

/// Print the logs, standard output and standard error of attempts
#[derive(clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    run: RunArg,
    /// Print only the logs of this trial, test or glob
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Print the calls in the journal among the logs
    #[arg(long, conflicts_with_all = ["runner", "follow"])]
    calls: bool,
    /// Print the runner's own log of the run instead
    #[arg(long, conflicts_with_all = ["trial", "json"])]
    runner: bool,
    /// Print only the last N lines
    #[arg(long, value_name = "N", value_parser = number::<usize>)]
    tail: Option<usize>,
    /// Print more than 64 KiB on a terminal
    #[arg(long)]
    full: bool,
    /// Keep printing until the run has ended
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    root: RootArgs,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

/// Updates the status of dead runs of a root, and continues runs that were paused for them, once per [`sweep_every`].
fn sweep(root: &ResultsRoot, last_sweep: &mut Instant) {
    if last_sweep.elapsed() >= sweep_every() {
        // In a root that cannot be written, a dead run is still shown with its true status.
        let _ = root.sweep();
        let _ = queue::continue_preempted(root);
        *last_sweep = Instant::now();
    }
}

struct WaitedRun {
    dir: RunDir,
    has_ended: bool,
    /// Time and counts of the last `progress` event.
    last_progress: Option<(Instant, Counts)>,
}

pub fn wait(args: &WaitArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let mut runs = find_runs(&root, &args.runs)?;
    let is_for_people = !args.json && !args.quiet;
    let mut events = args.json.then(|| EventStream::new(out));
    let mut progress = is_for_people.then(|| progress::Progress::new(out));
    let start = Instant::now();
    let mut last_sweep = Instant::now();
    let mut exit = Exit::Success;
    loop {
        let mut all = Live { at: now(), ..Live::default() };
        let mut planned = 0;
        let mut running = 0;
        let mut paused = 0;
        for run in runs.iter_mut().filter(|run| !run.has_ended) {
            let live = run.dir.live().unwrap_or_default();
            // A process that holds the lock of an ended run writes its reports, or is about to continue it, such as the process
            // of its group. Reports that are lost are in the manifest before the lock is released.
            let is_held = run.dir.holder().is_some();
            let manifest = run.dir.truth()?;
            run.has_ended = manifest.status.is_terminal() && !is_held;
            if run.has_ended {
                exit = exit.worse(exit_of(&manifest));
            } else {
                all.counts = all.counts.plus(manifest.counts);
                planned += manifest.metadata.planned_trial_count;
            }
            if !run.has_ended && (live.paused || manifest.paused().is_some()) {
                paused += 1;
            } else if !run.has_ended {
                running += 1;
                all.in_flight.extend(live.in_flight.iter().cloned());
                all.compiling.extend(live.compiling.iter().cloned());
                all.waiting.extend(live.waiting.iter().cloned());
                all.waits_for_memory |= live.waits_for_memory;
            }
            if let Some(events) = &mut events {
                run.print_event(&manifest, &live, events);
            }
        }
        if out.is_closed() || runs.iter().all(|run| run.has_ended) {
            break;
        }
        let left = args.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            let running = runs.iter().filter(|run| !run.has_ended).map(|run| run.dir.id());
            let running: Vec<_> = running.collect();
            let text = format!("still running: {}", running.join(", "));
            return Err(CommandError::new(Exit::Held, text));
        }
        if let Some(progress) = &mut progress {
            let mut waiting = progress::waiting(all.waits_for_memory, long_wait(&all).as_ref());
            waiting += &match (paused, running) {
                (0, _) => String::new(),
                (1, 0) => "; the run is paused".to_owned(),
                _ => format!("; {}", plural(paused, "run is paused", "runs are paused")),
            };
            progress.update(&all, planned, all.in_flight.len() as u64, &waiting, false);
        }
        sweep(&root, &mut last_sweep);
        thread::sleep(left.map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL)));
    }
    drop(progress);
    for WaitedRun { dir, .. } in runs.iter().filter(|_| !args.json) {
        let manifest = dir.truth()?;
        if args.quiet && !manifest.counts.has_known() {
            continue;
        }
        let id = manifest.id.clone();
        let run = RunSummary::new(RunHead::from(&manifest), id, PathBuf::new());
        let line = summary::line(&run, run.head.worked());
        summary::print_providers(dir, &manifest, out);
        out.data(&format!("{}: {line}", visible_line(&run.head.scenario)));
        if let Some(lost) = &run.head.lost_report {
            out.data(&format!("  a report is lost: {}", visible_line(lost)));
            out.hint(&format!("to write its reports: {}", dir.command("resume", &[])));
        }
    }
    Ok(exit)
}

/// Opens the runs with these names, and all runs of the groups.
fn find_runs(root: &ResultsRoot, names: &[String]) -> Result<Vec<WaitedRun>, CommandError> {
    let mut names = names.to_vec();
    if names.is_empty() {
        names.push(RunArg::default().name_or_latest());
    }
    let mut runs = Vec::new();
    for name in names {
        for dir in Target::find(root, &name)?.open(root)? {
            runs.push(WaitedRun { dir, has_ended: false, last_progress: None });
        }
    }
    Ok(runs)
}

impl WaitedRun {
    /// Prints the end of the run, or its progress if that has changed.
    fn print_event(&mut self, manifest: &Manifest, live: &Live, events: &mut EventStream<'_>) {
        if self.has_ended {
            let last = manifest.sessions.last();
            let took = last.and_then(|session| session.worked_ms).unwrap_or_default();
            let ended = Ended::of(manifest.clone(), self.dir.clone(), duration(took));
            return events.finished(&ended, ended.exit);
        }
        let is_new = self.last_progress.is_none_or(|(at, counts)| {
            at.elapsed() >= PROGRESS_INTERVAL && counts != manifest.counts
        });
        if is_new {
            self.last_progress = Some((Instant::now(), manifest.counts));
            events.progress(manifest, live);
        }
    }
}

/// Returns the waiting trials if one of them waits for more than a few seconds.
fn long_wait(live: &Live) -> Option<LongWait> {
    let retries = live.waiting.iter().filter(|trial| trial.why == "retry").count() as u64;
    let graders =
        live.waiting.iter().filter(|trial| trial.why != "retry" && trial.grader.is_some()).count()
            as u64;
    let rates = live.waiting.len() as u64 - retries - graders;
    let left: Vec<_> = live.waiting.iter().map(|trial| trial.until.since(live.at)).collect();
    let next = *left.iter().min()?;
    let is_long = left.iter().any(|left| *left >= LONG_WAIT);
    is_long.then_some(LongWait { retries, rates, graders, next })
}

pub fn logs(args: &LogsArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    match Target::find_for("logs", &root, &args.run.name_or_latest())? {
        Target::Run(run) => logs_of(&run, args, out)?,
        Target::Group(list) if args.trial.is_some() || args.follow || args.json => {
            return Err(target::needs_one_run(&root, &list));
        }
        Target::Group(list) => {
            for run in &list.runs {
                out.data(&style::bold(&format!("{}:", visible_line(&run.head.scenario))));
                logs_of(&root.find(&run.head.id)?, args, out)?;
            }
        }
    }
    Ok(Exit::Success)
}

fn logs_of(run: &RunDir, args: &LogsArgs, out: &Out) -> Result<(), CommandError> {
    let root = run.results_root();
    let trials = match &args.trial {
        Some(text) => match find_trial(run, text)? {
            FoundTrials::Nothing { .. } if args.follow => None,
            found => Some(found.named(run.id(), text, usize::MAX).map_err(CommandError::usage)?),
        },
        None => None,
    };
    let is_wanted = |id: &TrialId| match (&trials, &args.trial) {
        (Some(trials), _) => trials.contains(id),
        // With `--follow`, the trial may have no row yet, so its full id is not known.
        (None, Some(text)) => id.to_string().contains(text),
        (None, None) => true,
    };
    let mut reading = if args.calls { Reading::with_calls(run)? } else { Reading::default() };
    let mut log_bytes = 0;
    let mut last_sweep = Instant::now();
    let mut live_lines = LiveLines::default();
    let held = VecDeque::new();
    let lines = out.lines(args.json);
    let is_all = args.full || args.follow || args.tail.is_some() || out.columns().is_none();
    let room = if is_all { usize::MAX } else { PAGE_BYTES };
    let head = String::new();
    let mut tail = Tail { is_empty: true, limit: args.tail, room, left: 0, head, held, lines };
    loop {
        // The status is read first: everything that was written before the end is then read below. The last line of
        // `runner.log` follows the status, and the lock is released after it.
        let is_over = !args.follow
            || run.truth()?.status.is_terminal() && !(args.runner && run.holder().is_some());
        if args.runner {
            let log = run.runner_log(log_bytes)?;
            // The last line may be half written.
            let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            log_bytes += whole as u64;
            for line in String::from_utf8_lossy(&log[..whole]).lines() {
                tail.add("", visible_line(line).into_owned());
            }
        } else {
            // Read before the rows: an attempt that has ended since then has a row.
            if let Some(live) = run.live().filter(|_| args.follow && !args.json) {
                live_lines.read(&live, |attempt, lines| {
                    let InFlight { trial, grader, attempt, .. } = attempt;
                    if is_wanted(trial) {
                        let head = attempt_head(trial, grader.as_deref(), *attempt);
                        for line in lines {
                            let live = style::dim("live  ");
                            tail.add(&head, format!("  {live} {}", visible_line(&line)));
                        }
                    }
                });
            }
            reading.read(run, is_wanted, |entry| match entry {
                Ok(entry) if args.json => tail.add("", json::one_line(&entry)),
                Ok(entry) => {
                    let head = attempt_head(&entry.trial, entry.grader.as_deref(), entry.attempt);
                    let rest = live_lines.rest(entry);
                    rest.iter().flat_map(entry_lines).for_each(|line| tail.add(&head, line));
                }
                Err(error) => out.warn(&error.to_string()),
            })?;
        }
        tail.print();
        if is_over || out.is_closed() {
            if tail.is_empty && !args.json {
                let name = match (trials.as_deref(), &args.trial) {
                    (Some([trial]), _) => format!("`{trial}`"),
                    (_, Some(text)) => format!("`{}`", visible_line(text)),
                    (_, None) => format!("run {}", short_of(&root, run.id())),
                };
                out.talk(&format!("{name} has no logs; `--runner` prints the runner's own, and `runner show` the output"));
                if args.calls {
                    calls::print_advice(run, out);
                }
            }
            if tail.left > 0 {
                let lines = plural(tail.left, "more line", "more lines");
                out.hint(&format!("… {lines}: `--full` shows all, and `--tail 100` the end"));
            }
            if reading.damaged > 0 {
                let one = "line of index.jsonl is damaged, and its output is left out";
                let many = "lines of index.jsonl are damaged, and their output is left out";
                let lines = plural(reading.damaged, one, many);
                out.warn(&format!("{lines}; to list such lines: {}", run.command("verify", &[])));
            }
            return Ok(());
        }
        sweep(&root, &mut last_sweep);
        thread::sleep(POLL_INTERVAL);
    }
}

/// Formats the line above the output of an attempt.
fn attempt_head(trial: &TrialId, grader: Option<&str>, attempt: u32) -> String {
    let grader = grader.map(|grader| format!(" {}", visible_line(grader))).unwrap_or_default();
    let attempt = match attempt {
        1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    style::bold(&format!("{trial}{grader}{attempt}:"))
}

/// Formats an entry as lines. They are indented, so that no text can imitate the head of another trial.
fn entry_lines(entry: &LogEntry) -> Vec<String> {
    let time = entry.at.map(|at| format!(" {}", phrases::time_of_day(at))).unwrap_or_default();
    let stream = match entry.stream {
        Stream::Log => "log",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Call => "call",
    };
    let kind = entry.level.map_or_else(|| stream.to_owned(), |level| level.to_string());
    let kind = style::dim(&format!("{kind:6}{time}"));
    let fields = entry.fields.iter().map(|(name, value)| (&**name, &**value));
    let text = format!("{}{}", entry.text, phrases::fields(fields));
    text.lines().map(|line| format!("  {kind} {}", visible_line(line))).collect()
}

/// Holds lines until [`Tail::print`]. With a `limit`, the first call prints only the last of them; later lines are not held.
struct Tail<'a> {
    is_empty: bool,
    limit: Option<usize>,
    /// Bytes that may still be printed.
    room: usize,
    /// Lines that were not printed, or not whole.
    left: u64,
    /// Head of the line that was printed last.
    head: String,
    /// Lines, each with its head.
    held: VecDeque<(String, String)>,
    lines: Lines<'a>,
}

impl Tail<'_> {
    /// Adds a line. `head` is printed above it, unless the line before it has the same head.
    fn add(&mut self, head: &str, mut line: String) {
        self.is_empty = false;
        if line.len() > self.room {
            self.left += 1;
            if self.room == 0 {
                return;
            }
            line.truncate(line.floor_char_boundary(self.room));
            line.push_str("…\u{1b}[0m");
        }
        self.room = self.room.saturating_sub(line.len());
        let Some(limit) = self.limit else {
            return self.print_line(head, &line);
        };
        self.held.push_back((head.to_owned(), line));
        if self.held.len() > limit {
            self.held.pop_front();
        }
    }

    fn print_line(&mut self, head: &str, line: &str) {
        if self.head != head {
            self.lines.add(head);
            head.clone_into(&mut self.head);
        }
        self.lines.add(line);
    }

    fn print(&mut self) {
        self.limit = None;
        for (head, line) in std::mem::take(&mut self.held) {
            self.print_line(&head, &line);
        }
        self.lines.flush();
    }
}
