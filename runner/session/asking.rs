//! Asking the owner of a run to end it, and waiting for the answer; the same for `stop` and `cancel`.

use std::time::{Duration, Instant};

use miette::miette;

use super::{Notice, Observe};
use crate::{
    error::Error,
    model::{Actor, RunStatus, StopMode},
    record::{
        ClaimError, RunEntry, RunReader, Store,
        request::{self, Holding},
    },
    scenario::{self, RunOptions},
};

/// How long an owner may take that has nothing to wait for, on a busy machine and a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of asking whoever holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HolderAnswer {
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

/// A request to whoever holds a run's lock, from when it is left until the session that is open, or being opened, has
/// ended.
///
/// A holder that comes after the one that was asked is asked as well, for as long as no session has ended: it may be
/// opening the one that is meant. Whoever leaves without having opened one has answered, too.
pub(super) struct Asking {
    mode: StopMode,
    actor: Actor,
    begun: Instant,
    /// How long the owner may take; absent where the run's own deadlines bound it.
    bound: Option<Duration>,
    /// The session that is asked to end.
    session: Option<u32>,
    /// Whoever was asked last.
    asked: Option<Holding>,
}

impl Asking {
    /// Gets ready to ask; nothing is asked before the first look.
    pub(super) fn new(run: &RunEntry, mode: StopMode, actor: Actor) -> Result<Self, Error> {
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        Ok(Self {
            mode,
            actor,
            begun: Instant::now(),
            bound: bound(mode, &reader),
            session: None,
            asked: None,
        })
    }

    /// Who asks.
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Asks the same once more, of whoever holds the run by then.
    pub(super) fn again(&mut self, run: &RunEntry) -> Result<(), Error> {
        *self = Self::new(run, self.mode, self.actor.clone())?;
        Ok(())
    }

    /// Looks whether there is an answer. Once there is one, the request is taken back and `run` tells how it stands.
    pub(super) fn poll(
        &mut self,
        run: &mut RunEntry,
        observe: &mut dyn Observe,
    ) -> Result<Option<HolderAnswer>, Error> {
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        let answer = match reader.holder() {
            None => match self.session {
                None => HolderAnswer::Idle,
                Some(session) => HolderAnswer::Ended { session },
            },
            Some(holder) => {
                let session = *self.session.get_or_insert_with(|| session_of(&reader));
                if has_ended(&reader, session) {
                    HolderAnswer::Ended { session }
                } else {
                    let token = holder.token;
                    self.ask(run, &reader, Holding { session, token }, observe)?;
                    let is_late = |bound| self.begun.elapsed() >= bound;
                    return Ok(self
                        .bound
                        .is_some_and(is_late)
                        .then_some(HolderAnswer::Missing));
                }
            }
        };
        if let Err(error) = request::withdraw(&run.dir, self.mode, &self.actor) {
            observe.notice(&Notice::RequestStays { error: &error });
        }
        run.refresh().map_err(Error::record)?;
        Ok(Some(answer))
    }

    /// Leaves the request for a holding that does not have it yet.
    fn ask(
        &mut self,
        run: &RunEntry,
        reader: &RunReader,
        holding: Holding,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
        // Without a token only an open session can be named, lest the request hits a later one.
        let can_be_asked =
            holding.token.is_some() || reader.manifest().session() == holding.session;
        if !can_be_asked || self.asked.as_ref() == Some(&holding) {
            return Ok(());
        }
        request::request(&run.dir, self.mode, &holding, &self.actor).map_err(|error| {
            Error::storage(miette!("cannot leave a request for the run: {error}"))
        })?;
        if self.asked.replace(holding).is_none() {
            observe.notice(&Notice::AwaitingEnd { run: &run.id });
        }
        Ok(())
    }
}

/// Sweeps a run whose process has died.
pub(super) fn settle(store: &Store, run: &mut RunEntry, now: jiff::Timestamp) -> Result<(), Error> {
    if !run.is_not_yet_swept {
        return Ok(());
    }
    match store.claim(run, now) {
        // Whoever holds it now sweeps it, or goes on with it.
        Ok(_) | Err(ClaimError::Held { .. } | ClaimError::Taken(_)) => {}
        Err(error) => return Err(Error::claim(error)),
    }
    run.refresh().map_err(Error::record)
}

/// The session that a run's holder has open, or is about to open.
pub(super) fn session_of(reader: &RunReader) -> u32 {
    let manifest = reader.manifest();
    match manifest.status {
        RunStatus::Running => manifest.session(),
        _ => manifest.session() + 1,
    }
}

/// Tells whether a session was there and is over.
pub(super) fn has_ended(reader: &RunReader, session: u32) -> bool {
    let manifest = reader.manifest();
    let is_open = manifest.status == RunStatus::Running;
    manifest.session() > session || (manifest.session() == session && !is_open)
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
    if let Some(grace) = RunOptions::of_stored(&manifest.options).grace {
        return grace;
    }
    let scenario = reader
        .scenario_text()
        .ok()
        .and_then(|text| scenario::parse_stored(manifest.scenario.path.as_ref(), &text).ok());
    // A run whose scenario nobody can read any more cannot be waited for any longer than this.
    scenario.map_or(Duration::ZERO, |scenario| scenario.options().grace())
}
