//! `runner worker` and `runner engine`, and what `--engine` says.

use super::Context;
use crate::{
    cli::{EngineArgs, EngineCommand, SpreadArgs, WorkerArgs, WorkerCommand, parse_ceiling},
    error::{Error, ExitStatus},
    fleet::WorkerTold,
    output,
    run::MachineAllowance,
    session::{self, EngineChoice, WorkerRequest},
};

/// Which engine workers are found at, if any.
pub(super) fn choice(args: SpreadArgs) -> Result<Option<EngineChoice>, Error> {
    let Some(engine) = args.engine else {
        return Ok(None);
    };
    Ok(Some(EngineChoice {
        address: args.access.complete(&engine)?,
        labels: args.worker_label.into_iter().collect(),
    }))
}

/// Makes attempts for others, or lists who does.
pub(super) fn worker(args: WorkerArgs, context: &Context) -> Result<ExitStatus, Error> {
    if let Some(WorkerCommand::List(args)) = args.command {
        let workers = session::workers(&args.access.complete(&args.engine)?)?;
        output::print_workers(&workers, args.json, &context.output);
        return Ok(ExitStatus::Success);
    }
    let Some(engine) = args.engine else {
        return Ok(ExitStatus::Usage);
    };
    let work = WorkerRequest {
        address: args.access.complete(&engine)?,
        name: args.name,
        labels: args.labels.into_iter().collect(),
        allowed: MachineAllowance {
            jobs: args.jobs.map(Into::into),
            memory: args.memory.map(|memory| memory.as_u64()),
        },
        ceiling: parse_ceiling(&args.ceiling)?,
        secret_files: args.secrets.files,
        store: args.store,
        most_idle: args.exit_when_idle,
    };
    context.show_warnings();
    let host = context.session_host()?;
    let tell = |told: WorkerTold<'_>| context.output.talk(&output::worker_line(told));
    session::work(work, &host, &mut context.notices(), &tell)?;
    Ok(ExitStatus::Success)
}

/// Looks after an engine.
pub(super) fn engine(command: EngineCommand, context: &Context) -> Result<ExitStatus, Error> {
    match command {
        EngineCommand::Check(args) => {
            let report = session::check_engine(&args.access.complete(&args.engine)?)?;
            output::print_engine(&report, args.json, &context.output);
            Ok(match report.problem {
                None => ExitStatus::Success,
                Some(_) => ExitStatus::NotPassed,
            })
        }
        EngineCommand::Clean(args) => {
            let before = context.now() - args.older_than;
            let EngineArgs {
                engine,
                access,
                json,
            } = args.engine;
            let address = access.complete(&engine)?;
            let cleaning = session::clean_engine(&address, before, !args.no_dry_run)?;
            output::print_engine_cleaning(&cleaning, json, &context.output);
            Ok(ExitStatus::Success)
        }
    }
}
