//! [`AttemptReport`]: a row as bytes that fit a frame, with the output's artifact and what was said.

use std::{io, sync::Arc};

use runner_model::{
    HostFault, Row, TaskId, Text,
    log::{MAX_SAID, Said},
    outcome::Verdict,
    prepare::Problem,
    protocol::ReportHead,
    row::{MAX_ROW, OUTPUT_ARTIFACT, Raw, is_deep},
};
use runner_sandbox::{LeftContent, LeftFile, Redactor, cut};
use serde::Serialize;

use crate::{artifacts::hand_on, attempt::AttemptResult};

/// Bytes of an output that stays in the row.
const MAX_OUTPUT: usize = 64 << 10;
/// Bytes of a summary in a row that is too long with all of it.
const MAX_SUMMARY: usize = 1000;
/// How many checks, and how many metrics, a row keeps that is too long with all of them.
const KEPT: usize = 40;

/// What a worker reports of an attempt.
#[derive(Default)]
pub struct AttemptReport {
    /// One compact JSON object.
    pub row: Vec<u8>,
    /// What was said, as JSON; empty if nothing was.
    pub said: Vec<u8>,
    host_fault: Option<HostFault>,
}

impl AttemptReport {
    /// Makes the report of an attempt. Its artifacts are sent before: `send` takes each piece with the artifact's index. An
    /// output that cannot stand in the row is the first of them.
    ///
    /// # Errors
    ///
    /// A file that cannot be read back, or what `send` says.
    pub fn new(
        made: AttemptResult<'_>,
        redactor: Option<&Arc<Redactor>>,
        mut send: impl FnMut(u32, Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (mut row, mut left) = (made.row, made.left);
        if let Some(output) = row.output.take_if(|output| is_artifact(output.get())) {
            row.output = Raw::of(&serde_json::json!({"$artifact": OUTPUT_ARTIFACT})).ok();
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
            let artifact = hand_on(file, redactor, |piece| send(index, piece))?;
            row.artifacts.push(artifact);
        }
        Ok(Self { row: encode_row(row), said: encode_said(made.said), host_fault: made.host_fault })
    }

    /// The report of a test that was checked.
    pub fn of_problems(problems: &[Problem]) -> Self {
        Self { row: json(&problems), ..Self::default() }
    }

    /// The report's head.
    pub fn head(&self, task: TaskId) -> ReportHead {
        ReportHead {
            task,
            row_bytes: self.row.len() as u32,
            log_bytes: self.said.len() as u32,
            host_fault: self.host_fault,
        }
    }
}

/// Tells whether an output cannot stand in a row: it is large or deep, or looks like what stands there for an artifact.
fn is_artifact(output: &str) -> bool {
    output.len() > MAX_OUTPUT
        || is_deep(output)
        || first_key(output).as_deref() == Some("$artifact")
}

/// The first key of an object; it may be written with escapes.
fn first_key(json: &str) -> Option<String> {
    let inside = json.strip_prefix('{')?;
    let mut values = serde_json::Deserializer::from_str(inside).into_iter();
    values.next()?.ok()
}

/// Serializes a row, and cuts what matters least until it fits.
fn encode_row(mut row: Row<'_>) -> Vec<u8> {
    let steps: [fn(&mut Row<'_>); 6] = [
        |row| row.summary.iter_mut().for_each(|text| shorten(text, MAX_SUMMARY)),
        |row| {
            for check in &mut row.checks {
                (check.expected, check.actual) = (None, None);
            }
        },
        |row| row.checks.iter_mut().for_each(|check| check.diff = None),
        |row| {
            row.checks.iter_mut().for_each(|check| check.details = None);
            if let Some(error) = &mut row.error {
                error.details = None;
            }
        },
        |row| {
            // What failed says more.
            row.checks.sort_by_key(|check| check.verdict != Verdict::Fail);
            row.checks.truncate(KEPT);
            row.metrics.truncate(KEPT);
        },
        shorten_texts,
    ];
    let mut bytes = json(&row);
    for step in steps {
        if bytes.len() <= MAX_ROW {
            break;
        }
        step(&mut row);
        row.truncated = true;
        bytes = json(&row);
    }
    bytes
}

/// Cuts every text of a row. The longest row that is left has 64 KiB of output, the artifacts that fit it, and 40 checks, 40
/// metrics and 20 denials of texts in which every byte is written as six: less than [`MAX_ROW`].
fn shorten_texts(row: &mut Row<'_>) {
    row.summary.iter_mut().for_each(|text| shorten(text, 200));
    for check in &mut row.checks {
        shorten(&mut check.name, 64);
        check.message.iter_mut().for_each(|text| shorten(text, 200));
    }
    for metric in &mut row.metrics {
        shorten(&mut metric.name, 64);
        metric.unit.iter_mut().for_each(|text| shorten(text, 32));
    }
    for denied in &mut row.denied {
        shorten(&mut denied.what, 100);
        denied.grant.iter_mut().for_each(|text| shorten(text, 100));
    }
    if let Some(error) = &mut row.error {
        shorten(&mut error.code, 64);
        shorten(&mut error.message, 2000);
    }
}

fn shorten(text: &mut Text<'_>, most: usize) {
    if text.len() > most {
        *text = cut(most, &*text).into();
    }
}

/// Serializes what was said, and cuts its end until it fits.
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
            let (stdout, stderr) = (said.stdout.len() / 2, said.stderr.len() / 2);
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
    // A Vec takes every write, and our types have JSON.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
}

#[cfg(test)]
#[path = "tests/report.rs"]
mod tests;
