//! `runner cancel`.

use super::{Context, naming::Named, stop};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    model::RunStatus,
    session::{self, Cancel, StopAnswer, Stopped, Store, ToCancel},
};

/// Stops a run or a group that nobody wants any more, or drops what was cut short.
pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let group = Named::of(args.run.as_deref(), context).map(|named| named.group(&store));
    let ToCancel { runs, was_going_on } = match group.transpose()?.flatten() {
        Some(runs) => session::all_to_cancel(&store, runs, &context.host)?,
        None => ToCancel {
            runs: vec![stop::choose(args.run.as_deref(), context, &store)?],
            was_going_on: false,
        },
    };
    let mut status = ExitStatus::Success;
    for run in runs {
        if was_going_on && run.status == RunStatus::Completed {
            let answer = StopAnswer::AlreadyTerminal;
            status = status.worse(stop::tell(&Stopped { run, answer }, args.json, context));
            context
                .output
                .talk("no other run of its group begins any more");
            continue;
        }
        let actor = context.host.actor(args.reason.as_deref());
        let request = Cancel { run, actor };
        let dropped = session::cancel(&store, request, &context.host, &mut context.notices())?;
        status = status.worse(stop::tell(&dropped, args.json, context));
    }
    Ok(status)
}
