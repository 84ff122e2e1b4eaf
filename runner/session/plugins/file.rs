//! [`plugin_file`]: the file of a plugin that is named by a path.

use std::path::{Path, PathBuf};

use miette::miette;

use super::build::unusable;
use crate::{
    error::Error,
    session::{Notice, Observe},
    toolchain::{Source, SourceState},
};

/// Finds the file of a plugin, which may be named by the folder that it was built in. Nothing is built.
pub(crate) fn plugin_file(path: &Path, observe: &mut dyn Observe) -> Result<PathBuf, Error> {
    if !Source::is_at(path) {
        return Ok(path.into());
    }
    let source = Source::open(path).map_err(|error| unusable(&error))?;
    // Nobody listens to signals yet, so they end the process.
    let state = source.state(&|| false);
    match state.map_err(|error| unusable(&error))? {
        SourceState::Fresh(file) => Ok(file),
        SourceState::Stale(file) => {
            observe.notice(&Notice::StaleFile(&source));
            Ok(file)
        }
        SourceState::Missing => Err(Error::usage(miette!(
            help = format!("`{}` builds it", source.build_command()),
            "plugin `{}` is not built: `{}` has no `dist/plugin.wasm`",
            source.name(),
            path.display()
        ))),
    }
}
