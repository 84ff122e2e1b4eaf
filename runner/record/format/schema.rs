//! The contracts of the files on disk.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::{Map, Value, json};

use super::{
    judgement::JudgementLine, log_line::LogsLine, manifest::Manifest, row::Row, row_line::RowLine,
};

/// The schema of a line of `index.jsonl`, of whichever version.
struct AnyRowLine;

impl JsonSchema for AnyRowLine {
    fn schema_name() -> Cow<'static, str> {
        "AnyRowLine".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A line as it is written now, or as version 1 of the format had it.",
            "type": "object",
            "anyOf": [
                generator.subschema_for::<RowLine<'static>>(),
                generator.subschema_for::<JudgementLine<'static>>(),
                generator.subschema_for::<Row<'static>>(),
            ],
        })
    }
}

/// The JSON Schema of a line of `index.jsonl`.
pub fn row_schema() -> Value {
    let mut schema = schema_for!(AnyRowLine);
    for version in ["RowLine", "JudgementLine", "Row"] {
        let line = schema.pointer_mut(&format!("/$defs/{version}"));
        let Some(Value::Object(line)) = line else {
            continue;
        };
        add_crc(line);
        for reserved in ["worker", "origin"] {
            let property = json!({ "description": "Reserved; not written." });
            add_property(line, reserved, property);
        }
    }
    schema.insert("title".to_owned(), "A line of `index.jsonl`".into());
    schema.to_value()
}

/// The JSON Schema of a line of `logs-<session>-<file>.jsonl`.
pub fn log_line_schema() -> Value {
    let mut schema = schema_for!(LogsLine<'static>);
    add_crc(schema.ensure_object());
    let title = "A line of `logs-<session>-<file>.jsonl`";
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

/// The JSON Schema of `benchmark.json`.
pub fn benchmark_schema() -> Value {
    let mut schema = schema_for!(Manifest);
    schema.insert("title".to_owned(), "`benchmark.json`".into());
    schema.to_value()
}

fn add_crc(line: &mut Map<String, Value>) {
    add_property(
        line,
        "crc",
        json!({
            "type": "string",
            "pattern": "^[0-9a-f]{8}$",
            "description": "The CRC-32 (IEEE) of all bytes of the line before `,\"crc\":`. Always the last key.",
        }),
    );
    if let Some(Value::Array(required)) = line.get_mut("required") {
        required.push("crc".into());
    }
}

fn add_property(line: &mut Map<String, Value>, name: &str, property: Value) {
    if let Some(Value::Object(properties)) = line.get_mut("properties") {
        properties.insert(name.to_owned(), property);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{benchmark_schema, row_schema};
    use crate::record::testing::finished_run;

    #[test]
    fn the_schemas_describe_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let run = finished_run(directory.path()).run_dir;
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs_err::read(run.join(name)).unwrap()).unwrap()
        };

        let row_schema = jsonschema::validator_for(&row_schema()).unwrap();
        let mut row = read("index.jsonl");
        row_schema.validate(&row).unwrap();
        row["outcome"] = "splendid".into();
        assert!(!row_schema.is_valid(&row));

        let benchmark_schema = jsonschema::validator_for(&benchmark_schema()).unwrap();
        let mut manifest = read("benchmark.json");
        benchmark_schema.validate(&manifest).unwrap();
        manifest["counts"]["passed"] = json!("one");
        assert!(!benchmark_schema.is_valid(&manifest));
    }
}
