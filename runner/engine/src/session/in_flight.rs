//! [`TasksInFlight`]: the attempts in flight. Creates their tasks, checks their reports, and creates the rows of lost attempts.

use std::{collections::HashMap, fs::File, io, sync::Arc, time::Duration};

use runner_model::protocol::{DIVERGED, INTERRUPTED_CALL, Recorded, ReportHead, Task, TaskKind};
use runner_model::provider::Provider;
use runner_model::row::{Artifact, Calls, FailureKinds, RowError, check_row, read_line};
use runner_model::{
    Digest, ErrorClass, Fingerprint, GuestPhase, Limits, Micros, Outcome, Row, RowRef, RunTime,
    TaskId, Time, TrialId, WorkerId, log, recent_output::RecentOutput,
};
use runner_record::{JournalKey, RecordError, RunDir, now};
use sha2::{Digest as _, Sha256};

use crate::plan::{Plan, StoredRow, TestGrader, TestLine, unanswered};
use crate::schedule::{Assignment, LostReason, Next, Policy};
use crate::workers::{Pool, SessionFile, max_artifact_bytes, max_artifacts};

/// The attempts in flight: sent to a worker and not ended, running or queued there. The schedule decides which these
/// are and keeps its own data in `SentTask`; the link keeps their timeouts.
#[derive(Default)]
pub(crate) struct TasksInFlight {
    pub(crate) all: HashMap<TaskId, InFlightTask>,
    /// Buffer for the line of the current test.
    line: Vec<u8>,
}

/// An attempt in flight.
pub(crate) struct InFlightTask {
    pub(crate) worker: WorkerId,
    pub(crate) task: Task,
    /// The trial's index in the plan.
    pub(crate) trial: u64,
    pub(crate) policy: Policy,
    pub(super) execution: Fingerprint,
    pub(super) judgement: Fingerprint,
    /// Artifacts of its stored row in the session's folder, which are removed when this is dropped.
    pub(super) held: Vec<Arc<SessionFile>>,
    /// Base of its workspace. `None` without a workspace.
    base: Option<Option<Digest>>,
    /// The row that is judged or graded. `None` if the provider is called.
    pub(super) stored: Option<StoredRow>,
    /// The trial's attempt.
    pub(crate) attempt: u32,
    /// The test's graders.
    pub(super) graders: Vec<TestGrader>,
    /// Whether the workspace of an attempt that was cut off decides about it.
    pub(super) judges_partial: bool,
    /// Received artifacts, by their index in the row.
    drafts: HashMap<u32, Draft>,
    /// Bytes of all drafts.
    bytes: u64,
    /// Pieces of an entry for the journal, whose last one is missing.
    pub(super) entry: Vec<u8>,
    /// Whether the guest's start is recorded.
    pub(super) is_recorded: bool,
    /// Last report of the guest's step. `None` before the first.
    pub(crate) step: Option<GuestStep>,
    /// The last output that its worker has sent, unchecked text of the guest.
    pub(crate) output: Option<RecentOutput>,
    /// Start by the monotonic clock, in microseconds, and the end of the worker as the rest of a sentence. `None` while the
    /// worker lives.
    pub(crate) lost: Option<(u64, String)>,
}

/// The step of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestStep {
    pub(crate) phase: GuestPhase,
    /// Text of the guest or its host call, unchecked.
    pub(crate) what: String,
    /// Run time of the first report.
    pub(crate) since: RunTime,
}

