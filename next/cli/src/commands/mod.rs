//! The commands: for each its arguments, its call, and the text of its answer.

pub mod control;
pub mod exec;
pub mod follow;
pub mod group;
pub mod init;
pub mod list;
pub mod plugin;
pub mod resume;
mod session;
pub mod show;
mod target;
pub mod upkeep;
pub mod validate;

use std::io::{self, Write as _};
use std::{fs, path::Path};

/// Writes a file that must not exist yet, and creates its folder.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::File::create_new(path)?.write_all(content)
}
