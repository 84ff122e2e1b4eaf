//! `runner exec`.

use super::{Context, detach, screen::SessionScreen};
use crate::{
    cli::ExecArgs,
    error::{Error, ExitStatus},
    filter::Filter,
    scenario::Selection,
    session::{self, Build, Exclusivity, Start},
};

/// Runs a scenario.
pub(super) fn exec(args: ExecArgs, context: &Context) -> Result<ExitStatus, Error> {
    if args.detach && !context.is_detached {
        return detach::start(context);
    }
    let host = context.session_host()?;
    let mut screen = SessionScreen::new(args.json, &args.verbosity, context);
    let (is_dry, is_json) = (args.dry_run, args.json);
    let request = request(args, context.is_detached)?;
    if is_dry {
        let preview = session::preview_start(&request, &host, &mut screen)?;
        return context.show_preview(&preview, is_json, false);
    }
    let conclusion = session::start(&request, &host, &mut screen)?;
    Ok(ExitStatus::of(&conclusion))
}

fn request(args: ExecArgs, is_detached: bool) -> Result<Start, Error> {
    let exclusivity = match (args.exclusive, args.wait, is_detached) {
        (false, ..) => Exclusivity::Shared,
        (true, false, _) => Exclusivity::OrNothing,
        (true, true, false) => Exclusivity::WaitFirst,
        // Nobody sees that it waits.
        (true, true, true) => Exclusivity::WaitLater,
    };
    let filter = filter(&args)?;
    Ok(Start {
        scenario: args.scenario,
        selection: Selection {
            tests: args.tests,
            providers: args.providers,
            tags: args.tags,
            exclude: args.exclude,
            filter,
            repeat: args.repeat,
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
