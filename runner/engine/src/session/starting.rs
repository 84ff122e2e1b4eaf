//! The start of a session: from its created run to the first tasks.

use std::{io::ErrorKind, mem, path::Path, time::Duration};

use runner_model::units::{plural, show_duration};
use runner_model::{Reason, Stage};
use runner_prepare::machine;
use runner_record::{Owned, RecordError};
use runner_scenario::Problems;
use tracing::debug;

use super::coordinator::{ActiveRun, Coordinator, FIRST_LIVE};
use super::{requests, run_log::log_plan};
use crate::event::RunEvent;
use crate::workers::{Input, ReadyWorker};

/// Time without a worker on another machine after which that is reported.
const REPORT_LACK_AFTER: Duration = Duration::from_secs(2);

impl Coordinator<'_> {
    /// Handles the created or reopened run: reports it and starts it, or waits for the results root.
    pub(super) fn created(&mut self, owned: Owned) -> Result<(), RecordError> {
        let session = owned.manifest().last_session();
        self.watchdog.watch(owned.live_writer(), session);
        let watching = requests::watch(owned.requests(), self.watchdog.clone(), self.pool.sender());
        if let Err(error) = watching {
            owned.log(&format!("cannot watch for requests of other processes: {error}"));
        }
        if !self.is_unreported {
            self.observer.event(&created(&owned, &owned.dir().path()));
        }
        if owned.manifest().stage == Stage::Waiting {
            self.wait_for_root(owned)
        } else {
            self.open(owned, session)
        }
    }

    /// Opens the writers of rows and of `live.json`.
    pub(super) fn open(&mut self, owned: Owned, session: u32) -> Result<(), RecordError> {
        let inputs = self.pool.sender();
        let writer = owned.writer(Box::new(move |ack| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Ack(ack));
        }));
        let writer = match writer {
            Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                // The run has not started, so it is closed like a waiting one.
                self.waiting = Some(owned);
                let message = machine::failure("cannot start a thread", source);
                self.fail(Reason::Machine, message);
                return Ok(());
            }
            writer => writer?,
        };
        log_plan(&owned, self.plan, session, self.plan.left(&self.fold));
        for notice in owned.notices() {
            self.observer.event(&RunEvent::Notice(notice));
        }
        mem::take(&mut self.early_notices).iter().for_each(|notice| owned.log(notice));
        let replaced = mem::take(&mut *self.root.replaced()).into_iter();
        let replaced =
            replaced.map(|digest| format!("{digest} in the store was damaged and is replaced"));
        for notice in self.plan.notices.iter().cloned().chain(replaced) {
            owned.log(&notice);
            self.observer.event(&RunEvent::Notice(&notice));
        }
        self.run = Some(ActiveRun { live: owned.live_writer().start(), owned, writer, session });
        Ok(())
    }

    /// Sends checks to the worker that described the plugins. Once all have passed, it takes trials like the others.
    pub(super) fn check_tests(&mut self) {
        let Some((checks, ReadyWorker { worker, .. })) =
            self.checks.as_mut().filter(|_| !self.stop.is_stopping)
        else {
            return;
        };
        let (plan, fold, pool) = (self.plan, &self.fold, &mut self.pool);
        let is_pending = |trial| fold.trial(trial).is_pending || plan.rejudge.has(trial);
        let sent = checks.fill(plan, is_pending, |task, line| pool.assign(*worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("cannot send a test: {error}"));
        } else if checks.is_done(plan)
            && self.run.is_some()
            && let Some((checks, worker)) = self.checks.take()
        {
            self.pool.checked();
            match checks.lines() {
                Some(lines) => self.refuse(Reason::Plugin, lines, checks.problems(plan)),
                None => {
                    self.report_created();
                    self.add_worker(&worker);
                }
            }
        }
    }

    /// Ends the session because of plugins, configurations or tests. `lines` are the problems without their places. A new run
    /// is removed, unless the machine is at fault.
    pub(super) fn refuse(&mut self, reason: Reason, lines: String, problems: Problems) {
        if self.is_unreported && reason == Reason::Plugin && !self.stop.is_stopping {
            self.refused = Some((lines, problems));
        } else {
            self.fail(reason, lines);
        }
    }

    /// Reports the creation of a new run, once.
    pub(super) fn report_created(&mut self) {
        if let Some(run) = &self.run
            && mem::take(&mut self.is_unreported)
        {
            if self.pause.at.is_some() {
                self.pool.pause(true);
            }
            self.observer.event(&created(&run.owned, &run.owned.dir().path()));
        }
    }

    /// Adds ready workers to the schedule, once the run exists and the checks have passed.
    pub(super) fn add_ready_workers(&mut self) {
        while self.run.is_some()
            && self.checks.is_none()
            && let Some(worker) = self.pool.next_ready()
        {
            self.add_worker(&worker);
        }
    }

    /// Reports that the run has no worker on another machine, and ends the session once that has lasted too long.
    pub(super) fn check_for_workers(&mut self) {
        let idle = self.started.is_some() && self.schedule.running() == 0;
        let lacking = self.pool.lacks_workers().filter(|_| idle && !self.stop.is_stopping);
        let Some((remote, last_notice)) = lacking else {
            self.without_workers = None;
            return;
        };
        let (since, lack) = self.without_workers.get_or_insert((self.now, None));
        let (waited, patience) = (Duration::from(self.now - *since), remote.patience);
        let start = format!("start one: {}", remote.source.worker_command());
        if waited >= patience {
            let patience = show_duration(patience);
            let last = last_notice.map(|notice| format!(" ({notice})")).unwrap_or_default();
            let message = format!("the run had no worker for {patience}{last}; {start}");
            self.fail(Reason::Workers, message);
        } else if lack.is_none() && waited >= REPORT_LACK_AFTER {
            let notice = format!("the run has no worker; {start}");
            *lack = Some(notice.clone());
            self.notice(&notice);
        }
    }

    fn add_worker(&mut self, ready: &ReadyWorker) {
        debug!(?ready, "a worker is ready");
        let ReadyWorker { worker, shape, alone } = *ready;
        if let Some(name) = self.pool.name(worker) {
            let slots = plural(shape.slots.into(), "slot", "slots");
            self.log_worker(&format!("worker {name} has joined with {slots}"));
        }
        self.apply(|schedule| schedule.worker_ready(worker, shape, alone));
    }

    /// Records the stage `run`, after the first tasks are sent.
    pub(super) fn record_start(&mut self) {
        let (Some(run), Some(ready), None, false) =
            (&mut self.run, &self.described, &self.checks, self.stop.is_stopping)
        else {
            return;
        };
        let mut providers = run.owned.manifest().providers.clone();
        for about in &ready.providers {
            if let Some(provider) = providers.get_mut(usize::from(about.provider)) {
                provider.description.clone_from(&about.description);
            }
        }
        run.owned.note_wall(ready.wall.to_string());
        // The stage is only for display. If the disk is full, the first row fails.
        run.owned.note_stage(Stage::Run, providers);
        (self.described, self.started) = (None, Some(self.now));
        self.timers.live = self.timers.live.min(self.now.0 + FIRST_LIVE);
        let broker = self.plan.broker_address();
        self.observer.event(&RunEvent::Started {
            manifest: run.owned.manifest(),
            directory: &run.owned.dir().path(),
            pending: self.schedule.left(),
            jobs: self.plan.settings.jobs,
            broker: broker.as_deref(),
        });
        self.timers.sweep = self.now.0;
    }
}

fn created<'a>(owned: &'a Owned, directory: &'a Path) -> RunEvent<'a> {
    RunEvent::Created { manifest: owned.manifest(), directory, log: owned.log_file() }
}
