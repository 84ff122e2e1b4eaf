//! `runner show`.

use globset::{Glob, GlobMatcher};
use miette::{IntoDiagnostic as _, WrapErr as _};

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    cli::ShowArgs,
    error::{Error, ExitStatus},
    output::{self, Output, Shown, Tally},
    record::{LineError, Row, RunReader, Store},
    run,
};

/// Shows a run and the rows that were asked for.
pub(super) fn show(
    args: &ShowArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let wanted = Wanted::new(args)?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    if args.history && !args.json {
        let text = output::history_text(&run, reader.manifest(), output.columns());
        output.show(&text);
        return Ok(ExitStatus::Success);
    }

    let state = reader.state().map_err(Error::record)?;
    let mut rows = Vec::new();
    let keep = |row: Row<'static>, is_current: bool| {
        if wanted.wants(&row, is_current) {
            rows.push(row);
        }
    };
    let warn = |error: &LineError| output.warn(&error.to_string());
    let tally = Tally::of_run(&reader, &state, keep, warn);
    let resume = naming::resume_entry(&run, surroundings);
    let shown = Shown {
        run: &run,
        manifest: reader.manifest(),
        tally: &tally,
        rows: &rows,
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

/// Which rows are shown.
struct Wanted {
    is_everything: bool,
    only_bad: bool,
    trial: Option<GlobMatcher>,
}

impl Wanted {
    fn new(args: &ShowArgs) -> Result<Self, Error> {
        let glob = args.trial.as_deref().map(Glob::new).transpose();
        let glob = glob
            .into_diagnostic()
            .wrap_err("`--trial` is no glob")
            .map_err(Error::usage)?;
        Ok(Self {
            // A document has everything, a screen what was asked for.
            is_everything: args.json && !args.failed && !args.history && args.trial.is_none(),
            only_bad: args.failed,
            trial: glob.map(|glob| glob.compile_matcher()),
        })
    }

    fn wants(&self, row: &Row<'_>, is_current: bool) -> bool {
        let is_asked_for = match &self.trial {
            Some(glob) => glob.is_match(row.trial.as_ref()) || glob.is_match(row.test.as_ref()),
            None => self.is_everything || self.only_bad,
        };
        is_asked_for && (!self.only_bad || (is_current && row.outcome.is_bad()))
    }
}
