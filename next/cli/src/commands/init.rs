//! `runner init`: writes a first scenario that runs as it is.

use std::{io::ErrorKind, path::PathBuf};

use runner_model::{exit::Exit, visible::visible_line};
use runner_report::phrases::quoted;

use super::write_new;
use crate::text::{CommandError, Out};

/// Write a first scenario that runs as it is
#[derive(clap::Args)]
pub struct Args {
    /// The folder, which is made where it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

const SCENARIO: &str = include_str!("first.toml");
const IGNORED: &str = "# Results of `runner`.\n/results/\n";

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    // Paths of files in this folder are shown without `./`.
    let folder = args.folder.strip_prefix(".").unwrap_or(&args.folder);
    let scenario = folder.join("first.toml");
    if scenario.symlink_metadata().is_ok() {
        let path = scenario.display();
        return Err(CommandError::usage(format!(
            "{path} is there already, and is not written over\nname another folder: runner init DIR"
        )));
    }
    let schema = serde_json::to_string_pretty(&runner_scenario::schema()).unwrap_or_default();
    let files = [
        (scenario.clone(), SCENARIO),
        (folder.join(".runner/schema.json"), &schema),
        (folder.join(".gitignore"), IGNORED),
    ];
    for (path, text) in &files {
        let is_new = match write_new(path, text.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            written => {
                written.map(|()| true).map_err(|error| CommandError::cannot_write(path, error))?
            }
        };
        let path = path.display().to_string();
        let path = visible_line(&path);
        out.data(&match is_new {
            true => format!("wrote {path}"),
            false => format!("kept  {path}, which was there"),
        });
    }
    let scenario = quoted(&scenario.to_string_lossy());
    out.hint(&format!("run it: runner exec {scenario}"));
    Ok(Exit::Success)
}
