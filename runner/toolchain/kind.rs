//! [`SourceKind`]: what a plugin's source is to become.

use serde::Deserialize;

/// What the plugin in a folder is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A component that speaks the contract.
    Component,
    /// A program with standard input and output.
    Command,
}

impl SourceKind {
    /// The word for it in `plugin.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Command => "command",
        }
    }

    /// What to do where something else was built.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Component => {
                "a component exports `runner:provider/provider`; a program with a `main` is `kind = \"command\"`"
            }
            Self::Command => {
                "a command is a program with a `main`; what exports `runner:provider/provider` is \
                 `kind = \"component\"`"
            }
        }
    }
}
