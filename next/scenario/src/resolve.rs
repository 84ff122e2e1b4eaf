//! [`resolve`]: from written tests and records of lists to the suite.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufWriter, Write},
    mem,
    ops::ControlFlow,
    path::Path,
};

use globset::GlobSet;
use runner_model::{
    Text,
    provider::Provider,
    row::MAX_DEPTH,
    template::{MissingKey, TemplateValue, lookup},
    test::Test,
};
use serde_json::{Map, Value, json, value::to_raw_value};

use crate::{
    check,
    document::Document,
    form::Form,
    globs,
    lists::{Line, ListReader},
    problem::{Place, Problem, Problems},
    reading::{At, Finding, Part, Places, Reading, Step, dotted, suggest},
    scenario::{Scenario, TestList},
    suite::{MAX_TESTS, MAX_TRIALS, Suite, SuiteBuilder, TooMany, hash},
    table::is_later,
    test_keys::{DEFAULT_TIMEOUT, Settings, TEST, WrittenTest},
};

/// Problems of tests and lists that are shown.
const MAX_SHOWN: usize = 10;

/// What was selected on the command line: globs; an empty list selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over test ids.
    pub tests: Vec<String>,
    /// Globs over provider names.
    pub providers: Vec<String>,
    /// Tags, any of which a test must have.
    pub tags: Vec<String>,
}

/// Reads all tests and lists, and writes the resolved and selected tests into `into`, an empty file: one line for each
/// test ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests. A selection that selects nothing is no problem: the suite has no trials.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    let cannot_write =
        |error: std::io::Error| Problem::new(format!("cannot write the suite: {error}"));
    let file = into.try_clone().map_err(cannot_write)?;
    let mut writer = SuiteWriter::new(scenario, selection, into)?;
    let tests = ScenarioTests::new(scenario);
    let mut found = Found::default();
    let mut hashes = Vec::new();
    let ended = tests.each(&mut |origin, test| {
        let done = test.and_then(|test| {
            hashes.push(hash(&test.id));
            writer.add(&tests, origin, test)
        });
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(Refused::Test(problem)) => {
                found.add(problem);
                ControlFlow::Continue(())
            }
            Err(Refused::Suite(problem)) => ControlFlow::Break(problem),
        }
    });
    if let ControlFlow::Break(problem) = ended {
        return Err(problem.into());
    }
    find_duplicates(&tests, &hashes, &mut found);
    found.into_result()?;
    let SuiteWriter {
        builder, mut out, ..
    } = writer;
    out.flush().map_err(cannot_write)?;
    drop(out);
    Ok(builder.finish(file, &scenario.providers))
}

/// Why a test is not in the suite.
enum Refused {
    /// It is wrong, and the others are looked at all the same.
    Test(Problem),
    /// The suite cannot be written on.
    Suite(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Test(problem)
    }
}

/// The first problems, and how many there are.
#[derive(Default)]
struct Found {
    shown: Vec<Problem>,
    total: usize,
}

impl Found {
    fn add(&mut self, problem: Problem) {
        self.total += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(problem);
        }
    }

    fn into_result(self) -> Result<(), Problems> {
        match self.total {
            0 => Ok(()),
            total => Err(Problems::new(self.shown, total)),
        }
    }
}

/// Reports ids that are used twice. Only ids with equal hashes are read a second time.
fn find_duplicates(tests: &ScenarioTests<'_>, hashes: &[u64], found: &mut Found) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    let twice: HashSet<u64> = twice.map(|pair| pair[0]).collect();
    if twice.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let again: Vec<u64> = hashes
        .iter()
        .copied()
        .filter(|hash| twice.contains(hash) && !seen.insert(*hash))
        .collect();
    let shown: HashSet<u64> = again.iter().copied().take(MAX_SHOWN).collect();
    found.total += again.len() - again.len().min(MAX_SHOWN);
    let mut first: HashMap<String, Place> = HashMap::new();
    // Problems with a record were reported the first time.
    let _ = tests.each(&mut |origin, test| {
        let Ok(test) = test else {
            return ControlFlow::Continue(());
        };
        if shown.contains(&hash(&test.id)) {
            match first.get(&*test.id) {
                None => {
                    first.insert(test.id.to_string(), tests.place(origin, "first here"));
                }
                Some(first) => found.add(
                    Problem::new(format!("the id `{}` is used twice", test.id))
                        .at(tests.place(origin, "and again here"))
                        .at(first.clone()),
                ),
            }
        }
        ControlFlow::Continue(())
    });
}