struct Draft {
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// The line of a checked report for `logs.jsonl`, and its artifacts.
pub(crate) type Attached = (Option<Vec<u8>>, Vec<(Digest, File)>);

/// A checked report, ready for the writer.
pub(crate) struct CheckedReport {
    pub(crate) outcome: Outcome,
    pub(crate) has_denied: bool,
    pub(crate) service_failed: bool,
    pub(crate) row: Vec<u8>,
    /// The row if a failed grader is called again.
    pub(crate) ungraded: Option<Vec<u8>>,
    /// The row of an attempt that was cut off, and its outcome, if no retry follows and its workspace decides.
    pub(crate) decided: Option<(Vec<u8>, Outcome)>,
    pub(crate) log: Option<Vec<u8>>,
    pub(crate) artifacts: Vec<(Digest, File)>,
}

impl TasksInFlight {
    /// Creates the task of an assignment. `stored` is the row to judge or to grade, `recorded` the journal of an interrupted
    /// attempt. Returns the task with its body: the test's line, then the stored row if there is one.
    ///
    /// # Errors
    ///
    /// The suite cannot be read.
    pub(crate) fn add(
        &mut self,
        plan: &Plan,
        now: RunTime,
        worker: WorkerId,
        assignment: &Assignment,
        stored: Option<StoredRow>,
        recorded: Option<Recorded>,
    ) -> io::Result<(Task, &[u8])> {
        let planned = plan.suite.trial(assignment.trial);
        plan.suite.line(planned.test, &mut self.line)?;
        let test = TestLine::read(&self.line)?;
        let provider = &plan.providers[usize::from(planned.provider)].provider;
        let used = recorded.map_or(Micros(0), |recorded| recorded.used);
        let (timeout, timeout_rule) =
            test.deadline(now, &provider.limits, assignment.trial_started, used);
        let trial = TrialId {
            test: test.id.clone(),
            provider: provider.name.clone(),
            repeat: planned.repeat,
        };
        let mut task = Task {
            provider: planned.provider,
            attempt: assignment.attempt,
            tries: assignment.tries,
            seed: plan.scenario.run.seed,
            timeout_rule,
            recorded,
            ..Task::new(assignment.task, trial, timeout, self.line.len())
        };
        let (execution, judgement) = test.fingerprints(&plan.fingerprints, planned.provider)?;
        let graders = plan.graders_of(&test)?;
        let reads_workspace = graders.iter().any(|grader| grader.has_workspace);
        let judges_partial = test.judges_partial(reads_workspace)?;
        let mut policy = test.policy(provider)?;
        let mut attempt = assignment.attempt;
        if let Some(row) = &stored {
            // It keeps the number of the old attempt. A retry would judge the same output again.
            task.kind = TaskKind::Judge;
            task.attempt = row.attempt;
            task.row_bytes = row.bytes.len() as u32;
            attempt = row.attempt;
            policy = Policy::default();
        }
        if let (Some(grader), Some(row)) = (assignment.grader, &stored) {
            let provider = &plan.providers[usize::from(grader)].provider;
            let attempt = row.asked(&provider.name) + 1;
            let grading = plan.ask_grader(&mut task, grader, attempt, judgement)?;
            task.timeout.0 = task.timeout.0.saturating_sub(used.0);
            policy.retries = grading.retries.clone().unwrap_or_else(|| provider.default_retries());
            let answered = read_line(&row.line).map_err(io::Error::other)?;
            let mut others = unanswered(&graders, &answered).map(|other| other.place);
            policy.next_grader = others.find(|other| *other != grader);
        }
        let base = provider.workspace.as_ref().map(|_| test.base(planned.provider));
        policy.unexpected =
            plan.known.unexpected(&task.trial.test, &task.trial.provider, lost_kinds);
        if let Some(row) = &stored {
            self.line.extend(&row.bytes);
        }
        let flight = InFlightTask {
            worker,
            task: task.clone(),
            trial: assignment.trial,
            execution,
            judgement,
            policy,
            held: Vec::new(),
            base,
            stored,
            attempt,
            graders,
            judges_partial,
            drafts: HashMap::new(),
            entry: Vec::new(),
            is_recorded: false,
            step: None,
            output: None,
            bytes: 0,
            lost: None,
        };
        self.all.insert(assignment.task, flight);
        Ok((task, &self.line))
    }

