//! [`RootSettings`]: what `runner.toml` in a results root says.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use miette::NamedSource;
use serde_json::{Map, Value};

use super::{
    Problem, SettingsError,
    check::{self, At},
    form::{Form, Key, optional, with_default},
    notify::{Notify, ROOT_NOTIFY},
    raw::Document,
    schema::titled,
    settings::{integer, strings},
    units,
};
use crate::model::parse_age;

/// How many runs may be active at once where nobody says so.
const MAX_ACTIVE_RUNS: NonZeroUsize = NonZeroUsize::MIN;

/// The whole file.
static SETTINGS: Form = Form::Table(&[TOP]);

const TOP: &[Key] = &[
    with_default(
        "max_active_runs",
        Form::Integer { min: 1, max: 1000 },
        "1",
        "How many runs may be active before the queue and servers start no other. `exec` without `--queue` is not bound by it.",
    ),
    optional(
        "retention",
        Form::Table(&[RETENTION]),
        "Which runs go: what `runner prune` does without a policy of its own, and a server once an hour. Pinned and running runs stay.",
    ),
    optional(
        "notify",
        Form::Table(&[ROOT_NOTIFY]),
        "Who is told when a run of this results root ends, beside those of its scenario.",
    ),
    optional(
        "serve",
        Form::Table(&[SERVE]),
        "What `runner serve` does where its flags say nothing.",
    ),
];

const RETENTION: &[Key] = &[
    optional(
        "older_than",
        Form::Age,
        "Runs go that ended longer ago than this.",
    ),
    optional(
        "keep_last",
        Form::Integer {
            min: 0,
            max: 1_000_000_000,
        },
        "All but so many of the newest runs go.",
    ),
    optional(
        "max_size",
        Form::Size,
        "The oldest runs go until the rest is no larger than this.",
    ),
];

const SERVE: &[Key] = &[
    with_default(
        "scenarios",
        Form::List(&Form::Folder),
        "[]",
        "Folders with scenarios that may be started. Relative to the results root.",
    ),
    with_default(
        "read_only",
        Form::Boolean,
        "false",
        "Whether nothing may be started, stopped or deleted.",
    ),
];

/// What the settings of a results root say. Where there is no file, the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSettings {
    /// How many runs may be active before the queue and servers start no other.
    pub max_active_runs: NonZeroUsize,
    /// Which runs go; `None` where nothing is said.
    pub retention: Option<Retention>,
    /// Who is told when a run ends.
    pub notify: Notify,
    /// What a server does.
    pub serve: ServeSettings,
}

/// Which runs go. At least one of these says something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// All but so many of the newest.
    pub keep_last: Option<usize>,
    /// The oldest, until what is left is no larger than so many bytes.
    pub max_bytes: Option<u64>,
}

/// What a server does where its flags say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeSettings {
    /// The folders with scenarios that may be started.
    pub scenarios: Vec<PathBuf>,
    /// Whether nothing may be started, stopped or deleted.
    pub is_read_only: bool,
}

impl Default for RootSettings {
    fn default() -> Self {
        Self {
            max_active_runs: MAX_ACTIVE_RUNS,
            retention: None,
            notify: Notify::default(),
            serve: ServeSettings::default(),
        }
    }
}

