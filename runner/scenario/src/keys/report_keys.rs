//! The keys of `[report]`.

use runner_model::Form as ReportForm;
use serde_json::{Value, json};

use crate::reading::{At, Form, Reader, Table, TableForm};

pub(crate) const REPORT: TableForm<Vec<String>> = TableForm("`[report]`", report);

const WORDS: &str = "`true`, `false` or the name of a file";
/// Bytes of a name.
const MAX_NAME: usize = 200;

fn report(table: &mut Table<'_, '_>) -> Option<Vec<String>> {
    let forms = ReportForm::ALL.iter();
    let files = forms.map(|form| table.optional(form.as_str(), &FileName(*form)));
    Some(files.flatten().flatten().collect())
}

/// The name of a file in the run's folder: `true` for the usual name, or another one with the same extension, which no other
/// file of a run has.
struct FileName(ReportForm);

impl Form for FileName {
    type Out = Option<String>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let name = match value {
            Value::Bool(is_written) => {
                return Some(is_written.then(|| self.0.file_name().to_owned()));
            }
            Value::String(name) => name.clone(),
            _ => return reader.refuse_kind(at, value, WORDS),
        };
        let extension = self.0.extension();
        let is_plain = !name.starts_with('.') && !name.contains(['/', '\\']);
        let has_extension = name.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.'));
        if is_plain && has_extension && !name.contains(char::is_control) && name.len() <= MAX_NAME {
            return Some(Some(name));
        }
        let reason = format!(
            "write a name without folders that ends in `.{extension}`, such as \"{}\"",
            self.0.file_name()
        );
        reader.refuse_value(at, WORDS, &reason)
    }

    fn schema(&self) -> Value {
        json!({"title": "boolean or string", "type": ["boolean", "string"], "examples": [self.0.file_name()]})
    }
}
