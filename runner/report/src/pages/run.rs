//! [`RunPage`]: the document of a run without its rows, which takes no more memory for a longer run.

use std::sync::Arc;

use runner_model::Time;
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

use super::actions::RunActions;
use super::index::RunIndex;
use super::tables::RunTables;
use crate::{RunSummary, VERSION};

/// A run as `show` prints it, without its rows, with the requests that it accepts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Time of the answer.
    pub now: Time,
    pub run: RunSummary,
    pub actions: RunActions,
    /// Present if another user or key made the run: the rest of a sentence about it. Then there are no actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<String>,
    pub manifest: Manifest,
    /// Present while a process works on the run.
    pub live: Option<Live>,
    /// Results that the manifest of a run that has ended counts and its rows do not have.
    pub lost_results: u64,
    /// Number of rows. `null` while they are being read, and then the tables are absent.
    pub rev: Option<u64>,
    #[serde(flatten)]
    pub tables: Option<Arc<RunTables>>,
}

impl RunPage {
    /// Reads a run, whose rows `index` follows. `None` for a page without tables.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        mut index: Option<&mut RunIndex>,
        is_read_only: bool,
        now: Time,
    ) -> Result<Self, RecordError> {
        // Read before the manifest: if the run ends in between, the manifest shows it.
        let live = run.live();
        let on_disk = match index.as_mut() {
            Some(index) => index.follow()?,
            None => run.manifest()?,
        };
        let judged = run.truth()?;
        let is_over = judged.status.is_terminal();
        let lost = on_disk.counts.done().saturating_sub(judged.counts.done());
        let foreign = run.foreign();
        let run = RunSummary::from_run(root, run, &judged);
        Ok(Self {
            v: VERSION,
            now,
            actions: RunActions::of(&run.head, is_read_only, foreign.is_some()),
            foreign,
            run,
            live: live.filter(|_| !is_over),
            lost_results: if is_over { lost } else { 0 },
            rev: index.as_ref().map(|index| index.rev()),
            tables: index.map(|index| index.tables(root, &judged)).transpose()?,
            manifest: if on_disk.status.is_terminal() { on_disk } else { judged },
        })
    }
}
