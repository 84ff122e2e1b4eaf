//! When attempts start: rates, retries, early ends and memory.

mod ends;
mod memory;
mod prices;
mod starts;

use serde_json::Value;

use crate::support::runner::Runner;

/// A runner with the providers `hostile`, which has these keys, and `other`, both of the hostile guest.
fn two_providers(keys: &str, tests: &str) -> Runner {
    let other = "[providers.other]\nplugin = \"hostile.wasm\"\n";
    Runner::hostile_with(keys, &format!("{other}{tests}"))
}

/// Returns the start of an attempt in milliseconds of its day.
fn began(row: &Value) -> f64 {
    let text = row["started_at"].as_str().unwrap();
    let time = text[11..].strip_suffix('Z').unwrap();
    let parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |sum, part| sum * 60.0 + part) * 1e3
}

/// Returns the end of an attempt in milliseconds of its day.
fn ended(row: &Value) -> f64 {
    began(row) + row["duration_ms"].as_f64().unwrap()
}

/// Sorts rows by the start of their attempts.
fn in_order(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by(|one, other| began(one).total_cmp(&began(other)));
    rows
}
