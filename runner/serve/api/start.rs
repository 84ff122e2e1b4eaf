//! Starting runs: of scenarios below the folders that the server was given, and of nothing else.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    actions::{Silent, actor, begun, planned, priority},
    route::ApiAnswer,
};
use crate::serve::{
    request::{NoQuery, filter},
    server::Server,
};
use crate::{
    error::{Error, ExitStatus},
    record::{KnownRequest, RunId, is_run},
    scenario::{REPEATS, RunOptions, Selection},
    serve::problem::HttpProblem,
    session::{self, AddedRequest, DetachedStart, Start, Validated},
    view::{BegunRun, DocumentVersion, FoundScenario, QueuedRun, ScenarioList, StartPlan},
};

/// How many scenarios are listed, and how deep folders are looked into.
const MAX_SCENARIOS: usize = 500;
const MAX_DEPTH: usize = 4;

/// What is started.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    /// The scenario's path below one of the server's folders, as `/api/v1/scenarios` lists it.
    scenario: String,
    /// Only tests whose id matches one of these globs.
    #[serde(default)]
    tests: Vec<String>,
    /// Only providers whose name matches one of these globs.
    #[serde(default)]
    providers: Vec<String>,
    /// Only tests with one of these tags.
    #[serde(default)]
    tags: Vec<String>,
    /// No tests whose id matches one of these globs.
    #[serde(default)]
    exclude: Vec<String>,
    /// Only trials that this filter means.
    #[serde(default)]
    filter: Option<String>,
    /// How often each test runs.
    #[serde(default)]
    repeat: Option<u32>,
    /// What holds instead of what the scenario says: flags of `runner exec` without their dashes, with their values, such as
    /// `{"jobs": "4", "timeout-minutes": "10"}`.
    #[serde(default)]
    overrides: BTreeMap<String, Value>,
    /// Who asks.
    #[serde(default)]
    by: Option<String>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
    /// Whether it waits in the queue of the results root until there is room.
    #[serde(default)]
    queue: bool,
    /// Of what waits in the queue, what has the greater one comes first.
    #[serde(default)]
    priority: Option<i64>,
}

pub(super) fn start(
    server: &Server,
    (): &(),
    body: &StartBody,
    key: Option<&str>,
) -> Result<ApiAnswer<BegunRun>, HttpProblem> {
    let request = body.request(server)?;
    let actor = actor(server, body.by.as_deref(), body.reason.as_deref())?;
    let priority = priority(body.queue, body.priority)?;
    if body.queue {
        let host = &server.host;
        let asked = (&actor, key);
        return match session::enqueue_once(&request, priority, asked, host, &mut Silent)? {
            AddedRequest::Added(queued) => Ok(waits(queued.request)),
            AddedRequest::Known(known) => known_answer(known),
        };
    }
    let started = session::start_detached(&request, &actor, key, &server.host);
    match started.map_err(|error| refused(&request, server, error))? {
        DetachedStart::Known(known) => known_answer(known),
        started => Ok(created(&begun(started)?)),
    }
}

/// A run that has begun.
fn created(run: &RunId) -> ApiAnswer<BegunRun> {
    ApiAnswer {
        location: Some(format!("/api/v1/runs/{run}")),
        ..ApiAnswer::with(StatusCode::CREATED, BegunRun::new(run))
    }
}

fn waits(request: QueuedRun) -> ApiAnswer<BegunRun> {
    ApiAnswer::with(StatusCode::ACCEPTED, BegunRun::queued(request))
}

/// The answer to a request that is sent again: the same, as things stand now.
fn known_answer(known: KnownRequest) -> Result<ApiAnswer<BegunRun>, HttpProblem> {
    match known {
        KnownRequest::Run(run) => Ok(created(&run)),
        KnownRequest::Queued(request) => Ok(waits(QueuedRun::idle(&request))),
        KnownRequest::Starting => {
            Err(HttpProblem::conflict("the request with this key is being carried out").retrying())
        }
    }
}

/// Why no run begins. Where that is the scenario, it is said with the places in it, which the words of a process have not.
fn refused(request: &Start, server: &Server, error: Error) -> HttpProblem {
    if error.status == ExitStatus::Usage
        && let Err(known) = session::preview_start(request, &server.host, &mut Silent)
    {
        return known.into();
    }
    error.into()
}

pub(super) fn plan(
    server: &Server,
    (): &(),
    body: &StartBody,
) -> Result<ApiAnswer<StartPlan>, HttpProblem> {
    let request = body.request(server)?;
    let preview = session::preview_start(&request, &server.host, &mut Silent)?;
    planned(server, &preview)
}

impl StartBody {
    /// What is asked for, as a use case takes it.
    fn request(&self, server: &Server) -> Result<Start, HttpProblem> {
        let scenario = below(&server.scenarios, &self.scenario)?;
        Ok(Start {
            selection: self.selection()?,
            overrides: self.overrides()?,
            ..Start::new(scenario, server.root.clone())
        })
    }

