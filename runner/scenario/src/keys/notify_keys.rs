//! The keys of `[notify]`, in a scenario and in `runner.toml`.

use std::{fmt, time::Duration};

use runner_model::{NetGrant, digest, status::RunEnding};

use crate::keys::grant_keys::SECRET;
use crate::reading::{
    Boolean, DURATION, Either, List, StringOr, TEXT, TIMEOUT, Table, TableForm, Text, Word,
};

/// `[notify]`: receivers of a message about a run's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Longest time that the process of a run waits for its notifications.
    pub wait: Duration,
    pub webhooks: Vec<Webhook>,
    /// Empty in a scenario, which starts no program outside of the sandbox.
    pub commands: Vec<NotifyCommand>,
}

/// An address that a document is posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: WebhookUrl,
    /// The environment variable that contains the secret for signatures. `None` means no signature.
    pub secret: Option<String>,
    /// Whether the host may have an address that is not public.
    pub private: bool,
    pub events: NotifyEvents,
}

/// The access of a webhook, as a line for people.
impl fmt::Display for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            WebhookUrl::Plain(url) => {
                let server = NetGrant::of_address(url).map(|server| server.to_string());
                let server = server.unwrap_or_default();
                write!(formatter, "a webhook posts to `{server}`")?;
                if url.trim_end_matches('/') != server {
                    // Its path may be a secret, and another one another receiver.
                    write!(formatter, " (path {:.8})", digest(url.as_bytes()).to_string())?;
                }
            }
            WebhookUrl::Variable(name) => {
                write!(formatter, "a webhook posts to the URL in `{name}`")?;
            }
        }
        if self.private {
            formatter.write_str(", also at a private address")?;
        }
        match &self.secret {
            Some(name) => write!(formatter, ", signed with the secret `{name}`"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookUrl {
    Plain(String),
    /// The environment variable that contains the URL.
    Variable(String),
}

/// A program that gets a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyCommand {
    /// The program and its arguments. Never empty.
    pub command: Vec<String>,
    pub events: NotifyEvents,
}

/// The events that a receiver is notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyEvents {
    pub on: Vec<RunEnding>,
    /// Least duration of a session that is an event, too. `None` if no duration is.
    pub longer_than: Option<Duration>,
    /// Timeout of one attempt.
    pub timeout: Duration,
}

/// `[notify]` of `runner.toml`.
pub(crate) const ROOT_NOTIFY: TableForm<Notify> = TableForm("`[notify]`", |table| {
    let commands = table.optional("commands", &List(0, COMMAND)).unwrap_or_default();
    Some(Notify { commands, ..notify(table) })
});
/// `[notify]` of a scenario.
pub(crate) const NOTIFY: TableForm<Notify> = TableForm("`[notify]`", |table| {
    let message = "a scenario starts no program outside of the sandbox; put `commands` into \
                   `runner.toml` of the results root";
    table.forbid("commands", message);
    Some(notify(table))
});
const WEBHOOK: TableForm<Webhook> = TableForm("`[[notify.webhooks]]`", webhook);
const COMMAND: TableForm<NotifyCommand> = TableForm("`[[notify.commands]]`", command);
const VARIABLE: TableForm<String> =
    TableForm("`url` or `secret` of a webhook", |table| table.required("env", &NAME));
const URL_OR_VARIABLE: StringOr<Text<String>, TableForm<String>> = StringOr {
    string: URL,
    table: VARIABLE,
    words: "a URL or a table such as `{ env = \"NAME\" }`",
};
const ENDING: Word<RunEnding> =
    Word(|| RunEnding::ALL.iter().map(|ending| ending.as_str()).collect(), RunEnding::parse);

const URL: Text<String> = Text {
    words: "a URL",
    example: ", such as \"https://example.com/hook\"",
    schema: r#"{"title": "such as `\"https://example.com/hook\"`", "type": "string", "pattern": "^https?://", "examples": ["https://example.com/hook"]}"#,
    // Its path may be a secret, so the message does not repeat it.
    parse: |text| match NetGrant::of_address(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(reason) => Err(reason.to_owned()),
    },
};

const NAME: Text<String> = Text {
    words: "the name of an environment variable",
    example: " such as \"HOOK_URL\"",
    ..SECRET
};

/// Reads the keys that scenarios and `runner.toml` share.
fn notify(table: &mut Table<'_, '_>) -> Notify {
    Notify {
        wait: table.or("wait", &DURATION, r#""10s""#).into(),
        webhooks: table.optional("webhooks", &List(0, WEBHOOK)).unwrap_or_default(),
        commands: Vec::new(),
    }
}

fn webhook(table: &mut Table<'_, '_>) -> Option<Webhook> {
    let url = table.required("url", &URL_OR_VARIABLE);
    let secret = table.optional("secret", &VARIABLE);
    let private = table.or("private", &Boolean, "false");
    let events = events(table);
    let url = match url? {
        Either::String(url) => WebhookUrl::Plain(url),
        Either::Table(name) => WebhookUrl::Variable(name),
    };
    Some(Webhook { url, secret, private, events })
}

fn command(table: &mut Table<'_, '_>) -> Option<NotifyCommand> {
    let command = table.required("command", &List(1, TEXT));
    let events = events(table);
    Some(NotifyCommand { command: command?, events })
}

fn events(table: &mut Table<'_, '_>) -> NotifyEvents {
    const ALL: &str = r#"["completed", "failed", "incomplete", "cancelled"]"#;
    NotifyEvents {
        on: table.or("on", &List(0, ENDING), ALL),
        longer_than: table.optional("longer_than", &TIMEOUT).map(Duration::from),
        timeout: table.or("timeout", &TIMEOUT, r#""5s""#).into(),
    }
}
