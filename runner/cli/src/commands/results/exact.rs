//! `runner compare --exact`: whether the results of two runs are equal.

use std::collections::HashMap;

use runner_model::visible::{cut, visible_line};
use runner_model::{Outcome, digest, exit::Exit, units::plural};
use runner_record::{ReadLine, RecordError, RunDir};
use runner_report::VERSION;
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::text::{CommandError, Out};

/// Keys of rows that differ between equal attempts: places, times, resources and the machine.
const LEFT_OUT: [&str; 11] = [
    "seq",
    "session",
    "judged",
    "logs",
    "worker",
    "started_at",
    "duration_ms",
    "suspended_ms",
    "usage",
    "stopped_by",
    "crc",
];
/// The check of real time.
const MAX_DURATION: &str = "max_duration";
/// Characters of a value.
const SHOWN: usize = 400;

/// `runner compare --exact`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ExactDocument {
    /// Always [`VERSION`].
    v: u8,
    /// Attempts with equal rows.
    equal: u64,
    /// Attempts that are not compared: they timed out, were stopped, or left a damaged row in one of the runs.
    left_out: u64,
    /// Attempts whose rows differ, or that only one run has.
    different: u64,
    /// The first difference by the names of attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Difference>,
}

/// The first key that differs between two rows.
#[derive(Debug, Serialize, JsonSchema)]
struct Difference {
    /// The trial's id.
    trial: String,
    /// From 1.
    attempt: u32,
    /// A key of rows. `row` if only one run has the attempt.
    key: String,
    /// The value in the base. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Value>,
    /// The value in the new run. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Value>,
}

/// Trial and attempt.
type Place = (String, u32);

pub fn run(runs: [&RunDir; 2], is_json: bool, out: &Out) -> Result<Exit, CommandError> {
    let document = compare(runs)?;
    out.document_or(is_json, &document, |document| document.print(out));
    Ok(if document.different == 0 { Exit::Success } else { Exit::Bad })
}

fn compare([base, new]: [&RunDir; 2]) -> Result<ExactDocument, CommandError> {
    let [before, mut now] = [hashes(base)?, hashes(new)?];
    let mut document = ExactDocument { v: VERSION, ..ExactDocument::default() };
    let mut first: Option<Place> = None;
    let mut differs = |place: Place| {
        if first.as_ref().is_none_or(|first| place < *first) {
            first = Some(place);
        }
    };
    for (place, hash) in before {
        match (hash, now.remove(&place)) {
            (None, _) | (_, Some(None)) => document.left_out += 1,
            (Some(before), Some(Some(now))) if before == now => document.equal += 1,
            _ => {
                document.different += 1;
                differs(place);
            }
        }
    }
    for (place, hash) in now {
        match hash {
            None => document.left_out += 1,
            Some(_) => {
                document.different += 1;
                differs(place);
            }
        }
    }
    if let Some(place) = first {
        document.first = Some(difference(base, new, place)?);
    }
    Ok(document)
}

/// Hashes the newest row of each attempt. `None` for those that are not compared.
fn hashes(run: &RunDir) -> Result<HashMap<Place, Option<[u8; 16]>>, RecordError> {
    let mut hashes = HashMap::new();
    run.rows(&mut |_, line| {
        if let ReadLine::Row(head, bytes) = line {
            let row = compared(bytes).filter(|_| is_compared(head.outcome));
            let hash = row.and_then(|row| {
                let text = serde_json::to_vec(&row).ok()?;
                digest(&text).0.first_chunk().copied()
            });
            hashes.insert((head.trial.to_string(), head.attempt), hash);
        }
    })?;
    Ok(hashes)
}

fn is_compared(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Timeout | Outcome::Stopped)
}

/// Returns the keys of a row that equal attempts have in common.
fn compared(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut row: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    row.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
    for grade in row.get_mut("grades").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(grade) = grade.as_object_mut() {
            grade.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
        }
    }
    if let Some(checks) = row.get_mut("checks").and_then(Value::as_array_mut) {
        checks.retain(|check| check["kind"] != MAX_DURATION);
    }
    Some(row)
}

fn difference(base: &RunDir, new: &RunDir, place: Place) -> Result<Difference, RecordError> {
    let mut rows = [find(base, &place)?, find(new, &place)?];
    let [before, now] = &rows;
    let keys = before.iter().flatten().chain(now.iter().flatten()).map(|(key, _)| key);
    let differing = keys.filter(|key| {
        let [before, now] = rows.each_ref().map(|row| row.as_ref().and_then(|row| row.get(*key)));
        before != now
    });
    let differing = differing.min().cloned();
    let key = match (before, now, differing) {
        (Some(_), Some(_), Some(key)) => key,
        _ => "row".to_owned(),
    };
    let [before, now] = rows.each_mut().map(|row| match row {
        Some(row) if key != "row" => row.remove(&key),
        row => row.take().map(Value::Object),
    });
    let (trial, attempt) = place;
    Ok(Difference { trial, attempt, key, base: before, new: now })
}

fn find(run: &RunDir, place: &Place) -> Result<Option<Map<String, Value>>, RecordError> {
    let mut found = None;
    run.rows(&mut |_, line| {
        if let ReadLine::Row(head, bytes) = line
            && head.attempt == place.1
            && head.trial.to_string() == place.0
        {
            found = compared(bytes);
        }
    })?;
    Ok(found)
}

impl ExactDocument {
    fn print(&self, out: &Out) {
        if self.left_out > 0 {
            let attempts = plural(self.left_out, "attempt", "attempts");
            out.talk(&format!("not compared: {attempts} that timed out or were stopped"));
        }
        let Some(first) = &self.first else {
            let attempts = plural(self.equal, "attempt is", "attempts are");
            out.data(&format!("✓ {attempts} equal, but for times and places"));
            return;
        };
        let attempts = plural(self.different, "attempt differs", "attempts differ");
        out.data(&format!("✗ {attempts}, {} equal", self.equal));
        out.data(&format!("  {}, attempt {}: `{}`", first.trial, first.attempt, first.key));
        for (name, value) in [("base", &first.base), ("new", &first.new)] {
            let text = value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
            out.data(&format!("  {name:>5} {}", visible_line(&cut(&text, SHOWN))));
        }
    }
}
