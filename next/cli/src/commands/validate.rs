//! `runner validate`: checks scenarios.

use std::path::PathBuf;

use runner_model::{exit::Exit, units::plural, visible::visible_line};

use super::group;
use crate::{
    args::secret_file,
    text::{CommandError, Out, style},
};

/// Check scenarios, their test lists, and with their plugins all configurations and inputs
#[derive(clap::Args)]
pub struct Args {
    /// The scenarios' files, or folders with some
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Take secrets from this file of `NAME=VALUE` lines before the environment; may be given more than once
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Vec<PathBuf>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut exit = Exit::Success;
    for scenario in group::scenarios(&args.scenarios)? {
        match runner_engine::validate(&scenario, &args.secret_file) {
            Ok(valid) => {
                for notice in &valid.notices {
                    out.warn(notice);
                }
                out.data(&format!(
                    "{} {}: {} on {}, {}",
                    style::green("✓"),
                    visible_line(&scenario.to_string_lossy()),
                    plural(valid.tests, "test", "tests"),
                    plural(valid.providers.len() as u64, "provider", "providers"),
                    plural(valid.trials, "trial", "trials"),
                ));
            }
            Err(error) => {
                let error = CommandError::from(error);
                out.error(&error);
                exit = error.exit();
            }
        }
    }
    Ok(exit)
}
