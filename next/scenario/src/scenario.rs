//! [`Scenario`]: reading its file, and the keys at its top.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_model::{Budgets, FailFast, Micros, provider::Provider};
use serde_json::{Map, Value};

use crate::{
    check,
    document::{Document, Made},
    files,
    form::{Form, List, Sub},
    matrix,
    problem::{Place, Problem, Problems, Source, line_breaks},
    provider_keys::{BUDGET, CONCURRENCY, PROVIDERS, budget_of},
    reading::{At, Part, Places, Reading, keys},
    records::AllTests,
    scalar::{DURATION, GiveUp, Integer, Number, SIZE, TEXT},
    suite::Suite,
    table::Table,
    template_inputs,
    test_keys::{DEFAULTS, LIST, TEST, TestList, TestSettings, WrittenTest},
};

/// Bytes of a text that is read as a whole, and of a record, so that they take little memory whatever is in them.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
/// Problems of a scenario that are shown.
const MAX_SHOWN: usize = 100;

/// A scenario that was read and checked. Test lists are read by [`crate::resolve`].
#[derive(Debug, Default)]
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
    pub(crate) defaults: TestSettings,
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
    let help = "put its tests into a test list, which can be of any size";
    let text = read_text(path, &shown, "scenario", help)?;
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

/// Reads a text as a whole. `noun` is what it is, `shown` its path for people, and `help` what to do if it is too large.
pub(crate) fn read_text(
    path: &Path,
    shown: &str,
    noun: &str,
    help: &str,
) -> Result<String, Problem> {
    let cannot =
        |error: io::Error| Problem::of_file(shown, format!("cannot read the {noun}: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    let mut file = file.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the {noun} has more than 16 MiB");
        return Err(Problem::of_file(shown, message).with_help(help));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(shown, 1, error.as_bytes()))
}

/// Says where a text has bytes that are not UTF-8; its first line has this number.
pub(crate) fn not_utf8(path: &str, first_line: usize, bytes: &[u8]) -> Problem {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let (before, after) = bytes.split_at(valid);
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[start..valid + rest.len()]);
    let source = Source::new(path, &text, first_line + line_breaks(before));
    let at = valid - start;
    let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
    let place = Place::new(&source, span, "not UTF-8 from here");
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
    let mut document = Document::parse(path, &text).map_err(sorted)?;
    let mut root = document.value(&mut problems);
    if root == Value::Object(Map::new()) {
        let empty = Problem::of_file(path, "the scenario is empty").with_help(EXAMPLE);
        return Err(empty.into());
    }
    let mut reading = Reading::new(&document);
    let made = matrix::expand(&mut root, &document, &mut reading);
    problems.append(&mut reading.problems);
    document.made = made;
    let mut reading = Reading::new(&document);
    reading.refused_nulls = true;
    reading.folder = folder.as_deref();
    // Values are looked at again below.
    let scenario = SCENARIO.read(&At::ROOT, &mut root.clone(), &mut reading);
    check::check(&root, &mut reading);
    problems.append(&mut reading.problems);
    problems.extend(check::missing_parts(path, &root));
    let providers = scenario.iter().flat_map(|scenario| &scenario.providers);
    problems
        .extend(providers.flat_map(|provider| template_inputs::never_there(provider, &document)));
    let (true, Some(mut scenario)) = (problems.is_empty(), scenario) else {
        return Err(sorted(problems));
    };
    // The providers of a matrix stand in its order where its table does.
    let place = |provider: &Provider| match document.made.get(&*provider.name) {
        Some((table, number)) => (table.clone(), *number),
        None => (provider.name.to_string(), 0),
    };
    scenario.providers.sort_by_cached_key(place);
    if scenario.name.is_empty() {
        scenario.name = name.to_owned();
    }
    scenario.made = document.made;
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
            Some(self.folder.join(before.rsplit_once('/').map_or("", |(folder, _)| folder)))
        };
        globs.filter_map(folder).collect()
    }

    /// What was found wrong with providers later, each with its place.
    pub fn provider_problems(&self, found: &[ProviderProblem]) -> Problems {
        let document = self.document().ok();
        let problem = |found: &ProviderProblem| {
            let mut places = Vec::new();
            if let (Some(document), Some(provider)) =
                (&document, self.providers.get(usize::from(found.provider)))
            {
                let above = ["providers", &provider.name].into_iter();
                let path = keys(above.chain(found.key.split('.')));
                let label = format!("of provider `{}`", provider.name);
                places = document.places(&path, Part::Value, &label);
            }
            let (message, help) = (found.message.clone(), found.help.clone());
            Problem { message, places, help }
        };
        sorted(found.iter().map(problem).collect())
    }

    /// What was found wrong with tests of its suite later, each with its place. Lists are read again up to the last of
    /// these tests.
    pub fn test_problems(&self, suite: &Suite, found: &[TestProblem]) -> Problems {
        let mut places = match self.document() {
            Ok(document) => AllTests::new(self, &document).places_of(suite, found),
            Err(_) => HashMap::new(),
        };
        let problem = |(index, found): (usize, &TestProblem)| Problem {
            message: found.message.clone(),
            places: places.remove(&index).unwrap_or_default(),
            help: found.help.clone(),
        };
        Problems::first(MAX_SHOWN, found.iter().enumerate().map(problem))
    }

    /// Its text, with the providers that matrices have made.
    pub(crate) fn document(&self) -> Result<Document<'_>, Vec<Problem>> {
        let mut document = Document::parse(&self.path, &self.text)?;
        document.made.clone_from(&self.made);
        Ok(document)
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
    let name = table.optional("name", &TEXT).unwrap_or_default();
    table.optional("description", &TEXT);
    let minutes = table.or("timeout_minutes", &Number(0.001, 525_600.0), "60");
    let providers = |named: Vec<(_, Provider)>| named.into_iter().map(|(_, provider)| provider);
    Some(Scenario {
        name,
        timeout: Duration::from_secs_f64(minutes * 60.0),
        defaults: table.optional("defaults", &DEFAULTS).unwrap_or_default(),
        run: table.optional("run", &RUN).unwrap_or_default(),
        dimensions: table.optional("dimensions", &List(0, TEXT)),
        providers: providers(table.optional("providers", &PROVIDERS).unwrap_or_default()).collect(),
        tests: table.optional("tests", &List(0, TEST)).unwrap_or_default(),
        lists: table.optional("test_lists", &List(0, LIST)).unwrap_or_default(),
        ..Scenario::default()
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
