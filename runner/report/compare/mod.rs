//! Comparisons in the forms that people and other programs read, each written from one [`Compared`].

mod html;
mod markdown;
mod told;

use std::{
    io::{self, Write},
    path::Path,
};

use crate::view::Compared;

/// A form of a comparison, other than on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonFormat {
    /// One document of JSON.
    Json,
    /// A comment of a pull request.
    Markdown,
    /// One page for a browser.
    Html,
}

impl ComparisonFormat {
    /// The form that the name of a file tells by its end.
    pub fn of_file(file: &Path) -> Option<Self> {
        match &*file.extension()?.to_str()?.to_ascii_lowercase() {
            "json" => Some(Self::Json),
            "md" => Some(Self::Markdown),
            "html" => Some(Self::Html),
            _ => None,
        }
    }
}

/// Writes a comparison of runs, or of groups.
///
/// # Errors
///
/// Fails as `to` does.
pub fn write_comparison(
    compared: &Compared,
    format: ComparisonFormat,
    to: &mut dyn Write,
) -> io::Result<()> {
    match format {
        ComparisonFormat::Json => {
            serde_json::to_writer_pretty(&mut *to, compared)?;
            to.write_all(b"\n")
        }
        ComparisonFormat::Markdown => markdown::write(compared, to),
        ComparisonFormat::Html => html::write(compared, to),
    }
}
