//! [`Scenario`]: reads its file, and the keys at its top.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runner_model::provider::{Deterministic, InFlight, MountedFolder, Provider};
use runner_model::{
    Budgets, FailFast, Gate, Micros, ScenarioOverrides, Time, globs, grants::FsGrant,
    grants::FsMode, units::show_durations_apart, visible::shown_path,
};
use serde_json::{Map, Value, json};

use crate::keys::{
    BUDGET, CONCURRENCY, DEFAULTS, FilePlace, GATE, GRADERS, KNOWN, LIST, NAME, NOTIFY, NamedFile,
    Notify, PRICES, PROVIDERS, REPORT, SECRET, TEST, TOOLS, TestList, TestSettings, VARS, Vars,
    WrittenKnown, WrittenTest, add_prices, budget_of, check_keys, check_name, files, matrix,
    missing_parts, template_inputs, vars,
};
use crate::problem::{Problem, Problems};
use crate::project::{Project, real_path};
use crate::reading::{
    At, Boolean, DURATION, Document, FailFastForm, FileOwner, Form, Integer, List, MatrixOrigins,
    Number, Reader, SIZE, TEXT, Table, TableForm, Text, Word, file_schema, read_literals,
    read_text,
};
use crate::{stored_files::StoredFiles, suite::selection::Selection};

/// Problems of a scenario that are shown.
pub(crate) const MAX_SHOWN: usize = 100;

/// A valid scenario. [`crate::resolve`] reads its test lists.
#[derive(Debug, Default)]
pub struct Scenario {
    /// `name`, or the file's name without its extension.
    pub name: String,
    pub description: Option<String>,
    /// The file's text with the files that providers name, as it is stored with a run.
    pub text: String,
    /// The file's text, if it differs from `text`.
    pub(crate) written: Option<String>,
    /// The folder that paths are relative to. Empty for a stored scenario.
    pub folder: PathBuf,
    /// The timeout of a session.
    pub timeout: Duration,
    pub run: RunOptions,
    /// The providers by name, ascending, then the tools, then the graders. Providers of a matrix are at the place of its table,
    /// the last key changing first. A suite has their indexes.
    pub providers: Vec<Provider>,
    /// Names of providers that no selected test runs on. They are not in `providers`.
    pub(crate) unused: Vec<String>,
    /// Names of all tools, also of those that no selected provider may call.
    pub(crate) tools: Vec<String>,
    /// Problems of files that a selection may not need.
    missing_files: Vec<(FileOwner, Problem)>,
    /// The keys of `meta` by which reports group results. `None` means all.
    pub dimensions: Option<Vec<String>>,
    /// The values that `{{var.NAME}}` stands for.
    pub vars: Vars,
    /// Messages about grants with variables, if the command line sets variables.
    granted: Vec<String>,
    /// `None` if all trials must pass.
    pub gate: Option<Gate>,
    /// `[known]`, whose lists [`Self::known_list`] reads.
    pub(crate) known: Option<WrittenKnown>,
    /// Names of reports that each session writes into the run's folder. Their extensions are those of the forms.
    pub reports: Vec<String>,
    /// Receivers of a message about the run's end, in addition to those of the results root.
    pub notify: Notify,
    pub(crate) matrix_origins: MatrixOrigins,
    /// The files that providers name.
    pub(crate) files: StoredFiles,
    /// The files that it may read. Empty for a stored scenario.
    pub(crate) project: Project,
    pub(crate) path: String,
    pub(crate) defaults: TestSettings,
    pub(crate) tests: Vec<WrittenTest>,
    pub(crate) lists: Vec<TestList>,
}

impl Scenario {
    /// Removes the providers that are not used. A suite that is resolved or opened later has the indexes of the remaining
    /// providers.
    pub fn keep_providers(&mut self, is_used: impl Fn(&Provider) -> bool) {
        let unused = self.providers.extract_if(.., |provider| !is_used(provider));
        let unused = unused.filter(|provider| provider.tool.is_none());
        self.unused.extend(unused.map(|provider| provider.name.to_string()));
    }

