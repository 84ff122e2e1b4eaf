//! What to do about a plugin that cannot be built.

use super::{error::SourceError, go, language::Language, rust};

impl SourceError {
    /// Says what to do about it, where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Language { .. } | Self::NoRecipe(_) => {
                let languages = Language::ALL.map(|language| format!("`{}`", language.as_str()));
                Some(format!(
                    "`language` may be {}; any other needs `command = [\"PROGRAM\", \"ARGUMENT\", …]`, which runs in the \
                     folder and writes `dist/plugin.wasm`",
                    languages.join(", ")
                ))
            }
            Self::NoManifest(_) => Some(
                "name a `.wasm` file, or a folder whose `plugin.toml` says `name`, `language` and `kind`".to_owned(),
            ),
            Self::Start { program, .. } => rust::help_to_install(program),
            Self::Failed { command, tail, .. } => {
                rust::help_for_failure(command).or_else(|| go::help_for_failure(tail))
            }
            Self::Missing { help, .. } => Some(help.clone()),
            Self::Mismatch { kind, .. } => Some(kind.advice().to_owned()),
            Self::TooLarge { .. } => Some(
                "keep data outside of the folder, or in one that is not looked at: `target`, `dist`, `node_modules`, or \
                 one whose name begins with a dot"
                    .to_owned(),
            ),
            Self::File { .. } | Self::Manifest { .. } | Self::NoPlugin { .. } | Self::Stopped => None,
        }
    }
}
