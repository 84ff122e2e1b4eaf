//! [`Stage::Running`]: trials run. A worker's report, or the loss of an attempt, becomes a row for the writer, which
//! counts once it is on disk.

use std::{borrow::Cow, collections::BTreeSet, io::BufRead as _, time::Duration};

use runner_model::protocol::{DIVERGED, FromWorker, ReportHead, TaskKind};
use runner_model::provider::{PluginKind, PreparedProvider, Protocol};
use runner_model::row::FailureKinds;
use runner_model::units::{plural, show_duration};
use runner_model::{Micros, Outcome, Places, Reason, RowRef, RunTime, Stage as Shown};
use runner_model::{TaskId, TrialId, WorkerId, prepare::Ready, visible::visible_line};
use runner_prepare::machine;
use runner_record::{Ack, Journal, JournalKey, RowFacts};
use tracing::debug;

use super::coordinator::{Coordinator, FIRST_LIVE};
use super::in_flight::{CheckedReport, GuestStep, left_of};
use super::stage::{Running, Stage};
use crate::clock::monotonic;
use crate::event::RunEvent;
use crate::plan::{RowPlace, StoredRow};
use crate::schedule::{Assignment, LostReason, Pending, RowForm, Schedule};
use crate::workers::{ReadyWorker, WorkerExit};

/// Bytes of rows and logs that are not on disk before workers are held back.
pub(super) const MAX_PENDING: u64 = 8 << 20;
/// Bytes of an attempt's progress text in `live.json`.
const MAX_WORD: usize = 300;
/// Time without a worker on another machine after which that is reported.
const REPORT_LACK_AFTER: Duration = Duration::from_secs(2);

