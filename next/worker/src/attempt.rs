//! [`Attempt`]: one attempt, from a task and its test to a report.

use std::time::{Duration, SystemTime};

use runner_model::{
    ErrorClass, Micros, Outcome, Row, Text, Time,
    protocol::{Task, TimeoutRule},
    row::{self, RowError, Usage},
    test::{ExpectedError, Test},
};
use runner_sandbox::{Call, Ended, Ending};

use crate::{
    judge::{Judge, judge_error},
    provider::Provider,
    report::Report,
};

/// What an attempt is made for.
pub struct Attempt<'a> {
    pub task: &'a Task,
    pub test: &'a Test<'a>,
    pub judge: &'a Judge,
}

impl Attempt<'_> {
    /// Calls the provider and judges how that ended. Whatever the guest does is in the report.
    pub async fn make(&self, provider: &Provider) -> Report<'static> {
        let started_at = SystemTime::now().into();
        let command = match provider.command(self.test.input) {
            Ok(command) => command,
            Err(error) => return self.report(started_at, not_called(error)),
        };
        let trial = &self.task.trial;
        let tags: Vec<String> = self.test.tags.iter().map(ToString::to_string).collect();
        let call = Call {
            trial: &trial.to_string(),
            test: &trial.test,
            provider: &trial.provider,
            repeat: trial.repeat,
            attempt: self.task.attempt,
            seed: self.task.seed,
            input: self.test.input.get(),
            config: &provider.config,
            tags: &tags,
            files: &[],
            env: &[],
            access: &provider.access,
            command,
            limits: &provider.limits,
            timeout: self.task.timeout,
        };
        let ended = provider.plugin.run(call).await;
        self.report(started_at, ended)
    }

    /// Makes the report of a call that has ended.
    pub fn report(&self, started_at: Time, ended: Ended) -> Report<'static> {
        let took = [ended.duration, ended.suspended];
        let mut row = self.blank(started_at, took, ended.usage);
        row.denied = ended.denied;
        let expect = &self.test.expect;
        match ended.ending {
            Ending::Reply(reply) => {
                let stderr = &ended.said.stderr;
                (row.outcome, row.checks) =
                    self.judge.reply(expect, &reply, ended.duration, stderr);
                row.checks.extend(reply.checks);
                row.output = Some(reply.output);
                row.verdict = reply.verdict;
                row.score = reply.score;
                row.metrics = reply.metrics;
            }
            Ending::Error(error) => {
                let came = ExpectedError::Class(error.class.unwrap_or(ErrorClass::Internal));
                (row.outcome, row.checks) = judge_error(expect, Outcome::Error, came, &error);
                row.error = Some(error);
            }
            Ending::Timeout => {
                let error = timeout(self.task, self.test);
                let came = ExpectedError::Timeout;
                (row.outcome, row.checks) = judge_error(expect, Outcome::Timeout, came, &error);
                row.error = Some(error);
            }
            Ending::Stopped => row.error = Some(coded("stopped", "the run was stopped")),
        }
        // A guest may well do without what the machine lacked.
        let is_good = matches!(row.outcome, Outcome::Passed | Outcome::Stopped);
        let host_fault = ended.host_fault.filter(|_| !is_good);
        if let Some(fault) = host_fault {
            let message = match row.error {
                Some(error) => error.message,
                None => "the machine lacked something that the attempt needed".into(),
            };
            row = Row {
                error: Some(coded(fault.as_str(), message)),
                ..self.blank(started_at, took, ended.usage)
            };
        }
        Report::new(row, ended.said, host_fault)
    }

    /// The row of an attempt that was stopped.
    fn blank(&self, started_at: Time, took: [Duration; 2], usage: Usage) -> Row<'static> {
        let [duration_ms, suspended_ms] = took.map(|took| took.as_micros() as f64 / 1e3);
        let trial = &self.task.trial;
        Row {
            v: row::VERSION,
            trial: trial.clone(),
            test: trial.test.clone(),
            provider: trial.provider.clone(),
            repeat: trial.repeat,
            attempt: self.task.attempt,
            outcome: Outcome::Stopped,
            started_at,
            duration_ms,
            usage,
            output: None,
            verdict: None,
            score: None,
            checks: Vec::new(),
            grades: Vec::new(),
            metrics: Vec::new(),
            error: None,
            denied: Vec::new(),
            artifacts: Vec::new(),
            truncated: false,
            suspended_ms,
        }
    }
}

/// The end of an attempt whose provider cannot be called with the test.
fn not_called(error: RowError<'static>) -> Ended {
    Ended {
        ending: Ending::Error(error),
        duration: Duration::ZERO,
        suspended: Duration::ZERO,
        usage: Usage::default(),
        denied: Vec::new(),
        said: Default::default(),
        artifacts: Vec::new(),
        lost: None,
        host_fault: None,
    }
}

fn timeout(task: &Task, test: &Test<'_>) -> RowError<'static> {
    let after = written(task.timeout);
    let by = match (task.timeout_rule, test.trial_timeout) {
        (TimeoutRule::Timeout, _) => format!("set by the test's `timeout = \"{after}\"`"),
        (TimeoutRule::LimitTime, _) => {
            format!("set by the provider's `limits.time = \"{after}\"`")
        }
        (TimeoutRule::TrialTimeout, Some(whole)) if whole > task.timeout => {
            let whole = written(whole);
            format!("what was left of the test's `trial_timeout = \"{whole}\"`")
        }
        (TimeoutRule::TrialTimeout, _) => {
            format!("set by the test's `trial_timeout = \"{after}\"`")
        }
    };
    coded(
        task.timeout_rule.code(),
        format!("no reply within {after}, {by}"),
    )
}

/// A duration as a scenario writes it.
fn written(duration: Micros) -> String {
    match duration.0 {
        micros if micros % 60_000_000 == 0 => format!("{}m", micros / 60_000_000),
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros => format!("{}ms", micros / 1000),
    }
}

fn coded(code: &'static str, message: impl Into<Text<'static>>) -> RowError<'static> {
    RowError {
        class: None,
        code: code.into(),
        message: message.into(),
        retry_after_ms: None,
        details: None,
    }
}

#[cfg(test)]
#[path = "tests/attempt.rs"]
mod tests;
