//! How a plugin written in JavaScript is built: by its own `build.mjs`, which drives componentize-js as a library.

use std::path::Path;

use super::need::{COMPONENTIZE_JS, NODE};
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// Builds the plugin in `folder` into `file`.
pub(super) fn build(
    folder: &Path,
    file: &Path,
    watch: &mut BuildWatch<'_>,
) -> Result<(), SourceError> {
    let node = NODE.tool(Language::JavaScript, folder, watch)?;
    // Without it the script would fail with a stack trace about modules.
    COMPONENTIZE_JS.tool(Language::JavaScript, folder, watch)?;
    node.args([Path::new("build.mjs"), file]).run(watch)
}