    /// Keeps artifacts in the session's folder until a task has ended.
    pub(super) fn keep(&mut self, task: TaskId, artifacts: Vec<Arc<SessionFile>>) {
        if let Some(flight) = self.all.get_mut(&task) {
            flight.held = artifacts;
        }
    }

    /// Returns whether the worker sends artifacts of another task. It must report that task first.
    pub(crate) fn has_other_drafts(&self, worker: WorkerId, task: TaskId) -> bool {
        let of_worker = |(id, flight): (&TaskId, &InFlightTask)| {
            *id != task && flight.worker == worker && !flight.drafts.is_empty()
        };
        self.all.iter().any(of_worker)
    }

    /// Returns the worker that has the most artifacts open. `None` if no artifact is open.
    pub(crate) fn most_drafts(&self) -> Option<WorkerId> {
        let most = self.all.values().max_by_key(|flight| flight.drafts.len());
        most.filter(|flight| !flight.drafts.is_empty()).map(|flight| flight.worker)
    }

    /// Closes the artifacts of a worker. Another worker needs the open files.
    pub(crate) fn close_drafts(&mut self, worker: WorkerId) {
        let of_worker = self.all.values_mut().filter(|flight| flight.worker == worker);
        of_worker.for_each(|flight| flight.drafts.clear());
    }

