//! [`RunPage`]: the document of a run without its rows, which takes no more memory for a longer run.

use std::sync::Arc;

use runner_model::Time;
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

use super::actions::RunActions;
use crate::{RunSummary, RunTables, SincePrevious, VERSION, run_facts};

/// The number of rows of a run, their sums, and its changes since the previous one.
pub type PageTables = (u64, Arc<RunTables>, Arc<Option<SincePrevious>>);

/// A run as `show` prints it, without its rows, with the requests that it accepts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunPage {
    /// Always [`VERSION`].
    v: u8,
    /// Time of the answer.
    now: Time,
    run: RunSummary,
    actions: RunActions,
    /// Present if another user or key made the run: the rest of a sentence about it. Then there are no actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<String>,
    manifest: Manifest,
    /// Present while a process works on the run.
    live: Option<Live>,
    /// Results that the manifest of a run that has ended counts and its rows do not have.
    lost_results: u64,
    /// Number of rows. `null` while they are being read, and then the tables are absent.
    rev: Option<u64>,
    #[serde(flatten)]
    tables: Option<Arc<RunTables>>,
    /// The result of the gate as lines, for people. Empty without one.
    gate: Vec<String>,
    /// Changes since the previous run. Absent while the run is running, and if there are no changes.
    #[serde(skip_serializing_if = "is_absent")]
    since_previous: Arc<Option<SincePrevious>>,
}

fn is_absent(changes: &Option<SincePrevious>) -> bool {
    changes.is_none()
}

impl RunPage {
    /// Reads a run. `tables` returns the number of its rows, their sums, and the changes, for the true manifest. `None` for a page
    /// without tables.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        tables: Option<impl FnOnce(&Manifest) -> Result<PageTables, RecordError>>,
        is_read_only: bool,
        now: Time,
    ) -> Result<Self, RecordError> {
        // Read before the manifest: if the run ends in between, the manifest shows it.
        let live = run.live();
        let on_disk = run.manifest()?;
        let judged = run.truth()?;
        let is_over = judged.status.is_terminal();
        let lost = on_disk.counts.done().saturating_sub(judged.counts.done());
        let foreign = run.foreign();
        let run = RunSummary::from_run(root, run, &judged);
        let (rev, tables, since_previous) = match tables {
            Some(tables) => {
                let (rev, tables, since) = tables(&judged)?;
                (Some(rev), Some(tables), since)
            }
            None => (None, None, Arc::default()),
        };
        Ok(Self {
            v: VERSION,
            now,
            actions: RunActions::of(&run.head, is_read_only, foreign.is_some()),
            foreign,
            run,
            live: live.filter(|_| !is_over),
            lost_results: if is_over { lost } else { 0 },
            rev,
            tables,
            since_previous,
            gate: judged.gate.as_ref().map(run_facts::gate_lines).unwrap_or_default(),
            manifest: if on_disk.has_ended() { on_disk } else { judged },
        })
    }
}
