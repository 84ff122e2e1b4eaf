//! [`EventLine`]: the event stream of `--json`, JSON Lines, the same for everything that follows a run.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    model::escape_json,
    record::{ManifestCounts, Row},
};

/// The version of the event format.
const VERSION: u32 = 1;

/// One line of the stream.
#[derive(Serialize, JsonSchema)]
pub struct EventLine<'a> {
    /// The version of the format: 1.
    v: u32,
    /// The line's number, from 1.
    n: u64,
    #[serde(flatten)]
    event: StreamEvent<'a>,
}

/// What happened.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum StreamEvent<'a> {
    /// A run was born; from now on it can be listed.
    Started {
        /// The run's id.
        run: &'a str,
        /// The run's directory.
        run_dir: &'a str,
        /// The scenario's name.
        scenario: &'a str,
        /// How many trials are planned.
        planned: u64,
    },
    /// A plugin asks for more than its provider is granted; it runs all the same.
    Requests {
        /// The provider.
        provider: &'a str,
        /// What is not granted, in the plugin's words.
        requests: &'a [&'a str],
        /// The table that grants all of it, as the scenario would have it; empty where none of it is understood.
        toml: &'a str,
    },
    /// A row is on disk, or a judgement of one that was there.
    Row {
        /// The row, with what its line of `index.jsonl` leaves out and without its checksum; where graders have spoken, as
        /// they have judged it.
        row: &'a Row<'a>,
    },
    /// Some time has passed.
    Progress {
        /// What is on disk.
        counts: ManifestCounts,
        /// How many attempts are being executed.
        running: usize,
        /// How many trials have been executed and have yet to be graded; absent where there is none.
        #[serde(skip_serializing_if = "is_zero")]
        #[schemars(default)]
        ungraded: u64,
        /// The trial that has been running for the longest time.
        #[serde(skip_serializing_if = "Option::is_none")]
        longest: Option<Longest<'a>>,
        /// Whether more attempts would be executed if those that are left them memory.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[schemars(default)]
        waits_for_memory: bool,
        /// Whether no worker is there who makes attempts, where workers on other machines are to make them.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        #[schemars(default)]
        waits_for_workers: bool,
    },
    /// Somebody has paused the session: no attempt begins, guests wait where they are, and no time of it passes.
    Paused {
        /// Who, and why; `SIGTSTP` is Ctrl-Z.
        by: &'a str,
    },
    /// It goes on.
    Unpaused,
    /// No new trials are begun.
    Stopping {
        /// How hard: `drain`, `stop`, `cancel` or `kill`.
        mode: &'static str,
        /// Why: a reason of `benchmark.json`.
        reason: &'static str,
        /// The same for people, with who asked.
        why: &'a str,
        /// How many attempts have not answered.
        in_flight: usize,
    },
    /// The session is over.
    Finished {
        /// The run's status.
        status: &'static str,
        /// Why it has this status.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        /// What its trials showed.
        verdict: &'static str,
        /// What the process exits with.
        exit_code: u8,
        /// The run's directory.
        run_dir: &'a str,
        /// What is on disk.
        counts: ManifestCounts,
        /// What the trials came to that this session has run, if it is not the first one of the run; `planned` is how many.
        #[serde(skip_serializing_if = "Option::is_none")]
        ran: Option<ManifestCounts>,
        /// What went wrong, if the run could not go on.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
}

/// A trial that is being executed.
#[derive(Serialize, JsonSchema)]
pub struct Longest<'a> {
    /// Its id.
    trial: &'a str,
    /// For how long.
    elapsed_ms: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> EventLine<'a> {
    /// Writes the event as line `n`, with its newline; nothing steers a terminal in it.
    pub fn write(n: u64, event: StreamEvent<'a>, to: &mut Vec<u8>) {
        let line = EventLine {
            v: VERSION,
            n,
            event,
        };
        let start = to.len();
        serde_json::to_writer(&mut *to, &line)
            .expect("an event has no value that JSON cannot hold");
        escape_json(to, start);
        to.push(b'\n');
    }
}

impl<'a> Longest<'a> {
    /// A trial whose attempt has been executed for so long.
    pub fn new(trial: &'a str, elapsed: Duration) -> Self {
        Self {
            trial,
            elapsed_ms: elapsed.as_secs_f64() * 1e3,
        }
    }
}

/// The JSON Schema of one line.
pub fn events_schema() -> Value {
    let mut schema = schemars::schema_for!(EventLine<'static>);
    schema.insert("title".into(), "A line of `runner exec --json`".into());
    schema.to_value()
}
