//! Reads a [`TrialDocument`] without the rows of other trials.

use runner_model::{ProviderName, TrialId};
use runner_record::{RecordError, ResultsRoot};

use super::rows::{IndexedRow, RunIndex};
use crate::TrialDocument;

impl RunIndex {
    /// Reads a trial as [`TrialDocument::read`] does. `None` if the plan lacks it.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn document(
        &self,
        root: &ResultsRoot,
        trial: &TrialId,
    ) -> Result<Option<TrialDocument>, RecordError> {
        let Some(place) = self.plan.place(trial) else { return Ok(None) };
        let on_provider = |name: &String| {
            let provider = ProviderName::parse(name).ok()?;
            self.plan.place(&TrialId { provider, ..trial.clone() })
        };
        let places: Vec<_> = self.providers.iter().filter_map(on_provider).collect();
        let is_its = |row: &&IndexedRow| places.contains(&row.place);
        let rows: Vec<_> = self.rows.iter().filter(is_its).map(IndexedRow::place_on_disk).collect();
        let planned = self.plan.test(place);
        let document = TrialDocument::of_lines(root, &self.run, trial.clone(), planned, |each| {
            // A new run has no file of rows yet.
            if rows.is_empty() { Ok(()) } else { self.run.rows_at(rows.into_iter(), each) }
        });
        document.map(Some)
    }
}
