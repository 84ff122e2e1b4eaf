//! The executor: one attempt, from a resolved test to an [`Attempt`] value.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use super::{phases::WatchedSlot, warm::WarmInstances};
use crate::{
    model::{Attempt, AttemptError, Digest, ErrorClass, Limits, ProviderId},
    plugin::{
        self, Access, AttachmentSource, Call, Ended, Guard, Interrupt, Invocation, Listener,
        MemoryBudget, MemoryLease, Moment, Plugin, StdoutForm,
    },
    run::{
        attempt::{AttemptIdentity, Budget, judged},
        grants::Environment,
        seam::Assignment,
    },
    scenario::{self, Reuse, Stdin, Template, Test},
};

/// An assignment that has arrived.
pub(super) struct Task {
    pub(super) assignment: Assignment,
    /// When the trial's own deadline is, if it has one and this is not its first attempt.
    pub(super) trial_ends: Option<Moment>,
}

impl Task {
    /// Takes an assignment that arrives `now`.
    pub(super) fn arrived(assignment: Assignment, now: Moment) -> Self {
        Self {
            trial_ends: assignment.trial_left.map(|left| now + left),
            assignment,
        }
    }
}

/// What is around an attempt, on the side of its executor.
pub(super) struct Around<'a> {
    /// When it began.
    pub(super) started_at: Timestamp,
    /// Ends it.
    pub(super) interrupt: &'a Interrupt,
    /// Hears what its guest says, if anybody does.
    pub(super) listener: Option<&'a Listener>,
    /// Learns what its guest is doing and when it must have ended, if anybody watches.
    pub(super) watched: Option<&'a WatchedSlot>,
}

/// Everything that attempts of one run share.
pub(in crate::run) struct Executor {
    /// By their places in the scenario.
    pub(in crate::run) providers: Vec<Option<ReadyProvider>>,
    pub(in crate::run) seed: u32,
    /// Where the run's attachments are, by content.
    pub(in crate::run) blobs: Box<dyn Fn(Digest) -> PathBuf + Send + Sync>,
    pub(in crate::run) budget: Budget,
    /// What the sandboxes of one executor may hold together, in bytes.
    pub(in crate::run) memory_share: u64,
    /// What attempts wait for where not all of them can have all that they may.
    pub(in crate::run) memory: Option<MemoryBudget>,
}

/// A provider whose plugin is compiled, linked and described.
pub struct ReadyProvider {
    pub(in crate::run) id: ProviderId,
    pub(in crate::run) plugin: Plugin,
    pub(in crate::run) config: Arc<str>,
    pub(in crate::run) limits: Limits,
    pub(in crate::run) access: Access,
    pub(in crate::run) environment: Environment,
    pub(in crate::run) plain: Option<Plain>,
    pub(in crate::run) reuse: Option<Reuse>,
}

/// What a plain command is called with.
pub(in crate::run) struct Plain {
    pub(in crate::run) args: Vec<Template>,
    pub(in crate::run) stdin: Option<Stdin>,
    pub(in crate::run) output: scenario::OutputForm,
}

impl Executor {
    /// Makes one attempt, in an instance that the executor has `kept` where the provider says so. Whatever the guest does
    /// becomes a value.
    pub(super) async fn run(
        &self,
        task: Task,
        around: Around<'_>,
        kept: &mut WarmInstances,
    ) -> Attempt {
        let Around {
            started_at,
            interrupt,
            listener,
            watched,
        } = around;
        let activity = watched.map(|watched| watched.activity.clone());
        let activity = activity.unwrap_or_default();
        let Task {
            assignment,
            trial_ends,
        } = task;
        let provider = self.providers[assignment.provider]
            .as_ref()
            .expect("a trial's provider was made ready");
        let memory = provider.limits.memory;
        kept.make_room(assignment.provider, memory, interrupt).await;
        let lease = self.admit(&assignment, memory, interrupt);
        let lease = activity.waiting_for_memory(lease).await;
        let now = Moment::now();
        let test = Arc::clone(&assignment.test);
        let deadline = self
            .budget
            .deadline(&test, &provider.limits, trial_ends, now);
        if let Some(watched) = watched {
            watched.ends_by(deadline.at);
        }

        let trial = assignment.trial.to_string();
        let ended = match self.call(&assignment, &trial, provider) {
            Ok(mut call) => {
                call.listener = listener
                    .filter(|_| !provider.access.secrets.has_any())
                    .cloned();
                let guard = Guard {
                    deadline: deadline.at,
                    interrupt: interrupt.clone(),
                    memory: lease,
                    activity,
                };
                match provider.reuse {
                    None => provider.plugin.run(call, &guard).await,
                    Some(Reuse::Instance) => {
                        let mut slot = kept.take(assignment.provider);
                        let ended = provider.plugin.run_in(&mut slot, call, &guard).await;
                        kept.keep(assignment.provider, memory, slot);
                        ended
                    }
                }
            }
            // The provider cannot be called with this test.
            Err(error) => Ended::without_sandbox(error),
        };
        let of = AttemptIdentity {
            ordinal: assignment.ordinal,
            trial: assignment.trial,
            number: assignment.number,
            started_at,
        };
        judged(of, test.expect.whole(), &deadline, ended)
    }

    /// Waits until there is the memory that is reserved for an attempt. It is there but for what others have grown beyond
    /// theirs meanwhile.
    async fn admit(
        &self,
        assignment: &Assignment,
        limit: u64,
        interrupt: &Interrupt,
    ) -> Option<Arc<MemoryLease>> {
        let budget = self.memory.as_ref()?;
        tokio::select! {
            biased;
            lease = budget.admit(assignment.memory, limit) => Some(Arc::new(lease)),
            // It ends before anything of the guest has run.
            () = interrupt.interrupted() => None,
        }
    }

    fn call<'a>(
        &self,
        assignment: &'a Assignment,
        trial: &'a str,
        provider: &'a ReadyProvider,
    ) -> Result<Call<'a>, AttemptError> {
        let test = &assignment.test;
        let invocation = match &provider.plain {
            Some(plain) => Some(self.invocation(plain, test, provider)?),
            None => None,
        };
        let env = environment(test, provider)?;
        Ok(Call {
            trial,
            test: test.id.as_str(),
            provider: provider.id.as_str(),
            repeat: assignment.trial.repeat,
            attempt: assignment.number,
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
                scenario::OutputForm::Text => StdoutForm::Text,
                scenario::OutputForm::Trimmed => StdoutForm::Trimmed,
                scenario::OutputForm::Json => StdoutForm::Json,
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
                Some(fault) => plugin::fault_error(fault, &message),
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

fn invalid_input(code: &str, message: String) -> AttemptError {
    AttemptError {
        class: Some(ErrorClass::InvalidInput),
        code: code.into(),
        message,
        retry_after: None,
        fault: None,
    }
}
