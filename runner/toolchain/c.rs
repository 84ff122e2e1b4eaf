//! How a plugin written in C is built: every `.c` file in `src` goes to zig's C compiler.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::need::ZIG;
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// Builds the program in `folder` into `file`.
pub(super) fn build(
    folder: &Path,
    file: &Path,
    watch: &mut BuildWatch<'_>,
) -> Result<(), SourceError> {
    let zig = ZIG.tool(Language::C, folder, watch)?;
    zig.args([
        "cc",
        "--target=wasm32-wasi",
        "-std=c17",
        "-Wall",
        "-Wextra",
        "-Os",
        // The message of a trap shows the names of functions, and zig keeps them only with all that a debugger needs.
        "-g",
    ])
    .args(["-o".as_ref(), file])
    .args(sources(folder)?)
    .run(watch)
}

/// The C files in `src`, in order, as paths below `folder`.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let src = folder.join("src");
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&src)? {
            names.push(Path::new("src").join(entry?.file_name()));
        }
        Ok(names)
    };
    let mut files = read().map_err(|error| SourceError::file("read", &src, error))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "c"));
    files.sort();
    Ok(files)
}
