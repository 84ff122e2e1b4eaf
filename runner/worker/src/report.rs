//! [`AttemptReport`]: a row and its log as bytes that fit a frame.

use std::{io, sync::Arc};

use runner_model::log::{MAX_SAID, Said};
use runner_model::row::{OUTPUT_ARTIFACT, OUTPUT_REFERENCE, Raw, is_deep};
use runner_model::transcript::TRANSCRIPT;
use runner_model::{HostFault, Row, TaskId, Text, protocol::ReportHead, workspace::CHANGES};
use runner_sandbox::{LeftContent, LeftFile, Redactor, cut};
use serde::Serialize;

use crate::left::artifacts::send_artifact;

/// Bytes of an output that stays in the row.
const MAX_OUTPUT: usize = 64 << 10;

/// The result of an attempt, before it is encoded.
pub struct AttemptResult<'a> {
    pub row: Row<'a>,
    pub said: Said<'static>,
    /// Files for the row's artifacts. Their contents are not yet redacted.
    pub left: Vec<LeftFile>,
    /// The host's files, redacted: the list of changes in the workspace, their contents, and the transcript.
    pub of_host: Vec<LeftFile>,
    pub host_fault: Option<HostFault>,
}

/// The body of a report frame.
#[derive(Default)]
pub struct AttemptReport {
    /// One compact JSON object, or the list of problems of a checked test.
    pub row: Vec<u8>,
    /// JSON of [`Said`]. Empty if the guest logged and printed nothing.
    pub said: Vec<u8>,
    host_fault: Option<HostFault>,
}

impl AttemptReport {
    /// Encodes the result of an attempt. Passes its artifacts to `send` first, in pieces, each with the artifact's index. An
    /// output that does not fit the row becomes artifact 0.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or an error of `send`.
    pub fn new(
        result: AttemptResult<'_>,
        redactor: Option<&Arc<Redactor>>,
        mut send: impl FnMut(u32, Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut row = result.row;
        let mut left = result.left;
        if let Some(output) = row.output.take_if(|output| is_artifact(output.get())) {
            row.output = Raw::from_string(OUTPUT_REFERENCE.to_owned()).ok();
            let content = output.get().as_bytes().to_vec();
            let file = LeftFile {
                name: OUTPUT_ARTIFACT.into(),
                media_type: "application/json".into(),
                bytes: content.len() as u64,
                content: LeftContent::Memory(content),
            };
            left.insert(0, file);
        }
        for (index, file) in (0..).zip(left) {
            row.artifacts.push(send_artifact(file, redactor, |piece| send(index, piece))?);
        }
        for (index, file) in (row.artifacts.len() as u32..).zip(result.of_host) {
            row.artifacts.push(send_artifact(file, None, |piece| send(index, piece))?);
        }
        if let Some(workspace) = &mut row.workspace {
            let mut artifacts = row.artifacts.iter().rev();
            let list = artifacts.find(|artifact| *artifact.name == *CHANGES);
            workspace.changes = list.map(|list| list.sha256);
        }
        if let Some(transcript) = &mut row.transcript {
            let mut artifacts = row.artifacts.iter().rev();
            let file = artifacts.find(|artifact| *artifact.name == *TRANSCRIPT);
            transcript.sha256 = file.map(|file| file.sha256);
        }
        let said = encode_said(result.said);
        let host_fault = result.host_fault;
        Ok(Self { row: row.fit(), said, host_fault })
    }

    /// Encodes the result of another task than an attempt: the grade of a grader, `None` if that was interrupted; the judgement
    /// of a stored row; or the problems of a test that was checked without a call.
    pub fn from_result(result: &impl Serialize, host_fault: Option<HostFault>) -> Self {
        Self { row: json(result), said: Vec::new(), host_fault }
    }

    pub fn head(&self, task: TaskId) -> ReportHead {
        ReportHead {
            task,
            row_bytes: self.row.len() as u32,
            log_bytes: self.said.len() as u32,
            host_fault: self.host_fault,
        }
    }
}

/// Returns whether an output must become an artifact: it is large or deep, or could be read as a reference to an artifact.
fn is_artifact(output: &str) -> bool {
    output.len() > MAX_OUTPUT
        || is_deep(output)
        || first_key(output).as_deref() == Some("$artifact")
}

/// Returns the first key of an object, without its escapes.
fn first_key(json: &str) -> Option<String> {
    serde_json::Deserializer::from_str(json.strip_prefix('{')?).into_iter().next()?.ok()
}

fn shorten(text: &mut Text<'_>, most: usize) {
    if text.len() > most {
        *text = cut(most, &*text).into();
    }
}

/// Serializes a log. If it is too long, cuts its end until it fits.
fn encode_said(mut said: Said<'_>) -> Vec<u8> {
    if said.is_empty() {
        return Vec::new();
    }
    let mut bytes = json(&said);
    while bytes.len() > MAX_SAID {
        let kept = said.log.len() / 2;
        said.dropped += (said.log.len() - kept) as u64;
        said.log.truncate(kept);
        if said.log.is_empty() {
            let stdout = said.stdout.len() / 2;
            let stderr = said.stderr.len() / 2;
            shorten(&mut said.stdout, stdout);
            shorten(&mut said.stderr, stderr);
        }
        bytes = json(&said);
    }
    bytes
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // An echo row has at most 450 bytes.
    let mut bytes = Vec::with_capacity(512);
    // Writing to a Vec cannot fail, and all keys are strings.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
