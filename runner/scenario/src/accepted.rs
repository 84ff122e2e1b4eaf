//! [`accept_outputs`]: golden files, scenarios and test lists with accepted outputs in place of their expectations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::{mem, ops::ControlFlow, ops::Range};

use runner_model::{row::MAX_DEPTH, visible::steers, visible::visible_line, without_mark};
use serde_json::{Value, value::RawValue};

use crate::grants_toml::{toml_key, toml_string};
use crate::keys::ListFormat;
use crate::lists::{AllTests, Origin, json_span};
use crate::problem::{Problem, Problems};
use crate::project::holds_results;
use crate::reading::{Document, MAX_BYTES, Part, Step, escape};
use crate::scenario::Scenario;
use crate::suite::blobs::{MAX_GOLDEN_BYTES, is_deep, is_json};

/// The files with expectations that accepted outputs replace.
#[derive(Debug, Default)]
pub struct AcceptedOutputs {
    /// The files that change, by their path relative to the scenario's folder.
    pub files: BTreeMap<String, FileEdit>,
    /// The reason for each test whose output cannot be accepted, by its id.
    pub refused: BTreeMap<String, String>,
}

/// A file before and after an edit.
#[derive(Debug)]
pub struct FileEdit {
    /// `None` if the file is missing.
    pub old: Option<Vec<u8>>,
    pub new: String,
    /// Number of tests whose expectations change, or of entries of a list.
    pub changes: usize,
}

/// Reads a file below the scenario's folder, without links. `None` if it is missing.
///
/// # Errors
///
/// The reason why the file may not be replaced.
pub type ReadFile<'r> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, String> + 'r;

/// An expectation in the text of a file.
struct Place {
    /// The test's index in a scenario, or the number of its record, from 0.
    record: usize,
    test: String,
    old: Value,
    new: Value,
}

/// The expectations of a file, and its format.
struct Edited {
    format: ListFormat,
    /// Whether `{{` in its texts starts a placeholder.
    has_placeholders: bool,
    places: Vec<Place>,
}

