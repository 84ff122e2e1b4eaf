//! Filters over the results of runs.

use std::{collections::HashSet, path::Path};

use runner_model::{RowRef, status::RunVerdict, visible::visible_line};
use runner_record::{RecordError, ResultsRoot, RunDir, Selected, is_latest};
use runner_results::{RowSelection, RunTable};
use runner_scenario::Filter;

use crate::EngineError;

/// Looks up each `in(RUN, FILTER)` of a filter in a results root.
///
/// # Errors
///
/// A run is not found, cannot be read or has lost results.
pub fn resolve_filter(filter: &mut Filter, root: &ResultsRoot) -> Result<(), EngineError> {
    resolve(filter, &|name| Ok(root.find(name)?))
}

/// Looks up runs as [`resolve_filter`] does, but only in this root, for filters from other processes.
///
/// # Errors
///
/// As [`resolve_filter`]. A path finds no run.
pub fn resolve_filter_in(filter: &mut Filter, root: &ResultsRoot) -> Result<(), EngineError> {
    resolve(filter, &|name| Ok(root.find_named(name)?))
}

type Find<'f> = dyn Fn(&str) -> Result<RunDir, EngineError> + 'f;

fn resolve(filter: &mut Filter, find: &Find<'_>) -> Result<(), EngineError> {
    filter.resolve(&mut |inner| {
        let run = find(inner.run)?;
        let manifest = run.truth()?;
        if manifest.verdict == RunVerdict::Damaged {
            return Err(EngineError::Usage(format!(
                "run {} is damaged, so a filter would miss some of its results; to see the damage: {}",
                run.id(),
                run.command("verify", &[])
            )));
        }
        let mut tests = HashSet::new();
        matching_rows(&run, &inner.filter, |row| {
            tests.insert(format!("{}@{}", &*row.test, &*row.provider));
        })?;
        Ok((run.id().to_owned(), tests))
    })
}

/// Parses the filter of a selection, and looks up its runs. Refuses `latest` with a shard: shards start at different times, and
/// those of different runs would have some trials twice and lack others.
pub(crate) fn selected_filter(
    selected: &Selected,
    results: &Path,
) -> Result<Option<Filter>, EngineError> {
    let Some(text) = &selected.filter else { return Ok(None) };
    let mut filter = Filter::parse(text).map_err(EngineError::Scenario)?;
    filter.check_for_tests().map_err(EngineError::Scenario)?;
    if filter.has_runs() {
        let root = ResultsRoot::existing(results)?;
        resolve(&mut filter, &|name| {
            let run = root.find(name)?;
            if selected.shard.is_some() && is_latest(name) {
                return Err(EngineError::Usage(format!(
                    "`{}` may be another run for each shard\nname the run by its id: {}",
                    visible_line(name),
                    run.id()
                )));
            }
            Ok(run)
        })?;
    }
    Ok(Some(filter))
}

/// Calls `each` with the rows that settle trials and match a resolved filter, in their order on disk.
pub(crate) fn matching_rows(
    run: &RunDir,
    filter: &Filter,
    mut each: impl FnMut(&RowRef<'_>),
) -> Result<(), RecordError> {
    let table = RunTable::open(run)?;
    let rows = table.select(&RowSelection::Matching(filter.clone()))?;
    table.each_row_in_order(&rows, |_, row, _| each(row))
}
