//! Reads test lists, and makes tests of their records. [`AllTests`]: the tests of a scenario and of its lists, in order.

mod chosen;
mod csv;
mod entries;
pub(crate) mod plugin;

use std::path::{Path, PathBuf};
use std::{cell::Cell, iter, ops::ControlFlow, sync::LazyLock};

use runner_model::template::Template;
use serde_json::{Map, Value, json};

pub(crate) use self::entries::json_span;
use self::entries::{Chunk, Entry, visit_chunks};
use crate::keys::{ListFormat, TEST, TestList, WrittenTest, files};
use crate::problem::{Place, Problem};
use crate::reading::{At, Document, Form, Part, Places, Reader, RenderError, Step, kind, suggest};
use crate::scenario::Scenario;

#[cfg(test)]
pub(crate) use self::entries::TOML_LIST;

/// All tests of a scenario and its lists.
pub(crate) struct AllTests<'s> {
    scenario: &'s Scenario,
    document: &'s Document<'s>,
    /// The schema of a test, which has its keys. Only records with templates need it.
    schema: LazyLock<Value>,
    /// The greatest number of records in a chunk.
    pub(crate) chunk_size: usize,
}

/// Consecutive tests of the scenario, or of a file of a list.
pub(crate) enum TestChunk<'a> {
    Scenario(&'a AllTests<'a>),
    Records {
        tests: &'a AllTests<'a>,
        /// The list's index in the scenario.
        list: usize,
        file: &'a ListFile,
        /// The number of the file's records in earlier chunks.
        before: u64,
        records: Chunk<'a>,
    },
}

/// A file of a test list.
pub(crate) struct ListFile {
    /// The values of `{{file.…}}`.
    names: Value,
    /// The folder that attachments are relative to.
    folder: PathBuf,
}

/// The source of a test.
pub(crate) enum Origin<'a> {
    /// The scenario, with the test's index in it.
    Scenario(&'a AllTests<'a>, usize),
    /// A record of a list.
    Record(Record<'a>),
}

/// A record of a list, with the other roots of templates.
pub(crate) struct Record<'a> {
    tests: &'a AllTests<'a>,
    pub(crate) list: &'a TestList,
    /// The list's index in the scenario.
    pub(crate) index: usize,
    entry: Entry<'a>,
    file: &'a ListFile,
    number: Value,
    /// The number of places that were searched.
    searches: Cell<u32>,
}

/// Searches for places in a record. Each of them parses it again. Problems after these are never shown.
const MAX_SEARCHES: u32 = 100;