/// Finds the expectations of tests in their files, and replaces them by the tests' outputs. Writes nothing. An expectation that
/// more than one test has is replaced only if all of them have the same output. Files in `protected` do not become golden files:
/// [`Scenario::protected_files`] after the tests were resolved, so that attachments of all tests are among them.
///
/// # Errors
///
/// Problems of the scenario's lists.
pub fn accept_outputs(
    scenario: &Scenario,
    mut outputs: BTreeMap<String, Value>,
    protected: &BTreeSet<PathBuf>,
    read: &mut ReadFile<'_>,
) -> Result<AcceptedOutputs, Problems> {
    let document = scenario.document().map_err(|problems| Problems::first(1, problems))?;
    let tests = AllTests::new(scenario, &document);
    let mut accepted = AcceptedOutputs::default();
    let mut edited = BTreeMap::<String, Edited>::new();
    let mut golden = BTreeMap::<String, Vec<(String, Value)>>::new();
    // The number of tests that name each golden file.
    let mut users = BTreeMap::<String, usize>::new();
    let mut problem: Option<Vec<Problem>> = None;
    let _ = tests.visit(&mut |test| {
        let (origin, mut test) = match test {
            Ok(test) => test,
            Err(problems) => {
                problem = Some(problems);
                return ControlFlow::Break(());
            }
        };
        let file = test.expect.expect.file.as_deref().map(|file| golden_path(&origin, file));
        if let Some(Ok(path)) = &file {
            *users.entry(path.clone()).or_default() += 1;
        }
        let Some(new) = outputs.remove(&*test.id) else { return ControlFlow::Continue(()) };
        let id = test.id.to_string();
        let old = test.expect.expect.equals.take();
        let found = match (file, old) {
            (Some(path), _) => {
                path.map(|path| golden.entry(path).or_default().push((id.clone(), new)))
            }
            (None, Some(old)) => place_of(scenario, &origin).map(|(path, format, record)| {
                let has_placeholders = matches!(origin, Origin::Scenario(..));
                let empty = Edited { format, has_placeholders, places: Vec::new() };
                let places = &mut edited.entry(path).or_insert(empty).places;
                places.push(Place { record, test: id.clone(), old, new });
            }),
            (None, None) => Err("it has neither `equals` nor `file`".to_owned()),
        };
        accepted.refused.extend(found.err().map(|why| (id, why)));
        ControlFlow::Continue(())
    });
    if let Some(problems) = problem {
        return Err(Problems::first(1, problems));
    }
    let is_searched = scenario.searched_files();
    for (path, tests) in golden {
        let file = scenario.folder.join(&path);
        let mut above = file.ancestors().skip(1).take_while(|at| at.starts_with(&scenario.folder));
        let new = if is_protected(&file, protected) {
            Err(format!("the scenario reads `{path}` also for another purpose"))
        } else if is_searched(&file) {
            Err(format!("the scenario would read `{path}`, which one of its globs matches"))
        } else if file.file_name().is_some_and(|name| name == "plugin.toml") {
            Err(format!("`{path}` would name the programs that build a plugin"))
        } else if above.any(holds_results) {
            Err(format!("`{path}` is in a results root or a run"))
        } else if is_folder_of(&path, &users) {
            Err(format!("`{path}` is a golden file of one test and a folder of another"))
        } else {
            golden_text(&path, &tests, users[&path])
        };
        let new = new.and_then(|new| Ok((read(&path)?, new)));
        accepted.add(path, new, tests.into_iter().map(|(id, _)| id).collect());
    }
    for (path, mut file) in edited {
        let old = read(&path).and_then(|old| old.ok_or_else(|| "the file is gone".to_owned()));
        let text = old
            .and_then(|old| String::from_utf8(old).map_err(|_| "the file is not UTF-8".to_owned()));
        let new = text.and_then(|text| {
            let new = file.apply(&path, &text, &mut accepted.refused)?;
            Ok((Some(text.into_bytes()), new))
        });
        accepted.add(path, new, file.places.into_iter().map(|place| place.test).collect());
    }
    Ok(accepted)
}

impl AcceptedOutputs {
    /// Adds a file with its text before and after, or the reason why it does not change.
    fn add(
        &mut self,
        path: String,
        texts: Result<(Option<Vec<u8>>, String), String>,
        tests: Vec<String>,
    ) {
        match texts {
            Ok((old, new)) if old.as_deref() != Some(new.as_bytes()) => {
                self.files.insert(path, FileEdit { old, new, changes: tests.len() });
            }
            Ok(_) => {}
            Err(why) => self.refused.extend(tests.into_iter().map(|test| (test, why.clone()))),
        }
    }
}

/// Returns a path relative to the scenario's folder in its simplest form.
///
/// # Errors
///
/// It leads out of the folder, or has a hidden name, such as `.git`, whose files decide what programs do.
pub(crate) fn inside(path: &str) -> Result<String, String> {
    let mut names = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_string_lossy()),
            _ => return Err(format!("`{path}` leads out of the scenario's folder")),
        }
    }
    if names.iter().any(|name| name.starts_with('.')) {
        return Err(format!("`{path}` is hidden"));
    }
    Ok(names.join("/"))
}

/// Returns the simplest path of a golden file.
fn golden_path(origin: &Origin<'_>, file: &str) -> Result<String, String> {
    if file.contains(char::is_control) {
        return Err(format!("the name `{}` has a control character", visible_line(file)));
    }
    origin.check_accepted(file)?;
    let path = inside(file)?;
    // A path such as `expected/` is that of a folder, or will be.
    match Path::new(&path).file_name().and_then(|name| name.to_str()) {
        Some(name) if file.ends_with(name) => Ok(path),
        _ => Err(format!("`{file}` is not the name of a file")),
    }
}

/// Returns whether a golden file is the folder of another one, or in another one as its folder.
fn is_folder_of(path: &str, users: &BTreeMap<String, usize>) -> bool {
    let folder = format!("{path}/");
    users.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
        || Path::new(path)
            .ancestors()
            .skip(1)
            .any(|above| above.to_str().is_some_and(|above| users.contains_key(above)))
}

