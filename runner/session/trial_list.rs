//! [`TrialList`]: pages of the trials of a run, by what they came to, also while it goes on.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use miette::miette;

use super::{
    selecting::{self, RowFilter},
    trial_matrix::MatrixMaker,
};
use crate::{
    error::Error,
    filter::{CameTo, Filter},
    model::Outcome,
    record::{LineColumn, RecordError, Row, RunColumns, RunReader},
    run::TrialNames,
    view::{
        ListedTrial, MetricsMaker, RunMetrics, RunProgress, RunSeries, TrialMatrix, TrialsPage,
    },
};

/// How many selections of trials are kept beside a run.
const KEPT: usize = 8;

/// In which order trials are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrialOrder {
    /// As they stand in the plan.
    #[default]
    Plan,
    /// As they have ended.
    Ended,
    /// By how long their last attempt took.
    Duration,
    /// By what they came to: those that have not passed come first.
    Outcome,
}

/// Which trials are asked for.
#[derive(Clone, Debug, Default)]
pub struct AskedTrials {
    /// Those that this means, of those that have a final row.
    pub filter: Option<Filter>,
    /// In which order.
    pub order: TrialOrder,
    /// The other way round.
    pub is_reversed: bool,
    /// As the run was when it had so many lines; the newest state without it.
    pub rev: Option<u64>,
    /// How many trials are passed over.
    pub offset: usize,
    /// How many are listed at most.
    pub limit: usize,
}

/// The trials of a run that have a final row.
pub struct TrialList {
    dir: PathBuf,
    reader: RunReader,
    columns: RunColumns,
    kept: VecDeque<(Selected, Arc<[u32]>)>,
}

/// What decides which trials are listed in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selected {
    filter: String,
    order: TrialOrder,
    is_reversed: bool,
    rev: u64,
}