/// Receives each test or its problems. May end the visit.
pub(crate) type Visit<'v> =
    dyn FnMut(Result<(Origin<'_>, WrittenTest), Vec<Problem>>) -> ControlFlow<()> + 'v;

/// Receives the chunks of the scenario or of a file. May end the visit.
pub(crate) type VisitTestChunks<'v> =
    dyn FnMut(&mut dyn Iterator<Item = TestChunk<'_>>) -> ControlFlow<()> + 'v;

impl<'s> AllTests<'s> {
    /// `document` is the scenario's text.
    pub(crate) fn new(scenario: &'s Scenario, document: &'s Document<'s>) -> Self {
        // Some hundred microseconds of work, to which handing over a chunk adds little.
        let chunk_size = 512;
        Self { scenario, document, schema: LazyLock::new(|| TEST.schema()), chunk_size }
    }

    /// Visits all tests in order.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        self.visit_chunks(&mut |chunks| {
            for chunk in chunks {
                chunk.visit(visit)?;
            }
            ControlFlow::Continue(())
        })
    }

    /// Visits all tests in order, in chunks.
    pub(crate) fn visit_chunks(&self, visit: &mut VisitTestChunks<'_>) -> ControlFlow<()> {
        visit(&mut iter::once(TestChunk::Scenario(self)))?;
        for (index, list) in self.scenario.lists.iter().enumerate() {
            let made = list.records.as_ref().and(list.plugin.as_ref());
            for file in list.files.iter().chain(made.map(|plugin| &plugin.plugin)) {
                self.visit_file(index, file, visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn visit_file(
        &self,
        list: usize,
        name: &str,
        visit: &mut VisitTestChunks<'_>,
    ) -> ControlFlow<()> {
        let keys = &self.scenario.lists[list];
        // A list has only files of a known format.
        let format = match &keys.records {
            Some(_) => Some(ListFormat::Lines),
            None if keys.is_of_files => Some(ListFormat::File),
            None => ListFormat::from_name(name),
        };
        let Some(format) = format else { return ControlFlow::Continue(()) };
        let path = self.scenario.folder.join(name);
        let file = ListFile {
            names: file_names(name),
            folder: match keys.plugin {
                Some(_) => self.scenario.folder.clone(),
                None => path.parent().unwrap_or(Path::new(".")).to_owned(),
            },
        };
        let shown = files::display_path(&path).into_owned();
        let (path, shown) = match &keys.records {
            Some(records) => (records.path(), format!("output of {name}")),
            None => (path, shown),
        };
        let mut before = 0;
        visit_chunks(format, &path, &shown, self.chunk_size, &mut |chunks| {
            visit(&mut chunks.map(|records| {
                let earlier = before;
                before += records.count() as u64;
                TestChunk::Records { tests: self, list, file: &file, before: earlier, records }
            }))
        })?;
        if before > 0 || keys.is_optional {
            return ControlFlow::Continue(());
        }
        let message = match format {
            ListFormat::Csv => {
                format!("`{shown}` has no records after its header; lines end in LF or CRLF")
            }
            _ => self.no_records(list).unwrap_or_else(|| format!("`{shown}` has no records")),
        };
        let records = Chunk::refused(self.no_tests(list, message));
        visit(&mut iter::once(TestChunk::Records {
            tests: self,
            list,
            file: &file,
            before,
            records,
        }))
    }

    /// Returns the problem of a list that gives no test.
    pub(crate) fn no_tests(&self, list: usize, message: String) -> Problem {
        let path = [Step::Key("test_lists".to_owned()), Step::Item(list)];
        let problem = Problem::new(message).at_all(self.place(&path, "of this list"));
        problem.with_help("if a list may give no test, set its `optional = true`")
    }

    /// Returns the places of a value in the scenario.
    fn place(&self, path: &[Step], label: &str) -> Vec<Place> {
        self.document.places(path, Part::Value, label)
    }
}

impl TestChunk<'_> {
    /// Returns the number of bytes that only this chunk holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Scenario(_) => 0,
            Self::Records { records, .. } => records.bytes(),
        }
    }

    /// Visits the tests in order.
    pub(crate) fn visit(self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        match self {
            Self::Scenario(tests) => {
                let all = tests.scenario.tests.iter().enumerate();
                all.map(|(index, test)| (Origin::Scenario(tests, index), test.clone()))
                    .try_for_each(|test| visit(Ok(test)))
            }
            Self::Records { tests, list: index, file, before: mut number, records } => {
                let list = &tests.scenario.lists[index];
                let mut last_pattern = None;
                records.visit(&mut |entry| {
                    number += 1;
                    let test = entry.map_err(|problem| vec![problem]).and_then(|entry| {
                        let number = json!(number);
                        let searches = Cell::new(0);
                        let record = Record { tests, list, index, entry, file, number, searches };
                        let test = record.read(&mut last_pattern)?;
                        Ok((Origin::Record(record), test))
                    });
                    visit(test.map_err(|problems| tests.of_plugin(index, problems)))
                })
            }
        }
    }
}

/// Returns the values of `{{file.…}}`.
fn file_names(file: &str) -> Value {
    let path = Path::new(file);
    let [name, stem] = [path.file_name(), path.file_stem()]
        .map(|part| part.unwrap_or_default().to_string_lossy().into_owned());
    // A template such as `{{file.dir}}/x` must not start with `/`.
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    json!({"dir": dir.to_string_lossy(), "name": name, "path": file, "stem": stem})
}

/// Returns the reason why a file lacks a key of files that are records.
fn file_help(key: &str) -> Option<&'static str> {
    match key {
        "json" => Some("only files whose name ends in `.json` have it, and only with valid JSON"),
        "text" => Some("the file is not UTF-8: `row.bytes` has its content in base64"),
        "bytes" => Some("the file is UTF-8: `row.text` has its content"),
        _ => None,
    }
}

