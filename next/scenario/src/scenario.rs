//! [`Scenario`]: reading its file, and the keys at its top.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runner_model::{Budgets, FailFast, Micros, provider::Provider};
use serde_json::{Map, Value};

use crate::{
    check,
    document::Document,
    files,
    form::{Form, List, Sub},
    matrix::{self, Made, Written},
    needs,
    problem::{Place, Problem, Problems, Source},
    provider_keys::{BUDGET, CONCURRENCY, PROVIDERS, budget_of},
    reading::{At, Part, Places, Reading, Step},
    records::AllTests,
    scalar::{DURATION, GiveUp, Integer, Number, SIZE, TEXT},
    suite::Suite,
    table::Table,
    test_keys::{DEFAULTS, LIST, Settings, TEST, TestList, WrittenTest},
};

/// Bytes of a scenario's file. Many tests belong into a list.
const MAX_BYTES: u64 = 16 << 20;
/// Problems of a scenario that are shown.
const MAX_SHOWN: usize = 100;

/// A scenario that was read and checked. Test lists are read by [`crate::resolve`].
#[derive(Debug)]
pub struct Scenario {
    /// `name`, or the file's name without its extension.
    pub name: String,
    /// The file's text, as it is stored with a run.
    pub text: String,
    /// The folder that paths in it are relative to.
    pub folder: PathBuf,
    /// How long a session may take.
    pub timeout: Duration,
    /// `[run]`.
    pub run: RunOptions,
    /// The providers by name, ascending; those of a matrix by its values, the last key changing first. A suite names them
    /// by their index.
    pub providers: Vec<Provider>,
    /// The keys of tests' `meta` by which results are told; none: all.
    pub dimensions: Option<Vec<String>>,
    /// The providers that matrices have made.
    pub(crate) made: Made,
    /// The file as the user named it.
    pub(crate) path: String,
    pub(crate) defaults: Settings,
    pub(crate) tests: Vec<WrittenTest>,
    pub(crate) lists: Vec<TestList>,
}

/// `[run]` of a scenario.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How many attempts run at once; none: the number of cores.
    pub concurrency: Option<u32>,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Micros,
    /// When a session gives up.
    pub fail_fast: FailFast,
    /// Bytes that running attempts may hold together; none: 75 % of what there is.
    pub memory: Option<u64>,
    /// What all providers together may use up of what they measure.
    pub budget: Budgets,
    /// A number that is handed to every provider.
    pub seed: u32,
}

/// Reads and checks a scenario. Opens no list and no plugin; only that they exist is looked at.
///
/// # Errors
///
/// All of its problems.
pub fn load(path: &Path) -> Result<Scenario, Problems> {
    let shown = path.display().to_string();
    let text = read(path, &shown)?;
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&shown, text, &stem, Some(folder))
}

/// Reads a scenario that is stored with a run. No other file is looked at, so it works where the originals are gone.
/// `name` is the run's scenario name.
///
/// # Errors
///
/// Its problems; there are some only if it was changed or is of another version.
pub fn parse_stored(text: &str, name: &str) -> Result<Scenario, Problems> {
    parse("scenario.toml", text.to_owned(), name, None)
}

fn read(path: &Path, shown: &str) -> Result<String, Problem> {
    let cannot =
        |error: io::Error| Problem::of_file(shown, format!("cannot read the scenario: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::of_file(shown, "the scenario has more than 16 MiB")
            .with_help("put its tests into a test list, which can be of any size"));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(shown, 1, error.as_bytes()))
}

/// Says where a text has bytes that are not UTF-8; its first line has this number.
pub(crate) fn not_utf8(path: &str, first_line: usize, bytes: &[u8]) -> Problem {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let (before, after) = bytes.split_at(valid);
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let rest = after
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let source = Source {
        path: path.to_owned(),
        text: String::from_utf8_lossy(&bytes[start..valid + rest.len()]).into_owned(),
        first_line: first_line + before.iter().filter(|byte| **byte == b'\n').count(),
    };
    let at = valid - start;
    let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
    let place = Place::new(&Arc::new(source), span, "not UTF-8 from here");
    Problem::new("the text is not UTF-8").at(place)
}

