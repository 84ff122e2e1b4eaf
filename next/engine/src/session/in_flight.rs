//! [`InFlight`]: the attempts in flight. Tasks are made here, and what is reported of them is checked and becomes rows.

use std::{collections::HashMap, fs::File, io, time::Duration};

use runner_model::{
    Digest, ErrorClass, Fingerprint, Limits, Outcome, Row, RowRef, RunTime, Tail, TaskId, Time,
    TrialId, WorkerId, log,
    protocol::{Line, ReportHead, Task, TaskKind},
    row::{RowError, check_row},
    test::Retries,
};
use runner_record::{RecordError, now};
use sha2::{Digest as _, Sha256};

use crate::{
    plan::{JudgedRow, Plan, TestLine},
    schedule::{Assignment, LostReason, Policy},
};

/// The attempts in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    pub(crate) all: HashMap<TaskId, InFlightTask>,
    /// The line of the test that was read last.
    line: Vec<u8>,
}

/// An attempt in flight.
pub(crate) struct InFlightTask {
    pub(crate) worker: WorkerId,
    pub(crate) task: Task,
    /// The trial's index in the plan.
    pub(crate) trial: u64,
    pub(crate) policy: Policy,
    execution: Fingerprint,
    judgement: Fingerprint,
    /// What it judges again.
    judged: Option<JudgedRow>,
    /// Artifacts that came in pieces so far, by their index in the row.
    drafts: HashMap<u32, Draft>,
    /// Bytes of all artifacts so far.
    bytes: u64,
    /// What its worker says that it does, not checked.
    pub(crate) word: String,
    /// When it began (by the monotonic clock, in microseconds) and how its worker ended, if that is gone.
    pub(crate) lost: Option<(u64, String)>,
}

struct Draft {
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// A report that was checked: its row, a line for `logs.jsonl`, and its artifacts.
pub(crate) type Checked<'a> = (RowRef<'a>, Option<Vec<u8>>, Vec<(Digest, File)>);

/// What a report becomes if it is to be written.
pub(crate) struct CheckedReport {
    pub(crate) outcome: Outcome,
    pub(crate) has_denied: bool,
    pub(crate) row: Vec<u8>,
    pub(crate) log: Option<Vec<u8>>,
    pub(crate) artifacts: Vec<(Digest, File)>,
}

impl InFlight {
    /// Makes the task of an attempt that is sent to a worker, and returns it with its test's line.
    ///
    /// # Errors
    ///
    /// A suite that cannot be read.
    pub(crate) fn add(
        &mut self,
        plan: &Plan,
        now: RunTime,
        worker: WorkerId,
        assignment: &Assignment,
    ) -> io::Result<(Task, &[u8])> {
        let planned = plan.suite.trial(assignment.trial);
        plan.suite.line(planned.test, &mut self.line)?;
        let test = TestLine::read(&self.line)?;
        let provider = &plan.providers[usize::from(planned.provider)].provider;
        let (timeout, timeout_rule) = test.deadline(now, &provider.limits, assignment);
        let mut task = Task {
            id: assignment.task,
            trial: TrialId {
                test: test.id.clone(),
                provider: provider.name.clone(),
                repeat: planned.repeat,
            },
            provider: planned.provider,
            attempt: assignment.attempt,
            seed: plan.scenario.run.seed,
            timeout,
            timeout_rule,
            kind: TaskKind::Run,
            line: Line::Bytes(self.line.len() as u32),
            row_bytes: 0,
        };
        let (execution, judgement) = test.fingerprints(&plan.fingerprints, planned.provider);
        let mut policy = test.policy()?;
        let judged = plan.rejudge.row(assignment.trial);
        if let Some(row) = &judged {
            // It is the attempt that was made, and another judgement of it comes to the same.
            task.kind = TaskKind::Judge;
            task.attempt = row.attempt;
            task.row_bytes = row.bytes.len() as u32;
            policy = Policy { retries: Retries::default(), trial_timeout: None };
        }
        let flight = InFlightTask {
            worker,
            task: task.clone(),
            trial: assignment.trial,
            execution,
            judgement,
            policy,
            judged: judged.as_ref().map(|row| row.judged),
            drafts: HashMap::new(),
            word: String::new(),
            bytes: 0,
            lost: None,
        };
        self.all.insert(assignment.task, flight);
        if let Some(row) = judged {
            self.line.extend(row.bytes);
        }
        Ok((task, &self.line))
    }

    /// An attempt that is in flight at this worker; reports of others are ignored.
    pub(crate) fn at(&mut self, worker: WorkerId, task: TaskId) -> Option<&mut InFlightTask> {
        let flight = self.all.get_mut(&task);
        flight.filter(|flight| flight.worker == worker)
    }
}

