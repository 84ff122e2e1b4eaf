//! `runner resume`: continues a run that was cut short.

use runner_engine::ResumeRequest;
use runner_model::exit::Exit;

use super::{
    exec::{Next, session},
    group,
};
use crate::{
    args::{RunArg, SessionArgs},
    detach,
    text::{error::CommandError, out::Out},
};

/// Continue a run that was cut short
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// The run, as RUN
    #[arg(long, value_name = "RUN", conflicts_with = "run")]
    from: Option<String>,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if args.session.detach && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    let request = ResumeRequest {
        run: args.from.clone().or_else(|| args.run.name()),
        rerun: None,
        accept_changes: false,
        force: false,
        session: args.session.request(),
    };
    if let Some(exit) = group::resume(&request, &args.session, out)? {
        return Ok(exit);
    }
    session(&args.session, out, Next::Named, |observer| {
        runner_engine::resume(&request, observer)
    })
}
