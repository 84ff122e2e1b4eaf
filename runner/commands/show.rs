//! `runner show`.

use std::path::Path;

use miette::miette;

use super::{Context, naming::Named};
use crate::{
    cli::ShowArgs,
    error::{Error, ExitStatus},
    output,
    record::RunEntry,
    session::{self, AskedTrial, Show, Store},
    view::{RunDetail, RunList},
};

/// Shows a run and the rows that were asked for.
pub(super) fn show(args: &ShowArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = Named::or_latest(args.run.as_deref(), context);
    if let Some(runs) = named.group(&store)? {
        return group(&runs, args, context);
    }
    let dir = named.locate(&store)?;
    if let Some(name) = &args.trial {
        return trial(&dir, name, args, context);
    }
    if args.history && !args.json {
        let history = session::history(&dir, context.now())?;
        output.show(&output::history_text(&history, output.columns()));
        return Ok(ExitStatus::Success);
    }

    let filter = args.filter.parse()?;
    let is_narrowed = args.trials.is_some() || filter.is_some();
    let request = Show {
        trial: args.trials.clone(),
        only_bad: args.failed,
        filter,
        // A document has everything, a screen what was asked for.
        is_everything: args.json && !args.failed && !args.history && !is_narrowed,
    };
    let warn = |error: &dyn std::error::Error| output.warn(&error.to_string());
    let (shown, rows) = session::show(&dir, &request, warn, context.now())?;
    if args.json {
        output.long_document(&shown.detail, RunDetail::ROWS, rows.with_tests())?;
    } else {
        let run = &shown.detail.run;
        let resume = context.resume_command(&run.dir, &run.id, (run.status, run.reason));
        let text = output::show_text(&shown, resume.as_deref(), output.columns());
        output.show(&text);
        if (args.matrix || !(is_narrowed || args.failed))
            && let Some(report) = session::overview(&dir, &shown.detail, args.matrix)?
        {
            output::print_overview(&report, args.matrix, output);
        }
        output::print_rows(rows, output)?;
    }
    Ok(ExitStatus::Success)
}

/// Shows how the runs of a group stand.
fn group(runs: &[RunEntry], args: &ShowArgs, context: &Context) -> Result<ExitStatus, Error> {
    let is_of_one = args.trial.is_some() || args.trials.is_some() || args.failed || args.history;
    if is_of_one || args.filter.text.is_some() {
        return Err(Error::usage(miette!(
            help = "`runner show` with the id of the group alone lists them",
            "this is asked of one run, and a group of {} is named",
            runs.len()
        )));
    }
    let list = RunList::new(runs.to_vec(), context.now());
    match args.json {
        true => context.output.document(&list),
        false => context
            .output
            .show(&output::list_text(&list, context.output.columns())),
    }
    Ok(ExitStatus::Success)
}

/// Shows the page of a trial, or hands out parts of it.
fn trial(dir: &Path, name: &str, args: &ShowArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let attempt = args.attempt;
    let page = session::trial_page(dir, AskedTrial { name, attempt }, |error| {
        output.warn(&error.to_string());
    })?;
    if let Some(part) = &args.open {
        output.part(&session::open_part(&page, part)?.read()?);
    } else if let Some(folder) = &args.save {
        output::print_saved(&session::save_parts(&page, folder)?, output);
    } else if args.json {
        output.document(&page);
    } else {
        output.show(&output::page_text(&page, args.full, output.columns()));
    }
    Ok(ExitStatus::Success)
}
