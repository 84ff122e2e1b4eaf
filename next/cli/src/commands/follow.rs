//! `runner wait` and `runner logs`: commands that follow a run that another process works on.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use runner_engine::exit_of;
use runner_model::{Counts, TrialId, exit::Exit, visible::visible};
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir, RunHead, sweep_every};
use runner_report::{Found, Reading, RunCounts, RunSummary, Spoken, Stream, find_trial, json};

use super::{group, show::one_trial};
use crate::{
    args::{RootArgs, RunArg, duration},
    text::{
        error::CommandError, events::EventStream, out::Out, progress::Progress, style, summary,
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
    #[arg(long, value_name = "N")]
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
    last: Option<Manifest>,
    has_ended: bool,
    told: Option<(Instant, Counts)>,
}

pub fn wait(args: &WaitArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let mut runs = waited(&root, &args.runs)?;
    let mut events = args.json.then(|| EventStream::new(out));
    let mut progress = None;
    let mut swept = Instant::now();
    let (began, mut exit) = (Instant::now(), Exit::Success);
    loop {
        let (mut counts, mut planned, mut in_flight) = (Counts::default(), 0, 0);
        let mut waits_for_memory = false;
        for run in runs.iter_mut().filter(|run| !run.has_ended) {
            let live = run.dir.live();
            let manifest = run.dir.truth()?;
            // A process that holds a run which has ended is about to continue it, such as one of its group.
            if manifest.status.is_terminal() && run.dir.holder().is_none() {
                run.has_ended = true;
                exit = exit.worse(ended(&manifest, &run.dir, events.as_mut()));
            } else {
                let live = live.unwrap_or_default();
                run.tell(&manifest, &live, events.as_mut());
                counts = sum(counts, manifest.counts);
                planned += manifest.metadata.planned_trial_count;
                in_flight += live.in_flight.len() as u64;
                waits_for_memory |= live.waits_for_memory;
            }
            run.last = Some(manifest);
        }
        if out.is_unread() || runs.iter().all(|run| run.has_ended) {
            break;
        }
        let left = args
            .timeout
            .map(|timeout| timeout.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            drop(progress);
            return Err(late(&runs));
        }
        if !args.json && !args.quiet {
            let shown = progress.get_or_insert_with(|| {
                let mut progress = Progress::new(out);
                progress.begin(counts.done());
                progress
            });
            shown.update(&counts, planned, in_flight, waits_for_memory);
        }
        sweep(&root, &mut swept);
        thread::sleep(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY)));
    }
    drop(progress);
    if !args.json && !args.quiet {
        for run in &runs {
            out.data(&run.standing());
        }
    }
    Ok(exit)
}

/// The runs that are meant; a group means all of its runs.
fn waited(root: &ResultsRoot, names: &[String]) -> Result<Vec<Waited>, RecordError> {
    let mut names = names.to_vec();
    if names.is_empty() {
        names.push(RunArg::default().name_or_latest());
    }
    let mut runs = Vec::new();
    for name in names {
        match group::find(root, &name)? {
            Some(group) => {
                for run in group {
                    runs.push(root.find(&run.run)?);
                }
            }
            None => runs.push(root.find(&name)?),
        }
    }
    let waited = |dir| Waited {
        dir,
        last: None,
        has_ended: false,
        told: None,
    };
    Ok(runs.into_iter().map(waited).collect())
}

impl Waited {
    /// Prints how far the run is, if that is new.
    fn tell(&mut self, manifest: &Manifest, live: &Live, events: Option<&mut EventStream<'_>>) {
        let is_new = self
            .told
            .is_none_or(|(at, counts)| at.elapsed() >= TELL_EVERY && counts != manifest.counts);
        if let (true, Some(events)) = (is_new, events) {
            self.told = Some((Instant::now(), manifest.counts));
            let counts = RunCounts {
                planned: manifest.metadata.planned_trial_count,
                done: manifest.counts,
            };
            events.progress(&manifest.id, counts, live);
        }
    }

