//! The arguments of `runner schema`, `completions` and `man`: what the program prints of itself. Doc comments of this file are the program's help.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The arguments of `runner completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// The arguments of `runner man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write `runner.1`, `runner-exec.1` and the others into this folder instead
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// The arguments of `runner schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which format
    pub name: SchemaName,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// The scenario file
    Scenario,
    /// `runner.toml`, the settings of a results root
    Settings,
    /// A line of `index.jsonl`
    Row,
    /// A line of `logs-<session>-<file>.jsonl`
    LogLine,
    /// `benchmark.json`
    Benchmark,
    /// A line of what `exec --json` prints
    Events,
    /// The HTTP API of `runner serve`, as an `OpenAPI` document
    Openapi,
    /// A line of what `exec --dry-run --json` and `resume --dry-run --json` print
    Plan,
    /// What `list --json` prints
    List,
    /// What `show --json` prints
    Show,
    /// What `show RUN TRIAL --json` prints
    Trial,
    /// A line of what `runner report --jsonl` prints
    Report,
    /// What `compare --json` prints
    Compare,
    /// What `rescore --json` prints
    Rescore,
    /// What `merge --json` prints
    Merge,
    /// What `history --json` prints
    History,
    /// What `logs RUN TRIAL --json` prints
    Logs,
    /// What `stop --json` and `cancel --json` print
    Stop,
    /// What `pause --json` and `unpause --json` print
    Pause,
    /// What `verify --json` prints
    Verify,
    /// What `prune --json` prints
    Prune,
    /// What `cleanup --json` prints
    Cleanup,
    /// What `notify --json` prints
    Notify,
    /// What webhooks are sent, and commands get, when a run ends
    Notification,
    /// What `queue --json` prints
    Queue,
    /// What `exec --queue --json`, `queue move --json` and `queue remove --json` print
    QueueChange,
    /// A line of what `queue work --json` prints
    QueueStep,
    /// What `plugin inspect --json` prints
    PluginInspect,
    /// What `plugin run --json` prints
    PluginRun,
    /// What `plugin doctor --json` prints
    PluginDoctor,
}
