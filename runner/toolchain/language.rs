//! [`Language`]: what plugins are written in.

use super::kind::SourceKind;

/// A language in which plugins are built without a `command` of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Built with cargo.
    Rust,
    /// Built with componentize-py.
    Python,
    /// Built with componentize-js.
    JavaScript,
    /// Built with zig, whose C compiler brings a library for WASI.
    C,
    /// Built with go.
    Go,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 5] = [
        Self::Rust,
        Self::Python,
        Self::JavaScript,
        Self::C,
        Self::Go,
    ];

    /// The word for it in `plugin.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::C => "c",
            Self::Go => "go",
        }
    }

    /// Reads [`Language::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|language| language.as_str() == word)
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::C => "C",
            Self::Go => "Go",
        }
    }

    /// What is best made of it: a component where its tools make one.
    pub fn usual_kind(self) -> SourceKind {
        match self {
            Self::Rust | Self::Python | Self::JavaScript => SourceKind::Component,
            Self::C | Self::Go => SourceKind::Command,
        }
    }

    /// What its programs call a mistake that ends them.
    pub(super) fn crash(self) -> &'static str {
        match self {
            Self::Rust | Self::Go => "a panic",
            Self::Python | Self::JavaScript => "an exception that nobody catches",
            Self::C => "an `abort`, or a stray memory access",
        }
    }
}
