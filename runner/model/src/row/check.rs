//! [`check_row`]: decides whether a worker's row is believed.

use thiserror::Error;

use super::line::{RowRef, VERSION, parse};
use super::parts::is_host_artifact;
use super::row_check::Check;
use crate::{ErrorClass, Limits, Outcome, protocol::Task, workspace::CHANGES};

/// Bytes of a worker's row.
pub const MAX_ROW: usize = 256 << 10;
/// Levels of nesting in each part of a row that a guest or a test provides. Many readers of JSON stop at 128.
pub const MAX_DEPTH: usize = 100;
/// Levels of nesting in a row: a part of a check is in the check, in the list of checks, in the row.
const MAX_ROW_DEPTH: usize = MAX_DEPTH + 3;

/// The reason why a worker's report is refused. The worker is then killed: it is broken or hostile.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadReport(pub(crate) String);

/// Checks a worker's row for `task`: one closed object on one line, the task's ids, no keys of the coordinator, and
/// possible values.
///
/// # Errors
///
/// The first fault. No part of the row may then be used.
pub fn check_row<'a>(
    bytes: &'a [u8],
    task: &Task,
    limits: &Limits,
) -> Result<RowRef<'a>, BadReport> {
    check_object(bytes)?;
    let row: RowRef<'_> = parse(bytes).map_err(|error| BadReport(format!("not a row: {error}")))?;
    if row.trial != task.trial || !row.names_trial(&task.trial) || row.attempt != task.attempt {
        return Err(BadReport("a row of another attempt than its task's".into()));
    }
    // With these a worker could settle its own trial, or overwrite keys of the tail that follows.
    let has_tail = row.fingerprint.is_some()
        || row.judgement_fingerprint.is_some()
        || row.judged.is_some()
        || row.worker.is_some()
        || row.stopped_by.is_some()
        || row.logs.is_some()
        || row.flaky
        || row.r#final.is_some()
        || row.session.is_some()
        || row.seq.is_some()
        || row.crc.is_some();
    let class = row.error.as_ref().and_then(|error| error.class);
    // Retries depend on the class.
    let is_error_right = match row.outcome {
        Outcome::Error => class.is_some(),
        Outcome::Timeout | Outcome::Stopped => row.error.is_some(),
        Outcome::Passed | Outcome::Failed | Outcome::Skipped | Outcome::Ungraded => true,
    };
    // Only the coordinator observes the death of a worker, and it adds grades.
    let is_class_right = !matches!(class, Some(ErrorClass::Crash | ErrorClass::Grader));
    let parts = [
        (!has_tail, "key of the coordinator"),
        (row.v == VERSION, "v"),
        (is_time(row.duration_ms), "duration_ms"),
        (is_time(row.suspended_ms), "suspended_ms"),
        (row.continued == task.recorded.map_or(0, |recorded| recorded.continued), "continued"),
        (is_error_right && is_class_right, "error"),
        (!row.service_failed || class.is_some_and(ErrorClass::is_of_service), "service_failed"),
        (row.checks.iter().all(Check::is_possible), "checks"),
        (row.grades.is_empty(), "grades"),
        // One more for an output that does not fit the row, those of a workspace, and a transcript.
        (row.artifacts.len() as u64 <= limits.artifact_files.saturating_add(4), "artifacts"),
        (row.artifacts.iter().all(|artifact| is_file_name(&artifact.name)), "artifacts"),
        (has_changes(&row), "workspace"),
        (has_own_names(&row), "artifacts"),
        (row.transcript.is_none() || row.transcript_artifact().is_some(), "transcript"),
        (row.cut_by.is_none() || row.cut_by == row.limit_that_cut(), "cut_by"),
    ];
    check_parts("row", &parts)?;
    Ok(row)
}

/// Returns whether the list of changes that the row's workspace names is one of its artifacts.
fn has_changes(row: &RowRef<'_>) -> bool {
    let Some(workspace) = &row.workspace else { return true };
    let is_list = |digest| {
        let mut artifacts = row.artifacts.iter();
        artifacts.any(|artifact| *artifact.name == *CHANGES && artifact.sha256 == digest)
    };
    let has_counts = workspace.added | workspace.changed | workspace.removed > 0;
    workspace.changes.is_none_or(|digest| has_counts && is_list(digest))
}

/// Returns whether the names of the runner's artifacts are those of the artifacts that the row refers to. Readers find the
/// runner's artifacts by their names.
fn has_own_names(row: &RowRef<'_>) -> bool {
    let [changes, contents] = row.changes();
    let own = [row.output_artifact(), changes, contents, row.transcript_artifact()];
    let named = row.artifacts.iter().filter(|artifact| is_host_artifact(&artifact.name));
    named.count() == own.into_iter().flatten().count()
}

/// Refuses a report with a part that is not right. Each part has the name of its key.
pub(super) fn check_parts(noun: &str, parts: &[(bool, &str)]) -> Result<(), BadReport> {
    match parts.iter().find(|(is_right, _)| !is_right) {
        Some((_, key)) => Err(BadReport(format!("a {noun} with an impossible `{key}`"))),
        None => Ok(()),
    }
}

/// Checks that a worker's report is one closed object on one line, and within the bounds of rows.
pub(super) fn check_object(bytes: &[u8]) -> Result<(), BadReport> {
    if bytes.len() > MAX_ROW {
        let length = bytes.len();
        return Err(BadReport(format!("a row of {length} bytes, more than {MAX_ROW}")));
    }
    // A line break would start another line of `index.jsonl`, and `Tail::finish` relies on the braces.
    if bytes.first() != Some(&b'{')
        || bytes.last() != Some(&b'}')
        || bytes.contains(&b'\n')
        || bytes.contains(&b'\r')
    {
        return Err(BadReport("not a row: not one closed object on one line".into()));
    }
    let levels = depth(bytes);
    if levels > MAX_ROW_DEPTH {
        return Err(BadReport(format!("a row of {levels} levels, more than {MAX_ROW_DEPTH}")));
    }
    Ok(())
}

/// Returns whether a duration in milliseconds has at most 31 years, so that sums stay finite and ends of attempts are dates.
pub(super) fn is_time(ms: f64) -> bool {
    // NaN is outside, too.
    (0.0..1e12).contains(&ms)
}

/// Returns whether a text can name a file in a folder: one path segment, at most 200 bytes, no control characters.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name != "."
        && name != ".."
        && !name.contains(['/', '\n', '\t'])
        && !name.contains(crate::visible::steers)
}

/// Returns whether JSON is nested more deeply than [`MAX_DEPTH`].
pub fn is_deep(json: &str) -> bool {
    depth(json.as_bytes()) > MAX_DEPTH
}

/// Returns the levels of nesting in JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
