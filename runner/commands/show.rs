//! `runner show`.

use miette::{IntoDiagnostic as _, WrapErr as _};

use super::{
    Surroundings,
    matching::Trials,
    naming::{self, Named},
};
use crate::{
    cli::ShowArgs,
    error::{Error, ExitStatus},
    model::RunStatus,
    output::{self, Attempting, Live, Output, Shown, Tally},
    record::{LineError, Row, RunEntry, RunReader, Store, Underway},
    run::{self, TrialNames},
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
        let text = output::history_text(&run, reader.manifest(), output.columns());
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
    let live = (run.status == RunStatus::Running).then(|| live(&run, &reader, done));
    let shown = Shown {
        run: &run,
        manifest: reader.manifest(),
        tally: &tally,
        rows: &rows,
        live: live.as_ref(),
        resume: resume.as_deref(),
        now: run::wall_clock(),
    };
    if args.json {
        output.data(&output::show_json(&shown));
    } else {
        output.show(&output::show_text(&shown, output.columns()));
    }
    Ok(ExitStatus::Success)
}

/// Looks at what another process is doing; `done` is how many trials its session has done.
fn live(run: &RunEntry, reader: &RunReader, done: u64) -> Live {
    let mut names = TrialNames::of(reader);
    let mut attempting = |underway: Underway| {
        let ordinal = underway.key.ordinal;
        let name = names.as_mut().and_then(|names| names.name(ordinal));
        Attempting {
            trial: name.map_or_else(|| format!("trial {ordinal}"), |name| name.to_string()),
            number: underway.key.number,
            begun_at: underway.begun_at,
        }
    };
    let mut in_flight = reader.in_flight();
    in_flight.sort_by_key(|underway| underway.begun_at);
    Live {
        owner: reader.owner(),
        since: run.opened_at,
        done,
        in_flight: in_flight.into_iter().map(&mut attempting).collect(),
    }
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
