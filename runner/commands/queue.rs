//! `runner queue`, `exec --queue`, and the process that is started for a request.

use std::path::Path;

use super::{Context, screen::SessionScreen};
use crate::{
    cli::{MoveArgs, QueueArgs, QueueCommand, VerbosityArgs, WorkArgs},
    error::{Error, ExitStatus},
    output,
    session::{self, NextStart, QueuePlace, QueueWork, Resume, Start, Store},
    view::{QueueChange, QueueStep},
};

/// Lists a queue, changes it, or starts what waits in it.
pub(super) fn queue(args: QueueArgs, context: &Context) -> Result<ExitStatus, Error> {
    match args.command {
        Some(QueueCommand::Move(args)) => {
            let store = Store::existing(&args.results.root).map_err(Error::record)?;
            let moved = session::move_queued(&store, &args.id, place(&args), &context.host)?;
            tell(&moved, args.json, context);
        }
        Some(QueueCommand::Remove(args)) => {
            let store = Store::existing(&args.results.root).map_err(Error::record)?;
            let removed = session::remove_queued(&store, &args.id, &context.host)?;
            tell(&removed, args.json, context);
        }
        Some(QueueCommand::Work(args)) => return work(&args, context),
        None => {
            let store = Store::existing(&args.results.root).map_err(Error::record)?;
            let queue = session::list_queue(&store, &context.host)?;
            match args.json {
                true => context.output.document(&queue),
                false => output::print_queue(&queue, store.root(), &context.output),
            }
        }
    }
    Ok(ExitStatus::Success)
}

/// Puts a run of a scenario into the queue.
pub(super) fn enqueue(
    request: &Start,
    priority: i64,
    is_json: bool,
    context: &Context,
) -> Result<(), Error> {
    let host = &context.host;
    let actor = host.actor(None);
    let queued = session::enqueue(request, priority, &actor, host, &mut context.notices())?;
    tell_queued(&queued, is_json, context);
    Ok(())
}

/// Puts a run that is to be gone on with into the queue.
pub(super) fn enqueue_resume(
    request: &Resume,
    priority: i64,
    is_json: bool,
    context: &Context,
) -> Result<(), Error> {
    let host = &context.host;
    let actor = host.actor(None);
    let queued = session::enqueue_resume(request, priority, &actor, host, &mut context.notices())?;
    tell_queued(&queued, is_json, context);
    Ok(())
}

fn tell_queued(queued: &QueueChange, is_json: bool, context: &Context) {
    tell(queued, is_json, context);
    if !is_json {
        output::print_queue_hint(&context.output);
    }
}

/// Is the process that carries out the request on its standard input, in the background.
pub fn start_requested(root: &Path, context: &Context) -> Result<ExitStatus, Error> {
    let host = context.session_host()?;
    let verbosity = VerbosityArgs {
        quiet: false,
        verbose: false,
    };
    let mut screen = SessionScreen::new(false, &verbosity, context);
    let refuse = |error: &Error| context.output.document(&session::RefusedStart::of(error));
    let conclusion = session::run_requested(root, &host, &mut screen).inspect_err(refuse)?;
    Ok(ExitStatus::of(&conclusion))
}

fn place(args: &MoveArgs) -> QueuePlace<'static> {
    args.priority
        .map_or(QueuePlace::First, QueuePlace::Priority)
}

fn tell(change: &QueueChange, is_json: bool, context: &Context) {
    match is_json {
        true => context.output.document(change),
        false => output::print_queue_change(change, &context.output),
    }
}

fn work(args: &WorkArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::open(&args.results.root).map_err(Error::record)?;
    let tell = |step: &QueueStep| output::print_queue_step(step, args.json, &context.output);
    if args.once {
        let next = session::start_next(&store, &context.host)?;
        return Ok(match &next {
            NextStart::Tried(step) => {
                tell(step);
                match step.run {
                    Some(_) => ExitStatus::Success,
                    None => ExitStatus::Failed,
                }
            }
            NextStart::Nothing => {
                context.output.talk("nothing waits");
                ExitStatus::Success
            }
            NextStart::Busy(active) => {
                output::print_busy(active, &context.output);
                ExitStatus::Busy
            }
        });
    }
    let mut work = QueueWork::new(&store, &context.host);
    loop {
        let mut notices = context.notices();
        let step = session::block_on(&mut work, &context.host, &mut notices)?;
        tell(&step);
    }
}
