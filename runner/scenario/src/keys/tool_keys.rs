//! `[tools.NAME]`: plugins that other plugins call.

use std::fs::Metadata;

use runner_model::provider::{Provider, Stdin, Tool};
use runner_model::{units::show_size, without_mark};
use serde_json::{Value, json};

use super::grant_keys::TOOL_GRANTS;
use super::provider_keys::{PROVIDERS, called};
use crate::keys::{FilePlace, NamedFile, files::display_path};
use crate::reading::{
    AnyTable, At, COMMAND_ROOTS, Form, Named, Reader, TEXT, Table, TableForm, Templated, read_text,
};

pub(crate) const TOOLS: Named<TableForm<Provider>> =
    Named { form: TableForm("`[tools.NAME]`", tool), ..PROVIDERS };
const SCHEMA_FILE: NamedFile = NamedFile("schema", Metadata::is_file, FilePlace::Readable);
/// Maximum bytes of an input's schema. A worker gets the schemas of all tools in one frame of 16 MiB.
const MAX_SCHEMA: u64 = 256 << 10;

fn tool(table: &mut Table<'_, '_>) -> Option<Provider> {
    let tool = Tool {
        description: table.optional("description", &TEXT),
        input_schema: table.optional("input_schema", &InputSchema),
    };
    Some(Provider {
        tool: Some(Box::new(tool)),
        stdin: table.optional("stdin", &Templated(COMMAND_ROOTS)).map(Stdin::Text),
        ..called(table, &TOOL_GRANTS)?
    })
}

/// A JSON Schema: a table, or a file that has one. A stored scenario has the text of the file.
struct InputSchema;

impl Form for InputSchema {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Value> {
        if !value.is_string() {
            let words = "a file or a table";
            return if value.is_object() {
                AnyTable.read(at, value, reader)
            } else {
                reader.refuse_kind(at, value, words)
            };
        }
        let missing = reader.missing_files.len();
        let file = SCHEMA_FILE.read(at, value, reader)?;
        if reader.missing_files.len() > missing {
            return None;
        }
        let text = match (reader.files.texts.get(&file), reader.project) {
            (Some(text), _) => text.clone(),
            (None, None) => return None,
            (None, Some(project)) => {
                let path = project.base.join(&file);
                match read_text(&path, &display_path(&path), "schema", "") {
                    Ok(text) => without_mark(&text).to_owned(),
                    Err(problem) => {
                        reader.problems.push(problem);
                        reader.add_place(at, "this file");
                        return None;
                    }
                }
            }
        };
        let read = match serde_json::from_str(&text) {
            _ if text.len() as u64 > MAX_SCHEMA => {
                Err(format!("has more than {}", show_size(MAX_SCHEMA)))
            }
            Ok(schema @ Value::Object(_)) => Ok(schema),
            Ok(_) => Err("is not a JSON object".to_owned()),
            Err(error) => Err(format!("is not JSON: {error}")),
        };
        match read {
            Ok(schema) => {
                reader.files.texts.insert(file, text);
                Some(schema)
            }
            Err(reason) => {
                reader.refuse(at, format!("schema `{file}` {reason}"), "here");
                None
            }
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [SCHEMA_FILE.schema(), AnyTable.schema()]})
    }
}
