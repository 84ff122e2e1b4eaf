//! Pausing a run that another process works on, and letting it go on.

use std::time::{Duration, Instant};

use miette::miette;

use super::{
    Host, Observe, Waiting,
    asking::{has_ended, session_of, settle},
    block_on,
};
use crate::{
    error::Error,
    model::Actor,
    record::{
        RunEntry, RunReader, Store,
        request::{self, Holding, PauseRequest},
    },
};

/// How long an owner may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for: that a run pauses, or goes on.
#[derive(Debug)]
pub struct Pause {
    /// The run.
    pub run: RunEntry,
    /// Who asks, and why.
    pub actor: Actor,
}

/// What became of a request to pause a run, or to let it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseAnswer {
    /// It was running, and is paused.
    Paused,
    /// It was paused before.
    AlreadyPaused,
    /// It was paused, and goes on.
    Unpaused,
    /// It was not paused.
    NotPaused,
    /// It has ended.
    AlreadyTerminal,
    /// The run's owner has not answered, and the request was taken back.
    NoAnswer,
}

impl PauseAnswer {
    /// The word for it in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::AlreadyPaused => "already_paused",
            Self::Unpaused => "unpaused",
            Self::NotPaused => "not_paused",
            Self::AlreadyTerminal => "already_terminal",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// A run that was asked to pause, or to go on, as it stands now.
#[derive(Debug)]
pub struct PausedRun {
    /// The run.
    pub run: RunEntry,
    /// What became of the request.
    pub answer: PauseAnswer,
}

/// Pauses a run, and blocks until it is, or its owner had time enough to answer. A stop ends the pause.
///
/// No attempt begins while a run is paused, guests wait where they are, and no time of the run passes. All sessions of the
/// owner's process are paused with it.
///
/// # Errors
///
/// Fails if the run cannot be read, or no request can be left for it.
pub fn pause(
    store: &Store,
    request: Pause,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<PausedRun, Error> {
    block_on(&mut Pausing::new(store, request, true, host), host, observe)
}

/// Lets a run go on that is paused, and blocks until it does, or its owner had time enough to answer.
///
/// # Errors
///
/// Fails as [`pause`] does.
pub fn unpause(
    store: &Store,
    request: Pause,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<PausedRun, Error> {
    block_on(
        &mut Pausing::new(store, request, false, host),
        host,
        observe,
    )
}

/// A run that is being paused, or let go on: what [`pause`] and [`unpause`] block on, for whoever must not block.
pub struct Pausing<'a> {
    store: &'a Store,
    host: &'a Host,
    run: RunEntry,
    is_paused: bool,
    actor: Actor,
    begun: Instant,
    /// Whoever was asked last.
    asked: Option<Holding>,
}

impl<'a> Pausing<'a> {
    /// Gets ready to ask that a run `is_paused`, or goes on.
    pub fn new(store: &'a Store, request: Pause, is_paused: bool, host: &'a Host) -> Self {
        Self {
            store,
            host,
            run: request.run,
            is_paused,
            actor: request.actor,
            begun: Instant::now(),
            asked: None,
        }
    }

    fn answer(&mut self, answer: PauseAnswer) -> Result<Option<PausedRun>, Error> {
        let dir = &self.run.dir;
        if self.asked.is_some()
            && let Err(error) = request::withdraw_pause(dir, &self.actor)
        {
            tracing::warn!("cannot take a request back: {error}");
        }
        self.run.refresh().map_err(Error::record)?;
        if answer == PauseAnswer::AlreadyTerminal {
            settle(self.store, &mut self.run, (self.host.now)())?;
        }
        let run = self.run.clone();
        Ok(Some(PausedRun { run, answer }))
    }
}

impl Waiting for Pausing<'_> {
    type Answer = PausedRun;

    fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<PausedRun>, Error> {
        let reader = RunReader::open(&self.run.dir).map_err(Error::record)?;
        let Some(holder) = reader.holder() else {
            return self.answer(PauseAnswer::AlreadyTerminal);
        };
        let session = match &self.asked {
            Some(asked) => asked.session,
            None => session_of(&reader),
        };
        if has_ended(&reader, session) {
            return self.answer(PauseAnswer::AlreadyTerminal);
        }
        if reader.pause().is_some() == self.is_paused {
            return self.answer(match (self.is_paused, self.asked.is_some()) {
                (true, true) => PauseAnswer::Paused,
                (true, false) => PauseAnswer::AlreadyPaused,
                (false, true) => PauseAnswer::Unpaused,
                (false, false) => PauseAnswer::NotPaused,
            });
        }
        let token = holder.token;
        let holding = Holding { session, token };
        if self.asked.as_ref() != Some(&holding) {
            let asked = PauseRequest {
                is_paused: self.is_paused,
                actor: self.actor.clone(),
            };
            request::ask_pause(&self.run.dir, &holding, &asked).map_err(|error| {
                Error::storage(miette!("cannot leave a request for the run: {error}"))
            })?;
            self.asked = Some(holding);
        }
        if self.begun.elapsed() >= PATIENCE {
            return self.answer(PauseAnswer::NoAnswer);
        }
        Ok(None)
    }
}
