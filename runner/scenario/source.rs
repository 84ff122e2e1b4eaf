//! Where records come from, and how a test list makes tests of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    MissingKey, Scenario, check,
    error::RecordPlace,
    files::ListFile,
    form::{Form, Key},
    keys, meta, records,
    template::TemplateValue,
    test_list::TestList,
};

/// Where a record comes from.
pub(super) struct RecordSource<'a> {
    pub(super) place: RecordPlace,
    /// The number of the record in its file, from 1.
    pub(super) number: u64,
    pub(super) list: Option<&'a FromList<'a>>,
}

pub(super) struct FromList<'a> {
    pub(super) list: &'a TestList,
    pub(super) file: &'a ListFile,
    /// What `{{file.…}}` stands for.
    pub(super) about: Value,
}

impl RecordSource<'_> {
    /// Where the attachments of its test are looked for.
    pub(super) fn directory<'a>(&'a self, scenario: &'a Scenario) -> &'a Path {
        match self.list {
            Some(from) => from.file.path.parent().unwrap_or(Path::new(".")),
            None => &scenario.directory,
        }
    }

    /// Where each attachment of its test is.
    pub(super) fn attachments<'a>(
        &'a self,
        scenario: &'a Scenario,
        files: &'a Map<String, Value>,
    ) -> impl Iterator<Item = PathBuf> + 'a {
        let names = files.values().filter_map(Value::as_str);
        names.map(|name| self.directory(scenario).join(name))
    }
}

pub(super) type VisitRecord<'v> =
    dyn FnMut(&RecordSource<'_>, Result<Map<String, Value>, String>) + 'v;

/// Visits the records of all tests and lists, in order.
pub(super) fn visit_records(scenario: &Scenario, visit: &mut VisitRecord<'_>) {
    visit_tests(scenario, visit);
    visit_lists(scenario, &mut |from| from.visit_records(visit));
}

/// Visits the scenario's own tests.
pub(super) fn visit_tests(scenario: &Scenario, visit: &mut VisitRecord<'_>) {
    let file = scenario
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let file: Arc<str> = file.into();
    for test in &scenario.tests {
        let source = RecordSource {
            place: RecordPlace {
                file: Arc::clone(&file),
                line: Some(test.line),
            },
            number: 0,
            list: None,
        };
        visit(&source, Ok(test.record.clone()));
    }
}

/// Visits the files of all lists.
pub(super) fn visit_lists(scenario: &Scenario, visit: &mut dyn FnMut(&FromList<'_>)) {
    for list in &scenario.lists {
        for file in &list.files {
            let about = about(file);
            visit(&FromList { list, file, about });
        }
    }
}

impl FromList<'_> {
    /// Visits the records of the file.
    pub(super) fn visit_records(&self, visit: &mut VisitRecord<'_>) {
        let mut number = 0;
        records::read(&self.file.path, self.file.format, &mut |line, record| {
            number += 1;
            let source = RecordSource {
                place: RecordPlace {
                    file: Arc::clone(&self.file.name),
                    line,
                },
                number,
                list: Some(self),
            };
            visit(&source, record);
        });
    }
}

/// Makes a test of a record, as its list says.
///
/// Where the list has templates a record is data, of which only a test's other keys count.
pub(super) fn fill_in(
    from: &FromList<'_>,
    number: u64,
    record: Map<String, Value>,
) -> Result<Map<String, Value>, RecordRefusal> {
    let list = from.list;
    if !list.fills_in() {
        return Ok(record);
    }
    let row = Value::Object(record);
    let number = Value::from(number);
    let roots = [
        ("row", &row),
        ("file", &from.about),
        ("row_number", &number),
    ];
    let missing = |key: &str, error: MissingKey| RecordRefusal {
        message: format!("{error}, which the list's `{key}` needs"),
        help: row.as_object().and_then(|row| suggest_key(&error, row)),
    };
    let id = list.id.as_ref().map(|id| id.render_text(&roots));
    let id = id.transpose().map_err(|error| missing("id", error))?;
    let fill = |key: &str, shape: &Option<TemplateValue>| {
        let filled = shape.as_ref().map(|shape| shape.render(&roots));
        filled.transpose().map_err(|error| missing(key, error))
    };
    let input = fill("input", &list.input)?;
    let reference = fill("reference", &list.reference)?;
    let expect = fill("expect", &list.expect)?;
    let meta = fill("meta", &list.meta)?;

    let Value::Object(mut test) = row else {
        unreachable!("it was made from a map")
    };
    if list.is_data {
        test.retain(|key, _| is_test_key(key));
    }
    let given = [
        ("id", id.map(Value::String)),
        ("input", input),
        ("reference", reference),
        ("expect", expect),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            test.insert(key.to_owned(), value);
        }
    }
    if let Some(Value::Object(given)) = meta {
        match test.remove("meta") {
            None | Some(Value::Null) => test.insert("meta".to_owned(), given.into()),
            Some(Value::Object(own)) => {
                test.insert("meta".to_owned(), meta::over(own, &given).into())
            }
            Some(other) => test.insert("meta".to_owned(), other),
        };
    }
    Ok(test)
}

fn suggest_key(error: &MissingKey, row: &Map<String, Value>) -> Option<String> {
    let key = error.0.strip_prefix("row.")?.split('.').next()?;
    let known: Vec<_> = row.keys().map(String::as_str).collect();
    Some(check::suggest(key, &known))
}

fn is_test_key(name: &str) -> bool {
    let Form::Table(groups) = keys::TEST else {
        return false;
    };
    groups
        .iter()
        .copied()
        .flatten()
        .any(|key: &Key| key.name == name)
}

fn about(file: &ListFile) -> Value {
    let path = Path::new(&*file.name);
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    serde_json::json!({
        "name": part(path.file_name()),
        "path": *file.name,
        "stem": part(path.file_stem()),
    })
}

pub(super) fn id_of(source: &RecordSource<'_>, mut record: Map<String, Value>) -> Option<String> {
    if let Some(from) = source.list {
        record = fill_in(from, source.number, record).ok()?;
    }
    match record.remove("id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    }
}

/// Why a record makes no test.
pub(super) struct RecordRefusal {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl From<String> for RecordRefusal {
    fn from(message: String) -> Self {
        Self {
            message,
            help: None,
        }
    }
}
