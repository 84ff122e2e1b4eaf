//! The schemas of the documents.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{
    CleanupReport, Compared, EndedRun, MergeReport, NotifyReport, PausedDocument, PlanLine,
    PluginInspection, PruneReport, QueueChange, QueueStep, RehearsalReport, ReportLine,
    RescoreReport, RunDetail, RunList, RunNotification, RunQueue, SpokenAttempts, TestTrends,
    ToolList, TrialPage, VerifyReport,
};

/// What makes the JSON Schema of a document.
type MakeSchema = fn() -> Value;

/// Every document: its name for `runner schema`, which is that of its file in `schemas/` too, and its schema.
pub const SCHEMAS: [(&str, MakeSchema); 23] = [
    ("plan", || {
        of::<PlanLine<'_>>(
            "A line of what `runner exec --dry-run --json` and `runner resume --dry-run --json` print",
        )
    }),
    ("list", || of::<RunList>("What `runner list --json` prints")),
    ("show", || {
        of::<RunDetail>("What `runner show --json` prints")
    }),
    ("trial", || {
        of::<TrialPage>("What `runner show RUN TRIAL --json` prints")
    }),
    ("report", || {
        of::<ReportLine<'_>>("A line of what `runner report --jsonl` prints")
    }),
    ("compare", || {
        of::<Compared>("What `runner compare --json` prints")
    }),
    ("rescore", || {
        of::<RescoreReport>("What `runner rescore --json` prints")
    }),
    ("merge", || {
        of::<MergeReport>("What `runner merge --json` prints")
    }),
    ("history", || {
        of::<TestTrends>("What `runner history --json` prints")
    }),
    ("logs", || {
        of::<SpokenAttempts>("What `runner logs RUN TRIAL --json` prints")
    }),
    ("stop", || {
        of::<EndedRun<'_>>("What `runner stop --json` and `runner cancel --json` print")
    }),
    ("pause", || {
        of::<PausedDocument<'_>>("What `runner pause --json` and `runner unpause --json` print")
    }),
    ("verify", || {
        of::<VerifyReport>("What `runner verify --json` prints")
    }),
    ("prune", || {
        of::<PruneReport>("What `runner prune --json` prints")
    }),
    ("cleanup", || {
        of::<CleanupReport>("What `runner cleanup --json` prints")
    }),
    ("notify", || {
        of::<NotifyReport>("What `runner notify --json` prints")
    }),
    ("notification", || {
        of::<RunNotification>("What webhooks are sent, and commands get, when a run ends")
    }),
    ("queue", || {
        of::<RunQueue>("What `runner queue --json` prints")
    }),
    ("queue-change", || {
        of::<QueueChange>(
            "What `exec --queue --json`, `queue move --json` and `queue remove --json` print",
        )
    }),
    ("queue-step", || {
        of::<QueueStep>("A line of what `runner queue work --json` prints")
    }),
    ("plugin-inspect", || {
        of::<PluginInspection>("What `runner plugin inspect --json` prints")
    }),
    ("plugin-run", || {
        of::<RehearsalReport>("What `runner plugin run --json` prints")
    }),
    ("plugin-doctor", || {
        of::<ToolList>("What `runner plugin doctor --json` prints")
    }),
];

/// The JSON Schema of a document by its name; `None` if there is no such document.
pub fn schema(name: &str) -> Option<Value> {
    let (_, make) = SCHEMAS.iter().find(|(known, _)| *known == name)?;
    Some(make())
}

/// The schema of what is written: a key that is always there is required, whether its value is `null` or not.
fn of<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}
