//! Scenarios that the server may start: files below its folders, after links are resolved.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, io::Read as _};

use runner_model::{ScenarioOverrides, visible::shown_path};
use runner_record::Manifest;
use runner_report::{RunList, RunSummary, ScenarioProblem, VERSION};
use runner_scenario::{Scenario, holds_results, load};
use schemars::JsonSchema;
use serde::Serialize;

use super::{BASE, HttpProblem, Result, Route, keys::Nothing};
use crate::server::Server;

/// Levels of folders that are searched.
const MAX_DEPTH: usize = 8;
/// Entries of folders that are visited.
const MAX_ENTRIES: usize = 20_000;
/// Runs with a scenario's name among which the last one of its file is looked for.
const MAX_RUNS: usize = 50;
/// Bytes of a file that are searched for a provider.
const MAX_START: u64 = 256 << 10;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/scenarios", "The scenarios that can be started", list)]
}

/// The scenarios below the server's folders.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenariosPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// By path.
    pub scenarios: Vec<ScenarioItem>,
    /// Whether there are more files than the server looks at.
    pub is_cut: bool,
}

/// A scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioItem {
    /// Path relative to its folder.
    pub path: String,
    /// The scenario's name. `null` with problems.
    pub name: Option<String>,
    /// The scenario's purpose. `null` without one.
    pub description: Option<String>,
    /// The newest run of the file. `null` without one.
    pub last_run: Option<RunSummary>,
    /// Problems that prevent a start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ScenarioProblem>,
}

/// Finds a scenario by its path, which is relative to one of the server's folders.
pub(super) fn find(server: &Server, path: &str) -> Result<String> {
    let folders = &server.settings.scenarios;
    if folders.is_empty() {
        let problem = HttpProblem::not_found("this server starts no scenarios");
        return Err(problem.with_help("start it with `runner serve --scenarios DIR`"));
    }
    let file = folders.iter().find_map(|folder| below(folder, Path::new(path)));
    // A command of the queue is text.
    let file = file.filter(|file| file.is_file()).and_then(|file| file.to_str().map(str::to_owned));
    file.ok_or_else(|| {
        let detail = format!("there is no scenario `{path}` below the server's folders");
        HttpProblem::not_found(&detail).with_help(format!("list all: GET {BASE}/scenarios"))
    })
}

/// Fails if the scenario of a run is not below the server's folders: its current text decides which code the run executes.
pub(super) fn check(server: &Server, manifest: &Manifest) -> Result<()> {
    let path = Path::new(&manifest.scenario_path);
    let is_below = |folder: &PathBuf| below(folder, path).is_some();
    if path.is_absolute() && server.settings.scenarios.iter().any(is_below) {
        return Ok(());
    }
    let detail = format!("{} is not below the server's folders of scenarios", shown_path(path));
    let help = "use a terminal, or start the server with `--scenarios DIR`";
    Err(HttpProblem::unprocessable(&detail).with_help(help))
}

/// Returns the real path if it exists and is below a folder.
fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    // An absolute path replaces the folder.
    let file = folder.join(path).canonicalize().ok()?;
    file.starts_with(&folder).then_some(file)
}

fn list(server: &Server, _: &(), _: &Nothing) -> Result<ScenariosPage> {
    let mut files = BTreeMap::new();
    let mut left = MAX_ENTRIES;
    for folder in &server.settings.scenarios {
        // A missing folder has no scenarios.
        if let Ok(folder) = folder.canonicalize() {
            search(&folder, &folder, MAX_DEPTH, &mut left, &mut files);
        }
    }
    let mut runs = RunList::read(&server.root)?.runs;
    let items = files.into_iter().map(|(path, file)| {
        let mut item = item(path, &file);
        item.last_run =
            item.name.as_ref().and_then(|name| last_run(server, &mut runs, name, &file));
        item
    });
    let scenarios = items.collect();
    Ok(ScenariosPage { v: VERSION, scenarios, is_cut: left == 0 })
}

/// Adds the scenarios of a folder below `top` by their paths relative to `top`. If several folders of the server have a path, the
/// first one is used, as for a start.
fn search(
    top: &Path,
    folder: &Path,
    depth: usize,
    left: &mut usize,
    files: &mut BTreeMap<String, PathBuf>,
) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let name = entry.file_name();
        let path = entry.path();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let is_built = ["target", "node_modules"].iter().any(|built| name == *built);
        // Links are skipped: they lead out of the folders, in a circle, or to an entry that is found anyway.
        let kind = entry.file_type().ok().filter(|_| !is_hidden && !is_built);
        let Some(kind) = kind else { continue };
        if kind.is_dir() && depth > 0 && !holds_results(&path) {
            search(top, &path, depth - 1, left, files);
        } else if kind.is_file()
            && path.extension().is_some_and(|end| end == "toml")
            && has_provider(&path)
        {
            let relative = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            files.entry(relative).or_insert(path);
        }
    }
}

/// Takes the newest run of a scenario's file. Scenarios in several files may have one name.
fn last_run(
    server: &Server,
    runs: &mut Vec<RunSummary>,
    name: &str,
    file: &Path,
) -> Option<RunSummary> {
    let named = runs.iter().enumerate().filter(|(_, run)| run.head.scenario == name);
    let is_of_file = |run: &RunSummary| {
        let manifest = server.run(&run.head.id).ok()?.manifest().ok()?;
        Some(Path::new(&manifest.scenario_path) == file)
    };
    let (place, _) = named.take(MAX_RUNS).find(|(_, run)| is_of_file(run) == Some(true))?;
    Some(runs.remove(place))
}

/// Returns whether a file is a scenario rather than another TOML file.
fn has_provider(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_START).read_to_end(&mut start));
    read.is_ok() && String::from_utf8_lossy(&start).contains("providers")
}

fn item(path: String, file: &Path) -> ScenarioItem {
    let (scenario, problems) = match load(file, &ScenarioOverrides::default()) {
        Ok(scenario) => (scenario, Vec::new()),
        Err(problems) => (Scenario::default(), ScenarioProblem::all(&problems).collect()),
    };
    let name = problems.is_empty().then_some(scenario.name);
    ScenarioItem { path, name, description: scenario.description, last_run: None, problems }
}
