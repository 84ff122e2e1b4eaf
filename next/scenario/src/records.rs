//! [`AllTests`]: the tests of a scenario and those that its lists make of records, one after the other.

use std::{ops::ControlFlow, path::Path};

use runner_model::template::{MissingKey, TemplateValue};
use serde_json::{Map, Value, json};

use crate::{
    document::Document,
    form::Form,
    lists::{Line, ListReader},
    problem::{Place, Problem},
    reading::{At, Part, Places, Reading, Step, kind, suggest},
    scenario::Scenario,
    table::is_later,
    test_keys::{TEST, TestList, WrittenTest},
};

/// All tests of a scenario and its lists.
pub(crate) struct AllTests<'s> {
    scenario: &'s Scenario,
    document: &'s Document<'s>,
    /// The schema of a test, which has its keys.
    schema: Value,
}

/// Where a test comes from.
pub(crate) enum Origin<'a> {
    /// The scenario, by the test's number in it.
    Scenario(&'a AllTests<'a>, usize),
    /// A record of a list.
    Record(Record<'a>),
}

/// A record of a list, and what templates can begin with beside it.
pub(crate) struct Record<'a> {
    tests: &'a AllTests<'a>,
    pub(crate) list: &'a TestList,
    /// The list's number in the scenario.
    pub(crate) index: usize,
    line: Line<'a>,
    file: &'a Value,
    number: Value,
}

