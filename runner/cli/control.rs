//! The arguments of the commands that end runs of other processes, or tell of their ends. Doc comments of this file are the program's help.

use clap::Args;

use super::ResultsArgs;

/// The arguments of `runner stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else the only running run]
    pub run: Option<String>,
    /// Begin no new trials, and let those in flight finish
    #[arg(long, conflicts_with = "kill")]
    pub drain: bool,
    /// Interrupt the trials in flight at once
    #[arg(long)]
    pub kill: bool,
    /// The reason; it is kept with your name in the run's history and in the rows of the trials that were interrupted
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    pub reason: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else the only running run]
    pub run: Option<String>,
    /// The reason; it is kept with your name in the run's history and in the rows of the trials that were interrupted
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    pub reason: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else the only running run]
    pub run: Option<String>,
    /// The reason; it is kept with your name in the run's history
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    pub reason: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner unpause`.
#[derive(Debug, Args)]
pub struct UnpauseArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else the only running run]
    pub run: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner notify`.
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Tell everybody, also those who have been told already
    #[arg(long)]
    pub again: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Why somebody asks for something, in so many bytes that a row has room for it.
fn parse_reason(text: &str) -> Result<String, String> {
    const MOST_BYTES: usize = 1024;
    let text = text.trim();
    match text.len() {
        0 => Err("say why, or leave it out".into()),
        bytes if bytes > MOST_BYTES => {
            Err(format!("it has {bytes} bytes, and may have {MOST_BYTES}"))
        }
        _ => Ok(text.to_owned()),
    }
}
