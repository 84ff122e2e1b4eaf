//! Computes [`RunTables`].

use std::sync::Arc;
use std::time::Instant;

use runner_record::{Manifest, RecordError, ResultsRoot};

use super::rows::{IndexedRow, RunIndex};
use crate::denials::Denials;
use crate::pages::tables::RunTables;
use crate::results::{Column, Final, add_sums};
use crate::stored_tests::TestMeta;
use crate::{SincePrevious, run::tables};

impl RunIndex {
    /// Returns the tables. Those of a run that is running may be some seconds old if they take long.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn tables(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<Arc<RunTables>, RecordError> {
        let (rev, is_running) = (self.rev(), !manifest.status.is_terminal());
        if let Some(kept) = self.tables.get(rev, is_running) {
            return Ok(kept);
        }
        let started = Instant::now();
        let since = self.since_previous(root, manifest)?;
        let computed = self.compute_tables(manifest, since);
        self.tables.keep(rev, started.elapsed(), computed)
    }

    fn compute_tables(
        &mut self,
        manifest: &Manifest,
        since_previous: Arc<Option<SincePrevious>>,
    ) -> Result<RunTables, RecordError> {
        self.newest(self.rows.len());
        let meta = TestMeta::read(&self.run, manifest);
        let finals = || self.counting().map(|row| self.last_row(&row, &meta));
        let mut columns = vec![Column::default(); self.providers.len()];
        for row in finals() {
            columns[usize::from(row.provider)].add(row);
        }
        let row = |number: u32| self.rows[number as usize];
        let with_sums =
            self.numbers().filter(|number| row(*number).has_sums() && row(*number).settles());
        self.each_row(with_sums, |_, row| add_sums(&mut columns, &self.providers, row))?;
        let denying = (0..self.rows.len() as u32).filter(|number| row(*number).denies());
        let mut denials = Denials::default();
        self.each_row(denying, |_, row| denials.add(row))?;
        let (providers, graders) = tables(manifest, columns);
        Ok(RunTables {
            providers,
            graders,
            meta: meta.results(finals()),
            damaged_lines: self.damaged_lines,
            denials,
            since_previous,
        })
    }

    fn last_row(&self, row: &IndexedRow, meta: &TestMeta) -> Final {
        let (at, bytes) = row.place_on_disk();
        // Most suites have no `meta`, and the id is on disk.
        let trial = || self.plan.trial(row.place);
        let meta = if meta.is_empty() { 0 } else { trial().map_or(0, |id| meta.of(&id.test)) };
        Final {
            at,
            bytes: bytes as u32,
            duration_ms: row.duration_ms,
            provider: row.provider,
            outcome: row.outcome,
            flaky: row.is_flaky(),
            is_repeat: row.is_repeat(),
            score: row.score(),
            meta,
        }
    }
}
