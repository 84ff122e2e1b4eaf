//! Runs that exist and have to wait before they begin: for others of their group, or until no other session works in their
//! results root.

use std::{sync::mpsc, time::Duration};

use runner_model::{Reason, row::Actor};
use runner_record::{End, Owned, RecordError, Request, in_use, now};
use signal_hook::{consts::SIGSTOP, low_level::raise};

use crate::{
    Ended, EngineError, Observer, RunEvent, early, requests,
    session::{self, Work, machine},
    signals::{self, SignalEvent},
};

/// How often the root, requests and signals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Begins a run that waits once its root is free, and runs it to its end. A stop ends it before that.
///
/// # Errors
///
/// The run cannot be made ready or written.
pub(crate) fn begin(
    work: Work,
    owned: Owned,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let mut waiting = Waiting { owned, observer, is_paused: false };
    if let Some(end) = waiting.wait(&work)? {
        return Ok(finish(&work, waiting.owned, end, observer)?);
    }
    let Waiting { mut owned, .. } = waiting;
    let begin = move || owned.begin().map(|()| owned);
    session::run(early()?, work, begin, observer)
}

/// Ends a run that has waited and does not begin.
pub(crate) fn finish(
    work: &Work,
    owned: Owned,
    end: End,
    observer: &mut dyn Observer,
) -> Result<Ended, RecordError> {
    let directory = owned.dir().path();
    let manifest = owned.finish(end, &work.fold)?;
    work.root.note(&manifest);
    Ok(session::ended(manifest, directory, Duration::ZERO, observer))
}

struct Waiting<'a> {
    owned: Owned,
    observer: &'a mut dyn Observer,
    is_paused: bool,
}

impl Waiting<'_> {
    /// Waits until the root is free, or gives how the run ends before.
    fn wait(&mut self, work: &Work) -> Result<Option<End>, EngineError> {
        if work.root.try_share(work.share)? {
            return Ok(None);
        }
        let (told, heard) = mpsc::channel();
        let listening = signals::listen(move |signal| {
            // Without a receiver the wait is over.
            let _ = told.send(signal);
        });
        let _listening = listening.map_err(machine)?;
        self.observer.event(&RunEvent::Born {
            manifest: self.owned.manifest(),
            directory: &self.owned.dir().path(),
            log: self.owned.log_file(),
        });
        if let Some(notice) = self.in_the_way(work)? {
            self.owned.log(&notice);
            self.observer.event(&RunEvent::Notice(&notice));
        }
        let requests = self.owned.requests();
        loop {
            match heard.recv_timeout(LOOK_EVERY) {
                Ok(SignalEvent::Stop(signal, _)) => {
                    let end = not_begun(Reason::Interrupted);
                    let signal = Some(signal);
                    return Ok(Some(End { signal, ..end }));
                }
                Ok(SignalEvent::Suspend) => self.suspend()?,
                Err(_) => {}
            }
            // The strongest is the last.
            let pending = requests.pending();
            if let Some(end) = pending.last().and_then(|request| self.end_by(request)) {
                return Ok(Some(end));
            }
            // What is left asks for a pause.
            let pause = pending.first().map(|request| &request.by);
            if pause.is_some() != self.is_paused {
                self.pause(pause.is_some(), pause)?;
            }
            if !self.is_paused && work.root.try_share(work.share)? {
                return Ok(None);
            }
        }
    }

    /// Says what is waited for; nothing if the root is free by now.
    fn in_the_way(&self, work: &Work) -> Result<Option<String>, RecordError> {
        match work.root.share(work.share) {
            Ok(()) => Ok(None),
            Err(RecordError::RootHeld { root, runs }) => {
                let (run, why) = (self.owned.dir().id(), in_use(&root, &runs));
                Ok(Some(format!("run {run} waits: {why}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Stops this process until SIGCONT.
    fn suspend(&mut self) -> Result<(), RecordError> {
        let was_paused = self.is_paused;
        if !was_paused {
            self.pause(true, None)?;
        }
        let _ = raise(SIGSTOP);
        if !was_paused {
            self.pause(false, None)?;
        }
        Ok(())
    }

    fn pause(&mut self, is_paused: bool, by: Option<&Actor>) -> Result<(), RecordError> {
        self.is_paused = is_paused;
        self.owned.note_pause(is_paused, by.cloned())?;
        self.observer.event(&if is_paused { RunEvent::Paused { by } } else { RunEvent::Unpaused });
        Ok(())
    }

    /// How the run ends by a request; none if that does not end it.
    fn end_by(&mut self, request: &Request) -> Option<End> {
        let (_, reason) = requests::ending(request.mode)?;
        self.owned.log(&requests::words(request));
        self.owned.note_stopped_by(request.by.clone());
        let end = not_begun(reason);
        let message = request.by.reason.clone().or(end.message);
        Some(End { message, ..end })
    }
}

/// How a run ends that has not begun.
pub(crate) fn not_begun(reason: Reason) -> End {
    End {
        reason: Some(reason),
        signal: None,
        message: Some("it had not begun when it was stopped".to_owned()),
        at: now(),
    }
}