impl Coordinator<'_> {
    /// Sends the first tasks, and then records the stage, which takes longer.
    pub(super) fn start(&mut self, ready: Ready, worker: ReadyWorker) {
        self.add_worker(&worker);
        self.add_ready_workers();
        self.tick();
        self.pool.flush();
        let Stage::Running(running) = &mut self.stage else { return };
        if self.stop.is_stopping {
            return;
        }
        let owned = &mut running.run.owned;
        let mut providers = owned.manifest().providers.clone();
        for about in ready.providers {
            if let Some(provider) = providers.get_mut(usize::from(about.provider)) {
                provider.description = about.description;
            }
        }
        owned.note_wall(ready.wall.to_string());
        // The stage is only for display. If the disk is full, the first row fails.
        owned.note_stage(Shown::Run, providers);
        self.sweep.next = self.now.0;
        self.next_live = self.next_live.min(self.now.0 + FIRST_LIVE);
        self.observer.event(&RunEvent::Started {
            manifest: owned.manifest(),
            run: owned.dir(),
            known: &self.plan.known,
            pending: self.schedule.left(),
            jobs: self.plan.settings.jobs,
            broker: self.plan.broker_address().as_deref(),
        });
    }

    /// Adds ready workers to the schedule.
    pub(super) fn add_ready_workers(&mut self) {
        while matches!(self.stage, Stage::Running(_))
            && let Some(worker) = self.pool.next_ready()
        {
            self.add_worker(&worker);
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

    /// Reports that the run has no worker on another machine, and ends the session once that has lasted too long.
    pub(super) fn check_for_workers(&mut self) {
        let Stage::Running(running) = &mut self.stage else { return };
        let is_idle = self.schedule.running() == 0 && !self.stop.is_stopping;
        let Some((remote, last_notice)) = self.pool.lacks_workers().filter(|_| is_idle) else {
            running.without_workers = None;
            return;
        };
        let (since, lack) = running.without_workers.get_or_insert((self.now, None));
        let waited = Duration::from(self.now - *since);
        let start = format!("start one: {}", remote.source.worker_command());
        if waited >= remote.patience {
            let patience = show_duration(remote.patience);
            let last = last_notice.map(|notice| format!(" ({notice})")).unwrap_or_default();
            let message = format!("the run had no worker for {patience}{last}; {start}");
            self.fail(Reason::Workers, message);
        } else if lack.is_none() && waited >= REPORT_LACK_AFTER {
            let notice = format!("the run has no worker; {start}");
            *lack = Some(notice.clone());
            self.notice(&notice);
        }
    }

    /// Sends a task. If that fails, takes the task back and ends the session.
    pub(super) fn send(&mut self, worker: WorkerId, assignment: &Assignment) {
        let Err((reason, message)) = self.try_send(worker, assignment) else { return };
        // The worker does not have the task, so neither a report nor its exit would end the attempt.
        if let Stage::Running(running) = &mut self.stage {
            running.tasks.all.remove(&assignment.task);
        }
        self.apply(|schedule| schedule.returned(worker, &[assignment.task]));
        self.fail(reason, message);
    }

    fn try_send(
        &mut self,
        worker: WorkerId,
        assignment: &Assignment,
    ) -> Result<(), (Reason, String)> {
        let Stage::Running(running) = &mut self.stage else { return Ok(()) };
        let place = match assignment.grader {
            Some(_) => running.ungraded.get(&assignment.trial).copied(),
            None => self.plan.rejudge.place(assignment.trial),
        };
        let stored = place.and_then(|place| StoredRow::read(running.run.owned.dir(), place));
        if stored.is_none() && (assignment.grader.is_some() || place.is_some()) {
            let message = "cannot read a row or an output to judge".to_owned();
            return Err((Reason::Storage, message));
        }
        let attempt = stored.as_ref().map_or(assignment.attempt, |row| row.attempt);
        let grader = assignment.grader.zip(stored.as_ref()).map(|(grader, row)| {
            let name = &self.plan.providers[usize::from(grader)].provider.name;
            (name.clone(), row.asked(name) + 1)
        });
        let is_call = stored.is_none() || grader.is_some();
        let key = JournalKey { trial: assignment.trial, attempt, grader };
        let recorded = if is_call { self.recorded(key, assignment.tries)? } else { None };
        let Stage::Running(running) = &mut self.stage else { return Ok(()) };
        let artifacts = match &stored {
            Some(stored) => {
                let dir = running.run.owned.dir();
                left_of(self.plan, dir, &mut self.pool, assignment, stored).map_err(|error| {
                    (Reason::Machine, machine::failure("cannot give a worker a workspace", error))
                })?
            }
            None => Vec::new(),
        };
        let (task, line) = running
            .tasks
            .add(self.plan, self.now, worker, assignment, stored, recorded)
            .map_err(|error| (Reason::Storage, format!("cannot read a test: {error}")))?;
        let sent = self.pool.assign(worker, task, line);
        running.tasks.keep(assignment.task, artifacts);
        sent.map_err(|error| (Reason::Machine, machine::failure("cannot send a test", error)))
    }

    /// Handles a worker's message about tasks.
    pub(super) fn receive_task(&mut self, worker: WorkerId, message: FromWorker) {
        let Stage::Running(running) = &mut self.stage else { return };
        match message {
            FromWorker::Report { head, body } => self.report(worker, &head, body),
            FromWorker::Artifact { task, index, bytes } => {
                self.add_piece(worker, task, index, &bytes);
            }
            FromWorker::Entry { task, is_last, bytes } => {
                self.add_entry(worker, task, is_last, &bytes);
            }
            FromWorker::Returned(mut returned) => {
                returned.retain(|task| running.tasks.at(worker, *task).is_some());
                for task in &returned {
                    running.tasks.all.remove(task);
                }
                self.apply(|schedule| schedule.returned(worker, &returned));
            }
            FromWorker::Doing(doing) => {
                for mut doing in doing {
                    let Some(flight) = running.tasks.at(worker, doing.task) else { continue };
                    if let Some(mut output) = doing.output {
                        output.cut();
                        flight.output = Some(output);
                    }
                    doing.word.truncate(doing.word.floor_char_boundary(MAX_WORD));
                    let step = GuestStep { phase: doing.phase, what: doing.word, since: self.now };
                    flight.step.take_if(|last| last.phase != step.phase || last.what != step.what);
                    flight.step.get_or_insert(step);
                }
            }
            // The pool handles the others, and `Bye` needs no answer.
            _ => {}
        }
    }

    /// Ends the attempts of a worker that has exited.
    pub(super) fn lose(&mut self, worker: WorkerId, exit: &WorkerExit) {
        let Stage::Running(running) = &mut self.stage else { return };
        for flight in running.tasks.all.values_mut().filter(|flight| flight.worker == worker) {
            flight.lost = Some((monotonic(), exit.how.clone()));
        }
        if self.pool.faulty.contains(&worker) {
            running.void_journals(worker, "its worker was killed for a fault");
        }
        let mut started = Vec::new();
        for word in &exit.started {
            let flight = running.tasks.at(worker, TaskId(word.task));
            if let Some((since, _)) = flight.and_then(|flight| flight.lost.as_mut()) {
                // Workers shift the times of their slots only after a pause.
                let paused_at = self.pause.at.map(|at| at.max(word.started));
                let paused = paused_at.map_or(0, |at| monotonic().saturating_sub(at));
                *since = word.started + paused;
                started.push(TaskId(word.task));
            }
        }
        let flights = &running.tasks.all;
        let effects = self.schedule.apply(self.now, |schedule| {
            schedule.worker_lost(worker, &started, exit.blame, &|task| {
                flights.get(&task).map(|flight| &flight.policy)
            });
        });
        self.carry_out(effects, None);
        if let Stage::Running(running) = &mut self.stage {
            running.tasks.all.retain(|_, flight| flight.worker != worker);
        }
    }

    /// Handles the report of an attempt, a judgement or a grade.
    fn report(&mut self, worker: WorkerId, head: &ReportHead, body: Vec<u8>) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Some(flight) = running.tasks.at(worker, head.task) else { return };
        let prepared = &self.plan.providers[usize::from(flight.task.provider)];
        let limits = &prepared.provider.limits;
        let mut is_answer = false;
        let mut diverged = None;
        let mut used = None;
        let key = flight.journal();
        let calls = running.journals.get(&key).and_then(Journal::calls);
        let session = running.run.session;
        let checked = flight.receive(head, body, limits, session, calls, |flight, row, effort, next| {
            debug!(worker = worker.0, trial = %row.trial, attempt = row.attempt, outcome = %row.outcome, ms = effort.duration_ms, "report");
            is_answer = flight.task.kind == TaskKind::Run && prints_answer(prepared, row);
            used = flight.used_base(row, &prepared.provider).map(|used| (flight.trial, used));
            diverged = difference(effort);
            let mut policy = Cow::Borrowed(&flight.policy);
            if row.outcome.is_bad() && self.plan.known.has_kinds() {
                let kinds = |_| FailureKinds::of(row);
                policy.to_mut().unexpected =
                    self.plan.known.unexpected(&row.test, &row.provider, kinds);
            }
            self.schedule.apply(self.now, |schedule| {
                let fault = head.host_fault;
                schedule.report(worker, head.task, effort, next, fault, &policy);
            })
        });
        let provider = flight.task.provider;
        match checked {
            Ok((report, effects)) => self.carry_out(effects, Some(report)),
            Err(fault) => return self.fault(worker, Some(head.task), fault),
        }
        if let Some((trial, (base, is_doubted))) = used {
            self.pool.used_base(worker, trial, base, is_doubted);
        }
        if let Some(difference) = &diverged {
            self.notice(difference);
        }
        let Stage::Running(running) = &mut self.stage else { return };
        if diverged.is_some() {
            running.journals.at(key).restart();
        }
        running.tasks.all.remove(&head.task);
        if is_answer && running.answering.insert(provider) {
            let name = &prepared.provider.name;
            self.notice(&format!("provider `{name}` prints answers of the JSON protocol, which are not read: set its `protocol = \"json\"`"));
        }
    }

    fn add_piece(&mut self, worker: WorkerId, task: TaskId, index: u32, piece: &[u8]) {
        let Stage::Running(Running { tasks, run, .. }) = &mut self.stage else { return };
        let Some(flight) = tasks.at(worker, task) else { return };
        let is_first = flight.has_no_drafts();
        let provider = &self.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.add_piece(index, piece, limits, || run.owned.artifact_draft()) {
            Ok(Ok(())) if is_first && tasks.has_other_drafts(worker, task) => {
                self.fault(worker, Some(task), "sent artifacts of two tasks at once".to_owned());
            }
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.fault(worker, Some(task), fault),
            Err(error) => match tasks.most_drafts() {
                Some(most) if error.is_exhausted() => {
                    self.fault(most, None, "sent too many artifacts at once".to_owned());
                    if most != worker {
                        self.add_piece(worker, task, index, piece);
                    }
                }
                _ => self.storage_failed(error.to_string()),
            },
        }
    }

    pub(super) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        self.pool.fault(worker, task, fault);
        if let Stage::Running(running) = &mut self.stage {
            running.tasks.close_drafts(worker);
        }
    }

    pub(super) fn receive_ack(&mut self, ack: Ack) {
        match ack {
            Ack::Written { lines, at, calls } => {
                self.receive_lines(at, &lines);
                self.answer_entries(calls);
                if let Stage::Running(running) = &self.stage {
                    let (bytes, rows) = running.run.writer.pending();
                    self.pool.hold_back(bytes > MAX_PENDING);
                    if self.pause.at.is_some() {
                        // Run time does not advance, so no timer becomes due.
                        self.next_live = self.now.0;
                    }
                    self.apply(|schedule| schedule.acked(rows, bytes));
                }
            }
            Ack::Failed(error) => self.storage_failed(error.to_string()),
        }
    }

    /// Counts rows that are on disk, the first one at offset `at`.
    pub(super) fn receive_lines(&mut self, mut at: u64, mut lines: &[u8]) {
        let mut settled = BTreeSet::new();
        while !lines.is_empty()
            && let Stage::Running(running) = &mut self.stage
            && let Some((trial, row)) = running.unacked.pop_front()
        {
            let mut rest = lines;
            // Reading from memory does not fail.
            let length = rest.skip_until(b'\n').unwrap_or(lines.len());
            let line = lines[..length].trim_ascii_end();
            let effect = self.fold.add(trial, row);
            let needed = effect.and_then(|effect| effect.needs);
            if effect.is_some_and(|effect| effect.settles) && running.distrusted.remove(&trial) {
                settled.insert(trial);
            }
            let again = row.is_judged && running.partial.contains(&trial);
            let is_waiting = row.outcome == Outcome::Ungraded || row.is_final;
            let awaited = running.ungraded.get_mut(&trial).filter(|_| is_waiting);
            let awaits = awaited.map(|place| (place.at, place.bytes) = (at, line.len() as u32));
            if row.is_final {
                // The next rows are grades, or of another attempt.
                match awaits {
                    Some(()) => running.partial.insert(trial),
                    None => running.partial.remove(&trial),
                };
            }
            self.observer.event(&RunEvent::Row {
                trial,
                row,
                again,
                line,
                counts: &self.fold.counts(),
                planned: self.plan.suite.trials(),
            });
            if awaits.is_some() {
                self.apply(|schedule| schedule.is_on_disk(trial));
            }
            if let Some(trial) = needed.filter(|_| self.plan.rescored.is_none()) {
                let had_bad = self.fold.trial(trial).had_bad;
                let pending = Pending { trial, attempts: self.fold.attempts(trial), had_bad };
                let provider = self.plan.suite.trial(trial).provider;
                self.apply(|schedule| schedule.need(provider, pending));
            }
            self.run_reselected();
            at += length as u64;
            lines = rest;
        }
        self.reselect(settled);
    }

    pub(super) fn storage_failed(&mut self, message: String) {
        if let Some(run) = self.stage.run() {
            run.failure.get_or_insert(message);
        }
        // No more rows are acknowledged, and workers must be able to end.
        self.pool.hold_back(false);
        self.apply(Schedule::storage_failed);
    }

    /// Creates the report of a lost attempt.
    pub(super) fn report_for(&self, task: TaskId, reason: LostReason) -> Option<CheckedReport> {
        let Stage::Running(Running { tasks, run, journals, .. }) = &self.stage else { return None };
        let flight = tasks.all.get(&task)?;
        let calls = journals.get(&flight.journal()).and_then(Journal::calls);
        let (since, how) = flight.lost.clone().unwrap_or_else(|| {
            // The worker neither answered nor exited: the slot has the start.
            let mut slots = self.pool.slots();
            let word = slots.find(|word| word.task == task.0);
            (word.map_or_else(monotonic, |word| word.started), String::new())
        });
        let took = Micros(monotonic().saturating_sub(since));
        if flight.is_judged() {
            let error = flight.lost_error(reason, &how);
            let session = run.session;
            let report = flight.lost_judged(reason.outcome(), error, took.into(), session, calls);
            return Some(report.ok()?.into());
        }
        let started_at = RunTime((self.now - RunTime(took.0)).0);
        let suspended = self.clock.suspended_since(started_at);
        Some(CheckedReport {
            outcome: reason.outcome(),
            has_denied: false,
            service_failed: false,
            row: flight.row(reason, [took.into(), suspended], &how, calls),
            ungraded: None,
            decided: None,
            log: None,
            artifacts: Vec::new(),
        })
    }

    pub(super) fn write(
        &mut self,
        task: TaskId,
        mut report: CheckedReport,
        form: RowForm,
        is_final: bool,
        flaky: bool,
    ) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Running { tasks, run, ungraded, unacked, journals, .. } = running;
        let Some(flight) = tasks.all.get(&task) else { return };
        if let Some(row) = report.ungraded.take_if(|_| !is_final) {
            (report.row, report.outcome) = (row, Outcome::Ungraded);
        }
        if let Some(decided) = report.decided.take_if(|_| form == RowForm::Decided) {
            (report.row, report.outcome) = decided;
        }
        if report.outcome == Outcome::Ungraded || form == RowForm::Partial {
            let had_bad = flight.can_be_flaky();
            let place = RowPlace { had_bad, is_ungraded: true, ..RowPlace::default() };
            ungraded.insert(flight.trial, place);
        } else {
            ungraded.remove(&flight.trial);
        }
        journals.remove(&flight.journal());
        let flaky = flaky && flight.can_be_flaky();
        let mut tail = flight.tail(is_final, flaky, run.session);
        let is_judged = tail.judged.is_some();
        if !is_judged {
            tail.worker = self.pool.name(flight.worker).map(ToString::to_string);
        }
        let is_stopped = report.outcome == Outcome::Stopped && self.stop.is_stopping;
        tail.stopped_by = self.stop.by.clone().filter(|_| is_stopped);
        let TrialId { test, provider, .. } = &flight.task.trial;
        let kinds = || FailureKinds::of_line(&report.row);
        let state = self.plan.known.state(test, provider, report.outcome, kinds);
        let seq = run.writer.row(report.row, tail, report.log, report.artifacts);
        if run.writer.pending().0 > MAX_PENDING {
            self.pool.hold_back(true);
        }
        let facts = RowFacts {
            outcome: report.outcome,
            attempt: flight.attempt,
            is_final,
            flaky,
            is_judged,
            has_denied: report.has_denied,
            service_failed: report.service_failed,
            state,
            seq,
            session: run.session,
        };
        unacked.push_back((flight.trial, facts));
    }
}

/// Describes why an attempt cannot continue from its journal. `None` for other rows.
fn difference(row: &RowRef<'_>) -> Option<String> {
    let error = row.error.as_ref().filter(|_| row.outcome == Outcome::Stopped)?;
    let message = &error.message[..error.message.floor_char_boundary(MAX_WORD)];
    (&*error.code == DIVERGED)
        .then(|| format!("`{}` starts anew: {}", row.trial, visible_line(message)))
}

/// Returns whether a plain command printed an answer of the JSON protocol in a test that expects nothing of its output.
fn prints_answer(prepared: &PreparedProvider, row: &RowRef<'_>) -> bool {
    const LONGEST: usize = "{err:{".len();
    let is_plain =
        prepared.kind == PluginKind::Command && prepared.provider.protocol == Protocol::Plain;
    let output = row.output.as_ref().map_or("", |output| output.get());
    // The output is a string of JSON, or JSON.
    let plain = output.chars().filter(|character| !"\\\" ".contains(*character));
    let start: String = plain.take(LONGEST).collect();
    is_plain && row.checks.is_empty() && (start.starts_with("{ok:{") || start == "{err:{")
}
