//! The subcommands, one file each: flags become a request, the request a call of `session`, and the answer text or JSON and
//! an exit code.

mod cancel;
mod cleanup;
mod compare;
mod completions;
mod context;
mod detach;
mod exec;
mod fleet;
mod history;
mod init;
mod list;
mod logs;
mod man;
mod merge;
mod naming;
mod notify;
mod pause;
mod pin;
mod plugin;
mod prune;
mod queue;
mod report;
mod rescore;
mod resume;
mod schema;
mod screen;
mod serve;
mod shard;
mod show;
mod stop;
mod validate;
mod verify;
mod wait;

pub use context::Context;
pub use detach::DETACHED_ARGUMENT;
pub use queue::start_requested;

use crate::{
    cli::{Command, ReindexArgs},
    error::{Error, ExitStatus},
    output,
    session::{self, Store},
};

/// Carries out a command.
pub fn dispatch(command: Command, context: &Context) -> Result<ExitStatus, Error> {
    let pager = context.pager.as_ref().filter(|_| command.is_paged());
    let _paged = context.output.page(pager);
    match command {
        Command::Init(args) => init::init(&args, context),
        Command::Exec(args) => exec::exec(args, context),
        Command::Resume(args) => resume::resume(&args, context),
        Command::Stop(args) => stop::stop(&args, context),
        Command::Cancel(args) => cancel::cancel(&args, context),
        Command::Pause(args) => pause::pause(&args, context),
        Command::Unpause(args) => pause::unpause(&args, context),
        Command::Wait(args) => wait::wait(&args, context),
        Command::Logs(args) => logs::logs(&args, context),
        Command::Validate(args) => validate::validate(&args, context),
        Command::List(args) => list::list(&args, context),
        Command::Show(args) => show::show(&args, context),
        Command::Report(args) => report::report(&args, context),
        Command::Rescore(args) => rescore::rescore(args, context),
        Command::Compare(args) => compare::compare(&args, context),
        Command::History(args) => history::history(&args, context),
        Command::Merge(args) => merge::merge(args, context),
        Command::Verify(args) => verify::verify(&args, context),
        Command::Cleanup(args) => cleanup::cleanup(&args, context),
        Command::Pin(args) => pin::pin(&args, context),
        Command::Unpin(args) => pin::unpin(&args, context),
        Command::Prune(args) => prune::prune(&args, context),
        Command::Notify(args) => notify::notify(&args, context),
        Command::Queue(args) => queue::queue(args, context),
        Command::Reindex(args) => reindex(&args, context),
        Command::Plugin(command) => plugin::plugin(command, context),
        Command::Serve(args) => serve::serve(&args, context),
        Command::Worker(args) => fleet::worker(args, context),
        Command::Engine(command) => fleet::engine(command, context),
        Command::Schema(args) => Ok(schema::schema(&args, context)),
        Command::Completions(args) => Ok(completions::completions(&args, context)),
        Command::Man(args) => man::man(&args, context),
    }
}

/// Makes `runner.db` anew.
fn reindex(args: &ReindexArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let reindexed = session::reindex(&store).map_err(Error::record)?;
    output::print_reindexed(&reindexed, &context.output);
    Ok(ExitStatus::Success)
}