/// Where a test comes from.
struct Origin<'a> {
    /// The list and its record; none for a test of the scenario itself.
    record: Option<(&'a TestList, &'a Line<'a>)>,
    /// The number of the test, or of the list, in the scenario.
    index: usize,
}

/// All tests of a scenario and its lists.
struct ScenarioTests<'s> {
    scenario: &'s Scenario,
    /// Parsed when a place in it is first asked for.
    document: OnceCell<Option<Document<'s>>>,
    /// The keys that a test may have.
    keys: Vec<&'static str>,
}

type Visit<'v> = dyn FnMut(&Origin<'_>, Result<WrittenTest, Refused>) -> ControlFlow<Problem> + 'v;

impl<'s> ScenarioTests<'s> {
    fn new(scenario: &'s Scenario) -> Self {
        let keys = TEST.describe().keys;
        Self {
            scenario,
            document: OnceCell::new(),
            keys: keys.iter().map(|key| key.key).collect(),
        }
    }

    /// Visits all tests in order.
    fn each(&self, visit: &mut Visit<'_>) -> ControlFlow<Problem> {
        for (index, test) in self.scenario.tests.iter().enumerate() {
            let record = None;
            visit(&Origin { record, index }, Ok(test.clone()))?;
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
        let outside = Origin {
            record: None,
            index,
        };
        let path = self.scenario.folder.join(file);
        let shown = match path.strip_prefix(".") {
            Ok(path) => path.display().to_string(),
            Err(_) => path.display().to_string(),
        };
        let mut reader = match ListReader::open(&path, shown) {
            Ok(reader) => reader,
            Err(problem) => return visit(&outside, Err(problem.into())),
        };
        let about = about(file);
        let mut number: u64 = 0;
        loop {
            let line = match reader.next() {
                Ok(Some(line)) => line,
                Ok(None) => return ControlFlow::Continue(()),
                Err(problem) => return visit(&outside, Err(problem.into())),
            };
            number += 1;
            let line = match line.text() {
                Ok(line) => line,
                Err(problem) => {
                    visit(&outside, Err(problem.into()))?;
                    continue;
                }
            };
            let origin = Origin {
                record: Some((list, &line)),
                index,
            };
            let test = line.parse().and_then(|record| {
                self.read(&origin, list, &line, [&about, &json!(number)], record)
            });
            visit(&origin, test.map_err(Refused::from))?;
        }
    }

    /// Reads the test that a record makes. One problem a record is enough: the next look shows the next.
    fn read(
        &self,
        origin: &Origin<'_>,
        list: &TestList,
        line: &Line<'_>,
        [file, number]: [&Value; 2],
        record: Value,
    ) -> Result<WrittenTest, Problem> {
        if !record.is_object() {
            let place = line.place(&[], Part::Value, "this is none");
            return Err(Problem::new("a record must be a JSON object").at(place));
        }
        let roots = [("row", &record), ("file", file), ("row_number", number)];
        let written = &list.written;
        let missing =
            |key: &str, error: MissingKey| self.missing(origin, line, &record, key, &error);
        let fill = |key: &str, value: &Option<TemplateValue>| {
            let filled = value.as_ref().map(|value| value.render(&roots));
            filled.transpose().map_err(|error| missing(key, error))
        };
        let id = written.id.as_ref().map(|id| id.render_text(&roots));
        let id = id.transpose().map_err(|error| missing("id", error))?;
        let given = [
            ("id", id.map(Value::String)),
            ("input", fill("input", &written.input)?),
            ("expect", fill("expect", &written.expect)?),
        ];
        let mut test = match record {
            Value::Object(record) => record,
            _ => Map::new(),
        };
        if written.has_templates() {
            test.retain(|key, _| self.keys.contains(&key.as_str()) || is_later(TEST.0, key));
        }
        for (key, value) in given {
            if let Some(value) = value {
                test.insert(key.to_owned(), value);
            }
        }
        let mut reading = Reading::default();
        let read = TEST.read(&At::ROOT, &Value::Object(test), &mut reading);
        match (reading.findings.into_iter().next(), read) {
            (None, Some(test)) => Ok(test),
            (Some(finding), _) => Err(self.locate(origin, list, line, finding)),
            (None, None) => {
                Err(Problem::new("a record makes no test").at(line.place(&[], Part::Value, "")))
            }
        }
    }

    /// Says where a record is wrong, and which template of its list made the value, if one did.
    fn locate(
        &self,
        origin: &Origin<'_>,
        list: &TestList,
        line: &Line<'_>,
        finding: Finding,
    ) -> Problem {
        let written = &list.written;
        let is_given = match finding.path.first() {
            Some(Step::Key(key)) => match key.as_str() {
                "id" => written.id.is_some(),
                "input" => written.input.is_some(),
                "expect" => written.expect.is_some(),
                _ => false,
            },
            _ => false,
        };
        if !is_given {
            return line.locate(finding);
        }
        let mut path = list_path(origin.index);
        path.extend(finding.path.iter().cloned());
        Problem {
            message: finding.message,
            places: vec![
                line.place(&[], Part::Value, "in the test of this record"),
                self.scenario_place(&path, Part::Value, "made here"),
            ],
            help: finding.help,
        }
    }

    fn missing(
        &self,
        origin: &Origin<'_>,
        line: &Line<'_>,
        record: &Value,
        key: &str,
        error: &MissingKey,
    ) -> Problem {
        let mut path = list_path(origin.index);
        path.push(Step::Key(key.to_owned()));
        let mut problem = Problem::new(error.to_string())
            .at(line.place(&[], Part::Value, "not in this record"))
            .at(self.scenario_place(&path, Part::Value, "needed here"));
        let first = error
            .0
            .strip_prefix("row.")
            .and_then(|path| path.split('.').next());
        if let (Some(first), Value::Object(map)) = (first, record)
            && !map.contains_key(first)
        {
            problem.help = Some(suggest(first, map.keys().map(String::as_str)));
        }
        problem
    }

    /// Where a test stands.
    fn place(&self, origin: &Origin<'_>, label: &str) -> Place {
        match origin.record {
            Some((list, line)) if list.written.id.is_none() => {
                line.place(&[Step::Key("id".into())], Part::Value, label)
            }
            Some((_, line)) => line.place(&[], Part::Value, label),
            None => {
                let path = [
                    Step::Key("tests".into()),
                    Step::Index(origin.index),
                    Step::Key("id".into()),
                ];
                self.scenario_place(&path, Part::Value, label)
            }
        }
    }

    fn scenario_place(&self, path: &[Step], part: Part, label: &str) -> Place {
        let scenario = self.scenario;
        let document = self
            .document
            .get_or_init(|| Document::parse(&scenario.path, &scenario.text).ok());
        match document {
            Some(document) => document.place(path, part, label),
            None => unreachable!("the text was parsed before"),
        }
    }
}

fn list_path(index: usize) -> Vec<Step> {
    vec![Step::Key("test_lists".into()), Step::Index(index)]
}

/// What `{{file.…}}` stands for.
fn about(file: &str) -> Value {
    let path = Path::new(file);
    let part =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    json!({"name": part(path.file_name()), "path": file, "stem": part(path.file_stem())})
}

/// Completes tests, selects among them and writes their lines.
struct SuiteWriter<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    filter: Filter,
    /// Of each list, its `select` and `exclude`.
    lists: Vec<(Option<GlobSet>, GlobSet)>,
    needs: Vec<Vec<Need<'s>>>,
    /// The globs of the last test and what they match, because the next one mostly has the same.
    providers: (Vec<String>, Vec<u16>),
    builder: SuiteBuilder,
    out: BufWriter<&'s mut File>,
    line: Vec<u8>,
}

