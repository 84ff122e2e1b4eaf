//! `runner validate`: checks scenarios.

use std::path::PathBuf;

use runner_model::units::{grouped, plural};
use runner_model::{exit::Exit, visible::visible_line};
use runner_scenario::Notify;

use super::{group, root::notify};
use crate::args::{secret_file, set_var};
use crate::text::{CommandError, Out, grants, style};

/// Check scenarios with their test lists, inputs and configurations
#[derive(clap::Args)]
pub struct Args {
    /// The scenarios' files, or folders of them
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Set a variable of `[vars]`; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = set_var)]
    set: Vec<(String, String)>,
    /// Read secrets from lines `NAME=VALUE`; repeatable
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Vec<PathBuf>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut exit = Exit::Success;
    let set = args.set.iter().cloned().collect();
    let scenarios = group::scenario_files(&args.scenarios, out)?;
    let all = scenarios.len() as u64;
    let mut valid = 0;
    for scenario in scenarios {
        match runner_engine::validate(&scenario, &set, &args.secret_file) {
            Ok(found) => {
                valid += 1;
                notify::warn(&Notify::default(), &found.notify, out);
                for warning in found.notices.iter().chain(&grants::warnings(&found.providers)) {
                    out.notice(&style::warning("warning:"), warning);
                }
                out.data(&format!(
                    "{} {}: {} on {}, {}",
                    style::green("✓"),
                    visible_line(&scenario.to_string_lossy()),
                    plural(found.tests, "test", "tests"),
                    grants::counted(&found.providers),
                    plural(found.trials, "trial", "trials"),
                ));
            }
            Err(error) => {
                let error = CommandError::from(error);
                out.talk(error.text());
                exit = exit.worse(error.exit());
            }
        }
    }
    if all > 1 {
        out.talk(&format!("{} of {} scenarios are valid", grouped(valid), grouped(all)));
    }
    Ok(exit)
}
