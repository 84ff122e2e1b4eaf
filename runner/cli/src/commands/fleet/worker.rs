//! `runner worker`: runs attempts of coordinators on other machines, or lists the workers.

use std::{collections::BTreeMap, path::PathBuf};

use runner_model::{exit::Exit, units::parse_size};
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;

use super::flags::BrokerArgs;
use crate::args::{label, secret_file, whole};
use crate::text::{CommandError, Out};

/// Run attempts for runs on other machines, until Ctrl-C
///
/// Ctrl-C lets the running attempts finish and gives back the others. A second Ctrl-C kills them. Without `--ceiling`, a worker
/// gives runs no network, no folder and no secret.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Name of the worker [default: machine and digits]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Accept runs of this key; repeatable [env: RUNNER_BROKER_KEY]
    #[arg(long, value_name = "PUBLIC")]
    broker_key: Vec<String>,
    /// Accept unsigned runs of a broker on another machine
    #[arg(long, conflicts_with = "broker_key")]
    accept_unsigned: bool,
    /// Label that runs can select; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Run N attempts of a run at the same time [default: by cores]
    #[arg(short, long, value_name = "N", value_parser = whole(1..=4096))]
    jobs: Option<u32>,
    /// Memory of the guests of a run [default: 75 % of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Allow `net=URL`, `secret=NAME`, `fs=DIR`, `memory=SIZE`, `scratch=SIZE` or `all`; repeatable
    #[arg(long, value_name = "GRANT")]
    ceiling: Vec<String>,
    /// Read secrets from lines `NAME=VALUE`; repeatable
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Vec<PathBuf>,
    /// Folder for files of current runs [default: in TMPDIR]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum WorkerCommand {
    List(ListArgs),
}

/// List the workers that are connected
#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    json: bool,
}

/// `runner worker list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkersDocument {
    /// Always [`runner_report::VERSION`].
    pub v: u8,
    /// The workers that are connected, by name.
    pub workers: Vec<ConnectedWorker>,
}

/// A worker on another machine.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConnectedWorker {
    /// Name of the worker, as in `worker` of rows.
    pub name: String,
    /// Name of the worker's machine.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
    /// Start of the worker by the clock of its machine.
    pub since: String,
    /// Version of the program.
    pub version: String,
    /// Attempts of a run that run at the same time.
    pub slots: u32,
    /// Bytes for the memories of all guests of a run.
    pub memory: u64,
    /// Labels of `--label`.
    pub labels: BTreeMap<String, String>,
    /// Ids of the runs that it works on.
    pub runs: Vec<String>,
}

fn size(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(0) => Err("expected more than 0".to_owned()),
        Ok(size) => Ok(size),
        Err(problem) => Err(format!("it {problem}")),
    }
}

#[cfg(not(feature = "fleet"))]
pub fn run(_: &Args, _: &Out) -> Result<Exit, CommandError> {
    Err(super::flags::absent())
}

#[cfg(feature = "fleet")]
pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    match &args.command {
        Some(WorkerCommand::List(args)) => connected::list(args, out),
        None => connected::work(args, out),
    }
}

#[cfg(feature = "fleet")]
mod connected {
    use std::io::Write as _;

    use runner_fleet::{Ceiling, Stop, WorkerEvent, WorkerOptions};
    use runner_model::exit::Exit;
    use runner_model::units::{plural, show_size};
    use runner_model::visible::visible_line;
    use runner_report::VERSION;

    use super::super::flags::BROKER_KEY;
    use super::{Args, ConnectedWorker, ListArgs, WorkersDocument};
    use crate::text::{CommandError, Out, Table};

    pub(super) fn work(args: &Args, out: &Out) -> Result<Exit, CommandError> {
        let options = WorkerOptions {
            broker: args.broker.options()?,
            name: args.name.clone(),
            keys: keys(args),
            accept_unsigned: args.accept_unsigned,
            labels: args.label.iter().cloned().collect(),
            jobs: args.jobs,
            memory: args.memory,
            ceiling: Ceiling::parse(&args.ceiling).map_err(CommandError::usage)?,
            secret_files: args.secret_file.clone(),
            store: args.store.clone(),
        };
        let address = options.broker.shown();
        let stop = Stop::default();
        let raised = stop.clone();
        let listener = runner_engine::on_stop(move |_, is_second| {
            if !is_second {
                let text =
                    "stopping once the running attempts have finished; Ctrl-C again kills them";
                // Without a terminal or log, there is no place to report it.
                let _ = writeln!(anstream::stderr(), "{text}");
            }
            raised.raise();
        });
        let _listener = listener.map_err(CommandError::failed)?;
        runner_fleet::work(options, &mut |event| out.talk(&line(&event, &address)), &stop)?;
        Ok(Exit::Success)
    }

    /// Returns the public keys of the flag. Without it, those of the variable, separated by commas.
    fn keys(args: &Args) -> Vec<String> {
        if !args.broker_key.is_empty() || args.accept_unsigned {
            return args.broker_key.clone();
        }
        let stored = std::env::var(BROKER_KEY).unwrap_or_default();
        stored.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    fn line(event: &WorkerEvent<'_>, address: &str) -> String {
        match *event {
            WorkerEvent::Connected { name, slots, processes } => {
                let processes = plural(processes.into(), "process", "processes");
                format!("worker {name} at {address}: {slots} at a time in {processes}")
            }
            WorkerEvent::Joined { run, host } => format!("joined run {run} of {host}"),
            WorkerEvent::Left { run, attempts } => {
                format!("left run {run} after {}", plural(attempts, "attempt", "attempts"))
            }
            WorkerEvent::Declined { run, why } => format!("declined run {run}: {why}"),
            WorkerEvent::Notice(text) => format!("note: {text}"),
        }
    }

    pub(super) fn list(args: &ListArgs, out: &Out) -> Result<Exit, CommandError> {
        let workers = runner_fleet::workers(&args.broker.options()?)?;
        let workers = workers.into_iter().map(|worker| ConnectedWorker {
            name: worker.name,
            host: worker.host,
            pid: worker.pid,
            since: worker.since,
            version: worker.version,
            slots: worker.slots,
            memory: worker.memory,
            labels: worker.labels,
            runs: worker.runs,
        });
        let mut workers: Vec<_> = workers.collect();
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        let document = WorkersDocument { v: VERSION, workers };
        out.document_or(args.json, &document, |document| print(document, out));
        Ok(Exit::Success)
    }

    fn print(document: &WorkersDocument, out: &Out) {
        if document.workers.is_empty() {
            return out.data("no worker is connected");
        }
        let mut table = Table::new([
            ("worker", 0),
            ("slots>", 0),
            ("memory>", 3),
            ("labels", 2),
            ("runs", 1),
            ("host", 4),
            ("since (UTC)", 5),
        ]);
        for worker in &document.workers {
            // The last part of an id names the run, too.
            let runs = worker.runs.iter().map(|run| run.rsplit('-').next().unwrap_or(run));
            let since = worker.since.get(..19).unwrap_or(&worker.since).replace('T', " ");
            let labels = worker.labels.iter().map(|(key, value)| format!("{key}={value}"));
            table.row([
                visible_line(&worker.name).into_owned(),
                worker.slots.to_string(),
                show_size(worker.memory),
                visible_line(&labels.collect::<Vec<_>>().join(", ")).into_owned(),
                visible_line(&runs.collect::<Vec<_>>().join(", ")).into_owned(),
                visible_line(&worker.host).into_owned(),
                visible_line(&since).into_owned(),
            ]);
        }
        out.data(table.render(out.columns()).trim_end());
    }
}