impl<'s> SuiteWriter<'s> {
    fn new(
        scenario: &'s Scenario,
        selection: &Selection,
        into: &'s mut File,
    ) -> Result<Self, Problem> {
        let bad_glob = |error: globset::Error| Problem::new(format!("not a glob: {error}"));
        let sets = |list: &TestList| {
            let select = list.written.select.as_ref();
            let select = select.map(|globs| globs::set(globs)).transpose();
            Ok((select?, globs::set(&list.written.exclude)?))
        };
        let lists: Result<_, globset::Error> = scenario.lists.iter().map(sets).collect();
        Ok(Self {
            scenario,
            names: scenario
                .providers
                .iter()
                .map(|provider| &*provider.name)
                .collect(),
            filter: Filter::new(selection)?,
            lists: lists.map_err(bad_glob)?,
            needs: scenario.providers.iter().map(needs).collect(),
            providers: Default::default(),
            builder: SuiteBuilder::default(),
            out: BufWriter::with_capacity(64 << 10, into),
            line: Vec::new(),
        })
    }

    /// Adds a test, if it is selected.
    fn add(
        &mut self,
        tests: &ScenarioTests<'_>,
        origin: &Origin<'_>,
        mut test: WrittenTest,
    ) -> Result<(), Refused> {
        let list = origin.record.map(|(list, _)| list);
        let globs = match (test.providers.take(), list) {
            (None, Some(list)) => list.written.providers.clone(),
            (own, _) => own,
        };
        let mut providers = self.providers(tests, origin, globs)?;
        let mut settings = mem::take(&mut test.settings);
        if let Some(list) = list {
            settings = settings.over(&list.written.settings);
        }
        let settings = settings.over(&self.scenario.defaults);
        if origin.record.is_some() {
            let (select, exclude) = &self.lists[origin.index];
            let id = test.id.as_str();
            if select.as_ref().is_some_and(|select| !select.is_match(id)) || exclude.is_match(id) {
                return Ok(());
            }
        }
        self.filter
            .narrow(&test.id, &settings, &self.names, &mut providers);
        if providers.is_empty() {
            return Ok(());
        }
        for provider in &providers {
            for need in &self.needs[usize::from(*provider)] {
                if let Some((message, help)) = need.lack(&test.id, &test.input) {
                    let mut problem = Problem::new(message)
                        .at(tests.place(origin, "this test"))
                        .at(tests.scenario_place(&need.path, Part::Value, "needed here"));
                    problem.help = help;
                    return Err(problem.into());
                }
            }
        }
        let values = [&test.expect.equals, &test.expect.json];
        let values = values.into_iter().flatten().chain(&test.expect.contains);
        if values
            .chain([&test.input])
            .any(|value| is_deep(value, MAX_DEPTH))
        {
            let message = format!(
                "test `{}` has a value that is nested deeper than {MAX_DEPTH} levels",
                test.id
            );
            return Err(Problem::new(message)
                .at(tests.place(origin, "this test"))
                .into());
        }
        self.write(test, providers, settings)
    }

