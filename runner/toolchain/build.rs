//! How each language is built, and with which tools. Each language's own file says the former.

use std::path::{Path, PathBuf};

use super::{
    c,
    error::SourceError,
    go, javascript,
    language::Language,
    need::{self, ToolNeed},
    python, rust,
    watch::BuildWatch,
};

impl Language {
    /// The tools that build it.
    pub(super) fn needs(self) -> &'static [ToolNeed] {
        match self {
            Self::Rust => &[need::CARGO, need::RUST_TARGET],
            Self::Python => &[need::COMPONENTIZE_PY],
            Self::JavaScript => &[need::NODE, need::COMPONENTIZE_JS],
            Self::C => &[need::ZIG],
            Self::Go => &[need::GO],
        }
    }

    /// Builds the plugin in `folder` and answers the file that came of it: one of its tools' own, or in `scratch`.
    pub(super) fn build(
        self,
        folder: &Path,
        scratch: &Path,
        watch: &mut BuildWatch<'_>,
    ) -> Result<PathBuf, SourceError> {
        let file = scratch.join("plugin.wasm");
        match self {
            Self::Rust => return rust::build(folder, watch),
            Self::Python => python::build(folder, &file, watch)?,
            Self::JavaScript => javascript::build(folder, &file, watch)?,
            Self::C => c::build(folder, &file, watch)?,
            Self::Go => go::build(folder, &file, watch)?,
        }
        Ok(file)
    }
}
