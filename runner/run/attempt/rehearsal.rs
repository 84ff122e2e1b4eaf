//! [`Rehearsal`]: calls of a plugin that belong to no run, as its author makes them.
//!
//! They are made by the same code as attempts of runs, so that what an author sees is what a run would make of it.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    deadline::{Deadline, Rule},
    judged::judged,
    unfinished::{AttemptIdentity, blank},
};
use crate::{
    judge::{self, AnswerForm, Answered},
    model::{Attempt, Digest, Grade, Limits, Outcome, ProviderId, TestId, TrialId},
    plugin::{
        Access, Activity, AttachmentSource, Call, Guard, Interrupt, Invocation, Listener, Moment,
        Plugin, StdoutForm,
    },
    run::{clock::wall_clock, stop::unanswered},
    scenario::Expect,
};

/// What the test of a rehearsal is called.
const TEST: &str = "rehearsal";
/// What its provider is called.
const PROVIDER: &str = "plugin";

/// Everything that a plugin is called with outside of any run.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The plugin.
    pub plugin: Plugin,
    /// The test's input as JSON.
    pub input: Arc<str>,
    /// The provider's configuration as JSON.
    pub config: Arc<str>,
    /// The number that it may take its randomness from.
    pub seed: u32,
    /// The test's attachments.
    pub files: Arc<[AttachmentSource]>,
    /// How to call a command by the plain protocol.
    pub invocation: Option<Invocation>,
    /// What it may use.
    pub limits: Limits,
    /// What it may touch.
    pub access: Access,
    /// Its environment variables.
    pub env: Vec<(String, String)>,
    /// How long a call may take.
    pub timeout: Duration,
}

/// One call, judged as in a run, by nothing but the provider's own verdict and exit code.
#[derive(Debug)]
pub struct Rehearsed {
    /// What it came to.
    pub attempt: Attempt,
    /// How much of its duration went into making an instance.
    pub instantiate: Duration,
}

impl Rehearsal {
    /// Makes one call in a fresh sandbox on `guests`. A guest that does not answer an interrupt is left alone.
    pub async fn attempt(
        self: &Arc<Self>,
        repeat: u32,
        listener: Option<Listener>,
        guests: &Handle,
        interrupt: &Interrupt,
    ) -> Rehearsed {
        let deadline = self.deadline();
        let guard = Guard {
            deadline: deadline.at,
            interrupt: interrupt.clone(),
            memory: None,
            activity: Activity::default(),
        };
        let trial = trial(repeat);
        let of = AttemptIdentity {
            ordinal: 0,
            trial: trial.clone(),
            number: 1,
            started_at: wall_clock(),
        };
        let rehearsal = Arc::clone(self);
        let call = guests.spawn(async move {
            let text = trial.to_string();
            let call = rehearsal.call(&text, repeat, listener);
            rehearsal.plugin.run(call, &guard).await
        });
        tokio::select! {
            biased;
            ended = call => {
                let ended = ended.expect("a call catches panics");
                let instantiate = ended.instantiate;
                let attempt = judged(of, &Expect::default(), &deadline, ended);
                Rehearsed { attempt, instantiate }
            }
            () = unanswered(interrupt) => Rehearsed {
                attempt: blank(of, Outcome::Stopped),
                instantiate: Duration::ZERO,
            },
        }
    }

    /// What a run would make of an attempt if the plugin was a grader in it. `least` is the least score that passes.
    pub fn grade(&self, attempt: &Attempt, least: Option<f64>) -> Grade {
        let form = match &self.invocation {
            None => AnswerForm::Reply,
            Some(invocation) => AnswerForm::of_command(invocation.output == StdoutForm::Json),
        };
        let of = Answered {
            grader: PROVIDER,
            form,
            min_score: least,
            asked: Digest::of(self.input.as_bytes()),
            attempts: 1,
            duration: attempt.duration,
        };
        judge::grade(of, attempt)
    }

    fn call<'a>(&'a self, trial: &'a str, repeat: u32, listener: Option<Listener>) -> Call<'a> {
        Call {
            trial,
            test: TEST,
            provider: PROVIDER,
            repeat,
            attempt: 1,
            seed: self.seed,
            input: Arc::clone(&self.input),
            config: Arc::clone(&self.config),
            tags: [].into(),
            files: Arc::clone(&self.files),
            invocation: self.invocation.clone(),
            limits: self.limits,
            access: &self.access,
            env: self.env.clone(),
            listener,
        }
    }

    fn deadline(&self) -> Deadline {
        let (after, rule) = match self.limits.time {
            Some(time) if time < self.timeout => (time, Rule::CommandLine),
            _ => (self.timeout, Rule::Attempt),
        };
        Deadline {
            at: Moment::now() + after,
            after,
            rule,
            set: after,
        }
    }
}

fn trial(repeat: u32) -> TrialId {
    TrialId {
        test: TestId::parse(TEST).expect("it is an id"),
        provider: ProviderId::parse(PROVIDER).expect("it is an id"),
        repeat,
    }
}