    /// Keeps the providers with these names, in this order: a suite has the indexes of its providers.
    pub fn keep_planned<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let places: HashMap<_, u32> = names.zip(0..).collect();
        self.keep_providers(|provider| places.contains_key(&*provider.name));
        self.providers.sort_by_key(|provider| places.get(&*provider.name).copied());
    }

    /// Replaces the seed, and lowers the limits. [`crate::resolve`] replaces values of tests, and [`load`] variables and
    /// `journal`. Returns a message for each limit that is not lower than before, for each variable that looks like a secret, and for grants that
    /// variables change.
    pub fn override_by(&mut self, overrides: &ScenarioOverrides) -> Vec<String> {
        self.run.seed = overrides.seed.unwrap_or(self.run.seed);
        let mut notices: Vec<_> = vars::secret_warnings(&overrides.vars).collect();
        notices.append(&mut self.granted);
        let own = self.lists.iter().map(|list| &list.settings);
        let own = own.chain(self.tests.iter().map(|test| &test.settings));
        let longer = [&self.defaults].into_iter().chain(own).find_map(|settings| {
            let one = settings.timeout.or(self.defaults.timeout)?;
            let all = settings.trial_timeout.or(self.defaults.trial_timeout)?;
            (one > all).then(|| show_durations_apart(one.into(), all.into()))
        });
        notices.extend(longer.map(|[one, all]| {
            format!("a `timeout` of {one} has no effect where `trial_timeout` is {all}")
        }));
        for bound in &overrides.limits {
            let lowered = self
                .providers
                .iter_mut()
                .filter_map(|provider| bound.lower(&mut provider.limits).then_some(()));
            if lowered.count() == 0 {
                notices.push(format!(
                    "`--limit {bound}` has no effect: no provider has a higher limit"
                ));
            }
        }
        notices
    }

    /// Returns a message for each file that an optional list lacks.
    pub fn optional_files(&self) -> Vec<String> {
        let missing = self.missing_files.iter().filter(|(owner, _)| *owner == FileOwner::Optional);
        missing.map(|(_, problem)| problem.message.clone()).collect()
    }

    /// Returns the problems of files that the providers name, without those of removed providers. Files of tests are read by
    /// [`crate::resolve`].
    pub fn missing_files(&self) -> Problems {
        let used = self.missing_files.iter().filter(|(owner, _)| {
            self.providers.iter().any(
                |provider| matches!(owner, FileOwner::Provider(name) if *name == *provider.name),
            )
        });
        sorted(used.map(|(_, problem)| problem.clone()).collect())
    }
}

/// `[run]` of a scenario.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Attempts that may run at once. `None` means the number of cores, and at least 16 with `net` grants.
    pub concurrency: Option<u32>,
    /// Time for guests to stop before they are interrupted.
    pub grace: Micros,
    pub fail_fast: FailFast,
    /// Bytes for all running attempts. `None` means 75 % of the machine's memory.
    pub memory: Option<u64>,
    /// Limits on the metrics that all providers report, summed.
    pub budget: Budgets,
    /// A number that every provider receives.
    pub seed: u32,
    /// Files and folders outside of the project that the scenario may read, relative to its folder.
    pub reads: Vec<String>,
    /// `None` if guests see the machine's clocks and random numbers.
    pub deterministic: Option<Deterministic>,
    /// Name of the secret that the random numbers of deterministic graders depend on.
    pub judge_seed: Option<String>,
}

/// Reads and checks a scenario. Checks that lists and plugins exist, but opens none.
///
/// # Errors
///
/// All of its problems.
pub fn load(path: &Path, overrides: &ScenarioOverrides) -> Result<Scenario, Problems> {
    load_file(path, overrides, None)
}

