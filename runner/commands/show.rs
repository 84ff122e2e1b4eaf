//! `runner show`.

use miette::{IntoDiagnostic as _, WrapErr as _};

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    cli::ShowArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{FindError, LineError, Look, Row, Store, Wanted},
    run,
    session::{self, Trials},
};

/// Shows a run and the rows that were asked for.
pub(super) fn show(
    args: &ShowArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut asked = Asked::new(args)?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = Named::or_latest(args.run.as_deref(), surroundings);
    let dir = named.told(store.locate(named.as_str()))?;
    let look = named.told(Look::at(&dir).map_err(FindError::from))?;
    let now = run::wall_clock();
    if args.history && !args.json {
        let history = session::history(&look, now).map_err(Error::record)?;
        output.show(&output::history_text(&history, output.columns()));
        return Ok(ExitStatus::Success);
    }

    let warn = |error: &LineError| output.warn(&error.to_string());
    let shown = session::show(&look, |row| asked.wants(row), warn, now).map_err(Error::record)?;
    if let Some(trials) = &asked.trials {
        trials.check("with a row")?;
    }
    if args.json {
        output.document(&shown.detail);
    } else {
        let run = &shown.detail.run;
        let resume = naming::resume(&run.dir, &run.id, run.status, surroundings);
        let text = output::show_text(&shown, resume.as_deref(), output.columns());
        output.show(&text);
    }
    Ok(ExitStatus::Success)
}

/// Which rows are asked for.
struct Asked {
    is_everything: bool,
    only_bad: bool,
    trials: Option<Trials>,
}

impl Asked {
    fn new(args: &ShowArgs) -> Result<Self, Error> {
        let trials = args.trial.as_deref().map(Trials::new).transpose();
        let trials = trials
            .into_diagnostic()
            .wrap_err("`--trial` is no glob")
            .map_err(Error::usage)?;
        Ok(Self {
            // A document has everything, a screen what was asked for.
            is_everything: args.json && !args.failed && !args.history && args.trial.is_none(),
            only_bad: args.failed,
            trials,
        })
    }

    fn wants(&mut self, row: &Row<'_>) -> Wanted {
        let is_asked_for = match &mut self.trials {
            Some(trials) => trials.means(&row.trial),
            None => self.is_everything || self.only_bad,
        };
        match (is_asked_for, self.only_bad) {
            (true, false) => Wanted::Yes,
            (true, true) if row.outcome.is_bad() => Wanted::IfCurrent,
            _ => Wanted::No,
        }
    }
}
