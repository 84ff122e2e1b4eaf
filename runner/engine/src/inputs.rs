//! [`inputs`]: the files that a scenario is planned from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use runner_model::Selected;
use runner_prepare::source::Source;
use runner_scenario::{ListPlugin, Selection};

use crate::plan::load_plan;
use crate::{EngineError, ExecRequest};

/// Returns the files of a scenario, with its plugins, and the folders that its globs search. Some may be missing.
///
/// # Errors
///
/// The scenario has problems, or its files cannot be read.
pub fn inputs(request: &ExecRequest) -> Result<BTreeSet<PathBuf>, EngineError> {
    let overrides = request.selection.overrides.clone();
    let selection = Selection::from(Selected { overrides, ..Selected::default() });
    let (plan, _) = load_plan(&request.scenario, &selection)?;
    let mut inputs = plan.scenario.inputs();
    for ListPlugin { provider, .. } in plan.scenario.list_plugins(&selection) {
        let plugin = plan.scenario.folder.join(&provider.plugin);
        inputs.insert(Source::open(&plugin).map_or(plugin, |source| source.file()));
        for folder in &provider.grants.fs {
            add_files(plan.scenario.folder.join(&folder.path), &mut inputs);
        }
    }
    inputs.extend(plan.plugins.files().chain(plan.blobs.files()).map(Path::to_owned));
    Ok(inputs)
}

/// Adds a folder with the files and folders in it. Links are not followed.
fn add_files(folder: PathBuf, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_files(entry.path(), files);
        } else {
            files.insert(entry.path());
        }
    }
    files.insert(folder);
}
