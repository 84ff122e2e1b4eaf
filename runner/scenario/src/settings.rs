//! [`RootSettings`]: `runner.toml` of a results root.

use std::time::Duration;

use serde_json::Value;

use crate::keys::{Notify, ROOT_NOTIFY};
use crate::problem::Problems;
use crate::reading::{
    AGE, At, Boolean, Document, Form, Integer, List, Reader, SIZE, TEXT, Table, TableForm,
    file_schema, read_literals,
};

/// The keys of `runner.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSettings {
    /// Runs that may be active before the queue and a server start no other. At least 1.
    pub max_active_runs: u32,
    pub retention: Retention,
    pub notify: Notify,
    pub serve: ServeSettings,
}

impl Default for RootSettings {
    /// The settings of a root without `runner.toml`.
    fn default() -> Self {
        Self {
            max_active_runs: 1,
            retention: Retention::default(),
            notify: Notify::default(),
            serve: ServeSettings::default(),
        }
    }
}

/// `[serve]`: settings of `runner serve` that its flags do not replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeSettings {
    /// Folders whose scenarios may be started. Relative to the results root.
    pub scenarios: Vec<String>,
    pub read_only: bool,
}

/// `[retention]`: `prune` removes a run if one of these selects it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Selects runs that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// Selects all but this number of the newest runs.
    pub keep_last: Option<u64>,
    /// Selects the oldest runs until the others have at most this number of bytes.
    pub max_size: Option<u64>,
}

impl RootSettings {
    /// Parses a `runner.toml`. The path is for messages.
    ///
    /// # Errors
    ///
    /// All of its problems.
    pub fn parse(path: &str, text: &str) -> Result<Self, Problems> {
        Document::parse(path, text)
            .and_then(|document| document.read(&NoPlaceholders))
            .map_err(|problems| Problems::first(100, problems))
    }
}

/// `runner.toml`, in which no placeholder of the runner has a value.
struct NoPlaceholders;

impl Form for NoPlaceholders {
    type Out = RootSettings;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        reader.no_placeholders = Some("has no value: `runner.toml` has no placeholders");
        // TOML has no null. Each is a number or a placeholder that was reported.
        reader.refused_nulls = true;
        read_literals(value, reader);
        SETTINGS.read(at, value, reader)
    }

    fn schema(&self) -> Value {
        SETTINGS.schema()
    }
}

pub(crate) const SETTINGS: TableForm<RootSettings> = TableForm("`runner.toml`", settings);
const RETENTION: TableForm<Retention> = TableForm("`[retention]`", retention);
const SERVE: TableForm<ServeSettings> = TableForm("`[serve]`", serve);

/// Returns the JSON Schema of `runner.toml`.
pub fn settings_schema() -> Value {
    file_schema(&SETTINGS, "`runner.toml` of a results root")
}

fn settings(table: &mut Table<'_, '_>) -> Option<RootSettings> {
    Some(RootSettings {
        max_active_runs: table.or("max_active_runs", &Integer(1, u32::MAX), "1"),
        retention: table.optional("retention", &RETENTION).unwrap_or_default(),
        notify: table.optional("notify", &ROOT_NOTIFY).unwrap_or_default(),
        serve: table.optional("serve", &SERVE).unwrap_or_default(),
    })
}

fn serve(table: &mut Table<'_, '_>) -> Option<ServeSettings> {
    Some(ServeSettings {
        scenarios: table.optional("scenarios", &List(0, TEXT)).unwrap_or_default(),
        read_only: table.or("read_only", &Boolean, "false"),
    })
}

fn retention(table: &mut Table<'_, '_>) -> Option<Retention> {
    Some(Retention {
        older_than: table.optional("older_than", &AGE),
        keep_last: table.optional("keep_last", &Integer(0, u64::from(u32::MAX))),
        max_size: table.optional("max_size", &SIZE),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_model::status::RunEnding;

    use super::RootSettings;
    use crate::WebhookUrl;

    #[test]
    fn settings_are_read_with_their_defaults() {
        let text = r#"
            max_active_runs = 3
            retention = { older_than = "30d", keep_last = 500, max_size = "20GiB" }
            serve = { scenarios = ["../scenarios"], read_only = true }
            [notify]
            wait = "2s"
            webhooks = [{ url = { env = "HOOK" }, on = ["tests-failed"], private = true }]
            commands = [{ command = ["true"], longer_than = "1h", timeout = "1s" }]
        "#;
        let read = RootSettings::parse("runner.toml", text).unwrap();
        assert_eq!(read.max_active_runs, 3);
        assert_eq!(read.retention.older_than, Some(Duration::from_secs(30 * 86_400)));
        let kept = (read.retention.keep_last, read.retention.max_size);
        assert_eq!(kept, (Some(500), Some(20 << 30)));
        assert_eq!(
            (&read.serve.scenarios[..], read.serve.read_only),
            (&["../scenarios".to_owned()][..], true)
        );
        let [webhook] = &read.notify.webhooks[..] else { panic!("{read:?}") };
        assert_eq!(webhook.url, WebhookUrl::Variable("HOOK".to_owned()));
        assert_eq!(webhook.events.on, [RunEnding::TestsFailed]);
        assert_eq!(webhook.events.timeout, Duration::from_secs(5));
        let [command] = &read.notify.commands[..] else { panic!("{read:?}") };
        assert_eq!(command.events.longer_than, Some(Duration::from_secs(3600)));
        assert!(command.events.on.contains(&RunEnding::Cancelled));
        assert_eq!(RootSettings::parse("runner.toml", "").unwrap(), RootSettings::default());
    }

    #[test]
    fn placeholders_of_the_runner_are_refused() {
        let text = "[notify]\nwebhooks = [{ url = \"https://h.example/{{run.id}}\" }]\n\
                    [[notify.commands]]\ncommand = [\"say\", \"{{output}} {{row.x}}\"]\n\
                    [serve]\nscenarios = [\"{{var.folder}}\"]\n";
        let problems = RootSettings::parse("runner.toml", text).unwrap_err();
        assert_eq!(problems.count(), 3);
        let shown = problems.render(false, 100);
        for path in ["run.id", "output", "var.folder"] {
            let part = format!("`{{{{{path}}}}}` has no value: `runner.toml` has no placeholders");
            assert!(shown.contains(&part), "{part}: {shown}");
        }
        let text = "notify.commands = [{ command = [\"docker\", \"{{.ID}}\", \"{{{{output}}\"] }]";
        let read = RootSettings::parse("runner.toml", text).unwrap();
        assert_eq!(read.notify.commands[0].command, ["docker", "{{.ID}}", "{{output}}"]);
    }

    #[test]
    fn invalid_settings_are_refused_with_places() {
        let text = "max_active_runs = 0\n[retention]\nolder_then = \"x\"\nkeep_last = -1\n\
                    [notify]\nwebhooks = [{ url = \"https://me:secret@h.example\", on = [\"passed\"] }]\n\
                    [[notify.commands]]\ncommand = []\n";
        let problems = RootSettings::parse("runner.toml", text).unwrap_err();
        let shown = problems.render(false, 100);
        for part in [
            "runner.toml:1",
            "from 1 to",
            "runner.toml:3",
            "`older_then`",
            "did you mean",
            "`older_than`",
            "keep_last",
            "it has a user name or a password",
            "`passed` is not a value of `on`",
            "`command` must not be empty",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
