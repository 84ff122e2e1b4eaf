//! [`AllTests`]: the tests of a scenario and those that its lists make of records, one after the other.

use std::{
    cell::{OnceCell, RefCell},
    mem,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use runner_model::template::{MissingKey, TemplateValue};
use serde_json::{Map, Value, json};

use crate::{
    document::Document,
    form::Form,
    lists::{Line, ListReader},
    problem::{Place, Problem, Source},
    reading::{At, Finding, Part, Places, Reading, Step, kind_label, suggest},
    scenario::{Scenario, TestList},
    table::is_later,
    test_keys::{TEST, WrittenList, WrittenTest},
};

/// Where a test comes from.
pub(crate) enum Origin<'a> {
    /// The scenario, by the test's number in it.
    Scenario(usize),
    /// A record of a list, by the list's number in the scenario.
    Record(usize, &'a Line<'a>),
}

/// All tests of a scenario and its lists.
pub(crate) struct AllTests<'s> {
    scenario: &'s Scenario,
    /// Parsed when a place in it is first asked for.
    document: OnceCell<Option<Document<'s>>>,
    /// The keys that a test may have.
    keys: Vec<&'static str>,
    reading: RefCell<Reading>,
}

/// What is done with each test, or with the problem of one. It can end the visit.
pub(crate) type Visit<'v> =
    dyn FnMut(Result<(&Origin<'_>, WrittenTest), Problem>) -> ControlFlow<Problem> + 'v;

impl<'s> AllTests<'s> {
    pub(crate) fn new(scenario: &'s Scenario) -> Self {
        let keys = TEST.describe().keys;
        Self {
            scenario,
            document: OnceCell::new(),
            keys: keys.iter().map(|key| key.key).collect(),
            reading: RefCell::default(),
        }
    }

    /// Visits all tests in order.
    pub(crate) fn each(&self, visit: &mut Visit<'_>) -> ControlFlow<Problem> {
        for (index, test) in self.scenario.tests.iter().enumerate() {
            visit(Ok((&Origin::Scenario(index), test.clone())))?;
        }
        for (index, list) in self.scenario.lists.iter().enumerate() {
            for file in &list.files {
                self.each_of_file(index, list, file, visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn each_of_file(
        &self,
        index: usize,
        list: &TestList,
        file: &str,
        visit: &mut Visit<'_>,
    ) -> ControlFlow<Problem> {
        let path = self.scenario.folder.join(file);
        let shown = path.strip_prefix(".").unwrap_or(&path);
        let mut reader = match ListReader::open(&path, shown.display().to_string()) {
            Ok(reader) => reader,
            Err(problem) => return visit(Err(problem)),
        };
        let file = about(file);
        let mut number: u64 = 0;
        loop {
            let line = match reader.next() {
                Ok(Some(line)) => line,
                Ok(None) => return ControlFlow::Continue(()),
                Err(problem) => return visit(Err(problem)),
            };
            number += 1;
            let line = match line.text() {
                Ok(line) => line,
                Err(problem) => {
                    visit(Err(problem))?;
                    continue;
                }
            };
            let record = Record {
                list: &list.written,
                index,
                line: &line,
                file: &file,
                number: &json!(number),
            };
            match line.parse().and_then(|value| self.read(&record, value)) {
                Ok(test) => visit(Ok((&Origin::Record(index, &line), test)))?,
                Err(problem) => visit(Err(problem))?,
            }
        }
    }

    /// Reads the test that a record makes. One problem a record is enough: the next look shows the next.
    fn read(&self, record: &Record<'_>, value: Value) -> Result<WrittenTest, Problem> {
        if !value.is_object() {
            let place = record.line.place(&[], Part::Value, kind_label(&value));
            return Err(Problem::new("a record must be a JSON object").at(place));
        }
        let given = self.given(record, &value)?;
        let mut test = match value {
            Value::Object(test) => test,
            _ => Map::new(),
        };
        if record.list.has_templates() {
            test.retain(|key, _| self.keys.contains(&key.as_str()) || is_later(TEST.0, key));
        }
        test.extend(given);
        let mut reading = self.reading.borrow_mut();
        let test = TEST.read(&At::ROOT, &Value::Object(test), &mut reading);
        match (mem::take(&mut reading.findings).into_iter().next(), test) {
            (None, Some(test)) => Ok(test),
            (Some(finding), _) => Err(self.locate(record, finding)),
            (None, None) => unreachable!("a test without problems is read"),
        }
    }

    /// What the list says of the record's test: its templates, filled in.
    fn given(&self, record: &Record<'_>, row: &Value) -> Result<Vec<(String, Value)>, Problem> {
        let list = record.list;
        let roots = [
            ("row", row),
            ("file", record.file),
            ("row_number", record.number),
        ];
        let mut given = Vec::new();
        if let Some(id) = &list.id {
            let id = id.render_text(&roots);
            let id = id.map_err(|error| self.missing(record, row, "id", &error))?;
            given.push(("id".to_owned(), id.into()));
        }
        let values: [(_, &Option<TemplateValue>); 2] =
            [("input", &list.input), ("expect", &list.expect)];
        for (key, value) in values {
            if let Some(value) = value {
                let value = value.render(&roots);
                let value = value.map_err(|error| self.missing(record, row, key, &error))?;
                given.push((key.to_owned(), value));
            }
        }
        Ok(given)
    }

    /// Says what a template of the list needs and the record does not have.
    fn missing(&self, record: &Record<'_>, row: &Value, key: &str, error: &MissingKey) -> Problem {
        let path = record.list_path([Step::Key(key.to_owned())]);
        let mut problem = Problem::new(error.to_string())
            .at(record.line.place(&[], Part::Value, "not in this record"))
            .at(self.scenario_place(&path, "needed here"));
        let key = error.0.split('.').nth(1).unwrap_or_default();
        if let Value::Object(row) = row
            && !row.contains_key(key)
        {
            problem.help = Some(suggest(key, row.keys().map(String::as_str)));
        }
        problem
    }

    /// Says where a record is wrong, and which template of its list made the value, if one did.
    fn locate(&self, record: &Record<'_>, finding: Finding) -> Problem {
        let list = record.list;
        let is_given = match finding.path.first() {
            Some(Step::Key(key)) => {
                key == "id" && list.id.is_some()
                    || key == "input" && list.input.is_some()
                    || key == "expect" && list.expect.is_some()
            }
            _ => false,
        };
        if !is_given {
            return record.line.locate(finding);
        }
        let path = record.list_path(finding.path);
        let mut problem = Problem::new(finding.message)
            .at(record.line.place(&[], Part::Value, "of this record"))
            .at(self.scenario_place(&path, "made here"));
        problem.help = finding.help;
        problem
    }

    /// Where a test stands.
    pub(crate) fn place(&self, origin: &Origin<'_>, label: &str) -> Place {
        let id = || Step::Key("id".to_owned());
        match origin {
            Origin::Record(index, line) => {
                let has_own_id = self.scenario.lists[*index].written.id.is_none();
                let path = has_own_id.then(id);
                line.place(path.as_slice(), Part::Value, label)
            }
            Origin::Scenario(index) => {
                let path = [Step::Key("tests".to_owned()), Step::Index(*index), id()];
                self.scenario_place(&path, label)
            }
        }
    }

    /// Where a value of the scenario stands.
    pub(crate) fn scenario_place(&self, path: &[Step], label: &str) -> Place {
        let Scenario {
            path: file, text, ..
        } = self.scenario;
        let document = self
            .document
            .get_or_init(|| Document::parse(file, text).ok());
        match document {
            Some(document) => document.place(path, Part::Value, label),
            // Its text was parsed when it was loaded, so it is one.
            None => Place {
                source: Arc::new(Source::file(file)),
                span: 0..0,
                label: label.to_owned(),
            },
        }
    }
}

/// A record of a list, and what its templates can begin with beside it.
struct Record<'a> {
    list: &'a WrittenList,
    /// The list's number in the scenario.
    index: usize,
    line: &'a Line<'a>,
    file: &'a Value,
    number: &'a Value,
}

impl Record<'_> {
    /// The path of something in the list.
    fn list_path(&self, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
        let list = [Step::Key("test_lists".to_owned()), Step::Index(self.index)];
        list.into_iter().chain(steps).collect()
    }
}

/// What `{{file.…}}` stands for.
fn about(file: &str) -> Value {
    let path = Path::new(file);
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    json!({"name": part(path.file_name()), "path": file, "stem": part(path.file_stem())})
}
