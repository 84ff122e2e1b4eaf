//! The arguments of `runner worker` and `runner engine`, and of what is spread over an engine. Doc comments of this file are the
//! program's help.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use miette::miette;

use super::{SecretsArgs, upkeep::parse_age};
use crate::{
    error::Error,
    fleet::{EngineAddress, WorkerCeiling},
    model::{FsMode, NetGrant, is_secret_name, parse_duration},
};

/// How what a worker allows is written.
const FORMS: &str =
    "it is `net=https://api.example.com`, `secret=API_KEY`, `fs=/data`, `fs=/work:rw` or `all`";

/// Which engine, and who one is there.
#[derive(Clone, Debug, Args)]
pub struct EngineAccessArgs {
    /// A file with the credentials for the engine, as `nsc` makes them
    #[arg(
        long,
        value_name = "FILE",
        env = "RUNNER_ENGINE_CREDS",
        hide_env_values = true
    )]
    pub engine_creds: Option<PathBuf>,
    /// The certificates that the engine's own is checked by, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub engine_ca: Option<PathBuf>,
    /// Speak with an engine on another machine without encryption
    #[arg(long)]
    pub engine_insecure: bool,
}

impl EngineAccessArgs {
    /// The address with who one is there.
    ///
    /// # Errors
    ///
    /// Fails if the text is no address. It is read here and not by the parser, which would show a password that is in it.
    pub fn complete(self, engine: &str) -> Result<EngineAddress, Error> {
        let mut address: EngineAddress = engine.parse().map_err(Error::usage)?;
        address.credentials = self.engine_creds;
        address.authority = self.engine_ca;
        address.is_insecure = self.engine_insecure;
        Ok(address)
    }
}

/// Whether workers on other machines make the attempts.
#[derive(Clone, Debug, Args)]
pub struct SpreadArgs {
    /// Let the workers at this engine make the attempts, such as `nats://localhost:4222`; see `runner worker`
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,
    /// Only workers with this label; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", requires = "engine", value_parser = label)]
    pub worker_label: Vec<(String, String)>,
    /// Who one is there
    #[command(flatten)]
    pub access: EngineAccessArgs,
}

/// The arguments of `runner worker`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkerArgs {
    /// What to do; without it attempts are made.
    #[command(subcommand)]
    pub command: Option<WorkerCommand>,
    /// The engine at which runs are heard, such as `nats://localhost:4222`
    #[arg(
        long,
        value_name = "URL",
        env = "RUNNER_ENGINE",
        hide_env_values = true,
        required = true
    )]
    pub engine: Option<String>,
    /// Who one is there
    #[command(flatten)]
    pub access: EngineAccessArgs,
    /// The name by which rows and logs know this worker [default: the machine's, with a few letters]
    #[arg(long)]
    pub name: Option<String>,
    /// A label, by which runs choose their workers; may be given more than once
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// How many attempts run at once [default: as many as a run here would make]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// What they may hold together [default: most of the machine's memory]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// What runs may touch on this machine, as far as their scenarios grant it: `net=URL`, `secret=NAME`, `fs=FOLDER[:rw]`, or
    /// `all`; may be given more than once [default: nothing]
    #[arg(long, value_name = "GRANT")]
    pub ceiling: Vec<String>,
    /// Where secrets come from beside the environment
    #[command(flatten)]
    pub secrets: SecretsArgs,
    /// Where plugins and tests are kept between runs [default: the user's folder of caches]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// End after this long without a run, such as `5m`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub exit_when_idle: Option<Duration>,
}

/// The subcommands of `runner worker`.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List the workers that are there
    List(EngineArgs),
}

/// The subcommands of `runner engine`.
#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Tell what an engine is, and whether it can do what is needed
    Check(EngineArgs),
    /// Remove plugins and tests from the engine that no run has put there lately
    ///
    /// A run that still needs one puts it there again. Without `--no-dry-run` it is only told what would go.
    Clean(EngineCleanArgs),
}

/// The arguments of commands that ask an engine.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// The engine, such as `nats://localhost:4222`
    #[arg(value_name = "URL", env = "RUNNER_ENGINE", hide_env_values = true)]
    pub engine: String,
    /// Who one is there
    #[command(flatten)]
    pub access: EngineAccessArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner engine clean`.
#[derive(Debug, Args)]
pub struct EngineCleanArgs {
    /// Which engine
    #[command(flatten)]
    pub engine: EngineArgs,
    /// What was put there longer ago than this goes, such as `7d`
    #[arg(long, value_name = "TIME", value_parser = parse_age, default_value = "7d")]
    pub older_than: Duration,
    /// Really remove it
    #[arg(long)]
    pub no_dry_run: bool,
}

/// Reads what a worker lets runs touch.
///
/// # Errors
///
/// Fails with the first text that is none.
pub fn parse_ceiling(texts: &[String]) -> Result<WorkerCeiling, Error> {
    let mut ceiling = WorkerCeiling::default();
    for text in texts {
        allow(&mut ceiling, text).map_err(|reason| {
            Error::usage(miette!(
                help = FORMS,
                "`--ceiling {text}` is not understood: {reason}"
            ))
        })?;
    }
    Ok(ceiling)
}

fn allow(ceiling: &mut WorkerCeiling, text: &str) -> Result<(), String> {
    if text == "all" {
        ceiling.is_open = true;
        return Ok(());
    }
    let (kind, what) = text.split_once('=').ok_or("it has no `=`")?;
    match kind {
        "net" => ceiling.net.push(NetGrant::parse(what)?),
        "secret" if is_secret_name(what) => ceiling.secrets.push(what.into()),
        "secret" => return Err("secrets are named with letters, digits and `_`".into()),
        "fs" => {
            let (path, mode) = match what.strip_suffix(":rw") {
                Some(path) => (path, FsMode::ReadWrite),
                None => (what, FsMode::ReadOnly),
            };
            // Folders that scenarios grant are known by where they really are.
            let path = fs_err::canonicalize(path).map_err(|error| error.to_string())?;
            ceiling.folders.push((path, mode));
        }
        _ => return Err(format!("there is no grant `{kind}`")),
    }
    Ok(())
}

fn parse_time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text)
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let parts = parts.filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let (key, value) = parts.ok_or("a label is `KEY=VALUE`")?;
    Ok((key.to_owned(), value.to_owned()))
}
