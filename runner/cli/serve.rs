//! The arguments of `runner serve`. Doc comments of this file are the program's help.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use super::{DEFAULT_ROOT, results_root};

/// The arguments of `runner serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A results root; may be given more than once, and each further one is served at the next port
    #[arg(
        long,
        value_name = "DIR",
        env = "RUNNER_RESULTS",
        default_value = DEFAULT_ROOT,
        value_parser = OsStringValueParser::new().map(results_root),
        help_heading = "Output"
    )]
    pub results: Vec<PathBuf>,
    /// Let the scenarios below this folder be started; may be given more than once
    #[arg(long, value_name = "DIR")]
    pub scenarios: Vec<PathBuf>,
    /// Listen on this address of the machine, or on a socket that is a file: `unix:PATH`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    pub listen: String,
    /// Let nothing be changed
    #[arg(long, conflicts_with = "allow_writes")]
    pub read_only: bool,
    /// Answer to this name as well, as other machines or a proxy call it; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Let things be changed from other machines too
    #[arg(long)]
    pub allow_writes: bool,
    /// Take the token from this file, which is made where it is missing
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Open the page in a browser
    #[arg(long)]
    pub open: bool,
}
