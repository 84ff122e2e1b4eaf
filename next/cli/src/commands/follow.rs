//! `runner wait` and `runner logs`: commands that follow a run that another process works on.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use runner_engine::exit_of;
use runner_model::{Counts, TrialId, exit::Exit, visible::visible};
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir, RunHead, sweep_every};
use runner_report::{Found, LogEntry, Reading, RunSummary, Stream, find_trial, json, phrases};

use super::group::Named;
use crate::{
    args::{RootArgs, RunArg, duration, number},
    text::{
        CommandError, Out, events::EventStream, out::Lines, progress::Progress, style, summary,
    },
};

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often an event `progress` comes at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Wait until runs have ended, and exit with their exit code
#[derive(clap::Args)]
pub struct WaitArgs {
    /// The runs: ids, parts of them that no other run has, paths, groups, or `latest` [env: RUNNER_RUN] [default: latest]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Wait no longer than this, such as `30m`; the exit code is 6 then
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    root: RootArgs,
    /// Print events as JSON Lines
    #[arg(long)]
    json: bool,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
}

/// Print what guests have said: their logs, standard output and standard error
#[derive(clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    run: RunArg,
    /// Only what was said in this trial: its id, or a part of it that no other trial has
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Print the runner's own log of the run instead
    #[arg(long, conflicts_with_all = ["trial", "json"])]
    runner: bool,
    /// Print only the last N lines
    #[arg(long, value_name = "N", value_parser = number::<usize>)]
    tail: Option<usize>,
    /// Go on until the run has ended
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    root: RootArgs,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

/// Gives dead runs of a root their true status, from time to time.
fn sweep(root: &ResultsRoot, swept: &mut Instant) {
    if swept.elapsed() >= sweep_every() {
        // What cannot be written is shown as it is all the same.
        let _ = root.sweep();
        *swept = Instant::now();
    }
}

/// A run that is waited for.
struct Waited {
    dir: RunDir,
    has_ended: bool,
    told: Option<(Instant, Counts)>,
}

pub fn wait(args: &WaitArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let mut runs = waited(&root, &args.runs)?;
    let is_for_people = !args.json && !args.quiet;
    let mut events = args.json.then(|| EventStream::new(out));
    let mut progress = is_for_people.then(|| Progress::new(out));
    let (began, mut swept, mut exit) = (Instant::now(), Instant::now(), Exit::Success);
    loop {
        let (mut counts, mut planned) = (Counts::default(), 0);
        let (mut in_flight, mut waits_for_memory) = (0, false);
        for run in runs.iter_mut().filter(|run| !run.has_ended) {
            let live = run.dir.live().unwrap_or_default();
            let manifest = run.dir.truth()?;
            // A process that holds a run which has ended is about to continue it, such as one of its group.
            run.has_ended = manifest.status.is_terminal() && run.dir.holder().is_none();
            if run.has_ended {
                exit = exit.worse(exit_of(&manifest));
            } else {
                counts = sum(counts, manifest.counts);
                planned += manifest.metadata.planned_trial_count;
                in_flight += live.in_flight.len() as u64;
                waits_for_memory |= live.waits_for_memory;
            }
            if let Some(events) = &mut events {
                run.tell(&manifest, &live, events);
            }
        }
        if out.is_unread() || runs.iter().all(|run| run.has_ended) {
            break;
        }
        let left = args.timeout;
        let left = left.map(|timeout| timeout.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            let left = runs.iter().filter(|run| !run.has_ended);
            let left: Vec<_> = left.map(|run| run.dir.id()).collect();
            let text = format!("still running: {}", left.join(", "));
            return Err(CommandError::new(Exit::Held, text));
        }
        if let Some(progress) = &mut progress {
            progress.update(&counts, planned, in_flight, waits_for_memory);
        }
        sweep(&root, &mut swept);
        thread::sleep(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY)));
    }
    drop(progress);
    for run in runs.iter().filter(|_| is_for_people) {
        let manifest = run.dir.truth()?;
        let id = manifest.id.clone();
        let run = RunSummary::of(RunHead::from(&manifest), id, String::new());
        let standing = summary::standing(&run, Duration::from_millis(run.worked_ms));
        out.data(&format!("{}: {standing}", visible(&run.scenario)));
    }
    Ok(exit)
}

