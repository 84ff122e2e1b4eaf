//! Rows with all that follows from their lines, as documents and events have them.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

/// The row of a line, with what the line leaves out because it follows from the rest or is usual, and as version 1 of the
/// format had it, but for the checksum. Independent of what the program makes of the line.
pub(crate) fn expanded(mut row: Value) -> Value {
    let line = row.clone();
    if let Some(row) = row.as_object_mut() {
        row.remove("crc");
    }
    if line["v"] != 2 {
        return row;
    }
    for (key, usual) in [
        ("session", json!(1)),
        ("attempt", json!(1)),
        ("final", json!(true)),
    ] {
        if line.get(key).is_none() {
            row[key] = usual;
        }
    }
    let trial = line["trial"].as_str().unwrap();
    let (test, rest) = trial.rsplit_once('@').unwrap();
    let (provider, repeat) = rest.split_once('#').unwrap();
    row["test"] = test.into();
    row["provider"] = provider.into();
    row["repeat"] = repeat.parse::<u32>().unwrap().into();
    let checks = row.get_mut("checks").and_then(Value::as_array_mut);
    for check in checks.into_iter().flatten() {
        if check.is_string() {
            *check = json!({ "name": check, "verdict": "pass" });
        }
    }
    let started_at = Timestamp::from_millisecond(line["began"].as_i64().unwrap());
    for short in ["began", "ms", "digests"] {
        row.as_object_mut().unwrap().remove(short).unwrap();
    }
    row["started_at"] = format!("{:.3}", started_at.unwrap()).into();
    let mut usage = json!({});
    for (key, value) in line["usage"].as_object().into_iter().flatten() {
        let key = match key.as_str() {
            "memory" => "peak_memory",
            "in" => "bytes_in",
            "out" => "bytes_out",
            other => other,
        };
        usage[key] = value.clone();
    }
    row["usage"] = usage;
    row["duration_ms"] = line["ms"].clone();
    let (execution, judgement) = line["digests"].as_str().unwrap().split_at(16);
    row["fingerprint"] = execution.into();
    row["judgement_fingerprint"] = judgement.into();
    row
}

/// The rows of whole lines of `index.jsonl`, each as a text that is the same wherever the row was read.
pub(crate) fn row_texts(index: &[u8]) -> HashSet<String> {
    let lines = index.split(|byte| *byte == b'\n');
    lines.filter_map(row_text).collect()
}

/// The same of one line, if it is whole.
pub(crate) fn row_text(line: &[u8]) -> Option<String> {
    let line = serde_json::from_slice(line).ok()?;
    Some(expanded(line).to_string())
}
