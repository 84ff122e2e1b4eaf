//! `runner resume`: continues a run that was cut short.

use runner_engine::ResumeRequest;
use runner_model::exit::Exit;

use super::exec::session;
use crate::{
    args::{RunArg, SessionArgs},
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
    let request = ResumeRequest {
        run: args.from.clone().or_else(|| args.run.name()),
        rerun: None,
        accept_changes: false,
        force: false,
        session: args.session.request(),
    };
    session(&args.session, out, false, |observer| {
        runner_engine::resume(&request, observer)
    })
}