    /// Returns a task if it was sent to this worker. Workers must not report on tasks of others.
    pub(crate) fn at(&mut self, worker: WorkerId, task: TaskId) -> Option<&mut InFlightTask> {
        let flight = self.all.get_mut(&task);
        flight.filter(|flight| flight.worker == worker)
    }
}

/// Gives workers what an attempt has left in its workspace, and its transcript, if its test or a grader needs it.
///
/// # Errors
///
/// A row, a test or an artifact cannot be read, or the temporary folder cannot be written.
pub(super) fn left_of(
    plan: &Plan,
    run: &RunDir,
    pool: &mut Pool,
    assignment: &Assignment,
    stored: &StoredRow,
) -> io::Result<Vec<Arc<SessionFile>>> {
    let row = read_line(&stored.line).map_err(io::Error::other)?;
    let [list, contents] = row.changes();
    let transcript = row.transcript_artifact();
    if list.or(transcript).is_none() {
        return Ok(Vec::new());
    }
    let (needs_workspace, needs_transcript) = match assignment.grader {
        Some(grader) => {
            let grading = &plan.providers[usize::from(grader)].provider.grading;
            (grading.as_ref().is_some_and(|grading| grading.workspace.is_some()), false)
        }
        None => {
            let mut line = Vec::new();
            plan.suite.line(plan.suite.trial(assignment.trial).test, &mut line)?;
            let expect = TestLine::read(&line)?.expect()?;
            (expect.workspace.is_some(), expect.transcript.is_some_and(|one| one.needs_steps()))
        }
    };
    let left = [list, contents].into_iter().flatten().filter(|_| needs_workspace);
    let left = left.chain(transcript.filter(|_| needs_transcript));
    let mut files = Vec::new();
    for Artifact { sha256, .. } in left {
        let open = || run.artifact(sha256).map_err(io::Error::other);
        files.extend(pool.put_artifact(*sha256, open)?);
    }
    Ok(files)
}

impl InFlightTask {
    /// Returns whether no artifact has been received.
    pub(crate) fn has_no_drafts(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Adds a piece of an artifact. `draft` creates the file of a new one. The outer error is the disk's, the inner error a
    /// fault of the worker.
    pub(crate) fn add_piece(
        &mut self,
        index: u32,
        piece: &[u8],
        limits: &Limits,
        draft: impl FnOnce() -> Result<File, RecordError>,
    ) -> Result<Result<(), String>, RecordError> {
        let bytes = self.bytes + piece.len() as u64;
        if bytes > max_artifact_bytes(limits) || u64::from(index) >= max_artifacts(limits) {
            return Ok(Err("sent more artifacts than the limits allow".to_owned()));
        }
        let draft = match self.drafts.entry(index) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Draft { file: draft()?, hash: Sha256::new(), bytes: 0 })
            }
        };
        io::Write::write_all(&mut draft.file, piece).map_err(|source| RecordError::Io {
            what: "write an artifact of",
            path: self.task.trial.to_string().into(),
            source,
        })?;
        draft.hash.update(piece);
        draft.bytes += piece.len() as u64;
        self.bytes = bytes;
        Ok(Ok(()))
    }

    /// Returns the base whose copy the task of a row has used, and whether its call did not end by itself. `None` if it has used
    /// none. A grader that could not judge may have found no copy.
    pub(super) fn used_base(
        &self,
        row: &RowRef<'_>,
        provider: &Provider,
    ) -> Option<(Digest, bool)> {
        let left = row.workspace.as_ref()?;
        let is_used = match self.task.kind {
            TaskKind::Run => true,
            TaskKind::Grade => {
                let grading = provider.grading.as_ref()?;
                grading.workspace.is_some() && row.outcome != Outcome::Error
            }
            TaskKind::Judge | TaskKind::Check => false,
        };
        Some((left.base?, self.task.kind == TaskKind::Run && left.partial)).filter(|_| is_used)
    }

    /// Returns the key of the journal of the provider's attempt, or of that of the grader.
    pub(super) fn journal(&self) -> JournalKey {
        let mut graders = self.graders.iter().filter(|_| self.task.kind == TaskKind::Grade);
        let grader = graders.find(|grader| grader.place == self.task.provider);
        let grader = grader.map(|grader| (grader.name.clone(), self.task.attempt));
        JournalKey { trial: self.trial, attempt: self.attempt, grader }
    }

    /// Checks the report of any task. `calls` are those that its journal has. `decide` gets the task, the new row, the row as the
    /// schedule needs it, and the next step.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(super) fn receive<T>(
        &mut self,
        head: &ReportHead,
        mut body: Vec<u8>,
        limits: &Limits,
        session: u32,
        calls: Option<Calls>,
        decide: impl FnOnce(&Self, &RowRef<'_>, &RowRef<'_>, Next) -> T,
    ) -> Result<(CheckedReport, T), String> {
        if self.is_judged() {
            let report = self.check_judged(head, &body, session, calls)?;
            let row = report.row()?;
            let next = self.next(&row, false);
            let decision = decide(self, &row, &report.effort(&row, head), next);
            return Ok((report.into(), decision));
        }
        let (row, (log, artifacts)) = self.check(head, &body, limits, session)?;
        let is_stopped = row.outcome == Outcome::Stopped;
        self.check_calls(is_stopped, row.error.as_ref(), row.calls, calls)?;
        let decided = self.decided(&row);
        let last = decided.as_ref().map(|bytes| serde_json::from_slice::<RowRef<'_>>(bytes));
        let last = last.transpose().map_err(|error| format!("reported no row: {error}"))?;
        let (last_row, is_decided) = (last.as_ref().unwrap_or(&row), last.is_some());
        let decision = decide(self, last_row, &row, self.next(last_row, is_decided));
        let decided_as = last_row.outcome;
        let (outcome, service_failed) = (row.outcome, row.service_failed);
        let has_denied = !row.denied.is_empty();
        body.truncate(head.row_bytes as usize);
        let report = CheckedReport {
            outcome,
            has_denied,
            service_failed,
            row: body,
            ungraded: None,
            decided: decided.map(|row| (row, decided_as)),
            log,
            artifacts,
        };
        Ok((report, decision))
    }

    /// Checks a report of the provider.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(crate) fn check<'a>(
        &mut self,
        head: &ReportHead,
        body: &'a [u8],
        limits: &Limits,
        session: u32,
    ) -> Result<(RowRef<'a>, Attached), String> {
        let bad = |what: &dyn std::fmt::Display| format!("reported {what}");
        let (row, log) = body.split_at(head.row_bytes as usize);
        let row = check_row(row, &self.task, limits).map_err(|error| bad(&error))?;
        if head.host_fault.is_some() && row.outcome != Outcome::Stopped {
            return Err(bad(&"a fault of the machine and an outcome"));
        }
        let is_right = match row.outcome {
            Outcome::Passed => self.graders.is_empty(),
            Outcome::Ungraded => !self.graders.is_empty(),
            _ => true,
        };
        if !is_right {
            return Err(bad(&"an outcome that is for its graders to decide"));
        }
        if row.workspace.is_some_and(|left| Some(left.base) != self.base) {
            return Err(bad(&"a workspace that it was not given"));
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
        Ok((row, (log, artifacts)))
    }

    /// Compares the `reported` calls of a provider's row or of a grade with those that were `kept`.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(crate) fn check_calls(
        &self,
        is_stopped: bool,
        error: Option<&RowError<'_>>,
        reported: Option<Calls>,
        kept: Option<Calls>,
    ) -> Result<(), String> {
        let code = error.map(|error| &*error.code);
        let has_diverged = is_stopped && code == Some(DIVERGED);
        // Otherwise a trial could start anew forever.
        if has_diverged && self.task.recorded.is_none() {
            return Err("reported that it differs from a journal without having one".to_owned());
        }
        let is_unused = self.task.recorded.is_some() && code == Some(INTERRUPTED_CALL);
        if is_unused && reported.is_none() {
            return Ok(());
        }
        // Interrupted attempts have no row, and those with other calls may not have read all of them.
        if reported == kept || is_stopped && (!has_diverged || reported.is_none()) {
            return Ok(());
        }
        Err("reported other calls than it has recorded".to_owned())
    }

    /// Creates the row of a lost attempt of the provider. `took` is its duration and the suspended time in addition to it, `why`
    /// the end of its worker, and `calls` those that its journal has.
    pub(crate) fn row(
        &self,
        reason: LostReason,
        took: [Duration; 2],
        why: &str,
        calls: Option<Calls>,
    ) -> Vec<u8> {
        let started_ms = now().as_millis() - took.iter().sum::<Duration>().as_millis() as i64;
        let [took, suspended] = took;
        let started_at = Time::from_millis(started_ms);
        let row = Row {
            outcome: reason.outcome(),
            error: Some(self.lost_error(reason, why)),
            calls,
            continued: self.task.recorded.map_or(0, |recorded| recorded.continued),
            ..Row::new(&self.task.trial, self.task.attempt, started_at, took, suspended)
        };
        // Serializing strings and numbers does not fail.
        serde_json::to_vec(&row).unwrap_or_default()
    }

    /// Returns the error of a lost attempt. `why` is the end of its worker.
    pub(crate) fn lost_error(&self, reason: LostReason, why: &str) -> RowError<'static> {
        let rule = self.task.timeout_rule.code();
        let (class, code, message) = match reason {
            LostReason::Lost => (None, "lost", format!("its worker {why}; the attempt runs again")),
            LostReason::Stopped => (
                None,
                "stopped",
                "the run was stopped, and the guest did not end in time".to_owned(),
            ),
            LostReason::Stuck => (
                None,
                rule,
                format!(
                    "its `{rule}` passed, and the guest was still inside one instruction a second later"
                ),
            ),
            LostReason::Crash => (
                Some(ErrorClass::Crash),
                "crash",
                format!("two workers that ran nothing else died; the last one {why}"),
            ),
        };
        RowError { class, code: code.into(), message: message.into(), ..RowError::default() }
    }
}

/// Returns the kinds of the failure of an attempt without a report.
fn lost_kinds(outcome: Outcome) -> FailureKinds {
    match outcome {
        Outcome::Error => FailureKinds::one("crash"),
        outcome => FailureKinds::one(outcome.as_str()),
    }
}

impl LostReason {
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
