//! [`Attempt`]: one attempt, from a task and its test to a row.

use std::time::{Duration, SystemTime};
use std::{borrow::Cow, fs, io, mem, path::Path, sync::Arc};

use runner_model::protocol::{DIVERGED, INTERRUPTED_CALL, Task, TaskKind, TimeoutRule};
use runner_model::provider::{InFlight, without_noise};
use runner_model::row::{Hint, RowError};
use runner_model::test::{Expect, Test};
use runner_model::transcript::TranscriptResult;
use runner_model::{ErrorClass, HostFault, Micros, Outcome, Row, Time};
use runner_sandbox::{
    Activity, AttachedFile, Call, CallWorkspace, Ended, Ending, Instance, Journal, LeftFile,
    ListedTool, Toolbox, failure, host_fault, host_fault_reason,
};

use crate::judge::{CompiledCache, Evidence, SharedSchema, judge, judge_cut, max_tree_bytes};
use crate::left::artifacts::fit_row;
use crate::left::transcripts::{transcript_file, write_transcript};
use crate::left::workspaces::{add_changes, left_files};
use crate::{
    grade::check_flags, provider::LoadedProvider, redact_row::redact, report::AttemptResult,
    tools::AttemptTools,
};

/// A task of the kind `Run` or `Grade` with everything it needs.
pub struct Attempt<'a> {
    pub task: &'a Task,
    pub test: &'a Test<'a>,
    pub files: Vec<AttachedFile>,
    /// The schema of `expect.schema`.
    pub schema: Option<SharedSchema>,
    pub cache: &'a CompiledCache,
    /// The folder of the session's blobs.
    pub blobs: &'a Path,
    /// The workspace, or the reason why its base could not be copied. `None` without one.
    pub workspace: Option<io::Result<CallWorkspace<'a>>>,
    /// Start of a deterministic guest's clocks if the scenario does not set it. `None` for the start of the attempt.
    pub clock: Option<Time>,
    /// The journal, or the reason why the attempt cannot continue from it. `None` without one.
    pub journal: Option<Result<Journal, String>>,
}

