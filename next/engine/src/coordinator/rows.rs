//! The way of a row: from a report, or from an attempt that was not answered, to the writer, and back once it is on disk.

use std::{fs::File, io::BufRead as _, rc::Rc};

use runner_model::{
    Digest, Micros, Outcome, Places, RunTime, TaskId, WorkerId,
    protocol::{ReportHead, TaskKind},
    row::Actor,
};
use runner_record::{Ack, RowFacts};

use super::Coordinator;
use crate::{
    RunEvent,
    clock::monotonic,
    flights::Checked,
    schedule::{Assignment, Event, Fate},
};

/// What a report becomes if it is to be written.
pub(super) struct Report {
    pub(super) task: TaskId,
    pub(super) outcome: Outcome,
    pub(super) has_denied: bool,
    pub(super) row: Vec<u8>,
    pub(super) log: Option<Vec<u8>>,
    pub(super) artifacts: Vec<(Digest, File)>,
}

impl Coordinator<'_> {
    pub(super) fn report(&mut self, worker: WorkerId, head: &ReportHead, mut body: Vec<u8>) {
        let (Some(run), Some(flight)) = (&self.run, self.flights.at(worker, head.task)) else {
            return;
        };
        let provider = &self.begin.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.check(head, &body, limits, run.session) {
            Ok(Checked {
                mut row,
                log,
                artifacts,
            }) => {
                // Budgets were taken from for it when it was made.
                if flight.task.kind == TaskKind::Judge {
                    row.metrics.clear();
                }
                let (outcome, policy) = (row.outcome, Rc::clone(&flight.policy));
                let has_denied = !row.denied.is_empty();
                let event = Event::Report {
                    worker,
                    task: head.task,
                    row: &row,
                    host_fault: head.host_fault,
                    policy: &policy,
                };
                self.begin.schedule.on(self.now, event, &mut self.effects);
                body.truncate(head.row_bytes as usize);
                self.act(Some(Report {
                    task: head.task,
                    outcome,
                    has_denied,
                    row: body,
                    log,
                    artifacts,
                }));
                self.flights.remove(head.task);
            }
            Err(fault) => self.begin.crew.fault(worker, Some(head.task), fault),
        }
    }

    pub(super) fn add_piece(&mut self, worker: WorkerId, task: TaskId, index: u32, piece: &[u8]) {
        let (Some(run), Some(flight)) = (&self.run, self.flights.at(worker, task)) else {
            return;
        };
        let provider = &self.begin.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.add_piece(index, piece, limits, || run.owned.artifact_draft()) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.begin.crew.fault(worker, Some(task), fault),
            Err(error) => self.storage_failed(error),
        }
    }

    pub(super) fn take_ack(&mut self, ack: Ack) {
        match ack {
            Ack::Written { lines, .. } => {
                self.take_lines(&lines);
                if let Some(run) = &self.run {
                    let (bytes, rows) = run.writer.pending();
                    self.on(Event::Acked { rows, bytes });
                }
            }
            Ack::Failed(error) => self.storage_failed(error.to_string()),
        }
    }

    pub(super) fn take_lines(&mut self, mut lines: &[u8]) {
        while !lines.is_empty()
            && let Some((trial, row)) = self.handed.pop_front()
        {
            let mut rest = lines;
            // Memory can be read.
            let length = rest.skip_until(b'\n').unwrap_or(lines.len());
            self.written(trial, row, lines[..length].trim_ascii_end());
            lines = rest;
        }
    }

    /// Counts and tells a row that is on disk.
    pub(super) fn written(&mut self, trial: u64, row: RowFacts, line: &[u8]) {
        self.begin.fold.add(trial, row);
        self.begin.observer.event(&RunEvent::Row {
            row,
            line,
            counts: &self.begin.fold.counts(),
            planned: self.begin.plan.suite.trials(),
        });
    }

    pub(super) fn storage_failed(&mut self, message: String) {
        self.failure.get_or_insert(message);
        self.on(Event::StorageFailed);
    }

    /// Who has cut an attempt of this outcome short.
    pub(super) fn cut_by(&self, outcome: Outcome) -> Option<Actor> {
        let is_cut = outcome == Outcome::Stopped && self.is_stopping;
        self.stopped_by.clone().filter(|_| is_cut)
    }

    pub(super) fn write(&mut self, report: Report, is_final: bool, flaky: bool) {
        let cut_by = self.cut_by(report.outcome);
        if let (Some(run), Some(flight)) = (&mut self.run, self.flights.get(report.task)) {
            let flaky = flaky && flight.can_be_flaky();
            let mut tail = flight.tail(is_final, flaky, run.session);
            tail.stopped_by = cut_by;
            let seq = run
                .writer
                .row(report.row, tail, report.log, report.artifacts);
            let facts = RowFacts {
                has_denied: report.has_denied,
                ..flight.facts(report.outcome, is_final, flaky, seq)
            };
            self.handed.push_back((flight.trial, facts));
        }
    }

    pub(super) fn write_for(&mut self, assignment: &Assignment, fate: Fate, is_final: bool) {
        let cut_by = self.cut_by(fate.outcome());
        let (Some(run), Some(flight)) = (&mut self.run, self.flights.get(assignment.task)) else {
            return;
        };
        let (began, how) = flight.lost.clone().unwrap_or_else(|| {
            let mut slots = self.begin.crew.slots();
            let word = slots.find(|word| word.task == assignment.task.0);
            (
                word.map_or_else(monotonic, |word| word.began),
                String::new(),
            )
        });
        let took = Micros(monotonic().saturating_sub(began));
        let since = RunTime((self.now - RunTime(took.0)).0);
        let suspended = self.begin.clock.suspended_since(since);
        let row = flight.row(fate, [took.into(), suspended], &how);
        let mut tail = flight.tail(is_final, false, run.session);
        tail.stopped_by = cut_by;
        let seq = run.writer.row(row, tail, None, Vec::new());
        let facts = flight.facts(fate.outcome(), is_final, false, seq);
        self.handed.push_back((flight.trial, facts));
    }
}
