//! The arguments of `runner queue`. Doc comments of this file are the program's help.

use clap::{Args, Subcommand};

use super::ResultsArgs;

/// The arguments of `runner queue`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct QueueArgs {
    /// What to do; without it the queue is listed.
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// When the turn of what is put into the queue comes.
#[derive(Clone, Copy, Debug, Args)]
pub struct TurnArgs {
    /// Its priority in the queue; greater ones come first
    #[arg(
        long,
        value_name = "N",
        requires = "queue",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub priority: i64,
}

/// The subcommands of `runner queue`.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Give a request another place in the queue
    ///
    /// One that could not be started waits again.
    Move(MoveArgs),
    /// Remove a request from the queue
    Remove(RemoveArgs),
    /// Start what waits in the queue, as soon as there is room
    ///
    /// Each run gets a process of its own, which nothing that happens to this command ends. Any number of these commands
    /// and of servers may work on one queue: each request is started once.
    Work(WorkArgs),
}

/// The arguments of `runner queue move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The request: its id, or a unique part of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Its new priority; greater ones come first
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        required_unless_present = "first",
        conflicts_with = "first"
    )]
    pub priority: Option<i64>,
    /// Put it before all others
    #[arg(long)]
    pub first: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner queue remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The request: its id, or a unique part of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner queue work`.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Start the one that comes first, if there is room for it now, and return
    #[arg(long)]
    pub once: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print JSON Lines, one for each request that was tried
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
