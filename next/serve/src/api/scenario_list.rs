//! The list of scenarios below the server's folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use runner_model::SetVars;
use runner_report::{ScenarioItem, ScenarioProblem, ScenariosPage, VERSION};
use runner_scenario::load;

use super::runs::Nothing;
use super::{HttpProblem, Route};
use crate::server::Server;

/// Levels of folders that are searched.
const MAX_DEPTH: usize = 8;
/// Entries of folders that are looked at.
const MAX_ENTRIES: usize = 20_000;
/// A scenario has a provider near its start.
const MAX_START: u64 = 256 << 10;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/scenarios", "The scenarios that can be started", list)]
}

fn list(server: &Server, _: &(), _: &Nothing) -> Result<ScenariosPage, HttpProblem> {
    let (mut found, mut left) = (BTreeMap::new(), MAX_ENTRIES);
    for folder in &server.settings.scenarios {
        // A folder that is missing has no scenarios.
        if let Ok(folder) = folder.canonicalize() {
            search(&folder, &folder, MAX_DEPTH, &mut left, &mut found);
        }
    }
    let scenarios = found.into_iter().map(|(path, file)| item(path, &file)).collect();
    Ok(ScenariosPage { v: VERSION, scenarios, is_cut: left == 0 })
}

/// Adds the scenarios in a folder below `top`, by their paths relative to that. The first folder with a path has it, as for a start.
fn search(
    top: &Path,
    folder: &Path,
    depth: usize,
    left: &mut usize,
    found: &mut BTreeMap<String, PathBuf>,
) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let is_built = ["target", "node_modules"].iter().any(|built| name == *built);
        // A link may lead out of the folders, and in a circle, which the depth ends.
        let real = entry.path().canonicalize().ok().filter(|real| real.starts_with(top));
        let Some(real) = real.filter(|_| !is_hidden && !is_built) else { continue };
        if real.is_dir() && depth > 0 {
            search(top, &entry.path(), depth - 1, left, found);
        } else if real.is_file()
            && real.extension().is_some_and(|end| end == "toml")
            && has_provider(&real)
        {
            let path = entry.path();
            let path = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            found.entry(path).or_insert(real);
        }
    }
}

/// Returns whether a file is a scenario rather than another file of TOML.
fn has_provider(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_START).read_to_end(&mut start));
    read.is_ok() && String::from_utf8_lossy(&start).contains("providers")
}

fn item(path: String, file: &Path) -> ScenarioItem {
    match load(file, &SetVars::default()) {
        Ok(scenario) => ScenarioItem { path, name: Some(scenario.name), problems: Vec::new() },
        Err(problems) => {
            ScenarioItem { path, name: None, problems: ScenarioProblem::all(&problems).collect() }
        }
    }
}
