//! [`Target`]: somebody who is to be told of a run's end.

use std::{path::Path, time::Duration};

use url::Url;

use crate::{
    model::{Digest, RunStatus},
    notify::{Address, NotifiedProgram, Recipient},
    record::RunEntry,
    scenario::{Notify, NotifyCommand, RunEnding, Webhook, WebhookUrl},
    session::Host,
    view::worked_between,
};

/// Somebody who is to be told of a run's end.
pub(super) struct Target {
    /// Who, without what may be secret of an address.
    pub(super) to: String,
    /// What tells this one from every other.
    pub(super) key: String,
    /// How; or why not.
    pub(super) recipient: Result<Recipient, String>,
    /// How long one attempt may take.
    pub(super) timeout: Duration,
}

/// Everybody who is to be told of the end of `run`, or that it has gone on for so long.
pub(super) fn targets(notify: &Notify, run: &RunEntry, host: &Host) -> Vec<Target> {
    let worked = worked_between(run.opened_at, (host.now)(), &run.pauses);
    let is_met = |on: &[RunEnding], longer_than: Option<Duration>| match run.status {
        RunStatus::Running => longer_than.is_some_and(|than| worked > than),
        _ => {
            let mut endings = on.iter();
            endings.any(|ending| ending.is_of(run.status, run.verdict))
        }
    };
    let webhooks = notify.webhooks.iter();
    let webhooks = webhooks.filter(|hook| is_met(&hook.on, hook.longer_than));
    let commands = notify.commands.iter();
    let commands = commands.filter(|command| is_met(&command.on, command.longer_than));
    webhooks
        .map(|hook| of_webhook(hook, host))
        .chain(commands.map(|command| of_command(command, run)))
        .collect()
}

fn of_webhook(hook: &Webhook, host: &Host) -> Target {
    let url = match &hook.url {
        WebhookUrl::Plain(url) => Ok(url.clone()),
        WebhookUrl::Variable(name) => variable(host, name),
    };
    let named = match &hook.url {
        WebhookUrl::Plain(url) => format!("webhook {url}"),
        WebhookUrl::Variable(name) => format!("webhook ${name}"),
    };
    let to = match (&url, &hook.url) {
        (Ok(url), _) => public_part(url),
        (Err(_), WebhookUrl::Variable(name)) => format!("${name}"),
        (Err(_), WebhookUrl::Plain(_)) => String::new(),
    };
    let secret = hook.secret.as_deref().map(|name| variable(host, name));
    let recipient = url.and_then(|url| {
        crate::scenario::check_webhook(&url).map_err(|_| "its address is none".to_owned())?;
        let secret = secret.transpose()?;
        Ok(Recipient::Webhook(Address { url, secret }))
    });
    Target {
        to,
        key: key(&named),
        recipient,
        timeout: hook.timeout,
    }
}

fn of_command(asked: &NotifyCommand, run: &RunEntry) -> Target {
    let root = run.dir.parent().unwrap_or(Path::new("."));
    let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let reason = run.reason.map_or("", |reason| reason.as_str());
    let variables = vec![
        ("RUNNER_RUN", run.id.as_str().into()),
        ("RUNNER_RUN_DIR", real(&run.dir).into()),
        ("RUNNER_RESULTS", real(root).into()),
        ("RUNNER_SCENARIO", run.scenario.as_str().into()),
        ("RUNNER_STATUS", run.status.as_str().into()),
        ("RUNNER_REASON", reason.into()),
        ("RUNNER_VERDICT", run.verdict.as_str().into()),
    ];
    Target {
        to: asked.command.first().cloned().unwrap_or_default(),
        key: key(&format!("command {}", asked.command.join("\0"))),
        recipient: Ok(Recipient::Program(NotifiedProgram {
            command: asked.command.clone(),
            variables,
            folder: real(root),
        })),
        timeout: asked.timeout,
    }
}

fn variable(host: &Host, name: &str) -> Result<String, String> {
    let value = (host.variable)(name).and_then(|value| value.into_string().ok());
    let value = value.filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("the variable `{name}` is not set"))
}

/// Scheme, host and port: what follows may be a secret, and what stands before the host is one.
fn public_part(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => "an address that is none".to_owned(),
    }
}

/// What tells a target from others, without telling what it is.
fn key(named: &str) -> String {
    Digest::of(named.as_bytes()).to_string()[..16].to_owned()
}
