//! The arguments of the commands that look at a plugin and call it. Doc comments of this file are the program's help.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    cli::{SecretsArgs, parse_timeout},
    scenario,
};

/// The arguments of `runner plugin inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A `.wasm` file, or the folder of a plugin that is built
    pub file: PathBuf,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner plugin run`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// A `.wasm` file, or the folder of a plugin that is built
    pub file: PathBuf,

    /// The test's input: JSON, `@FILE` or `-` [default: null]
    #[arg(
        short,
        long,
        value_name = "JSON",
        allow_hyphen_values = true,
        help_heading = "Call"
    )]
    pub input: Option<String>,
    /// The provider's configuration: a JSON object, `@FILE` or `-` [default: {}]
    #[arg(short, long, value_name = "JSON", help_heading = "Call")]
    pub config: Option<String>,
    /// An attachment of the test; may be given more than once
    #[arg(long = "file", value_name = "NAME=PATH", help_heading = "Call")]
    pub attachments: Vec<String>,
    /// The number that the plugin may take its randomness from
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Call")]
    pub seed: u32,
    /// How long a call may take
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = scenario::DEFAULT_TIMEOUT_TEXT, help_heading = "Call")]
    pub timeout: Duration,
    /// Call it this often, each time in a fresh sandbox, and tell how the times are spread
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Call")]
    pub repeat: NonZeroU32,

    /// Read the reply as a grader's, whose input is what `--input` says: does it let the output pass, and with which score?
    #[arg(long, help_heading = "Call")]
    pub grade: bool,
    /// The least score that passes, as `min_score` of the grader in a scenario
    #[arg(
        long,
        value_name = "N",
        requires = "grade",
        allow_hyphen_values = true,
        value_parser = parse_score,
        help_heading = "Call"
    )]
    pub min_score: Option<f64>,

    /// How a command is called [default: as JSON if its `describe` answers so, else plain]
    #[arg(long, value_enum, help_heading = "Commands")]
    pub protocol: Option<ProtocolArg>,
    /// Standard input of a plain command: a template such as `{{input.code}}`, `@FILE` or `-`
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Commands"
    )]
    pub stdin: Option<String>,
    /// What a plain command's standard output is taken for [default: text]
    #[arg(long, value_enum, help_heading = "Commands")]
    pub output: Option<OutputArg>,
    /// The arguments of a plain command: templates such as `{{input.code}}`
    #[arg(last = true, value_name = "ARGS", help_heading = "Commands")]
    pub args: Vec<String>,

    /// Grant something: `net=URL`, `secret=NAME`, `fs=PATH:MOUNT[:rw]` or `env=KEY=VALUE`; may be given more than once
    #[arg(long = "grant", value_name = "GRANT", help_heading = "Sandbox")]
    pub grants: Vec<String>,
    /// Where secrets come from beside the environment
    #[command(flatten, next_help_heading = "Sandbox")]
    pub secrets: SecretsArgs,
    /// Set a limit, such as `memory=64MiB`; may be given more than once
    #[arg(long = "limit", value_name = "KEY=VALUE", help_heading = "Sandbox")]
    pub limits: Vec<String>,
    /// Count what the plugin executes; it is compiled anew for that, and runs slower
    #[arg(long, help_heading = "Sandbox")]
    pub fuel: bool,

    /// Write its artifacts into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub artifacts: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// How a command is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// Arguments and standard input are what the command line says.
    Plain,
    /// One JSON object in, one out.
    Json,
}

/// What a plain command's standard output is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    /// A string, exactly.
    Text,
    /// A string without white space at its ends.
    Trimmed,
    /// The JSON value that it is.
    Json,
}

/// A score: any number that is one.
fn parse_score(text: &str) -> Result<f64, String> {
    let score = text.parse::<f64>().ok().filter(|score| score.is_finite());
    score.ok_or_else(|| "a score is a finite number, such as 0.7".to_owned())
}

/// What `runner plugin run --help` says after the options.
pub(super) const RUN_NOTES: &str = r#"Examples:
  runner plugin run plugins/units --input '{"from": "km", "to": "mi", "value": 42}'
  runner plugin run plugins/units --input @input.json --config '{"decimals": 2}' --repeat 100
  runner plugin run python.wasm --stdin @program.py --limit memory=512MiB -- -q -
  runner plugin run judge --grade --min-score 0.7 --input '{"output": "Paris", "reference": "Paris"}'
  runner plugin run weather.wasm --input '"Oslo"' --grant net=https://api.example.com

A value is written as it is, or taken from a file (`@FILE`) or from standard input (`-`).

Exit codes:
  0    it replied, and did not say that the test failed; with `--grade`: it does not let the output fail
  1    it replied that the test failed, or with an error, or broke, or took too long
  2    the file cannot be used as a plugin, or an argument is wrong
  7    its artifacts could not be written; its reply was printed
  130  stopped by Ctrl-C; 129 by SIGHUP, 143 by SIGTERM
"#;
