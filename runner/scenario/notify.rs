//! `[notify]`: who is told when a run ends, in a scenario and in the settings of a results root.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::{
    form::{Form, Key, optional, required, with_default},
    settings,
};
use crate::model::{RunStatus, Verdict};

/// How long a webhook or a command may take where nobody says so.
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_JSON: &str = "\"5s\"";

/// How long the process of a session waits where nobody says so.
const WAIT: Duration = Duration::from_secs(10);
const WAIT_JSON: &str = "\"10s\"";

/// The words for endings, as in [`RunEnding`].
const ENDINGS: &[&str] = &[
    "completed",
    "tests-passed",
    "tests-failed",
    "failed",
    "incomplete",
    "cancelled",
];

/// What `on` is where nobody says so: every status that a run ends with.
const ANY_ENDING: &str = r#"["completed", "failed", "incomplete", "cancelled"]"#;

/// The keys of `[notify]` in the settings of a results root.
pub(super) const ROOT_NOTIFY: &[Key] = &[
    WAIT_KEY,
    WEBHOOKS,
    optional(
        "commands",
        Form::List(&Form::Table(&[COMMAND])),
        "Programs that are started when a run ends.",
    ),
];

/// Those in a scenario, which starts no program outside of the sandbox.
pub(super) const SCENARIO_NOTIFY: &[Key] = &[
    WAIT_KEY,
    WEBHOOKS,
    optional(
        "commands",
        Form::Refused(
            "a scenario starts no program outside of the sandbox; the `runner.toml` of a results root may",
        ),
        "Refused: a scenario starts no program outside of the sandbox. The `runner.toml` of a results root may.",
    ),
];

const WAIT_KEY: Key = with_default(
    "wait",
    Form::Duration { zero: true },
    WAIT_JSON,
    "How long the process of a run waits at its end until all are told, retries included. What is left is told by `runner notify`, by `runner queue work` or by a server.",
);

const WEBHOOKS: Key = optional(
    "webhooks",
    Form::List(&Form::Table(&[WEBHOOK])),
    "Addresses to which a JSON document is posted when a run ends.",
);

/// The keys of a webhook.
pub(super) const WEBHOOK: &[Key] = &[
    required(
        "url",
        Form::Either(&Form::Url, &Form::Table(&[VARIABLE])),
        "Where to. An address that is a secret comes from the environment: `{ env = \"NAME\" }`.",
    ),
    optional(
        "secret",
        Form::Table(&[VARIABLE]),
        "The variable with the secret by which requests are signed, as `{ env = \"NAME\" }`. Default: they are not signed.",
    ),
    ON,
    LONGER_THAN,
    TIMEOUT_KEY,
];

/// The keys of a command.
pub(super) const COMMAND: &[Key] = &[
    required(
        "command",
        Form::SomeOf(&Form::Text),
        "The program and its arguments. No shell reads them.",
    ),
    ON,
    LONGER_THAN,
    TIMEOUT_KEY,
];

/// What a secret is given by.
pub(super) const VARIABLE: &[Key] = &[required(
    "env",
    Form::SecretName,
    "The name of an environment variable.",
)];

const ON: Key = with_default(
    "on",
    Form::SomeOf(&Form::Word(ENDINGS)),
    ANY_ENDING,
    "On which endings. `tests-passed` and `tests-failed` are the two verdicts of a completed run.",
);

const LONGER_THAN: Key = optional(
    "longer_than",
    Form::Duration { zero: false },
    "Tell as well, once, that a session of a run goes on for longer than this. A server or `runner queue work` tells it.",
);

const TIMEOUT_KEY: Key = with_default(
    "timeout",
    Form::Duration { zero: false },
    TIMEOUT_JSON,
    "How long one attempt may take.",
);

/// Who is told when a run ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// How long the process of a session waits until all are told.
    pub wait: Duration,
    /// Addresses of HTTP.
    pub webhooks: Vec<Webhook>,
    /// Programs.
    pub commands: Vec<NotifyCommand>,
}

/// An address to which a document is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is.
    pub url: WebhookUrl,
    /// The variable with the secret that signs what is sent.
    pub secret: Option<String>,
    /// On which endings.
    pub on: Vec<RunEnding>,
    /// After what time it is told that a session goes on.
    pub longer_than: Option<Duration>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookUrl {
    /// Here.
    Plain(String),
    /// Where this variable says.
    Variable(String),
}

/// A program that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// On which endings.
    pub on: Vec<RunEnding>,
    /// After what time it is told that a session goes on.
    pub longer_than: Option<Duration>,
    /// How long it may take.
    pub timeout: Duration,
}

/// An ending of which somebody wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnding {
    /// The run has this status.
    Status(RunStatus),
    /// It is completed, with this verdict.
    Verdict(Verdict),
}

impl RunEnding {
    fn parse(word: &str) -> Option<Self> {
        match word.strip_prefix("tests-") {
            Some(verdict) => Verdict::parse(verdict).map(Self::Verdict),
            None => RunStatus::parse(word).map(Self::Status),
        }
    }

