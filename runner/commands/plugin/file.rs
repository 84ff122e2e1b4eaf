//! From what the command line calls a plugin to its file.

use std::path::{Path, PathBuf};

use miette::miette;

use crate::{
    error::Error,
    output::Output,
    session::plugins,
    toolchain::{Source, SourceState},
};

/// Finds the file of a plugin, which may be named by the folder that it was built in. Nothing is built.
pub(super) fn find(path: &Path, output: &Output) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let source = Source::open(path).map_err(|error| plugins::unusable(&error))?;
    // Nobody handles signals yet, so they end the process.
    let state = source.state(&|| false);
    match state.map_err(|error| plugins::unusable(&error))? {
        SourceState::Fresh(file) => Ok(file),
        SourceState::Stale(file) => {
            output.warn(&format!(
                "plugin `{}` was not built from what is in its folder now; `runner plugin build {}` builds it anew",
                source.name(),
                path.display()
            ));
            Ok(file)
        }
        SourceState::Missing => Err(Error::usage(miette!(
            help = format!("`runner plugin build {}` builds it", path.display()),
            "plugin `{}` is not built: `{}` has no `dist/plugin.wasm`",
            source.name(),
            path.display()
        ))),
    }
}
