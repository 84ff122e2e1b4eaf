//! [`show`] and [`history`]: everything that is known of one run. Its manifest is read once, and so are its rows, unless some
//! of them are asked for.

use std::{iter::Take, path::Path};

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _};
use serde_json::Map;

use super::{
    TrialGlob,
    activity::{activity, attempt_name},
    selecting::{self, RowFilter},
};
use crate::{
    error::Error,
    filter::{self, Condition, Expression, Filter},
    model::{Reason, RunStatus},
    record::{
        AttemptKey, InFlightAtDeath, LineError, Look, Manifest, RecordError, Row, RowGlance, Rows,
        RunEntry, RunReader, RunResults, State, Wanted,
    },
    run::TrialNames,
    view::{
        Death, DocumentVersion, GradedAtDeath, LiveSession, ProviderSummary, RunDetail, RunHistory,
        RunSummary, ShownRow, ShownRun, worked_between,
    },
};

/// Of how many attempts a history tells how they were judged.
const MAX_REJUDGED: usize = 100;

/// What is asked for: a run, and some of its rows. The default is none of them.
#[derive(Clone, Debug, Default)]
pub struct Show {
    /// Only the rows of trials whose id or test id matches this glob, in full.
    pub trial: Option<String>,
    /// Only final rows that are failures, errors or timeouts.
    pub only_bad: bool,
    /// Only the rows of trials that this means.
    pub filter: Option<Filter>,
    /// All rows, where nothing else is asked for.
    pub is_everything: bool,
}

/// The rows that are asked for, in the order of writing: read once more, one by one, because there may be too many to be
/// held.
pub struct ShownRows {
    reader: RunReader,
    rows: Take<Rows<Row<'static>>>,
    /// What all rows come to.
    state: State,
    filter: RowFilter,
}

/// Shows the run in `dir`, and gives the rows that are asked for; `damaged` hears of lines that give none and of rows that
/// are missing.
///
/// # Errors
///
/// Fails if the run or its rows cannot be read, or if no trial with a row is meant.
pub fn show(
    dir: &Path,
    request: &Show,
    damaged: impl FnMut(&dyn std::error::Error),
    now: Timestamp,
) -> Result<(ShownRun, ShownRows), Error> {
    let trials = request.trial.as_deref().map(TrialGlob::new).transpose();
    let mut trials = trials
        .into_diagnostic()
        .wrap_err("`--trial` is not a valid glob")
        .map_err(Error::usage)?;
    let expression = request.expression(dir)?;
    let look = look(dir)?;
    let looked_at = |row: &RowGlance| {
        if let Some(trials) = &mut trials {
            trials.means(&row.trial);
        }
        // They are read once more when it is known what they come to.
        Wanted::No
    };
    let results = look.reader().results_at_a_glance(looked_at, damaged);
    let results = results.map_err(Error::record)?;
    if let Some(trials) = &trials {
        trials.check("with a row")?;
    }
    let lines = usize::try_from(results.lines).unwrap_or(usize::MAX);
    let shown = shown(&look, &results, now).map_err(Error::record)?;
    let rows = ShownRows {
        reader: look.reader().clone(),
        // What came meanwhile is of another moment than the rest.
        rows: look.reader().rows().take(match request.asks_for_rows() {
            true => lines,
            false => 0,
        }),
        state: results.history.state,
        filter: RowFilter::new(expression, look.reader()),
    };
    Ok((shown, rows))
}

/// Reads the manifest of the run in `dir`.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn manifest(dir: &Path) -> Result<Manifest, Error> {
    Ok(look(dir)?.reader().manifest().clone())
}

/// Shows the sessions of the run in `dir`.
///
/// # Errors
///
/// Fails if the run or its rows cannot be read.
pub fn history(dir: &Path, now: Timestamp) -> Result<RunHistory, Error> {
    let look = look(dir)?;
    let entry = look.history().and_then(|history| look.entry(&history));
    let (run, deaths) = entry.map_err(Error::record)?;
    let mut manifest = look.reader().manifest().clone();
    // What goes on, or has died, is written down when it is closed.
    if let Some(latest) = manifest.sessions.last_mut()
        && latest.closed_at.is_none()
    {
        latest.pauses = look.reader().pauses();
    }
    Ok(RunHistory {
        run: RunSummary::new(&run, now),
        manifest,
        deaths: named(look.reader(), &deaths),
        rejudged: look
            .reader()
            .rejudged(MAX_REJUDGED)
            .map_err(Error::record)?,
    })
}

impl Show {
    fn asks_for_rows(&self) -> bool {
        self.is_everything || self.only_bad || self.trial.is_some() || self.filter.is_some()
    }