/// `folder` is where the files that it names are looked for; none for a stored scenario.
fn parse(
    path: &str,
    text: String,
    name: &str,
    folder: Option<PathBuf>,
) -> Result<Scenario, Problems> {
    let mut problems = Vec::new();
    let document = Document::parse(path, &text).map_err(sorted)?;
    let mut root = document.value(&mut problems);
    if root == Value::Object(Map::new()) {
        let empty = Problem::of_file(path, "the scenario is empty").with_help(EXAMPLE);
        return Err(empty.into());
    }
    let mut reading = Reading::new(&document);
    let made = matrix::expand(&mut root, &document, &mut reading);
    problems.append(&mut reading.problems);
    let written = Written {
        document: &document,
        made: &made,
    };
    let mut reading = Reading::new(&written);
    reading.refused_nulls = true;
    reading.folder = folder.as_deref();
    // Values are looked at again below.
    let scenario = SCENARIO.read(&At::ROOT, &mut root.clone(), &mut reading);
    let files = check::check(&root, &mut reading);
    problems.append(&mut reading.problems);
    problems.extend(check::missing_parts(path, &root));
    let providers = scenario.iter().flat_map(|scenario| &scenario.providers);
    problems.extend(providers.flat_map(|provider| needs::never_there(provider, &written)));
    let (true, Some(mut scenario)) = (problems.is_empty(), scenario) else {
        return Err(sorted(problems));
    };
    // The providers of a matrix stand in its order where its table does.
    let place = |provider: &Provider| match made.get(&*provider.name) {
        Some((table, number)) => (table.clone(), *number),
        None => (provider.name.to_string(), 0),
    };
    scenario.providers.sort_by_cached_key(place);
    for (list, files) in scenario.lists.iter_mut().zip(files) {
        list.files = files;
    }
    if scenario.name.is_empty() {
        scenario.name = name.to_owned();
    }
    scenario.made = made;
    scenario.folder = folder.unwrap_or_default();
    scenario.path = path.to_owned();
    scenario.text = text;
    Ok(scenario)
}

/// Sorts problems by their places. A mistake that several checks find is told once.
fn sorted(mut problems: Vec<Problem>) -> Problems {
    let key = |problem: &Problem| {
        let start = problem.places.first().map_or(0, |place| place.span.start);
        (start, problem.message.clone())
    };
    problems.sort_by_cached_key(key);
    problems.dedup_by_key(|problem| key(problem));
    Problems::first(MAX_SHOWN, problems)
}

impl Scenario {
    /// The file as the user named it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The data files of its test lists, for one that was read from its file.
    pub fn list_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let files = self.lists.iter().flat_map(|list| &list.files);
        files.map(|file| self.folder.join(file))
    }

    /// The folders in which globs of its test lists look for files.
    pub fn list_folders(&self) -> Vec<PathBuf> {
        let document = Document::parse(&self.path, &self.text);
        let root = document.map_or(Value::Null, |document| document.value(&mut Vec::new()));
        let lists = root["test_lists"].as_array().into_iter().flatten();
        let globs = lists.filter_map(|list| list["files"].as_array()).flatten();
        let folder = |glob: &Value| {
            let glob = glob.as_str()?;
            let before = &glob[..glob.find(files::is_wildcard)?];
            Some(
                self.folder
                    .join(before.rsplit_once('/').map_or("", |(folder, _)| folder)),
            )
        };
        globs.filter_map(folder).collect()
    }

    /// What was found wrong with providers later, each with its place.
    pub fn provider_problems(&self, found: &[ProviderProblem]) -> Problems {
        let document = Document::parse(&self.path, &self.text).ok();
        let problem = |found: &ProviderProblem| {
            let mut problem = Problem::new(found.message.clone());
            problem.help.clone_from(&found.help);
            if let (Some(document), Some(provider)) =
                (&document, self.providers.get(usize::from(found.provider)))
            {
                let above = ["providers", &provider.name].into_iter();
                let path = above.chain(found.key.split('.'));
                let path: Vec<_> = path.map(|key| Step::Key(key.to_owned())).collect();
                let label = format!("of provider `{}`", provider.name);
                problem.places = self.written(document).places(&path, Part::Value, &label);
            }
            problem
        };
        sorted(found.iter().map(problem).collect())
    }

    /// What was found wrong with tests of its suite later, each with its place. Lists are read again up to the last of
    /// these tests.
    pub fn test_problems(&self, suite: &Suite, found: &[TestProblem]) -> Problems {
        let document = Document::parse(&self.path, &self.text).ok();
        let mut places = HashMap::new();
        if let Some(document) = &document {
            let written = self.written(document);
            let tests = AllTests::new(self, &written);
            places = tests.places_of(suite, found);
        }
        let problem = |(index, found): (usize, &TestProblem)| {
            let mut problem = Problem::new(found.message.clone());
            problem.help.clone_from(&found.help);
            problem.places = places.remove(&index).unwrap_or_default();
            problem
        };
        Problems::first(MAX_SHOWN, found.iter().enumerate().map(problem))
    }

    /// Its text, with the providers that matrices have made.
    pub(crate) fn written<'d>(&'d self, document: &'d Document<'d>) -> Written<'d> {
        Written {
            document,
            made: &self.made,
        }
    }
}

