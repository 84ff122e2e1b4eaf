//! How a plugin written in Python is built: the module `provider` becomes a component of the world `plugin`.

use std::path::Path;

use super::need::COMPONENTIZE_PY;
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// Builds the module in `folder` into `file`.
pub(super) fn build(
    folder: &Path,
    file: &Path,
    watch: &mut BuildWatch<'_>,
) -> Result<(), SourceError> {
    let tool = COMPONENTIZE_PY.tool(Language::Python, folder, watch)?;
    // A backtrace of the tool itself would bury what it says of the provider.
    tool.env("RUST_BACKTRACE", "0")
        .args(["--wit-path", "wit", "--world", "plugin"])
        .args(["componentize", "provider", "--output"])
        .args([file])
        .run(watch)
}
