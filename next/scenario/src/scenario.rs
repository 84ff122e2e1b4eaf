//! [`Scenario`]: reading its file, and the keys at its top.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runner_model::{Micros, ProviderName, provider::Provider};
use serde_json::Value;

use crate::{
    check,
    document::Document,
    form::{Form, List, Sub},
    problem::{Place, Problem, Problems, Source},
    provider_keys::{CONCURRENCY, PROVIDERS, WrittenProvider, named},
    reading::{At, Places, Reading},
    scalar::{Count, DURATION, Number, TEXT},
    table::Table,
    test_keys::{DEFAULTS, LIST, Settings, TEST, WrittenList, WrittenTest},
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
    /// The providers by name, ascending. A suite names them by their index.
    pub providers: Vec<Provider>,
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
    /// A number that is handed to every provider.
    pub seed: u32,
}

/// A test list and its files, relative to the scenario. A stored scenario has no files.
#[derive(Debug)]
pub(crate) struct TestList {
    pub(crate) written: WrittenList,
    pub(crate) files: Vec<String>,
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
    let cannot = |error: std::io::Error| {
        Problem::of_file(shown, format!("cannot read the scenario: {error}"))
    };
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
    let start = bytes[..valid]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let end = bytes[valid..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |at| valid + at);
    let lines = bytes[..start].iter().filter(|byte| **byte == b'\n').count();
    let place = Place {
        source: Arc::new(Source {
            path: path.to_owned(),
            text: String::from_utf8_lossy(&bytes[start..end]).into_owned(),
            first_line: first_line + lines,
        }),
        span: valid - start..valid - start + char::REPLACEMENT_CHARACTER.len_utf8(),
        label: "not UTF-8 from here".to_owned(),
    };
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
    let document = Document::parse(path, &text).map_err(finish)?;
    let root = document.value(&mut problems);
    if root.as_object().is_some_and(|root| root.is_empty()) {
        let empty = Problem::of_file(path, "the scenario is empty").with_help(EXAMPLE);
        return Err(empty.into());
    }
    let mut reading = Reading {
        refused_nulls: true,
        ..Reading::default()
    };
    let written = SCENARIO.read(&At::ROOT, &root, &mut reading);
    problems.extend(check::missing_parts(path, &root));
    let files = check::check(&root, folder.as_deref(), &mut reading);
    problems.extend(
        reading
            .findings
            .into_iter()
            .map(|finding| document.locate(finding)),
    );
    let (true, Some(written)) = (problems.is_empty(), written) else {
        return Err(finish(problems));
    };
    drop(document);
    let lists = written.lists.into_iter().zip(files);
    Ok(Scenario {
        name: written.name.unwrap_or_else(|| name.to_owned()),
        text,
        folder: folder.unwrap_or_default(),
        timeout: Duration::from_secs_f64(written.timeout_minutes * 60.0),
        run: written.run,
        providers: named(written.providers),
        path: path.to_owned(),
        defaults: written.defaults,
        tests: written.tests,
        lists: lists
            .map(|(written, files)| TestList { written, files })
            .collect(),
    })
}

/// Sorts problems by their places. A mistake that several checks find is told once.
fn finish(mut problems: Vec<Problem>) -> Problems {
    let key = |problem: &Problem| {
        let start = problem.places.first().map_or(0, |place| place.span.start);
        (start, problem.message.clone())
    };
    problems.sort_by_cached_key(key);
    problems.dedup_by_key(|problem| key(problem));
    let total = problems.len();
    problems.truncate(MAX_SHOWN);
    Problems::new(problems, total)
}

const EXAMPLE: &str = r#"a scenario needs a provider and a test, for example:

[providers.echo]
plugin = "bundled:echo"

[[tests]]
id = "greeting"
input = "hello"
expect = { equals = "hello" }"#;

/// A scenario as it is written.
pub(crate) struct WrittenScenario {
    name: Option<String>,
    timeout_minutes: f64,
    defaults: Settings,
    run: RunOptions,
    providers: BTreeMap<ProviderName, WrittenProvider>,
    tests: Vec<WrittenTest>,
    lists: Vec<WrittenList>,
}

pub(crate) const SCENARIO: Sub<WrittenScenario> = Sub("Top level", scenario);
const RUN: Sub<RunOptions> = Sub("`[run]`", run);

fn scenario(table: &mut Table<'_>) -> Option<WrittenScenario> {
    let name = table.optional(
        "name",
        &TEXT,
        "The scenario's name. Default: the file's name without its extension.",
    );
    table.optional("description", &TEXT, "What the scenario is for.");
    Some(WrittenScenario {
        name,
        timeout_minutes: table.or(
            "timeout_minutes",
            &Number {
                min: 0.001,
                max: 525_600.0,
            },
            "60",
            "How long the whole run may take, in minutes.",
        ),
        defaults: table
            .optional(
                "defaults",
                &DEFAULTS,
                "What holds for every test that does not say otherwise.",
            )
            .unwrap_or_default(),
        run: table
            .optional("run", &RUN, "How trials are run.")
            .unwrap_or_default(),
        providers: table
            .optional(
                "providers",
                &PROVIDERS,
                "The providers that tests run on, by name. At least one.",
            )
            .unwrap_or_default(),
        tests: table
            .optional(
                "tests",
                &List::of(TEST),
                "Tests. At least one, or a test list.",
            )
            .unwrap_or_default(),
        lists: table
            .optional("test_lists", &List::of(LIST), "Data files that hold tests.")
            .unwrap_or_default(),
    })
}

fn run(table: &mut Table<'_>) -> Option<RunOptions> {
    Some(RunOptions {
        concurrency: table.optional(
            "concurrency",
            &CONCURRENCY,
            "How many attempts run at once. Default: the number of cores.",
        ),
        grace: table.or(
            "grace",
            &DURATION,
            r#""0s""#,
            "How long providers are asked to stop before they are interrupted.",
        ),
        seed: table.or(
            "seed",
            &Count {
                min: 0,
                max: u32::MAX,
            },
            "0",
            "A number that is handed to every provider.",
        ),
    })
}

/// The items of an array at the top of a scenario.
pub(crate) fn items<'v>(root: &'v Value, key: &str) -> &'v [Value] {
    root.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
