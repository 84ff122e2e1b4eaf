//! [`MatrixValues`]: the values of a key of a matrix, which may be files.

use std::{collections::HashSet, path::Path};

use runner_model::{units::show_size, without_mark};
use serde_json::{Value, json};

use crate::keys::files::{display_path, find_matches};
use crate::reading::{At, FILE_GLOB, Form, Globs, List, Reader, Scalar, TableForm, read_text};

/// Bytes of a file whose text is inserted.
const MAX_TEXT: u64 = 1 << 20;
/// The parts of a file that placeholders may name. Without a part, they insert its stem.
pub(super) const PARTS: [&str; 2] = [PATH, TEXT];
const PATH: &str = "path";
pub(super) const TEXT: &str = "text";
const STEM: &str = "stem";

/// A list of values, or a table of files. A value that is a file becomes a table of its parts.
pub(crate) struct MatrixValues;

const PLAIN: List<Scalar> = List(1, Scalar(usize::MAX));
const FILES: TableForm<Vec<Value>> =
    TableForm("a list of a `matrix`, as a table", |table| table.required("files", &MatrixFiles));

impl Form for MatrixValues {
    type Out = Vec<Value>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        match value {
            Value::Array(_) => PLAIN.read(at, value, reader),
            Value::Object(_) => FILES.read(at, value, reader),
            _ => {
                reader.refuse_kind(at, value, r#"an array, or a table { files = "prompts/*.txt" }"#)
            }
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [PLAIN.schema(), FILES.schema()]})
    }
}

/// A glob over files, or several. Each file is a value once.
struct MatrixFiles;

const GLOBS: Globs<MatrixGlob> = Globs(List(1, MatrixGlob));

impl Form for MatrixFiles {
    type Out = Vec<Value>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let found = match value {
            Value::Array(_) => GLOBS.read(at, value, reader)?,
            _ => vec![MatrixGlob.read(at, value, reader)?],
        };
        let mut seen = HashSet::new();
        let paths = found.into_iter().flatten().filter(|path| seen.insert(path.clone()));
        let values = paths.map(|path| {
            let stem = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy();
            json!({ STEM: stem, PATH: path })
        });
        Some(values.collect())
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [MatrixGlob.schema(), GLOBS.schema()]})
    }
}

/// A glob over files. The output is their paths, or `None` in a stored scenario without files.
struct MatrixGlob;

impl Form for MatrixGlob {
    type Out = Vec<String>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let glob = FILE_GLOB.read(at, value, reader)?;
        if let Some(paths) = reader.files.globs.get(&glob) {
            return Some(paths.clone());
        }
        let before = reader.missing_files.len();
        let paths = find_matches(&glob, "file", at, reader);
        // Files of providers are missed only if the provider is selected. Without values there are no providers to select.
        let missing = reader.missing_files.drain(before..).map(|(_, problem)| problem);
        reader.problems.extend(missing);
        let paths: Vec<_> = paths?.into_iter().collect();
        reader.files.globs.insert(glob, paths.clone());
        Some(paths)
    }

    fn schema(&self) -> Value {
        FILE_GLOB.schema()
    }
}

/// Returns a part of a value of a matrix: of a file by its name, or the stem. Other values have no parts.
pub(super) fn part_of<'v>(value: &'v Value, part: Option<&str>) -> Option<&'v Value> {
    match (value, part) {
        (Value::Object(file), part) => file.get(part.unwrap_or(STEM)),
        (value, None) => Some(value),
        (_, Some(_)) => None,
    }
}

/// Adds the text to a value that is a file. Reports a file that is not a text or too long.
pub(super) fn add_text(value: &mut Value, at: &At<'_>, reader: &mut Reader<'_>) {
    let Some(path) = part_of(value, Some(PATH)).and_then(Value::as_str) else { return };
    let text = match (reader.files.texts.get(path), reader.project) {
        (Some(text), _) => text.clone(),
        (None, None) => return,
        (None, Some(project)) => {
            let file = project.base.join(path);
            let help = format!("insert its path: {{{{matrix.{}.path}}}}", at.name());
            match read_text(&file, &display_path(&file), "file of a matrix", &help) {
                Ok(text) if text.len() as u64 <= MAX_TEXT => without_mark(&text).to_owned(),
                Ok(text) => {
                    let most = show_size(MAX_TEXT);
                    let size = show_size(text.len() as u64);
                    let message = format!(
                        "`{path}` has {size}; the text of a file of a matrix has at most {most}"
                    );
                    reader.refuse(at, message, "these files").help = Some(help);
                    return;
                }
                Err(problem) => {
                    reader.problems.push(problem);
                    reader.add_place(at, "of these files");
                    return;
                }
            }
        }
    };
    reader.files.texts.insert(path.to_owned(), text.clone());
    value[TEXT] = text.into();
}
