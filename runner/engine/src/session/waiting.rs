//! The stage `waiting`: the run exists and starts once no other session works in its results root.

use std::time::Duration;

use runner_model::{Reason, RunTime};
use runner_prepare::machine;
use runner_record::{End, Fold, Owned, RecordError, in_use, now};

use super::closing::write_end;
use super::coordinator::{Coordinator, Timers};
use crate::event::{Ended, Observer};
use crate::signals;

impl Coordinator<'_> {
    /// Starts the run if the root is free. Otherwise keeps it waiting, and reports the runs that hold the root.
    pub(super) fn wait_for_root(&mut self, owned: Owned) -> Result<(), RecordError> {
        self.waiting = Some(owned);
        self.try_root()?;
        let Some(owned) = &self.waiting else { return Ok(()) };
        // Waiting may take days, so another worker is started once the root is free.
        self.pool.drop_prestarted();
        // The error lists the runs that hold the root. If the root is free, the next `try_root` starts the run.
        match self.root.share(self.share) {
            Ok(()) => Ok(()),
            Err(RecordError::RootHeld { root, runs }) => {
                let notice = format!("run {} waits: {}", owned.dir().id(), in_use(&root, &runs));
                self.notice(&notice);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the waiting run if the root is free.
    pub(super) fn try_root(&mut self) -> Result<(), RecordError> {
        let is_held = self.pause.at.is_some() || self.schedule.is_stopping();
        if self.waiting.is_none() || is_held || !self.root.try_share(self.share)? {
            return Ok(());
        }
        let Some(mut owned) = self.waiting.take() else { return Ok(()) };
        signals::pass("waited");
        owned.start()?;
        self.clock.restart();
        self.watchdog.start_time(self.plan.settings.timeout);
        (self.now, self.timers) = (RunTime::default(), Timers::new());
        let started = self.pool.start(&self.plan.shapes(self.schedule.left()));
        let session = owned.manifest().last_session();
        self.open(owned, session)?;
        if let Err(error) = started {
            self.fail(Reason::Machine, machine::failure("cannot start a worker", error));
        }
        Ok(())
    }

    /// Ends a run that has not started.
    pub(super) fn close_waiting(
        mut self,
        mut owned: Owned,
        end: (Option<Reason>, Option<String>),
    ) -> Result<Ended, RecordError> {
        self.pool.finish();
        if let Some(by) = self.stop.by.take() {
            owned.note_stopped_by(by);
        }
        let (reason, message) = end;
        let unstarted = unstarted(reason);
        let end = End {
            signal: self.stop.signal.filter(|_| reason == Some(Reason::Interrupted)),
            message: message.or(unstarted.message),
            ..unstarted
        };
        Ok(close_unstarted(owned, &self.fold, end, self.observer))
    }
}

/// Writes the end of a run that has not started.
pub(super) fn close_unstarted(
    owned: Owned,
    fold: &Fold,
    end: End,
    observer: &mut dyn Observer,
) -> Ended {
    let directory = owned.dir().path();
    let manifest = write_end(owned, end, fold, observer);
    Ended::of(manifest, directory, Duration::ZERO).report(observer)
}

/// Returns the end of a run that has not started.
pub(super) fn unstarted(reason: Option<Reason>) -> End {
    End {
        reason,
        signal: None,
        message: Some("the run was stopped before it started".to_owned()),
        at: now(),
    }
}
