//! [`Attempt`]: one attempt, from a task and its test to a row.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use runner_model::{
    ErrorClass, HostFault, Micros, Outcome, Row, Time,
    log::Said,
    protocol::{Task, TimeoutRule},
    row::{RowError, Usage},
    test::Test,
};
use runner_sandbox::{Activity, AttachedFile, Call, Ended, Ending, Instance, LeftFile, failure};

use crate::{
    artifacts::fit_row,
    judge::{Evidence, Judge, SharedSchema, most_tree},
    provider::LoadedProvider,
    redact_row::redact,
};

/// What an attempt is made for.
pub struct Attempt<'a> {
    pub task: &'a Task,
    pub test: &'a Test<'a>,
    pub files: Vec<AttachedFile>,
    /// The schema that the test expects.
    pub schema: Option<SharedSchema>,
    pub judge: &'a Judge,
}

/// What an attempt has come to, before it is reported.
pub struct AttemptResult<'a> {
    pub row: Row<'a>,
    pub said: Said<'static>,
    /// Files for the row's artifacts. Their contents may still have secrets in them.
    pub left: Vec<LeftFile>,
    pub host_fault: Option<HostFault>,
}

impl<'a> From<Row<'a>> for AttemptResult<'a> {
    /// A row that was judged again.
    fn from(row: Row<'a>) -> Self {
        Self { row, said: Said::default(), left: Vec::new(), host_fault: None }
    }
}

impl Attempt<'_> {
    /// Calls the provider, and judges how that ended. Whatever the guest does is in what is made. The call is made in the
    /// instance that is in `kept`, and one that can serve another call is there afterwards.
    pub async fn make(
        &self,
        provider: &LoadedProvider,
        kept: &mut Option<Instance>,
        activity: &Activity,
    ) -> AttemptResult<'static> {
        let started_at = SystemTime::now().into();
        let trial = &self.task.trial;
        let tags: Vec<String> = self.test.tags.iter().map(ToString::to_string).collect();
        let filled = provider.fill(self.test.input, &self.files, |path| fs::read(path));
        let mut ended = match filled {
            Err(error) => Ended::without_sandbox(Ending::Error(error)),
            Ok(filled) => {
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
                    files: &self.files,
                    env: &filled.env,
                    access: &provider.access,
                    activity,
                    command: filled.command,
                    limits: &provider.settings.limits,
                    timeout: self.task.timeout,
                };
                provider.plugin.run(kept, call).await
            }
        };
        let most_tree = most_tree(provider.settings.limits.reply);
        if let Some(redactor) = provider.access.secrets.redactor() {
            redact(redactor, &mut ended, most_tree);
        }
        self.made(started_at, ended, most_tree)
    }

    /// Judges a call that has ended. `most_tree` bounds the memory that its output may take as a tree of values.
    pub fn made(&self, started_at: Time, ended: Ended, most_tree: usize) -> AttemptResult<'static> {
        let took = [ended.duration, ended.suspended];
        let mut row = self.blank(started_at, took, ended.usage);
        row.denied = ended.denied;
        let (mut left, mut lost) = (ended.artifacts, ended.lost);
        if !fit_row(&left) {
            let message = format!("the names of {} artifacts do not fit a row", left.len());
            lost = Some(failure(ErrorClass::Limit, "artifacts", message));
            left.clear();
        }
        let ending = match (ended.ending, lost) {
            (Ending::Reply(_), Some(error)) => Ending::Error(error),
            (ending, _) => ending,
        };
        let mut evidence = Evidence {
            most_tree,
            schema: self.schema.as_deref(),
            exit_code: None,
            stderr: &ended.said.stderr,
        };
        let is_stopped = matches!(ending, Ending::Stopped);
        match ending {
            Ending::Reply(reply) => {
                evidence.exit_code = reply.exit_code;
                row.output = Some(reply.output);
                row.verdict = reply.verdict;
                row.score = reply.score;
                row.summary = reply.summary;
                row.checks = reply.checks;
                row.metrics = reply.metrics;
            }
            Ending::Error(error) => row.error = Some(error),
            Ending::Timeout => row.error = Some(timeout(self.task, self.test)),
            Ending::Stopped => row.error = Some(failure(None, "stopped", "the run was stopped")),
        }
        if !is_stopped {
            self.judge.judge(&self.test.expect, &mut row, &evidence);
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
                error: Some(failure(None, fault.as_str(), message)),
                ..self.blank(started_at, took, ended.usage)
            };
            left.clear();
        }
        AttemptResult { row, said: ended.said, left, host_fault }
    }

    /// The row of an attempt that was stopped.
    fn blank(&self, started_at: Time, took: [Duration; 2], usage: Usage) -> Row<'static> {
        let [took, suspended] = took;
        let (trial, attempt) = (&self.task.trial, self.task.attempt);
        Row { usage, ..Row::new(trial, attempt, started_at, took, suspended) }
    }
}

fn timeout(task: &Task, test: &Test<'_>) -> RowError<'static> {
    let after = written(task.timeout);
    let key = match task.timeout_rule {
        TimeoutRule::Timeout => "test's `timeout",
        TimeoutRule::LimitTime => "provider's `limits.time",
        TimeoutRule::TrialTimeout => "test's `trial_timeout",
    };
    let is_of_trial = task.timeout_rule == TimeoutRule::TrialTimeout;
    let whole = test.trial_timeout.filter(|whole| is_of_trial && *whole > task.timeout);
    let (by, set) = match whole {
        Some(whole) => ("what was left of", written(whole)),
        None => ("set by", after.clone()),
    };
    let message = format!("no reply within {after}, {by} the {key} = \"{set}\"`");
    failure(None, task.timeout_rule.code(), message)
}

/// A duration as a scenario writes it.
fn written(duration: Micros) -> String {
    match duration.0 {
        micros if micros % 60_000_000 == 0 => format!("{}m", micros / 60_000_000),
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros => format!("{}ms", micros / 1000),
    }
}

#[cfg(test)]
#[path = "tests/attempt.rs"]
mod tests;
