//! `runner show`.

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _};

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    cli::ShowArgs,
    error::{Error, ExitStatus},
    model::{Reason, RunStatus},
    output::{self, Output, Shown, Tally},
    record::{LineError, Row, RunEntry, RunReader, Store, Underway},
    run::{self, TrialNames},
    session::Trials,
    view::{Death, DocumentVersion, InFlightAttempt, LiveSession, RunDetail, RunSummary},
};

/// Shows a run and the rows that were asked for.
pub(super) fn show(
    args: &ShowArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut wanted = Wanted::new(args)?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    if args.history && !args.json {
        let deaths = deaths(&reader);
        let run = RunSummary::new(&run, run::wall_clock());
        let text = output::history_text(&run, reader.manifest(), &deaths, output.columns());
        output.show(&text);
        return Ok(ExitStatus::Success);
    }

    let state = reader.state().map_err(Error::record)?;
    let session = reader.manifest().session();
    let (mut rows, mut done) = (Vec::new(), 0);
    let keep = |row: Row<'static>, is_current: bool| {
        done += u64::from(row.session == session && row.is_final);
        if wanted.wants(&row, is_current) {
            rows.push(row);
        }
    };
    let warn = |error: &LineError| output.warn(&error.to_string());
    let tally = Tally::of_run(&reader, &state, keep, warn);
    if let Some(trials) = &wanted.trial {
        trials.check("with a row")?;
    }
    let resume = naming::resume_entry(&run, surroundings);
    let now = run::wall_clock();
    let live = (run.status == RunStatus::Running).then(|| live(&run, &reader, done, now));
    let is_crashed = run.status == RunStatus::Incomplete && run.reason == Some(Reason::Crashed);
    let deaths = if is_crashed {
        deaths(&reader)
    } else {
        Vec::new()
    };
    let detail = RunDetail {
        v: DocumentVersion,
        run: RunSummary::new(&run, now),
        live,
        manifest: reader.manifest().clone(),
        rows,
    };
    if args.json {
        output.document(&detail);
    } else {
        let shown = Shown {
            detail: &detail,
            tally: &tally,
            death: deaths.last().filter(|death| death.session == session),
            resume: resume.as_deref(),
        };
        output.show(&output::show_text(&shown, output.columns()));
    }
    Ok(ExitStatus::Success)
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

/// What was in flight in sessions whose process died.
fn deaths(reader: &RunReader) -> Vec<Death> {
    let deaths = reader.deaths(run::wall_clock());
    if deaths.is_empty() {
        return Vec::new();
    }
    let mut names = TrialNames::of(reader);
    let mut death = |(session, in_flight): (u32, Vec<(u64, u32)>)| Death {
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

/// Which rows are shown.
struct Wanted {
    is_everything: bool,
    only_bad: bool,
    trial: Option<Trials>,
}

impl Wanted {
    fn new(args: &ShowArgs) -> Result<Self, Error> {
        let glob = args.trial.as_deref().map(Trials::new).transpose();
        let glob = glob
            .into_diagnostic()
            .wrap_err("`--trial` is no glob")
            .map_err(Error::usage)?;
        Ok(Self {
            // A document has everything, a screen what was asked for.
            is_everything: args.json && !args.failed && !args.history && args.trial.is_none(),
            only_bad: args.failed,
            trial: glob,
        })
    }

    fn wants(&mut self, row: &Row<'_>, is_current: bool) -> bool {
        let is_asked_for = match &mut self.trial {
            Some(trials) => trials.means(&row.trial),
            None => self.is_everything || self.only_bad,
        };
        is_asked_for && (!self.only_bad || (is_current && row.outcome.is_bad()))
    }
}
