//! [`Stage::Ending`]: drains workers and the writer, and writes the manifest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use runner_model::units::{plural, show_duration};
use runner_model::{GateResult, Reason, protocol::FromWorker};
use runner_record::{Ack, End, Fold, Manifest, Owned, UnwrittenEnd};
use serde_json::Value;

use super::coordinator::Coordinator;
use super::stage::{Checking, Stage};
use crate::event::{Ended, Observer, RunEvent, exit_of};
use crate::plan::{Plan, Rescored, gate};
use crate::signals::{self, SignalEvent};
use crate::{EngineError, workers::Input};

/// Time for workers to tear down instances. `teardown` of an instance is limited to 5 s.
const TEARDOWN_WITHIN: Duration = Duration::from_millis(5_500);
/// Time for the sweep of a session that was not stopped. A dead run of a million rows takes seconds.
const SWEEP_WITHIN: Duration = Duration::from_secs(10);
/// Interval at which a session that waits for its sweep reads signals.
const SIGNAL_EVERY: Duration = Duration::from_millis(20);
/// Message of a session that has only waited.
pub(super) const UNSTARTED: &str = "the session was stopped before it started";
/// Time for finished workers to exit.
const EXIT_WITHIN: Duration = Duration::from_millis(200);

impl Coordinator<'_> {
    /// Returns whether the session has ended, and its run is on disk.
    pub(super) fn has_ended(&self) -> bool {
        match &self.stage {
            Stage::Checking(Checking { run: None, .. }) => false,
            Stage::Checking(Checking { refused: Some(_), .. }) => true,
            _ => self.end.is_some(),
        }
    }

    /// Removes a run that is refused or stopped before its first trial, and closes others.
    pub(super) fn finish(mut self) -> Result<Ended, EngineError> {
        if let Stage::Checking(checking) = &mut self.stage
            && let Some((lines, problems)) = checking.refused.take()
        {
            self.discard(Some(Reason::Plugin), Some(lines));
            return Err(EngineError::Scenario(problems));
        }
        let (reason, message) = self.end.take().unwrap_or_default();
        if let Stage::Checking(Checking { is_new: true, interrupted, .. }) = &mut self.stage
            && let Some(problem) = interrupted.take()
        {
            self.discard(reason, message);
            return Err(EngineError::Interrupted(problem));
        }
        let is_stopped =
            matches!(reason, Some(Reason::Interrupted | Reason::Stopped | Reason::Cancelled));
        if self.stage.is_unreported() && is_stopped {
            let signal = self.stop.signal;
            self.discard(reason, message);
            return Err(signal.map_or(EngineError::Unstarted, EngineError::Stopped));
        }
        self.report_created();
        self.close(reason, message)
    }

    /// Waits until all rows are on disk, then writes the end of the session, also of one that has only waited. A signal skips
    /// the wait for teardowns.
    fn close(
        mut self,
        mut reason: Option<Reason>,
        message: Option<String>,
    ) -> Result<Ended, EngineError> {
        let has_only_waited = matches!(self.stage, Stage::Waiting(_));
        self.pool.hold_back(false);
        self.pool.finish();
        let closed = self.stage.run().map_or(Ok(()), |run| run.writer.close());
        self.receive_last();
        self.now = self.clock.now();
        let took = self.worked();
        let mut failure = self.stage.run().and_then(|run| run.failure.take());
        let Some(mut owned) = self.stage.end() else { return Err(EngineError::Unstarted) };
        if let Err(error) = closed {
            owned.distrust_rows();
            reason = Some(Reason::Storage);
            failure.get_or_insert(error.to_string());
        }
        let message = match reason {
            Some(Reason::Storage) => message.or(failure),
            Some(_) if has_only_waited => message.or_else(|| Some(UNSTARTED.to_owned())),
            Some(reason) => self.end_message(reason, message),
            None => message,
        };
        if let Some(message) = &message {
            owned.log(message);
            if self.plan.rescored.is_some() {
                // The manifest keeps the message of the session before.
                self.observer.event(&RunEvent::Notice(message));
            }
        }
        if !has_only_waited {
            owned.note_times(took, self.clock.suspended());
            for notice in self.budget_notices() {
                owned.log(&notice);
                self.observer.event(&RunEvent::Notice(&notice));
            }
        }
        let run = owned.dir().clone();
        let own = End {
            reason,
            signal: self.stop.signal.filter(|_| reason == Some(Reason::Interrupted)),
            message,
            larger_budgets: self.schedule.spending().larger(),
            at: runner_record::now(),
        };
        let (end, cut_short) = ends(self.plan, own, self.fold.left());
        let stopped_by = self.stop.by.take();
        if let (Some(by), Some(Reason::Stopped | Reason::Cancelled)) = (stopped_by, reason) {
            owned.note_stopped_by(by);
        }
        if let Some(Rescored { replaces_grades: true, .. }) = self.plan.rescored
            && self.schedule.left() == 0
        {
            owned.drop_graders(|one| self.plan.suite.graders().contains(&*one.name));
        }
        if self.fold.left() == 0 {
            set_gate(&mut owned, self.plan, self.observer);
        }
        // Without reports, the next process need not wait for the workers.
        let writes_reports = self.observer.writes_reports(!self.plan.scenario.reports.is_empty());
        if writes_reports {
            owned.owe_reports();
        }
        let (manifest, held) = write_end(owned, end, &self.fold, self.observer);
        let held = held.filter(|_| writes_reports).map(Arc::new);
        // The manifest keeps the end before a session of `rescore`, which has its own.
        if cut_short.is_none() {
            self.watchdog.settle(exit_of(&manifest));
        }
        self.pool.wait_for_exits(EXIT_WITHIN);
        self.wait_for_sweep();
        let (stop, stop_signal) = (self.schedule.stop_reason(), self.stop.signal);
        let ended = Ended {
            cut_short,
            stop,
            stop_signal,
            swept: self.sweep.swept,
            held,
            ..Ended::of(manifest, run, took)
        };
        let ended = ended.report(self.observer);
        // Connections to other machines may close slowly, and the caller still prints the result.
        self.watchdog.end();
        Ok(ended)
    }

    /// Receives all that has come in, and the last lines of workers that tear their instances down, unless a signal comes.
    fn receive_last(&mut self) {
        let mut is_hurried = false;
        let mut messages = Vec::new();
        while let Some(input) = self.pool.next(Duration::ZERO) {
            match input {
                Input::Signal(SignalEvent::Stop(..)) => is_hurried = true,
                Input::Signal(SignalEvent::Suspend) => signals::suspend(),
                Input::Ack(Ack::Written { lines, at, .. }) => self.receive_lines(at, &lines),
                Input::Messages(worker, last) => messages.push((worker, last)),
                _ => {}
            }
        }
        if self.pool.keeps_instances() && !is_hurried {
            messages.extend(self.pool.wait_for_exits(TEARDOWN_WITHIN));
        }
        for (worker, messages) in messages {
            for message in messages {
                if let FromWorker::Log(line) = message {
                    self.log_line_of(worker, &line);
                }
            }
        }
    }

    /// Waits for the sweep, until a signal. A session that was stopped does not wait.
    fn wait_for_sweep(&mut self) {
        let until = Instant::now() + SWEEP_WITHIN;
        self.finish_sweep(Duration::ZERO);
        while self.sweep.running.is_some() && !self.stop.is_stopping && Instant::now() < until {
            match self.pool.next(Duration::ZERO) {
                Some(Input::Signal(SignalEvent::Stop(..))) => return,
                Some(Input::Signal(SignalEvent::Suspend)) => signals::suspend(),
                _ => {}
            }
            self.finish_sweep(SIGNAL_EVERY);
        }
    }

    /// Returns the message of a session that ends for this reason. `message` is that of the stop. Attempts in
    /// flight may have changed its numbers since then.
    fn end_message(&self, reason: Reason, message: Option<String>) -> Option<String> {
        let (settings, scenario) = (&self.plan.settings, &self.plan.scenario);
        match reason {
            Reason::Budget => self.schedule.spending().summary().or(message),
            Reason::Timeout => {
                let is_own = settings.timeout == scenario.timeout;
                let name = if is_own { "timeout_minutes" } else { "--timeout" };
                let timeout = show_duration(settings.timeout);
                Some(format!("the time of the run is over: `{name}` is {timeout}"))
            }
            Reason::FailFast => {
                let is_own = settings.fail_fast == scenario.run.fail_fast;
                let name = if is_own { "fail_fast" } else { "--fail-fast" };
                let (one, many) = if self.plan.known.is_empty() {
                    ("trial did not pass", "trials did not pass")
                } else {
                    ("trial is unexpected", "trials are unexpected")
                };
                let trials = plural(self.schedule.bad(), one, many);
                let most = Value::from(settings.fail_fast);
                Some(format!("{trials}, and `{name}` is {most}"))
            }
            _ => message,
        }
    }

    /// Returns notices of budgets and prices. `rescore` makes no attempts of providers, so all of their metrics would seem to be
    /// missing.
    fn budget_notices(&self) -> Vec<String> {
        if self.plan.rescored.is_some() {
            return Vec::new();
        }
        self.schedule.spending().notices()
    }

    /// Removes a run that was refused or stopped before its first trial. If that fails, the run ends for this reason.
    fn discard(mut self, reason: Option<Reason>, message: Option<String>) {
        self.pool.finish();
        let _ = self.stage.run().map(|run| run.writer.close());
        // This waits for the thread of `live.json`, the last that writes into the run.
        let Some(owned) = self.stage.end() else { return };
        if let Err(error) = owned.discard() {
            let notice = format!("the run could not be removed: {error}");
            self.observer.event(&RunEvent::Notice(&notice));
            let signal = self.stop.signal.filter(|_| reason == Some(Reason::Interrupted));
            let at = runner_record::now();
            let end = End { reason, signal, message, at, ..End::default() };
            write_end(owned, end, &self.fold, self.observer);
        }
        self.pool.wait_for_exits(EXIT_WITHIN);
        self.watchdog.end();
    }
}

