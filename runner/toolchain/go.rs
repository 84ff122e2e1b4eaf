//! How a plugin written in Go is built: the package in its folder becomes a program for WASI.

use std::path::Path;

use super::need::GO;
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// Builds the package in `folder` into `file`.
pub(super) fn build(
    folder: &Path,
    file: &Path,
    watch: &mut BuildWatch<'_>,
) -> Result<(), SourceError> {
    let go = GO.tool(Language::Go, folder, watch)?;
    go.env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args(["build", "-o"])
        .args([file, Path::new(".")])
        .run(watch)
}

/// What to do where a go that is too old was found, which calls the target unsupported.
pub(super) fn help_for_failure(tail: &str) -> Option<String> {
    tail.contains("unsupported GOOS/GOARCH pair wasip1/wasm")
        .then(|| {
            format!(
                "this Go is too old; in the plugin's folder, {}",
                GO.install(Path::new(""))
            )
        })
}
