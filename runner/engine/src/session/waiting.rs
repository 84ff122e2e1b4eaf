//! [`Stage::Waiting`]: the run exists and starts once no other session works in its results root.

use std::mem;

use runner_model::{Reason, RunTime};
use runner_prepare::machine;
use runner_record::{Owned, RecordError, in_use};

use super::coordinator::{Coordinator, FIRST_LIVE};
use super::stage::{Checking, Stage};
use crate::signals;

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
        let started = match self.pool.start(&self.plan.shapes(self.schedule.left())) {
            Ok(()) => self.pool.offer().map_err(|problem| (Reason::Workers, problem)),
            Err(error) => Err((Reason::Machine, machine::failure("cannot start a worker", error))),
        };
        self.open(owned)?;
        if let Err((reason, message)) = started {
            self.fail(reason, message);
        }
        Ok(())
    }
}
