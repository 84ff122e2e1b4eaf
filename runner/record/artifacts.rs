//! The files of an attempt, and what of it does not fit into its row.

use std::{borrow::Cow, io, path::Path};

use serde_json::{Map, Value, json};

use super::{
    RecordError, durable,
    layout::RunDir,
    recorder::Entry,
    row::{Row, RowArtifact, RowOutput, StoredOutput},
};
use crate::model::{Artifact, Digest, LogRecord};

/// The longest output that stands in its row, as JSON.
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Writes the files that an attempt left, so that the row may speak of them.
pub(super) fn save<'a>(
    dir: &RunDir,
    entry: &'a Entry,
    row: &mut Row<'a>,
) -> Result<(), RecordError> {
    let attempt = &entry.attempt;
    let mut files: Vec<(Cow<'a, str>, &'a str, Cow<'a, [u8]>)> = Vec::new();
    for artifact in &attempt.artifacts {
        let bytes = artifact.bytes.as_slice();
        files.push((
            artifact.name.as_str().into(),
            &artifact.media_type,
            bytes.into(),
        ));
    }
    if !attempt.stderr.is_empty() {
        let name = free_name(&attempt.artifacts, "stderr.txt");
        files.push((name, "text/plain", attempt.stderr.as_bytes().into()));
    }
    if !attempt.log.is_empty() {
        let name = free_name(&attempt.artifacts, "log.jsonl");
        files.push((name, "application/jsonl", log_lines(&attempt.log).into()));
    }
    if files.is_empty() {
        return Ok(());
    }

    let directory = dir.artifacts(attempt.ordinal, attempt.number);
    let pairs = files.iter().map(|(name, _, bytes)| (&**name, &**bytes));
    write(dir, &directory, pairs).map_err(RecordError::io("write an artifact"))?;
    row.artifacts = files
        .into_iter()
        .map(|(name, media_type, bytes)| RowArtifact {
            name,
            media_type: media_type.into(),
            bytes: bytes.len() as u64,
        })
        .collect();
    Ok(())
}

/// Moves an output that is too large for its row into a file.
pub(super) fn save_output<'a>(
    dir: &RunDir,
    entry: &'a Entry,
    row: &mut Row<'a>,
) -> Result<(), RecordError> {
    let attempt = &entry.attempt;
    let Some(output) = &attempt.output else {
        return Ok(());
    };
    let bytes = serde_json::to_vec(output).expect("a JSON value can be written as JSON");
    if bytes.len() <= MAX_INLINE_BYTES && !looks_stored(output) {
        return Ok(());
    }

    let name = free_name(&attempt.artifacts, "output.json");
    let directory = dir.artifacts(attempt.ordinal, attempt.number);
    write(dir, &directory, [(&*name, bytes.as_slice())].into_iter())
        .map_err(RecordError::io("write an output"))?;
    row.output = Some(RowOutput::Stored(StoredOutput {
        artifact: name,
        sha256: Digest::of(&bytes),
        bytes: bytes.len() as u64,
    }));
    Ok(())
}

/// Tells whether a row with this many bytes, or this output, may have an output that must not stand in it.
pub(super) fn must_look_at_output(entry: &Entry, line_bytes: usize) -> bool {
    line_bytes > MAX_INLINE_BYTES || entry.attempt.output.as_ref().is_some_and(looks_stored)
}

/// Tells whether a value could be taken for the place of an output.
fn looks_stored(output: &Value) -> bool {
    output.as_object().is_some_and(|object| {
        object.len() == 3
            && ["artifact", "sha256", "bytes"]
                .iter()
                .all(|key| object.contains_key(*key))
    })
}

/// A name that the provider gave to none of its files; some file systems do not tell case.
fn free_name(taken: &[Artifact], wanted: &'static str) -> Cow<'static, str> {
    let mut name = Cow::Borrowed(wanted);
    while taken
        .iter()
        .any(|artifact| artifact.name.eq_ignore_ascii_case(&name))
    {
        name = format!("runner-{name}").into();
    }
    name
}

fn write<'a>(
    dir: &RunDir,
    directory: &Path,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<()> {
    let is_new = !directory.exists();
    fs_err::create_dir_all(directory)?;
    for (name, bytes) in files {
        durable::create(&directory.join(name), bytes)?;
    }

    durable::sync_directory(directory)?;
    if is_new {
        // Up to the run directory, each may just have been made.
        for parent in directory.ancestors().skip(1) {
            durable::sync_directory(parent)?;
            if parent == dir.path() {
                break;
            }
        }
    }
    Ok(())
}

fn log_lines(log: &[LogRecord]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in log {
        let mut line = json!({ "level": record.level, "message": record.message });
        if !record.fields.is_empty() {
            let fields: Map<String, Value> = record
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            line["fields"] = fields.into();
        }
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
    lines
}