/// Something that is wrong with a test, and that only its provider or a whole file shows.
#[derive(Clone, Debug)]
pub struct TestProblem {
    /// The test's index in the suite.
    pub test: u64,
    /// The test's key, such as `input` or `expect`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Something that is wrong with a provider, and that only its plugin or the environment shows.
#[derive(Clone, Debug)]
pub struct ProviderProblem {
    /// The provider's index.
    pub provider: u16,
    /// The key of its table, such as `plugin` or `grants.secrets`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

const EXAMPLE: &str = r#"a scenario needs a provider and a test, for example:

[providers.echo]
plugin = "bundled:echo"

[[tests]]
id = "greeting"
input = "hello"
expect = { equals = "hello" }"#;

pub(crate) const SCENARIO: Sub<Scenario> = Sub("Top level", scenario);
const RUN: Sub<RunOptions> = Sub("`[run]`", run);

/// Reads all that is in the file; its text, folder and path are added later.
fn scenario(table: &mut Table<'_, '_>) -> Option<Scenario> {
    let name = table.optional("name", &TEXT);
    table.optional("description", &TEXT);
    let minutes = table.or("timeout_minutes", &Number(0.001, 525_600.0), "60");
    let defaults = table.optional("defaults", &DEFAULTS);
    let run = table.optional("run", &RUN);
    let dimensions = table.optional("dimensions", &List(0, TEXT));
    let providers = table.optional("providers", &PROVIDERS);
    let tests = table.optional("tests", &List(0, TEST));
    let lists = table.optional("test_lists", &List(0, LIST));
    Some(Scenario {
        name: name.unwrap_or_default(),
        timeout: Duration::from_secs_f64(minutes * 60.0),
        run: run.unwrap_or_default(),
        providers: providers
            .into_iter()
            .flatten()
            .map(|(_, provider)| provider)
            .collect(),
        dimensions,
        made: Made::new(),
        defaults: defaults.unwrap_or_default(),
        tests: tests.unwrap_or_default(),
        lists: lists.unwrap_or_default(),
        text: String::new(),
        folder: PathBuf::new(),
        path: String::new(),
    })
}

fn run(table: &mut Table<'_, '_>) -> Option<RunOptions> {
    Some(RunOptions {
        budget: budget_of(None, table.optional("budget", &BUDGET)),
        concurrency: table.optional("concurrency", &CONCURRENCY),
        fail_fast: table.or("fail_fast", &GiveUp, "false"),
        memory: table.optional("memory", &SIZE),
        grace: table.or("grace", &DURATION, r#""0s""#),
        seed: table.or("seed", &Integer(0, u32::MAX), "0"),
    })
}
