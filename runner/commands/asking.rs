//! Asking the owner of a run to stop, and waiting for its answer; the same for `stop` and `cancel`.

use std::{
    thread,
    time::{Duration, Instant},
};

use miette::miette;
use nix::unistd::User;

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    error::{Error, ExitStatus},
    model::{Actor, RunStatus, StopMode},
    output::{self, Output},
    record::{
        ClaimError, Filter, RunEntry, RunReader, Store,
        request::{self, Holding},
    },
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
    /// The word for it in documents.
    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::AlreadyTerminal => "already_terminal",
            Self::NoAnswer => "no_answer",
        }
    }

    /// What people are told beside how the run stands now, if that does not say it.
    fn phrase(self) -> &'static str {
        match self {
            Self::Stopped | Self::Cancelled => "",
            Self::AlreadyTerminal => "had ended already:",
            Self::NoAnswer => "has not answered:",
        }
    }
}

/// What came of asking whoever holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody held it.
    Idle,
    /// The session that was asked has ended, or whoever held the run has left without opening one.
    Ended {
        /// The session.
        session: u32,
    },
    /// Nobody has answered in time.
    Missing,
}

/// Finds the run that is meant: the only one that is running or that somebody is about to go on with, if none is named.
pub(super) fn choose(
    run: Option<&str>,
    surroundings: &Surroundings,
    store: &Store,
) -> Result<RunEntry, Error> {
    if let Some(named) = Named::of(run, surroundings) {
        return named.find(store);
    }
    let mut running = store.runs(&Filter::default()).map_err(Error::record)?.runs;
    running.retain(|run| run.status == RunStatus::Running || run.is_held());
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
    let names = naming::listed(&running, &store.short_ids());
    Err(Error::usage(miette!(
        help = "name the one that is meant",
        "several runs are running in `{root}`: {names}"
    )))
}

/// Sweeps a run whose process has died.
pub(super) fn settle(store: &Store, run: &mut RunEntry) -> Result<(), Error> {
    if !run.is_not_yet_swept {
        return Ok(());
    }
    match store.claim(run, run::wall_clock()) {
        // Whoever holds it now sweeps it, or goes on with it.
        Ok(_) | Err(ClaimError::Held { .. } | ClaimError::Taken(_)) => {}
        Err(error) => return Err(Error::claim(error)),
    }
    run.refresh().map_err(Error::record)
}

/// Asks whoever holds a run's lock to stop, and waits until the session that is open, or being opened, has ended.
///
/// A holder that comes after the one that was asked is asked as well, for as long as no session has ended: it may be
/// opening the one that is meant. Whoever leaves without having opened one has answered, too.
pub(super) fn ask(
    run: &mut RunEntry,
    mode: StopMode,
    actor: &Actor,
    output: &Output,
) -> Result<Answer, Error> {
    let begun = Instant::now();
    let bound = bound(mode, &RunReader::open(&run.dir).map_err(Error::record)?);
    let mut session = None;
    let mut asked = None;
    let answer = loop {
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        let Some(holder) = reader.holder() else {
            break session.map_or(Answer::Idle, |session| Answer::Ended { session });
        };
        let session = *session.get_or_insert_with(|| session_of_holder(&reader));
        if has_ended(&reader, session) {
            break Answer::Ended { session };
        }
        let holding = Holding {
            session,
            token: holder.token,
        };
        // Without a token only an open session can be named, lest the request hits a later one.
        let can_be_asked = holding.token.is_some() || reader.manifest().session() == session;
        if can_be_asked && asked.as_ref() != Some(&holding) {
            request::request(&run.dir, mode, &holding, actor).map_err(|error| {
                Error::storage(miette!("cannot leave a request for the run: {error}"))
            })?;
            if asked.replace(holding).is_none() {
                output.talk(&format!("waiting for {} to end", run.id));
            }
        }
        if bound.is_some_and(|bound| begun.elapsed() >= bound) {
            return Ok(Answer::Missing);
        }
        thread::sleep(LOOK_EVERY);
    };
    if let Err(error) = request::withdraw(&run.dir, mode, actor) {
        output.warn(&format!("the request cannot be taken back: {error}"));
    }
    run.refresh().map_err(Error::record)?;
    Ok(answer)
}

/// The session that a run's holder has open, or is about to open.
fn session_of_holder(reader: &RunReader) -> u32 {
    let manifest = reader.manifest();
    match manifest.status {
        RunStatus::Running => manifest.session(),
        _ => manifest.session() + 1,
    }
}

/// Tells whether a session was there and is over.
fn has_ended(reader: &RunReader, session: u32) -> bool {
    let manifest = reader.manifest();
    let is_open = manifest.status == RunStatus::Running;
    manifest.session() > session || (manifest.session() == session && !is_open)
}

/// Says what came of it.
pub(super) fn tell(
    run: &RunEntry,
    outcome: Outcome,
    is_json: bool,
    surroundings: &Surroundings,
    output: &Output,
) -> ExitStatus {
    if is_json {
        output.data(&output::stop_json(run, outcome.as_str(), run::wall_clock()));
    } else {
        output.show(&output::stop_text(run, outcome.phrase()));
        if let Some(resume) = naming::resume_entry(run, surroundings) {
            output.talk(&output::resume_line(&resume));
        }
    }
    if outcome != Outcome::NoAnswer {
        return ExitStatus::Success;
    }
    output.warn("the run's process is alive and has not answered; the request stays for it");
    ExitStatus::Busy
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
    let scenario = reader
        .scenario_text()
        .ok()
        .and_then(|text| scenario::parse_stored(manifest.scenario.path.as_ref(), &text).ok());
    // A run whose scenario nobody can read any more cannot be waited for any longer than this.
    scenario.map_or(Duration::ZERO, |scenario| scenario.run().grace)
}

/// Who asks, and why.
pub(super) fn actor(reason: Option<&str>) -> Actor {
    let uid = rustix::process::getuid().as_raw();
    let user = User::from_uid(uid.into()).ok().flatten();
    Actor {
        user: user.map(|user| user.name),
        uid,
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        pid: std::process::id(),
        at: run::wall_clock(),
        text: reason.map(str::to_owned),
    }
}
