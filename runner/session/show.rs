//! [`show`] and [`history`]: everything that is known of one run. Its manifest and its rows are read once.

use jiff::Timestamp;

use crate::{
    model::{Reason, RunStatus},
    record::{
        InFlightAtDeath, LineError, Look, RecordError, Row, RunEntry, RunReader, Underway, Wanted,
    },
    run::TrialNames,
    view::{
        Death, DocumentVersion, InFlightAttempt, LiveSession, ProviderSummary, RunDetail,
        RunHistory, RunSummary, ShownRun,
    },
};

/// Shows a run with the rows that `wants` asks for; `damaged` hears of lines that give none.
///
/// # Errors
///
/// Fails if its rows cannot be read.
pub fn show(
    look: &Look,
    wants: impl FnMut(&Row<'_>) -> Wanted,
    damaged: impl FnMut(&LineError),
    now: Timestamp,
) -> Result<ShownRun, RecordError> {
    let reader = look.reader();
    let account = reader.account(wants, damaged)?;
    let (run, deaths) = look.entry(&account.history)?;
    let is_running = run.status == RunStatus::Running;
    let is_crashed = run.status == RunStatus::Incomplete && run.reason == Some(Reason::Crashed);
    let session = reader.manifest().session();
    let latest = deaths
        .into_iter()
        .filter(|(died, _)| is_crashed && *died == session);
    Ok(ShownRun {
        providers: ProviderSummary::all(&account.tally),
        denials: account.tally.denials,
        death: named(reader, latest.collect()).pop(),
        detail: RunDetail {
            v: DocumentVersion,
            run: RunSummary::new(&run, now),
            live: is_running.then(|| live(&run, reader, account.done, now)),
            manifest: reader.manifest().clone(),
            rows: account.rows,
        },
    })
}

/// Shows the sessions of a run.
///
/// # Errors
///
/// Fails as [`show`] does.
pub fn history(look: &Look, now: Timestamp) -> Result<RunHistory, RecordError> {
    let reader = look.reader();
    let (run, deaths) = look.entry(&look.history()?)?;
    Ok(RunHistory {
        run: RunSummary::new(&run, now),
        manifest: reader.manifest().clone(),
        deaths: named(reader, deaths),
    })
}

/// Looks at what another process is doing; `done` is how many trials its session has done.
fn live(run: &RunEntry, reader: &RunReader, done: u64, now: Timestamp) -> LiveSession {
    let mut names = TrialNames::of(reader);
    let mut attempt = |underway: Underway| {
        let trial = name(names.as_mut(), underway.key.ordinal);
        InFlightAttempt::new(trial, underway.key.number, underway.begun_at, now)
    };
    let mut in_flight = reader.in_flight();
    in_flight.sort_by_key(|underway| underway.begun_at);
    let in_flight = in_flight.into_iter().map(&mut attempt).collect();
    let holder = reader.holder().unwrap_or_default();
    LiveSession::new(holder, run.opened_at, done, in_flight, now)
}

/// Names what was in flight in sessions whose process died.
fn named(reader: &RunReader, deaths: Vec<InFlightAtDeath>) -> Vec<Death> {
    if deaths.is_empty() {
        return Vec::new();
    }
    let mut names = TrialNames::of(reader);
    let mut death = |(session, in_flight): InFlightAtDeath| Death {
        session,
        more: in_flight.len().saturating_sub(Death::MAX_NAMED),
        attempts: in_flight[..in_flight.len().min(Death::MAX_NAMED)]
            .iter()
            .map(|&(ordinal, number)| InFlightAttempt {
                trial: name(names.as_mut(), ordinal),
                number,
                elapsed: None,
            })
            .collect(),
    };
    deaths.into_iter().map(&mut death).collect()
}

/// A trial's id, or its place in the plan where that is not there any more.
fn name(names: Option<&mut TrialNames>, ordinal: u64) -> String {
    let id = names.and_then(|names| names.name(ordinal));
    id.map_or_else(|| format!("trial {ordinal}"), |id| id.to_string())
}
