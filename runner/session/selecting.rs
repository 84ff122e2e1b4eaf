//! Filters over trials: what other runs say for them, and which rows they mean.

use std::{borrow::Cow, ops::Range, path::Path, sync::Arc, time::Duration};

use miette::miette;
use serde_json::{Map, Value};

use crate::{
    error::{Error, ExitStatus},
    filter::{CameTo, Expression, Facts, Filter, FilterError, InRun, Members},
    model::{RunStatus, add_to_ranges},
    record::{LineError, Rerun, Row, RunReader, State, Store},
    run::TrialNames,
    scenario::{Selection, Test},
    view::ReportTrial,
};

/// Which trials that have a final row run again.
#[derive(Clone, Debug)]
pub enum RerunChoice {
    /// By how they ended, or by a glob over their ids.
    Rule(Rerun),
    /// By a filter over what they came to.
    Filter(Filter),
}

/// Looks up what the filter of a selection asks of other runs in the results root `root`.
pub(super) fn looked_up(selection: &Selection, root: &Path) -> Result<Selection, Error> {
    let mut selection = selection.clone();
    if let Some(filter) = selection.filter.take() {
        filter.check_for_plan().map_err(Error::usage)?;
        selection.filter = Some(resolve(filter, root)?);
    }
    Ok(selection)
}

/// Looks up what a filter asks of other runs in the results root `root`; a path in it may name a run elsewhere.
pub(super) fn resolve(filter: Filter, root: &Path) -> Result<Filter, Error> {
    let text = filter.to_string();
    filter.resolve(|asked| look_up(asked, root, &text))
}

fn look_up(asked: &InRun<'_>, root: &Path, text: &str) -> Result<(String, Members), Error> {
    let refused = |error: &dyn std::error::Error| {
        let error = FilterError::new(text, asked.at.clone(), error.to_string());
        Error::usage(error.with_help("`runner list` shows all runs"))
    };
    let store = Store::existing(root).map_err(|error| refused(&error))?;
    let dir = store.locate(asked.run).map_err(|error| refused(&error))?;
    let reader = RunReader::open(&dir).map_err(|error| refused(&error))?;
    let state = reader.history().map_err(Error::record)?.state;
    let mut filter = RowFilter::new(asked.of.clone(), &reader);
    let mut found = Vec::new();
    for row in reader.rows() {
        match row {
            Ok(row) if state.is_current(&row) && filter.means(&row, true) => {
                found.push((row.test.into_owned(), row.provider.into_owned()));
            }
            Ok(_) | Err(LineError::Damaged { .. }) => {}
            Err(LineError::Io(source)) => return Err(Error::record(reader.rows_failed(source))),
        }
    }
    let pairs = found.iter();
    let members = pairs.map(|(test, provider)| (test.as_str(), provider.as_str()));
    Ok((lasting_name(&store, &dir, &reader), members.collect()))
}

/// A name that means the same run later: its id where the root has it, else its path.
fn lasting_name(store: &Store, dir: &Path, reader: &RunReader) -> String {
    let id = reader.manifest().run_id.to_string();
    let real = |dir: &Path| dir.canonicalize().ok();
    let by_id = store.locate(&id).ok().and_then(|dir| real(&dir));
    match real(dir) {
        Some(real) if by_id.as_ref() != Some(&real) => real.display().to_string(),
        _ => id,
    }
}

/// An expression that is asked of rows.
#[derive(Clone)]
pub(super) struct RowFilter {
    expression: Expression,
    /// Where the tags of tests are, if they are asked for.
    names: Option<TrialNames>,
}

impl RowFilter {
    /// Makes `expression` ready to be asked of the rows of a run.
    pub(super) fn new(expression: Expression, reader: &RunReader) -> Self {
        let names = expression
            .asks_for_tags()
            .then(|| TrialNames::of(reader))
            .flatten();
        Self { expression, names }
    }

    /// Tells whether a row is meant. One that does not settle its trial, because another attempt came after it, says nothing
    /// of what its trial came to.
    pub(super) fn means(&mut self, row: &Row<'_>, settles: bool) -> bool {
        let names = self.names.as_mut();
        let facts = TrialFacts {
            test: &row.test,
            provider: &row.provider,
            trial: Cow::Borrowed(&row.trial),
            source: names.and_then(|names| names.test(row.ordinal)),
            came_to: settles.then(|| CameTo {
                outcome: Some(row.outcome),
                error: row.error.as_ref().and_then(|error| error.class),
                is_flaky: row.is_flaky,
                duration: Some(row.duration()),
            }),
        };
        self.expression.holds(&facts) == Some(true)
    }

    /// Tells whether a trial is meant that nothing has settled.
    pub(super) fn means_unsettled(&mut self, names: &mut TrialNames, ordinal: u64) -> bool {
        self.means_trial(names, ordinal, CameTo::default())
    }