/// Reads and checks a scenario of which only some tests run. [`Scenario::missing_files`] returns the problems of files that its
/// providers name. A list may be missing if `--provider` leaves out all of its providers: only its records could name others.
///
/// # Errors
///
/// All other problems.
pub fn load_selected(path: &Path, selection: &Selection) -> Result<Scenario, Problems> {
    load_file(path, &selection.selected.overrides, Some(selection))
}

fn load_file(
    path: &Path,
    overrides: &ScenarioOverrides,
    selection: Option<&Selection>,
) -> Result<Scenario, Problems> {
    let shown = path.to_string_lossy().into_owned();
    let help = "put its tests into a test list, which can be of any size";
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // A message about an invalid file shows lines of it.
    let is_link = path.is_symlink() && !path.starts_with("/dev") && !path.starts_with("/proc");
    if is_link && let Err(refusal) = Project::new(&folder, &Value::Null).check_read(path) {
        let problem = Problem::for_file(&shown, format!("the scenario {}", refusal.reason));
        return Err(problem.with_help("if you trust this file, name it by that path").into());
    }
    let text = read_text(path, &shown, "scenario", help)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&shown, text, &stem, overrides, Some(folder), selection)
}

/// Reads a scenario that is stored with a run, whose name is `name`. Uses no other file, since the originals may be gone.
///
/// # Errors
///
/// Problems of a text that was edited or is of another version.
pub fn parse_stored(
    text: &str,
    name: &str,
    overrides: &ScenarioOverrides,
) -> Result<Scenario, Problems> {
    parse("scenario.toml", text.to_owned(), name, overrides, None, None)
}

/// Parses a scenario. `folder` is `None` for a stored one, and `selection` if all files must exist.
fn parse(
    path: &str,
    text: String,
    name: &str,
    overrides: &ScenarioOverrides,
    folder: Option<PathBuf>,
    selection: Option<&Selection>,
) -> Result<Scenario, Problems> {
    let mut problems = Vec::new();
    let document = Document::parse(path, &text).map_err(sorted)?;
    let mut root = document.value(&mut problems);
    if root == Value::Object(Map::new()) {
        let empty = Problem::for_file(path, "the scenario is empty").with_help(EXAMPLE);
        return Err(empty.into());
    }
    let mut reader = Reader::new(&document);
    // TOML has no null. Each is a number that was reported above, or a placeholder of an invalid matrix.
    reader.refused_nulls = true;
    if folder.is_none() {
        reader.files = StoredFiles::take(&mut root);
    }
    if overrides.journal
        && let Some(root) = root.as_object_mut()
        && let Some(run) = root.entry("run").or_insert_with(|| json!({})).as_object_mut()
    {
        run.insert("journal".to_owned(), true.into());
    }
    let (vars, granted) = vars::fill(&mut root, &overrides.vars, &mut reader);
    let project = folder.as_deref().map(|folder| Project::new(folder, &root));
    reader.project = project.as_ref();
    let expanded = matrix::expand(&mut root, &document, &mut reader);
    let matrix_origins = document.matrix_origins.get_or_init(|| expanded);
    read_literals(&mut root, &mut reader);
    // Reading takes values out, and the checks below need them.
    let scenario = SCENARIO.read(&At::ROOT, &mut root.clone(), &mut reader);
    check_keys(&root, &mut reader);
    problems.append(&mut reader.problems);
    problems.extend(missing_parts(path, &root));
    if project.is_some() && root.get("name").is_none() {
        problems.extend(check_name(name).err().map(|_| {
            let message =
                format!("a scenario's name must be {}, unlike that of the file", NAME.words);
            Problem::for_file(path, message).with_help("rename the file, or add a `name`")
        }));
    }
    for provider in scenario.iter().flat_map(|scenario| &scenario.providers) {
        problems.extend(template_inputs::check_templates(provider, &document));
    }
    let is_valid = problems.is_empty();
    let required = reader.missing_files.extract_if(.., |(owner, _)| match (owner, selection) {
        (FileOwner::Optional, _) => false,
        (_, None) => true,
        (FileOwner::List(index), Some(selection)) => scenario
            .as_ref()
            .filter(|_| is_valid)
            .is_none_or(|scenario| selection.may_use(&scenario.lists[*index], &scenario.providers)),
        (FileOwner::Provider(_) | FileOwner::Tests, Some(_)) => false,
    });
    problems.extend(required.map(|(_, problem)| problem));
    let (true, Some(mut scenario)) = (problems.is_empty(), scenario) else {
        return Err(sorted(problems));
    };
    scenario.missing_files = reader.missing_files;
    scenario.files = reader.files;
    const TABLES: [&str; 3] = ["providers", "tools", "graders"];
    let written = TABLES.map(|table| {
        document.keys_in_order(&[table]).into_iter().zip(0..).collect::<HashMap<_, u32>>()
    });
    scenario.providers.sort_by_cached_key(|provider| {
        let role = TABLES.iter().position(|table| *table == provider.table()).unwrap_or_default();
        let origin = matrix_origins.get(&*provider.name);
        let (table, index) =
            origin.map_or((&*provider.name, 0), |(table, index)| (&**table, *index));
        (role, written[role].get(table).copied(), index)
    });
    if scenario.name.is_empty() {
        scenario.name = name.to_owned();
    }
    (scenario.vars, scenario.granted) = (vars, granted);
    scenario.matrix_origins = matrix_origins.clone();
    scenario.project = project.unwrap_or_default();
    scenario.folder = folder.unwrap_or_default();
    scenario.path = path.to_owned();
    (scenario.text, scenario.written) = match scenario.files.added_to(&text) {
        Some(stored) if !scenario.folder.as_os_str().is_empty() => (stored, Some(text)),
        _ => (text, None),
    };
    Ok(scenario)
}

