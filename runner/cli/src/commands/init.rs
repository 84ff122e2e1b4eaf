//! `runner init`: writes a first scenario that runs as it is.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use runner_model::exit::Exit;
use runner_model::visible::{quoted_path, shown_path};

use crate::text::{CommandError, Out, mistake};

/// Write a first scenario that runs as it is
#[derive(clap::Args)]
pub struct Args {
    /// The folder; it is created if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Replace an existing `first.toml`
    #[arg(long)]
    force: bool,
}

const SCENARIO: &str = include_str!("help/first.toml");
const GITIGNORE: &str = "# Results of `runner`.\n/results/\n";

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    // So that messages show paths as users type them, without `./`.
    let folder = args.folder.strip_prefix(".").unwrap_or(&args.folder);
    for place in [args.folder.clone(), folder.join(".runner")] {
        if place.exists() && !place.is_dir() {
            let place = shown_path(&place);
            return Err(mistake!(
                "`{place}` is not a folder; move it away, or choose another: runner init DIR"
            ));
        }
    }
    let scenario = folder.join("first.toml");
    if scenario.symlink_metadata().is_ok() {
        let path = shown_path(&scenario);
        if !args.force {
            let given = quoted_path(&args.folder);
            return Err(mistake!(
                "{path} already exists; nothing was changed\nchoose another folder: runner init DIR\nto replace the file: runner init {given} --force"
            ));
        }
        fs::remove_file(&scenario)
            .map_err(|error| CommandError::cannot_write(&scenario, &error))?;
    }
    let schema = serde_json::to_string_pretty(&runner_scenario::schema()).unwrap_or_default();
    // The scenario is last: without it, the command can be repeated.
    let files = [
        (folder.join(".runner/schema.json"), &*schema),
        (folder.join(".gitignore"), GITIGNORE),
        (scenario, SCENARIO),
    ];
    for (path, text) in &files {
        let written = write_new(path, text.as_bytes());
        let shown = shown_path(path);
        match written {
            Ok(()) => out.data(&format!("wrote {shown}")),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                out.data(&format!("kept  {shown}, which already existed"));
            }
            Err(error) => return Err(CommandError::cannot_write(path, &error)),
        }
    }
    // Its results belong to the folder, where `.gitignore` has them.
    let enter = match folder.as_os_str().is_empty() {
        true => String::new(),
        false => format!("cd {} && ", quoted_path(folder)),
    };
    out.hint(&format!("run it: {enter}runner exec first.toml"));
    Ok(Exit::Success)
}

/// Writes a file that must not exist yet, and creates its folder. Removes a file that it cannot write to its end.
pub fn write_new(path: &Path, mut content: impl Read) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let written = io::copy(&mut content, &mut fs::File::create_new(path)?).map(drop);
    written.inspect_err(|_| drop(fs::remove_file(path)))
}