    /// Tells whether a trial of the plan is meant that came to this.
    pub(super) fn means_trial(
        &mut self,
        names: &mut TrialNames,
        ordinal: u64,
        came_to: CameTo,
    ) -> bool {
        let Some(id) = names.name(ordinal) else {
            return false;
        };
        let facts = TrialFacts {
            test: id.test.as_str(),
            provider: id.provider.as_str(),
            trial: Cow::Owned(id.to_string()),
            source: names.test(ordinal),
            came_to: Some(came_to),
        };
        self.expression.holds(&facts) == Some(true)
    }
}

/// Tells whether a trial is meant by its provider and by what it came to alone; `None` if that depends on its test.
pub(super) fn means_outcome(filter: &Filter, provider: &str, came_to: CameTo) -> Option<bool> {
    filter.holds(&OutcomeFacts { provider, came_to })
}

/// What is known of a trial without its test.
struct OutcomeFacts<'a> {
    provider: &'a str,
    came_to: CameTo,
}

impl Facts for OutcomeFacts<'_> {
    fn test(&self) -> Option<&str> {
        None
    }

    fn provider(&self) -> Option<&str> {
        Some(self.provider)
    }

    fn trial(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn tags(&self) -> Option<&[String]> {
        None
    }

    fn meta(&self) -> Option<&Map<String, Value>> {
        None
    }

    fn came_to(&self) -> Option<CameTo> {
        Some(self.came_to)
    }
}

/// Tells whether a test on a provider is meant, of which nothing else is known.
pub(super) fn means_test(filter: &Filter, test: &str, provider: &str) -> bool {
    let facts = TrialFacts {
        test,
        provider,
        trial: Cow::Borrowed(""),
        source: None,
        came_to: None,
    };
    filter.holds(&facts) == Some(true)
}

/// What is known of a trial.
struct TrialFacts<'a> {
    test: &'a str,
    provider: &'a str,
    trial: Cow<'a, str>,
    source: Option<Arc<Test>>,
    came_to: Option<CameTo>,
}

impl Facts for TrialFacts<'_> {
    fn test(&self) -> Option<&str> {
        Some(self.test)
    }

    fn provider(&self) -> Option<&str> {
        Some(self.provider)
    }

    fn trial(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.trial))
    }

    fn tags(&self) -> Option<&[String]> {
        self.source.as_ref().map(|test| &*test.tags)
    }

    fn meta(&self) -> Option<&Map<String, Value>> {
        self.source.as_ref().map(|test| &*test.meta)
    }

    fn came_to(&self) -> Option<CameTo> {
        self.came_to
    }
}

impl Facts for ReportTrial {
    fn test(&self) -> Option<&str> {
        Some(&self.test)
    }

    fn provider(&self) -> Option<&str> {
        Some(&self.provider)
    }

    fn trial(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.trial))
    }

    fn tags(&self) -> Option<&[String]> {
        Some(&self.tags)
    }

    fn meta(&self) -> Option<&Map<String, Value>> {
        Some(&self.meta)
    }

    fn came_to(&self) -> Option<CameTo> {
        let millis = self.duration_ms;
        Some(CameTo {
            outcome: self.outcome,
            error: self.error.as_ref().and_then(|error| error.class),
            is_flaky: self.is_flaky,
            duration: millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok()),
        })
    }
}

/// Which trials of the run of `reader` are to run again. What a filter means now is kept by the places of the trials: a later
/// look finds the same.
pub(super) fn rerun(
    choice: Option<&RerunChoice>,
    reader: &RunReader,
    root: &Path,
) -> Result<Option<Rerun>, Error> {
    let filter = match choice {
        None => return Ok(None),
        Some(RerunChoice::Rule(rerun)) => return Ok(Some(rerun.clone())),
        Some(RerunChoice::Filter(filter)) => resolve(filter.clone(), root)?,
    };
    if reader.manifest().status == RunStatus::Failed && !reader.has_begun() {
        return Ok(None);
    }
    let state = reader.history().map_err(Error::record)?.state;
    let ordinals = meant(&filter, reader, &state)?;
    if ordinals.is_empty() {
        return Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = "without `--rerun` the trials run that have not",
                "no trial of the run that has ended is meant by `{filter}`"
            ),
        });
    }
    Ok(Some(Rerun::Changed(ordinals)))
}

/// The places of the settled trials that a filter means.
fn meant(filter: &Filter, reader: &RunReader, state: &State) -> Result<Vec<Range<u64>>, Error> {
    let mut rows = RowFilter::new(filter.expression().clone(), reader);
    let mut ordinals = Vec::new();
    for row in reader.rows() {
        match row {
            Ok(row) if state.is_current(&row) && rows.means(&row, true) => {
                ordinals.push(row.ordinal);
            }
            Ok(_) | Err(LineError::Damaged { .. }) => {}
            Err(LineError::Io(source)) => return Err(Error::record(reader.rows_failed(source))),
        }
    }
    ordinals.sort_unstable();
    let mut ranges = Vec::new();
    for ordinal in ordinals {
        add_to_ranges(&mut ranges, ordinal);
    }
    Ok(ranges)
}