    /// All that rows have to be, as one expression.
    fn expression(&self, dir: &Path) -> Result<Expression, Error> {
        let globs = filter::glob_set(self.trial.as_deref().into_iter());
        let trial = globs
            .into_diagnostic()
            .wrap_err("`--trial` is not a valid glob")
            .map_err(Error::usage)?
            .map(|globs| Expression::Ask(Condition::Trial(globs), 0..0));
        let bad = self.only_bad.then(Expression::ended_badly);
        let filter = match &self.filter {
            Some(filter) => {
                let root = dir.parent().unwrap_or(Path::new("."));
                let filter = selecting::resolve(filter.clone(), root)?;
                Some(filter.expression().clone())
            }
            None => None,
        };
        Ok(Expression::All(
            [trial, bad, filter].into_iter().flatten().collect(),
        ))
    }
}

impl ShownRows {
    /// The same rows, each with what its test says that rows do not repeat.
    pub fn with_tests(self) -> impl Iterator<Item = Result<ShownRow, Error>> {
        let mut names = TrialNames::of(&self.reader);
        self.map(move |row| {
            let row = row?;
            let test = names.as_mut().and_then(|names| names.test(row.ordinal));
            let test = test.as_ref();
            Ok(ShownRow {
                tags: test.map_or_else(Vec::new, |test| test.tags.to_vec()),
                meta: test.map_or_else(Map::new, |test| Map::clone(&test.meta)),
                input: test
                    .and_then(|test| serde_json::from_str(&test.input).ok())
                    .unwrap_or_default(),
                row,
            })
        })
    }

    fn is_asked_for(&mut self, row: &Row<'_>) -> bool {
        self.filter.means(row, self.state.is_current(row))
    }
}

impl Iterator for ShownRows {
    type Item = Result<Row<'static>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rows.next()? {
                Ok(row) if self.is_asked_for(&row) => return Some(Ok(row)),
                // Of what is damaged somebody has heard in the first reading.
                Ok(_) | Err(LineError::Damaged { .. }) => {}
                Err(LineError::Io(source)) => {
                    return Some(Err(Error::record(self.reader.rows_failed(source))));
                }
            }
        }
    }
}

fn look(dir: &Path) -> Result<Look, Error> {
    Look::at(dir).map_err(|error| Error::find(error.into()))
}

fn shown(look: &Look, results: &RunResults, now: Timestamp) -> Result<ShownRun, RecordError> {
    let reader = look.reader();
    let (run, deaths) = look.entry(&results.history)?;
    let is_running = run.status == RunStatus::Running;
    let is_crashed = run.status == RunStatus::Incomplete && run.reason == Some(Reason::Crashed);
    let session = reader.manifest().session();
    let latest = deaths
        .into_iter()
        .filter(|death| is_crashed && death.session == session);
    Ok(ShownRun {
        providers: ProviderSummary::all(&results.tally),
        denials: results.tally.denials.clone(),
        death: named(reader, &latest.collect::<Vec<_>>()).pop(),
        detail: RunDetail {
            v: DocumentVersion,
            run: RunSummary::new(&run, now),
            live: is_running.then(|| live(&run, reader, results.done, now)),
            manifest: reader.manifest().clone(),
            rows: Vec::new(),
        },
    })
}

/// Looks at what another process is doing; `done` is how many trials its session has done.
fn live(run: &RunEntry, reader: &RunReader, done: u64, now: Timestamp) -> LiveSession {
    let holder = reader.holder().unwrap_or_default();
    let elapsed = worked_between(run.opened_at, now, &run.pauses);
    LiveSession::new(holder, run.opened_at, elapsed, done, activity(reader, now))
}

/// Names what was in flight in sessions whose process died.
fn named(reader: &RunReader, deaths: &[InFlightAtDeath]) -> Vec<Death> {
    if deaths.is_empty() {
        return Vec::new();
    }
    let mut names = TrialNames::of(reader);
    let mut name = |ordinal: u64, number: u32| {
        let id = names.as_mut().and_then(|names| names.name(ordinal));
        attempt_name(id.as_ref(), AttemptKey { ordinal, number })
    };
    let mut named: Vec<_> = deaths
        .iter()
        .map(|death| {
            let executed = death.executed.iter().take(Death::MAX_NAMED);
            let graded = death.graded.iter().take(Death::MAX_NAMED);
            Death {
                session: death.session,
                attempts: executed
                    .map(|(ordinal, number)| name(*ordinal, *number))
                    .collect(),
                // How often a grader is asked is its own affair.
                graded: graded
                    .map(|(ordinal, _)| GradedAtDeath {
                        trial: name(*ordinal, 1).trial,
                        grader: None,
                    })
                    .collect(),
                more: death.executed.len().saturating_sub(Death::MAX_NAMED)
                    + death.graded.len().saturating_sub(Death::MAX_NAMED),
            }
        })
        .collect();
    let graders = names.as_ref().map(|names| names.scenario().graders());
    for (named, death) in named.iter_mut().zip(deaths) {
        for (graded, (_, place)) in named.graded.iter_mut().zip(&death.graded) {
            let grader = graders.and_then(|graders| graders.get(*place as usize));
            graded.grader = grader.map(|grader| grader.name().to_owned());
        }
    }
    named
}
