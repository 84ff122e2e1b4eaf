//! `runner cancel`.

use super::{Context, naming::Named, stop};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    session::{self, Cancel, Store, ToCancel},
};

/// Stops a run or a group that nobody wants any more, or drops what was cut short.
pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let ToCancel { runs, was_going_on } = match Named::of(args.run.as_deref(), context) {
        None => session::only_running(&store)?.into(),
        Some(named) => {
            let found = named.group(&store)?;
            let runs = found.map_or_else(|| named.find(&store).map(|run| vec![run]), Ok)?;
            session::all_to_cancel(&store, runs, named.name, &context.host)?
        }
    };
    let mut status = ExitStatus::Success;
    for run in runs {
        let actor = context.host.actor(args.reason.as_deref());
        let request = Cancel {
            run,
            actor,
            was_going_on,
        };
        let dropped = session::cancel(&store, request, &context.host, &mut context.notices())?;
        status = status.worse(stop::tell(&dropped, args.json, context));
    }
    if was_going_on {
        let output = &context.output;
        output.talk("no other run of its group begins any more");
    }
    Ok(status)
}
