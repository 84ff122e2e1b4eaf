//! The contracts of the files on disk.

use schemars::schema_for;
use serde_json::Value;

use super::{manifest::Manifest, row::Row};

/// The JSON Schema of a line of `index.jsonl`.
pub fn row_schema() -> Value {
    schema_for!(Row<'static>).to_value()
}

/// The JSON Schema of `benchmark.json`.
pub fn benchmark_schema() -> Value {
    schema_for!(Manifest).to_value()
}
