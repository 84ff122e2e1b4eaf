//! The way of a row: from a report, or from an attempt that was not answered, to the writer, and back once it is on disk.

use std::io::BufRead as _;

use runner_model::{
    Micros, Outcome, Places, RunTime, TaskId, WorkerId,
    protocol::{ReportHead, TaskKind},
};
use runner_record::{Ack, RowFacts};

use super::{coordinator::Coordinator, in_flight::CheckedReport};
use crate::{
    RunEvent,
    clock::monotonic,
    schedule::{LostReason, Schedule},
};

impl Coordinator<'_> {
    pub(super) fn report(&mut self, worker: WorkerId, head: &ReportHead, mut body: Vec<u8>) {
        let (Some(run), Some(flight)) = (&self.run, self.in_flight.at(worker, head.task)) else {
            return;
        };
        let provider = &self.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.check(head, &body, limits, run.session) {
            Ok((mut row, log, artifacts)) => {
                // Budgets were taken from for it when it was made.
                if flight.task.kind == TaskKind::Judge {
                    row.metrics.clear();
                }
                let (outcome, has_denied) = (row.outcome, !row.denied.is_empty());
                let policy = &flight.policy;
                let effects = self.schedule.on(self.now, |schedule| {
                    schedule.report(worker, head.task, &row, head.host_fault, policy);
                });
                body.truncate(head.row_bytes as usize);
                let report = CheckedReport { outcome, has_denied, row: body, log, artifacts };
                self.act(effects, Some(report));
                self.in_flight.all.remove(&head.task);
            }
            Err(fault) => self.feed.pool.fault(worker, Some(head.task), fault),
        }
    }

    pub(super) fn add_piece(&mut self, worker: WorkerId, task: TaskId, index: u32, piece: &[u8]) {
        let (Some(run), Some(flight)) = (&self.run, self.in_flight.at(worker, task)) else {
            return;
        };
        let provider = &self.plan.providers[usize::from(flight.task.provider)];
        let limits = &provider.provider.limits;
        match flight.add_piece(index, piece, limits, || run.owned.artifact_draft()) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.feed.pool.fault(worker, Some(task), fault),
            Err(error) => self.storage_failed(error),
        }
    }

    pub(super) fn take_ack(&mut self, ack: Ack) {
        match ack {
            Ack::Written { lines, .. } => {
                self.take_lines(&lines);
                if let Some(run) = &self.run {
                    let (bytes, rows) = run.writer.pending();
                    self.on(|schedule| schedule.acked(rows, bytes));
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
        self.fold.add(trial, row);
        self.observer.event(&RunEvent::Row {
            row,
            line,
            counts: &self.fold.counts(),
            planned: self.plan.suite.trials(),
        });
    }

    pub(super) fn storage_failed(&mut self, message: String) {
        self.failure.get_or_insert(message);
        self.on(Schedule::storage_failed);
    }

    /// What is to be written of an attempt whose worker did not answer.
    pub(super) fn report_for(&self, task: TaskId, fate: LostReason) -> Option<CheckedReport> {
        let flight = self.in_flight.all.get(&task)?;
        let (began, how) = flight.lost.clone().unwrap_or_else(|| {
            let mut slots = self.feed.pool.slots();
            let word = slots.find(|word| word.task == task.0);
            (word.map_or_else(monotonic, |word| word.began), String::new())
        });
        let took = Micros(monotonic().saturating_sub(began));
        let since = RunTime((self.now - RunTime(took.0)).0);
        let suspended = self.clock.suspended_since(since);
        Some(CheckedReport {
            outcome: fate.outcome(),
            has_denied: false,
            row: flight.row(fate, [took.into(), suspended], &how),
            log: None,
            artifacts: Vec::new(),
        })
    }

    pub(super) fn write(
        &mut self,
        task: TaskId,
        report: CheckedReport,
        is_final: bool,
        flaky: bool,
    ) {
        let (Some(run), Some(flight)) = (&mut self.run, self.in_flight.all.get(&task)) else {
            return;
        };
        let flaky = flaky && flight.can_be_flaky();
        let mut tail = flight.tail(is_final, flaky, run.session);
        // Who has cut it short.
        let is_cut = report.outcome == Outcome::Stopped && self.stop.is_stopping;
        tail.stopped_by = self.stop.by.clone().filter(|_| is_cut);
        let is_judged = tail.judged.is_some();
        let seq = run.writer.row(report.row, tail, report.log, report.artifacts);
        let facts = RowFacts {
            outcome: report.outcome,
            attempt: flight.task.attempt,
            is_final,
            flaky,
            is_judged,
            has_denied: report.has_denied,
            seq,
        };
        self.handed.push_back((flight.trial, facts));
    }
}
