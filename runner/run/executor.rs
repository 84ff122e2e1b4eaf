//! The executor: one attempt, from a resolved test to an [`Attempt`] value.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    deadline::{Budget, Deadline},
    expect::{self, Measured},
    grants::Environment,
    kept::Kept,
    pool::Begun,
};
use crate::{
    model::{
        Attempt, AttemptError, Digest, ErrorClass, Limits, LogRecord, Outcome, ProviderId, TrialId,
        Usage,
    },
    plugin::{
        self, Access, AttachmentSource, Call, Ended, Guard, Interrupt, Invocation, Moment,
        OutputForm, Plugin, clock,
    },
    record::AttemptKey,
    scenario::{self, Expect, Reuse, Stdin, Template, Test},
};

/// One attempt that an executor is to make.
pub(super) struct Task {
    pub(super) ordinal: u64,
    pub(super) number: u32,
    pub(super) provider: usize,
    pub(super) trial: TrialId,
    pub(super) trial_text: Arc<str>,
    pub(super) test: Arc<Test>,
    /// Which of this session's attempts of the trial it is, from 1.
    pub(super) tries: u32,
    /// When the trial's own deadline is, if it has one and this is not its first attempt.
    pub(super) trial_ends: Option<Moment>,
}

impl Task {
    pub(super) fn key(&self) -> AttemptKey {
        AttemptKey {
            ordinal: self.ordinal,
            number: self.number,
        }
    }

    fn identity(&self, started_at: Timestamp) -> Identity {
        Identity {
            ordinal: self.ordinal,
            trial: self.trial.clone(),
            number: self.number,
            started_at,
        }
    }
}

/// Everything that attempts of one run share.
pub(super) struct Executor {
    /// By their places in the scenario.
    pub(super) providers: Vec<Option<ReadyProvider>>,
    pub(super) seed: u32,
    /// Where the run's attachments are, by content.
    pub(super) blobs: Box<dyn Fn(Digest) -> PathBuf + Send + Sync>,
    pub(super) budget: Budget,
    /// What the sandboxes of one executor may hold together, in bytes.
    pub(super) memory_share: u64,
}

/// A provider whose plugin is compiled, linked and described.
pub struct ReadyProvider {
    pub(super) id: ProviderId,
    pub(super) plugin: Plugin,
    pub(super) config: Arc<str>,
    pub(super) limits: Limits,
    pub(super) access: Access,
    pub(super) environment: Environment,
    pub(super) plain: Option<Plain>,
    pub(super) reuse: Option<Reuse>,
}

/// What a plain command is called with.
pub(super) struct Plain {
    pub(super) args: Vec<Template>,
    pub(super) stdin: Option<Stdin>,
    pub(super) output: scenario::OutputForm,
}

impl Executor {
    /// Makes one attempt, in an instance that the executor has `kept` where the provider says so. Whatever the guest does
    /// becomes a value.
    pub(super) async fn run(
        &self,
        task: &Task,
        started_at: Timestamp,
        interrupt: &Interrupt,
        kept: &mut Kept,
    ) -> Attempt {
        let provider = self.providers[task.provider]
            .as_ref()
            .expect("a trial's provider was made ready");
        let memory = provider.limits.memory;
        kept.make_room(task.provider, memory, interrupt).await;
        let now = Moment::now();
        let deadline = self
            .budget
            .deadline(&task.test, &provider.limits, task.trial_ends, now);

        let call = match self.call(task, provider) {
            Ok(call) => call,
            // The provider cannot be called with this test.
            Err(error) => {
                let ended = Ended::without_sandbox(error);
                return judged(
                    task.identity(started_at),
                    &task.test.expect,
                    &deadline,
                    ended,
                );
            }
        };
        let guard = Guard {
            deadline: deadline.at,
            interrupt: interrupt.clone(),
        };
        let ended = match provider.reuse {
            None => provider.plugin.run(call, &guard).await,
            Some(Reuse::Instance) => {
                let mut slot = kept.take(task.provider);
                let ended = provider.plugin.run_in(&mut slot, call, &guard).await;
                kept.keep(task.provider, memory, slot);
                ended
            }
        };
        judged(
            task.identity(started_at),
            &task.test.expect,
            &deadline,
            ended,
        )
    }

