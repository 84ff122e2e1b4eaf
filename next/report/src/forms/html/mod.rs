//! The report as one page for a browser.

use std::io;

use super::FormError;
use crate::RunDocument;

/// Writes the page.
///
/// # Errors
///
/// The rows cannot be read, or the writer fails.
pub(super) fn write(document: &RunDocument, writer: &mut dyn io::Write) -> Result<(), FormError> {
    let _ = document;
    writer.write_all(b"<!doctype html>\n")?;
    Ok(())
}
