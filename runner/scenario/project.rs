//! [`create_project`]: a folder with a first scenario, as `runner init` writes it.

use std::{
    io,
    path::{Path, PathBuf},
};

use fs_err as fs;
use miette::Diagnostic;
use thiserror::Error;

use super::json_schema;

const SCENARIO: &str = include_str!("project.toml");
/// By which editors complete and check scenarios; the scenario's first line names it.
const SCHEMA: &str = ".runner/schema.json";
const IGNORE: &str = ".gitignore";
/// The default results root, which nobody wants to commit.
const IGNORED: &str = "/results/";

/// A folder that scenarios can be written in.
#[derive(Debug, PartialEq, Eq)]
pub struct CreatedProject {
    /// The files that were written, below the folder.
    pub files: Vec<PathBuf>,
    /// The one to run.
    pub scenario: PathBuf,
}

/// Why there is no new project.
#[derive(Debug, Error, Diagnostic)]
pub enum ProjectError {
    /// There is a scenario.
    #[error("`{}` is there already", path.display())]
    #[diagnostic(help("nothing was written; `runner validate {}` checks it", path.display()))]
    Exists {
        /// The scenario.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Writes a first scenario into `folder`, which is made where it is missing: with the schema that editors check it by, and
/// with a `.gitignore` that names the results. What is there stays as it is, but for a line at the end of that list.
///
/// # Errors
///
/// Fails if there is a scenario already, or a file cannot be written.
pub fn create_project(folder: &Path) -> Result<CreatedProject, ProjectError> {
    // So that what is said of the current folder can be typed as it is.
    let folder = folder.strip_prefix(".").unwrap_or(folder);
    let scenario = folder.join("first.toml");
    if scenario.symlink_metadata().is_ok() {
        return Err(ProjectError::Exists { path: scenario });
    }
    let schema = folder.join(SCHEMA);
    write(&schema, &format!("{:#}\n", json_schema()))?;
    let mut files = vec![schema];
    files.extend(ignore_results(folder)?);
    // Last, because a folder with a scenario is a project.
    write(&scenario, SCENARIO)?;
    files.push(scenario.clone());
    files.sort();
    Ok(CreatedProject { files, scenario })
}

/// Adds the results to what git is to ignore, unless they are there.
fn ignore_results(folder: &Path) -> Result<Option<PathBuf>, ProjectError> {
    let path = folder.join(IGNORE);
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ProjectError::Write { path, source }),
    };
    let is_results = |line: &str| line.trim().trim_matches('/') == "results";
    if text.lines().any(is_results) {
        return Ok(None);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(IGNORED);
    text.push('\n');
    write(&path, &text)?;
    Ok(Some(path))
}

fn write(path: &Path, text: &str) -> Result<(), ProjectError> {
    let parent = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    written.map_err(|source| ProjectError::Write {
        path: path.to_owned(),
        source,
    })
}