/// Adds the `meta` of a record to that of its list. The record's keys win.
fn add_meta(test: &mut Map<String, Value>, own: Option<Value>) {
    match (test.get_mut("meta"), own) {
        (Some(Value::Object(meta)), Some(Value::Object(own))) => meta.extend(own),
        (_, Some(own)) => {
            test.insert("meta".to_owned(), own);
        }
        (_, None) => {}
    }
}

impl Record<'_> {
    /// Reads the record's test.
    fn read(&self, last_pattern: &mut Option<String>) -> Result<WrittenTest, Vec<Problem>> {
        let row = self.entry.value().map_err(|problem| vec![problem])?;
        let fields = self.list_fields(&row);
        let kind = kind(&row);
        let Value::Object(mut test) = row else {
            let place = self.entry.place(&[], Part::Value, &format!("this is {kind}"));
            return Err(vec![Problem::new("a record must be a JSON object").at(place)]);
        };
        if let Some(key) = self.unused_key(&test) {
            let place = self.entry.place(&[Step::Key(key.to_owned())], Part::Key, "not used");
            let message =
                format!("`{key}` of the record and `{key}` of its list exclude each other");
            let help = format!("remove one of them, or insert the record's: `{{{{row.{key}}}}}`");
            return Err(vec![Problem { help: Some(help), ..Problem::new(message).at(place) }]);
        }
        let own_meta = test.remove("meta");
        if self.list.has_templates() {
            // With templates, a record is data for them, so keys that are not of tests are no mistakes.
            let keys = &self.tests.schema["properties"];
            test.retain(|key, _| keys.get(key).is_some());
        }
        test.extend(fields?);
        add_meta(&mut test, own_meta);
        let mut reader = Reader::new(self);
        reader.last_pattern = last_pattern.take();
        let expect = self.list.fields.iter().find(|(key, _)| *key == "expect");
        reader.is_of_record = expect.is_none_or(|(_, value)| value.is_template());
        let test = TEST.read(&At::ROOT, &mut Value::Object(test), &mut reader);
        *last_pattern = reader.last_pattern;
        for problem in reader.problems.iter_mut().filter(|one| one.message.starts_with("`id` ")) {
            let help = "to number the tests: `id = \"case-{{row_number}}\"` in the list";
            problem.help.get_or_insert_with(|| help.to_owned());
        }
        match test {
            Some(test) if reader.problems.is_empty() => Ok(test),
            _ => Err(reader.problems),
        }
    }

    /// Returns a key of the record that decides what passes, and that a key of the list would replace without a word.
    fn unused_key(&self, record: &Map<String, Value>) -> Option<&'static str> {
        let fields = &self.list.fields;
        ["expect", "reference"].into_iter().find(|key| {
            record.contains_key(*key)
                && fields.iter().any(|(field, _)| field == key)
                && !fields.iter().any(|(_, template)| template.uses_row(key))
        })
    }

    /// Returns the fields that the list sets in the record's test, with filled templates.
    fn list_fields(&self, row: &Value) -> Result<Vec<(String, Value)>, Vec<Problem>> {
        let list = self.list;
        let roots = [("row", row), ("file", &self.file.names), ("row_number", &self.number)];
        let mut fields = Vec::new();
        let mut missing = Vec::new();
        for (key, template) in &list.fields {
            match template.render(&roots) {
                // A template that is only a number keeps its type, but an id is a text.
                Ok(value) if *key == "id" && !value.is_string() && !value.is_null() => {
                    fields.push(((*key).to_owned(), value.to_string().into()));
                }
                Ok(value) => fields.push(((*key).to_owned(), value)),
                Err(error) => missing.push(self.missing(row, key, &error)),
            }
        }
        if missing.is_empty() { Ok(fields) } else { Err(missing) }
    }

    /// Returns the problem of a record without a key that a template of the list needs.
    fn missing(&self, row: &Value, key: &str, error: &RenderError) -> Problem {
        let path = self.list_path(&[Step::Key(key.to_owned())]);
        let label = match error {
            RenderError::Missing(_) => "not in this record",
            RenderError::Empty(_) => "of this record",
        };
        let place = self.entry.place(&[], Part::Value, label);
        let places = self.tests.place(&path, "needed here");
        let mut problem = Problem::new(error.to_string()).at(place).at_all(places);
        if let (Value::Object(row), RenderError::Missing(path)) = (row, error)
            && let key = path.0.split('.').nth(1).unwrap_or_default()
            && !row.contains_key(key)
        {
            let of_file = self.list.is_of_files.then(|| file_help(key)).flatten();
            let help = || suggest(key, row.keys().map(String::as_str));
            problem.help = Some(of_file.map_or_else(help, str::to_owned));
        }
        problem
    }

    /// Returns the path of a value of the list in the scenario.
    fn list_path(&self, steps: &[Step]) -> Vec<Step> {
        let list = [Step::Key("test_lists".to_owned()), Step::Item(self.index)];
        [&list, steps].concat()
    }

    /// Returns the record's file, relative to the scenario, and its number in it, from 1, if it has its own `expect`.
    ///
    /// # Errors
    ///
    /// The reason why it has none.
    pub(crate) fn own_expect(&self) -> Result<(&str, usize), String> {
        match self.list.fields.iter().find(|(key, _)| *key == "expect") {
            Some((_, expect)) if expect.is_template() => {
                Err("its `equals` comes from a template".to_owned())
            }
            Some(_) => Err("its `equals` is that of a whole test list".to_owned()),
            None if self.list.plugin.is_some() => {
                Err("a plugin makes its `equals`: change what the plugin reads".to_owned())
            }
            None => {
                let number = self.number.as_u64().unwrap_or_default() as usize;
                Ok((self.file.names["path"].as_str().unwrap_or_default(), number))
            }
        }
    }

    /// Returns whether a value of the test is from the list, not the record.
    fn is_from_list(&self, path: &[Step]) -> bool {
        matches!(path, [Step::Key(key), ..] if self.list.fields.iter().any(|(field, _)| field == key))
    }
}

