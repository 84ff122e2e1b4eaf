//! [`AllTests`]: the tests of a scenario and those that its lists make of records, one after the other.

use std::{
    cell::Cell,
    collections::HashMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use runner_model::template::MissingKey;
use serde_json::{Map, Value, json};

use crate::{
    document::Document,
    files,
    form::Form,
    lists::{Entry, ListFormat},
    problem::{Place, Problem},
    reading::{At, Part, Places, Reading, Step, kind, suggest},
    scenario::{Scenario, TestProblem},
    suite::Suite,
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

/// A file of a list.
struct ListFile {
    /// What `{{file.…}}` stands for.
    about: Value,
    /// The folder that attachments are relative to.
    folder: PathBuf,
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
    entry: Entry<'a>,
    file: &'a ListFile,
    number: Value,
    /// How often it was asked where something stands.
    asked: Cell<u32>,
}

/// Places that are looked for in a record, each of which is another read of it. What is told later is never shown.
const MAX_ASKED: u32 = 100;

/// What is done with each test, or with the problems of one. It can end the visit.
pub(crate) type Visit<'v> =
    dyn FnMut(Result<(Origin<'_>, WrittenTest), Vec<Problem>>) -> ControlFlow<()> + 'v;

impl<'s> AllTests<'s> {
    /// `document` is the scenario's text.
    pub(crate) fn new(scenario: &'s Scenario, document: &'s Document<'s>) -> Self {
        Self { scenario, document, schema: TEST.schema() }
    }

    /// Visits all tests in order.
    pub(crate) fn each(&self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        for (index, test) in self.scenario.tests.iter().enumerate() {
            visit(Ok((Origin::Scenario(self, index), test.clone())))?;
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
        name: &str,
        visit: &mut Visit<'_>,
    ) -> ControlFlow<()> {
        // Only files with a known end are in a list.
        let Some(format) = ListFormat::of(name) else {
            return ControlFlow::Continue(());
        };
        let path = self.scenario.folder.join(name);
        let file = ListFile {
            about: about(name),
            folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
        };
        let (mut last_pattern, mut number) = (None, 0_u64);
        format.each(&path, &files::shown(&path).to_string(), &mut |entry| {
            number += 1;
            visit(entry.map_err(one).and_then(|entry| {
                let record = Record {
                    tests: self,
                    list,
                    index,
                    entry,
                    file: &file,
                    number: json!(number),
                    asked: Cell::new(0),
                };
                let test = record.read(&mut last_pattern)?;
                Ok((Origin::Record(record), test))
            }))
        })
    }

    /// Where tests of a suite stand: for the index of each problem its places.
    pub(crate) fn places_of(
        &self,
        suite: &Suite,
        found: &[TestProblem],
    ) -> HashMap<usize, Vec<Place>> {
        let mut wanted: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, problem) in found.iter().enumerate() {
            if let Some(id) = suite.id(problem.test) {
                wanted.entry(id).or_default().push(index);
            }
        }
        let mut places = HashMap::new();
        // Problems with tests were reported before.
        let _ = self.each(&mut |test| {
            if let Ok((origin, test)) = test {
                for index in wanted.remove(&*test.id).into_iter().flatten() {
                    let path = [Step::Key(found[index].key.to_owned())];
                    let label = format!("of test `{}`", test.id);
                    places.insert(index, origin.places(&path, Part::Value, &label));
                }
            }
            match wanted.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        places
    }

    /// Where a value of the scenario stands.
    fn place(&self, path: &[Step], label: &str) -> Vec<Place> {
        self.document.places(path, Part::Value, label)
    }
}

fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

/// What `{{file.…}}` stands for.
fn about(file: &str) -> Value {
    let path = Path::new(file);
    let [name, stem] = [path.file_name(), path.file_stem()]
        .map(|part| part.unwrap_or_default().to_string_lossy().into_owned());
    json!({"name": name, "path": file, "stem": stem})
}

/// Puts the `meta` of a record over that of its list.
fn add_meta(test: &mut Map<String, Value>, own: Option<Value>) {
    match (test.get_mut("meta"), own) {
        (Some(Value::Object(given)), Some(Value::Object(own))) => given.extend(own),
        (_, Some(own)) => {
            test.insert("meta".to_owned(), own);
        }
        (_, None) => {}
    }
}

impl Record<'_> {
    /// Reads the test that the record makes.
    fn read(&self, last_pattern: &mut Option<String>) -> Result<WrittenTest, Vec<Problem>> {
        let row = self.entry.value().map_err(one)?;
        let (given, kind) = (self.given(&row), kind(&row));
        let Value::Object(mut test) = row else {
            let label = format!("this is {kind}");
            let place = self.entry.place(&[], Part::Value, &label);
            return Err(one(Problem::new("a record must be a JSON object").at(place)));
        };
        let own_meta = test.remove("meta").filter(|meta| !meta.is_null());
        if self.list.has_templates() {
            let keys = &self.tests.schema["properties"];
            test.retain(|key, _| keys.get(key).is_some() || is_later(TEST.0, key));
        }
        test.extend(given?);
        add_meta(&mut test, own_meta);
        let mut reading = Reading::new(self);
        reading.last_pattern = last_pattern.take();
        let test = TEST.read(&At::ROOT, &mut Value::Object(test), &mut reading);
        *last_pattern = reading.last_pattern;
        match test {
            Some(test) if reading.problems.is_empty() => Ok(test),
            // A test without problems is read.
            _ => Err(reading.problems),
        }
    }

    /// What the list says of the record's test: its templates, filled in.
    fn given(&self, row: &Value) -> Result<Vec<(String, Value)>, Vec<Problem>> {
        let list = self.list;
        let roots = [("row", row), ("file", &self.file.about), ("row_number", &self.number)];
        let (mut given, mut missing) = (Vec::new(), Vec::new());
        for (key, template) in &list.given {
            match template.render(&roots) {
                // A number that makes an id is its text.
                Ok(value) if *key == "id" && !value.is_string() => {
                    given.push(((*key).to_owned(), value.to_string().into()));
                }
                Ok(value) => given.push(((*key).to_owned(), value)),
                Err(error) => missing.push(self.missing(row, key, &error)),
            }
        }
        match missing.is_empty() {
            true => Ok(given),
            false => Err(missing),
        }
    }

    /// Says what a template of the list needs and the record does not have.
    fn missing(&self, row: &Value, key: &str, error: &MissingKey) -> Problem {
        let path = self.list_path(&[Step::Key(key.to_owned())]);
        let place = self.entry.place(&[], Part::Value, "not in this record");
        let places = self.tests.place(&path, "needed here");
        let mut problem = Problem::new(error.to_string()).at(place).at_all(places);
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
        self.list.given.iter().any(|(given, _)| given == key)
    }
}

/// Of what a template of the list has made, both stand: the record and the template.
impl Places for Record<'_> {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place> {
        self.asked.update(|asked| asked + 1);
        if self.asked.get() > MAX_ASKED {
            return Vec::new();
        }
        if !self.is_given(path) {
            return vec![self.entry.place(path, part, label)];
        }
        let mut places = vec![self.entry.place(&[], Part::Value, "of this record")];
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
    /// The folder that attachments are relative to.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Scenario(tests, _) => &tests.scenario.folder,
            Self::Record(record) => &record.file.folder,
        }
    }

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
            Self::Record(record) if record.is_given(&id) => {
                vec![record.entry.place(&[], Part::Value, label)]
            }
            _ => self.places(&id, Part::Value, label),
        }
    }
}