/// Returns the file, its format and the index of a test whose own `equals` is in it.
fn place_of(
    scenario: &Scenario,
    origin: &Origin<'_>,
) -> Result<(String, ListFormat, usize), String> {
    match origin {
        Origin::Scenario(_, index) => {
            let name = Path::new(&scenario.path).file_name().unwrap_or_default();
            Ok((inside(&name.to_string_lossy())?, ListFormat::Toml, *index))
        }
        Origin::Record(record) => {
            let (path, number) = record.own_expect()?;
            let path = inside(path)?;
            let lists = scenario.lists.iter().flat_map(|list| &list.files);
            if lists.filter(|file| inside(file).as_ref() == Ok(&path)).count() > 1 {
                return Err("several lists read its record".to_owned());
            }
            let format = ListFormat::from_name(&path).unwrap_or(ListFormat::File);
            Ok((path, format, number - 1))
        }
    }
}

/// Returns whether a path leads to one of these files, or into a plugin's folder: an output there would choose what runs.
fn is_protected(path: &Path, protected: &BTreeSet<PathBuf>) -> bool {
    let real = path.canonicalize().ok();
    let mut above = path.ancestors().chain(real.iter().flat_map(|real| real.ancestors()));
    above.any(|part| protected.contains(part))
}

/// Returns the text of a golden file with the output of all tests that name it.
fn golden_text(path: &str, tests: &[(String, Value)], users: usize) -> Result<String, String> {
    let (first, output) = &tests[0];
    if let Some((other, _)) = tests.iter().find(|(_, other)| other != output) {
        return Err(format!("`{path}` is also for another output: of `{first}` and `{other}`"));
    }
    if users != tests.len() {
        return Err(format!("`{path}` is also for tests whose output is not accepted"));
    }
    let text = match output {
        output if is_json(Path::new(path)) => {
            let json = serde_json::to_string_pretty(output).map_err(|error| error.to_string())?;
            json + "\n"
        }
        Value::String(text) => text.clone(),
        _ => {
            return Err(format!(
                "its output is not a text, which `{path}` needs to be: a `.json` file has any value"
            ));
        }
    };
    if text.len() as u64 > MAX_GOLDEN_BYTES || is_deep(output, MAX_DEPTH) {
        return Err("its output has more than 4 MiB or too many levels".to_owned());
    }
    Ok(text)
}

impl Edited {
    /// Returns the text with the new expectations. Drops places that cannot be edited, with their reasons.
    fn apply(
        &mut self,
        path: &str,
        text: &str,
        refused: &mut BTreeMap<String, String>,
    ) -> Result<String, String> {
        let body = without_mark(text);
        let records = Records::new(self.format, path, body).ok_or("the file has changed")?;
        let values = records.value();
        let mut edits = Vec::new();
        for place in mem::take(&mut self.places) {
            match self.edit(&records, &values, &place) {
                Ok(edit) => {
                    edits.push(edit);
                    self.places.push(place);
                }
                Err(why) => drop(refused.insert(place.test, why)),
            }
        }
        edits.sort_by_key(|(range, _)| range.start);
        let mut new = text[..text.len() - body.len()].to_owned();
        let mut end = 0;
        for (range, value) in edits {
            new.push_str(&body[end..range.start]);
            new.push_str(&value);
            end = range.end;
        }
        new.push_str(&body[end..]);
        if new.len() as u64 > MAX_BYTES {
            return Err(format!("`{path}` would have more than 16 MiB"));
        }
        Ok(new)
    }