impl TrialList {
    /// Reads the rows of a run.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let reader = RunReader::open(dir).map_err(Error::record)?;
        let columns = RunColumns::of(&reader).map_err(Error::record)?;
        Ok(Self {
            dir: dir.to_owned(),
            reader,
            columns,
            kept: VecDeque::new(),
        })
    }

    /// Reads the rows that have come since; tells whether there are any.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or rows have been lost that were there.
    pub fn follow(&mut self) -> Result<bool, RecordError> {
        self.columns.follow()
    }

    /// How far the run is.
    pub fn progress(&self) -> RunProgress {
        let counts = self.columns.counts();
        RunProgress {
            rev: self.columns.rev(),
            done: counts.done(),
            planned: counts.planned,
            counts: (*counts).into(),
        }
    }

    /// The lines of the run, by their places.
    pub fn columns(&self) -> &RunColumns {
        &self.columns
    }

    /// How much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let kept = self.kept.iter().map(|(_, lines)| lines.len() * 4);
        self.columns.memory() + kept.sum::<usize>()
    }

    /// The trials that are asked for.
    ///
    /// # Errors
    ///
    /// Fails if the filter means another run that cannot be found, or rows cannot be read.
    pub fn page(&mut self, asked: &AskedTrials) -> Result<TrialsPage, Error> {
        let rev = asked.rev.unwrap_or(u64::MAX).min(self.columns.rev());
        let lines = self.selected(asked, rev)?;
        let from = asked.offset.min(lines.len());
        let to = from.saturating_add(asked.limit).min(lines.len());
        let trials: std::io::Result<Vec<_>> = lines[from..to]
            .iter()
            .map(|line| self.columns.row(*line).map(|row| ListedTrial::new(&row)))
            .collect();
        let failed = |error| Error::record(self.reader.rows_failed(error));
        Ok(TrialsPage::new(
            rev,
            lines.len(),
            from,
            trials.map_err(failed)?,
        ))
    }

    /// What tests came to on each provider: so many tests from one on, in the plan's order.
    ///
    /// # Errors
    ///
    /// Fails if what was stored with the run is not there any more.
    pub fn matrix(&mut self, offset: usize, limit: usize) -> Result<TrialMatrix, Error> {
        let gone = || {
            Error::usage(miette!(
                "the plan of run `{}` is not in the content store any more",
                self.reader.id()
            ))
        };
        let mut names = TrialNames::of(&self.reader).ok_or_else(gone)?;
        let providers = names.scenario().providers().iter();
        let providers: Vec<String> = providers.map(|one| one.id.to_string()).collect();
        let mut matrix = MatrixMaker::new(providers, offset, limit);
        for ordinal in 0..self.columns.counts().planned {
            let Some(id) = names.name(ordinal) else { break };
            let outcome = self.columns.outcome(ordinal);
            matrix.add(&id, outcome);
        }
        Ok(matrix.finish(self.columns.rev()))
    }

    /// What charts are drawn of.
    pub fn series(&self) -> RunSeries {
        let mut lines = self.columns.settled(u64::MAX);
        lines.sort_unstable();
        let mut series = RunSeries::new(self.columns.rev(), self.columns.providers());
        let part = lines.len().div_ceil(RunSeries::PARTS).max(1);
        for part in lines.chunks(part) {
            let lines = part.iter().map(|line| self.columns.line(*line));
            series.add(lines.map(|line| (line.outcome, line.provider, line.duration_ms)));
        }
        series
    }

    /// What the providers have measured, in all trials or in some of a long run.
    ///
    /// # Errors
    ///
    /// Fails if rows cannot be read.
    pub fn metrics(&self) -> Result<RunMetrics, Error> {
        let mut lines = self.columns.settled(u64::MAX);
        lines.sort_unstable();
        let mut metrics = MetricsMaker::default();
        let every = lines.len().div_ceil(RunMetrics::MAX_TRIALS).max(1);
        for line in lines.iter().step_by(every) {
            let row = self.columns.row(*line);
            metrics.add(&row.map_err(|error| Error::record(self.reader.rows_failed(error)))?);
        }
        Ok(metrics.finish(self.columns.rev(), lines.len()))
    }

    /// The lines of the trials that are asked for, in their order.
    fn selected(&mut self, asked: &AskedTrials, rev: u64) -> Result<Arc<[u32]>, Error> {
        let filter = asked.filter.as_ref();
        let selected = Selected {
            filter: filter.map(ToString::to_string).unwrap_or_default(),
            order: asked.order,
            is_reversed: asked.is_reversed,
            rev,
        };
        if let Some((_, lines)) = self.kept.iter().find(|(known, _)| *known == selected) {
            return Ok(Arc::clone(lines));
        }
        let mut lines = self.columns.settled(rev);
        if let Some(filter) = filter {
            self.retain(&mut lines, filter)?;
        }
        let column = |line: &u32| self.columns.line(*line);
        match asked.order {
            TrialOrder::Plan => {}
            TrialOrder::Ended => lines.sort_unstable(),
            TrialOrder::Duration => {
                lines.sort_by(|a, b| column(a).duration_ms.total_cmp(&column(b).duration_ms));
            }
            TrialOrder::Outcome => lines.sort_by(|a, b| worse_first(column(a), column(b))),
        }
        if asked.is_reversed {
            lines.reverse();
        }
        let lines: Arc<[u32]> = lines.into();
        self.kept.push_front((selected, Arc::clone(&lines)));
        self.kept.truncate(KEPT);
        Ok(lines)
    }

    /// Leaves the trials that a filter means.
    fn retain(&self, lines: &mut Vec<u32>, filter: &Filter) -> Result<(), Error> {
        let root = self.dir.parent().unwrap_or(Path::new("."));
        let filter = selecting::resolve(filter.clone(), root)?;
        let mut rows = RowFilter::new(filter.expression().clone(), &self.reader);
        let mut names = TrialNames::of(&self.reader);
        lines.retain(|line| {
            let column = self.columns.line(*line);
            // To read the test of each of very many trials takes a hundred times as long.
            let provider = self.columns.providers().get(usize::from(column.provider));
            let by_outcome = provider
                .and_then(|provider| selecting::means_outcome(&filter, provider, came_to(column)));
            if let Some(is_meant) = by_outcome {
                return is_meant;
            }
            match (&mut names, column.ordinal) {
                (Some(names), Some(ordinal)) => {
                    rows.means_trial(names, ordinal.into(), came_to(column))
                }
                // The plan is not there any more, and rows repeat what they need of it.
                _ => {
                    let row = self.columns.row(*line);
                    row.is_ok_and(|row: Row<'_>| rows.means(&row, true))
                }
            }
        });
        Ok(())
    }
}

fn came_to(column: &LineColumn) -> CameTo {
    CameTo {
        outcome: Some(column.outcome),
        error: column.class,
        is_flaky: column.is_flaky,
        duration: Duration::try_from_secs_f32(column.duration_ms / 1e3).ok(),
    }
}

fn worse_first(one: &LineColumn, other: &LineColumn) -> Ordering {
    let rank = |line: &LineColumn| match line.outcome {
        Outcome::Failed => 0,
        Outcome::Error => 1,
        Outcome::Timeout => 2,
        Outcome::Passed if line.is_flaky => 3,
        Outcome::Skipped => 4,
        Outcome::Passed | Outcome::Stopped | Outcome::Ungraded => 5,
    };
    rank(one).cmp(&rank(other))
}
