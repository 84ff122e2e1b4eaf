//! `runner schema`: prints the JSON Schemas of documents, of lines and of files.

use clap::builder::{PossibleValue, PossibleValuesParser};
use runner_model::{exit::Exit, log::LogLine, protocol::CallLine};
use runner_record::{Live, Manifest, NotificationLine};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{
    CallsDocument, ChangesDocument, ComparisonDocument, ExactDocument, HistoryDocument, LogEntry,
    MatrixDocument, Notification, PlanLine, PruneDocument, QueueChange, QueueDocument, QueueStep,
    RequestResult, RescoreLine, ResumeLine, RunDocument, RunList, Started, StoredRow,
    TranscriptDocument, TrialDocument, VERSION, schema_settings,
};
use serde_json::Value;

use crate::commands::fleet::{broker::BrokerDocument, worker::WorkersDocument};
use crate::commands::plugin::{
    doctor::DoctorDocument,
    inspect::InspectDocument,
    run::{GradeDocument, PluginRunDocument},
};
use crate::commands::results::{
    accept::AcceptDocument, known::KnownDocument, merge::MergeDocument,
};
use crate::commands::root::notify::NotifyDocument;
use crate::commands::root::upkeep::{CleanupDocument, VerifyDocument};
use crate::text::{CommandError, Out, Table, events::NumberedEvent};

/// Print the JSON Schema of a file or of `--json`
///
/// Without a name, it lists the names.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the schema
    #[arg(value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
}

/// Makes a schema with a name and a title.
type MakeSchema = fn(&str, &str) -> Value;

/// Name, title for people, and schema of files of users, files of a run, lines of commands, and documents of commands.
const SCHEMAS: &[(&str, &str, MakeSchema)] = &[
    ("scenario", "Scenario", |_, _| runner_scenario::schema()),
    ("settings", "`runner.toml` of a results root", |_, _| runner_scenario::settings_schema()),
    ("row", "Line of `index.jsonl`", of::<StoredRow>),
    ("log", "Line of `logs.jsonl`", of::<StoredLog>),
    ("call", "Line of `calls.jsonl`", of::<StoredCall>),
    ("manifest", "`benchmark.json`", of::<Manifest>),
    ("live", "`live.json`", of::<Live>),
    ("notifications", "Line of `notifications.jsonl`", of::<NotificationLine>),
    ("notification", "Body of a webhook, and input of a command", of::<Notification>),
    ("event", "Line of `exec`, `resume`, `rescore` and `wait`", of::<NumberedEvent>),
    ("plan", "Line of `exec --dry-run`", of::<PlanLine>),
    ("resume-plan", "Line of `resume --dry-run`", of::<ResumeLine>),
    ("rescore-plan", "Line of `rescore --dry-run`", of::<RescoreLine>),
    ("log-entry", "Line of `logs`", of::<LogEntry>),
    ("started", "Document of `exec --detach` and `resume --detach`", of::<Started>),
    ("request", "Document of `stop`, `cancel`, `pause`, `unpause`, `label`", of::<RequestResult>),
    ("queue", "Document of `queue`", of::<QueueDocument>),
    ("queue-change", "Document of `queue move`, `queue remove` and `--queue`", of::<QueueChange>),
    ("queue-step", "Line of `queue work`", of::<QueueStep>),
    ("workers", "Document of `worker list`", of::<WorkersDocument>),
    ("broker", "Document of `broker check`", of::<BrokerDocument>),
    ("list", "Document of `list`, and of `show` for a group", of::<RunList>),
    ("show", "Document of `show`", of::<RunDocument>),
    ("show-trial", "Document of `show RUN TRIAL`", of::<TrialDocument>),
    ("show-calls", "Document of `show RUN TRIAL --calls`", of::<CallsDocument>),
    ("show-diff", "Document of `show RUN TRIAL --diff`", of::<ChangesDocument>),
    ("show-transcript", "Document of `show RUN TRIAL --transcript`", of::<TranscriptDocument>),
    ("compare", "Document of `compare`", of::<ComparisonDocument>),
    ("exact", "Document of `compare --exact`", of::<ExactDocument>),
    ("accept", "Document of `accept`", of::<AcceptDocument>),
    ("known", "Document of `known`", of::<KnownDocument>),
    ("merge", "Document of `merge`", of::<MergeDocument>),
    ("show-matrix", "Document of `show --matrix`", of::<MatrixDocument>),
    ("history", "Document of `history`", of::<HistoryDocument>),
    ("verify", "Document of `verify`", of::<VerifyDocument>),
    ("cleanup", "Document of `cleanup`", of::<CleanupDocument>),
    ("notify", "Document of `notify`", of::<NotifyDocument>),
    ("prune", "Document of `prune`", of::<PruneDocument>),
    ("plugin-run", "Document of `plugin run`", of::<PluginRunDocument>),
    ("plugin-grade", "Document of `plugin run --grade`", of::<GradeDocument>),
    ("plugin-inspect", "Document of `plugin inspect`", of::<InspectDocument>),
    ("plugin-doctor", "Document of `plugin doctor`", of::<DoctorDocument>),
];

/// Returns the schema of the JSON that a type is written as.
fn of<T: JsonSchema>(name: &str, title: &str) -> Value {
    let mut schema = schema_settings(true).into_generator().into_root_schema_for::<T>().to_value();
    schema["$id"] = format!("urn:runner:schema:{name}").into();
    schema["title"] = title.into();
    if let Some(version) = schema.pointer_mut("/properties/v").and_then(Value::as_object_mut)
        && !version.contains_key("enum")
    {
        version.entry("const").or_insert(VERSION.into());
    }
    schema
}

// Programs read and write a line in parts.
/// A line of `logs.jsonl`: log records and output of an attempt.
#[derive(JsonSchema)]
#[schemars(rename = "LogLine")]
#[expect(dead_code, reason = "only its schema is used")]
struct StoredLog {
    #[serde(flatten)]
    line: LogLine<'static>,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}

/// A line of `calls.jsonl`: a part of the journal of an attempt.
#[derive(JsonSchema)]
#[schemars(rename = "CallLine")]
#[expect(dead_code, reason = "only its schema is used")]
struct StoredCall {
    #[serde(flatten)]
    line: CallLine<'static>,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}

/// The name and the title of the description of the API, which is not a JSON Schema.
const OPENAPI: (&str, &str) = ("openapi", "HTTP API of `serve`, by OpenAPI 3.1");

/// Returns the names and titles of all schemas.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCHEMAS.iter().map(|(name, title, _)| (*name, *title)).chain([OPENAPI])
}

fn names() -> PossibleValuesParser {
    all().map(|(name, title)| PossibleValue::new(name).help(title)).collect::<Vec<_>>().into()
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let named = args.name.as_ref().and_then(|name| SCHEMAS.iter().find(|(one, ..)| one == name));
    if let Some((name, title, make)) = named {
        out.document(&make(name, title));
    } else if args.name.is_some() {
        out.document(&runner_serve::openapi());
    } else {
        let mut table = Table::new([("name", 0), ("describes", 0)]);
        all().for_each(|(name, title)| table.row([name.into(), title.into()]));
        out.data(table.render(out.columns()).trim_end());
    }
    Ok(Exit::Success)
}