    /// Tells whether a run with this status and verdict has ended this way.
    pub fn is_of(self, status: RunStatus, verdict: Verdict) -> bool {
        match self {
            Self::Status(wanted) => wanted == status,
            Self::Verdict(wanted) => status == RunStatus::Completed && wanted == verdict,
        }
    }
}

impl Notify {
    /// Reads the table, which has been checked.
    pub(super) fn read(table: &Map<String, Value>) -> Self {
        let tables = |key| {
            let items = table.get(key).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_object)
        };
        Self {
            wait: settings::duration(table, "wait").unwrap_or(WAIT),
            webhooks: tables("webhooks").filter_map(Webhook::read).collect(),
            commands: tables("commands").map(NotifyCommand::read).collect(),
        }
    }

    /// Tells whether nobody is told.
    pub fn is_empty(&self) -> bool {
        self.webhooks.is_empty() && self.commands.is_empty()
    }

    /// Those of this and those of `other`.
    pub fn and(mut self, other: &Self) -> Self {
        if self.is_empty() || other.wait > self.wait && !other.is_empty() {
            self.wait = other.wait;
        }
        self.webhooks.extend_from_slice(&other.webhooks);
        self.commands.extend_from_slice(&other.commands);
        self
    }
}

impl Webhook {
    fn read(table: &Map<String, Value>) -> Option<Self> {
        Some(Self {
            url: match table.get("url")? {
                Value::String(url) => WebhookUrl::Plain(url.clone()),
                table => WebhookUrl::Variable(variable(table)?),
            },
            secret: table.get("secret").and_then(variable),
            on: endings(table),
            longer_than: settings::duration(table, "longer_than"),
            timeout: settings::duration(table, "timeout").unwrap_or(TIMEOUT),
        })
    }
}

impl NotifyCommand {
    fn read(table: &Map<String, Value>) -> Self {
        Self {
            command: settings::strings(table, "command")
                .map(str::to_owned)
                .collect(),
            on: endings(table),
            longer_than: settings::duration(table, "longer_than"),
            timeout: settings::duration(table, "timeout").unwrap_or(TIMEOUT),
        }
    }
}

fn variable(table: &Value) -> Option<String> {
    table.get("env")?.as_str().map(str::to_owned)
}

fn endings(table: &Map<String, Value>) -> Vec<RunEnding> {
    let any = || serde_json::from_str(ANY_ENDING).expect("the default is JSON");
    let words = table.get("on").cloned().unwrap_or_else(any);
    let words = words.as_array().into_iter().flatten();
    let words = words.filter_map(Value::as_str);
    words.filter_map(RunEnding::parse).collect()
}

/// Checks an address.
///
/// # Errors
///
/// Says why it is none.
pub fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is none: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        scheme => Err(format!("`{scheme}` is not `http` or `https`")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{
        ENDINGS, Notify, RunEnding, TIMEOUT, TIMEOUT_JSON, WAIT, WAIT_JSON, check_url, endings,
    };
    use crate::model::{RunStatus, Verdict, parse_duration};

    #[test]
    fn every_word_is_an_ending_and_each_ending_is_met_by_some_run() {
        let met = ENDINGS.iter().map(|word| {
            let ending = RunEnding::parse(word).unwrap();
            let runs = [
                (RunStatus::Completed, Verdict::Passed),
                (RunStatus::Completed, Verdict::Failed),
                (RunStatus::Failed, Verdict::None),
                (RunStatus::Incomplete, Verdict::None),
                (RunStatus::Cancelled, Verdict::None),
            ];
            let met = runs.map(|(status, verdict)| u8::from(ending.is_of(status, verdict)));
            met.iter().sum::<u8>()
        });
        assert_eq!(met.collect::<Vec<_>>(), [2, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn the_written_defaults_are_the_real_ones() {
        let read = |json: &str| parse_duration(json.trim_matches('"')).unwrap();
        assert_eq!((read(TIMEOUT_JSON), read(WAIT_JSON)), (TIMEOUT, WAIT));
        let every = endings(&serde_json::Map::new());
        assert_eq!(every.len(), 4);
        assert!(!every.contains(&RunEnding::Status(RunStatus::Running)));
    }

    #[test]
    fn two_tables_apply_together_and_wait_for_the_longer_time_of_those_that_tell_anybody() {
        let read = |value: Value| Notify::read(value.as_object().unwrap());
        let hook = json!([{"url": "http://localhost"}]);
        let quick = read(json!({"wait": "1s", "webhooks": hook}));
        let slow = read(json!({"wait": "1m", "webhooks": hook}));
        let nobody = read(json!({"wait": "1h"}));
        let wait = |one: &Notify, other: &Notify| one.clone().and(other).wait;
        for (one, other, seconds) in [
            (&quick, &slow, 60),
            (&slow, &quick, 60),
            (&quick, &nobody, 1),
            (&nobody, &quick, 1),
        ] {
            assert_eq!(wait(one, other), Duration::from_secs(seconds));
        }
        assert_eq!(quick.and(&slow).webhooks.len(), 2);
    }

    #[test]
    fn an_address_is_one_of_http() {
        assert!(check_url("https://example.com/hook?token=1").is_ok());
        for bad in ["example.com", "ftp://example.com", "http://", "mailto:a@b"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