impl RootSettings {
    /// Reads the settings in `path`, a file in a results root; the defaults, where there is no such file.
    ///
    /// # Errors
    ///
    /// Reports everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let bytes = match fs_err::read(path) {
            Ok(bytes) => bytes,
            // That the root is no directory is told by whoever opens it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Self::default());
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(SettingsError::Read { path, source });
            }
        };
        let text = str::from_utf8(&bytes).map_err(|error| SettingsError::Encoding {
            path: path.to_owned(),
            line: 1 + bytes[..error.valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
        })?;
        Self::parse(path, text).map_err(|problems| {
            let path = path.display().to_string();
            SettingsError::Invalid {
                text: NamedSource::new(&path, text.into()),
                path,
                problems,
            }
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(text)?;
        let mut problems = Vec::new();
        let value = document.value(&mut problems);
        let mut findings = Vec::new();
        check::check(&value, &SETTINGS, &At::ROOT, &mut findings);
        problems.extend(findings.into_iter().map(|finding| document.locate(finding)));
        problems.sort_by_key(Problem::offset);
        if !problems.is_empty() {
            return Err(problems);
        }
        let root = path.parent().unwrap_or(Path::new("."));
        let empty = Map::new();
        let top = value.as_object().unwrap_or(&empty);
        let table = |key| top.get(key).and_then(Value::as_object);
        Ok(Self {
            max_active_runs: integer(top, "max_active_runs")
                .map_or(MAX_ACTIVE_RUNS, |count: u32| {
                    NonZeroUsize::new(count as usize).unwrap_or(MAX_ACTIVE_RUNS)
                }),
            retention: table("retention").and_then(Retention::read),
            notify: table("notify").map(Notify::read).unwrap_or_default(),
            serve: table("serve").map_or_else(ServeSettings::default, |serve| ServeSettings {
                scenarios: strings(serve, "scenarios")
                    .map(|folder| root.join(folder))
                    .collect(),
                is_read_only: serve.get("read_only") == Some(&Value::Bool(true)),
            }),
        })
    }
}

impl Retention {
    /// Reads the table; one that is empty says nothing.
    fn read(table: &Map<String, Value>) -> Option<Self> {
        let older_than = table.get("older_than").and_then(Value::as_str);
        let read = Self {
            older_than: older_than.and_then(|age| parse_age(age).ok()),
            keep_last: integer(table, "keep_last"),
            max_bytes: table.get("max_size").and_then(units::size_of),
        };
        (read != Self::default()).then_some(read)
    }
}

/// Makes the JSON Schema of the settings of a results root.
pub fn settings_schema() -> Value {
    titled(
        &SETTINGS,
        "The settings of a results root of `runner`",
        "How many runs are active at once, which are kept, who is told of their ends, and what a server does.",
    )
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::{MAX_ACTIVE_RUNS, RETENTION, ROOT_NOTIFY, Retention, RootSettings, SERVE, TOP};
    use crate::{
        model::{RunStatus, Verdict},
        scenario::notify::{COMMAND, RunEnding, VARIABLE, WEBHOOK, WebhookUrl},
    };

    const EVERYTHING: &str = r#"
max_active_runs = 2
[retention]
older_than = "30d"
keep_last = 100
max_size = "10GiB"
[notify]
wait = "20s"
[[notify.webhooks]]
url = "https://example.com/hook"
secret = { env = "HOOK_SECRET" }
on = ["tests-failed", "failed"]
timeout = "2s"
[[notify.webhooks]]
url = { env = "CHAT_URL" }
longer_than = "2h"
[[notify.commands]]
command = ["notify-send", "a run has ended"]
[serve]
scenarios = ["../scenarios"]
read_only = true
"#;

    fn read(text: &str) -> RootSettings {
        RootSettings::parse(Path::new("results/runner.toml"), text).unwrap()
    }

    #[test]
    fn every_key_is_read() {
        for key in [
            TOP,
            RETENTION,
            ROOT_NOTIFY,
            WEBHOOK,
            COMMAND,
            VARIABLE,
            SERVE,
        ]
        .concat()
        {
            assert!(EVERYTHING.contains(key.name), "{}", key.name);
        }
        let settings = read(EVERYTHING);
        assert_eq!(settings.max_active_runs.get(), 2);
        let retention = Retention {
            older_than: Some(Duration::from_secs(30 * 24 * 3600)),
            keep_last: Some(100),
            max_bytes: Some(10 << 30),
        };
        assert_eq!(settings.retention, Some(retention));
        let notify = settings.notify;
        assert_eq!(notify.wait, Duration::from_secs(20));
        let [signed, chat] = &notify.webhooks[..] else {
            panic!("{notify:?}");
        };
        let url = WebhookUrl::Plain("https://example.com/hook".to_owned());
        assert_eq!(signed.url, url);
        assert_eq!(signed.secret.as_deref(), Some("HOOK_SECRET"));
        let on = [
            RunEnding::Verdict(Verdict::Failed),
            RunEnding::Status(RunStatus::Failed),
        ];
        assert_eq!(signed.on, on);
        assert_eq!(signed.timeout, Duration::from_secs(2));
        assert_eq!(chat.url, WebhookUrl::Variable("CHAT_URL".to_owned()));
        assert_eq!((chat.secret.clone(), chat.on.len()), (None, 4));
        assert_eq!(chat.longer_than, Some(Duration::from_secs(2 * 3600)));
        assert_eq!(notify.commands[0].command.len(), 2);
        assert_eq!(
            settings.serve.scenarios,
            [Path::new("results/../scenarios")]
        );
        assert!(settings.serve.is_read_only);
    }

    #[test]
    fn what_is_not_said_is_as_without_a_file() {
        assert_eq!(read(""), RootSettings::default());
        assert_eq!(read("[retention]").retention, None);
        assert_eq!(read("").max_active_runs, MAX_ACTIVE_RUNS);
        let missing = tempfile::tempdir().unwrap();
        let missing = RootSettings::load(&missing.path().join("runner.toml")).unwrap();
        assert_eq!(missing, RootSettings::default());
    }
}