    fn standing(&self) -> String {
        let Some(manifest) = &self.last else {
            return String::new();
        };
        let dir = self.dir.path().display().to_string();
        let run = RunSummary::of(RunHead::from(manifest), manifest.id.clone(), dir);
        let took = Duration::from_millis(run.worked_ms);
        let scenario = visible(&run.scenario).into_owned();
        format!("{scenario}: {}", summary::standing(&run, took))
    }
}

fn ended(manifest: &Manifest, dir: &RunDir, events: Option<&mut EventStream<'_>>) -> Exit {
    if let Some(events) = events {
        let last = manifest.sessions.last();
        let took = last.and_then(|session| session.worked_ms);
        events.finished(manifest, &dir.path(), took.unwrap_or(0));
    }
    exit_of(manifest)
}

fn late(runs: &[Waited]) -> CommandError {
    let left = runs.iter().filter(|run| !run.has_ended);
    let left: Vec<_> = left.map(|run| run.dir.id()).collect();
    CommandError::held(format!("still running: {}", left.join(", ")))
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
            found => Some(one_trial(&run, text, found)?),
        },
        None => None,
    };
    let is_wanted = |id: &TrialId| match (&trial, &args.trial) {
        (Some(trial), _) => trial == id,
        // No row of it is there yet.
        (None, Some(text)) => id.to_string().contains(text),
        (None, None) => true,
    };
    let (mut reading, mut read) = (Reading::default(), 0);
    let mut swept = Instant::now();
    let mut tail = Tail {
        most: args.tail,
        held: VecDeque::new(),
        is_json: args.json,
    };
    loop {
        // What is written before the end of the run is read after it.
        let is_over = !args.follow || run.truth()?.status.is_terminal();
        if args.runner {
            let log = run.runner_log(read)?;
            // A line that is being written is not whole yet.
            let whole = log
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            read += whole as u64;
            for line in String::from_utf8_lossy(&log[..whole]).lines() {
                tail.add(visible(line).into_owned(), out);
            }
        } else {
            let each = |spoken: Result<Spoken, RecordError>| match spoken {
                Ok(spoken) if args.json => {
                    // What was said has texts and numbers alone, which all have JSON.
                    tail.add(json::one_line(&spoken).unwrap_or_default(), out);
                }
                Ok(spoken) => lines(&spoken, &mut |line| tail.add(line, out)),
                Err(error) => out.warn(&error.to_string()),
            };
            reading.read(&run, is_wanted, each)?;
        }
        tail.end(out);
        if is_over || out.is_unread() {
            return Ok(Exit::Success);
        }
        sweep(&root, &mut swept);
        thread::sleep(LOOK_EVERY);
    }
}

/// The lines of what was said, each with who said it, so that no text can pass for another trial's.
fn lines(spoken: &Spoken, each: &mut dyn FnMut(String)) {
    let time = spoken.at.map(|at| at.to_string());
    let time = time.as_deref().and_then(|at| at.get(11..23)).unwrap_or("");
    let attempt = match spoken.attempt {
        1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    let what = match (spoken.level, spoken.stream) {
        (Some(level), _) => level.to_string(),
        (None, Stream::Log) => "log".to_owned(),
        (None, Stream::Stdout) => "stdout".to_owned(),
        (None, Stream::Stderr) => "stderr".to_owned(),
    };
    let head = style::dim(&format!("{time:12} {}{attempt} {what:6}", spoken.trial));
    let fields = spoken.fields.iter();
    let fields: String = fields
        .map(|(name, value)| format!(" {name}={value:?}"))
        .collect();
    for line in format!("{}{fields}", spoken.text).lines() {
        each(format!("{head} {}", visible(line)));
    }
}

/// Prints lines as they come, but holds those back that are there already until it is known which are the last.
struct Tail {
    most: Option<usize>,
    held: VecDeque<String>,
    is_json: bool,
}

impl Tail {
    fn add(&mut self, line: String, out: &Out) {
        match self.most {
            None if self.is_json => out.json_line(&line),
            None => out.data(&line),
            Some(most) => {
                self.held.push_back(line);
                if self.held.len() > most {
                    self.held.pop_front();
                }
            }
        }
    }

    /// Prints what was held back; later lines are printed as they come.
    fn end(&mut self, out: &Out) {
        self.most = None;
        for line in std::mem::take(&mut self.held) {
            self.add(line, out);
        }
    }
}
