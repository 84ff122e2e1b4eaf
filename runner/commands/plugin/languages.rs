//! Languages as the command line names them, and where their tools are.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::{cli, toolchain::Language};

/// The language that a word of the command line stands for.
pub(super) fn language(word: cli::Language) -> Language {
    match word {
        cli::Language::Rust => Language::Rust,
        cli::Language::Python => Language::Python,
        cli::Language::JavaScript => Language::JavaScript,
        cli::Language::C => Language::C,
        cli::Language::Go => Language::Go,
    }
}

/// Where a program is that is called by its name.
pub(super) fn on_path(program: &Path, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
