//! [`PluginRole`]: what a plugin is in a scenario.

use std::fmt;

/// What a plugin is in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginRole {
    /// Tests run on it.
    Provider,
    /// It judges what providers have put out.
    Grader,
}

impl fmt::Display for PluginRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Provider => "provider",
            Self::Grader => "grader",
        })
    }
}
