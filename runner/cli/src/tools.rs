//! Finds tools that build plugins, and their versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use runner_prepare::source::{Source, read_regular};
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::Value;

use crate::templates::{Template, Tool};

/// Bytes of a `package.json`.
const MAX_PACKAGE: u64 = 1 << 20;

/// A tool that builds plugins, as it is installed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolStatus {
    /// The language, as an argument of `plugin new`.
    pub language: &'static str,
    /// Name of the language for people.
    #[serde(skip)]
    pub language_name: String,
    /// Name of the tool.
    pub tool: String,
    /// Version of the folder's own tool, or else of the tool on `PATH`. `None` if it is unknown, or if the tool is missing.
    pub version: Option<String>,
    /// The folder's own tool, which a build uses.
    pub file: Option<PathBuf>,
    /// The way to install the tool.
    pub install: String,
}

impl ToolStatus {
    pub fn is_missing(&self) -> bool {
        self.version.is_none() && self.file.is_none()
    }
}

/// Returns the language that builds a plugin. `None` if its build line runs no tool of a template.
pub fn language(source: &Source) -> Option<&'static str> {
    let mut templates = Template::all().into_iter();
    let template = templates.find(|template| template.builds(source.build_line()));
    template.map(|template| template.language())
}

/// Finds the tools of a language in a plugin's folder and on `PATH`. `None` means all languages.
pub fn find(folder: &Path, only: Option<&str>) -> Vec<ToolStatus> {
    let mut tools = Vec::new();
    for template in &Template::all() {
        let language = template.language();
        if only.is_none_or(|only| only == language) {
            tools.extend(template.manifest.tools.iter().map(|tool| {
                let mut files = tool.files.iter().map(|name| folder.join(name));
                let file = files.find(|file| file.is_file());
                ToolStatus {
                    language,
                    language_name: template.manifest.language.clone(),
                    tool: tool.name.clone(),
                    version: match &file {
                        Some(file) => own_version(&tool.name, file),
                        None => version(tool),
                    },
                    file,
                    install: tool.install.clone(),
                }
            }));
        }
    }
    tools
}

/// Returns the version of a folder's own tool by the files of its package, without running it.
fn own_version(tool: &str, file: &Path) -> Option<String> {
    if file.ends_with("package.json") {
        let package = read_regular(file, MAX_PACKAGE).ok()?;
        let package: Value = serde_json::from_slice(&package).ok()?;
        return package["version"].as_str().map(str::to_owned);
    }
    // Of a virtual environment, whose packages have the version in the names of their folders.
    let libraries = fs::read_dir(file.ancestors().nth(2)?.join("lib")).ok()?;
    let packages = libraries.flatten().map(|library| library.path().join("site-packages"));
    let mut packages = packages.filter_map(|packages| fs::read_dir(packages).ok()).flatten();
    let start = tool.replace('-', "_") + "-";
    packages.find_map(|package| {
        let name = package.ok()?.file_name().into_string().ok()?;
        Some(name.strip_prefix(&start)?.strip_suffix(".dist-info")?.to_owned())
    })
}

/// Returns the first version in the output of a tool on `PATH`, such as 1.27.3 of `go1.27.3`. `None` if the tool is missing.
fn version(tool: &Tool) -> Option<String> {
    let output = version_command(tool.check.as_deref()?).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split(|character: char| !character.is_ascii_digit() && character != '.');
    let version = numbers.find(|number| number.contains('.') && number.len() > 2);
    Some(version.map_or("found", |version| version.trim_matches('.')).to_owned())
}

/// Returns the command that prints a tool's version. It finds only the user's own programs: it runs in `/`, because rustup, go
/// and node start programs that files of the working folder name, and without the relative entries of `PATH`.
fn version_command(line: &str) -> Command {
    let mut command = shell(line);
    let path = env::var_os("PATH").unwrap_or_default();
    let absolute = env::split_paths(&path).filter(|entry| entry.is_absolute());
    // Entries of a split `PATH` contain no `:`.
    command.env("PATH", env::join_paths(absolute).unwrap_or_default()).current_dir("/");
    command
}

/// Returns the command that runs a line in the system's shell.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-euc", line]).stdin(Stdio::null());
    command
}
