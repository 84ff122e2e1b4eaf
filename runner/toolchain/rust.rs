//! How a plugin written in Rust is built.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use toml::Table;

use super::tool::Tool;
use super::{error::SourceError, watch::BuildWatch};

const TARGET: &str = "wasm32-wasip2";

const ADD_TARGET: [&str; 3] = ["target", "add", TARGET];

/// The profile for guests, where a workspace has one; else cargo's `release`.
const PROFILE: &str = "plugin";

/// Builds the crate in `folder` and answers the file that cargo made of it.
pub(super) fn build(folder: &Path, watch: &mut BuildWatch<'_>) -> Result<PathBuf, SourceError> {
    ensure_target(folder, watch)?;
    let workspace = Workspace::of(folder, watch)?;

    // Cargo holds a lock on the target folder, and the runner may itself be at work under `cargo run` or `cargo test`.
    let target_folder = workspace.target_directory.join("guests");
    let tool = Tool::new("cargo", folder)
        .args(["build", "--target", TARGET])
        .args(["--profile", workspace.profile()?])
        .args(["--message-format", "json-render-diagnostics"])
        .args([Path::new("--target-dir"), &target_folder]);
    let messages = tool.read(watch)?;

    artefact(folder, &messages).ok_or_else(|| SourceError::NoPlugin {
        command: tool.to_string(),
        folder: folder.to_owned(),
        expected: "`.wasm` file: a component is a crate of type `cdylib`, a command has a `main`",
    })
}

/// What to do where a tool of Rust is not installed.
pub(super) fn help_to_install(program: &str) -> Option<String> {
    matches!(program, "cargo" | "rustc" | "rustup").then(|| {
        format!(
            "install Rust with rustup (https://rustup.rs), then run: rustup {}",
            ADD_TARGET.join(" ")
        )
    })
}

/// What to do where one of the tools failed, but not over the plugin's own source.
pub(super) fn help_for_failure(command: &str) -> Option<String> {
    if command.starts_with("rustc --print") {
        return Some(format!(
            "a newer compiler knows the target `{TARGET}`; run: rustup update"
        ));
    }
    let command_to_add = format!("rustup {}", ADD_TARGET.join(" "));
    (command == command_to_add)
        .then(|| format!("the standard library for WASM is missing; once online, run: {command}"))
}

/// Adds the target where it is missing. The compiler is asked, as not everyone's comes from rustup.
fn ensure_target(folder: &Path, watch: &mut BuildWatch<'_>) -> Result<(), SourceError> {
    let question =
        Tool::new("rustc", folder).args(["--print", "target-libdir", "--target", TARGET]);
    let answer = question.read(watch)?;
    let is_there = answer.first().is_some_and(|path| Path::new(path).is_dir());
    if is_there {
        return Ok(());
    }
    Tool::new("rustup", folder).args(ADD_TARGET).run(watch)
}

/// The workspace that a crate belongs to, if only its own.
#[derive(Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    fn of(folder: &Path, watch: &mut BuildWatch<'_>) -> Result<Self, SourceError> {
        let tool =
            Tool::new("cargo", folder).args(["metadata", "--no-deps", "--format-version", "1"]);
        let lines = tool.read(watch)?;
        let metadata = lines
            .iter()
            .find_map(|line| serde_json::from_str(line).ok());
        metadata.ok_or_else(|| SourceError::NoPlugin {
            command: tool.to_string(),
            folder: folder.to_owned(),
            expected: "description of the workspace",
        })
    }

    fn profile(&self) -> Result<&'static str, SourceError> {
        let path = self.workspace_root.join("Cargo.toml");
        let text =
            fs::read_to_string(&path).map_err(|error| SourceError::file("read", &path, error))?;
        let manifest: Table = text.parse().unwrap_or_default();
        let profiles = manifest.get("profile");
        let has_own = profiles.is_some_and(|profiles| profiles.get(PROFILE).is_some());
        Ok(if has_own { PROFILE } else { "release" })
    }
}

/// What cargo says it has made.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Finds the crate's own `.wasm` file in cargo's messages.
fn artefact(folder: &Path, messages: &[String]) -> Option<PathBuf> {
    let manifest = fs::canonicalize(folder.join("Cargo.toml")).ok()?;
    let messages = messages
        .iter()
        .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok());
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| fs::canonicalize(&message.manifest_path).ok().as_ref() == Some(&manifest))
        .flat_map(|message| message.filenames)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
}