/// Sorts problems by their places, and removes duplicates of several checks.
pub(crate) fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_cached_key(sort_key);
    problems.dedup_by_key(|problem| sort_key(problem));
    Problems::first(MAX_SHOWN, problems)
}

fn sort_key(problem: &Problem) -> (usize, String) {
    let start = problem.places.first().map_or(0, |place| place.span.start);
    (start, problem.message.clone())
}

impl Scenario {
    /// Returns a line for each granted folder, each entry of `reads`, each webhook, and the secret of `judge_seed`: the text of a
    /// scenario does not show where its paths lead. `mounts` are the roles, names and folders of providers, and `folder` is that of the
    /// scenario's file.
    pub fn access<'m>(
        &self,
        folder: &Path,
        mounts: impl IntoIterator<Item = (&'m str, &'m str, &'m [MountedFolder])>,
    ) -> Vec<String> {
        let granted = mounts.into_iter().flat_map(|(role, name, mounts)| {
            mounts.iter().map(move |MountedFolder { host, guest, mode, .. }| {
                let verb = match mode {
                    FsMode::ReadOnly => "reads",
                    FsMode::ReadWrite => "reads and writes",
                };
                format!("{role} `{name}` {verb} the folder `{host}` as `{guest}`")
            })
        });
        let reads = self.run.reads.iter().map(|entry| {
            let path = folder.join(entry);
            let real = path.canonicalize().unwrap_or(path);
            format!("the scenario reads `{}`", shown_path(&real))
        });
        let lists = self.lists.iter().filter_map(|list| list.plugin.as_ref());
        let lists = lists.flat_map(|plugin| plugin.grants.fs.iter().map(move |fs| (plugin, fs)));
        let lists = lists.map(|(Provider { plugin, .. }, FsGrant { path, mount, .. })| {
            let path = folder.join(path);
            let real = path.canonicalize().unwrap_or(path);
            let host = shown_path(&real);
            format!("test list `{plugin}` reads the folder `{host}` as `{mount}`")
        });
        let webhooks = self.notify.webhooks.iter().map(ToString::to_string);
        let webhooks = webhooks.collect::<BTreeSet<_>>();
        let seed = self.run.judge_seed.as_ref();
        let seed = seed.map(|name| format!("judges' random numbers use the secret `{name}`"));
        granted.chain(lists).chain(reads).chain(webhooks).chain(seed).collect()
    }