    fn providers(
        &mut self,
        tests: &ScenarioTests<'_>,
        origin: &Origin<'_>,
        globs: Option<Vec<String>>,
    ) -> Result<Vec<u16>, Problem> {
        let Some(globs) = globs else {
            return Ok((0..self.names.len() as u16).collect());
        };
        if self.providers.0 != globs {
            for (index, glob) in globs.iter().enumerate() {
                if let Some((message, help)) = check::unmatched(glob, &self.names) {
                    let path = [Step::Key("providers".into()), Step::Index(index)];
                    let place = match origin.record {
                        Some((_, line)) => line.place(&path, Part::Value, "matches nothing"),
                        None => tests.place(origin, "this test"),
                    };
                    return Err(Problem::new(message).at(place).with_help(help));
                }
            }
            let set = globs::set(&globs).unwrap_or_default();
            let matching = (0..)
                .zip(&self.names)
                .filter(|(_, name)| set.is_match(name));
            let matching = matching.map(|(index, _)| index).collect();
            self.providers = (globs, matching);
        }
        Ok(self.providers.1.clone())
    }

    fn write(
        &mut self,
        test: WrittenTest,
        providers: Vec<u16>,
        settings: Settings,
    ) -> Result<(), Refused> {
        let stop = |message: String| Refused::Suite(Problem::new(message));
        let cannot =
            |error: &dyn std::fmt::Display| stop(format!("cannot write the suite: {error}"));
        let input = to_raw_value(&test.input).map_err(|error| cannot(&error))?;
        let test = Test {
            id: test.id,
            input: &input,
            providers,
            repeat: settings.repeat.unwrap_or(1),
            tags: settings.tags.into_iter().map(Text::from).collect(),
            timeout: settings.timeout.unwrap_or(DEFAULT_TIMEOUT),
            trial_timeout: settings.trial_timeout,
            retries: settings.retries.unwrap_or_default(),
            expect: test.expect,
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &test).map_err(|error| cannot(&error))?;
        let pushed = self.builder.push(&self.line, &test.providers, test.repeat);
        pushed.map_err(|too_many| {
            let bound = match too_many {
                TooMany::Tests => format!("{MAX_TESTS} tests"),
                TooMany::Trials => format!("{MAX_TRIALS} trials"),
            };
            let help = "choose some with `--test` or `--provider`, write a smaller `repeat`, or make several scenarios of them";
            Refused::Suite(Problem::new(format!("a run has at most {bound}, and these are more")).with_help(help))
        })?;
        self.line.push(b'\n');
        self.out
            .write_all(&self.line)
            .map_err(|error| cannot(&error))
    }
}