    fn call<'a>(
        &self,
        task: &'a Task,
        provider: &'a ReadyProvider,
    ) -> Result<Call<'a>, AttemptError> {
        let test = &task.test;
        let invocation = match &provider.plain {
            Some(plain) => Some(self.invocation(plain, test, provider)?),
            None => None,
        };
        let env = environment(test, provider)?;
        Ok(Call {
            trial: &task.trial_text,
            test: test.id.as_str(),
            provider: provider.id.as_str(),
            repeat: task.trial.repeat,
            attempt: task.number,
            seed: self.seed,
            input: Arc::clone(&test.input),
            config: Arc::clone(&provider.config),
            tags: Arc::clone(&test.tags),
            files: self.attachments(test),
            invocation,
            limits: provider.limits,
            access: &provider.access,
            env,
            listener: None,
        })
    }

    fn attachments(&self, test: &Test) -> Arc<[AttachmentSource]> {
        let files = test.files.iter();
        let sources = files.map(|file| AttachmentSource {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.bytes,
            path: (self.blobs)(file.sha256),
        });
        sources.collect()
    }

    /// Fills in the templates of a plain command.
    fn invocation(
        &self,
        plain: &Plain,
        test: &Test,
        provider: &ReadyProvider,
    ) -> Result<Invocation, AttemptError> {
        let (input, config) = values(test, provider);
        let roots = [("input", &input), ("config", &config)];
        let invalid = |problem| invalid_input("template", problem);
        let args = plain.args.iter();
        let args = args.map(|template| fill_argument(template, &roots).map_err(invalid));
        let args = args.collect::<Result<_, _>>()?;
        let stdin = match &plain.stdin {
            None => Vec::new(),
            Some(Stdin::Text(template)) => {
                let text = template.render_text(&roots);
                text.map_err(|missing| invalid(missing.to_string()))?
                    .into_bytes()
            }
            Some(Stdin::File(name)) => self.attachment(test, name)?,
        };
        Ok(Invocation {
            args,
            stdin,
            output: match plain.output {
                scenario::OutputForm::Text => OutputForm::Text,
                scenario::OutputForm::Trimmed => OutputForm::Trimmed,
                scenario::OutputForm::Json => OutputForm::Json,
            },
        })
    }

    fn attachment(&self, test: &Test, name: &str) -> Result<Vec<u8>, AttemptError> {
        let Some(file) = test.files.iter().find(|file| file.name == name) else {
            let message = format!("the test has no attachment `{name}` for standard input");
            return Err(invalid_input("attachment", message));
        };
        fs_err::read((self.blobs)(file.sha256)).map_err(|error| {
            let message = format!("cannot read attachment `{name}`: {error}");
            match plugin::fault_of(&error) {
                Some(fault) => plugin::lacking(fault, &message),
                None => AttemptError {
                    class: Some(ErrorClass::Internal),
                    code: "attachment".into(),
                    message,
                    retry_after: None,
                    fault: None,
                },
            }
        })
    }
}

/// Fills in an argument of a plain command; the error says why it cannot be one.
pub fn fill_argument(template: &Template, roots: &[(&str, &Value)]) -> Result<String, String> {
    let text = template
        .render_text(roots)
        .map_err(|missing| missing.to_string())?;
    if text.contains('\0') {
        return Err("an argument cannot have a NUL in it".to_owned());
    }
    Ok(text)
}

/// Fills in a provider's environment variables.
fn environment(
    test: &Test,
    provider: &ReadyProvider,
) -> Result<Vec<(String, String)>, AttemptError> {
    if provider.environment.is_empty() {
        return Ok(Vec::new());
    }
    let (input, config) = values(test, provider);
    let environment = provider.environment.render(&input, &config);
    environment.map_err(|problem| invalid_input("environment", problem))
}

