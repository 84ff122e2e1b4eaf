//! `runner exec`.

use miette::miette;

use super::{Context, detach, fleet, queue, screen::SessionScreen, shard};
use crate::{
    cli::ExecArgs,
    error::{Error, ExitStatus},
    filter::Filter,
    model::Shard,
    output,
    scenario::Selection,
    session::{self, Build, Exclusivity, Start},
};

/// Runs a scenario, or several as a group.
pub(super) fn exec(mut args: ExecArgs, context: &Context) -> Result<ExitStatus, Error> {
    args.scenarios = session::scenario_files(&args.scenarios)?;
    let shard = shard::find(args.shard, context)?;
    args.into = shard::place(args.into, shard)?;
    if args.queue {
        let (priority, is_json) = (args.turn.priority, args.json);
        let scenarios = std::mem::take(&mut args.scenarios);
        let each = request(args, shard, false)?;
        for scenario in scenarios {
            let request = Start {
                scenario,
                ..each.clone()
            };
            queue::enqueue(&request, priority, is_json, context)?;
        }
        return Ok(ExitStatus::Success);
    }
    if args.scenarios.len() > 1 {
        return group(args, shard, context);
    }
    if args.detach && !context.is_detached {
        return detach::start(context);
    }
    let host = context.session_host()?;
    let mut screen = SessionScreen::new(args.json, &args.verbosity, context);
    let (is_dry, is_json, is_scheduled) = (args.dry_run, args.json, args.scheduler_exit);
    let request = request(args, shard, context.is_detached)?;
    if is_dry {
        let preview = session::preview_start(&request, &host, &mut screen)?;
        return context.show_preview(&preview, is_json, false);
    }
    let conclusion = session::start(&request, &host, &mut screen)?;
    Ok(exit(ExitStatus::of(&conclusion), is_scheduled))
}

/// What the process exits with. To a scheduler a run that has come to its end has done its work, whatever its trials showed.
fn exit(status: ExitStatus, is_scheduled: bool) -> ExitStatus {
    match status {
        ExitStatus::NotPassed if is_scheduled => ExitStatus::Success,
        _ => status,
    }
}

/// Runs several scenarios, one after another.
fn group(args: ExecArgs, shard: Option<Shard>, context: &Context) -> Result<ExitStatus, Error> {
    let refused = [(args.detach, "--detach"), (args.into.is_some(), "--into")];
    if let Some((_, flag)) = refused.into_iter().find(|(is_set, _)| *is_set) {
        return Err(Error::usage(miette!(
            help = "name one scenario",
            "`{flag}` is for one run, and these are {} scenarios",
            args.scenarios.len()
        )));
    }
    let host = context.session_host()?;
    let mut screen = SessionScreen::of_group(args.json, &args.verbosity, context);
    let (is_dry, is_json, scenarios) = (args.dry_run, args.json, args.scenarios.clone());
    let is_scheduled = args.scheduler_exit;
    let each = request(args, shard, false)?;
    if is_dry {
        for (scenario, preview) in session::preview_group(&scenarios, &each, &host, &mut screen)? {
            context.output.talk(&output::scenario_text(&scenario));
            context.show_preview(&preview, is_json, false)?;
        }
        return Ok(ExitStatus::Success);
    }
    let status = session::start_group(&scenarios, &each, &host, &mut screen)?.status;
    Ok(exit(status, is_scheduled))
}

/// What is asked of one run, by the first scenario that is named.
fn request(args: ExecArgs, shard: Option<Shard>, is_detached: bool) -> Result<Start, Error> {
    let exclusivity = match (args.exclusive, args.wait, is_detached) {
        (false, ..) => Exclusivity::Shared,
        (true, false, _) => Exclusivity::OrNothing,
        (true, true, false) => Exclusivity::WaitFirst,
        // Nobody sees that it waits.
        (true, true, true) => Exclusivity::WaitLater,
    };
    let filter = filter(&args)?;
    Ok(Start {
        scenario: args.scenarios.into_iter().next().unwrap_or_default(),
        selection: Selection {
            tests: args.tests,
            providers: args.providers,
            tags: args.tags,
            exclude: args.exclude,
            filter,
            repeat: args.repeat,
            shard,
        },
        overrides: args.options.0,
        build: match args.build {
            true => Build::Always,
            false => Build::Ask,
        },
        secret_files: args.secrets.files,
        results: args.results.root,
        into: args.into,
        exclusivity,
        engine: fleet::choice(args.spread)?,
    })
}

/// What `--filter` and `--failed-in` say together.
fn filter(args: &ExecArgs) -> Result<Option<Filter>, Error> {
    let said = args.filter.parse()?;
    let failed = args.failed_in.as_deref().map(Filter::failed_in);
    let failed = failed.transpose().map_err(Error::usage)?;
    Ok(match (said, failed) {
        (Some(said), Some(failed)) => Some(Filter::both(&said, &failed).map_err(Error::usage)?),
        (said, failed) => said.or(failed),
    })
}
