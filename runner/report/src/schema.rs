//! [`SCHEMAS`]: JSON Schemas of all documents, and of the files and lines that programs read.

use runner_record::{Live, Manifest, NotificationLine};
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Map, Value, json};

use crate::{LogEntry, RunDocument, RunList, VERSION};
use crate::{
    commands::*, compare::ComparisonDocument, logs::StoredLog, rows::StoredRow, trials::*,
};

/// A schema that users can print.
pub struct NamedSchema {
    pub name: &'static str,
    /// Title for people.
    pub title: &'static str,
    make: fn(&Self) -> Value,
}

/// Files of users, files of a run, lines of commands, and documents of commands.
pub const SCHEMAS: &[NamedSchema] = &[
    named("scenario", "Scenario", |_| runner_scenario::schema()),
    named("settings", "`runner.toml` of a results root", |_| runner_scenario::settings_schema()),
    named("row", "Line of `index.jsonl`", of::<StoredRow>),
    named("log", "Line of `logs.jsonl`", of::<StoredLog>),
    named("manifest", "`benchmark.json`", of::<Manifest>),
    named("live", "`live.json`", of::<Live>),
    named("notifications", "Line of `notifications.jsonl`", of::<NotificationLine>),
    named("notification", "Body of a webhook, and input of a command", of::<Notification>),
    named("event", "Line of `exec`, `resume`, `rescore` and `wait`", of::<NumberedEvent>),
    named("plan", "Line of `exec --dry-run`", of::<PlanLine>),
    named("resume-plan", "Line of `resume --dry-run`", of::<ResumeLine>),
    named("rescore-plan", "Line of `rescore --dry-run`", of::<RescoreLine>),
    named("log-entry", "Line of `logs`", of::<LogEntry>),
    named("started", "Document of `exec --detach` and `resume --detach`", of::<Started>),
    named(
        "request",
        "Document of `stop`, `cancel`, `pause`, `unpause`, `label`",
        of::<RequestResult>,
    ),
    named("queue", "Document of `queue`", of::<QueueDocument>),
    named(
        "queue-change",
        "Document of `queue move`, `queue remove` and `--queue`",
        of::<QueueChange>,
    ),
    named("queue-step", "Line of `queue work`", of::<QueueStep>),
    named("workers", "Document of `worker list`", of::<WorkersDocument>),
    named("broker", "Document of `broker check`", of::<BrokerDocument>),
    named("list", "Document of `list`, and of `show` for a group", of::<RunList>),
    named("show", "Document of `show`", of::<RunDocument>),
    named("show-trial", "Document of `show RUN TRIAL`", of::<TrialDocument>),
    named("compare", "Document of `compare`", of::<ComparisonDocument>),
    named("merge", "Document of `merge`", of::<MergeDocument>),
    named("show-matrix", "Document of `show --matrix`", of::<MatrixDocument>),
    named("history", "Document of `history`", of::<HistoryDocument>),
    named("verify", "Document of `verify`", of::<VerifyDocument>),
    named("cleanup", "Document of `cleanup`", of::<CleanupDocument>),
    named("notify", "Document of `notify`", of::<NotifyDocument>),
    named("prune", "Document of `prune`", of::<PruneDocument>),
    named("plugin-run", "Document of `plugin run`", of::<PluginRunDocument>),
    named("plugin-grade", "Document of `plugin run --grade`", of::<GradeDocument>),
    named("plugin-inspect", "Document of `plugin inspect`", of::<InspectDocument>),
    named("plugin-doctor", "Document of `plugin doctor`", of::<DoctorDocument>),
];

const fn named(
    name: &'static str,
    title: &'static str,
    make: fn(&NamedSchema) -> Value,
) -> NamedSchema {
    NamedSchema { name, title, make }
}

impl NamedSchema {
    pub fn schema(&self) -> Value {
        (self.make)(self)
    }
}

/// Returns the schema of the JSON that a type is written as.
fn of<T: JsonSchema>(named: &NamedSchema) -> Value {
    let mut schema = schema_settings(true).into_generator().into_root_schema_for::<T>().to_value();
    schema["$id"] = format!("urn:runner:schema:{}", named.name).into();
    schema["title"] = named.title.into();
    if let Some(version) = schema.pointer_mut("/properties/v").and_then(Value::as_object_mut) {
        version.entry("const").or_insert(VERSION.into());
    }
    schema
}

/// Returns the settings for schemas of printed documents, or of requests.
pub fn schema_settings(is_printed: bool) -> SchemaSettings {
    let settings = SchemaSettings::draft2020_12().with_transform(tidy);
    if is_printed { settings.for_serialize() } else { settings.for_deserialize() }
}

/// Removes the traces of Rust: names of number types, links, and the `null` of keys that are absent instead.
fn tidy(schema: &mut Schema) {
    transform_subschemas(&mut tidy, schema);
    let Some(schema) = schema.as_object_mut() else { return };
    schema.retain(|key, value| key != "format" || value == "date-time");
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required =
        |name: &str| required.as_array().is_some_and(|keys| keys.contains(&json!(name)));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(property) = property.as_object_mut() {
            tidy_property(property, is_required(name));
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = if text.starts_with("Always [`") {
            "The version.".to_owned()
        } else {
            text.replace("[`", "`").replace("`]", "`").replace('\n', " ")
        };
    }
}

fn tidy_property(property: &mut Map<String, Value>, is_required: bool) {
    if let Some(Value::String(text)) = property.get_mut("description") {
        *text = if is_required {
            text.replace("`None`", "`null`")
        } else {
            text.replace(". `None`", ". Absent").replace("`None`", "Absent")
        };
    }
    if is_required {
        return;
    }
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &mut types[..] {
            property["type"] = only.take();
        }
    }
    if let Some(Value::Array(options)) = property.get_mut("anyOf") {
        options.retain(|option| option["type"] != "null");
        if let [Value::Object(only)] = &mut options[..] {
            let only = std::mem::take(only);
            property.remove("anyOf");
            property.extend(only);
        }
    }
}