    /// Returns the file as the user named it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the data files of its test lists. Empty for a stored scenario.
    pub fn list_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.lists.iter().flat_map(|list| &list.files).map(|file| self.folder.join(file))
    }

    /// Returns the files of its matrices. Empty for a stored scenario.
    pub fn matrix_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.files.globs.values().flatten().map(|file| self.folder.join(file))
    }

    /// Returns the files that it was read and resolved from, and the folders that its globs search, also missing ones.
    pub fn inputs(&self) -> BTreeSet<PathBuf> {
        let checked = self.project.checked().into_keys();
        checked.chain([PathBuf::from(&self.path)]).collect()
    }

    /// Returns the files that must not become golden files, because it was read and resolved from them, and its plugins.
    pub fn protected_files(&self) -> BTreeSet<PathBuf> {
        let checked = self.project.checked().into_iter().filter(|(_, is_input)| *is_input);
        let plugins = self.plugins().map(|plugin| self.folder.join(plugin));
        let own = PathBuf::from(&self.path);
        let files = checked.map(|(path, _)| path).chain(plugins).chain([own]);
        // The name of a link is as protected as the file.
        files.flat_map(|path| [path.canonicalize().ok(), Some(path)]).flatten().collect()
    }

    /// Returns the folders that the globs of its test lists, known failures and matrices search.
    pub fn searched_folders(&self) -> Vec<PathBuf> {
        let mut globs = self.project.globs();
        globs.retain(|glob| glob.contains(files::is_wildcard));
        globs.iter().map(|glob| self.folder.join(files::searched(glob))).collect()
    }

    /// Returns a function that returns whether such a glob matches a file, which need not exist.
    pub(crate) fn searched_files(&self) -> impl Fn(&Path) -> bool {
        let globs = self.project.globs().into_iter().map(|glob| {
            let searched = files::searched(&glob);
            let pattern = glob.strip_prefix(searched).filter(|pattern| !pattern.is_empty());
            (
                real_path(&self.folder.join(searched)),
                pattern.map(|pattern| globs::over_files(&[pattern])),
            )
        });
        let globs: Vec<_> = globs.collect();
        move |path| {
            let real = real_path(path);
            globs.iter().any(|(root, pattern)| match (real.strip_prefix(root), pattern) {
                (Ok(inside), Some(pattern)) => {
                    pattern.as_ref().is_ok_and(|pattern| pattern.is_match(inside))
                }
                (Ok(inside), None) => inside == Path::new(""),
                (Err(_), _) => false,
            })
        }
    }

    /// Parses its text again, for places.
    pub(crate) fn document(&self) -> Result<Document<'_>, Vec<Problem>> {
        let text = self.written.as_ref().unwrap_or(&self.text);
        let document = Document::parse(&self.path, text)?;
        document.matrix_origins.get_or_init(|| self.matrix_origins.clone());
        Ok(document)
    }
}

const EXAMPLE: &str = r#"a scenario needs a provider and a test, for example:

[providers.echo]
plugin = "bundled:echo"

[[tests]]
id = "greeting"
input = "hello"
expect = { equals = "hello" }"#;

pub(crate) const SCENARIO: TableForm<Scenario> = TableForm("Top level", scenario);
const RUN: TableForm<RunOptions> = TableForm("`[run]`", run);
/// 2554-01-01 in milliseconds since 1970.
const MAX_CLOCK: i64 = 18_429_379_200_000;
const CLOCK: Text<Time> = Text {
    words: "a time with an offset in the years 1970 to 2553",
    example: " such as 2020-01-01T00:00:00Z",
    schema: r#"{"title": "time", "type": "string", "format": "date-time", "examples": ["2020-01-01T00:00:00Z"]}"#,
    // Clocks of preview 1 count nanoseconds in 64 bits.
    parse: |text| {
        let time = Time::parse(text).filter(|time| time.as_millis() < MAX_CLOCK);
        time.ok_or_else(|| format!("this is `{text}`"))
    },
};
const IN_FLIGHT: Word<InFlight> =
    Word(|| InFlight::ALL.iter().map(|word| word.as_str()).collect(), InFlight::parse);
