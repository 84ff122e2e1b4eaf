//! Scenarios that the server may start: files below its folders, after links are resolved.

use std::path::{Path, PathBuf};

use runner_model::visible::shown_path;
use runner_record::Manifest;

use super::{BASE, HttpProblem};
use crate::server::Server;

/// Finds a scenario by its path, which is relative to one of the server's folders.
pub(super) fn find(server: &Server, path: &str) -> Result<String, HttpProblem> {
    let folders = &server.settings.scenarios;
    if folders.is_empty() {
        let problem = HttpProblem::not_found("this server starts no scenarios");
        return Err(problem.with_help("start it with `runner serve --scenarios DIR`"));
    }
    let found = folders.iter().find_map(|folder| below(folder, Path::new(path)));
    // A command of the queue is text.
    let found =
        found.filter(|found| found.is_file()).and_then(|found| found.to_str().map(str::to_owned));
    found.ok_or_else(|| {
        let detail = format!("there is no scenario `{path}` below the server's folders");
        HttpProblem::not_found(&detail).with_help(format!("list all: GET {BASE}/scenarios"))
    })
}

/// Fails if the scenario of a run is not below the server's folders: its current text decides which code the run executes.
pub(super) fn check(server: &Server, manifest: &Manifest) -> Result<(), HttpProblem> {
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
    let found = folder.join(path).canonicalize().ok()?;
    found.starts_with(&folder).then_some(found)
}