/// What is done with each test, or with the problem of one. It can end the visit.
pub(crate) type Visit<'v> =
    dyn FnMut(Result<(&Origin<'_>, WrittenTest), Problem>) -> ControlFlow<Problem> + 'v;

impl<'s> AllTests<'s> {
    /// `document` is the scenario's text.
    pub(crate) fn new(scenario: &'s Scenario, document: &'s Document<'s>) -> Self {
        Self {
            scenario,
            document,
            schema: TEST.schema(),
        }
    }

    /// Visits all tests in order.
    pub(crate) fn each(&self, visit: &mut Visit<'_>) -> ControlFlow<Problem> {
        for (index, test) in self.scenario.tests.iter().enumerate() {
            visit(Ok((&Origin::Scenario(self, index), test.clone())))?;
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
        let shown = path
            .strip_prefix(".")
            .unwrap_or(&path)
            .display()
            .to_string();
        let mut reader = match ListReader::open(&path, shown) {
            Ok(reader) => reader,
            Err(problem) => return visit(Err(problem)),
        };
        let file = about(file);
        let mut last_pattern = None;
        let mut number: u64 = 0;
        while let Some(line) = reader.next() {
            number += 1;
            let test = line.and_then(|line| {
                let record = Record {
                    tests: self,
                    list,
                    index,
                    line,
                    file: &file,
                    number: json!(number),
                };
                let test = record.read(&mut last_pattern)?;
                Ok((Origin::Record(record), test))
            });
            match test {
                Ok((origin, test)) => visit(Ok((&origin, test)))?,
                Err(problem) => visit(Err(problem))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Where a value of the scenario stands.
    fn place(&self, path: &[Step], label: &str) -> Vec<Place> {
        self.document.places(path, Part::Value, label)
    }
}

/// What `{{file.…}}` stands for.
fn about(file: &str) -> Value {
    let path = Path::new(file);
    let [name, stem] = [path.file_name(), path.file_stem()]
        .map(|part| part.unwrap_or_default().to_string_lossy().into_owned());
    json!({"name": name, "path": file, "stem": stem})
}

impl Record<'_> {
    /// Reads the test that the record makes. One problem a record is enough: the next look shows the next.
    fn read(&self, last_pattern: &mut Option<String>) -> Result<WrittenTest, Problem> {
        let row = self.line.parse()?;
        if !row.is_object() {
            let place = self
                .line
                .place(&[], Part::Value, &format!("this is {}", kind(&row)));
            return Err(Problem::new("a record must be a JSON object").at(place));
        }
        let given = self.given(&row)?;
        let mut test = match row {
            Value::Object(test) => test,
            _ => Map::new(),
        };
        if self.list.has_templates() {
            let keys = &self.tests.schema["properties"];
            test.retain(|key, _| keys.get(key).is_some() || is_later(TEST.0, key));
        }
        test.extend(given);
        let mut reading = Reading::new(self);
        reading.last_pattern = last_pattern.take();
        let test = TEST.read(&At::ROOT, &mut Value::Object(test), &mut reading);
        *last_pattern = reading.last_pattern;
        match (reading.problems.into_iter().next(), test) {
            (None, Some(test)) => Ok(test),
            (Some(problem), _) => Err(problem),
            (None, None) => unreachable!("a test without problems is read"),
        }
    }

    /// What the list says of the record's test: its templates, filled in.
    fn given(&self, row: &Value) -> Result<Vec<(String, Value)>, Problem> {
        let list = self.list;
        let roots = [
            ("row", row),
            ("file", self.file),
            ("row_number", &self.number),
        ];
        let missing = |key: &str, error: &MissingKey| self.missing(row, key, error);
        let mut given = Vec::new();
        if let Some(id) = &list.id {
            let id = id
                .render_text(&roots)
                .map_err(|error| missing("id", &error))?;
            given.push(("id".to_owned(), id.into()));
        }
        let values: [(_, &Option<TemplateValue>); 2] =
            [("input", &list.input), ("expect", &list.expect)];
        for (key, value) in values {
            if let Some(value) = value {
                let value = value.render(&roots).map_err(|error| missing(key, &error))?;
                given.push((key.to_owned(), value));
            }
        }
        Ok(given)
    }

    /// Says what a template of the list needs and the record does not have.
    fn missing(&self, row: &Value, key: &str, error: &MissingKey) -> Problem {
        let path = self.list_path(&[Step::Key(key.to_owned())]);
        let mut problem = Problem::new(error.to_string());
        problem.places = self.tests.place(&path, "needed here");
        let place = self.line.place(&[], Part::Value, "not in this record");
        problem.places.insert(0, place);
        let key = error.0.split('.').nth(1).unwrap_or_default();
        if let Value::Object(row) = row
            && !row.contains_key(key)
        {
            problem.help = Some(suggest(key, row.keys().map(String::as_str)));
        }
        problem
    }

    /// The path of something in the list.
    fn list_path(&self, steps: &[Step]) -> Vec<Step> {
        let list = [Step::Key("test_lists".to_owned()), Step::Index(self.index)];
        [&list, steps].concat()
    }

    /// Tells whether the list says it, and not the record.
    fn is_given(&self, path: &[Step]) -> bool {
        let Some(Step::Key(key)) = path.first() else {
            return false;
        };
        match key.as_str() {
            "id" => self.list.id.is_some(),
            "input" => self.list.input.is_some(),
            "expect" => self.list.expect.is_some(),
            _ => false,
        }
    }
}

/// Of what a template of the list has made, both stand: the record and the template.
impl Places for Record<'_> {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place> {
        if !self.is_given(path) {
            return vec![self.line.place(path, part, label)];
        }
        let mut places = vec![self.line.place(&[], Part::Value, "of this record")];
        places.extend(self.tests.place(&self.list_path(path), "made here"));
        places
    }
}

impl Places for Origin<'_> {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place> {
        match self {
            Self::Record(record) => record.places(path, part, label),
            Self::Scenario(tests, index) => {
                let test = [Step::Key("tests".to_owned()), Step::Index(*index)];
                tests.place(&[&test, path].concat(), label)
            }
        }
    }
}

impl Origin<'_> {
    /// Where a value of the scenario stands.
    pub(crate) fn scenario_place(&self, path: &[Step], label: &str) -> Vec<Place> {
        match self {
            Self::Scenario(tests, _) => tests.place(path, label),
            Self::Record(record) => record.tests.place(path, label),
        }
    }

    /// Where the test stands.
    pub(crate) fn place(&self, label: &str) -> Vec<Place> {
        let id = [Step::Key("id".to_owned())];
        match self {
            Self::Record(record) if record.list.id.is_some() => {
                vec![record.line.place(&[], Part::Value, label)]
            }
            _ => self.places(&id, Part::Value, label),
        }
    }
}