const READS: NamedFile = NamedFile("path", |_| true, FilePlace::Stated);

/// Returns the JSON Schema of a scenario.
pub fn schema() -> Value {
    let mut schema = file_schema(&SCENARIO, "A scenario of `runner`");
    schema["description"] = json!("Tests, the providers they run on, and the expected outputs.");
    schema
}

/// Reads the keys at the top. The caller adds text, folder and path.
fn scenario(table: &mut Table<'_, '_>) -> Option<Scenario> {
    let name = table.optional("name", &NAME).unwrap_or_default();
    let description = table.optional("description", &TEXT);
    table.optional("vars", &VARS);
    let gate = table.optional("gate", &GATE);
    let minutes = table.or("timeout_minutes", &Number(0.001, 525_600.0), "60");
    let providers = [table.optional("providers", &PROVIDERS), table.optional("graders", &GRADERS)];
    let providers = providers.into_iter().flatten().flatten();
    let mut providers: Vec<_> = providers.map(|(_, provider)| provider).collect();
    add_prices(&mut providers, table.optional("prices", &PRICES).unwrap_or_default());
    let defaults = table.optional("defaults", &DEFAULTS).unwrap_or_default();
    let run = table.optional("run", &RUN).unwrap_or_default();
    let tools = table.optional("tools", &TOOLS).unwrap_or_default();
    let names = tools.iter().map(|(_, tool)| tool.name.to_string()).collect();
    providers.extend(tools.into_iter().map(|(_, tool)| tool));
    for provider in &mut providers {
        provider.deterministic = run.deterministic;
    }
    Some(Scenario {
        name,
        description,
        providers,
        timeout: Duration::from_secs_f64(minutes * 60.0),
        defaults,
        run,
        gate,
        known: table.optional("known", &KNOWN),
        reports: table.optional("report", &REPORT).unwrap_or_default(),
        notify: table.optional("notify", &NOTIFY).unwrap_or_default(),
        tools: names,
        dimensions: table.optional("dimensions", &List(0, TEXT)),
        tests: table.optional("tests", &List(0, TEST)).unwrap_or_default(),
        lists: table.optional("test_lists", &List(0, LIST)).unwrap_or_default(),
        ..Scenario::default()
    })
}

const JUDGE_SEED: TableForm<String> =
    TableForm("`judge_seed` of `[run]`", |table| table.required("secret", &SECRET));

fn run(table: &mut Table<'_, '_>) -> Option<RunOptions> {
    let is_deterministic = table.or("deterministic", &Boolean, "false");
    let has_journal = table.or("journal", &Boolean, "false");
    let in_flight = table.or("in_flight", &IN_FLIGHT, r#""send-again""#);
    let clock = table.optional("clock", &CLOCK);
    let journal = has_journal.then_some(in_flight);
    Some(RunOptions {
        budget: budget_of(None, table.optional("budget", &BUDGET)),
        concurrency: table.optional("concurrency", &CONCURRENCY),
        fail_fast: table.or("fail_fast", &FailFastForm, "false"),
        memory: table.optional("memory", &SIZE),
        grace: table.or("grace", &DURATION, r#""0s""#),
        seed: table.or("seed", &Integer(0, u32::MAX), "0"),
        reads: table.or("reads", &List(0, READS), "[]"),
        deterministic: (is_deterministic || has_journal)
            .then_some(Deterministic { clock, journal }),
        judge_seed: table.optional("judge_seed", &JUDGE_SEED),
    })
}
