//! The commands: for each its arguments, its call, and the text of its answer.

pub mod control;
pub mod exec;
pub mod follow;
pub mod group;
pub mod help;
pub mod init;
pub mod list;
pub mod plugin;
pub mod report;
pub mod rescore;
pub mod results;
pub mod resume;
pub mod serve;
mod session;
pub mod show;
mod target;
pub mod upkeep;
pub mod validate;

use std::io::{self, Read};
use std::{fs, path::Path};

/// Writes a file that must not exist yet, and creates its folder. Removes a file that it cannot write to its end.
pub fn write_new(path: &Path, mut content: impl Read) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let written = io::copy(&mut content, &mut fs::File::create_new(path)?).map(drop);
    written.inspect_err(|_| drop(fs::remove_file(path)))
}