    /// Returns the range of an expectation and its new text.
    fn edit(
        &self,
        records: &Records<'_>,
        values: &Value,
        place: &Place,
    ) -> Result<(Range<usize>, String), String> {
        let Place { record, old, new, .. } = place;
        let mut new = new.clone();
        if self.has_placeholders {
            escape(&mut new);
        }
        let tests =
            if self.format == ListFormat::Toml { values.get("tests") } else { Some(values) };
        let test = tests.and_then(|tests| tests.get(*record));
        let value = test.and_then(|test| test.pointer("/expect/equals"));
        if value.ok_or("its `equals` is not in the file")? != old {
            return Err("its `equals` comes from a template".to_owned());
        }
        let steps = ["expect", "equals"].map(|key| Step::Key(key.to_owned()));
        Ok(match records {
            Records::Toml(document, body) => {
                let test = [Step::Key("tests".to_owned()), Step::Item(*record)];
                let span = document.place(&[&test[..], &steps].concat(), Part::Value, "").span;
                let written = &body[span.clone()];
                // The place of a table with a header of its own is the header.
                if toml_value(&format!("x = {written}")).as_ref() != Some(old) {
                    return Err("its `equals` is a table of its own in the file".to_owned());
                }
                let has_lines = written.starts_with("\"\"\"") || written.starts_with("'''");
                (span, to_toml(&new, has_lines)?)
            }
            Records::Json(records, body) => {
                let start = records[*record].as_ptr() as usize - body.as_ptr() as usize;
                let span = json_span(records[*record], &steps, Part::Value);
                (start + span.start..start + span.end, new.to_string())
            }
        })
    }
}

/// The text of a scenario or a list whose records may change.
enum Records<'a> {
    Toml(Document<'a>, &'a str),
    /// The texts of the records, and the whole text.
    Json(Vec<&'a str>, &'a str),
}

impl<'a> Records<'a> {
    /// Parses a text. `None` if it is invalid, or if its records have no `equals`.
    fn new(format: ListFormat, path: &str, body: &'a str) -> Option<Self> {
        match format {
            ListFormat::Toml => Some(Self::Toml(Document::parse(path, body).ok()?, body)),
            ListFormat::Json => {
                let records: Vec<&RawValue> = serde_json::from_str(body).ok()?;
                Some(Self::Json(records.into_iter().map(RawValue::get).collect(), body))
            }
            ListFormat::Lines => {
                let lines = body.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty());
                Some(Self::Json(lines.collect(), body))
            }
            ListFormat::Csv | ListFormat::File => None,
        }
    }

    /// Returns the tests or records as JSON. One that is not valid is null.
    fn value(&self) -> Value {
        match self {
            Self::Toml(document, _) => document.value(&mut Vec::new()),
            Self::Json(records, _) => {
                let values = records.iter().map(|text| serde_json::from_str::<Value>(text));
                values.map(Result::unwrap_or_default).collect()
            }
        }
    }
}

/// Returns the value of the only key of a document.
fn toml_value(text: &str) -> Option<Value> {
    let value = Document::parse("", text).ok()?.value(&mut Vec::new());
    value.as_object().filter(|table| table.len() == 1)?.get("x").cloned()
}

/// Formats a value as TOML, on one line unless it is a text and `has_lines` is true.
///
/// # Errors
///
/// TOML has no null.
fn to_toml(value: &Value, has_lines: bool) -> Result<String, String> {
    Ok(match value {
        Value::Null => return Err("its output has a null, which TOML lacks".to_owned()),
        Value::String(text) if has_lines && text.contains('\n') => {
            let mut lines = "\"\"\"\n".to_owned();
            for character in text.chars() {
                match character {
                    '\n' => lines.push('\n'),
                    '"' | '\\' => lines.extend(['\\', character]),
                    character if character.is_control() || steers(character) => {
                        lines += &format!("\\U{:08X}", u32::from(character));
                    }
                    character => lines.push(character),
                }
            }
            lines + "\"\"\""
        }
        Value::String(text) => toml_string(text),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_toml(item, false));
            format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| Ok(format!("{} = {}", toml_key(key), to_toml(value, false)?)));
            format!("{{ {} }}", entries.collect::<Result<Vec<_>, String>>()?.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    })
}

#[cfg(test)]
#[path = "tests/accepted.rs"]
mod tests;