impl InFlightTask {
    /// Takes a piece of an artifact; `draft` makes an empty file for a new one. The outer error is the disk's, the inner one
    /// says what the worker did.
    pub(crate) fn add_piece(
        &mut self,
        index: u32,
        piece: &[u8],
        limits: &Limits,
        draft: impl FnOnce() -> Result<File, RecordError>,
    ) -> Result<Result<(), String>, String> {
        // Escapes can make a large output longer as JSON.
        let most = limits.artifacts.saturating_add(limits.reply.saturating_mul(8));
        self.bytes += piece.len() as u64;
        if self.bytes > most || u64::from(index) > limits.artifact_files {
            return Ok(Err("sent more artifacts than the limits allow".to_owned()));
        }
        let draft = match self.drafts.entry(index) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Draft {
                file: draft().map_err(|error| error.to_string())?,
                hash: Sha256::new(),
                bytes: 0,
            }),
        };
        io::Write::write_all(&mut draft.file, piece)
            .map_err(|error| format!("cannot write an artifact: {error}"))?;
        draft.hash.update(piece);
        draft.bytes += piece.len() as u64;
        Ok(Ok(()))
    }

    /// Checks a report.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence that begins with its worker.
    pub(crate) fn check<'a>(
        &mut self,
        head: &ReportHead,
        body: &'a [u8],
        limits: &Limits,
        session: u32,
    ) -> Result<Checked<'a>, String> {
        let bad = |what: &dyn std::fmt::Display| format!("reported {what}");
        let (row, log) = body.split_at(head.row_bytes as usize);
        let row = check_row(row, &self.task, limits).map_err(|error| bad(&error))?;
        if head.host_fault.is_some() && row.outcome != Outcome::Stopped {
            return Err(bad(&"a fault of the machine and an outcome"));
        }
        let task = &self.task;
        let log = (!log.is_empty()).then(|| log::line(log, &task.trial, task.attempt, session));
        let log = log.transpose().map_err(|error| bad(&error))?;
        let mut artifacts = Vec::new();
        for (index, artifact) in (0..).zip(&row.artifacts) {
            let draft = self.drafts.remove(&index);
            let draft = draft.ok_or_else(|| bad(&"an artifact that it did not send"))?;
            let digest = Digest(draft.hash.finalize().into());
            if (digest, draft.bytes) != (artifact.sha256, artifact.bytes) {
                return Err(bad(&"an artifact that it did not send"));
            }
            artifacts.push((digest, draft.file));
        }
        if !self.drafts.is_empty() {
            return Err(bad(&"an artifact that its row does not have"));
        }
        Ok((row, log, artifacts))
    }

    /// Tells whether it can have passed after an attempt that did not.
    pub(crate) fn can_be_flaky(&self) -> bool {
        self.judged.is_none_or(|judged| judged.had_bad)
    }

    /// What the coordinator adds to a row.
    pub(crate) fn tail(&self, is_final: bool, flaky: bool, session: u32) -> Tail {
        Tail {
            fingerprint: self.execution,
            judgement_fingerprint: self.judgement,
            judged: self.judged.map(|judged| judged.seq),
            worker: None,
            stopped_by: None,
            logs: self.judged.and_then(|judged| judged.logs),
            flaky,
            r#final: is_final,
            session,
            // The writer numbers rows.
            seq: 0,
        }
    }

    /// The row of an attempt whose worker did not answer: how long it went on, how long it was suspended beside that, and in
    /// `why` more.
    pub(crate) fn row(&self, reason: LostReason, took: [Duration; 2], why: &str) -> Vec<u8> {
        let started_ms = now().as_millis() - took.iter().sum::<Duration>().as_millis() as i64;
        let rule = self.task.timeout_rule.code();
        let (class, code, message) = match reason {
            LostReason::Lost => {
                (None, "lost", format!("its worker {why}; the attempt is made again"))
            }
            LostReason::Stopped => (
                None,
                "stopped",
                "the run was stopped, and the guest did not end in time".to_owned(),
            ),
            LostReason::Stuck => (
                None,
                rule,
                format!(
                    "its `{rule}` was over, and the guest was still inside one instruction a second later"
                ),
            ),
            LostReason::Crash => (
                Some(ErrorClass::Crash),
                "crash",
                format!("its worker ran nothing else and died twice; it {why}"),
            ),
        };
        let [took, suspended] = took;
        let started_at = Time::from_millis(started_ms);
        let row = Row {
            outcome: reason.outcome(),
            error: Some(RowError {
                class,
                code: code.into(),
                message: message.into(),
                retry_after_ms: None,
                details: None,
            }),
            ..Row::new(&self.task.trial, self.task.attempt, started_at, took, suspended)
        };
        // Names and texts always have JSON.
        serde_json::to_vec(&row).unwrap_or_default()
    }
}

impl LostReason {
    /// What the attempt came to.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Lost | Self::Stopped => Outcome::Stopped,
            Self::Stuck => Outcome::Timeout,
            Self::Crash => Outcome::Error,
        }
    }
}

#[cfg(test)]
#[path = "../tests/in_flight.rs"]
mod tests;
