//! [`Stage::Checking`]: from the start of a session to its first tasks. The run is created while a worker describes the plugins
//! and checks the tests. Between, [`Stage::Waiting`]: the run exists and starts once no other session works in its results root.

use std::{io::ErrorKind, mem};

use runner_model::{Reason, RunTime, Stage as Shown, prepare::Ready};
use runner_prepare::machine;
use runner_record::{Owned, RecordError, in_use};
use runner_scenario::Problems;

use super::coordinator::{Coordinator, FIRST_LIVE};
use super::requests;
use super::run_log::{WorkerLog, log_plan};
use super::stage::{ActiveRun, Checking, DescribedPlugins, Running, Stage};
use crate::plan::Checks;
use crate::workers::Input;
use crate::{event::RunEvent, signals};

impl Coordinator<'_> {
    /// Handles the created or reopened run: reports it and opens it, or waits for the results root.
    pub(super) fn created(&mut self, owned: Owned) -> Result<(), RecordError> {
        self.watchdog.watch(owned.live_writer(), owned.manifest().last_session());
        let watching = requests::watch(owned.requests(), self.watchdog.clone(), self.pool.sender());
        if let Err(error) = watching {
            owned.log(&format!("cannot watch for requests of other processes: {error}"));
        }
        if !self.stage.is_unreported() {
            self.observer.event(&created(&owned));
        }
        if owned.manifest().stage == Shown::Waiting {
            self.wait_for_root(owned)
        } else {
            self.open(owned)
        }
    }

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

    /// Opens the writers of rows and of `live.json`.
    pub(super) fn open(&mut self, owned: Owned) -> Result<(), RecordError> {
        let inputs = self.pool.sender();
        let writer = owned.writer(Box::new(move |ack| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Ack(ack));
        }));
        let writer = match writer {
            Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                if self.stage.is_unreported() {
                    self.observer.event(&created(&owned));
                }
                // The run has not started, so it is closed like a waiting one.
                self.stage = Stage::Waiting(owned);
                let message = machine::failure("cannot start a thread", source);
                self.fail(Reason::Machine, message);
                return Ok(());
            }
            writer => writer?,
        };
        let session = owned.manifest().last_session();
        log_plan(&owned, self.plan, session, self.plan.left(&self.fold));
        for notice in owned.notices() {
            self.observer.event(&RunEvent::Notice(notice));
        }
        let Stage::Checking(checking) = &mut self.stage else { return Ok(()) };
        mem::take(&mut checking.early_notices).iter().for_each(|notice| owned.log(notice));
        let replaced = mem::take(&mut *self.root.replaced());
        let replaced = replaced
            .into_iter()
            .map(|digest| format!("{digest} in the store was damaged and is replaced"));
        for notice in self.plan.notices.iter().cloned().chain(replaced) {
            owned.log(&notice);
            self.observer.event(&RunEvent::Notice(&notice));
        }
        checking.run = Some(ActiveRun {
            live: owned.live_writer().start(),
            owned,
            writer,
            session,
            worker_log: WorkerLog::new(),
            failure: None,
        });
        Ok(())
    }

    /// Handles the descriptions of the plugins, which have no problems.
    pub(super) fn described(&mut self, ready: Ready) {
        if let Stage::Checking(checking) = &mut self.stage {
            let checks = Checks::from_descriptions(&ready, self.plan);
            let worker = self.pool.next_ready();
            checking.checks = worker.map(|worker| DescribedPlugins { ready, worker, checks });
        }
    }

    /// Sends checks to the worker that described the plugins. Once all have passed, it takes trials like the others.
    pub(super) fn check_tests(&mut self) {
        let Stage::Checking(checking) = &mut self.stage else { return };
        let plugins = checking.checks.as_mut().filter(|_| !self.stop.is_stopping);
        let Some(DescribedPlugins { worker, checks, .. }) = plugins else { return };
        let mut reason = Reason::Storage;
        let sent = checks.fill(
            self.plan,
            |trial| self.plan.is_left(trial, &self.fold),
            |task, line| {
                let assigned = self.pool.assign(worker.worker, task, line);
                assigned.inspect_err(|_| reason = Reason::Machine)
            },
        );
        if let Err(error) = sent {
            return self.fail(reason, machine::failure("cannot check a test", error));
        }
        if !checks.is_done(self.plan) || checking.run.is_none() {
            return;
        }
        self.pool.checked();
        if let Some(lines) = checks.lines() {
            let problems = checks.problems(self.plan);
            checking.checks = None;
            return self.refuse(Reason::Plugin, lines, problems);
        }
        self.report_created();
        let Stage::Checking(checking) = &mut self.stage else { return };
        if let (Some(plugins), Some(run)) = (checking.checks.take(), checking.run.take()) {
            self.stage = Stage::Running(Running::new(run, self.now));
            if let Err(error) = self.read_journals() {
                return self.fail(Reason::Storage, error.to_string());
            }
            self.start(plugins.ready, plugins.worker);
        }
    }

    /// Ends the session because of plugins, configurations or tests. `lines` are the problems without their places. A new run
    /// is removed, unless the machine is at fault.
    pub(super) fn refuse(&mut self, reason: Reason, lines: String, problems: Problems) {
        match &mut self.stage {
            Stage::Checking(checking)
                if checking.is_new && reason == Reason::Plugin && !self.stop.is_stopping =>
            {
                checking.refused = Some((lines, problems));
            }
            _ => self.fail(reason, lines),
        }
    }

    /// Reports the creation of a new run, once.
    pub(super) fn report_created(&mut self) {
        if let Stage::Checking(Checking { run: Some(run), is_new, .. }) = &mut self.stage
            && mem::take(is_new)
        {
            if self.pause.at.is_some() {
                self.pool.pause(true);
            }
            self.observer.event(&created(&run.owned));
        }
    }
}

fn created(owned: &Owned) -> RunEvent<'_> {
    RunEvent::Created { manifest: owned.manifest(), run: owned.dir(), log: owned.log_file() }
}
