//! [`Receivers`]: the webhooks and commands of `[notify]`, of a results root and of a scenario together.

use std::{fmt, time::Duration};

use runner_model::{RunStatus, digest};
use runner_record::{Manifest, NotifiedEvent};
use runner_report::{PlannedReceiver, ReceiverKind};
use runner_scenario::{Notify, NotifyEvents, Webhook, WebhookUrl};

use super::webhook::{address, check};

/// The receivers of notifications about a run.
#[derive(Debug)]
pub struct Receivers {
    pub all: Vec<Receiver>,
    /// Longest time that the process of a session waits for its notifications.
    pub wait: Duration,
}

/// A webhook or a command.
#[derive(Debug)]
pub struct Receiver {
    /// Hash of the address or command. It identifies the receiver in `notifications.jsonl`.
    pub(super) key: String,
    pub(super) target: Target,
    pub(super) events: NotifyEvents,
    pub(super) is_of_scenario: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Webhook(Webhook),
    /// A program and its arguments.
    Command(Vec<String>),
}

impl Receivers {
    /// Joins the receivers of a results root and of a scenario. For a receiver in both, the settings of the root apply.
    pub fn new(root: &Notify, scenario: &Notify) -> Self {
        let mut all = Vec::<Receiver>::new();
        let mut wait = Duration::ZERO;
        for (notify, is_of_scenario) in [(root, false), (scenario, true)] {
            let webhooks = notify.webhooks.iter().cloned();
            let webhooks =
                webhooks.map(|webhook| (webhook.events.clone(), Target::Webhook(webhook)));
            let commands = notify.commands.iter().cloned();
            let commands =
                commands.map(|command| (command.events, Target::Command(command.command)));
            let before = all.len();
            for (events, target) in webhooks.chain(commands) {
                let key = target.key();
                if all.iter().all(|receiver| receiver.key != key) {
                    all.push(Receiver { key, target, events, is_of_scenario });
                }
            }
            if all.len() > before {
                wait = wait.max(notify.wait);
            }
        }
        Self { all, wait }
    }

    /// Returns a warning for each receiver that cannot be notified before its settings are changed.
    pub fn mistakes(&self) -> Vec<String> {
        self.all
            .iter()
            .filter_map(|receiver| {
                let Target::Webhook(webhook) = &receiver.target else { return None };
                let problem = check(webhook).err()?;
                let source = if receiver.is_of_scenario { "the scenario" } else { "runner.toml" };
                Some(format!("a webhook in `[notify]` of {source} will not be notified: {problem}"))
            })
            .collect()
    }

    /// Returns the receivers for a plan.
    pub fn planned(&self) -> Vec<PlannedReceiver> {
        self.all
            .iter()
            .map(|receiver| PlannedReceiver {
                kind: receiver.kind(),
                to: receiver.to_string(),
                on: receiver.events.on.clone(),
                longer_than_ms: receiver.events.longer_than.map(|time| time.as_secs_f64() * 1000.0),
                is_of_scenario: receiver.is_of_scenario,
            })
            .collect()
    }
}

impl Receiver {
    pub(super) fn kind(&self) -> ReceiverKind {
        match self.target {
            Target::Webhook(_) => ReceiverKind::Webhook,
            Target::Command(_) => ReceiverKind::Command,
        }
    }

    /// Returns the names of the environment variables with the address and the secret.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> {
        let Target::Webhook(webhook) = &self.target else { return None.into_iter().chain(None) };
        let url = match &webhook.url {
            WebhookUrl::Variable(name) => Some(name.clone()),
            WebhookUrl::Plain(_) => None,
        };
        url.into_iter().chain(webhook.secret.clone())
    }

    /// Returns the event of a run's state. `None` if this receiver is not notified of it.
    pub(super) fn event(&self, run: &Manifest) -> Option<NotifiedEvent> {
        if run.status == RunStatus::Running {
            let worked_ms = run.sessions.last().and_then(|session| session.worked_ms)?;
            let bound = self.events.longer_than?;
            return (worked_ms > bound.as_secs_f64() * 1000.0).then_some(NotifiedEvent::Long);
        }
        let mut on = self.events.on.iter();
        on.any(|ending| ending.matches(run.status, run.verdict)).then_some(NotifiedEvent::End)
    }
}

/// Scheme, host and port of a webhook, or the program of a command: arguments and paths may have secrets.
impl fmt::Display for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Command(command) => formatter.write_str(&command[0]),
            Target::Webhook(webhook) => match (address(&webhook.url), &webhook.url) {
                (Ok((_, origin)), _) => origin.fmt(formatter),
                (Err(_), WebhookUrl::Variable(name)) => {
                    write!(formatter, "the address in `{name}`")
                }
                (Err(reason), WebhookUrl::Plain(_)) => formatter.write_str(&reason),
            },
        }
    }
}

impl Target {
    fn key(&self) -> String {
        let text = match self {
            Self::Webhook(Webhook { url: WebhookUrl::Plain(url), .. }) => format!("url\0{url}"),
            Self::Webhook(Webhook { url: WebhookUrl::Variable(name), .. }) => {
                format!("env\0{name}")
            }
            Self::Command(command) => format!("command\0{}", command.join("\0")),
        };
        digest(text.as_bytes()).to_string()[..16].to_owned()
    }
}