    /// What is selected, as far as it can be known that it is valid.
    fn selection(&self) -> Result<Selection, HttpProblem> {
        if let Some(repeat) = self.repeat.filter(|repeat| !REPEATS.contains(repeat)) {
            let (least, most) = (REPEATS.start(), REPEATS.end());
            return Err(HttpProblem::bad_request(format!(
                "`repeat`: {repeat} is not in {least}..={most}"
            )));
        }
        Ok(Selection {
            tests: self.tests.clone(),
            providers: self.providers.clone(),
            tags: self.tags.clone(),
            exclude: self.exclude.clone(),
            filter: filter(self.filter.as_deref())?,
            repeat: self.repeat,
            shard: None,
        })
    }

    fn overrides(&self) -> Result<RunOptions, HttpProblem> {
        let mut options = RunOptions::default();
        for (name, value) in self.named_overrides() {
            let option = RunOptions::TABLE
                .iter()
                .find(|option| option.flag.as_ref().is_some_and(|flag| flag.long == name));
            let option = option.ok_or_else(|| {
                let flags = RunOptions::TABLE.iter();
                let known = flags.filter_map(|option| option.flag.as_ref());
                let known: Vec<_> = known.map(|flag| format!("`{}`", flag.long)).collect();
                HttpProblem::bad_request(format!("`overrides` has no key `{name}`"))
                    .with_help(format!("there is {}", known.join(", ")))
            })?;
            option.parse(&mut options, &value).map_err(|error| {
                HttpProblem::bad_request(format!("`overrides`: `{name}`: {error}"))
            })?;
        }
        Ok(options)
    }

    fn named_overrides(&self) -> impl Iterator<Item = (&str, String)> {
        self.overrides.iter().map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.as_str(), text)
        })
    }
}

/// The file that a path below one of these folders means; links do not lead out of them.
fn below(folders: &[PathBuf], path: &str) -> Result<PathBuf, HttpProblem> {
    let unknown = || {
        HttpProblem::not_found(format!("no scenario `{path}`"))
            .with_help("`/api/v1/scenarios` lists those that the server was started with")
    };
    let relative = Path::new(path);
    let is_plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || path.is_empty() || path.contains('\0') {
        return Err(unknown());
    }
    let mut found = folders.iter().filter_map(|folder| {
        let real = folder.join(relative).canonicalize().ok()?;
        let is_below = folder
            .canonicalize()
            .is_ok_and(|folder| real.starts_with(folder));
        (is_below && real.is_file()).then_some(real)
    });
    found.next().ok_or_else(unknown)
}

/// Lists what is below the folders, with what is wrong with it.
pub(super) fn scenarios(
    server: &Server,
    (): &(),
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<ScenarioList>, HttpProblem> {
    let mut paths = Vec::new();
    for folder in &server.scenarios {
        find_scenarios(folder, folder, MAX_DEPTH, &mut paths);
    }
    paths.sort();
    paths.dedup();
    paths.truncate(MAX_SCENARIOS);
    let files = paths
        .iter()
        .filter_map(|path| below(&server.scenarios, path).ok());
    server.known.keep(&files.collect::<Vec<_>>());
    let scenarios = paths.iter().map(|path| describe(server, path));
    Ok(ScenarioList {
        v: DocumentVersion,
        scenarios: scenarios.collect(),
    }
    .into())
}

fn find_scenarios(root: &Path, folder: &Path, depth: usize, found: &mut Vec<String>) {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if found.len() >= MAX_SCENARIOS {
            return;
        }
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if is_hidden {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            // A run's directory has a copy of its scenario.
            if !is_run(&path) {
                find_scenarios(root, &path, depth - 1, found);
            }
        } else if kind.is_file()
            && path.extension().is_some_and(|ending| ending == "toml")
            && is_scenario(&path)
            && let Ok(relative) = path.strip_prefix(root)
            && let Some(text) = relative.to_str()
        {
            found.push(text.to_owned());
        }
    }
}

/// Tells a scenario from test lists and from other programs' files: it has providers.
fn is_scenario(path: &Path) -> bool {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.lines()
        .any(|line| line.trim_start().starts_with("[providers"))
}

fn describe(server: &Server, path: &str) -> FoundScenario {
    let mut found = FoundScenario {
        path: path.to_owned(),
        name: None,
        tests: 0,
        trials: 0,
        providers: Vec::new(),
        problem: None,
    };
    let file = match below(&server.scenarios, path) {
        Ok(file) => file,
        Err(problem) => {
            found.problem = Some(problem.told());
            return found;
        }
    };
    let validate = || Validated::new(&file, &server.host, &mut Silent);
    match server.known.get(&file, validate) {
        Ok(known) => {
            found.name = Some(known.name.clone());
            (found.tests, found.trials) = (known.tests, known.trials);
            found.providers.clone_from(&known.providers);
        }
        Err(error) => found.problem = Some(HttpProblem::from(error).told()),
    }
    found
}
