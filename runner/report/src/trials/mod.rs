//! Trials: the page of one, the matrix of a run, and the history of a scenario; in this file, [`TrialPart`], a part of an attempt
//! that other programs can read.

mod calls;
mod changes;
mod document;
mod history;
mod matrix;
pub(crate) mod output;
mod page;
mod past;
mod transcript;

use std::io::{self, Cursor, Read};

use runner_model::log::Said;
use runner_model::row::{OUTPUT_REFERENCE, RowRef, is_file_name};
use runner_model::{Digest, TrialId};
use runner_record::{RecordError, RunDir};
use serde_json::Value;

use self::page::record;
pub use self::{calls::*, changes::*, document::*, history::*, matrix::*, page::*, transcript::*};
use crate::logs::without_records;

/// The folder of artifacts, whose names may be those of other parts.
const ARTIFACTS: &str = "artifacts/";

/// The input, the output, a log or a file of an attempt.
#[derive(Debug)]
pub struct TrialPart {
    /// A relative path, such as `output` or `artifacts/plot.svg`. Its last part is a valid file name.
    pub name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    Artifact(Digest),
    /// An output that is an artifact.
    Output(Digest),
}

impl TrialDocument {
    /// Returns the log and the output of the attempt with this row, as `show` prints them.
    pub fn log_text(&self, row: &RowRef<'_>) -> String {
        let Some(said) = self.said(row) else { return String::new() };
        let mut text: String = said.log.iter().map(|one| record(one) + "\n").collect();
        let stderr = without_records(&said);
        for (title, output) in [("standard output", &*said.stdout), ("standard error", &stderr)] {
            if !output.trim().is_empty() {
                let end = if output.ends_with('\n') { "" } else { "\n" };
                text += &format!("── {title} ──\n{output}{end}");
            }
        }
        text
    }

    fn said(&self, row: &RowRef<'_>) -> Option<Said<'_>> {
        let log = self.logs.iter().find(|log| Some(log.seq) == row.seq)?;
        serde_json::from_str(log.said.as_deref()?.get()).ok()
    }

    /// Returns the parts of the attempt with this row.
    pub fn parts(&self, row: &RowRef<'_>) -> Vec<TrialPart> {
        let mut parts = Vec::new();
        let mut add =
            |name: &str, content| parts.push(TrialPart { name: name.to_owned(), content });
        let planned = self.planned();
        for (name, key) in [("input", "input"), ("expected", "expect")] {
            if let Some(value) = planned.get(key) {
                add(name, Content::Text(text(&value.to_string())));
            }
        }
        let output = row.output.as_ref().map(|output| output.get());
        let first = row.artifacts.first().filter(|_| output == Some(OUTPUT_REFERENCE));
        if let Some(output) = output {
            add(
                "output",
                match first {
                    Some(artifact) => Content::Output(artifact.sha256),
                    None => Content::Text(text(output)),
                },
            );
        }
        if let Some(said) = self.said(row) {
            let log: String = said.log.iter().map(|one| record(one) + "\n").collect();
            for (name, text) in
                [("log", &*log), ("stdout", &*said.stdout), ("stderr", &*said.stderr)]
            {
                if !text.is_empty() {
                    add(name, Content::Text(text.to_owned()));
                }
            }
        }
        for artifact in &row.artifacts {
            // Another program may have written the row.
            if is_file_name(&artifact.name) {
                let name = format!("{ARTIFACTS}{}", &*artifact.name);
                add(&name, Content::Artifact(artifact.sha256));
            }
        }
        parts.sort_by(|left, right| left.name.cmp(&right.name));
        parts.dedup_by(|left, right| left.name == right.name);
        parts
    }
}

impl TrialPart {
    /// Finds a part by its name, or an artifact by its own.
    ///
    /// # Errors
    ///
    /// A message with the existing names.
    pub fn find<'a>(parts: &'a [Self], trial: &TrialId, name: &str) -> Result<&'a Self, String> {
        let artifact = format!("{ARTIFACTS}{name}");
        let found = [name, &artifact].map(|name| parts.iter().find(|part| part.name == name));
        found[0].or(found[1]).ok_or_else(|| {
            let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
            format!("`{trial}` has no part `{name}`; it has:\n{}", names.join("\n"))
        })
    }

    /// Opens the content. Texts are as they are, without the quotes of JSON.
    ///
    /// # Errors
    ///
    /// The artifact is missing or damaged.
    pub fn open(&self, run: &RunDir) -> Result<Box<dyn Read>, RecordError> {
        Ok(match &self.content {
            Content::Text(text) => Box::new(Cursor::new(text.clone())),
            Content::Artifact(digest) => Box::new(run.artifact(digest)?),
            Content::Output(digest) => {
                let json = io::read_to_string(run.artifact(digest)?);
                let json = json.map_err(|source| {
                    let path = run.path().join("artifacts").join(digest.path());
                    RecordError::Io { what: "read", path, source }
                })?;
                Box::new(Cursor::new(text(&json)))
            }
        })
    }
}

/// Returns a JSON text without its quotes, and other JSON with indentation and a line break.
fn text(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(Value::String(text)) => text,
        Ok(value) => format!("{value:#}\n"),
        Err(_) => json.to_owned(),
    }
}
