//! The start of an output, for cells of tables.

use std::{borrow::Cow, io::Read as _};

use runner_model::RowRef;
use runner_record::RunDir;

/// Returns the output of a row as a text, or the text in the first `most` bytes of one in a file. `None` without an output, and
/// if its file cannot be read.
pub(crate) fn start(run: &RunDir, row: &RowRef<'_>, most: u64) -> Option<String> {
    let Some(artifact) = row.output_artifact() else {
        return row.output.as_ref().map(|output| text(output.get()).into_owned());
    };
    let mut bytes = Vec::new();
    run.artifact(&artifact.sha256).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(text(&String::from_utf8_lossy(&bytes)).into_owned())
}

/// Returns a JSON text itself, and any other value as JSON. A text may be cut off.
pub(crate) fn text(json: &str) -> Cow<'_, str> {
    // For other values, an error would cost more than a row.
    let plain = if json.starts_with('"') { plain_text(json) } else { None };
    plain.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// Returns the text of a string in JSON. If that is cut off, it may end within an escape.
fn plain_text(json: &str) -> Option<String> {
    let whole = serde_json::from_str(json).ok();
    whole.or_else(|| {
        let mut starts = (0..12).filter_map(|cut| json.get(..json.len().checked_sub(cut)?));
        starts.find_map(|start| serde_json::from_str(&format!("{start}\"")).ok())
    })
}