impl Attempt<'_> {
    /// Calls the provider and judges the reply. Failures of the guest are part of the result.
    ///
    /// Uses the instance in `kept` if there is one. Afterwards `kept` holds an instance that can serve another call.
    pub async fn run(
        &self,
        provider: &LoadedProvider,
        kept: &mut Option<Instance>,
        activity: &Activity,
    ) -> AttemptResult<'static> {
        let started_at = SystemTime::now().into();
        let trial = &self.task.trial;
        let tags: Vec<String> = self.test.tags.iter().map(ToString::to_string).collect();
        let filled = provider.fill(self.test.input, trial, &self.files, |path| fs::read(path));
        let filled = filled.and_then(|filled| {
            let is_grade = self.task.kind == TaskKind::Grade;
            if is_grade {
                check_flags(&provider.settings.args, &filled)?;
            }
            Ok(filled)
        });
        let journal = self.journal.clone().transpose();
        let workspace = self.workspace.as_ref().map(Result::as_ref).transpose();
        let mut ended = match (filled, workspace, journal) {
            (Err(error), ..) => Ended::without_sandbox(Ending::Error(error)),
            (_, Err(error), _) => cannot_copy(error),
            (.., Err(reason)) => {
                let settings = provider.settings.deterministic;
                let in_flight = settings.and_then(|settings| settings.journal);
                let recorded = self.task.recorded.as_ref();
                let is_replay = recorded.is_some_and(|recorded| recorded.replayed.is_some());
                Ended::without_sandbox(if is_replay {
                    let message = format!("the journal cannot be used, because {reason}");
                    Ending::Error(failure(ErrorClass::Replay, "replay", message))
                } else if in_flight == Some(InFlight::Stop) {
                    let message =
                        format!("{reason}, and `in_flight = \"stop\"` sends no request twice");
                    Ending::Error(failure(ErrorClass::Internal, INTERRUPTED_CALL, message))
                } else {
                    Ending::Diverged(reason)
                })
            }
            (Ok(filled), Ok(workspace), Ok(journal)) => {
                let call = Call {
                    trial: &trial.to_string(),
                    test: &trial.test,
                    provider: &trial.provider,
                    repeat: trial.repeat,
                    attempt: self.number(provider),
                    seed: self.task.seed,
                    random: self.task.random,
                    input: self.test.input.get(),
                    config: &provider.config,
                    tags: &tags,
                    files: &self.files,
                    env: &filled.env,
                    access: &provider.access,
                    activity,
                    command: filled.command,
                    limits: &provider.settings.limits,
                    timeout: self.task.timeout,
                    deterministic: provider
                        .settings
                        .deterministic
                        .map(|settings| settings.clock.or(self.clock).unwrap_or(started_at)),
                    workspace: workspace.cloned(),
                    journal,
                    records: provider.settings.records,
                    tools: self.tools(provider),
                    inside: None,
                };
                provider.plugin.run(kept, call).await
            }
        };
        let max_tree = max_tree_bytes(provider.settings.limits.reply);
        if let Some(redactor) = provider.access.secrets.redactor() {
            redact(redactor, &mut ended, max_tree);
        }
        add_metrics(&mut ended, provider);
        let tools = provider.tools.as_ref().map_or(&[][..], |tools| tools.listed());
        let attempt = self.number(provider);
        self.judge_call(attempt, provider.json_key(), tools, started_at, ended, max_tree)
    }

    /// Returns the tools of the attempt. `None` without any.
    fn tools(&self, provider: &LoadedProvider) -> Option<Arc<dyn Toolbox>> {
        let tools = provider.tools.clone()?;
        let (trial, attempt) = (self.task.trial.clone(), self.number(provider));
        Some(Arc::new(AttemptTools { tools, trial, attempt, seed: self.task.seed }))
    }

    /// Returns the number by which the guest knows its attempt.
    fn number(&self, provider: &LoadedProvider) -> u32 {
        match provider.settings.deterministic {
            Some(_) => self.task.tries,
            None => self.task.attempt,
        }
    }

    /// Judges a call that has ended. `attempt` is the number by which the guest knows it. `json_key` is that of [`Evidence`]. `max_tree` bounds the bytes of its output as a tree of values.
    fn judge_call(
        &self,
        attempt: u32,
        json_key: Option<Hint>,
        tools: &[ListedTool],
        started_at: Time,
        ended: Ended,
        max_tree: usize,
    ) -> AttemptResult<'static> {
        let (used, continued) = self
            .task
            .recorded
            .map_or((Duration::ZERO, 0), |recorded| (recorded.used.into(), recorded.continued));
        let (text, transcript) = self.transcript(attempt, tools, &ended).unzip();
        let metrics = ended.reported;
        let new_row = || Row {
            metrics: metrics.clone(),
            usage: ended.usage,
            calls: ended.calls,
            continued,
            transcript,
            ..Row::new(
                &self.task.trial,
                self.task.attempt,
                started_at,
                ended.duration + used,
                ended.suspended,
            )
        };
        let mut row = Row { denied: ended.denied, ..new_row() };
        let mut left = ended.artifacts;
        let mut lost = ended.lost;
        if !fit_row(&left) {
            let message = format!("the names of {} artifacts do not fit a row", left.len());
            lost = Some(failure(ErrorClass::Limit, "artifacts", message));
            left.clear();
        }
        let ending = match (ended.ending, lost) {
            (Ending::Reply(_), Some(error)) => Ending::Error(error),
            (ending, _) => ending,
        };
        let base = self.test.bases.get(&self.task.provider);
        let expected = self.test.expect.workspace.as_ref().zip(ended.workspace.as_ref());
        let workspace =
            expected.map(|(expected, left)| left_files(expected, base, self.blobs, left));
        let shown = text.as_ref().filter(|_| self.test.expect.transcript.is_some());
        let shown =
            shown.map(|text| String::from_utf8(text.clone()).map_err(|error| error.to_string()));
        let mut evidence = Evidence {
            transcript: shown.as_ref(),
            max_tree,
            schema: self.schema.as_deref(),
            exit_code: None,
            json_key,
            stderr: &ended.said.stderr,
            workspace: workspace.as_ref(),
        };
        let mut expect = Cow::Borrowed(&self.test.expect);
        // A replay does not wait for responses and sleeps.
        if self.task.recorded.is_some_and(|recorded| recorded.replayed.is_some()) {
            expect.to_mut().max_duration = None;
        }
        let is_stopped = matches!(ending, Ending::Stopped | Ending::Diverged(_));
        evidence.exit_code = self.add_ending(&mut row, ending);
        if !is_stopped {
            judge(self.cache, &expect, &mut row, &evidence);
        }
        if let Some(limit) = ended.fixed_limit.filter(|_| row.outcome == Outcome::Failed) {
            let message = format!("{limit}: this fixed limit may have changed the answer");
            let error = failure(ErrorClass::Limit, "files", message);
            row = Row { error: Some(error), denied: row.denied, ..new_row() };
            judge(self.cache, &expect, &mut row, &evidence);
        }
        // A guest may pass although the machine lacked something.
        let is_good = matches!(row.outcome, Outcome::Passed | Outcome::Stopped);
        let host_fault = ended.host_fault.filter(|_| !is_good);
        if let Some(fault) = host_fault {
            row = Row { error: Some(error_of_host(fault, row.error)), ..new_row() };
            left.clear();
        }
        let class = row.error.as_ref().and_then(|error| error.class);
        row.service_failed =
            ended.service_failed == Some(true) && class.is_some_and(ErrorClass::is_of_service);
        if row.outcome == Outcome::Passed && !self.test.expect.graders.is_empty() {
            row.outcome = Outcome::Ungraded;
        }
        let mut of_host = Vec::new();
        if host_fault.is_none() {
            of_host = add_changes(&mut row, base.copied(), ended.workspace);
            self.judge_left(&mut row, &of_host, &expect, &evidence);
            of_host.extend(text.map(transcript_file));
        }
        AttemptResult { row, said: ended.said, left, of_host, host_fault }
    }

    /// Judges the workspace of an attempt that was cut off, if `files` of it are kept or it is as it was.
    fn judge_left(
        &self,
        row: &mut Row<'_>,
        files: &[LeftFile],
        expect: &Expect,
        evidence: &Evidence<'_>,
    ) {
        let cut_off = row.workspace.filter(|left| left.partial);
        if cut_off.is_some_and(|left| left.is_kept() || !files.is_empty()) {
            judge_cut(self.cache, expect, row, evidence);
        }
    }

    /// Writes the transcript of a call. `None` without steps.
    fn transcript(
        &self,
        attempt: u32,
        tools: &[ListedTool],
        ended: &Ended,
    ) -> Option<(Vec<u8>, TranscriptResult)> {
        let (steps, dropped) = (&ended.transcript, ended.dropped_steps);
        if steps.is_empty() && dropped == 0 {
            return None;
        }
        let session = format!("{} attempt {attempt}", self.task.trial);
        let text = write_transcript(&session, &self.task.trial.provider, tools, steps);
        let (steps, ended) = (steps.len() as u64, ended.agent_end);
        Some((text, TranscriptResult { sha256: None, steps, dropped, ended }))
    }

    /// Adds the reply or the error of a call to its row. Returns the exit code of a command.
    fn add_ending(&self, row: &mut Row<'static>, ending: Ending) -> Option<i32> {
        row.error = Some(match ending {
            Ending::Reply(reply) => {
                row.output = Some(reply.output);
                row.verdict = reply.verdict;
                row.score = reply.score;
                row.summary = reply.summary;
                row.checks = reply.checks;
                return reply.exit_code;
            }
            Ending::Error(error) => error,
            Ending::Timeout => timeout_error(self.task, self.test),
            Ending::Stopped => failure(None, "stopped", "the run was stopped"),
            Ending::Diverged(difference) => {
                failure(None, DIVERGED, format!("the attempt cannot continue: {difference}"))
            }
        });
        None
    }
}

