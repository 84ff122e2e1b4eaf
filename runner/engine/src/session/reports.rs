//! Rows: from a worker's report, or for a lost attempt, to the writer, and their acknowledgement once they are on disk.

use std::io::BufRead as _;

use runner_model::protocol::{FromWorker, ReportHead};
use runner_model::provider::{PluginKind, PreparedProvider, Protocol};
use runner_model::{
    Micros, Outcome, Places, RowRef, RunTime, TaskId, WorkerId, visible::visible_line,
};
use runner_record::{Ack, RowFacts};
use tracing::debug;

use super::coordinator::{Coordinator, MAX_WORD};
use super::in_flight::{CheckedReport, GuestStep};
use super::judged::JudgedReport;
use crate::plan::RowPlace;
use crate::schedule::{LostReason, Schedule};
use crate::{clock::monotonic, event::RunEvent, workers::WorkerExit};

/// Bytes of rows and logs that are not on disk before workers are held back.
const MAX_PENDING: u64 = 8 << 20;

impl Coordinator<'_> {
    pub(super) fn receive(&mut self, worker: WorkerId, message: FromWorker) {
        // The message may have been read together with the one that the worker is killed for.
        if !self.pool.trusts(worker) {
            return;
        }
        match message {
            FromWorker::Report { head, body } => match &mut self.checks {
                Some((checks, _)) => checks.receive(head.task, &body[..head.row_bytes as usize]),
                None => self.report(worker, &head, body),
            },
            FromWorker::Artifact { task, index, bytes } => {
                self.add_piece(worker, task, index, &bytes);
            }
            FromWorker::Returned(tasks) => {
                let mut tasks = tasks;
                tasks.retain(|task| self.in_flight.at(worker, *task).is_some());
                for task in &tasks {
                    self.in_flight.all.remove(task);
                }
                self.apply(|schedule| schedule.returned(worker, &tasks));
            }
            FromWorker::Log(line) => {
                let line = format!("worker {}: {}", self.pool.shown(worker), visible_line(&line));
                self.log_worker(&line);
            }
            FromWorker::Doing(doing) => {
                for mut doing in doing {
                    if let Some(flight) = self.in_flight.at(worker, doing.task) {
                        if let Some(mut output) = doing.output {
                            output.cut();
                            flight.output = Some(output);
                        }
                        let most = doing.word.floor_char_boundary(MAX_WORD);
                        doing.word.truncate(most);
                        let (phase, what) = (doing.phase, doing.word);
                        let is_same = |last: &GuestStep| last.phase == phase && last.what == what;
                        if !flight.step.as_ref().is_some_and(is_same) {
                            flight.step = Some(GuestStep { phase, what, since: self.now });
                        }
                    }
                }
            }
            // The pool handles the others, and `Bye` needs no answer.
            _ => {}
        }
    }

    pub(super) fn handle_exit(&mut self, worker: WorkerId, exit: WorkerExit) {
        let WorkerExit { started, blame, how } = exit;
        // A stop ends all workers: their deaths are no failures.
        if !self.stop.is_stopping || blame.is_some() {
            let trials = self.named(&started);
            let ran = if trials.is_empty() { trials } else { format!(" while it ran {trials}") };
            self.log_worker(&format!("worker {} {how}{ran}", self.pool.shown(worker)));
        }
        let checks = self.checks.take_if(|(_, ready)| ready.worker == worker);
        if checks.is_some() {
            // The next worker describes the plugins and checks the inputs again.
            self.described = None;
        }
        let flights = self.in_flight.all.values_mut();
        for flight in flights.filter(|flight| flight.worker == worker) {
            flight.lost = Some((monotonic(), how.clone()));
        }
        let paused_at = self.pause.at;
        let started = started.iter().filter(|word| {
            let flight = self.in_flight.at(worker, TaskId(word.task));
            let lost = flight.and_then(|flight| flight.lost.as_mut());
            lost.is_some_and(|(since, _)| {
                // Workers shift the times of their slots only after a pause.
                let paused =
                    paused_at.map_or(0, |at| monotonic().saturating_sub(at.max(word.started)));
                *since = word.started + paused;
                true
            })
        });
        let started: Vec<_> = started.map(|word| TaskId(word.task)).collect();
        let flights = &self.in_flight.all;
        let policy = |task| flights.get(&task).map(|flight| &flight.policy);
        let effects = self.schedule.apply(self.now, |schedule| {
            schedule.worker_lost(worker, &started, blame, &policy);
        });
        self.carry_out(effects, None);
        let flights = &mut self.in_flight.all;
        flights.retain(|_, flight| flight.worker != worker);
    }

    pub(super) fn report(&mut self, worker: WorkerId, head: &ReportHead, mut body: Vec<u8>) {
        let (Some(run), Some(flight)) = (&self.run, self.in_flight.at(worker, head.task)) else {
            return;
        };
        let prepared = &self.plan.providers[usize::from(flight.task.provider)];
        let provider = &prepared.provider;
        if flight.is_judged() {
            match flight.check_judged(head, &body, &self.plan.providers, run.session) {
                Ok(report) => self.judged(worker, head, report),
                Err(fault) => self.fault(worker, Some(head.task), fault),
            }
            return;
        }
        match flight.check(head, &body, &provider.limits, run.session) {
            Ok((row, (log, artifacts))) => {
                let (outcome, has_denied) = (row.outcome, !row.denied.is_empty());
                debug!(worker = worker.0, trial = %row.trial, attempt = row.attempt, %outcome, ms = row.duration_ms, "report");
                let policy = &flight.policy;
                let grader = flight.next_graders(&row, &self.plan.providers).next();
                let effects = self.schedule.apply(self.now, |schedule| {
                    schedule.report(worker, head.task, &row, grader, head.host_fault, policy);
                });
                let is_answering =
                    prints_answer(prepared, &row) && self.answering.insert(flight.task.provider);
                body.truncate(head.row_bytes as usize);
                let report = CheckedReport {
                    outcome,
                    has_denied,
                    row: body,
                    ungraded: None,
                    log,
                    artifacts,
                };
                self.carry_out(effects, Some(report));
                self.in_flight.all.remove(&head.task);
                if is_answering {
                    let name = &provider.name;
                    self.notice(&format!("provider `{name}` prints answers of the JSON protocol, which are not read: set its `protocol = \"json\"`"));
                }
            }
            Err(fault) => self.fault(worker, Some(head.task), fault),
        }
    }

    /// Handles the new row of a stored one.
    fn judged(&mut self, worker: WorkerId, head: &ReportHead, report: JudgedReport) {
        let Some(flight) = self.in_flight.at(worker, head.task) else { return };
        let row = match report.row() {
            Ok(row) => row,
            Err(fault) => return self.fault(worker, Some(head.task), fault),
        };
        let policy = &flight.policy;
        let grader = flight.next_graders(&row, &self.plan.providers).next();
        let effort = report.effort(&row, head);
        debug!(worker = worker.0, trial = %row.trial, outcome = %row.outcome, "judged");
        let effects = self.schedule.apply(self.now, |schedule| {
            schedule.report(worker, head.task, &effort, grader, head.host_fault, policy);
        });
        self.carry_out(effects, Some(report.into()));
        self.in_flight.all.remove(&head.task);
    }

    pub(super) fn add_piece(&mut self, worker: WorkerId, task: TaskId, index: u32, piece: &[u8]) {
        let (Some(run), Some(flight)) = (&self.run, self.in_flight.at(worker, task)) else {
            return;
        };
        let is_first = flight.has_no_drafts();
        let provider = &self.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.add_piece(index, piece, limits, || run.owned.artifact_draft()) {
            Ok(Ok(())) if is_first && self.in_flight.has_other_drafts(worker, task) => {
                self.fault(worker, Some(task), "sent artifacts of two tasks at once".to_owned());
            }
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.fault(worker, Some(task), fault),
            Err(error) => match self.in_flight.most_drafts() {
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

    fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        self.pool.fault(worker, task, fault);
        self.in_flight.close_drafts(worker);
    }

    pub(super) fn receive_ack(&mut self, ack: Ack) {
        match ack {
            Ack::Written { lines, at, .. } => {
                self.receive_lines(at, &lines);
                if let Some(run) = &self.run {
                    let (bytes, rows) = run.writer.pending();
                    self.pool.hold_back(bytes > MAX_PENDING);
                    if self.pause.at.is_some() {
                        // Run time does not advance, so no timer becomes due.
                        self.timers.live = self.now.0;
                    }
                    self.apply(|schedule| schedule.acked(rows, bytes));
                }
            }
            Ack::Failed(error) => self.storage_failed(error.to_string()),
        }
    }

    /// Counts rows that are on disk, the first one at offset `at`.
    pub(super) fn receive_lines(&mut self, mut at: u64, mut lines: &[u8]) {
        while !lines.is_empty()
            && let Some((trial, row)) = self.unacked.pop_front()
        {
            let mut rest = lines;
            // Reading from memory does not fail.
            let length = rest.skip_until(b'\n').unwrap_or(lines.len());
            let line = lines[..length].trim_ascii_end();
            self.count_row(trial, row, line);
            if let Some(place) = self.ungraded.get_mut(&trial)
                && row.outcome == Outcome::Ungraded
            {
                (place.at, place.bytes) = (at, line.len() as u32);
                self.apply(|schedule| schedule.is_on_disk(trial));
            }
            at += length as u64;
            lines = rest;
        }
    }

    /// Counts and reports a row that is on disk.
    pub(super) fn count_row(&mut self, trial: u64, row: RowFacts, line: &[u8]) {
        self.fold.add(trial, row);
        self.observer.event(&RunEvent::Row {
            trial,
            row,
            line,
            counts: &self.fold.counts(),
            planned: self.plan.suite.trials(),
        });
    }

    pub(super) fn storage_failed(&mut self, message: String) {
        self.failure.get_or_insert(message);
        // No more rows are acknowledged, and workers must be able to end.
        self.pool.hold_back(false);
        self.apply(Schedule::storage_failed);
    }

    /// Creates the report of a lost attempt.
    pub(super) fn report_for(&self, task: TaskId, reason: LostReason) -> Option<CheckedReport> {
        let flight = self.in_flight.all.get(&task)?;
        let (since, how) = flight.lost.clone().unwrap_or_else(|| {
            // The worker neither answered nor exited: the slot has the start.
            let mut slots = self.pool.slots();
            let word = slots.find(|word| word.task == task.0);
            (word.map_or_else(monotonic, |word| word.started), String::new())
        });
        let took = Micros(monotonic().saturating_sub(since));
        if flight.is_judged() {
            let error = flight.lost_error(reason, &how);
            let (took, session) = (took.into(), self.run.as_ref()?.session);
            let providers = &self.plan.providers;
            let report = flight.lost_judged(providers, reason.outcome(), error, took, session);
            return Some(report.ok()?.into());
        }
        let started_at = RunTime((self.now - RunTime(took.0)).0);
        let suspended = self.clock.suspended_since(started_at);
        Some(CheckedReport {
            outcome: reason.outcome(),
            has_denied: false,
            row: flight.row(reason, [took.into(), suspended], &how),
            ungraded: None,
            log: None,
            artifacts: Vec::new(),
        })
    }

    pub(super) fn write(
        &mut self,
        task: TaskId,
        mut report: CheckedReport,
        is_final: bool,
        flaky: bool,
    ) {
        let (Some(run), Some(flight)) = (&mut self.run, self.in_flight.all.get(&task)) else {
            return;
        };
        if let Some(row) = report.ungraded.take_if(|_| !is_final) {
            (report.row, report.outcome) = (row, Outcome::Ungraded);
        }
        if report.outcome == Outcome::Ungraded {
            let had_bad = flight.can_be_flaky();
            self.ungraded.insert(
                flight.trial,
                RowPlace { had_bad, is_ungraded: true, ..RowPlace::default() },
            );
        } else {
            self.ungraded.remove(&flight.trial);
        }
        let flaky = flaky && flight.can_be_flaky();
        let mut tail = flight.tail(is_final, flaky, run.session);
        let is_judged = tail.judged.is_some();
        if !is_judged {
            tail.worker = self.pool.name(flight.worker).map(ToString::to_string);
        }
        let is_stopped = report.outcome == Outcome::Stopped && self.stop.is_stopping;
        tail.stopped_by = self.stop.by.clone().filter(|_| is_stopped);
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
            seq,
        };
        self.unacked.push_back((flight.trial, facts));
    }
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