/// What the command line selects.
struct Filter {
    tests: Option<GlobSet>,
    providers: Option<GlobSet>,
    tags: Vec<String>,
}

impl Filter {
    fn new(selection: &Selection) -> Result<Self, Problem> {
        let set = |globs: &[String]| {
            let set = (!globs.is_empty()).then(|| globs::set(globs)).transpose();
            set.map_err(|error| {
                let glob = error.glob().unwrap_or_default().to_owned();
                Problem::new(format!(
                    "what is selected by `{glob}` is unclear: {}",
                    error.kind()
                ))
                .with_help("`--test` and `--provider` take globs such as `words/*`")
            })
        };
        Ok(Self {
            tests: set(&selection.tests)?,
            providers: set(&selection.providers)?,
            tags: selection.tags.clone(),
        })
    }

    /// Leaves a test those of its providers on which it is selected; `names` are those of all providers.
    fn narrow(&self, id: &str, settings: &Settings, names: &[&str], providers: &mut Vec<u16>) {
        let has_tag = || self.tags.iter().any(|tag| settings.tags.contains(tag));
        let is_selected = self.tests.as_ref().is_none_or(|tests| tests.is_match(id))
            && (self.tags.is_empty() || has_tag());
        if !is_selected {
            providers.clear();
        } else if let Some(selected) = &self.providers {
            providers.retain(|index| selected.is_match(names[usize::from(*index)]));
        }
    }
}

/// What one template of a provider takes from every test that runs on it.
struct Need<'s> {
    /// Where the template stands.
    path: Vec<Step>,
    keys: &'s [String],
    takes_nul: bool,
}

fn needs(provider: &Provider) -> Vec<Need<'_>> {
    let at = |key: &str| {
        let steps = ["providers", &provider.name, key];
        steps.map(|key| Step::Key(key.to_owned())).to_vec()
    };
    let args = provider.args.iter().enumerate().map(|(index, template)| {
        let mut path = at("args");
        path.push(Step::Index(index));
        (template, path, false)
    });
    let stdin = provider
        .stdin
        .iter()
        .map(|template| (template, at("stdin"), true));
    let needs = args.chain(stdin).flat_map(|(template, path, takes_nul)| {
        template.keys_of("input").map(move |keys| Need {
            path: path.clone(),
            keys,
            takes_nul,
        })
    });
    needs.collect()
}

impl Need<'_> {
    /// Says what a test with this input lacks.
    fn lack(&self, test: &str, input: &Value) -> Option<(String, Option<String>)> {
        let path = || dotted("input", self.keys);
        match lookup(input, self.keys) {
            None => Some(check::lack(
                "input",
                input,
                self.keys,
                &format!("test `{test}`"),
            )),
            Some(Value::String(value)) if value.contains('\0') && !self.takes_nul => {
                let message = format!(
                    "an argument cannot have a NUL in it, and `{}` of test `{test}` has one",
                    path()
                );
                Some((message, None))
            }
            Some(_) => None,
        }
    }
}

/// Tells whether a value is nested deeper than so many levels.
fn is_deep(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deep(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deep(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