/// Adds to the reported metrics those of the reply with other names, the cost by prices, and what tools have reported.
fn add_metrics(ended: &mut Ended, provider: &LoadedProvider) {
    let reported = &mut ended.reported;
    if let Ending::Reply(reply) = &mut ended.ending {
        let of_reply = mem::take(&mut reply.metrics).into_iter();
        let others = of_reply.filter(|metric| reported.iter().all(|sum| sum.name != metric.name));
        let others: Vec<_> = others.collect();
        reported.extend(others);
    }
    if let Some(cost) = provider.settings.cost(reported) {
        // A row that is too long keeps its first metrics.
        reported.insert(0, cost);
    }
    for metric in mem::take(&mut ended.reported_by_tools) {
        match reported.iter_mut().find(|sum| sum.name == metric.name) {
            Some(sum) => sum.value = without_noise(sum.value + metric.value),
            None => reported.push(metric),
        }
    }
}

/// Returns the error of an attempt that the machine made fail, in place of its own.
fn error_of_host(fault: HostFault, error: Option<RowError<'static>>) -> RowError<'static> {
    let reason = host_fault_reason(fault);
    let error = match error {
        // The error of a call that failed for this reason has it already.
        Some(error) if error.message.contains(reason) => error,
        Some(error) => {
            let message = format!("{reason}: {}", error.message).into();
            RowError { code: fault.as_str().into(), message, ..error }
        }
        None => failure(None, fault.as_str(), reason),
    };
    RowError { class: None, retry_after_ms: None, details: None, ..error }
}

/// Returns the end of an attempt whose base cannot be copied.
fn cannot_copy(error: &io::Error) -> Ended {
    let fault = host_fault(error);
    let code = fault.map_or("files", HostFault::as_str);
    let message = format!("cannot copy the base of the workspace: {error}");
    let ending = Ending::Error(failure(ErrorClass::Internal, code, message));
    Ended { host_fault: fault, ..Ended::without_sandbox(ending) }
}

fn timeout_error(task: &Task, test: &Test<'_>) -> RowError<'static> {
    let used = task.recorded.map_or(0, |recorded| recorded.used.0);
    let after = format_duration(Micros(task.timeout.0 + used));
    let key = match (task.timeout_rule, task.kind) {
        (TimeoutRule::Timeout, TaskKind::Grade) => "the grader's `timeout = ",
        (TimeoutRule::Timeout, _) => "the test's `timeout = ",
        (TimeoutRule::LimitTime, TaskKind::Grade) => "the grader's `limits.time = ",
        (TimeoutRule::LimitTime, _) => "the provider's `limits.time = ",
        (TimeoutRule::TrialTimeout, _) => "the test's `trial_timeout = ",
        (TimeoutRule::Flag, _) => "`--timeout ",
    };
    let is_of_trial = task.timeout_rule == TimeoutRule::TrialTimeout;
    let whole = test.trial_timeout.filter(|whole| is_of_trial && *whole > task.timeout);
    let (by, set) = match whole {
        Some(whole) => ("the rest of", format_duration(whole)),
        None => ("set by", after.clone()),
    };
    let set = if task.timeout_rule == TimeoutRule::Flag { set } else { format!("\"{set}\"") };
    let message = format!("no reply within {after}, {by} {key}{set}`");
    failure(None, task.timeout_rule.code(), message)
}

/// Formats a duration as scenarios do.
fn format_duration(duration: Micros) -> String {
    match duration.0 {
        micros if micros % 60_000_000 == 0 => format!("{}m", micros / 60_000_000),
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros => format!("{}ms", micros / 1000),
    }
}

#[cfg(test)]
#[path = "tests/attempt.rs"]
mod tests;
