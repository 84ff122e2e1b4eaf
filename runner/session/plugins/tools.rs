//! [`list_tools`]: which tools that build plugins are here.

use std::path::{Path, PathBuf};

use miette::miette;

use super::build::unusable;
use crate::{
    error::Error,
    session::Host,
    toolchain::{self, Language, ToolFinding},
    view::{DocumentVersion, ToolList, ToolState},
};

/// Looks for the tools of one language, or of all: in the folder of a plugin, which may have tools of its own, then on the
/// search path.
///
/// # Errors
///
/// Fails if `folder` is not a folder, or if what is in it cannot be read.
pub fn list_tools(only: Option<Language>, folder: &Path, host: &Host) -> Result<ToolList, Error> {
    if !folder.is_dir() {
        return Err(Error::usage(miette!(
            "`{}` is not a folder",
            folder.display()
        )));
    }
    let languages = Language::ALL.into_iter();
    let mut tools = Vec::new();
    for language in languages.filter(|language| only.is_none_or(|only| only == *language)) {
        let findings = toolchain::examine(language, folder).map_err(|error| unusable(&error))?;
        tools.extend(findings.into_iter().map(|finding| state(finding, host)));
    }
    Ok(ToolList {
        v: DocumentVersion,
        tools,
    })
}

fn state(finding: ToolFinding, host: &Host) -> ToolState {
    let program = finding.program();
    ToolState {
        language: finding.language.name(),
        tool: finding.tool,
        is_found: finding.found.is_some(),
        path: program.map(|program| on_path(program, host).unwrap_or_else(|| program.into())),
        version: finding.found.map(|found| found.version),
        install: finding.install,
    }
}

/// Where a program is that is called by its name.
pub(super) fn on_path(program: &Path, host: &Host) -> Option<PathBuf> {
    std::env::split_paths(&host.search_path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