/// What `input` and `config` stand for in templates.
fn values(test: &Test, provider: &ReadyProvider) -> (Value, Value) {
    let parse = |text: &str| serde_json::from_str(text);
    (
        parse(&test.input).expect("a suite holds valid JSON"),
        parse(&provider.config).expect("a configuration is valid JSON"),
    )
}

/// Makes the attempt of a trial whose guest did not answer a stop.
pub(super) fn given_up(begun: &Begun, trial: TrialId, now: Moment) -> Attempt {
    let of = Identity {
        ordinal: begun.ordinal,
        trial,
        number: begun.number,
        started_at: begun.started_at,
    };
    Attempt {
        duration: now.saturating_duration_since(begun.at),
        suspended: clock::suspended().saturating_sub(begun.suspended),
        error: Some(expect::stop_error()),
        ..blank(of, Outcome::Stopped)
    }
}

/// Makes the attempt that records a trial as what ends the process.
pub(super) fn poisoned(ordinal: u64, trial: TrialId, number: u32, deaths: u32) -> Attempt {
    let error = AttemptError {
        class: Some(ErrorClass::Poison),
        code: "poison".into(),
        message: format!("the runner's process died {deaths} times in a row while this trial ran"),
        retry_after: None,
        fault: None,
    };
    let of = Identity {
        ordinal,
        trial,
        number,
        started_at: super::wall_clock(),
    };
    Attempt {
        error: Some(error),
        ..blank(of, Outcome::Error)
    }
}

/// Which attempt it is.
pub(super) struct Identity {
    pub(super) ordinal: u64,
    pub(super) trial: TrialId,
    pub(super) number: u32,
    pub(super) started_at: Timestamp,
}

/// Turns what happened into an attempt.
pub(super) fn judged(of: Identity, expect: &Expect, deadline: &Deadline, ended: Ended) -> Attempt {
    let measured = Measured {
        duration: ended.duration,
        usage: ended.usage,
        stderr: &ended.stderr,
        hint: ended.hint.as_deref(),
    };
    let mut judged = expect::judge(expect, deadline, ended.ending, measured);
    let is_good = matches!(judged.outcome, Outcome::Passed | Outcome::Stopped);
    if let Some(error) = ended.lacked.filter(|_| !is_good) {
        judged.outcome = Outcome::Error;
        judged.error = Some(error);
    }
    Attempt {
        score: judged.score,
        checks: judged.checks,
        metrics: judged.metrics,
        output: judged.output,
        summary: judged.summary,
        error: judged.error,
        duration: ended.duration,
        usage: ended.usage,
        denied: ended.denied,
        artifacts: ended.artifacts,
        log: with_dropped(ended.log, ended.log_dropped),
        stderr: ended.stderr,
        stdout: ended.stdout,
        ..blank(of, judged.outcome)
    }
}

/// Says at a log's end how many records its limits kept out.
fn with_dropped(mut log: Vec<LogRecord>, dropped: u64) -> Vec<LogRecord> {
    if dropped > 0 {
        log.push(LogRecord {
            level: "warn",
            message: format!("{dropped} more records were dropped: the log is full"),
            fields: Vec::new(),
        });
    }
    log
}

/// Makes an attempt of which nothing is known but what it came to.
pub(super) fn blank(of: Identity, outcome: Outcome) -> Attempt {
    Attempt {
        ordinal: of.ordinal,
        trial: of.trial,
        number: of.number,
        outcome,
        score: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        output: None,
        summary: None,
        error: None,
        started_at: of.started_at,
        duration: Duration::ZERO,
        suspended: Duration::ZERO,
        usage: Usage::default(),
        denied: Vec::new(),
        artifacts: Vec::new(),
        log: Vec::new(),
        stderr: String::new(),
        stdout: String::new(),
    }
}

fn invalid_input(code: &str, message: String) -> AttemptError {
    AttemptError {
        class: Some(ErrorClass::InvalidInput),
        code: code.into(),
        message,
        retry_after: None,
        fault: None,
    }
}