/// The runs that are meant; a group means all of its runs.
fn waited(root: &ResultsRoot, names: &[String]) -> Result<Vec<Waited>, CommandError> {
    let mut names = names.to_vec();
    if names.is_empty() {
        names.push(RunArg::default().name_or_latest());
    }
    let mut runs = Vec::new();
    for name in names {
        match Named::find(root, &name)? {
            Named::Run(run) => runs.push(run),
            Named::Group(list) => {
                for run in list.runs {
                    runs.push(root.find(&run.run)?);
                }
            }
        }
    }
    let waited = |dir| Waited { dir, has_ended: false, told: None };
    Ok(runs.into_iter().map(waited).collect())
}

impl Waited {
    /// Prints how the run has ended, or how far it is, if that is new.
    fn tell(&mut self, manifest: &Manifest, live: &Live, events: &mut EventStream<'_>) {
        if self.has_ended {
            let last = manifest.sessions.last();
            let took = last.and_then(|session| session.worked_ms);
            return events.finished(manifest, &self.dir.path(), took.unwrap_or(0));
        }
        let is_new = self
            .told
            .is_none_or(|(at, counts)| at.elapsed() >= TELL_EVERY && counts != manifest.counts);
        if is_new {
            self.told = Some((Instant::now(), manifest.counts));
            events.progress(manifest, live);
        }
    }
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        passed: one.passed + other.passed,
        failed: one.failed + other.failed,
        error: one.error + other.error,
        timeout: one.timeout + other.timeout,
        skipped: one.skipped + other.skipped,
        flaky: one.flaky + other.flaky,
    }
}

pub fn logs(args: &LogsArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let run = args.run.find(&root)?;
    let trial = match &args.trial {
        Some(text) => match find_trial(&run, text)? {
            Found::Nothing { .. } if args.follow => None,
            found => Some(found.only(run.id(), text).map_err(CommandError::usage)?),
        },
        None => None,
    };
    let is_wanted = |id: &TrialId| match (&trial, &args.trial) {
        (Some(trial), _) => trial == id,
        // No row of it is there yet.
        (None, Some(text)) => id.to_string().contains(text),
        (None, None) => true,
    };
    let (mut reading, mut read, mut swept) = (Reading::default(), 0, Instant::now());
    let mut tail = Tail { most: args.tail, held: VecDeque::new(), lines: out.lines(args.json) };
    loop {
        // What is written before the end of the run is read after it.
        let is_over = !args.follow || run.truth()?.status.is_terminal();
        if args.runner {
            let log = run.runner_log(read)?;
            // A line that is being written is not whole yet.
            let end = log.iter().rposition(|byte| *byte == b'\n');
            let whole = end.map_or(0, |end| end + 1);
            read += whole as u64;
            for line in String::from_utf8_lossy(&log[..whole]).lines() {
                tail.add(visible(line).into_owned());
            }
        } else {
            let each = |spoken: Result<LogEntry, RecordError>| match spoken {
                Ok(spoken) if args.json => tail.add(json::one_line(&spoken)),
                Ok(spoken) => lines(&spoken, &mut |line| tail.add(line)),
                Err(error) => out.warn(&error.to_string()),
            };
            reading.read(&run, is_wanted, each)?;
        }
        tail.end();
        if is_over || out.is_unread() {
            return Ok(Exit::Success);
        }
        sweep(&root, &mut swept);
        thread::sleep(LOOK_EVERY);
    }
}

/// The lines of what was said, each with who said it, so that no text can pass for another trial's.
fn lines(spoken: &LogEntry, each: &mut dyn FnMut(String)) {
    let time = spoken.at.map(phrases::time_of_day).unwrap_or_default();
    let attempt = match spoken.attempt {
        1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    let stream = match spoken.stream {
        Stream::Log => "log",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let what = spoken.level.map(|level| level.to_string());
    let what = what.as_deref().unwrap_or(stream);
    let head = style::dim(&format!("{time:12} {}{attempt} {what:6}", spoken.trial));
    let fields = spoken.fields.iter();
    let fields: String = fields.map(|(name, value)| format!(" {name}={value:?}")).collect();
    for line in format!("{}{fields}", spoken.text).lines() {
        each(format!("{head} {}", visible(line)));
    }
}

/// Prints lines as they come, but holds those back that are there already until it is known which are the last.
struct Tail<'a> {
    most: Option<usize>,
    held: VecDeque<String>,
    lines: Lines<'a>,
}

impl Tail<'_> {
    fn add(&mut self, line: String) {
        let Some(most) = self.most else {
            return self.lines.add(&line);
        };
        self.held.push_back(line);
        if self.held.len() > most {
            self.held.pop_front();
        }
    }

    /// Prints what was held back; later lines are printed as they come.
    fn end(&mut self) {
        self.most = None;
        self.held.drain(..).for_each(|line| self.lines.add(&line));
        self.lines.flush();
    }
}
