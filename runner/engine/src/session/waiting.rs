//! [`Stage::Waiting`]: the run exists and starts once no other session works in its results root.

use std::{mem, time::Duration};

use runner_model::{Reason, RunTime};
use runner_prepare::machine;
use runner_record::{End, Fold, Owned, RecordError, in_use, now};

use super::coordinator::{Coordinator, FIRST_LIVE};
use super::ending::{ends, write_end};
use super::stage::{Checking, Stage};
use crate::event::{Ended, Observer};
use crate::{EngineError, signals};

impl Coordinator<'_> {
    /// Starts the run if the root is free. Otherwise keeps it waiting, and reports the runs that hold the root.
    pub(super) fn wait_for_root(&mut self, owned: Owned) -> Result<(), RecordError> {
        let id = owned.dir().id().to_owned();
        self.stage = Stage::Waiting(owned);
        self.try_root()?;
        if !matches!(self.stage, Stage::Waiting(_)) {
            return Ok(());
        }
        // Waiting may take days, so another worker is started once the root is free.
        self.pool.drop_prestarted();
        // The error lists the runs that hold the root. If the root is free, the next `try_root` starts the run.
        match self.root.share(self.share) {
            Ok(()) => Ok(()),
            Err(RecordError::RootHeld { root, runs }) => {
                self.notice(&format!("run {id} waits: {}", in_use(&root, &runs)));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the waiting run if the root is free.
    pub(super) fn try_root(&mut self) -> Result<(), RecordError> {
        let is_held = self.pause.at.is_some() || self.schedule.is_stopping();
        if !matches!(self.stage, Stage::Waiting(_))
            || is_held
            || !self.root.try_share(self.share)?
        {
            return Ok(());
        }
        let checking = Stage::Checking(Checking::new(false));
        let Stage::Waiting(mut owned) = mem::replace(&mut self.stage, checking) else {
            return Ok(());
        };
        signals::pass("waited");
        owned.start()?;
        self.clock.restart();
        self.watchdog.start_time(self.plan.settings.timeout);
        (self.now, self.next_progress, self.next_live) = (RunTime::default(), 0, FIRST_LIVE);
        let started = self.pool.start(&self.plan.shapes(self.schedule.left()));
        self.open(owned)?;
        if let Err(error) = started {
            self.fail(Reason::Machine, machine::failure("cannot start a worker", error));
        }
        Ok(())
    }

    /// Ends a run that has not started.
    pub(super) fn close_waiting(
        mut self,
        reason: Option<Reason>,
        message: Option<String>,
    ) -> Result<Ended, EngineError> {
        let Some(mut owned) = self.stage.end() else { return Err(EngineError::Unstarted) };
        self.pool.finish();
        if let Some(by) = self.stop.by.take() {
            owned.note_stopped_by(by);
        }
        let unstarted = unstarted(reason);
        let own = End {
            signal: self.stop.signal.filter(|_| reason == Some(Reason::Interrupted)),
            message: message.or(unstarted.message),
            ..unstarted
        };
        let (end, cut_short) = ends(self.plan, own);
        let ended = close_unstarted(owned, &self.fold, end, self.observer);
        Ok(ended.cut_short_by(cut_short).report(self.observer))
    }
}

/// Writes the end of a run that has not started, and does not report it.
pub(super) fn close_unstarted(
    owned: Owned,
    fold: &Fold,
    end: End,
    observer: &mut dyn Observer,
) -> Ended {
    let directory = owned.dir().path();
    let manifest = write_end(owned, end, fold, observer);
    Ended::of(manifest, directory, Duration::ZERO)
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
