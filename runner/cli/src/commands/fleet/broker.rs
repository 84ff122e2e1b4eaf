//! `runner broker`: the NATS server that connects workers, and the key that signs runs for them.

use std::{collections::BTreeMap, path::PathBuf};

use runner_model::exit::Exit;
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;

use super::flags::BrokerArgs;
use crate::text::{CommandError, Out};

#[derive(clap::Subcommand)]
pub enum BrokerCommand {
    Check(CheckArgs),
    Key(KeyArgs),
}

/// Create a key that signs runs, and print its public key
///
/// Workers with the public key (`runner worker --broker-key PUBLIC`) execute only runs that are signed with the file
/// (`runner exec --broker-key FILE`). An existing file is kept.
#[derive(clap::Args)]
pub struct KeyArgs {
    /// File of the secret key
    file: PathBuf,
}

/// Check that runs and workers can use the NATS server
#[derive(clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    json: bool,
}

/// `runner broker check`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BrokerDocument {
    /// Always [`runner_report::VERSION`].
    pub v: u8,
    /// Address without user and password.
    pub address: String,
    /// Name of the NATS server.
    pub server: String,
    /// Version of the NATS server.
    pub version: String,
    /// Time of a message to the server and back, in milliseconds.
    pub round_trip_ms: f64,
    /// Whether these credentials allow to run a scenario with workers.
    pub allows_runs: bool,
    /// Whether these credentials allow to be a worker.
    pub allows_workers: bool,
    /// Reasons why these credentials do not allow runs or workers.
    pub problems: Vec<String>,
    /// Subjects on which users of the broker must be allowed to publish, by role: `runs` and `workers`.
    pub permissions: BTreeMap<&'static str, Vec<String>>,
}

#[cfg(not(feature = "fleet"))]
pub fn run(_: &BrokerCommand, _: &Out) -> Result<Exit, CommandError> {
    Err(super::flags::absent())
}

#[cfg(feature = "fleet")]
pub fn run(command: &BrokerCommand, out: &Out) -> Result<Exit, CommandError> {
    match command {
        BrokerCommand::Check(args) => check(args, out),
        BrokerCommand::Key(args) => {
            out.data(&runner_fleet::RunsKey::create(&args.file)?.public());
            Ok(Exit::Success)
        }
    }
}

#[cfg(feature = "fleet")]
fn check(args: &CheckArgs, out: &Out) -> Result<Exit, CommandError> {
    use runner_report::VERSION;

    let options = args.broker.options()?;
    let report = runner_fleet::check(&options)?;
    let document = BrokerDocument {
        v: VERSION,
        address: options.shown(),
        server: report.server,
        version: report.version,
        round_trip_ms: report.round_trip.as_secs_f64() * 1e3,
        allows_runs: report.allows_runs,
        allows_workers: report.allows_workers,
        problems: report.problems,
        permissions: report.permissions,
    };
    out.document_or(args.json, &document, |document| {
        let BrokerDocument { address, server, version, round_trip_ms, problems, .. } = document;
        let [runs, workers] = [document.allows_runs, document.allows_workers]
            .map(|is_allowed| if is_allowed { "yes" } else { "no" });
        let name = if server.is_empty() { String::new() } else { format!(" ({server})") };
        out.data(&format!("{address}: nats-server {version}{name}"));
        out.data(&format!("round trip: {round_trip_ms:.1} ms"));
        out.data(&format!("allows runs: {}", runs));
        out.data(&format!("allows workers: {}", workers));
        problems.iter().for_each(|problem| out.data(problem));
        out.data("users of the broker need these permissions:");
        for (role, subjects) in &document.permissions {
            out.data(&format!("{role} = {{ publish: [ \"{}\" ] }}", subjects.join("\", \"")));
        }
    });
    let is_useful = document.allows_runs || document.allows_workers;
    Ok(if is_useful { Exit::Success } else { Exit::Bad })
}