/// A value from a template of the list has two places: the record and the template.
impl Places for Record<'_> {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place> {
        self.searches.update(|searches| searches + 1);
        if self.searches.get() > MAX_SEARCHES {
            return Vec::new();
        }
        if !self.is_from_list(path) {
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
                let test = [Step::Key("tests".to_owned()), Step::Item(*index)];
                tests.place(&[&test, path].concat(), label)
            }
        }
    }
}

impl Origin<'_> {
    /// Returns the folder that attachments are relative to.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Scenario(tests, _) => &tests.scenario.folder,
            Self::Record(record) => &record.file.folder,
        }
    }

    /// Returns the places of a value in the scenario.
    pub(crate) fn scenario_place(&self, path: &[Step], label: &str) -> Vec<Place> {
        match self {
            Self::Scenario(tests, _) => tests.place(path, label),
            Self::Record(record) => record.tests.place(path, label),
        }
    }

    /// Returns the place of a path in the scenario, and the test if the path has a value of it.
    pub(crate) fn path_places(&self, path: &Template, key: &[Step], label: &str) -> Vec<Place> {
        let mut places = self.scenario_place(key, label);
        if path.paths().next().is_some() {
            places.extend(self.place("of this test"));
        }
        places
    }

    /// Returns the places of the test.
    pub(crate) fn place(&self, label: &str) -> Vec<Place> {
        let id = [Step::Key("id".to_owned())];
        match self {
            Self::Record(record) if record.is_from_list(&id) => {
                vec![record.entry.place(&[], Part::Value, label)]
            }
            _ => self.places(&id, Part::Value, label),
        }
    }
}
