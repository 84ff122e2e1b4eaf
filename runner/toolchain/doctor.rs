//! [`examine`]: which tools of a language there are.

use std::path::Path;

use super::need::FoundTool;
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// What was found out about a tool.
#[derive(Debug)]
pub struct ToolFinding {
    /// The language that is built with it.
    pub language: Language,
    /// What people call it.
    pub tool: &'static str,
    /// The tool, if it is there and answers.
    pub found: Option<FoundTool>,
    /// How it is installed.
    pub install: String,
    /// Whether it is a program, and not a library of one.
    is_program: bool,
}

impl ToolFinding {
    /// The tool's program, if it is there and is one: a path, or a name that the search path leads from.
    pub fn program(&self) -> Option<&Path> {
        let found = self.found.as_ref().filter(|_| self.is_program)?;
        Some(&found.program)
    }
}

/// Looks for the tools of a language: in a plugin's folder, then on the search path.
pub fn examine(language: Language, folder: &Path) -> Result<Vec<ToolFinding>, SourceError> {
    let watch = BuildWatch {
        on_line: &mut |_| {},
        is_stopped: &|| false,
    };
    let needs = language.needs().iter();
    needs
        .map(|need| {
            Ok(ToolFinding {
                language,
                tool: need.name,
                found: need.find(folder, &watch)?,
                install: need.install(folder),
                is_program: need.is_program,
            })
        })
        .collect()
}
