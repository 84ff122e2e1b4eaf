//! [`inputs`]: the files that a scenario is planned from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runner_model::Selected;

use crate::plan::load_plan;
use crate::{EngineError, ExecRequest};

/// Returns the files of a scenario, with its plugins, and the folders that its globs search. Some may be missing.
///
/// # Errors
///
/// The scenario has problems, or its files cannot be read.
pub fn inputs(request: &ExecRequest) -> Result<BTreeSet<PathBuf>, EngineError> {
    let overrides = request.selection.overrides.clone();
    let selection = Selected { overrides, ..Selected::default() }.into();
    let (plan, _) = load_plan(&request.scenario, &selection)?;
    let mut inputs = plan.scenario.inputs();
    inputs.extend(plan.plugins.files().chain(plan.blobs.files()).map(Path::to_owned));
    Ok(inputs)
}