/// Returns the end that the manifest gets, and the end of a session of `rescore`, which leaves that of its run.
fn ends(plan: &Plan, own: End, left: u64) -> (End, Option<End>) {
    match &plan.rescored {
        // Trials that are left were left before, or a copy of their base was changed.
        Some(Rescored { before, .. })
            if own.reason != Some(Reason::Cancelled) && (before.reason.is_some() || left == 0) =>
        {
            (End { at: own.at, ..before.clone() }, Some(own))
        }
        Some(_) => (own.clone(), Some(own)),
        None => (own, None),
    }
}

/// Evaluates the gate of a run whose trials all have results. If that fails, the gate does not hold.
pub(super) fn set_gate(owned: &mut Owned, plan: &Plan, observer: &mut dyn Observer) {
    let evaluated = gate::evaluate(&plan.scenario, &plan.suite, owned.dir(), owned.manifest());
    let result = evaluated.unwrap_or_else(|error| {
        observer.event(&RunEvent::Notice(&gate::not_evaluated(&error)));
        Some(GateResult::default())
    });
    owned.set_gate(result);
}

/// Writes the end of a session. Returns the manifest and, until its reports are written, the run. If that fails, reports it, and
/// returns the manifest as readers show the run.
pub(super) fn write_end(
    owned: Owned,
    end: End,
    fold: &Fold,
    observer: &mut dyn Observer,
) -> (Manifest, Option<Owned>) {
    owned.finish(end, fold).unwrap_or_else(|UnwrittenEnd { manifest, error }| {
        // Otherwise the error is the message of the run.
        if manifest.message.is_none() {
            observer.event(&RunEvent::Notice(&error.to_string()));
        }
        (*manifest, None)
    })
}
