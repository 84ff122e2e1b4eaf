//! Asking the owner of a run to stop, and waiting for its answer; the same for `stop` and `cancel`.

use std::{
    thread,
    time::{Duration, Instant},
};

use miette::miette;

use crate::{
    error::{Error, ExitStatus},
    model::{RunStatus, StopMode},
    output::{self, Output},
    record::{ClaimError, Filter, RecordError, RunEntry, RunReader, Store, request},
    run, scenario,
};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long an owner may take that has nothing to wait for, on a busy machine and a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a command that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The run was running, and was stopped.
    Stopped,
    /// Nobody goes on with the run any more.
    Cancelled,
    /// The run had ended already, or ended by itself meanwhile.
    AlreadyTerminal,
    /// The run's owner has not answered.
    NoAnswer,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::AlreadyTerminal => "already_terminal",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// Finds the run that is meant: the only one that is running, if none is named.
pub(super) fn choose(run: Option<&str>, store: &Store) -> Result<RunEntry, Error> {
    if let Some(run) = run {
        return store.find(run).map_err(Error::find);
    }
    let filter = Filter {
        statuses: vec![RunStatus::Running],
    };
    let mut running = store.runs(&filter).map_err(Error::record)?.runs;
    if running.len() == 1 {
        return Ok(running.remove(0));
    }
    let root = store.root().display();
    if running.is_empty() {
        return Err(Error::usage(miette!(
            help = "`runner list` shows all runs",
            "no run is running in `{root}`"
        )));
    }
    let names: Vec<_> = running.iter().map(|run| format!("`{}`", run.id)).collect();
    Err(Error::usage(miette!(
        help = "name the one that is meant",
        "several runs are running in `{root}`: {}",
        names.join(", ")
    )))
}

/// Sweeps a run whose process has died.
pub(super) fn settle(store: &Store, run: &mut RunEntry) -> Result<(), Error> {
    if !run.is_not_yet_swept {
        return Ok(());
    }
    match store.claim(run, run::wall_clock()) {
        // Whoever holds it now sweeps it, or goes on with it.
        Ok(_) | Err(ClaimError::Held { .. }) => {}
        Err(error) => return Err(Error::claim(error)),
    }
    run.refresh().map_err(Error::record)
}

/// Asks the owner of a running run to stop, and waits until it has, or has died. `false` if it did not in time.
pub(super) fn ask(run: &mut RunEntry, mode: StopMode, output: &Output) -> Result<bool, Error> {
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    let session = reader.manifest().session();
    let bound = bound(mode, &reader);
    if reader.is_alive() {
        request::request(&run.dir, mode, session, &who(), run::wall_clock()).map_err(|error| {
            Error::storage(miette!("cannot leave a request for the run: {error}"))
        })?;
        output.talk(&format!("waiting for {} to end", run.id));
    }

    let asked = Instant::now();
    while is_working(run, session).map_err(Error::record)? {
        if bound.is_some_and(|bound| asked.elapsed() >= bound) {
            return Ok(false);
        }
        thread::sleep(LOOK_EVERY);
    }
    run.refresh().map_err(Error::record)?;
    Ok(true)
}

/// Says what came of it.
pub(super) fn tell(run: &RunEntry, outcome: Outcome, is_json: bool, output: &Output) -> ExitStatus {
    let text = if is_json {
        output::stop_json(run, outcome.as_str())
    } else {
        output::stop_text(run, outcome.as_str())
    };
    output.data(&text);
    if outcome != Outcome::NoAnswer {
        return ExitStatus::Success;
    }
    output.warn("the run's process is alive and has not answered; the request stays for it");
    ExitStatus::Busy
}

/// Tells whether the session that was asked still goes on.
fn is_working(run: &RunEntry, session: u32) -> Result<bool, RecordError> {
    let reader = RunReader::open(&run.dir)?;
    Ok(reader.manifest().session() == session && reader.is_alive())
}

/// How long a live owner may take to answer; what is drained ends by the run's own deadlines.
fn bound(mode: StopMode, reader: &RunReader) -> Option<Duration> {
    match mode {
        StopMode::Drain => None,
        StopMode::Stop | StopMode::Cancel => Some(PATIENCE + grace(reader)),
        StopMode::Kill => Some(PATIENCE),
    }
}

/// How long the run lets its guests go on: by its command line, else by its own copy of its scenario.
fn grace(reader: &RunReader) -> Duration {
    let manifest = reader.manifest();
    if let Some(grace) = manifest.options["grace_ms"].as_u64() {
        return Duration::from_millis(grace);
    }
    let scenario = fs_err::read_to_string(reader.scenario_path())
        .ok()
        .and_then(|text| scenario::parse_stored(manifest.scenario.path.as_ref(), &text).ok());
    // A run whose scenario nobody can read any more cannot be waited for any longer than this.
    scenario.map_or(Duration::ZERO, |scenario| scenario.run().grace)
}

/// Who asks, for people.
fn who() -> String {
    format!(
        "pid {}, user {}, host {}",
        std::process::id(),
        rustix::process::getuid().as_raw(),
        rustix::system::uname().nodename().to_string_lossy()
    )
}
